"""The proxy outlives `omap serve`: it says what is wrong, reconnects by itself, and takes no other map unasked."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.redis.stack import Stack


class Pair(Stack):
    """A stack with a second device, so that `omap serve` can come back with the same map or with another."""

    def __init__(self, folder, *options):
        super().__init__(folder, options=["--witness", folder / "witness", *options])
        self.other = folder / "other"
        self.devices.append(self.start_device(self.other))
        self.client = redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0), socket_timeout=30)

    def end_relay(self):
        self.kill(self.relay)

    def health(self):
        """Return what PING answers, as text."""
        try:
            return "PONG" if self.client.ping() else "?"
        except redis.RedisError as error:
            return str(error)

    def until(self, wanted):
        """Wait until PING, and nothing else, has been answered so."""
        for _ in range(600):
            health = self.health()
            if re.search(wanted, health):
                return health
            time.sleep(0.05)
        raise AssertionError(f"PING answers {health}")

    def status(self, *options):
        where = ["--url", self.url, "--key-file", self.client_file, "--witness", self.folder / "witness", "--json"]
        line = [sys.executable, "-m", "omap.cli", "status", *map(str, where), *options]
        return subprocess.run(line, capture_output=True, text=True, timeout=60)


@pytest.fixture
def pair(tmp_path):
    pair = Pair(tmp_path)
    yield pair
    pair.stop()


def test_it_says_what_is_wrong_and_goes_on_when_the_same_map_is_back(pair):
    assert pair.client.set("k", "v")
    assert pair.client.info("map")["status"] == "up"
    pair.end_relay()
    pair.until("nothing listens at 127.0.0.1:.*: start `omap serve` there")
    told = pair.client.info("map")
    assert (told["status"], told["trouble"].split(":")[0]) == ("down", "DeviceError")
    with pytest.raises(redis.ResponseError, match="nothing listens at"):
        pair.client.get("k")
    pair.start_relay()
    pair.until("^PONG$")  # no command but PING asked for a connection
    assert pair.client.info("map")["status"] == "up"
    assert pair.client.get("k") == b"v"


def test_another_map_is_refused_until_it_is_accepted(pair):
    pair.client.set("k", "v")
    pair.end_relay()
    pair.start_relay(pair.other)
    health = pair.until("another was put in its place")
    for _ in range(2):
        with pytest.raises(redis.ResponseError, match=r"another was put in its place.* \(nothing was sent\)"):
            pair.client.set("k", "lost?")
    assert pair.client.info("map")["trouble"].startswith("MapChangedError")

    # the known map comes back: nothing has to be accepted, and nothing that was refused has run
    pair.end_relay()
    pair.start_relay()
    pair.until("^PONG$")
    assert pair.client.get("k") == b"v"

    pair.end_relay()
    pair.start_relay(pair.other)
    assert pair.until("another was put in its place") == health
    refused = pair.status()
    assert refused.returncode == 2
    accept = re.search(r"`omap status (--accept [0-9a-f]{32}) --key-file FILE`", health)[1]
    assert accept in refused.stderr
    facts = json.loads(pair.status(*accept.split()).stdout)
    assert facts["live_keys"] == 0
    assert accept.endswith(facts["map_id"])
    pair.until("^PONG$")
    assert pair.client.get("k") is None
    assert pair.client.incr("n") == 1

    # now the first map is another one
    pair.end_relay()
    pair.start_relay()
    pair.until("another was put in its place")


def test_a_proxy_that_was_told_to_takes_any_map(tmp_path):
    pair = Pair(tmp_path, "--accept", "any")
    try:
        pair.client.set("k", "v")
        for device, found in ((pair.other, None), (pair.socket, b"v")):
            pair.end_relay()
            pair.start_relay(device)
            pair.until("^PONG$")
            assert pair.client.get("k") == found
    finally:
        pair.stop()


def test_a_relay_that_hangs_is_noticed_without_any_command(tmp_path):
    pair = Pair(tmp_path, "--timeout", "1")
    try:
        pair.client.set("k", "v")
        pair.relay.send_signal(signal.SIGSTOP)
        pair.until("no answer came for 1 s|without opening a session")
        pair.relay.send_signal(signal.SIGCONT)
        pair.until("^PONG$")
        assert pair.client.get("k") == b"v"
    finally:
        pair.stop()
