# amaranth: UnusedElaboratable=no
"""The sessions block: as the reference, bit for bit, in any schedule, at full rate."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.credentials import ALL_RIGHTS, Credential, Right
from omap.errors import ParamsError
from omap.presets import preset
from omap.session import RECORD_LIMIT
from omap.wire import CLOSE, PENDING_HANDSHAKES, RecordType, Refusal, read_header
from rtl.rings.sessions import Sessions
from tests.support.rtl.session_bench import BEAT_BYTES, IN_FLIGHT, OWNER, Twin, code, data, design, flipped, is_open

WAITS = st.lists(st.integers(0, 40), max_size=30)


@pytest.fixture
def tiny():
    return design("TINY")


@pytest.fixture(params=["TINY", "WIDE"])
def kind(request):
    return design(request.param)


CREDENTIALS = [
    OWNER,
    OWNER,
    Credential(Right.READ, name=b"reader"),
    Credential(Right.WRITE, name=b"writer"),
    Credential(ALL_RIGHTS, b"\x05"),
    Credential(Right.READ, b"abcd"),
    Credential(Right.WRITE, b"ab"),
]


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
            self.twin.feed(self.pick(number).operations(self.twin.rng))

    def mix(self, number):
        for _ in range(number):
            self.twin.feed(self.twin.rng.choice(self.clients).operations(self.twin.rng))

    def open(self, number):
        """A session of the credential of the one that it names, or of another."""
        named = self.pick(number)
        credential = named.credential if number % 4 == 1 else self.twin.rng.choice(CREDENTIALS)
        self.clients.append(self.twin.opened(credential=credential, replaces=named.session if number % 2 else 0))

    def begin(self, number):
        client = self.twin.client(credential=self.twin.rng.choice(CREDENTIALS))
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
        """A CLOSE alone, or at any place among other operations, or several."""
        twin, client = self.twin, self.pick(number)
        kinds = [CLOSE] * (1 + number % 3) + [None] * twin.rng.randrange(number + 1)
        twin.rng.shuffle(kinds)
        twin.feed(client.seal([client.draw(twin.rng, kind) for kind in kinds[: twin.codec.most_operations]]))

    def strange(self, number):
        """A record of a type that no command has, or whose lines or count do not fit."""
        twin, record = self.twin, bytearray(data(self.twin, number, 1, 0))
        place, values = [(0, (0, 4, 5, 131, 255)), (2, (0, 2, 3, 64, 255)), (3, (0, 9, 60, 254, 255))][number % 3]
        record[place] = twin.rng.choice(values)
        twin.feed(bytes(record))

    def unknown(self, number):
        client = self.pick(number)
        count = 1 + number % self.twin.codec.most_operations
        self.twin.feed(data(self.twin, client.session_index + 16 * (1 + number % 15), client.session, client.sent))
        self.twin.feed(data(self.twin, client.session_index, client.session + 100, client.sent, count))

    def rekey(self, number):
        client = self.pick(number)
        self.twin.feed(
            data(self.twin, client.session_index, client.session, RECORD_LIMIT + client.sent + (number << 40))
        )

    def settle(self, number):
        self.twin.settle()

    def format(self, number):
        self.twin.settle()
        self.twin.format()
        for client in self.clients:
            self.twin.feed(client.operations(self.twin.rng))
        self.pending.clear()  # sessions are numbered anew: what is kept of the old ones could meet their namesakes
        self.clients = [self.twin.opened()]

    def attack(self, number):
        """A record altered, cut, repeated or left out among others, of the same session and of other sessions."""
        twin, client = self.twin, self.pick(number)
        for _ in range(number % 4):
            twin.feed(client.operations(twin.rng))
        kept = client.operations(twin.rng)
        match number % 4:
            case 0:
                twin.feed(flipped(kept, 128 + twin.rng.randrange(8 * len(kept) - 128)))
            case 1:
                twin.feed(kept)
                twin.feed(kept)
            case 2:
                twin.feed(client.operations(twin.rng))
            case 3:  # lines and count that fit each other, yet not the tag
                forged = data(twin, client.session_index, client.session, client.sent - 1, 1 + number % 3)
                twin.feed(forged[:BEAT_BYTES] + kept[BEAT_BYTES : len(forged)] + forged[len(kept) :])
        for _ in range(number % 7):
            twin.feed(twin.rng.choice([client, *self.clients]).operations(twin.rng))


ACTIONS = [name for name in vars(Script) if not name.startswith("_") and name not in ("do", "pick")]


@settings(max_examples=120)
@given(
    seed=st.integers(0, 1 << 32),
    actions=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 15)), max_size=25),
    idle=st.fixed_dictionaries(dict.fromkeys(["i_record", "i_reply", "i_noise"], st.sampled_from([0.0, 0.1, 0.6]))),
    stall=st.fixed_dictionaries(dict.fromkeys(["o_command", "o_record"], st.sampled_from([0.0, 0.1, 0.8]))),
    waits=st.fixed_dictionaries(dict.fromkeys(["o_command", "o_record"], WAITS)),
    chunk=st.sampled_from([1, 7, 40]),
)
def test_answers_equal_the_reference_in_any_schedule(seed, actions, idle, stall, waits, chunk):
    for kind in (design("TINY"), design("WIDE")):
        twin = Twin(*kind, random.Random(seed), chunk=chunk)
        for name, share in idle.items():
            twin.bench.source(name, idle=share)
        for name, share in stall.items():
            twin.bench.sink(name, idle=share, waits=waits[name])
        script = Script(twin)
        for action, number in actions:
            script.do(action, number)
        twin.settle()


@pytest.mark.parametrize("seed", range(3))
def test_more_sessions_than_there_are_indices(tiny, seed):
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


def test_a_forged_record_behind_the_last_one_of_its_session_is_refused_unopened(tiny):
    twin = Twin(*tiny, random.Random(3))
    client = twin.opened()
    twin.settle()
    twin.feed(client.operation(twin.rng, CLOSE))
    answer = twin.feed(flipped(client.operation(twin.rng), 200))
    assert code(answer) == Refusal.UNKNOWN_SESSION
    twin.settle()


@pytest.mark.parametrize("others", [1, 15, 16, 40])
def test_a_handshake_stays_pending_until_the_sixteenth_hello_after_it(tiny, others):
    twin = Twin(*tiny, random.Random(others), chunk=40)
    client = twin.client()
    confirm = client.confirm(twin.feed(client.hello()))
    for _ in range(others):
        twin.feed(twin.client().hello())
    twin.feed(flipped(confirm, 128 + 5))  # a wrong confirmation drops nothing
    answer = twin.feed(confirm)
    assert (read_header(answer).type == RecordType.CONFIRM) == (others < PENDING_HANDSHAKES)
    twin.feed(confirm)  # once only
    twin.settle()


@pytest.mark.parametrize("seed", range(2))
def test_pending_handshakes_end_in_any_order(tiny, seed):
    twin = Twin(*tiny, random.Random(seed), chunk=40)
    clients = [twin.client() for _ in range(PENDING_HANDSHAKES)]
    confirms = [client.confirm(twin.feed(client.hello())) for client in clients]
    for number in twin.rng.sample(range(PENDING_HANDSHAKES), PENDING_HANDSHAKES):
        clients[number].opened(twin.feed(confirms[number]))
    for client in clients:
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
    assert twin.bench.source("i_record").remaining == 4
    assert twin.bench.get("idle") == 0
    twin.bench.set("open_", 1)
    twin.settle()


@pytest.mark.parametrize("length", ["one operation", "full"])
def test_records_in_as_many_cycles_as_they_have_beats(kind, length):
    """Both ways, so that full records of PAPER take 256 cycles for 253 operations."""
    twin = Twin(*kind, random.Random(8))
    clients = [twin.opened() for _ in range(3)]
    twin.settle()
    bench, records = twin.bench, 100 if length == "one operation" else 8
    count = 1 if length == "one operation" else twin.codec.most_operations
    beats = (
        sum(len(twin.feed(twin.rng.choice(clients).operations(twin.rng, count))) for _ in range(records)) // BEAT_BYTES
    )
    bench.source("i_reply").push(twin.replies)  # those behind the first wait for their commands
    twin.replied = len(twin.replies)
    bench.run(2 * beats)
    twin.settle()
    taken, out = bench.source("i_record").cycles[-beats:], bench.sink("o_record").cycles[-beats:]
    assert taken[-1] - taken[0] == out[-1] - out[0] == beats - 1


@pytest.mark.long
@pytest.mark.parametrize("name", ["PAPER", "STANDARD"])
def test_full_records_of_other_maps(name):
    twin = Twin(*design(name), random.Random(12))
    clients = [twin.opened(credential=credential) for credential in CREDENTIALS]
    for client in clients:
        for count in (twin.codec.most_operations, twin.codec.most_operations - 1, 1):
            twin.feed(client.operations(twin.rng, count))
    twin.settle()


def test_latencies(kind):
    twin = Twin(*kind, random.Random(9))
    client = twin.opened()
    twin.settle()
    bench = twin.bench
    beats = len(twin.feed(client.operation(twin.rng))) // BEAT_BYTES
    bench.run(100 + beats)
    twin.got_commands += bench.sink("o_command").take()
    command = bench.sink("o_command").cycles[-1] - bench.source("i_record").cycles[-1]
    assert command <= 30 + beats
    bench.source("i_reply").push(twin.replies)
    twin.replied = 1
    twin.settle()
    assert bench.sink("o_record").cycles[-beats] - bench.source("i_reply").cycles[0] == Sessions(twin.params).latency
    assert bench.sink("o_record").cycles[-1] - bench.sink("o_record").cycles[-beats] == beats - 1


def test_a_record_leaves_when_its_last_reply_has_come(kind):
    twin = Twin(*kind, random.Random(13))
    client = twin.opened()
    twin.settle()
    bench, before = twin.bench, twin.bench.sink("o_record").transfers
    count = min(IN_FLIGHT, twin.codec.most_operations)
    beats = len(twin.feed(client.operations(twin.rng, count))) // BEAT_BYTES
    bench.run(400)
    twin.got_commands += bench.sink("o_command").take()
    for reply in twin.replies[:-1]:
        bench.source("i_reply").push([reply])
        bench.run(twin.rng.randrange(60))
    bench.run(200)
    assert bench.sink("o_record").transfers == before
    bench.source("i_reply").push(twin.replies[-1:])
    twin.replied = count
    twin.settle()
    assert bench.sink("o_record").cycles[-beats] - bench.source("i_reply").cycles[-1] == Sessions(twin.params).latency


def test_refused_parameters():
    with pytest.raises(ParamsError, match="in_flight is 0; it must be a whole number from 1 to 65536"):
        Sessions(preset("TINY"), in_flight=0)
