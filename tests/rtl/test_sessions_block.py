# amaranth: UnusedElaboratable=no
"""The sessions block: as the reference, bit for bit, in any schedule; and what protects it."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from omap.presets import preset
from omap.session import RECORD_LIMIT
from omap.wire import CLOSE, Header, RecordType, Refusal, read_header
from rtl.sessions import Sessions
from sim.amaranth_bench import AmaranthBench
from sim.compiled import Design
from sim.secrecy import differences, state
from tests.rtl.session_bench import ROOT_KEY, Twin

IN_FLIGHT = 8
WAITS = st.lists(st.integers(0, 40), max_size=30)


@pytest.fixture(scope="module")
def tiny():
    params = preset("TINY")
    return Design(Sessions(params, in_flight=IN_FLIGHT), key=("TINY", IN_FLIGHT)), params


@pytest.fixture(scope="module")
def wide():
    params = preset("WIDE")
    return Design(Sessions(params, in_flight=IN_FLIGHT), key=("WIDE", IN_FLIGHT)), params


@pytest.fixture(params=["tiny", "wide"])
def kind(request):
    return request.getfixturevalue(request.param)


def flipped(record, bit):
    altered = bytearray(record)
    altered[bit // 8 % len(altered)] ^= 1 << bit % 8
    return bytes(altered)


def data(twin, slot, session, sequence):
    """A DATA record that nobody sealed."""
    return Header(RecordType.DATA, slot, twin.rng.getrandbits(16), session, sequence).pack() + twin.rng.randbytes(
        twin.codec.record_bytes - 16
    )


def is_open(twin, client):
    return any(entry is not None and entry.session == client.session for entry in twin.model._table)


class Script:
    """Drawn actions of many clients."""

    def __init__(self, twin):
        self.twin, self.clients, self.pending = twin, [twin.opened()], []

    def pick(self, number):
        return self.clients[number % len(self.clients)]

    def do(self, action, number):
        getattr(self, action)(number)

    def operate(self, number):
        for _ in range(1 + number % 5):
            self.twin.feed(self.pick(number).operation(self.twin.rng))

    def mix(self, number):
        for _ in range(number):
            self.twin.feed(self.twin.rng.choice(self.clients).operation(self.twin.rng))

    def open(self, number):
        replaces = self.pick(number).session if number % 2 else 0
        self.clients.append(self.twin.opened(replaces=replaces))

    def begin(self, number):
        client = self.twin.client()
        self.pending.append((client, client.confirm(self.twin.feed(client.hello()))))

    def finish(self, number):
        """A handshake that another may have overtaken; its confirmation may be altered at first."""
        if self.pending:
            client, record = self.pending.pop(number % len(self.pending))
            if number % 3 == 0:
                self.twin.feed(flipped(record, 128 + number * 8))
            answer = self.twin.feed(record)
            if read_header(answer).type == RecordType.CONFIRM:
                client.opened(answer)
                self.clients.append(client)

    def close(self, number):
        self.twin.feed(self.pick(number).operation(self.twin.rng, CLOSE))

    def strange(self, number):
        record = data(self.twin, number, 1, 0)
        self.twin.feed(bytes([(0, 4, 5, 131, 255)[number % 5]]) + record[1:])

    def unknown(self, number):
        client = self.pick(number)
        self.twin.feed(data(self.twin, client.slot + 16 * (1 + number % 15), client.session, client.sent))
        self.twin.feed(data(self.twin, client.slot, client.session + 100, client.sent))

    def rekey(self, number):
        client = self.pick(number)
        self.twin.feed(data(self.twin, client.slot, client.session, RECORD_LIMIT + client.sent + (number << 40)))

    def settle(self, number):
        self.twin.settle()

    def format(self, number):
        self.twin.settle()
        self.twin.format()
        for client in self.clients:
            self.twin.feed(client.operation(self.twin.rng))
        self.pending.clear()  # sessions are numbered anew: what is kept of the old ones could meet their namesakes
        self.clients = [self.twin.opened()]

    def attack(self, number):
        """The last of all: a record altered, repeated or left out. What comes after it is not answered."""
        client = next((client for client in reversed(self.clients) if is_open(self.twin, client)), None)
        if client is None:
            return
        kept = client.operation(self.twin.rng)
        if number % 3 == 0:
            self.twin.feed(flipped(kept, 128 + self.twin.rng.randrange(8 * len(kept) - 128)))
        else:
            if number % 3 == 1:
                self.twin.feed(kept)
            else:
                kept = client.operation(self.twin.rng)
            self.twin.feed(kept)
        for _ in range(3):
            self.twin.feed(client.operation(self.twin.rng))


ACTIONS = [name for name in vars(Script) if not name.startswith("_") and name not in ("do", "pick", "attack")]


@settings(deadline=None, max_examples=200)
@given(
    seed=st.integers(0, 1 << 32),
    actions=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 15)), max_size=25),
    attack=st.one_of(st.none(), st.integers(0, 2)),
    idle=st.fixed_dictionaries(dict.fromkeys(["i_record", "i_reply", "i_nonce"], st.sampled_from([0.0, 0.1, 0.6]))),
    stall=st.fixed_dictionaries(dict.fromkeys(["o_command", "o_record"], st.sampled_from([0.0, 0.1, 0.8]))),
    waits=st.fixed_dictionaries(dict.fromkeys(["o_command", "o_record"], WAITS)),
    chunk=st.sampled_from([1, 7, 40]),
)
@pytest.mark.sec_cm("SESSIONS.RECORD.TURN")
@pytest.mark.sec_cm("SESSIONS.FORMAT.ENDS")
def test_answers_equal_the_reference_in_any_schedule(tiny, wide, seed, actions, attack, idle, stall, waits, chunk):
    for kind in (tiny, wide):
        twin = Twin(*kind, random.Random(seed), chunk=chunk)
        for name, share in idle.items():
            twin.bench.source(name, idle=share)
        for name, share in stall.items():
            twin.bench.sink(name, idle=share, waits=waits[name])
        script = Script(twin)
        for action, number in actions:
            script.do(action, number)
        if attack is not None:
            script.attack(attack)
        twin.settle()


@pytest.mark.parametrize("seed", range(3))
def test_more_sessions_than_there_are_slots(tiny, seed):
    twin = Twin(*tiny, random.Random(seed), chunk=40)
    clients = []
    for count in range(40):
        clients.append(twin.opened(replaces=clients[twin.rng.randrange(count)].session if count % 5 == 4 else 0))
        for _ in range(twin.rng.randrange(30)):
            twin.feed(twin.rng.choice(clients).operation(twin.rng))
        if count % 7 == 6:
            twin.feed(twin.rng.choice(clients).operation(twin.rng, CLOSE))
    twin.settle()
    assert sum(is_open(twin, client) for client in clients) == 16


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
    twin.feed(data(twin, client.slot, client.session, 1))  # out of its turn, yet of no open session
    twin.settle()
    types = [read_header(answer).type for answer in twin.answers[-9:]]
    assert types == [RecordType.REFUSED, RecordType.DATA] * 4 + [RecordType.REFUSED]


def test_a_forged_record_behind_the_last_one_of_its_session_latches_a_fault(tiny):
    """The one difference to the reference, which refuses it: it is opened before the session is known to be closed."""
    twin = Twin(*tiny, random.Random(3))
    client = twin.opened()
    twin.settle()
    twin.feed(client.operation(twin.rng, CLOSE))
    twin.feed(flipped(client.operation(twin.rng), 200))
    twin.answers.pop()
    twin.fault = "fault_tag"
    twin.settle()


@pytest.mark.sec_cm("SESSIONS.OLD.FENCED")
def test_a_new_session_closes_the_one_it_replaces(tiny):
    twin = Twin(*tiny, random.Random(4))
    old = twin.opened()
    twin.feed(old.operation(twin.rng))
    held_back = old.operation(twin.rng)
    twin.opened(replaces=old.session)
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


def test_records_wait_until_the_map_is_open(tiny):
    twin = Twin(*tiny, random.Random(6))
    twin.bench.set("open_", 0)
    client = twin.opened()
    twin.bench.run(100)
    assert twin.bench.source("i_record").transfers == 0
    assert twin.bench.get("idle") == 1
    twin.bench.set("open_", 1)
    twin.settle()
    twin.feed(client.operation(twin.rng))
    twin.bench.run(2)
    twin.bench.set("open_", 0)  # a record that has begun
    twin.feed(client.operation(twin.rng))
    twin.bench.run(300)
    assert twin.bench.source("i_record").left == 4
    assert twin.bench.get("idle") == 0
    twin.bench.set("open_", 1)
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


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1 << 32), cycles=st.integers(0, 1200), clear=st.booleans())
@pytest.mark.sec_cm("SESSIONS.KEY.ERASE")
def test_nothing_comes_after_an_erasure(tiny, seed, cycles, clear):
    twin = Twin(*tiny, random.Random(seed))
    client = twin.opened()
    twin.settle()
    for _ in range(60):
        twin.feed(client.operation(twin.rng))
    twin.opened()
    for _ in range(cycles // 10):
        twin.step(10)
    erase(twin)
    bench = twin.bench
    streams = [bench.source(name) for name in ("i_record", "i_root_key")]
    streams += [bench.sink(name) for name in ("o_command", "o_record")]
    before = [stream.transfers for stream in streams]
    bench.source("i_root_key").push([ROOT_KEY])
    if clear:
        twin.format()
    for _ in range(300):
        bench.run(10)
        assert not any(bench.get(f"{name}__valid") for name in ("o_command", "o_record"))
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
        twin.bench.run(2600)
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
    sources = [bench.source(name) for name in ("i_record", "i_reply", "i_nonce", "i_root_key")]
    return [list(stream.cycles) for stream in [*sources, bench.sink("o_command"), bench.sink("o_record")]], twin.answers


@pytest.mark.sec_cm("SESSIONS.TIME.CONST")
def test_times_depend_on_the_schedule_alone(kind):
    runs = [timed(kind, seed, random.Random(seed).randbytes(32)) for seed in (1, 2, 3)]
    assert runs[0][0] == runs[1][0] == runs[2][0]
    assert runs[0][1] != runs[1][1]


def test_a_record_in_as_many_cycles_as_it_has_beats(kind):
    twin = Twin(*kind, random.Random(8))
    clients = [twin.opened() for _ in range(3)]
    twin.settle()
    bench, beats, count = twin.bench, twin.codec.record_bytes // 16, 100
    for _ in range(count):
        twin.feed(twin.rng.choice(clients).operation(twin.rng))
    bench.source("i_reply").push(twin.replies)  # those behind the first wait for their commands
    twin.replied = count
    bench.run(2 * count * beats)
    twin.settle()
    taken, out = bench.source("i_record").cycles[-count * beats :], bench.sink("o_record").cycles[-count * beats :]
    assert taken[-1] - taken[0] == out[-1] - out[0] == count * beats - 1


def test_latencies(kind):
    twin = Twin(*kind, random.Random(9))
    client = twin.opened()
    twin.settle()
    bench, beats = twin.bench, twin.codec.record_bytes // 16
    twin.feed(client.operation(twin.rng))
    bench.run(100 + beats)
    twin.got_commands += bench.sink("o_command").take()
    command = bench.sink("o_command").cycles[-1] - bench.source("i_record").cycles[-1]
    assert command <= 30 + beats
    bench.source("i_reply").push(twin.replies)
    twin.replied = 1
    twin.settle()
    assert bench.sink("o_record").cycles[-beats] - bench.source("i_reply").cycles[0] == Sessions(twin.params).latency


def test_refused_parameters():
    with pytest.raises(ParamsError, match="in_flight is 0; it must be a whole number from 1 to 65536"):
        Sessions(preset("TINY"), in_flight=0)
