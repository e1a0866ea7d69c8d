"""The switch without sockets: turns, limits, who gets which answer, what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.relay.switch import Switch
from omap.regmap import State
from omap.session import ClientSession
from omap.wire import Header, RecordType, Refusal, read_header
from tests.support.host.switches import KEY, NOP, PARAMS, SIZE, Client, Rig

# -- turns ----------------------------------------------------------------------------------------------------------


def test_a_greedy_client_leaves_room_for_a_modest_one():
    rig = Rig(ring_lines=64, quantum=4, in_flight=1000)
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


@settings(max_examples=40)
@given(
    sends=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 20)), min_size=1, max_size=12),
    ring_lines=st.sampled_from([2, 8, 32]),
    quantum=st.integers(1, 9),
    in_flight=st.integers(1, 20),
    step=st.integers(1, 7),
)
def test_everybody_gets_all_answers_in_order_within_the_limits(sends, ring_lines, quantum, in_flight, step):
    rig = Rig(ring_lines=ring_lines, quantum=quantum, in_flight=in_flight)
    clients, sent = [Client(rig).handshake() for _ in range(3)], [0, 0, 0]
    for who, count in sends:
        clients[who].nops(count)
        sent[who] += count
        rig.switch.pump()
        assert all(client.in_flight <= in_flight for client in clients)
        assert rig.driver.in_flight <= ring_lines
        rig.transport.step(step)
        rig.switch.collect()
    rig.run()
    for client, count in zip(clients, sent, strict=True):
        client.check(count)
        assert client.in_flight == 0
    assert rig.switch.idle
    assert rig.numbers.records_in == rig.numbers.records_out == sum(sent) + 6


def test_half_a_record_waits_for_its_other_half():
    rig = Rig()
    client = Client(rig).handshake()
    record = client.session.seal(NOP)
    client.send(record[:63])
    rig.run()
    client.check(0)
    client.send(record[63:])
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
    rig = Rig(ring_lines=64)
    client = Client(rig).handshake()
    old = client.session
    client.session = ClientSession(PARAMS, KEY)
    client.handshake()
    client.send(old.seal(NOP), client.session.seal(NOP), old.seal(NOP), old.seal(NOP), client.session.seal(NOP))
    rig.run()
    for session, record in zip([old, client.session, old, old, client.session], client.received, strict=True):
        session.open(record)
    assert client.open_sessions == 2


def test_a_connection_keeps_as_many_sessions_as_a_device():
    rig = Rig()
    client = Client(rig)
    for _ in range(20):
        client.session = ClientSession(PARAMS, KEY)
        client.handshake()
    assert len(client.sessions) == 16
    client.nops(1)
    rig.run()
    client.check(1)


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.sec_cm("RELAY.SESSION.OWNED")
def test_records_of_sessions_of_others_do_not_reach_the_device():
    rig = Rig()
    victim, attacker = Client(rig).handshake(), Client(rig).handshake()
    record = victim.session.seal(NOP)
    forged = (
        Header(RecordType.DATA, victim.session.session_index, 0, victim.session.session, 0).pack().ljust(SIZE, b"\0")
    )
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
    attacker.session = ClientSession(PARAMS, KEY)
    attacker.handshake().nops(1)
    rig.run()
    attacker.check(1)


@pytest.mark.sec_cm("RELAY.SESSION.OWNED")
def test_a_session_that_the_device_has_ended_is_forwarded_no_more():
    """Whoever sits between a client and the relay can end the client's session, and can't use it to busy the device."""
    rig = Rig()
    victim, other = Client(rig).handshake(), Client(rig).handshake()
    records = [victim.session.seal(NOP) for _ in range(4)]
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
    victim.session = ClientSession(PARAMS, KEY, replaces=victim.session.session)
    victim.received.clear()
    victim.handshake().nops(2)
    rig.run()
    victim.check(2)


def test_refusals_come_after_the_answers_before_them():
    rig = Rig()
    client = Client(rig).handshake()
    client.nops(2)
    client.send(Header(RecordType.DATA, 0, 0, 77, 5).pack().ljust(SIZE, b"\0"))
    rig.switch.pump()
    assert client.received == []
    assert client.in_flight == 3
    rig.run()
    kinds = [read_header(record) for record in client.received]
    assert [header.type for header in kinds] == [RecordType.DATA, RecordType.DATA, RecordType.REFUSED]
    assert kinds[2] == Header(RecordType.REFUSED, 0, Refusal.UNKNOWN_SESSION, 77, 5)
    assert client.in_flight == 0


def test_what_is_no_record_ends_the_connection():
    rig = Rig()
    client = Client(rig).handshake()
    client.nops(1)
    client.send(bytes(SIZE), b"\xff" * 10 * SIZE)
    rig.run()
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
            head = Header(random.randrange(6), random.randrange(20), 0, random.randrange(4), 0).pack()
            other.send(random.choice([b"", head]) + part)
        victim.nops(1)
        rig.run()
    rig.now += 10
    rig.run()
    victim.check(len(parts))
    assert rig.state is State.READY
    rig.switch.forget(other)
    Client(rig).handshake()
