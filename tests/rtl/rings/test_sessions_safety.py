# amaranth: UnusedElaboratable=no
"""What protects sessions: who may open one, what may run in it, what stays of it, and what its times tell."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.bodies import responses
from omap.credentials import ALL_RIGHTS, ClientKey, Credential, Right, provision
from omap.errors import WrongKeyError
from omap.operations import Kind, Operation, Status
from omap.presets import preset
from omap.wire import CLOSE, LINE_BYTES, Header, RecordType, Refusal, read_header
from sim.bench.secrecy import differences, state
from tests.support.rtl.session_bench import (
    BEAT_BYTES,
    OWNER,
    ROOT_KEY,
    UNERASED,
    Interpreted,
    Twin,
    code,
    data,
    design,
    flipped,
)

READER = Credential(Right.READ)


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
    most = twin.codec.most_operations
    last = [client.draw(twin.rng) for _ in range(most)]
    last[twin.rng.randrange(most)] = Operation(CLOSE)
    twin.feed(client.seal(last))  # the whole record runs, wherever its CLOSE is
    for _ in range(4):  # on their way while the session is closed
        twin.feed(client.operation(twin.rng))
        twin.feed(other.operation(twin.rng))
    twin.feed(data(twin, client.session_index, client.session, 1))  # out of its turn, yet of no open session
    twin.settle()
    assert len(twin.got_commands) == 3 + most + 4
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
    assert code(twin.answers[-2]) == Refusal.OUT_OF_TURN
    for record in records:
        assert code(twin.feed(record)) == Refusal.UNKNOWN_SESSION
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
    before, run = len(twin.answers), 0
    for place in range(8):
        record = client.operations(twin.rng)
        run += read_header(record).count if place < at else 0
        twin.feed(flipped(record, 128 + twin.rng.randrange(8 * len(record) - 128)) if place == at else record)
        for other in others:
            run += 1
            twin.feed(other.operation(twin.rng))
    twin.settle()
    assert len(twin.got_commands) == run
    codes = [code(answer) for answer in twin.answers[before:]]
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
        before = state(twin.bench, without_memories_of=UNERASED)
        twin.bench.source("i_reply").push(twin.replies)
        twin.feed(flipped(client.operation(twin.rng), 200) if attack == "flip" else record)
        twin.bench.run(400)
        beats = twin.bench.sink("o_record").transfers
        assert beats == sum(map(len, twin.answers)) // BEAT_BYTES
        states.append((before, state(twin.bench, without_memories_of=UNERASED)))
    (before, after), (other_before, other_after) = states
    keys = [f"memory row {client.session_index}"]
    assert differences(before, other_before).count(keys[0]) > 30  # round keys, hash keys and their powers
    assert not [name for name in differences(after, other_after) if name.startswith("memory row")]


def told(client, answer):
    """Return what a client reads in the answer to its record: number, overruns, live keys, and a response for each."""
    reply = client.open(answer)
    return reply, responses(client.codec, reply)


def each_kind(client):
    """Return an operation of each kind, for a key that begins with \\x01 and for one that does not."""
    value = bytes(client.codec.params.value_bytes)
    keys = [bytes([first]).ljust(client.codec.params.key_bytes, b"k") for first in (1, 2)]
    return [Operation(kind, key, value if kind == Kind.PUT else b"") for key in keys for kind in Kind]


@pytest.mark.sec_cm("SESSIONS.RIGHTS.ENFORCED")
@pytest.mark.parametrize(
    ("credential", "allowed"),
    [
        (OWNER, "nop get put delete nop get put delete"),
        (Credential(Right.READ), "nop get - - nop get - -"),
        (Credential(Right.WRITE), "nop - put delete nop - put delete"),
        (Credential(ALL_RIGHTS, b"\x01"), "nop get put delete nop - - -"),
        (Credential(Right.READ, b"\x01k"), "nop get - - nop - - -"),
        (Credential(Right.WRITE, b"\x01kk"), "nop - put delete nop - - -"),
        (Credential(ALL_RIGHTS, b"\x01x"), "nop - - - nop - - -"),
    ],
)
def test_what_a_session_may_not_do_runs_as_a_nop(kind, credential, allowed):
    twin = Twin(*kind, random.Random(14))
    client, other = twin.opened(credential=credential), twin.opened()
    answer = twin.feed(client.seal(each_kind(client)))
    twin.feed(other.seal(each_kind(other)))  # of a session that may do everything, right behind it
    twin.settle()
    allowed = allowed.split()
    kinds = [command & 3 for command in twin.got_commands]
    assert kinds == [0 if name == "-" else Kind[name.upper()] for name in allowed] + list(Kind) * 2
    assert all(command == 0 for command in twin.got_commands if command & 3 == Kind.NOP)
    _, got = told(client, answer)
    assert [response.status == Status.DENIED for response in got] == [name == "-" for name in allowed]
    assert all(response.previous is None for response in got if response.status == Status.DENIED)


@pytest.mark.sec_cm("SESSIONS.PREVIOUS.HIDDEN")
@pytest.mark.sec_cm("SESSIONS.TOLD.BOUNDED")
@pytest.mark.parametrize(
    ("credential", "sees_values", "sees_map"),
    [
        (OWNER, True, True),
        (Credential(Right.READ), True, True),
        (Credential(Right.WRITE), False, False),
        (Credential(ALL_RIGHTS, b"\x01"), True, False),
        (Credential(Right.WRITE, b"\x01"), False, False),
    ],
)
def test_a_session_is_told_what_it_may_read(kind, credential, sees_values, sees_map):
    twin = Twin(*kind, random.Random(15))
    client, other = twin.opened(credential=credential), twin.opened()
    wanted = Kind.GET if credential.rights == Right.READ else Kind.PUT
    key = b"\x01".ljust(twin.params.key_bytes, b"k")
    operations = [Operation(wanted, key, bytes(twin.params.value_bytes) if wanted == Kind.PUT else b"")] * 10
    for _ in range(4):
        reply, got = told(client, twin.feed(client.seal(operations)))
        twin.feed(other.seal([other.draw(twin.rng) for _ in operations]))
        assert any(response.previous is not None for response in got) == sees_values
        assert (Status.NOT_FOUND in [response.status for response in got]) == sees_values
        assert Status.FULL in [response.status for response in got]
        assert (reply.live != 0) == (reply.overruns != 0) == sees_map
    twin.settle()


@pytest.mark.sec_cm("SESSIONS.KEY.CONFIRM")
@pytest.mark.sec_cm("SESSIONS.RIGHTS.ENFORCED")
def test_no_client_widens_its_rights(tiny):
    """The key of a reader under the credential of the owner, and a HELLO that the host has altered on its way."""
    twin = Twin(*tiny, random.Random(16))
    key = provision(ROOT_KEY, READER)
    forger = twin.client(credential=OWNER)
    forger._client = ClientKey(OWNER, key.key, key.names_key)
    answer = twin.feed(forger.hello())
    with pytest.raises(WrongKeyError):
        forger.confirm(answer)
    session, proof = read_header(answer).session, forger.keys(answer).confirm_client()
    confirm = Header(RecordType.CONFIRM, 0, 1, 0, session, 0).pack() + proof  # it replaces no session
    assert code(twin.feed(confirm.ljust(LINE_BYTES, b"\0"))) == Refusal.WRONG_KEY

    reader = twin.client(credential=READER)
    hello = bytearray(reader.hello())
    hello[2 * BEAT_BYTES] |= Right.WRITE
    with pytest.raises(WrongKeyError):
        reader.confirm(twin.feed(bytes(hello)))
    twin.settle()


@pytest.mark.sec_cm("SESSIONS.FORMAT.ENDS")
def test_a_format_ends_all_sessions(tiny):
    twin = Twin(*tiny, random.Random(11))
    client = twin.opened()
    twin.feed(client.operation(twin.rng))
    twin.settle()
    twin.format()
    assert code(twin.feed(client.operation(twin.rng))) == Refusal.UNKNOWN_SESSION
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
    assert code(twin.feed(held_back)) == Refusal.UNKNOWN_SESSION
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
        assert code(answer) == Refusal.WRONG_KEY
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
        states.append((before, state(twin.bench, without_memories_of=UNERASED)))
    (before, after), (other_before, other_after) = states
    assert {"root_key", "memory row 0"} <= set(differences(before, other_before))
    assert not differences(after, other_after)


def timed(kind, seed, root_key):
    """Return the cycles of all streams in a run whose keys, texts and replies follow from ``seed``."""
    twin = Twin(*kind, random.Random(seed), schedule=random.Random(1), root_key=root_key)
    clients = [twin.opened(credential=credential) for credential in (OWNER, Credential(Right.WRITE, b"\x01"), READER)]
    twin.settle()
    for turn in range(60):
        twin.feed(clients[turn * turn % 3].operations(twin.rng, 1 + turn % 5))
    twin.settle()
    for turn in range(60):
        twin.feed(clients[turn % 3].operations(twin.rng, 1 + turn * turn % 7))
        twin.step(turn % 13)
    clients.append(twin.opened(replaces=clients[0].session))
    twin.feed(clients[3].operations(twin.rng, twin.codec.most_operations))
    twin.settle()
    bench = twin.bench
    sources = [bench.source(name) for name in ("i_record", "i_reply", "i_noise", "i_root_key")]
    return [list(stream.cycles) for stream in [*sources, bench.sink("o_command"), bench.sink("o_record")]], twin.answers


@pytest.mark.sec_cm("SESSIONS.TIME.CONST")
def test_times_depend_on_the_schedule_alone(kind):
    runs = [timed(kind, seed, random.Random(seed).randbytes(32)) for seed in (1, 2, 3)]
    assert runs[0][0] == runs[1][0] == runs[2][0]
    assert runs[0][1] != runs[1][1]
