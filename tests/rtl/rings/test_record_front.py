# amaranth: UnusedElaboratable=no
"""The front of the session block: which records go on and which are answered there, as the reference decides."""

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.lineage import NO_ANCESTOR
from omap.operations import Operation
from omap.presets import preset
from omap.session import RECORD_LIMIT, record_nonce
from omap.sessions import DeviceSessions
from omap.wire import ENDS_SESSION, LINE_BYTES, Header, RecordType, Refusal, read_header, refusal
from rtl.rings.record import RIGHTS
from rtl.rings.record_front import RecordFront
from sim.bench.compiled import Design
from sim.models.streams import pack
from tests.support.rtl.session_ends import MAP_ID, ROOT_KEY, Client, drawn, number

MOST = 200
BEAT_BYTES = 16
NOTHING_MORE = 100
"""Cycles after which a block that was idle has nothing more to say."""


@cache
def design(name):
    return Design(RecordFront(preset(name), most=MOST)), preset(name)


@pytest.fixture(params=["TINY", "WIDE"])
def kind(request):
    return design(request.param)


class Twin:
    """The block, the reference, and a bench in the place of what opens and answers the records that go on."""

    def __init__(self, design, params, rng):
        self.params, self.rng = params, rng
        self.bench = design.bench(seed=rng.randrange(1 << 30))
        self.model = DeviceSessions(params, ROOT_KEY, nonce=self._nonce)
        ports = {"root_key": number(ROOT_KEY), "present": 1, "map_id": number(MAP_ID), "kept": NO_ANCESTOR, "open_": 1}
        for name, value in ports.items():
            self.bench.set(name, value)
        self.requests, self.sealed, self.answers, self.keys = [], [], [], []
        self.going = []  # records that went on before each answer
        self.got = {name: [] for name in ("o_request", "o_sealed", "o_answer", "o_command_key", "o_response_key")}
        self.answered = 0

    def _nonce(self):
        nonce = self.rng.randbytes(16)
        self.bench.source("i_nonce").push([nonce])
        return nonce

    def client(self, **options):
        return Client(self.params, self.rng, drawn(self.rng, self.params), **options)

    def opened(self, **options):
        client = self.client(**options)
        answer = self.feed(client.hello())
        client.opened(self.feed(client.confirm(answer)))
        keys = client.keys(answer)
        self.keys.append((client.session_index, keys.command, keys.response))
        return client

    def operation(self, client, count=1):
        """Return the next record of a client; what it says does not matter here."""
        return client.seal([Operation(0, bytes(self.params.key_bytes), b"")] * count)

    def feed(self, record, *, malformed=False):
        """Give a record to both; return the reference's answer, or None if the record goes on."""
        assert not malformed or len(record) == LINE_BYTES
        beats = [record[at : at + BEAT_BYTES] for at in range(0, len(record), BEAT_BYTES)]
        self.bench.source("i_record").push(
            {"data": number(beat), "last": at == len(beats) - 1, "malformed": malformed}
            for at, beat in enumerate(beats)
        )
        header = read_header(record)
        answer = refusal(header, Refusal.MALFORMED) if malformed else self._answer(record, header)
        if answer:
            self.answers.append(answer)
            self.going.append(len(self.requests))
        else:
            nonce = number(record_nonce(0, header.sequence))
            self.requests.append(header.session_index | nonce << 4 | len(beats) << 100)
            self.sealed.append([number(beat) for beat in beats])
        return answer

    def _answer(self, record, header):
        if header.type == RecordType.HELLO:
            return self.model.hello(record, MAP_ID)
        if header.type == RecordType.CONFIRM:
            return self.model.confirm(record)
        found = self.model.open(record, header)
        if not isinstance(found, Refusal):
            return None
        if found in ENDS_SESSION:
            self.model.close(header)
        return refusal(header, found)

    def step(self, cycles):
        """Run, then answer some of the records that went on."""
        self.bench.run(cycles)
        before = len(self.got["o_answer"])
        for name, items in self.got.items():
            items += self.bench.sink(name).take()
        assert all(self.answered == going for going in self.going[before : len(self.got["o_answer"])])
        whole, beats = 0, len(self.got["o_sealed"])
        while whole < len(self.sealed) and beats >= len(self.sealed[whole]):
            beats -= len(self.sealed[whole])
            whole += 1
        for _ in range(self.rng.randint(0, whole - self.answered)):
            self.bench.set("answered", 1)
            self.bench.run(1)
            self.bench.set("answered", 0)
            self.answered += 1

    def settle(self, limit=40000):
        """Run until everything is answered, and compare."""
        end = self.bench.cycle + limit
        while self.answered < len(self.requests) or len(self.got["o_answer"]) < len(self.answers):
            assert self.bench.cycle < end
            self.step(self.rng.randint(1, 40))
        self.step(NOTHING_MORE)
        assert self.bench.get("idle")
        assert self.got["o_request"] == self.requests
        assert self.got["o_sealed"] == [beat for record in self.sealed for beat in record]
        assert [self._bytes(answer) for answer in self.got["o_answer"]] == self.answers
        keys = zip(self.got["o_command_key"], self.got["o_response_key"], strict=True)
        places = [(index, number(command), number(response)) for index, command, response in self.keys]
        assert [(one & 15, one >> 4, other >> 4) for one, other in keys] == places
        assert [bool(entry) for entry in self.model._table] == [
            bool(self.bench.get("open_sessions") >> at & 1) for at in range(16)
        ]

    def _bytes(self, answer):
        lines = answer >> 512
        return (answer & (1 << 512) - 1).to_bytes(64, "little").ljust(LINE_BYTES * lines, b"\0")

    def close(self, client):
        """As whoever opens records does it, after the last record of a session."""
        self.settle()
        if self.is_open(client):
            self.model.close(Header(RecordType.DATA, client.session_index, 1, 1, client.session, 0))
            self.bench.set("close_index", client.session_index)
            self.bench.set("close", 1)
            self.bench.run(1)
            self.bench.set("close", 0)

    def is_open(self, client):
        entry = self.model._table[client.session_index]
        return entry is not None and entry.session == client.session


