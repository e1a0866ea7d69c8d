"""The relay over sockets: what clients get, whatever other clients do."""

import random
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.commands.serve import tls_context
from host.device.driver import Driver
from host.device.transport import open_transport
from host.keyfile import read_root_file
from host.relay.port import Limits
from host.relay.relay import Relay
from host.testing import running_relay
from omap.bodies import responses
from omap.errors import DeviceError, InputError, SessionError
from omap.operations import Kind, Operation
from omap.presets import preset
from omap.regmap import State
from omap.wire import LEAST_RING_LINES, Header, RecordCodec, RecordType, Refusal, read_header
from tests.support.host.certificates import make_certificate
from tests.support.host.clients import RawClient, mixed, parts
from tests.support.host.waiting import until
from tests.support.oracle import expected

PARAMS = preset("TINY")
SIZE = 64
CODEC = RecordCodec(PARAMS)
NOP = Operation(Kind.NOP)


# -- what clients get -----------------------------------------------------------------------------------------------


def test_the_greeting_tells_the_public_facts(relay, params):
    with RawClient(relay) as client:
        assert client.greeting.params == params
        assert client.greeting.ring_lines == 256
        assert client.greeting.mode == dict.fromkeys(
            ["hbm_private", "attested", "hardware", "insecure", "journal"], False
        )
        assert client.greeting.refused == ""


@pytest.mark.parametrize("backend", ["model", "process"])
def test_operations_of_two_clients_are_one_sequence(start, key, backend):
    relay = start(backend=backend, ring_lines=LEAST_RING_LINES)
    with RawClient(relay, key) as one, RawClient(relay, key) as two:
        oracle, rng, ran = {}, random.Random(5), 0
        for turn in range(40):
            client, operations = rng.choice([one, two]), mixed(PARAMS, turn, rng.randrange(1, 60))
            each = rng.choice([1, 2, 7, 60])
            client.submit(operations, each)
            for part in parts(operations, each):
                reply = client.session.open(client.record())
                assert responses(CODEC, reply) == [expected(oracle, PARAMS.capacity, operation) for operation in part]
                assert (reply.sequence, reply.count) == (ran, len(part))
                ran += len(part)


def test_many_clients_at_once(start, key):
    relay = start(limits=Limits(quantum=4, in_flight=32))
    failures = []

    def work(number):
        try:
            with RawClient(relay, key) as client:
                for _ in range(5):
                    assert len(client.run([NOP] * 20)) == 20
        except Exception as error:
            failures.append((number, error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    numbers = relay.relay.numbers
    assert (numbers.sessions, numbers.records_in, numbers.records_out) == (16, 16 * 102, 16 * 102)
    assert numbers.refused == {}


def test_more_sessions_than_a_device_holds_push_out_the_longest_unused(start, key):
    relay = start()
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(relay, key)) for _ in range(17)]
        for client in clients[1:]:
            client.run([NOP])
        with pytest.raises(SessionError, match="newer sessions replaced it"):
            clients[0].run([NOP])
        clients[0].open_session(key)
        clients[0].run([NOP])


def test_tls(start, key, tmp_path, key_file):
    certificate, private = make_certificate(tmp_path)
    context = tls_context(certificate, private)
    with running_relay(PARAMS, key_file, tls=context) as relay:
        trusted = ssl.create_default_context(cafile=certificate)
        with RawClient(relay, key, tls=trusted) as client:
            assert len(client.run([NOP] * 300)) == 300
        with socket.create_connection((relay.host, relay.port), timeout=20) as plain:
            plain.sendall(bytes(100))
            with pytest.raises((ConnectionError, AssertionError)):
                assert plain.recv(16) == b"OMAP"
    with pytest.raises(InputError, match="TLS needs both"):
        tls_context(certificate, None)
    with pytest.raises(InputError, match="TLS can't use"):
        tls_context(private, private)


# -- clients that behave badly --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    from host.keyfile import write_root_file

    path = tmp_path_factory.mktemp("key") / "root.key"
    write_root_file(path)
    with (
        running_relay(PARAMS, path, limits=Limits(handshake_seconds=0.05)) as relay,
        RawClient(relay, read_root_file(path)) as witness,
    ):
        yield relay, witness


