# amaranth: UnusedElaboratable=no
"""What a host spoils of a restore: refused as the reference refuses it, and nothing runs behind it."""

import random

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.credentials import ALL_RIGHTS, Credential
from omap.journal import journal_nonce, sealed_part
from omap.kdf import JOURNAL, SNAPSHOT
from omap.operations import Status
from omap.presets import preset
from omap.source import END, read_source
from omap.wire import HEADER, LINE_BYTES, Header, RecordCodec, RecordType, Refusal, read_header, start_lines
from tests.support.rtl.restore_histories import History, drawn_history
from tests.support.rtl.restore_rig import RigRun, rig
from tests.support.rtl.session_ends import ROOT_KEY, Client

CODEC, PARAMS = RecordCodec(preset("TINY")), preset("TINY")


def flipped(record, bit):
    changed = bytearray(record)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def run(records, rng, refused=None):
    """Restore from records; return the run, and what each answer says: 0, or why its record is refused."""
    done = RigRun(rig("TINY"), rng, records, refused).run(lot=rng.choice([None, 1, 3]))
    heads = [read_header(answer) for answer in done.answers]
    return done, [head.count if head.type == RecordType.REFUSED else 0 for head in heads]


def of_client(rng, kind):
    """Return a record of a client."""
    if kind == RecordType.HELLO:
        return Client(PARAMS, rng, Credential(ALL_RIGHTS)).hello()
    count = 0 if kind == RecordType.CONFIRM else rng.choice([1, 9, CODEC.most_operations])
    lines = 1 if kind == RecordType.CONFIRM else CODEC.lines(count)
    return Header(kind, 3, lines, count, 7, rng.getrandbits(20)).pack() + rng.randbytes(LINE_BYTES * lines - 16)


def malformed(rng):
    return rng.choice(
        [
            Header(RecordType.SNAPSHOT, 0, 2, 1, 0, 0),
            Header(RecordType.START, 0, start_lines(17), 17, 0, 0),
            Header(RecordType.START, 0, 3, 2, 0, 0),
            Header(RecordType.END, 0, 1, 1, 0, 0),
            Header(RecordType.SOURCE, 0, 1, 0, 0, 0),
            Header(RecordType.JOURNAL, 0, 1, 0, 0, 0),
            Header(RecordType.REFUSED, 0, 1, 0, 0, 0),
            Header(0, 0, 1, 0, 0, 0),
            Header(255, 255, 255, 255, (1 << 32) - 1, (1 << 64) - 1),
        ]
    ).pack() + rng.randbytes(48)


