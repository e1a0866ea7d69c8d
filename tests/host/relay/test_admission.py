"""Who may be connected to a relay: connections count from the moment they are accepted, TLS or not."""

import contextlib
import select
import socket
import ssl
from contextlib import ExitStack

import pytest

from host.commands.serve import tls_context
from host.device.transport import open_transport
from host.relay.port import Limits
from host.testing import running_relay
from omap.operations import Kind, Operation
from omap.presets import preset
from omap.regmap import Fault
from omap.session import ClientSession
from omap.wire import RecordType, read_header
from tests.support.host.certificates import make_certificate
from tests.support.host.clients import RawClient
from tests.support.host.keys import client_of
from tests.support.host.waiting import until

PARAMS = preset("TINY")
NOP = Operation(Kind.NOP)
TOLD = 16
"""Connections beyond the limit that are told so."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusted(certificate):
    return ssl.create_default_context(cafile=certificate[0])


@pytest.fixture
def secure(start, certificate):
    """Return a function that starts a relay that speaks TLS."""
    return lambda **options: start(tls=tls_context(*certificate), **options)


def silent(stack, relay, count, address="127.0.0.2"):
    """Connect so many times from an address, and say nothing; return the sockets."""
    sockets = []
    for _ in range(count):
        link = stack.enter_context(socket.socket())
        link.bind((address, 0))
        link.connect((relay.host, relay.port))
        sockets.append(link)
    return sockets


def held(sockets):
    """Return how many connections the other side has not ended."""
    poll = select.poll()
    for link in sockets:
        poll.register(link, select.POLLIN)
    count = len(sockets)
    for number, _ in poll.poll(0):
        link = next(each for each in sockets if each.fileno() == number)
        with contextlib.suppress(ConnectionError):
            if link.recv(1 << 16, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                continue
        count -= 1
    return count


@pytest.mark.sec_cm("RELAY.CLIENTS.BOUNDED")
def test_connections_whose_tls_is_not_set_up_count(secure):
    relay = secure(limits=Limits(clients=4))
    with ExitStack() as stack:
        sockets = silent(stack, relay, 495)
        until(lambda: relay.relay.numbers.connections == 495, "the last connection")
        print(f"of 495 connections without TLS, {held(sockets)} are held under a limit of 4")
        until(lambda: held(sockets) <= 4, "the end of those beyond the limit")


@pytest.mark.sec_cm("RELAY.CLIENTS.BOUNDED")
def test_connections_that_do_not_take_the_refusal_end_soon(start, monkeypatch):
    relay = start(limits=Limits(clients=4))
    most = 0

    def count(connection, admit=relay.relay.admit):
        nonlocal most
        admitted = admit(connection)
        most = max(most, len(relay.relay.connections))
        return admitted

    monkeypatch.setattr(relay.relay, "admit", count)
    monkeypatch.setattr("host.relay.connection.Connection.disconnect", lambda *_: None)  # nothing gets through to them
    with ExitStack() as stack:
        silent(stack, relay, 200)
        until(lambda: relay.relay.numbers.connections == 200, "the last connection")
        until(lambda: len(relay.relay.connections) <= 4, "the end of those that are told")
    assert most == 4 + TOLD


def test_a_client_of_another_address_gets_in_although_all_places_are_taken(secure, key, trusted):
    relay = secure(limits=Limits(clients=4))
    with ExitStack() as stack:
        crowd = silent(stack, relay, 4)
        until(lambda: len(relay.relay.connections) == 4)
        clients = [stack.enter_context(RawClient(relay, key, tls=trusted)) for _ in range(3)]
        for client in clients:
            client.run([NOP])
        assert held(crowd) == 1
        assert relay.relay.numbers.disconnected["crowded"] == 3


def test_a_client_with_a_session_makes_room_for_nobody(start, key):
    relay = start(limits=Limits(clients=2))
    with RawClient(relay, key) as one, RawClient(relay, key) as two, ExitStack() as stack:
        silent(stack, relay, 20)
        until(lambda: relay.relay.numbers.disconnected["full"] == 20, "the end of those that are told")
        with RawClient(relay) as late:
            assert late.greeting.refused == "2 clients are its limit: try again later"
        one.run([NOP])
        two.run([NOP])
        assert relay.relay.numbers.disconnected["crowded"] == 0


@pytest.mark.sec_cm("RELAY.CLIENTS.BOUNDED")
def test_a_client_can_not_hold_places_without_end(start, key, monkeypatch):
    """A device has 16 sessions. So no more connections are safe, however many sessions were opened on others before."""
    monkeypatch.setattr("host.peers.SETTLE_SECONDS", 0.0)
    relay = start(limits=Limits(clients=20))
    hoarder, other = client_of(key, name=b"hoarder"), client_of(key, name=b"other")
    with ExitStack() as stack:
        crowd = [stack.enter_context(RawClient(relay, hoarder)) for _ in range(20)]
        assert [each.proven for each in sorted(relay.relay.connections, key=lambda each: each.number)][:5] == [
            False
        ] * 4 + [True]
        for _ in range(4):
            stack.enter_context(RawClient(relay, other)).run([NOP])
        assert relay.relay.numbers.disconnected["crowded"] == 4
        crowd[-1].run([NOP])


@pytest.mark.parametrize("sent", [b"", b"no TLS at all" * 10])
def test_a_peer_that_breaks_off_its_tls_is_forgotten(secure, sent):
    relay = secure()
    with socket.create_connection((relay.host, relay.port)) as link:
        until(lambda: len(relay.relay.connections) == 1)
        link.sendall(sent)
    until(lambda: not relay.relay.connections, "the end of the connection")


def test_tls_that_is_never_set_up_ends_as_a_silent_client_does(secure):
    relay = secure(limits=Limits(idle_seconds=0.3))
    with socket.create_connection((relay.host, relay.port), timeout=20) as link:
        assert link.recv(1) == b""
    until(lambda: not relay.relay.connections)
    assert relay.relay.numbers.disconnected == {"idle": 1}


def test_a_shutdown_ends_connections_whose_tls_is_not_set_up(secure):
    relay = secure()
    with socket.create_connection((relay.host, relay.port), timeout=20) as link:
        until(lambda: len(relay.relay.connections) == 1)
        relay.stop()
        assert link.recv(1) == b""
    assert relay.relay.connections == set()


def test_a_fault_is_told_after_tls_is_set_up_and_nothing_goes_out_in_the_clear(key_file, certificate, trusted):
    with (
        open_transport("model", PARAMS, key_file=key_file) as transport,
        running_relay(PARAMS, None, transport=transport, tls=tls_context(*certificate)) as relay,
        socket.create_connection((relay.host, relay.port), timeout=20) as link,
    ):
        until(lambda: len(relay.relay.connections) == 1)
        transport.device._latch(Fault.PAGE_TAG)
        until(lambda: relay.relay.failure is not None, "the failure")
        assert held([link]) == 1
        with trusted.wrap_socket(link, server_hostname="localhost") as client:
            assert client.recv(4) == b"OMAP"


def test_records_that_come_with_the_end_of_the_tls_handshake_are_answered_after_the_greeting(secure, key, trusted):
    relay = secure()
    told, hello = relay.relay.driver.greeting().pack(), ClientSession(PARAMS, client_of(key)).hello()
    with socket.create_connection((relay.host, relay.port), timeout=20) as link:
        tls = trusted.wrap_socket(link, server_hostname="localhost", do_handshake_on_connect=False)
        tls.do_handshake()
        tls.sendall(hello)
        greeting = b""
        while len(greeting) < len(told) + 64:
            greeting += tls.recv(4096)
        assert greeting[: len(told)] == told
        assert read_header(greeting[len(told) :]).type == RecordType.HELLO
