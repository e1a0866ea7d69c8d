"""The switch without sockets: turns, limits, who gets which answer, what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.relay.switch import Switch
from omap.regmap import State
from omap.wire import Header, RecordType, Refusal, read_header
from tests.support.host.switches import NOP, RING, SIZE, Client, Rig, fresh

# -- turns ----------------------------------------------------------------------------------------------------------


def test_a_greedy_client_leaves_room_for_a_modest_one():
    rig = Rig(quantum=4, in_flight=1000)
    greedy, modest = Client(rig).handshake(), Client(rig).handshake()
    greedy.nops(50)
    modest.nops(2)
    rig.switch.pump()
    rig.transport.step(6)
    rig.switch.collect()
    greedy.check(4)
    modest.check(2)
    rig.run()
    greedy.check(46)


def test_turns_go_by_lines_and_a_record_is_never_split():
    """A client whose records are long has as many lines in the ring as one whose records are short."""
    rig = Rig(quantum=8, in_flight=1000)
    wide, narrow = Client(rig).handshake(), Client(rig).handshake()
    wide.nops(10, 20)  # of 6 lines: one fits into a turn
    narrow.nops(60)
    rig.switch.pump()
    order = [(run.lines, run.records) for run in rig.driver.due]
    assert order[:6] == [(6, 1), (1, 8)] * 3
    rig.run()
    wide.check(10)
    narrow.check(60)


def test_a_client_that_is_alone_need_not_take_turns():
    rig = Rig(quantum=4)
    client = Client(rig).handshake()
    client.nops(100)
    rig.switch.pump()
    assert client.in_flight == RING // 2  # its share, in one go
    assert rig.driver.statistics.batches == 2 + 1
    rig.run()
    client.check(100)


def test_a_record_that_is_longer_than_the_share_goes_alone():
    rig = Rig(quantum=1, in_flight=2)
    client = Client(rig).handshake()
    client.nops(3, 253)
    rig.switch.pump()
    assert client.in_flight == 64
    rig.run()
    client.check(3)


def test_a_long_record_waits_for_room_and_nobody_overtakes_it():
    rig = Rig(quantum=1000, in_flight=1000)
    filler, wide, narrow = (Client(rig).handshake() for _ in range(3))
    filler.nops(RING - 10)
    rig.switch.pump()
    wide.nops(1, 253)
    narrow.nops(3)
    rig.switch.pump()
    assert (wide.in_flight, narrow.in_flight, rig.driver.room) == (0, 0, 10)
    rig.run()
    wide.check(1)
    narrow.check(3)
    filler.check(RING - 10)


@settings(max_examples=40)
@given(
    sends=st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 8), st.sampled_from([1, 2, 5, 100, 253])), min_size=1, max_size=8
    ),
    quantum=st.integers(1, 90),
    in_flight=st.integers(1, 200),
    step=st.integers(1, 700),
)
def test_everybody_gets_all_answers_in_order_within_the_limits(sends, quantum, in_flight, step):
    rig = Rig(quantum=quantum, in_flight=in_flight)
    clients, sent, operations = [Client(rig).handshake() for _ in range(3)], [0, 0, 0], 0
    for who, count, each in sends:
        clients[who].nops(count, each)
        sent[who] += count
        operations += count * each
        rig.switch.pump()
        assert all(client.in_flight <= max(in_flight, 64) for client in clients)
        assert rig.driver.in_flight <= RING
        rig.transport.step(step)
        rig.switch.collect()
    rig.run()
    for client, count in zip(clients, sent, strict=True):
        client.check(count)
        assert client.in_flight == 0
    assert rig.switch.idle
    assert rig.numbers.records_in == rig.numbers.records_out == sum(sent) + 6
    assert rig.numbers.operations == operations


@pytest.mark.parametrize("cut", [1, 15, 16, 63, 64, 100, 127])
def test_half_a_record_waits_for_its_other_half(cut):
    rig = Rig()
    client = Client(rig).handshake()
    record = client.session.seal([NOP] * 2)
    client.send(record[:cut])
    rig.run()
    client.check(0)
    client.send(record[cut:])
    rig.run()
    client.check(1)


def test_a_blocked_client_is_left_alone_until_it_is_not():
    rig = Rig()
    client = Client(rig).handshake()
    client.nops(2)
    client.blocked = True
    rig.run()
    client.check(0)
    assert len(client.incoming) == 2 * SIZE
    client.blocked = False
    rig.switch.activate(client)
    rig.run()
    client.check(2)


def test_answers_to_a_client_that_is_gone_are_thrown_away():
    rig = Rig()
    leaver, stayer = Client(rig).handshake(), Client(rig).handshake()
    leaver.nops(3)
    stayer.nops(2)
    rig.switch.pump()
    rig.switch.forget(leaver)
    rig.run()
    leaver.check(0)
    stayer.check(2)
    assert rig.numbers.unwanted == 3
    assert rig.switch.idle


def test_answers_to_an_earlier_switch_are_thrown_away():
    rig = Rig()
    client = Client(rig).handshake()
    client.nops(5)
    rig.switch.pump()
    rig.switch = Switch(rig.driver, rig.limits, rig.numbers, lambda: rig.now)
    later = Client(rig).handshake()
    later.nops(1)
    rig.run()
    later.check(1)
    assert rig.numbers.unwanted == 5


def test_several_sessions_of_one_connection():
    rig = Rig()
    client = Client(rig).handshake()
    old = client.session
    client.session = fresh()
    client.handshake()
    order = [old, client.session, old, old, client.session]
    client.send(*[session.seal([NOP] * count) for count, session in enumerate(order, 1)])
    rig.run()
    for session, record in zip(order, client.received, strict=True):
        session.open(record)
    assert client.open_sessions == 2


def test_a_connection_keeps_as_many_sessions_as_a_device():
    rig = Rig()
    client = Client(rig)
    for _ in range(20):
        client.session = fresh()
        client.handshake()
    assert len(client.sessions) == 16
    client.nops(1)
    rig.run()
    client.check(1)


def test_a_connection_whose_place_another_session_took_has_no_session_any_more():
    """The device says which of its places a new session has, so the relay knows whose session made room."""
    rig = Rig()
    first, *others = (Client(rig).handshake() for _ in range(16))
    last = Client(rig).handshake()
    assert [client.ends for client in (first, *others, last)] == [1] + [0] * 16
    assert not first.sessions
    before = rig.numbers.records_in
    first.nops(1)
    rig.run()
    assert first.refusals == [Refusal.UNKNOWN_SESSION]
    assert rig.numbers.records_in == before
    for client in (*others, last):
        client.nops(1)
    rig.run()
    for client in (*others, last):
        client.check(1)


def test_a_crowd_that_is_refused_does_not_hold_up_others():
    """A record that the relay refuses takes no room in the ring, and so ends no turn."""
    rig = Rig()
    honest, crowd = Client(rig).handshake(), [Client(rig) for _ in range(20)]
    for client in crowd:
        client.send(*[Header(RecordType.CONFIRM, 0, 1, 0, 99, 0).pack().ljust(SIZE, b"\0")] * 1000)
    most = before = 0
    for _ in range(10):
        honest.nops(1)
        assert rig.switch.pump()
        rig.transport.step()
        rig.switch.collect()
        honest.check(1)
        most, before = max(most, rig.numbers.refused.total() - before), rig.numbers.refused.total()
    assert most <= 100
    rig.run()
    assert [len(client.refusals) for client in crowd] == [1000] * 20


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.sec_cm("RELAY.SESSION.OWNED")
def test_records_of_sessions_of_others_do_not_reach_the_device():
    rig = Rig()
    victim, attacker = Client(rig).handshake(), Client(rig).handshake()
    record = victim.session.seal([NOP])
    header = Header(RecordType.DATA, victim.session.session_index, 1, 1, victim.session.session, 0)
    forged = header.pack().ljust(SIZE, b"\0")
    for attack in (record, forged):
        attacker.send(attack)
        rig.run()
        assert attacker.refusals == [Refusal.UNKNOWN_SESSION]
    attacker.nops(1)  # its own session has ended, because a record of it may be missing
    rig.run()
    assert attacker.refusals == [Refusal.UNKNOWN_SESSION]
    victim.send(record)
    rig.run()
    victim.check(1)
    assert rig.state is State.READY
    attacker.session = fresh()
    attacker.handshake().nops(1)
    rig.run()
    attacker.check(1)


@pytest.mark.sec_cm("RELAY.SESSION.OWNED")
@pytest.mark.parametrize("count", [1, 20])
def test_a_session_that_the_device_has_ended_is_forwarded_no_more(count):
    """Whoever sits between a client and the relay can end the client's session, and can't use it to busy the device."""
    rig = Rig()
    victim, other = Client(rig).handshake(), Client(rig).handshake()
    records = [victim.session.seal([NOP] * count) for _ in range(4)]
    victim.send(records[0], records[1][:-1] + bytes([records[1][-1] ^ 1]), records[2])
    rig.run()
    victim.session.open(victim.received.pop(0))
    assert victim.refusals == [Refusal.ALTERED, Refusal.UNKNOWN_SESSION]
    before = rig.numbers.records_in
    for _ in range(5):
        victim.send(*[records[3]] * 50)
        rig.run()
    assert rig.numbers.records_in == before
    other.nops(3)
    rig.run()
    other.check(3)
    victim.session = fresh(victim.session.session)
    victim.received.clear()
    victim.handshake().nops(2)
    rig.run()
    victim.check(2)


def test_refusals_come_after_the_answers_before_them():
    rig = Rig()
    client = Client(rig).handshake()
    client.nops(2)
    client.send(Header(RecordType.DATA, 0, 2, 2, 77, 5).pack().ljust(2 * SIZE, b"\0"))
    rig.switch.pump()
    assert client.received == []
    assert client.in_flight == 3
    rig.run()
    kinds = [read_header(record) for record in client.received]
    assert [header.type for header in kinds] == [RecordType.DATA, RecordType.DATA, RecordType.REFUSED]
    assert kinds[2] == Header(RecordType.REFUSED, 0, 1, Refusal.UNKNOWN_SESSION, 77, 5)
    assert client.in_flight == 0


@pytest.mark.sec_cm("RELAY.RECORD.CHECKED")
@pytest.mark.parametrize(
    ("type_", "lines", "count"),
    [
        (RecordType.DATA, 0, 0),  # what a client of version 1 sends
        (RecordType.DATA, 1, 0),
        (RecordType.DATA, 2, 1),
        (RecordType.DATA, 1, 2),
        (RecordType.DATA, 64, 249),
        (RecordType.DATA, 64, 254),
        (RecordType.DATA, 65, 255),
        (RecordType.HELLO, 1, 0),
        (RecordType.HELLO, 2, 1),
        (RecordType.CONFIRM, 1, 1),
        (RecordType.CONFIRM, 2, 0),
        (RecordType.REFUSED, 1, 0),
        (0, 1, 1),
        (9, 255, 255),
    ],
)
@pytest.mark.parametrize("length", [16, 64, 640])
def test_what_is_no_record_ends_the_connection(type_, lines, count, length):
    """It is not copied, although it names a session that is open on this connection."""
    rig = Rig()
    client = Client(rig).handshake()
    client.nops(1)
    before = rig.numbers.records_in + 1
    head = Header(type_, client.session.session_index, lines, count, client.session.session, client.session.sent)
    client.send(head.pack().ljust(length, b"\xff"))
    rig.run()
    assert rig.numbers.records_in == before
    client.session.open(client.received.pop(0))
    assert client.refusals == [Refusal.MALFORMED]
    assert client.reasons == ["malformed"]
    assert client.incoming == b""
    assert rig.numbers.refused == {"malformed": 1}
    assert rig.switch.idle


@settings(max_examples=60)
@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_garbage_harms_nobody_else(parts, random):
    rig = Rig()
    victim, other = Client(rig).handshake(), Client(rig)
    for part in parts:
        if not other.closed:
            lines, count = random.choice([(0, 0), (1, 0), (2, 0), (1, 1), (2, 2), (3, 2), (255, 255)])
            head = Header(random.randrange(6), random.randrange(20), lines, count, random.randrange(4), 0).pack()
            other.send(random.choice([b"", head]) + part)
        victim.nops(1)
        rig.run()
    rig.now += 10
    rig.run()
    victim.check(len(parts))
    assert rig.state is State.READY
    rig.switch.forget(other)
    Client(rig).handshake()
