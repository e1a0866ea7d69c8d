# amaranth: UnusedElaboratable=no
"""What protects sessions: who may open one, what may run in it, what stays of it, and what its times tell."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.presets import preset
from omap.wire import CLOSE, RecordType, Refusal, read_header
from rtl.rings.sessions import Sessions
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.secrecy import differences, state
from tests.support.rtl.session_bench import ROOT_KEY, Twin, data, design, flipped


@pytest.fixture
def tiny():
    return design("TINY")


@pytest.fixture(params=["TINY", "WIDE"])
def kind(request):
    return design(request.param)


@pytest.mark.sec_cm("SESSIONS.CLOSED.REFUSED")
def test_what_follows_the_last_record_of_a_session_is_refused(kind):
    twin = Twin(*kind, random.Random(2))
    client, other = twin.opened(), twin.opened()
    twin.settle()
    for _ in range(3):
        twin.feed(client.operation(twin.rng))
    twin.feed(client.operation(twin.rng, CLOSE))
    for _ in range(4):  # on their way while the session is closed
        twin.feed(client.operation(twin.rng))
        twin.feed(other.operation(twin.rng))
    twin.feed(data(twin, client.session_index, client.session, 1))  # out of its turn, yet of no open session
    twin.settle()
    types = [read_header(answer).type for answer in twin.answers[-9:]]
    assert types == [RecordType.REFUSED, RecordType.DATA] * 4 + [RecordType.REFUSED]


@pytest.mark.sec_cm("SESSIONS.RECORD.TURN")
@pytest.mark.sec_cm("SESSIONS.TAMPER.ENDS")
@pytest.mark.parametrize("turns", [[0, 1, 1], [0, 1, 0], [0, 2], [1]])
def test_a_record_out_of_its_turn_ends_its_session_and_no_other(kind, turns):
    twin = Twin(*kind, random.Random(10))
    client, other = twin.opened(), twin.opened()
    records = [client.operation(twin.rng) for _ in range(3)]
    for turn in turns:
        twin.feed(records[turn])
        twin.feed(other.operation(twin.rng))
    assert read_header(twin.answers[-2]).code == Refusal.OUT_OF_TURN
    for record in records:
        assert read_header(twin.feed(record)).code == Refusal.UNKNOWN_SESSION
    twin.settle()
    assert len(twin.got_commands) == 2 * len(turns) - 1
    again = twin.opened(replaces=client.session)
    assert again.session_index == client.session_index
    twin.feed(again.operation(twin.rng))
    twin.settle()


@pytest.mark.sec_cm("SESSIONS.TAMPER.ENDS")
@pytest.mark.parametrize("at", range(6))
def test_a_record_with_a_wrong_tag_ends_its_session_and_no_other(kind, at):
    """Records of this session and of others are on their way behind it when its tag is found wrong."""
    twin = Twin(*kind, random.Random(at))
    client, *others = (twin.opened() for _ in range(3))
    twin.settle()
    before = len(twin.answers)
    for place in range(8):
        record = client.operation(twin.rng)
        twin.feed(flipped(record, 128 + twin.rng.randrange(8 * len(record) - 128)) if place == at else record)
        for other in others:
            twin.feed(other.operation(twin.rng))
    twin.settle()
    assert len(twin.got_commands) == 16 + at
    codes = [read_header(answer).code for answer in twin.answers[before:]]
    wanted = [0] * at + [Refusal.ALTERED] + [Refusal.UNKNOWN_SESSION] * (7 - at)
    assert codes == [code for one in wanted for code in (one, 0, 0)]
    again = twin.opened(replaces=client.session)  # in its place, where a bad record before the first use counts as well
    assert again.session_index == client.session_index
    twin.feed(again.operation(twin.rng))
    twin.settle()


@pytest.mark.sec_cm("SESSIONS.TAMPER.ENDS")
def test_two_sessions_end_side_by_side(kind):
    twin = Twin(*kind, random.Random(12))
    clients = [twin.opened() for _ in range(4)]
    twin.settle()
    for place in range(30):
        for number, client in enumerate(clients):
            record = client.operation(twin.rng)
            twin.feed(flipped(record, 200) if place == 7 and number < 2 else record)
    twin.settle()
    assert len(twin.got_commands) == 2 * 30 + 2 * 7


@pytest.mark.long
@pytest.mark.sec_cm("SESSIONS.TAMPER.ENDS")
@pytest.mark.parametrize("attack", ["flip", "repeat"])
def test_the_keys_of_a_session_that_was_tampered_with_are_gone(attack):
    states = []
    for seed in (1, 2):
        twin = Twin(
            Interpreted(), preset("TINY"), random.Random(3), schedule=random.Random(3), root_key=bytes([seed]) * 32
        )
        client = twin.opened()
        record = client.operation(twin.rng)
        twin.feed(record)
        twin.bench.run(3600)
        assert twin.bench.sink("o_command").transfers == 1
        before = state(twin.bench, without_memories_of=["fifo.py"])
        twin.bench.source("i_reply").push(twin.replies)
        twin.feed(flipped(client.operation(twin.rng), 200) if attack == "flip" else record)
        twin.bench.run(400)
        beats = twin.bench.sink("o_record").transfers
        assert beats == 4 * twin.codec.record_bytes // 16
        states.append((before, state(twin.bench, without_memories_of=["fifo.py"])))
    (before, after), (other_before, other_after) = states
    keys = [f"memory row {client.session_index}"]
    assert differences(before, other_before).count(keys[0]) > 30  # round keys, hash keys and their powers
    assert not [name for name in differences(after, other_after) if name.startswith("memory row")]


@pytest.mark.sec_cm("SESSIONS.FORMAT.ENDS")
def test_a_format_ends_all_sessions(tiny):
    twin = Twin(*tiny, random.Random(11))
    client = twin.opened()
    twin.feed(client.operation(twin.rng))
    twin.settle()
    twin.format()
    assert read_header(twin.feed(client.operation(twin.rng))).code == Refusal.UNKNOWN_SESSION
    assert twin.opened().session == client.session  # numbered anew
    twin.settle()


@pytest.mark.sec_cm("SESSIONS.OLD.FENCED")
def test_a_new_session_closes_the_one_it_replaces(tiny):
    twin = Twin(*tiny, random.Random(4))
    first, old = twin.opened(), twin.opened()
    twin.feed(old.operation(twin.rng))
    held_back = old.operation(twin.rng)
    twin.feed(first.operation(twin.rng, CLOSE))
    assert twin.opened(replaces=old.session).session_index < old.session_index  # the new one does not overwrite the old
    assert read_header(twin.feed(held_back)).code == Refusal.UNKNOWN_SESSION
    twin.settle()


@pytest.mark.sec_cm("SESSIONS.KEY.CONFIRM")
@pytest.mark.sec_cm("SESSIONS.KEY.UNREADABLE")
@pytest.mark.sec_cm("SESSIONS.CONFIRM.CONST_TIME")
def test_a_wrong_confirmation_opens_nothing_shows_nothing_and_takes_as_long(tiny):
    twin = Twin(*tiny, random.Random(5))
    client = twin.client()
    record = client.confirm(twin.feed(client.hello()))
    twin.settle()
    times = set()
    for bit in (0, 1, 63, 64, 100, 126, 127):
        answer = twin.feed(flipped(record, 128 + bit))
        assert read_header(answer).code == Refusal.WRONG_KEY
        assert not any(answer[16:])
        twin.settle()
        times.add(int(twin.bench.sink("o_record").cycles[-1] - twin.bench.source("i_record").cycles[-1]))
    assert len(times) == 1
    client.opened(twin.feed(record))
    twin.feed(client.operation(twin.rng))
    twin.settle()


@pytest.mark.sec_cm("SESSIONS.ROOT.ONCE")
def test_the_root_key_enters_once(tiny):
    twin = Twin(*tiny, random.Random(7))
    roots = twin.bench.source("i_root_key")
    roots.push([bytes(32)])
    twin.feed(twin.opened().operation(twin.rng))
    twin.settle()
    twin.format()
    twin.feed(twin.opened().operation(twin.rng))
    twin.settle()
    assert roots.transfers == 1
    erase(twin)
    twin.bench.run(100)
    assert roots.transfers == 1


def erase(twin):
    twin.bench.set("erase", 1)
    twin.bench.run(1)
    twin.bench.set("erase", 0)


@settings(max_examples=40)
@given(seed=st.integers(0, 1 << 32), cycles=st.integers(0, 1200), clear=st.booleans())
@pytest.mark.sec_cm("SESSIONS.KEY.ERASE")
def test_nothing_comes_after_an_erasure(seed, cycles, clear):
    twin = Twin(*design("TINY"), random.Random(seed))
    client = twin.opened()
    twin.settle()
    for _ in range(60):
        twin.feed(client.operation(twin.rng))
    twin.opened()
    for _ in range(cycles // 10):
        twin.step(10)
    erase(twin)
    bench = twin.bench
    streams = [bench.source(name) for name in ("i_record", "i_root_key", "i_noise")]
    streams += [bench.sink(name) for name in ("o_command", "o_record", "o_secrets")]
    before = [stream.transfers for stream in streams]
    bench.source("i_root_key").push([ROOT_KEY])
    if clear:
        bench.set("clear", 1)
        bench.run(1)
        bench.set("clear", 0)
    bench.source("i_noise").push([bytes(16)] * 8)
    for _ in range(300):
        bench.run(10)
        assert not any(bench.get(f"{name}__valid") for name in ("o_command", "o_record", "o_secrets"))
        assert bench.get("idle") == 1
    assert [stream.transfers for stream in streams] == before


@pytest.mark.long
@pytest.mark.sec_cm("SESSIONS.KEY.ERASE")
def test_an_erased_block_holds_nothing_of_its_keys():
    states = []
    for seed in (1, 2):
        twin = Twin(
            Interpreted(), preset("TINY"), random.Random(3), schedule=random.Random(3), root_key=bytes([seed]) * 32
        )
        client = twin.opened()
        twin.feed(client.operation(twin.rng))
        twin.bench.run(4200)
        assert twin.bench.sink("o_command").transfers == 1
        before = state(twin.bench)
        erase(twin)
        twin.bench.run(200)
        states.append((before, state(twin.bench, without_memories_of=["fifo.py"])))
    (before, after), (other_before, other_after) = states
    assert {"root_key", "memory row 0"} <= set(differences(before, other_before))
    assert not differences(after, other_after)


class Interpreted:
    """In the place of a compiled design: a bench that sees inside."""

    def bench(self, *, seed):
        return AmaranthBench(Sessions(preset("TINY"), in_flight=4), seed=seed)


def timed(kind, seed, root_key):
    """Return the cycles of all streams in a run whose keys, texts and replies follow from ``seed``."""
    twin = Twin(*kind, random.Random(seed), schedule=random.Random(1), root_key=root_key)
    clients = [twin.opened() for _ in range(3)]
    twin.settle()
    for turn in range(60):
        twin.feed(clients[turn * turn % 3].operation(twin.rng))
    twin.settle()
    for turn in range(60):
        twin.feed(clients[turn % 3].operation(twin.rng))
        twin.step(turn % 13)
    clients.append(twin.opened(replaces=clients[0].session))
    twin.feed(clients[3].operation(twin.rng))
    twin.settle()
    bench = twin.bench
    sources = [bench.source(name) for name in ("i_record", "i_reply", "i_noise", "i_root_key")]
    return [list(stream.cycles) for stream in [*sources, bench.sink("o_command"), bench.sink("o_record")]], twin.answers


@pytest.mark.sec_cm("SESSIONS.TIME.CONST")
def test_times_depend_on_the_schedule_alone(kind):
    runs = [timed(kind, seed, random.Random(seed).randbytes(32)) for seed in (1, 2, 3)]
    assert runs[0][0] == runs[1][0] == runs[2][0]
    assert runs[0][1] != runs[1][1]
