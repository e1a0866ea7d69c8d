"""A relay at a socket file, beside TCP or without it."""

import asyncio
import os
import socket
import stat

import pytest

from host.commands.serve import tls_context
from host.device.driver import Driver
from host.device.transport import open_transport
from host.relay.port import Limits
from host.relay.relay import Relay
from omap.errors import InputError
from omap.operations import Kind, Operation
from omap.presets import preset
from tests.support.host.certificates import make_certificate
from tests.support.host.clients import RawClient, mixed
from tests.support.host.waiting import until
from tests.support.oracle import expected

PARAMS = preset("TINY")
NOP = Operation(Kind.NOP)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "relay"


def test_clients_at_the_file_and_on_tcp_share_one_map(start, key, path):
    relay = start(unix=path)
    oracle = {}
    with RawClient(relay, key) as far, RawClient(relay, key, path=path) as near:
        for seed, client in enumerate([far, near] * 5):
            operations = mixed(PARAMS, seed, 60)
            assert client.run(operations, 20) == [
                expected(oracle, PARAMS.capacity, operation) for operation in operations
            ]
        assert {connection.group for connection in relay.relay.connections} == {"127.0.0.1", f"user {os.getuid()}"}
        assert f"user {os.getuid()}" in {connection.peer for connection in relay.relay.connections}
    assert relay.relay.addresses == [relay.address, f"omap+unix://{path}"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_file_goes_with_the_relay(start, key, path):
    relay = start(unix=path)
    with RawClient(relay, key, path=path) as client:
        client.submit([NOP] * 100, 10)
        until(lambda: relay.relay.numbers.records_in >= 2 + 10)
        relay.stop()
        assert len(client.answers(100)) == 100
        assert client.ended() == b""
    assert not path.exists()
    start(unix=path)


def test_tls_is_for_tcp_alone(start, key, path, tmp_path):
    relay = start(unix=path, tls=tls_context(*make_certificate(tmp_path)))
    with RawClient(relay, key, path=path) as client:
        client.run([NOP])


@pytest.mark.sec_cm("RELAY.CLIENTS.BOUNDED")
def test_a_user_of_this_machine_counts_as_one_address(start, key, path):
    relay = start(unix=path, limits=Limits(clients=4))
    crowd = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    for link in crowd:
        link.connect(str(path))
    until(lambda: len(relay.relay.connections) == 4)
    with RawClient(relay, key) as client:  # of another address: one of the crowd makes room
        client.run([NOP])
    for link in crowd:
        link.close()


def test_a_file_in_use_or_no_place_at_all_is_one_line(start, params, key_file, path):
    start(unix=path)
    with open_transport("model", params, key_file=key_file) as transport:
        driver = Driver(transport, params)
        driver.start()
        both = Relay(driver, port=0, unix=path)
        with pytest.raises(InputError, match=f"can't listen at {path}: another server listens there; end it"):
            asyncio.run(both.start())
        with socket.socket() as probe:
            assert probe.connect_ex((both.host, both.port)) != 0  # it gave up TCP as well
        with pytest.raises(InputError, match="a relay needs a place to listen at"):
            asyncio.run(Relay(driver, None).start())
    assert path.is_socket()
