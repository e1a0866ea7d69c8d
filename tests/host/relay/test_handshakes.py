"""Handshakes in the switch, without sockets: sixteen under way, whose turn is next, how long one may hold up others."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.records import split
from omap.wire import HELLO_LINES, Header, RecordType, Refusal, read_header
from tests.support.host.switches import SIZE, Client, Rig, fresh

PLACES = 16
CROWDED, LONG = 0.05, 1.0
HERE, THERE, ELSEWHERE = "192.0.2.1", "192.0.2.2", "192.0.2.3"


def hello(client):
    """Begin a handshake, or wait for one; return the client."""
    client.session = fresh()
    client.send(client.session.hello())
    return client


def confirm(client):
    """Go on from the device's answer to HELLO, which must be there."""
    client.send(client.session.confirm(client.received.pop()))
    client.rig.run()


def begin(rig, number, group=THERE):
    """Return clients of which each has sent its HELLO."""
    clients = [hello(Client(rig, group)) for _ in range(number)]
    rig.run()
    return clients


def answered(clients):
    return [len(client.received) for client in clients]


def test_sixteen_handshakes_are_under_way_and_each_that_ends_lets_another_begin():
    rig = Rig()
    clients = begin(rig, 20)
    assert answered(clients) == [1] * PLACES + [0] * 4
    for place, client in enumerate(clients):
        confirm(client)
        client.session.opened(client.received.pop())
        assert answered(clients[place + 1 :]) == [1] * min(PLACES, 19 - place) + [0] * max(0, 3 - place)
    assert rig.numbers.sessions == 20
    assert rig.numbers.refused == {}


def test_handshakes_may_end_in_any_order():
    """The device keeps handshakes by number, so a place is free when the oldest handshake is over."""
    rig = Rig()
    clients = begin(rig, 18)
    for client in clients[15:0:-1]:
        confirm(client)
        client.session.opened(client.received.pop())
    assert answered(clients[16:]) == [0, 0]
    confirm(clients[0])
    clients[0].session.opened(clients[0].received.pop())
    assert answered(clients[16:]) == [1, 1]
    assert rig.switch.deadline is None


@pytest.mark.sec_cm("RELAY.TURNS.SHARED")
def test_turns_go_by_address_then_by_connection():
    rig = Rig()
    many = begin(rig, 100)
    two = begin(rig, 2, HERE)
    (one,) = begin(rig, 1, ELSEWHERE)
    for number, turns in enumerate([(0, 1, 0), (0, 1, 1), (1, 1, 1), (1, 1, 1)]):
        confirm(many[number])
        assert (answered([two[1]])[0], answered([two[0]])[0], answered([one])[0]) == turns
    assert answered(many[PLACES:]) == [1] + [0] * 83


@pytest.mark.sec_cm("RELAY.TURNS.SHARED")
@pytest.mark.parametrize("group", [HERE, THERE])
def test_a_handshake_that_stalls_in_a_crowd_is_over_after_50_ms(group):
    rig = Rig()
    stallers = begin(rig, PLACES)
    assert rig.switch.deadline is None  # nobody waits for a place
    (waiter,) = begin(rig, 1, group)
    assert rig.switch.deadline == CROWDED
    rig.now = CROWDED - 1e-6
    rig.run()
    assert answered([waiter]) == [0]
    rig.now = CROWDED
    rig.run()
    assert answered([waiter]) == [1]
    confirm(stallers[0])
    assert stallers[0].refusals == [Refusal.NO_HANDSHAKE]
    for client in [*stallers[1:], waiter]:  # nobody has taken their places
        confirm(client)
        client.session.opened(client.received.pop())


@pytest.mark.sec_cm("RELAY.TURNS.SHARED")
def test_a_connection_that_repeats_its_hello_holds_up_others_no_longer():
    rig = Rig()
    stallers = begin(rig, PLACES)
    (waiter,) = begin(rig, 1, HERE)
    for at in (0.01, 0.02, 0.03, 0.04):
        rig.now = at
        for staller in stallers:
            hello(staller)
        rig.run()
        if at == 0.01:  # the first handshakes were given up
            assert answered([waiter]) == [1]
    confirm(waiter)
    waiter.session.opened(waiter.received.pop())


