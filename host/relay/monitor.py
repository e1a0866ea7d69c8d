"""What operators look at, over HTTP on loopback: ``/healthz``, and ``/metrics`` in the text format of Prometheus.

Every number here is public: whoever runs the machine sees the same without this page.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from host.device.driver import SERVING
from host.listening import cannot_listen
from host.relay.relay import Relay
from omap.errors import OmapError
from omap.regmap import Fault

HOST = "127.0.0.1"
_HEAD_BYTES = 8192
_HEAD_SECONDS = 5.0
_MOST_CONNECTIONS = 16
_SERVING = [state.name.lower() for state in SERVING]


def health(relay: Relay) -> dict[str, Any]:
    """Return the state of relay and device, JSON-ready; ``healthy`` says whether clients are served.

    Reveals
        Counts and states, all of them public.
    """
    driver = relay.driver
    try:
        state, fault = driver.state, driver.fault
    except OmapError:
        state, fault = None, Fault.NONE
    kept = {} if relay.keeper is None else relay.keeper.facts()
    ready = state in SERVING and relay.failure is None and not relay.draining
    ready = ready and not kept.get("trouble")
    return {
        "healthy": ready,
        "address": relay.address,
        "addresses": relay.addresses,
        "device": "gone" if state is None else state.name.lower(),
        "fault": fault.name.lower(),
        "reason": kept.get("trouble", "") if relay.failure is None else str(relay.failure),
        "draining": relay.draining,
        "clients": len(relay.connections),
        "in_flight": driver.in_flight,
        "ring_lines": driver.ring_lines,
        "digest": driver.params.digest.hex(),
        "mode": dict(driver.mode),
        "kept": kept or None,
    }


def metrics(relay: Relay) -> str:
    """Return all numbers in Prometheus' text format, version 0.0.4.

    Reveals
        Counts and states, all of them public.
    """
    driver, numbers, statistics = relay.driver, relay.numbers, relay.driver.statistics
    said = health(relay)
    page = _Page()
    page.add("omap_relay_clients", "gauge", "Clients connected.", len(relay.connections))
    page.add("omap_relay_connections_total", "counter", "Connections accepted.", numbers.connections)
    page.add("omap_relay_sessions_total", "counter", "Sessions opened.", numbers.sessions)
    page.add("omap_relay_records_in_total", "counter", "Records put into the ring.", numbers.records_in)
    page.add("omap_relay_records_out_total", "counter", "Records sent to clients.", numbers.records_out)
    page.add("omap_relay_operations_total", "counter", "Operations of the records put there.", numbers.operations)
    page.add("omap_relay_answers_unwanted_total", "counter", "Answers whose client was gone.", numbers.unwanted)
    page.add_each("omap_relay_refused_total", "Records that the relay refused.", numbers.refused)
    page.add_each("omap_relay_disconnected_total", "Connections that the relay ended.", numbers.disconnected)
    page.add("omap_ring_lines", "gauge", "Lines of each ring.", driver.ring_lines)
    page.add("omap_ring_in_flight", "gauge", "Lines of commands whose answers were not taken.", driver.in_flight)
    page.add("omap_ring_most_in_flight", "gauge", "The most there were.", statistics.most_in_flight)
    page.add("omap_ring_batches_total", "counter", "Times that records were put into the ring.", statistics.batches)
    page.add("omap_device_ready", "gauge", "1 if the device serves commands.", int(said["device"] in _SERVING))
    page.add("omap_device_fault", "gauge", "Fault that it has latched, 0 for none.", Fault[said["fault"].upper()])
    if kept := said["kept"]:
        page.add("omap_journal_bytes", "gauge", "Bytes of journal since the last snapshot.", kept["journal_bytes"])
        page.add(
            "omap_journal_synced_operation",
            "counter",
            "Operations on disk: the first so many.",
            kept["synced_operation"],
        )
        page.add("omap_snapshot_time_seconds", "gauge", "When the snapshot was taken.", int(kept["snapshot_time"]))
        page.add("omap_disk_trouble", "gauge", "1 if nothing can be kept at the moment.", int(bool(kept["trouble"])))
    labels = {"digest": said["digest"]} | {name: str(value).lower() for name, value in driver.mode.items()}
    page.add("omap_device_info", "gauge", "What the device says it is.", 1, labels)
    return page.text


class _Page:
    """A page of metrics in the making."""

    def __init__(self) -> None:
        self.text = ""

    def _head(self, name: str, kind: str, text: str) -> None:
        self.text += f"# HELP {name} {text}\n# TYPE {name} {kind}\n"

    def add(self, name: str, kind: str, text: str, value: int, labels: Mapping[str, str] | None = None) -> None:
        self._head(name, kind, text)
        inner = ",".join(f'{label}="{of}"' for label, of in (labels or {}).items())
        self.text += f"{name}{{{inner}}} {value:d}\n" if inner else f"{name} {value:d}\n"

    def add_each(self, name: str, text: str, values: Mapping[str, int]) -> None:
        self._head(name, "counter", text)
        for reason, value in sorted(values.items()):
            self.text += f'{name}{{reason="{reason}"}} {value:d}\n'


class Monitor:
    """The HTTP server.

    Parameters
    ----------
    relay : Relay
        The relay whose numbers are shown.
    port : int
        TCP port on loopback; 0 for any.

    Reveals
        To whoever can reach the loopback of this machine: counts and states, all of them public.
    """

    def __init__(self, relay: Relay, port: int) -> None:
        self.port = port
        self._relay = relay
        self._server: asyncio.Server | None = None
        self._connections = 0

    @property
    def address(self) -> str:
        """Address that the monitor listens at."""
        return f"http://{HOST}:{self.port}"

    async def start(self) -> None:
        """Listen. Raises InputError if the port can't be used.

        Reveals
            That a monitor listens at this port.
        """
        try:
            self._server = await asyncio.start_server(self._serve, HOST, self.port, limit=_HEAD_BYTES)
        except OSError as error:
            raise cannot_listen(HOST, self.port, error) from None
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= _MOST_CONNECTIONS:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_SECONDS)
                writer.write(self._answer(head))
                await asyncio.wait_for(writer.drain(), _HEAD_SECONDS)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # what is no request, or comes too late, gets no answer
        finally:
            self._connections -= 1
            with contextlib.suppress(OSError):
                writer.close()

    def _answer(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        path = words[1].split(b"?", 1)[0] if len(words) == 3 else b""
        status, kind, body = HTTPStatus.OK, "application/json", b""
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            status = HTTPStatus.BAD_REQUEST
        elif words[0] not in (b"GET", b"HEAD"):
            status = HTTPStatus.METHOD_NOT_ALLOWED
        elif path == b"/healthz":
            said = health(self._relay)
            status = HTTPStatus.OK if said["healthy"] else HTTPStatus.SERVICE_UNAVAILABLE
            body = json.dumps(said).encode() + b"\n"
        elif path == b"/metrics":
            kind, body = "text/plain; version=0.0.4; charset=utf-8", metrics(self._relay).encode()
        else:
            status = HTTPStatus.NOT_FOUND
        if not body:
            kind, body = "text/plain", f"{status.value} {status.phrase}; there are /healthz and /metrics\n".encode()
        lines = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        answer = lines.encode() + b"Connection: close\r\n\r\n"
        return answer if words[0] == b"HEAD" else answer + body
