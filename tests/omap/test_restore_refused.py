"""Restores from records that a host spoilt: refused with what is wrong, and nothing half restored."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.regmap import State
from omap.restore import Restore
from omap.source import END
from omap.wire import HEADER, LINE_BYTES, Header, RecordCodec, RecordType, Refusal, read_header
from tests.support.journal_host import JournalHost
from tests.support.kept_maps import PARAMS, Kept, materials

CODEC = RecordCodec(PARAMS)


def flipped(record, bit):
    changed = bytearray(record)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


MISUSES = ("alter", "leave out", "reorder", "repeat", "another map", "another time", "cut")


def misused(how, data, good, other, later):
    """Return records that a host spoilt, the place of the first that can't be taken, and refusals that it may get."""
    turn = {Refusal.OUT_OF_TURN}
    match how:
        case "alter":
            at = data.draw(st.integers(0, len(good) - 1))
            bits = 8 * (HEADER.size if good[at] == END else len(good[at]))
            bit = data.draw(st.integers(0, bits - 1))
            return [*good[:at], flipped(good[at], bit), *good[at + 1 :]], at, set(Refusal)
        case "leave out":
            at = data.draw(st.integers(0, len(good) - 3))  # without the newest record it is an older state
            return [*good[:at], *good[at + 1 :]], at, turn
        case "reorder":
            at = data.draw(st.integers(0, len(good) - 3))
            return [*good[:at], good[at + 1], good[at], *good[at + 2 :]], at, turn
        case "repeat":
            at = data.draw(st.integers(0, len(good) - 2))  # after the end there is no restore
            return [*good[: at + 1], *good[at:]], at + 1, turn
        case "another map":
            at = data.draw(st.integers(1, len(good) - 2))
            return [*good[:at], other[at], *good[at + 1 :]], at, {Refusal.ALTERED, Refusal.OUT_OF_TURN}
        case "another time":
            at = data.draw(st.integers(1, 2))  # a chunk or the START of a later snapshot
            return [*good[:at], later[at], *good[at + 1 :]], at, {Refusal.ALTERED}
        case "cut":
            at = data.draw(st.integers(0, 2))
            return [*good[:at], END], at, turn
    raise AssertionError(how)


@pytest.mark.sec_cm("RESTORE.ORDER.STRICT")
@pytest.mark.sec_cm("RESTORE.FAIL.ERASE")
@pytest.mark.parametrize("how", MISUSES)
@settings(max_examples=12)
@given(seed=st.integers(0, 999), data=st.data())
def test_what_a_host_spoils_is_refused_and_nothing_stays(how, seed, data):
    (host, snapshots, marks), (other, others, their_marks) = materials(seed)
    good = [*snapshots[0], *host.journal[marks[0] :], END]
    foreign = [*others[0], *other.journal[their_marks[0] :], END]
    records, place, refusals = misused(how, data, good, foreign, snapshots[1])
    target = JournalHost()
    answers = target.give(records)
    assert read_header(answers[-1]).type == RecordType.REFUSED
    assert read_header(answers[-1]).count in refusals - {Refusal.RESTORING}
    assert all(read_header(answer).type != RecordType.REFUSED for answer in answers[:-1])
    # what is not bound to a record before it shows when the next one does not open
    assert place <= len(answers) - 1 <= place + (how == "alter")
    assert target.device.state is State.IDLE
    assert target.device._map is None
    assert target.device._sessions is None
    # all that still comes is refused, and the right records restore the map
    assert {read_header(one).count for one in target.exchange(*good)} == {Refusal.RESTORE_FAILED}
    target.restore(good[:-1])
    target.connect()


def test_records_that_another_root_key_sealed_are_refused():
    (host, snapshots, _), _ = materials(1)
    restore = Restore(CODEC, bytes(32))
    for record in snapshots[0][:2]:
        found = restore.take(read_header(record), record)
    assert found is Refusal.ALTERED
    restore = Restore(CODEC, bytes(32))
    for record in host.journal[:2]:
        found = restore.take(read_header(record), record)
    assert found is Refusal.ALTERED


@pytest.mark.sec_cm("RESTORE.CHAIN.MATCHED")
def test_a_chain_goes_on_exactly_where_the_parent_was_restored_up_to():
    """Not with fewer operations of the parent, nor with more, nor after another map, nor without it."""
    kept = Kept(2)
    kept.run(5)
    kept.run(6)
    parent = kept.records()
    kept.restore(anew=False)
    child = kept.records()[len(parent) :]
    kept.host = host = JournalHost()
    stranger = JournalHost()
    for records in (
        [*parent[:-1], *child],
        child,
        [*stranger.journal, *child],
        [*parent, *stranger.journal],
        [*parent, *child, *child],
    ):
        answers = host.give([*records, END])
        assert read_header(answers[-1])[:4] == (RecordType.REFUSED, 0, 1, Refusal.RESTORE_FAILED)
        assert read_header(records[len(answers) - 1]).type == RecordType.START
    host.restore([*parent, *child])


def test_a_journal_does_not_go_on_before_or_after_its_snapshot():
    (host, snapshots, marks), _ = materials(3)
    for first in (marks[1] - 1, marks[1] + 1):
        answers = JournalHost().give([*snapshots[1], *host.journal[first:], END])
        assert read_header(answers[-1]).count == Refusal.OUT_OF_TURN


def test_malformed_records_fail_a_restore():
    (_, snapshots, _), _ = materials(4)
    for header in (
        Header(RecordType.SNAPSHOT, 0, 2, 1, 0, 0),
        Header(RecordType.START, 0, 2, 17, 0, 0),
        Header(RecordType.END, 0, 1, 1, 0, 0),
        Header(0, 0, 1, 0, 0, 0),
    ):
        target = JournalHost()
        answers = target.give([snapshots[0][0], header.pack().ljust(LINE_BYTES, b"\0")])
        assert read_header(answers[-1]).count == Refusal.MALFORMED
        assert target.device.state is State.IDLE