class Script:
    """Drawn actions of many clients."""

    def __init__(self, twin):
        self.twin, self.clients, self.pending = twin, [twin.opened()], []

    def pick(self, draw):
        return self.clients[draw % len(self.clients)]

    def operate(self, draw):
        most = self.twin.model.codec.most_operations
        for _ in range(1 + draw % 5):
            count = self.twin.rng.choice([1, 1, self.twin.rng.randint(1, most), most])
            self.twin.feed(self.twin.operation(self.pick(draw), count))

    def open(self, draw):
        self.clients.append(self.twin.opened(replaces=self.pick(draw).session if draw % 2 else 0))

    def begin(self, draw):
        client = self.twin.client()
        answer = self.twin.feed(client.hello())
        self.pending.append((client, answer, client.confirm(answer)))

    def finish(self, draw):
        """A handshake that another may have overtaken; its confirmation may be altered at first."""
        if self.pending:
            client, hello, record = self.pending.pop(draw % len(self.pending))
            if draw % 3 == 0:
                self.twin.feed(record[:16] + bytes([record[16] ^ 1]) + record[17:])
            answer = self.twin.feed(record)
            if read_header(answer).type == RecordType.CONFIRM:
                client.opened(answer)
                keys = client.keys(hello)
                self.twin.keys.append((client.session_index, keys.command, keys.response))
                self.clients.append(client)

    def damage(self, draw):
        record = self.twin.client().hello()
        self.twin.feed(record[:32] + bytes([draw]) + record[33:])

    def malform(self, draw):
        client = self.pick(draw)
        self.twin.feed(self.twin.client().hello()[:LINE_BYTES], malformed=True)
        self.twin.feed(self.twin.operation(client)[:LINE_BYTES], malformed=True)
        client.sent -= 1
        if draw % 2:
            self.twin.feed(self.twin.rng.randbytes(LINE_BYTES), malformed=True)

    def unknown(self, draw):
        client = self.pick(draw)
        for index, session in (
            (client.session_index + 16, client.session),
            (client.session_index, client.session + 99),
        ):
            self.twin.feed(self.data(index, session, client.sent))

    def rekey(self, draw):
        client = self.pick(draw)
        self.twin.feed(self.data(client.session_index, client.session, RECORD_LIMIT + client.sent + (draw << 40)))

    def out_of_turn(self, draw):
        client = self.pick(draw)
        turn = client.sent + 1 + draw if draw % 2 or not client.sent else client.sent - 1
        self.twin.feed(self.data(client.session_index, client.session, turn))

    def close(self, draw):
        self.twin.close(self.pick(draw))

    def settle(self, draw):
        self.twin.settle()

    def data(self, index, session, sequence):
        """A record that nobody sealed."""
        lines = self.twin.rng.randint(1, 5)
        header = Header(RecordType.DATA, index, lines, 1, session, sequence).pack()
        return header + self.twin.rng.randbytes(LINE_BYTES * lines - 16)


