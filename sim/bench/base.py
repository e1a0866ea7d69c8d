"""What a bench offers, whichever simulator runs the design; and the Python models as one bundle.

A bench holds one design with a source or sink on each of its streams, memory models on its AXI ports, and an observer.
:class:`Face` describes what all benches share. :class:`Bench` lets time pass by calls, in the compiled harness and in
Amaranth's simulator; under cocotb :class:`sim.bench.cocotb_bench.CocotbBench` has the same methods, of which those that
let time pass are awaited.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from omap.errors import ParamsError
from sim.bench.verilog import AxiPort, Ports
from sim.errors import CycleLimitError, SimulationError
from sim.models.axi_memory import AxiMemory, Bus, Master, WriteBeat
from sim.models.draws import seed_of
from sim.models.faults import Fault
from sim.models.memory import Memory
from sim.models.observer import EventKind, Observer
from sim.models.protocol import Breach
from sim.models.scheduler import Address
from sim.models.streams import Sink, Source
from sim.models.timing import HbmTiming, HostTiming

RESET_CYCLES = 2
"""Cycles that a bench holds its design in reset, before cycle 0."""
PROBE_EVERY = 61
"""Every so many cycles, a check that no producer looks at ready: a prime, to meet every phase of a loop."""

Timing = HbmTiming | HostTiming


class Face(ABC):
    """What a bench offers around a design, whether time passes in calls or is awaited.

    Attributes
    ----------
    ports : Ports
        What the design shows.
    seed : int
        Seed of all draws.
    """

    def __init__(self, ports: Ports, seed: int) -> None:
        self.ports, self.seed = ports, seed
        self._observer = Observer()
        self._streams: dict[str, Any] = {}
        self._memories: dict[str, Any] = {}

    @property
    @abstractmethod
    def cycle(self) -> int:
        """Cycles since reset."""

    @property
    def observer(self) -> Observer:
        """Events of the ports that are observed."""
        return self._observer

    def source(self, name: str, *, waits: Iterable[int] = (), idle: float | None = None) -> Any:
        """Return the producer on an input stream: ``push(items)``, ``remaining``, ``transfers``, ``cycles``.

        ``waits`` are waiting times in cycles, one for each of the next items; after those the producer waits in a drawn
        share ``idle`` of the cycles. Both stay as they are where not given.
        """
        return self._stream_of(name, True, waits, idle)

    def sink(self, name: str, *, waits: Iterable[int] = (), idle: float | None = None) -> Any:
        """Return the consumer on an output stream: ``take()``, ``transfers``, ``cycles``. It is ready after waiting."""
        return self._stream_of(name, False, waits, idle)

    def _stream_of(self, name: str, inward: bool, waits: Iterable[int], idle: float | None) -> Any:
        if self.ports.find("stream", name).input != inward:
            raise SimulationError(f"stream {name} is an {'output' if inward else 'input'} of the design")
        self._streams[name].wait_for(waits, idle)
        return self._streams[name]

    def memory(
        self,
        name: str,
        memory: Memory,
        timing: Timing,
        *,
        faults: Iterable[Fault] = (),
        observe: bool | None = None,
    ) -> Any:
        """Put a memory model on an AXI master port; the kind of timing says which.

        Parameters
        ----------
        name : str
            AXI port.
        memory : Memory
            What it serves; ports may share one.
        timing : HbmTiming or HostTiming
            Its figures.
        faults : iterable of Fault
            What to inject; the model returned has ``add_fault`` for later.
        observe : bool, optional
            Whether its events are recorded. Default: host memory is, HBM is not, as on the card.
        """
        port: AxiPort = self.ports.find("AXI port", name)
        if name in self._memories:
            raise SimulationError(f"{name} has a memory already")
        observed = isinstance(timing, HostTiming) if observe is None else observe
        self._memories[name] = model = self._put_memory(port, memory, timing, observed)
        for fault in faults:
            model.add_fault(fault)
        return model

    def observe(self, name: str) -> None:
        """Record the transfers of a stream, or the changes of an output port, as events."""
        if name not in self.ports.streams:
            self.ports.find("port", name)
        self._observe(name, self._observer.port(name))

    def set(self, name: str, value: int) -> None:
        """Set an input port from the coming cycle on."""
        if not self.ports.find("port", name).input:
            raise SimulationError(f"port {name} is an output of the design")
        self._set(name, value)

    def get(self, name: str) -> int:
        """Return what a port shows in the coming cycle; under cocotb, what it showed at the end of the last one."""
        self.ports.find("port", name)
        return self._get(name)

    @abstractmethod
    def _put_memory(self, port: AxiPort, memory: Memory, timing: Timing, observed: bool) -> Any: ...

    @abstractmethod
    def _observe(self, name: str, number: int) -> None: ...

    @abstractmethod
    def _set(self, name: str, value: int) -> None: ...

    @abstractmethod
    def _get(self, name: str) -> int: ...


class Bench(Face):
    """A design in a simulator that is advanced by calls."""

    @abstractmethod
    def _advance(self, cycles: int, transfers: dict[Any, int], values: Mapping[str, int]) -> bool:
        """Run up to ``cycles`` and return whether what was waited for has come."""

    def run(self, cycles: int) -> None:
        """Let ``cycles`` pass.

        Raises
        ------
        ProtocolError
            If the design breaks a rule of a bus or a stream.
        """
        self._advance(cycles, {}, {})

    def run_until(
        self, *, limit: int, transfers: Mapping[str, int] | None = None, values: Mapping[str, int] | None = None
    ) -> None:
        """Let time pass until each named stream has moved so many more items and each named port has its value.

        Raises
        ------
        CycleLimitError
            If that takes more than ``limit`` cycles; the message says how far it came.
        ProtocolError
            If the design breaks a rule of a bus or a stream.
        """
        wanted = {self._stream(name): self._stream(name).transfers + n for name, n in (transfers or {}).items()}
        if not wanted and not values:
            raise ParamsError("run_until needs transfers or values to wait for")
        if not self._advance(limit, wanted, values or {}):
            raise_limit(limit, wanted, {name: (self.get(name), value) for name, value in (values or {}).items()})

    def _stream(self, name: str) -> Any:
        return self.source(name) if self.ports.find("stream", name).input else self.sink(name)


def raise_limit(limit: int, transfers: Mapping[Any, int], values: Mapping[str, tuple[int, int]]) -> None:
    """Raise the error of a run that waited in vain."""
    state = [f"stream {stream.name} moved {stream.transfers} of {wanted}" for stream, wanted in transfers.items()]
    state += [f"port {name} is {found:#x}, wanted {wanted:#x}" for name, (found, wanted) in values.items()]
    raise CycleLimitError(f"not done after {limit} cycles: {'; '.join(state)}")


class PythonModels(Face):
    """A face with the Python models: they say what to drive before a cycle, and look at what the design shows in it.

    Parameters
    ----------
    ports : Ports
        The design's ports.
    seed : int
        Seed of all draws.
    """

    def __init__(self, ports: Ports, seed: int) -> None:
        super().__init__(ports, seed)
        self._cycle = 0
        self._observed: dict[str, int] = {}
        self._erase = "erase" in ports.ports and ports.ports["erase"].input
        self._watched: dict[str, tuple[int, int]] = {}
        for name, flow in ports.streams.items():
            if flow.input:
                self._streams[name] = Source(name, seed_of(seed, name), flow.width, flow.shape)
            else:
                self._streams[name] = Sink(name, seed_of(seed, name), flow.shape, always_ready=flow.ready is None)

    @property
    def cycle(self) -> int:
        """Cycles since reset."""
        return self._cycle

    def _put_memory(self, port: AxiPort, memory: Memory, timing: Timing, observed: bool) -> AxiMemory:
        bus = Bus(port.signature.beat_bytes, port.signature.version)
        observer = self._observer if observed else None
        return AxiMemory(port.name, bus, memory, timing, seed=seed_of(self.seed, port.name), observer=observer)

    def _observe(self, name: str, number: int) -> None:
        if name in self.ports.streams:
            self._observed[name] = number
        else:
            self._watched[name] = (number, 0)

    def _drive(self, put: Callable[[str, int], None]) -> None:
        """Call ``put(port, value)`` for everything the models drive in the coming cycle."""
        for name, flow in self.ports.streams.items():
            if flow.input:
                valid, payload = self._streams[name].drive(self._cycle)
                if flow.valid:
                    put(flow.valid, valid)
                if flow.payload:
                    put(flow.payload, payload)
            else:
                ready = self._streams[name].drive(self._cycle)
                if flow.ready:
                    put(flow.ready, ready)
        for name, model in self._memories.items():
            signals = self.ports.axi[name].signals
            for signal, value in model.drive._asdict().items():
                if signal in signals:
                    put(signals[signal], value)

    def _step(self, get: Callable[[str], int]) -> list[Breach]:
        """Take the end of the cycle, in which port ``p`` shows ``get(p)``; return the rules that were broken."""
        cycle, breaches = self._cycle, []
        for name, model in self._memories.items():
            model.step(_master(self.ports.axi[name].signals, get))
            breaches += model.breaches
            model.breaches = []
        for name, flow in self.ports.streams.items():
            stream = self._streams[name]
            if flow.input:
                moved = stream.step(cycle, get(flow.ready) if flow.ready else 1)
            else:
                valid = get(flow.valid) if flow.valid else 1
                payload = get(flow.payload) if valid and flow.payload else 0
                moved, breach = stream.step(cycle, valid, payload)
                breaches += [breach] if breach else []
            if moved and name in self._observed:
                width = -(-flow.width // 8)
                self._observer.record(cycle, self._observed[name], EventKind.TRANSFER, stream.transfers - 1, width)
        if self._erase and get("erase"):
            for name, flow in self.ports.streams.items():
                if not flow.input:
                    self._streams[name].forget()
        for name, (number, last) in self._watched.items():
            value = get(name)
            if value != last:
                self._watched[name] = (number, value)
                width = -(-self.ports.ports[name].width // 8)
                self._observer.record(cycle, number, EventKind.CHANGE, value & (1 << 64) - 1, width)
        self._cycle += 1
        return breaches


def _master(signals: dict[str, str], get: Callable[[str], int]) -> Master:
    def payload(channel: str, kind: Any) -> Any:
        if f"{channel}valid" not in signals or not get(signals[f"{channel}valid"]):
            return None
        return kind(*(get(signals[channel + field]) for field in kind._fields))

    def ready(channel: str) -> int:
        return get(signals[f"{channel}ready"]) if f"{channel}ready" in signals else 0

    return Master(payload("aw", Address), payload("w", WriteBeat), ready("b"), payload("ar", Address), ready("r"))
