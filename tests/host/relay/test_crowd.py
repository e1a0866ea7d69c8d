"""How long an honest client waits among a thousand hostile connections, over sockets: a figure, on this machine."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import omap
from host.relay.port import Limits
from omap.errors import DeviceError, SessionError

ROOT = Path(__file__).parents[3]


@pytest.mark.long
@pytest.mark.parametrize(("clients", "addresses"), [(64, 10), (64, 1000), (Limits.clients, 10), (Limits.clients, 1000)])
def test_an_honest_client_gets_in_among_a_thousand_hostile_connections(start, clients, addresses, client_file):
    relay = start(backend="process", limits=Limits(clients=clients))
    command = [sys.executable, "-m", "tests.support.host.hostile", relay.host, relay.port, 1000, addresses]
    attacker = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, cwd=ROOT)
    waits, refusals = [], 0
    try:
        assert attacker.stdout.readline() == "attacking\n"
        for _ in range(30):
            since = time.monotonic()
            while True:
                try:
                    client = omap.connect(relay.address, key_file=client_file)
                    break
                except (DeviceError, SessionError):  # the relay is full
                    refusals += 1
                    time.sleep(0.05)
            waits.append(time.monotonic() - since)
            assert len(client) == 0
            client.close()
            time.sleep(0.05)
        assert attacker.poll() is None
    finally:
        attacker.kill()
        attacker.wait()
        attacker.stdout.close()
    print(
        f"\n1,000 hostile connections from {addresses} addresses, --max-clients {clients}: an honest client at another "
        f"address has its session after {statistics.median(waits):.2f} s (median of 30), {max(waits):.2f} s at most; "
        f"it was refused {refusals} times and came again"
    )
    assert relay.relay.failure is None
    if clients == Limits.clients:
        assert refusals == 0
