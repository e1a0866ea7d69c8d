"""A device model through its rings, beside a plain dict with rights: whatever the host and its clients do."""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from omap.bodies import responses
from omap.credentials import Right
from omap.map import create
from omap.operations import Kind, Operation, Response, Status
from omap.presets import preset
from omap.regmap import State
from omap.wire import (
    CLOSE,
    ENDS_SESSION,
    HEADER,
    LINE_BYTES,
    Counter,
    Header,
    RecordCodec,
    RecordType,
    Refusal,
    read_header,
    refusal,
    write_counter,
)
from tests.support.omap_maps import compiled
from tests.support.oracle import expected
from tests.support.ring_host import RingHost
from tests.support.sessions import holder

PARAMS = preset("TINY")
CODEC = RecordCodec(PARAMS)
RING_LINES = 128
BOTH = Right.READ | Right.WRITE
CLIENTS = [
    holder(b"owner"),
    holder(b"reader", Right.READ),
    holder(b"writer", Right.WRITE),
    holder(b"a", BOTH, b"a"),
    holder(b"b", Right.WRITE, b"b"),
]

keys = st.lists(st.sampled_from([b"a", b"b"]), min_size=4, max_size=4).map(b"".join)
operations = st.builds(
    Operation, st.sampled_from([*Kind, *Kind, CLOSE]), keys, st.binary(min_size=4, max_size=4)
)  # fmt: skip
counts = st.one_of(st.integers(1, 6), st.integers(1, CODEC.most_operations))


def allowed(credential, operation):
    if operation.kind in (Kind.NOP, CLOSE):
        return True
    right = Right.READ if operation.kind == Kind.GET else Right.WRITE
    return bool(credential.rights & right) and operation.key.startswith(credential.prefix)


def told(credential, operation, oracle):
    """Run an operation on a dict and return what the client is told."""
    if not allowed(credential, operation):
        return Response(Status.DENIED)
    if operation.kind == CLOSE:
        return Response(Status.OK)
    response = expected(oracle, PARAMS.capacity, operation)
    if credential.rights & Right.READ:
        return response
    return Response(Status.FULL if response.status is Status.FULL else Status.OK)


@dataclass
class Ours:
    """A session as this test sees it. It is over when its end was sealed or it was tampered with."""

    client: object
    credential: object
    over: bool = False