@pytest.mark.sec_cm("RELAY.TURNS.SHARED")
def test_many_connections_of_few_addresses_do_not_shorten_the_time_of_a_client_that_is_far_away():
    rig = Rig()
    (far,) = begin(rig, 1, HERE)
    begin(rig, 50, THERE)
    rig.now = LONG - 1e-6
    rig.run()
    confirm(far)
    far.session.opened(far.received.pop())


def test_a_handshake_that_takes_longer_than_a_second_is_over_when_somebody_waits():
    rig = Rig()
    (far,) = begin(rig, 1, HERE)
    others = begin(rig, 50, THERE)
    rig.now = LONG
    rig.run()
    confirm(far)
    assert far.refusals == [Refusal.NO_HANDSHAKE]
    assert sum(answered(others)) > PLACES - 1


def test_a_handshake_may_take_as_long_as_it_likes_while_nobody_waits():
    rig = Rig()
    clients = begin(rig, PLACES)
    rig.now = 100.0
    rig.run()
    for client in clients:
        confirm(client)
        client.session.opened(client.received.pop())


def test_the_time_of_a_handshake_begins_with_the_devices_answer():
    rig = Rig()
    clients = [hello(Client(rig, THERE)) for _ in range(PLACES + 1)]
    rig.switch.pump()
    assert rig.driver.in_flight == PLACES * HELLO_LINES
    rig.now = 50.0  # a device that is busy
    assert rig.switch.deadline is None
    rig.run()
    assert answered(clients) == [1] * PLACES + [0]
    assert rig.switch.deadline == 50.0 + CROWDED


def test_a_full_ring_gives_no_deadline():
    """Otherwise the relay would be called again at once, for nothing, until the ring has room."""
    rig = Rig()
    begin(rig, PLACES)
    heavy, waiter = Client(rig, ELSEWHERE), Client(rig, HERE)
    heavy.sessions = {}
    hello(waiter)
    rig.switch.pump()
    assert rig.switch.deadline == CROWDED
    rig.driver.put(b"".join(fresh().hello() for _ in range(rig.driver.room // HELLO_LINES)))
    assert rig.driver.room == 0
    assert rig.switch.deadline is None


def test_hellos_of_a_connection_are_bounded():
    rig = Rig(hellos=3)
    client = Client(rig)
    for _ in range(2):
        hello(client)
        rig.run()
        client.received.clear()
    client.session = fresh()
    client.handshake()  # an open session is what a client is here for: counting begins anew
    for _ in range(3):
        assert client.reasons == []
        hello(client)
        rig.run()
        client.received.clear()
    hello(client)
    rig.run()
    assert client.refusals == [Refusal.NO_HANDSHAKE]
    assert client.reasons == ["hellos"]


@pytest.mark.parametrize("when", ["before the answer", "after it", "while waiting"])
def test_a_client_that_leaves_makes_room(when):
    rig = Rig()
    leaver = hello(Client(rig, THERE))
    if when == "before the answer":
        others = [hello(Client(rig, THERE)) for _ in range(PLACES)]
        rig.switch.pump()
    elif when == "after it":
        others = begin(rig, PLACES)
    else:
        rig.switch.forget(leaver)
        begun = begin(rig, PLACES)
        leaver, *others = begin(rig, 2)
        rig.switch.forget(leaver)
        confirm(begun[0])
    rig.switch.forget(leaver)
    rig.run()
    assert answered(others)[-1:] == [1]
    confirm(others[-1])
    others[-1].session.opened(others[-1].received.pop())


def test_a_client_may_begin_its_handshake_anew():
    rig = Rig()
    client = hello(Client(rig))
    rig.run()
    old = client.session.confirm(client.received.pop())
    hello(client)
    client.send(old)
    rig.run()
    answer, refusal = client.received
    assert read_header(refusal).count == Refusal.NO_HANDSHAKE
    client.received = [answer]
    confirm(client)
    client.session.opened(client.received.pop())


def test_a_wrong_root_key_ends_the_handshake():
    rig = Rig()
    wrong, *others = begin(rig, PLACES + 1)
    session = read_header(wrong.received.pop()).session
    wrong.send(Header(RecordType.CONFIRM, 0, 1, 0, session, 0).pack().ljust(SIZE, b"\1"))
    rig.run()
    assert wrong.refusals == [Refusal.WRONG_KEY]
    assert answered(others) == [1] * PLACES


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 29),
            st.sampled_from(["hello", "hello", "confirm", "stale", "leave", "wait", "step"]),
            st.floats(0, 0.2),
        ),
        max_size=120,
    )
)
def test_relay_and_device_agree_on_what_is_under_way_and_everybody_has_a_turn(events):
    rig = Rig()
    clients = [Client(rig, f"192.0.2.{number % 5}") for number in range(30)]
    take = rig.driver.take

    def watched():
        answers = take()
        for header in map(read_header, split(answers)):
            assert (header.type, header.count) != (RecordType.REFUSED, Refusal.NO_HANDSHAKE), "the device knew better"
        return answers

    rig.driver.take = watched
    for number, what, seconds in events:
        client = clients[number]
        match what:
            case "hello":
                hello(client)
            case "confirm":
                hellos = [record for record in client.received if read_header(record).type == RecordType.HELLO]
                for record in hellos[-1:]:
                    session = read_header(record).session
                    client.send(Header(RecordType.CONFIRM, 0, 1, 0, session, 0).pack().ljust(SIZE, b"\1"))
            case "stale":
                client.send(Header(RecordType.CONFIRM, 0, 1, 0, number + 1, 0).pack().ljust(SIZE, b"\1"))
            case "leave":
                rig.switch.forget(client)
                clients[number] = Client(rig, client.group)
            case "wait":
                rig.now += seconds
            case "step":
                rig.transport.step(3)
                rig.switch.collect()
        rig.switch.pump()
    rig.run()
    while any(client.waiting for client in clients):
        before, rig.now = rig.now, rig.switch.deadline
        assert rig.now - before <= LONG
        rig.run()
    assert rig.switch.idle