@settings(max_examples=40)
@given(
    parts=st.lists(
        st.one_of(
            st.binary(max_size=300),
            st.builds(
                lambda type_, lines, count, session, body: Header(type_, 0, lines, count, session, 0).pack() + body,
                st.integers(0, 5),
                st.integers(0, 3),
                st.integers(0, 3),
                st.integers(0, 3),
                st.binary(min_size=48, max_size=48),
            ),
        ),
        max_size=10,
    )
)
def test_garbage_on_the_socket(shared, parts):
    relay, witness = shared
    with socket.create_connection((relay.host, relay.port)) as garbage:
        for part in parts:
            try:
                garbage.sendall(part)
            except ConnectionError:
                break
        assert len(witness.run([NOP] * 3)) == 3
    assert relay.transport.device.state is State.READY


def test_half_a_record_and_good_bye(shared):
    relay, witness = shared
    for count in (0, 1, 63, 65, 126):
        with socket.create_connection((relay.host, relay.port)) as client:
            client.sendall((Header(RecordType.HELLO, 0, 2, 0, 0, 0).pack() + bytes(200))[: 1 + count])
    witness.run([NOP])
    until(lambda: len(relay.relay.connections) == 1, "the end of the connections")


@pytest.mark.sec_cm("RELAY.INPUT.BOUNDED")
def test_what_waits_for_a_client_keeps_no_answers_of_others(start, key):
    """A transport may keep what it is given, with all the memory behind it; from Python 3.12 on it does."""
    relay, given = start(), []
    with RawClient(relay, key) as client:
        (connection,) = relay.relay.connections
        transport = connection._transport
        connection._transport = Mock(wraps=transport, write=lambda data: given.append(data) or transport.write(data))
        assert len(client.run([NOP] * 20)) == 20
        connection._transport = transport
    assert {type(data) for data in given} == {bytes}


@pytest.mark.sec_cm("RELAY.INPUT.BOUNDED")
def test_a_client_that_does_not_read_is_held_back_then_dropped(start, key):
    relay = start(limits=Limits(slow_seconds=0.5, in_flight=64, input_bytes=1 << 14))
    with RawClient(relay, key) as modest, RawClient(relay, key, receive_bytes=4096) as slow:
        (connection,) = [each for each in relay.relay.connections if each.number == 2]
        # otherwise the kernel would take megabytes of answers first
        connection._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        slow.socket.setblocking(False)
        waiting, answers, pending = 0, 0, b""
        while not connection.closed:
            try:
                pending = pending or b"".join(slow.session.seal([NOP]) for _ in range(64))
                pending = pending[slow.socket.send(pending) :]
            except BlockingIOError:
                time.sleep(0.001)
            except ConnectionError:
                break
            waiting = max(waiting, len(connection.incoming))
            answers = max(answers, connection._transport.get_write_buffer_size())
        until(lambda: relay.relay.numbers.disconnected == {"slow": 1}, "the disconnection")
        assert waiting <= (1 << 14) + (1 << 18)  # the limit, and what asyncio reads at once
        assert answers <= 2 * 64 * SIZE
        assert len(modest.run([NOP] * 100)) == 100
        assert relay.transport.device.state is State.READY


@pytest.mark.parametrize(("count", "most"), [(1, 16), (253, 64)])
def test_a_flood_is_not_read_faster_than_it_is_answered(start, key, count, most):
    """Records that are longer than the limits go one by one."""
    relay = start(limits=Limits(in_flight=16, input_bytes=1))
    with RawClient(relay, key) as client:
        thread = threading.Thread(target=client.submit, args=([NOP] * 10_120, count))
        thread.start()
        assert len(client.answers(10_120)) == 10_120
        thread.join()
        assert relay.relay.driver.statistics.most_in_flight <= most


def test_a_connection_without_a_session_ends(start, key):
    relay = start(limits=Limits(idle_seconds=1.0))
    with RawClient(relay, key) as client:
        with RawClient(relay) as idler:
            assert idler.ended() == b""
        assert relay.relay.numbers.disconnected == {"idle": 1}
        client.run([NOP])


def test_a_relay_takes_so_many_clients_and_says_so(start, key):
    relay = start(limits=Limits(clients=2))
    with RawClient(relay, key) as first, RawClient(relay, key):
        with RawClient(relay) as third:
            assert third.greeting.refused == "2 clients are its limit: try again later"
            assert third.ended() == b""
        first.run([NOP])
    until(lambda: not relay.relay.connections, "the end of the connections")
    RawClient(relay, key).close()


