"""What operators see of a relay: health, metrics, logs."""

import json
import logging
import socket

import pytest

from host.logs import JsonFormatter, TextFormatter
from omap.operations import Kind, Operation
from omap.presets import preset
from omap.wire import Header, RecordType
from tests.support.host.clients import RawClient
from tests.support.host.operators import fetch, monitored

PARAMS = preset("TINY")
SIZE = 64
NOP = Operation(Kind.NOP)


def test_health_and_metrics(relay, key):
    with monitored(relay) as monitor, RawClient(relay, key) as client:
        client.run([NOP] * 50, 10)
        status, text = fetch(monitor, "/healthz")
        said = json.loads(text)
        assert (status, said["healthy"], said["clients"], said["in_flight"]) == (200, True, 1, 0)
        assert said["digest"] == PARAMS.digest.hex()
        client.send(Header(RecordType.DATA, 0, 1, 1, 9, 9).pack().ljust(SIZE, b"\0"))
        client.record()
        status, text = fetch(monitor, "/metrics")
        assert status == 200
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        assert values["omap_relay_records_in_total"] == values["omap_relay_records_out_total"] == "7"
        assert values["omap_relay_operations_total"] == "50"
        assert values["omap_relay_clients"] == values["omap_relay_sessions_total"] == "1"
        assert values['omap_relay_refused_total{reason="unknown_session"}'] == "1"
        assert values["omap_device_ready"] == "1"
        for name in values:
            base = name.partition("{")[0]
            assert f"# TYPE {base} {'counter' if base.endswith('_total') else 'gauge'}\n" in text
            assert f"# HELP {base} " in text
        assert fetch(monitor, "/")[0] == 404


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"HEAD /metrics?x=1 HTTP/1.0\r\nA: b\r\n\r\n", b"200"),
        (b"what\r\n\r\n", b"400"),
        (b"\x00\xff\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\n" + b"a" * 20_000, b""),
        (b"GET", b""),
    ],
)
def test_the_monitor_answers_whatever_it_is_asked(relay, sent, status, monkeypatch):
    if not status:
        monkeypatch.setattr("host.relay.monitor._HEAD_SECONDS", 0.1)
    with monitored(relay) as monitor, socket.create_connection(("127.0.0.1", monitor.port), timeout=20) as client:
        client.sendall(sent)
        answer = b""
        try:
            while part := client.recv(4096):
                answer += part
        except ConnectionError:
            pass
        assert answer[9:12] == status
        head, _, body = answer.partition(b"\r\n\r\n")
        assert (body == b"") == (sent.startswith(b"HEAD") or not status)
        if body:
            assert f"Content-Length: {len(body)}".encode() in head


def test_logs_tell_what_happened_and_no_payload(start, key, caplog):
    with caplog.at_level(logging.DEBUG, "omap"):
        relay = start()
        with RawClient(relay, key) as client:
            client.run([Operation(Kind.PUT, b"KEYS", b"VALU")])
            client.send(b"\xfe" * SIZE)
            client.ended()
        relay.stop()
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    events = [line["event"] for line in lines]
    assert events[0] == "listening"
    assert {"client connected", "client disconnected", "client gone", "draining", "stopped"} <= set(events)
    (ended,) = [line for line in lines if line["event"] == "client disconnected"]
    assert ended | {"time": ""} == {
        "time": "",
        "level": "info",
        "logger": "omap.relay",
        "event": "client disconnected",
        "client": 1,
        "reason": "malformed",
    }
    text = "\n".join([*map(json.dumps, lines), *(TextFormatter().format(record) for record in caplog.records)])
    assert "reason=malformed" in text
    for secret in ("KEYS", "VALU", b"KEYS".hex(), b"VALU".hex(), "fefe", "\\xfe", key.hex()):
        assert secret not in text