class Host:
    """Records of a drawn history, those of another, and another snapshot of the same map; and what a host does to them.

    Each method spoils the records once, at a drawn place.
    """

    def __init__(self, rng):
        history = drawn_history(CODEC, ROOT_KEY, rng)
        self.rng, self.records = rng, [*history.records, END]
        self.other = drawn_history(CODEC, ROOT_KEY, rng).records
        self.later = History(CODEC, ROOT_KEY, rng, map_id=history.first_id).snapshot().run(2).records

    def _place(self):
        return self.rng.randrange(len(self.records))

    def flip(self):
        at = self._place()
        self.records[at] = flipped(self.records[at], self.rng.randrange(8 * len(self.records[at])))

    def flip_header(self):
        at = self._place()
        self.records[at] = flipped(self.records[at], self.rng.randrange(8 * HEADER.size))

    def cut(self):
        at, rng = self._place(), self.rng
        lines = rng.randrange(len(self.records[at]) // LINE_BYTES)
        self.records[at : at + 1] = [self.records[at][: LINE_BYTES * lines]] if lines else []
        self.records = self.records or [END]

    def leave_out(self):
        del self.records[self._place()]
        self.records = self.records or [END]

    def end_early(self):
        self.records = [*self.records[: self._place()], END]

    def insert_end(self):
        self.records.insert(self._place(), END)

    def reorder(self):
        at = self._place()
        self.records.insert(self._place(), self.records.pop(at))

    def repeat(self):
        at = self._place()
        self.records.insert(at, self.records[at])

    def exchange(self):
        at = self._place()
        self.records[at] = self.rng.choice([self.other, self.later])[
            min(at, self.rng.randrange(len(self.later)), len(self.other) - 1)
        ]

    def other_tail(self):
        at = self._place()
        self.records = [*self.records[:at], *self.rng.choice([self.other, self.later])[min(at, 1) :], END]

    def client(self):
        kind = self.rng.choice([RecordType.HELLO, RecordType.CONFIRM, RecordType.DATA])
        self.records.insert(self._place(), of_client(self.rng, kind))

    def malformed(self):
        self.records.insert(self._place(), malformed(self.rng))


TRICKS = sorted(name for name in vars(Host) if not name.startswith("_"))


@pytest.mark.sec_cm("RESTORES.ORDER.STRICT")
@pytest.mark.sec_cm("RESTORES.FAIL.ENDS")
@pytest.mark.sec_cm("RESTORES.ITEMS.ALL")
@pytest.mark.parametrize("trick", TRICKS)
def test_what_a_host_spoils_is_refused_as_the_reference_refuses_it(trick):
    assert rig("TINY")

    @settings(max_examples=25)
    @given(
        seed=st.integers(0, 1 << 32),
        more=st.lists(st.sampled_from(TRICKS), max_size=1),
        refused=st.dictionaries(
            st.integers(0, 600), st.sampled_from([Status.FULL, Status.NOT_FOUND, Status.DENIED]), max_size=1
        ),
        full=st.sampled_from([False, False, True]),
    )
    def check(seed, more, refused, full):
        host = Host(random.Random(seed))
        for name in (trick, *more):
            getattr(host, name)()
        run(host.records, host.rng, refused if full else {})

    check()


@pytest.mark.sec_cm("RESTORES.CLIENT.WAITS")
def test_clients_are_refused_and_the_restore_goes_on():
    rng = random.Random(3)
    kinds = (RecordType.HELLO, RecordType.CONFIRM, RecordType.DATA)
    good = [*History(CODEC, ROOT_KEY, rng).snapshot().run(1, 5).child().run(3).records, END]
    records = [part for one in good for part in (of_client(rng, rng.choice(kinds)), one)]
    done, said = run(records, rng)
    assert said == [Refusal.RESTORING, 0] * len(good)
    assert done.law.complete


@pytest.mark.sec_cm("RESTORES.CHAIN.MATCHED")
def test_a_chain_goes_on_exactly_where_the_parent_was_restored_up_to():
    """Not with fewer operations of the parent, nor with more, nor after another map, nor without it."""
    rng = random.Random(4)
    history = History(CODEC, ROOT_KEY, rng).format().run(5).run(6)
    parent = list(history.records)
    child = history.child().run(2).records[len(parent) :]
    stranger = History(CODEC, ROOT_KEY, rng).format().records
    for records in (
        [*parent[:-1], *child],
        child,
        [*stranger, *child],
        [*parent, *stranger],
        [*parent, *child, *child],
    ):
        _, said = run([*records, END], rng)
        first = said.index(Refusal.RESTORE_FAILED)
        assert not any(said[:first])
        assert read_header(records[first]).type == RecordType.START
    done, _ = run([*parent, *child, END], rng)
    assert done.law.complete


def resealed(source, start, place):
    """Return a START with another byte of its text, sealed under its key."""
    header, fields, of_snapshot = read_header(start), source[HEADER.size :], read_source(source).chunks > 0
    map_id, export_id = read_source(source)[:2]
    key = SNAPSHOT.derive(ROOT_KEY, map_id, export_id) if of_snapshot else JOURNAL.derive(ROOT_KEY, map_id, bytes(4))
    nonce, aad = journal_nonce(header.type, header.sequence), header.pack() + (fields if of_snapshot else b"")
    text = AESGCM(key).decrypt(nonce, sealed_part(start), aad)
    return header.pack() + AESGCM(key).encrypt(nonce, flipped(text, 8 * place), aad)


@pytest.mark.sec_cm("RESTORES.CHAIN.MATCHED")
@pytest.mark.parametrize("begin", ["format", "snapshot", "child"])
def test_a_start_that_says_another_thing_under_the_right_key_is_refused(begin):
    """Digest and map id count always, parent and kept operations for a map that others went before."""
    rng = random.Random(5)
    for place in (0, 15, 16, 31, 32, 47, 48, 63, 64, 71, 72, 79):
        history = History(CODEC, ROOT_KEY, rng)
        if begin == "child":
            history.format().run(3).child()
        else:
            getattr(history, begin)()
        *before, start = history.records
        source = before[-1] if begin != "snapshot" else before[0]
        _, said = run([*before, resealed(source, start, place), END], rng)
        fails = place < (48 if begin == "snapshot" else 72)
        assert said[-2:] == ([Refusal.RESTORE_FAILED] * 2 if fails else [0, 0])


@pytest.mark.sec_cm("RESTORES.ORDER.STRICT")
def test_a_journal_goes_on_with_the_operation_that_is_due():
    rng = random.Random(6)
    for skip in (-1, 1, 1 << 40):
        history = History(CODEC, ROOT_KEY, rng).format().run(4).run(3)
        history.operation += skip
        history.run(2).run(2)
        _, said = run([*history.records, END], rng)
        assert said == [0, 0, 0, 0, *[Refusal.RESTORE_FAILED] * 3]


@pytest.mark.sec_cm("RESTORES.FAIL.ENDS")
def test_nothing_runs_behind_a_record_with_a_wrong_number():
    """Also if the next one has the number that would have been next, and was under way already."""
    rng = random.Random(9)
    for lot in (None, 1):
        history = History(CODEC, ROOT_KEY, rng).format().run(4)
        history.operation += 5
        history.run(2)
        history.operation = 6
        history.run(2)
        done = RigRun(rig("TINY"), rng, [*history.records, END]).run(lot=lot)
        assert done.law.failed
        assert len(done.got["o_command"]) == 4


def test_the_key_of_another_era_is_derived_when_it_is_due():
    rng = random.Random(7)
    history = History(CODEC, ROOT_KEY, rng).snapshot(journal=(1 << 32) - 2)
    for _ in range(5):
        history.run(3)
    done, said = run([*history.records, END], rng)
    assert not any(said)
    assert len(done.keys) == 3  # of the snapshot, and of two eras
    assert not any(run([*history.child().run(1, 2).records, END], rng)[1])


@pytest.mark.parametrize("status", [Status.NOT_FOUND, Status.FULL, Status.DENIED])
def test_an_operation_that_is_not_ok_fails_the_restore(status):
    rng = random.Random(8)
    history = History(CODEC, ROOT_KEY, rng).format()
    for _ in range(6):
        history.run(4)
    for place in (0, 3, 4, 10, 23):
        done, said = run([*history.records, END], rng, {place: status})
        assert said[: 2 + place // 4] == [0] * (2 + place // 4)
        assert set(said[2 + place // 4 :]) == {Refusal.RESTORE_FAILED}
        assert done.law.failed