def test_a_handshake_that_stalls_holds_up_others_only_so_long(start, key):
    relay = start()
    with ExitStack() as stack:
        stallers = [stack.enter_context(RawClient(relay)) for _ in range(16)]
        for staller in stallers:
            staller.send(Header(RecordType.HELLO, 0, 2, 0, 0, 0).pack() + bytes(112))
            staller.record()
        with RawClient(relay, key) as client:
            client.run([NOP])
        stallers[0].send(Header(RecordType.CONFIRM, 0, 1, 0, 1, 0).pack().ljust(SIZE, b"\0"))
        assert read_header(stallers[0].record()).count == Refusal.NO_HANDSHAKE


# -- start, stop, start again ---------------------------------------------------------------------------------------


def test_a_relay_does_not_start_before_its_device_is_ready(params, key_file):
    with Driver(open_transport("model", params, key_file=key_file), params) as driver:
        import asyncio

        with pytest.raises(DeviceError, match="the device is idle, not ready: format it"):
            asyncio.run(Relay(driver, port=0).start())


def test_a_port_in_use_is_one_line(relay, start):
    with pytest.raises(InputError, match=rf"can't listen at 127.0.0.1:{relay.port}: another program uses this port"):
        start(port=relay.port)


def test_a_shutdown_answers_what_was_read(relay, key):
    with RawClient(relay, key) as client:
        client.submit([NOP] * 200)
        until(lambda: relay.relay.numbers.records_in >= 200)
        relay.stop()
        client.answers(200)
        assert client.ended() == b""
        with pytest.raises(ConnectionRefusedError):
            RawClient(relay)
    assert relay.relay.driver.in_flight == 0
    assert relay.relay.numbers.disconnected == {"shutdown": 1}


def test_a_shutdown_does_not_wait_for_ever(start, key, monkeypatch):
    relay = start(limits=Limits(drain_seconds=0.2))
    with RawClient(relay, key) as client:
        monkeypatch.setattr(relay.transport.device, "step", lambda limit=0: 0)
        client.submit([NOP])
        until(lambda: relay.relay.numbers.records_in == 3)
        relay.stop()
        assert client.ended() == b""


def test_a_relay_takes_over_a_running_device(params, key, key_file):
    """A crash of the relay: what it had in the ring runs once, nobody gets its answers, and nothing else is lost."""
    with open_transport("model", params, key_file=key_file, ring_lines=LEAST_RING_LINES) as transport:
        with running_relay(params, None, transport=transport) as relay, RawClient(relay, key) as client:
            client.run([Operation(Kind.PUT, bytes(4), b"kept")])
            old = client.session
        driver = Driver(transport, params)
        driver.put(old.seal([Operation(Kind.PUT, b"late", b"kept")] * 20))
        with running_relay(params, None, transport=transport) as relay, RawClient(relay) as client:
            client.open_session(key, replaces=old.session)
            client.submit([Operation(Kind.GET, bytes(4)), Operation(Kind.GET, b"late")])
            replies = client.replies(2)
            assert [responses(CODEC, reply)[0].previous for reply in replies] == [b"kept", b"kept"]
            assert [reply.sequence for reply in replies] == [21, 22]
            assert relay.relay.numbers.unwanted == 1


# -- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.sec_cm("RELAY.KEY.ABSENT")
def test_the_relays_process_holds_no_key(key_file):
    script = """
import gc, sys
import host.commands.serve  # what `omap serve` loads, data folder included
from host.testing import running_relay
from omap.presets import preset
with running_relay(preset("TINY"), sys.argv[1], backend="process") as relay:
    loaded = {"omap.session", "omap.credentials", "omap.kdf", "omap.device", "host.keyfile", "host.model.model"}
    loaded &= set(sys.modules)
    shared = bytes(relay.transport._memory)
    there = {bytes(thing) for owner in gc.get_objects() for thing in gc.get_referents(owner)
             if isinstance(thing, (bytes, bytearray))}
    there |= {thing.encode("utf-8", "replace") for owner in gc.get_objects() for thing in gc.get_referents(owner)
              if isinstance(thing, str)}
    with open(sys.argv[1], "rb") as file:  # last, because this process holds the key from here on
        digits = file.read().split()[-1]
    secrets = digits, bytes.fromhex(digits.decode())
    print(sorted(loaded), [secret in thing for secret in secrets for thing in {shared} | there].count(True))
"""
    ran = subprocess.run([sys.executable, "-c", script, key_file], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[] 0"