class Rings(RuleBasedStateMachine):
    """Records lie in the ring until :meth:`work`; the answers that are due lie in ``due``, oldest first."""

    create = staticmethod(compiled)

    @initialize()
    def start(self):
        self.host = RingHost(RING_LINES, create=self.create)
        self.oracle, self.count, self.due, self.lines = {}, 0, [], 0
        self.sessions = []
        self.open(0)

    @rule(who=st.integers(0, len(CLIENTS) - 1))
    def open(self, who):
        self.work()
        if len(self.sessions) < 12:
            self.sessions.append(Ours(self.host.connect(CLIENTS[who]), CLIENTS[who].credential))

    @rule(data=st.data(), count=counts, cut=st.integers(1, 8))
    def send(self, data, count, cut):
        """A few drawn operations, over and over: drawing hundreds would take the test its time."""
        session = data.draw(st.sampled_from(self.sessions))
        drawn = data.draw(st.lists(operations, min_size=1, max_size=min(count, 12)))
        batch = (drawn * count)[:count]
        record = session.client.seal(batch)
        self.make_room(len(record))
        if session.over:
            self.due.append((session, read_header(record), Refusal.UNKNOWN_SESSION, None))
            self.put(record, cut)
            return
        answers = [told(session.credential, operation, self.oracle) for operation in batch]
        sees = session.credential.rights & Right.READ and not session.credential.prefix
        self.due.append((session, read_header(record), (self.count, len(self.oracle) if sees else 0), answers))
        self.count += count
        session.over = any(operation.kind == CLOSE for operation in batch)
        self.put(record, cut)

    @rule(data=st.data(), count=counts, cut=st.integers(1, 8))
    def tamper(self, data, count, cut):
        """A bit of the body, the session's number, or a record out of its turn."""
        session = data.draw(st.sampled_from(self.sessions))
        record = bytearray(session.client.seal([Operation(Kind.PUT, b"aaaa", b"evil")] * count))
        how = data.draw(st.sampled_from(["body", "session", "turn"]))
        if how == "body":
            bit = data.draw(st.integers(8 * HEADER.size, 8 * len(record) - 1))
            record[bit // 8] ^= 1 << bit % 8
        else:
            record[4 if how == "session" else 8] ^= 1
        code = Refusal.ALTERED if how == "body" else Refusal.OUT_OF_TURN
        if how == "turn":
            code = Refusal.REKEY  # its highest byte is beyond all that a session may carry
        self.make_room(len(record))
        if session.over or how == "session":
            code = Refusal.UNKNOWN_SESSION
        session.over = session.over or code in ENDS_SESSION
        self.due.append((session, read_header(record), code, None))
        self.put(bytes(record), cut)
        if how != "body":  # the right one never comes, so that the next one is out of its turn
            session.client.sent -= 1

    @rule(data=st.data())
    def repeat(self, data):
        session = data.draw(st.sampled_from(self.sessions))
        record = session.client.seal([Operation(Kind.DELETE, b"aaaa")])
        session.client.sent -= 1
        head = read_header(record)._replace(sequence=session.client.sent + 1)
        self.make_room(len(record))
        self.due.append((session, head, Refusal.UNKNOWN_SESSION if session.over else Refusal.OUT_OF_TURN, None))
        session.over = True
        self.put(head.pack() + record[HEADER.size :], 8)

    @rule(
        type_=st.integers(0, 255) | st.sampled_from(RecordType),
        lines=st.integers(0, 255) | st.integers(0, 3),
        count=st.integers(0, 255),
    )
    def malformed(self, type_, lines, count):
        line = bytes([type_, 0, lines, count]).ljust(LINE_BYTES, b"\1")
        if CODEC.command_lines(type_, lines, count):
            return
        self.make_room(LINE_BYTES)
        self.due.append((None, read_header(line), Refusal.MALFORMED, None))
        self.put(line, 8)

    @rule(rights=st.sampled_from([0, 4, 255]), length=st.integers(5, 255), session=st.integers(1 << 20, 2**32 - 1))
    def strange_handshake(self, rights, length, session):
        """A HELLO of two lines is refused in one, so that a line is saved."""
        for type_, lines, body, code in [
            (RecordType.HELLO, 2, bytes([rights, 0]), Refusal.CREDENTIAL),
            (RecordType.HELLO, 2, bytes([3, length]), Refusal.CREDENTIAL),
            (RecordType.CONFIRM, 1, b"", Refusal.NO_HANDSHAKE),
        ]:
            head = Header(type_, 0, lines, 0, session, 0)
            self.make_room(lines * LINE_BYTES)
            self.due.append((None, head, code, None))
            self.put((head.pack() + bytes(16) + body).ljust(lines * LINE_BYTES, b"\0"), 8)

    @rule(limit=st.integers(1, 600))
    def step(self, limit):
        self.host.device.step(limit)

    @rule()
    def take(self):
        """Take all responses that are there, and compare them with what is due."""
        while self.host.counter(Counter.RESPONSES_TAKEN) < self.host.counter(Counter.RESPONSES_WRITTEN):
            answer = self.host.take()
            session, header, what, answers = self.due.pop(0)
            self.lines -= CODEC.command_lines(header.type, header.lines, header.count) or 1
            if answers is None:
                assert answer == refusal(header, what)
                continue
            assert read_header(answer) == header
            reply = session.client.open(answer)
            assert responses(CODEC, reply) == answers
            assert (reply.sequence, reply.live, reply.overruns) == (*what, 0)

    @rule()
    def work(self):
        """Have all answered."""
        while self.host.device.step():
            pass
        self.take()
        assert not self.due
        assert self.lines == 0
        assert len(self.host.device._map) == len(self.oracle)

    @invariant()
    def room_for_responses_is_never_exceeded(self):
        waiting = self.host.counter(Counter.RESPONSES_WRITTEN) - self.host.counter(Counter.RESPONSES_TAKEN)
        assert 0 <= waiting <= RING_LINES
        assert self.host.device.state is State.READY

    def make_room(self, size):
        """Have all answered if a record does not fit into the rings with all that is under way."""
        if self.lines + size // LINE_BYTES > RING_LINES:
            self.work()

    def put(self, record, cut):
        """Put a record into the ring, some lines at a time, with a step after each."""
        self.lines += CODEC.command_lines(*record[:1], *record[2:4]) or 1
        for at in range(0, len(record), cut * LINE_BYTES):
            self.host.put(record[at : at + cut * LINE_BYTES])
            if cut < 8:
                self.host.device.step()


class ReferenceRings(Rings):
    """The same over the reference map."""

    create = staticmethod(create)


def run(machine, examples, steps):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


def test_answers_are_those_of_a_dict_with_rights():
    run(Rings, examples=40, steps=30)
    run(ReferenceRings, examples=5, steps=20)


@pytest.mark.long
def test_answers_are_those_of_a_dict_with_rights_for_long():
    run(Rings, examples=300, steps=50)
    run(ReferenceRings, examples=60, steps=40)


lines = st.one_of(
    st.tuples(st.integers(0, 5), st.just(0), st.integers(0, 3), st.integers(0, 9)),
    st.tuples(st.just(3), st.integers(0, 255), st.just(CODEC.lines(200)), st.just(200)),
    st.tuples(*[st.integers(0, 255)] * 4),
).map(lambda fields: bytes(fields).ljust(LINE_BYTES, b"\1"))


some = st.integers(-300, 300) | st.integers(0, 2**63)


@settings(max_examples=60)
@given(data=st.data())
def test_whatever_the_host_writes_the_device_keeps_to_the_room_that_it_was_told_of(data):
    """Lines and counters are drawn. What the device took for taken is the only thing that it may rely on."""
    host = RingHost(RING_LINES)
    for _ in range(data.draw(st.integers(1, 12))):
        fetched, answered = host.counter(Counter.COMMANDS_FETCHED), host.counter(Counter.RESPONSES_WRITTEN)
        taken = max(0, answered + data.draw(some))
        write_counter(host.buffer, Counter.COMMANDS_WRITTEN, max(0, fetched + data.draw(some)))
        write_counter(host.buffer, Counter.RESPONSES_TAKEN, taken)
        ring = b"".join(data.draw(st.lists(lines, min_size=1, max_size=6)) * RING_LINES)[: RING_LINES * LINE_BYTES]
        host.buffer[host.layout.commands : host.layout.commands + len(ring)] = ring
        host.device.step()
        written = host.counter(Counter.RESPONSES_WRITTEN)
        assert answered <= written <= max(answered, min(taken, answered) + RING_LINES)
        assert fetched <= host.counter(Counter.COMMANDS_FETCHED) <= fetched + RING_LINES
        assert host.device.state is State.READY