# -- under attack -----------------------------------------------------------------------------------------------------


class Loop:
    """A hostile connection that sends HELLO every 0.4 s, and comes again when the relay ends it."""

    period, ends = 0.4, True

    def __init__(self, rig, group, start):
        self.rig, self.group, self.due = rig, group, start
        self.client = Client(rig, group)

    def tick(self):
        if self.client.reasons:
            self.client = Client(self.rig, self.group)
        if self.rig.now >= self.due and not self.client.waiting:
            self.due = self.rig.now + self.period
            self.client.received.clear()
            hello(self.client)


class Silent(Loop):
    """Sends HELLO, says nothing for a while, hangs up and comes again."""

    period = 1.5

    def tick(self):
        if self.rig.now >= self.due:
            self.rig.switch.forget(self.client)
            self.client = hello(Client(self.rig, self.group))
            self.due = self.rig.now + self.period


class Half(Loop):
    """Sends HELLO and then half a CONFIRM, which never ends."""

    def tick(self):
        if self.client.received:
            session = read_header(self.client.received.pop()).session
            self.client.send(Header(RecordType.CONFIRM, 0, 1, 0, session, 0).pack() + bytes(SIZE // 2))
        elif self.rig.now >= self.due and not self.client.incoming and not self.client.waiting:
            hello(self.client)


@pytest.mark.sec_cm("RELAY.TURNS.SHARED")
def test_an_honest_client_is_served_within_two_seconds_under_a_thousand_hostile_connections():
    """On a clock that is set by hand, so that a slow machine changes nothing."""
    rig = Rig()
    kinds = [Loop, Silent, Half]
    hostile = [kinds[n % 3](rig, f"192.0.2.{n % 10}", n * 0.0015) for n in range(1000)]
    waits = []
    honest = None
    while len(waits) < 20:
        rig.now += 0.01
        for each in hostile:
            each.tick()
        if honest is None and rig.now > 3.0:
            honest, since = hello(Client(rig, f"198.51.100.{len(waits)}")), rig.now
        rig.run()
        if honest is not None and honest.received:  # its answers take 20 ms
            if honest.open_sessions:
                honest.session.opened(honest.received.pop())
                waits.append(rig.now - since)
                rig.switch.forget(honest)
                honest = None
            elif read_header(honest.received[0]).type == RecordType.HELLO:
                honest.send(honest.session.confirm(honest.received.pop()))
            else:
                assert honest.refusals == [Refusal.NO_HANDSHAKE]
                hello(honest)
        assert honest is None or rig.now - since <= 2.0
    print(
        f"1,000 hostile connections at ten addresses: 20 honest clients waited at most {max(waits):.2f} s (simulated)"
    )
    assert max(waits) <= 2.0
