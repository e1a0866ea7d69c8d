"""What a relay does when its device latches a fault, is gone, or makes no sense."""

import json
import time

from host.device.transport import open_transport
from host.testing import running_relay
from omap.errors import DeviceFaultError
from omap.operations import Kind, Operation
from omap.presets import preset
from omap.regmap import Fault
from omap.wire import LEAST_RING_LINES, Counter, RecordType, Refusal, read_header, write_counter
from tests.support.host.clients import RawClient
from tests.support.host.operators import fetch, monitored
from tests.support.host.waiting import until

PARAMS = preset("TINY")
SIZE = 64
NOP = Operation(Kind.NOP)


def test_a_fault_is_told_to_everybody(relay, key):
    pages = relay.transport.layout.pages
    with monitored(relay) as monitor, RawClient(relay, key) as one, RawClient(relay, key) as two:
        two.run([NOP])
        for page in range(PARAMS.pages):
            relay.transport.buffer[pages + page * PARAMS.page_bytes] ^= 1
        one.submit([NOP] * 3)
        for client in (one, two):
            last = client.ended()[-SIZE:]
            assert read_header(last)[:4] == (RecordType.REFUSED, 0, 1, Refusal.FAULT)
        with RawClient(relay) as late:
            assert read_header(late.record()).count == Refusal.FAULT
            assert late.ended() == b""
        status, text = fetch(monitor, "/healthz")
        said = json.loads(text)
        assert (status, said["healthy"], said["device"], said["fault"]) == (503, False, "fault", "page_tag")
        assert "a page in host memory was altered" in said["reason"]
        assert "\nomap_device_ready 0\n" in fetch(monitor, "/metrics")[1]
        assert "\nomap_device_fault 1\n" in fetch(monitor, "/metrics")[1]
    assert isinstance(relay.relay.failure, DeviceFaultError)


def test_a_bad_record_ends_its_session_and_the_relay_serves_on(relay, key):
    with RawClient(relay, key) as client, RawClient(relay, key) as other:
        records = [client.session.seal([NOP]) for _ in range(6)]
        client.send(b"".join([*records[:3], *records[4:]]))
        client.answers(3)
        codes = [read_header(client.record()).count for _ in range(2)]
        assert codes == [Refusal.OUT_OF_TURN, Refusal.UNKNOWN_SESSION]
        other.run([NOP] * 3)
    assert relay.relay.failure is None


def test_a_fault_is_noticed_without_traffic(relay, key):
    with RawClient(relay, key) as client:
        relay.transport.device._latch(Fault.PAGE_TAG)
        assert read_header(client.ended()).count == Refusal.FAULT


def test_a_device_that_is_gone_ends_all_connections(start, key):
    relay = start(backend="process")
    with RawClient(relay, key) as client:
        relay.transport._process.kill()
        assert client.ended() == b""
    until(lambda: relay.relay.failure is not None, "the failure")
    assert "its process has ended with code -9" in str(relay.relay.failure)
    assert not isinstance(relay.relay.failure, DeviceFaultError)
    with RawClient(relay) as late:
        assert late.ended() == b""


def test_a_defect_of_the_relay_ends_it(relay, key, monkeypatch, caplog):
    with RawClient(relay, key) as client:
        monkeypatch.setattr(relay.relay._switch, "collect", lambda: 1 // 0)
        client.submit([NOP])
        assert client.ended() == b""
    assert str(relay.relay.failure) == "the relay has a defect, see its log: ZeroDivisionError"
    monkeypatch.undo()


def test_counters_without_sense_end_the_relay(relay, key):
    with RawClient(relay, key) as client:
        write_counter(relay.transport.buffer, Counter.RESPONSES_WRITTEN, 1 << 40)
        assert client.ended() == b""
    assert "the device's counters make no sense" in str(relay.relay.failure)


def test_a_device_without_a_doorbell_is_polled(start, key, monkeypatch, key_file):
    transport = open_transport("model", PARAMS, key_file=key_file, ring_lines=LEAST_RING_LINES)
    monkeypatch.setattr(transport, "fileno", lambda: None)
    with transport, running_relay(PARAMS, None, transport=transport) as relay, RawClient(relay, key) as client:
        assert len(client.run([NOP] * 200)) == 200
        time.sleep(0.02)
        assert len(client.run([NOP] * 2)) == 2