ACTIONS = [name for name in vars(Script) if not name.startswith("_") and name not in ("pick", "data")]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1 << 32),
    actions=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 15)), max_size=25),
    idle=st.fixed_dictionaries(dict.fromkeys(["i_record", "i_nonce"], st.sampled_from([0.0, 0.1, 0.6]))),
    stall=st.fixed_dictionaries(
        dict.fromkeys(["o_request", "o_sealed", "o_answer", "o_command_key"], st.sampled_from([0.0, 0.1, 0.8]))
    ),
)
@pytest.mark.sec_cm("SESSIONS.RECORD.TURN")
@pytest.mark.sec_cm("SESSIONS.TAMPER.ENDS")
def test_what_goes_on_and_what_is_answered_equals_the_reference(seed, actions, idle, stall):
    for kind in (design("TINY"), design("WIDE")):
        twin = Twin(*kind, random.Random(seed))
        for name, share in idle.items():
            twin.bench.source(name, idle=share)
        for name, share in stall.items():
            twin.bench.sink(name, idle=share)
        script = Script(twin)
        for action, draw in actions:
            getattr(script, action)(draw)
        twin.settle()


def test_a_malformed_record_counts_for_nothing(kind):
    """Each is what its place wants, but for what the ring port found in its header."""
    twin = Twin(*kind, random.Random(1))
    client = twin.opened()
    twin.feed(twin.operation(client))
    record = twin.operation(client)
    nonces, turn = twin.bench.source("i_nonce").transfers, twin.model._table[client.session_index].next
    for bad in (record[:LINE_BYTES], twin.client().hello()[:LINE_BYTES], twin.client()._clear(RecordType.CONFIRM, b"")):
        answer = twin.feed(bad, malformed=True)
        assert len(answer) == LINE_BYTES
        assert read_header(answer)[1:] == (bad[1], 1, Refusal.MALFORMED, *read_header(bad)[4:])
    twin.settle()
    assert twin.bench.source("i_nonce").transfers == nonces + 1
    assert twin.model._table[client.session_index].next == turn
    twin.feed(record)
    twin.settle()


def test_a_refusal_waits_for_the_answers_before_it(kind):
    twin = Twin(*kind, random.Random(2))
    client = twin.opened()
    twin.settle()
    before = twin.bench.sink("o_answer").transfers
    twin.feed(twin.operation(client))
    twin.feed(twin.client().hello()[:LINE_BYTES], malformed=True)
    twin.bench.run(300)
    assert twin.bench.sink("o_answer").transfers == before
    twin.settle()


def test_rights_are_told_by_session_index(kind):
    twin = Twin(*kind, random.Random(3))
    clients = [twin.opened() for _ in range(16)]
    twin.settle()
    for client in clients:
        packed = client.credential.pack()
        rights, length, prefix = packed[0], packed[1], packed[2:10]
        twin.bench.set("rights_index", client.session_index)
        twin.bench.run(1)
        fields = {"read": rights & 1, "write": rights >> 1, "prefix_bytes": length, "prefix": number(prefix)}
        assert twin.bench.get("rights") == pack(RIGHTS, fields)


@pytest.mark.parametrize("count", [1, 2, 5, None])
def test_records_go_on_at_full_rate(kind, count):
    twin = Twin(*kind, random.Random(4))
    clients = [twin.opened() for _ in range(3)]
    twin.settle()
    records = 100
    count = count or twin.model.codec.most_operations
    for turn in range(records):
        twin.feed(twin.operation(clients[turn % 3], count))
    beats = LINE_BYTES // BEAT_BYTES * twin.model.codec.lines(count)
    twin.bench.run(records * beats + 100)
    for stream in (twin.bench.source("i_record"), twin.bench.sink("o_sealed")):
        assert stream.cycles[-1] - stream.cycles[-records * beats] == records * beats - 1
    twin.settle()


def test_records_wait_until_the_map_is_open():
    twin = Twin(*design("TINY"), random.Random(5))
    client = twin.opened()
    twin.settle()
    twin.bench.set("open_", 0)
    taken = twin.bench.source("i_record").transfers
    twin.feed(twin.operation(client, 20))
    twin.bench.run(100)
    assert twin.bench.source("i_record").transfers == taken
    assert twin.bench.get("idle") == 1
    twin.bench.set("open_", 1)
    twin.bench.run(3)
    twin.bench.set("open_", 0)  # a record that has begun
    twin.settle()
