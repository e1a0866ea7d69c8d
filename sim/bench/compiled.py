"""Runs an Amaranth component as compiled C++, with its streams and memory models, a batch of cycles a call.

The design is generated as Verilog, compiled once (see :mod:`sim.bench.build`) and driven through ctypes; in a batch
nothing of Python runs. It records no waveform: a real session's keys can't end up in one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from ctypes import c_char_p, c_int, c_int64, c_uint32, c_uint64, c_void_p
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.bench import build
from sim.bench.base import PROBE_EVERY, RESET_CYCLES, Bench, Timing
from sim.bench.verilog import AxiPort, Ports, describe_ports, simulation_verilog
from sim.cache import kept_text
from sim.errors import SimulationError
from sim.models.axi_memory import MAX_BURST
from sim.models.draws import seed_of
from sim.models.faults import Fault
from sim.models.memory import Memory
from sim.models.observer import EVENT, Observer
from sim.models.protocol import Breach, Rule
from sim.models.streams import pack, share_of
from sim.models.timing import HbmTiming, HostTiming

AXI_SIGNALS = [
    *("awid", "awaddr", "awlen", "awsize", "awburst", "awvalid", "awready"),
    *("wdata", "wstrb", "wlast", "wvalid", "wready"),
    *("bid", "bresp", "bvalid", "bready"),
    *("arid", "araddr", "arlen", "arsize", "arburst", "arvalid", "arready"),
    *("rid", "rdata", "rresp", "rlast", "rvalid", "rready"),
]
"""Signals of an AXI port in the order of ``AxiSignal`` in ``native/axi_memory.h``."""

BREACH = np.dtype([("cycle", "<u8"), ("source", "<u4"), ("rule", "<u4")])

_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "sim_new": (c_void_p, [c_void_p]),
    "sim_free": (None, [c_void_p]),
    "sim_reset": (None, [c_void_p, c_uint64]),
    "sim_run": (c_uint64, [c_void_p, c_uint64]),
    "sim_cycle": (c_uint64, [c_void_p]),
    "sim_stopped": (c_int, [c_void_p]),
    "sim_probe": (None, [c_void_p, c_uint32]),
    "sim_hbm_figures": (c_char_p, []),
    "sim_host_figures": (c_char_p, []),
    "sim_port": (c_int64, [c_void_p, c_char_p]),
    "sim_set": (None, [c_void_p, c_int64, c_char_p]),
    "sim_get": (None, [c_void_p, c_int64, c_char_p]),
    "sim_watch": (None, [c_void_p, c_int64, c_int]),
    "sim_stream": (c_int64, [c_void_p, c_int, c_int64, c_int64, c_int64, c_uint64]),
    "sim_stream_observe": (None, [c_void_p, c_int64, c_int]),
    "sim_stream_share": (None, [c_void_p, c_int64, c_int64]),
    "sim_stream_transfers": (c_uint64, [c_void_p, c_int64]),
    "sim_stream_waits": (None, [c_void_p, c_int64, c_void_p, c_uint64]),
    "sim_stream_push": (None, [c_void_p, c_int64, c_void_p, c_uint64]),
    "sim_stream_remaining": (c_uint64, [c_void_p, c_int64]),
    "sim_stream_take": (c_uint64, [c_void_p, c_int64, c_void_p, c_uint64]),
    "sim_stream_untimed": (None, [c_void_p, c_int64]),
    "sim_stream_cycles": (c_uint64, [c_void_p, c_int64, c_void_p, c_uint64]),
    "sim_memory": (
        c_int64,
        [c_void_p, c_int, c_int, c_void_p, c_uint64, c_uint64, c_void_p, c_uint64, c_uint32, c_uint32, c_void_p],
    ),
    "sim_fault": (None, [c_void_p, c_int64, c_void_p]),
    "sim_clear_targets": (None, [c_void_p]),
    "sim_target_stream": (None, [c_void_p, c_int64, c_uint64]),
    "sim_target_port": (None, [c_void_p, c_int64, c_uint64]),
    "sim_event_count": (c_uint64, [c_void_p]),
    "sim_events": (c_uint64, [c_void_p, c_void_p, c_uint64]),
    "sim_breaches": (c_uint64, [c_void_p, c_void_p, c_uint64]),
}


@lru_cache(maxsize=1)
def _harness() -> ctypes.CDLL:
    """Return the harness; its functions are described in :data:`_SIGNATURES`."""
    library = ctypes.CDLL(str(build.harness()))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    for names, timing in ((library.sim_hbm_figures(), HbmTiming()), (library.sim_host_figures(), HostTiming())):
        ours = [name for name in timing.figures() if name not in timing.port_figures()]
        theirs = names.decode().split()
        if ours[: len(theirs)] != theirs:
            raise SimulationError(f"sim/models/timing.py and sim/native disagree: {ours} against {theirs}")
    return library


@lru_cache(maxsize=16)
def _load(path: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(path))


def load_library(verilog: str, flags: list[str]) -> ctypes.CDLL:
    """Return the library of a design, which makes instances of it for the harness; compiled if it was not before."""
    return _load(build.shared_library(verilog, flags))


class Design:
    """A compiled design, of which any number of benches can be made.

    Parameters
    ----------
    component : wiring.Component
        What to simulate. When this is called it is compiled, unless the same was compiled before; its Verilog is kept,
        too (see :func:`sim.cache.kept_text`).
    flags : list of str
        :data:`sim.bench.build.QUICK`, or :data:`~sim.bench.build.FAST` for what runs for minutes.

    Attributes
    ----------
    ports : Ports
        What the design shows.
    verilog : str
        The design as Verilog.
    """

    def __init__(self, component: Any, *, flags: list[str] = build.QUICK) -> None:
        self.ports: Ports = describe_ports(component)
        self.verilog = kept_text(component, simulation_verilog)
        self.native = load_library(self.verilog, flags)

    def bench(self, *, seed: int = 0) -> CompiledBench:
        """Return a fresh bench, in reset until its first cycle."""
        return CompiledBench(self, seed=seed)


class CompiledBench(Bench):
    """One run of a compiled design. Methods as :class:`~sim.bench.base.Bench`.

    Parameters
    ----------
    design : Design
        What to run.
    seed : int
        Seed of all draws.
    """

    def __init__(self, design: Design, *, seed: int = 0) -> None:
        super().__init__(design.ports, seed)
        self.design = design
        self._lib = _harness()
        self._h = self._lib.sim_new(ctypes.cast(design.native.make_design, c_void_p))
        self._names: list[str] = []  # of sinks and memories, in the order of their creation
        for name, flow in self.ports.streams.items():
            ends = [self._port(end) if end else -1 for end in (flow.payload, flow.valid, flow.ready)]
            handle = self._lib.sim_stream(self._h, int(flow.input), *ends, seed_of(seed, name))
            self._streams[name] = (CompiledSource if flow.input else CompiledSink)(self, name, handle)
            if not flow.input:
                self._names.append(name)
        self._lib.sim_probe(self._h, PROBE_EVERY)
        self._lib.sim_reset(self._h, RESET_CYCLES)

    def __del__(self) -> None:
        if getattr(self, "_h", None):
            self._lib.sim_free(self._h)
            self._h = None

    @property
    def cycle(self) -> int:
        """Cycles since reset."""
        return int(self._lib.sim_cycle(self._h))

    @property
    def observer(self) -> Observer:
        """Events of the ports that are observed."""
        events = np.empty(self._lib.sim_event_count(self._h), EVENT)
        if len(events):
            self._lib.sim_events(self._h, events.ctypes.data, len(events))
            self._observer.extend(events)
        return self._observer

    def _put_memory(self, port: AxiPort, memory: Memory, timing: Timing, observed: bool) -> CompiledMemory:
        figures = np.array(list(timing.figures().values()), np.int64)
        wires = np.array([self._port(port.signals[s]) if s in port.signals else -1 for s in AXI_SIGNALS], np.int64)
        handle = self._lib.sim_memory(
            self._h,
            int(isinstance(timing, HbmTiming)),
            self._observer.port(port.name) if observed else -1,
            memory.data.ctypes.data,
            memory.base,
            memory.size,
            figures.ctypes.data,
            seed_of(self.seed, port.name),
            port.signature.beat_bytes,
            MAX_BURST[port.signature.version],
            wires.ctypes.data,
        )
        self._names.append(port.name)
        return CompiledMemory(self, handle, memory)

    def reset(self) -> None:
        """Reset the design once more, in no time: streams and memories know nothing of it."""
        self._lib.sim_reset(self._h, RESET_CYCLES)

    def _observe(self, name: str, number: int) -> None:
        if name in self._streams:
            self._lib.sim_stream_observe(self._h, self._streams[name].handle, number)
        else:
            self._lib.sim_watch(self._h, self._port(name), number)

    def _set(self, name: str, value: int) -> None:
        width = self.ports.ports[name].width
        self._lib.sim_set(self._h, self._port(name), value.to_bytes(-(-width // 8), "little"))

    def _get(self, name: str) -> int:
        buffer = ctypes.create_string_buffer(-(-self.ports.ports[name].width // 8))
        self._lib.sim_get(self._h, self._port(name), buffer)
        return int.from_bytes(buffer.raw, "little")

    def _port(self, name: str) -> int:
        return int(self._lib.sim_port(self._h, name.encode()))

    def _advance(self, cycles: int, transfers: dict[Any, int], values: Mapping[str, int]) -> bool:
        self._lib.sim_clear_targets(self._h)
        for stream, wanted in transfers.items():
            self._lib.sim_target_stream(self._h, stream.handle, wanted)
        for name, value in values.items():
            if self.ports.find("port", name).width > 64:
                raise SimulationError(f"port {name} is wider than 64 bits; wait for a narrower one")
            self._lib.sim_target_port(self._h, self._port(name), value)
        self._lib.sim_run(self._h, cycles)
        breaches = np.empty(16, BREACH)
        count = self._lib.sim_breaches(self._h, breaches.ctypes.data, len(breaches))
        if count:
            first = breaches[0]
            name = self._names[int(first["source"])]
            raise Breach(int(first["cycle"]), name, Rule(int(first["rule"]))).error()
        return bool(self._lib.sim_stopped(self._h))


class CompiledStream:
    """One stream of a compiled bench; see :class:`~sim.bench.base.Bench`.

    Attributes
    ----------
    name : str
        Stream.
    item_bytes : int
        Bytes of one item in the array methods, lowest first.
    """

    def __init__(self, bench: CompiledBench, name: str, handle: int) -> None:
        self.name, self.handle = name, handle
        self._lib, self._h = bench._lib, bench._h
        self._bench = bench  # keeps the run alive
        flow = bench.ports.streams[name]
        self.shape, self.item_bytes = flow.shape, -(-flow.width // 8)
        self._cycles: list[npt.NDArray[np.int64]] = []
        self._timed = True

    @property
    def transfers(self) -> int:
        """Items moved so far."""
        return int(self._lib.sim_stream_transfers(self._h, self.handle))

    @property
    def cycles(self) -> npt.NDArray[np.int64]:
        """Cycle in which each item moved. Costs 8 bytes an item; see :meth:`untimed`."""
        if not self._timed:
            raise SimulationError(f"the cycles of stream {self.name} were not kept")
        fresh = np.empty(self.transfers - sum(map(len, self._cycles)), np.int64)
        self._lib.sim_stream_cycles(self._h, self.handle, fresh.ctypes.data, len(fresh))
        self._cycles = [np.concatenate([*self._cycles, fresh])]
        return self._cycles[0]

    def untimed(self) -> None:
        """Keep no cycles from now on, for runs of a hundred million items."""
        self._lib.sim_stream_untimed(self._h, self.handle)
        self._timed = False

    def wait_for(self, waits: Iterable[int], idle: float | None) -> None:
        """As :meth:`sim.models.streams.Waits.set`."""
        given = np.array(list(waits), np.uint32)
        if len(given):
            self._lib.sim_stream_waits(self._h, self.handle, given.ctypes.data, len(given))
        if idle is not None:
            self._lib.sim_stream_share(self._h, self.handle, share_of(idle))


class CompiledSource(CompiledStream):
    """Producer on an input stream of a compiled bench."""

    def push(self, items: Iterable[Any] | npt.NDArray[np.uint8]) -> None:
        """Queue items: an (n, item_bytes) array of uint8, or any mixture that :func:`sim.models.streams.pack` takes."""
        if not (isinstance(items, np.ndarray) and items.ndim == 2):
            packed = [pack(self.shape, item).to_bytes(self.item_bytes, "little") for item in items]
            items = np.frombuffer(b"".join(packed), np.uint8).reshape(len(packed), self.item_bytes)
        if items.dtype != np.uint8 or items.shape[1] != self.item_bytes:
            raise SimulationError(
                f"stream {self.name} takes (n, {self.item_bytes}) arrays of uint8, not {items.shape} of {items.dtype}"
            )
        rows = np.ascontiguousarray(items)
        self._lib.sim_stream_push(self._h, self.handle, rows.ctypes.data, len(rows))

    @property
    def remaining(self) -> int:
        """Items not taken yet."""
        return int(self._lib.sim_stream_remaining(self._h, self.handle))


class CompiledSink(CompiledStream):
    """Consumer on an output stream of a compiled bench."""

    _taken = 0

    def take_array(self) -> npt.NDArray[np.uint8]:
        """Return the items that came since the last call, as an (n, item_bytes) array."""
        items = np.empty((self.transfers - self._taken, self.item_bytes), np.uint8)
        self._lib.sim_stream_take(self._h, self.handle, items.ctypes.data, len(items))
        self._taken += len(items)
        return items

    def take(self) -> list[int]:
        """Return the items that came since the last call, as whole numbers."""
        return [int.from_bytes(row.tobytes(), "little") for row in self.take_array()]


class CompiledMemory:
    """Memory model on an AXI port of a compiled bench; see :class:`~sim.bench.base.Bench`.

    Attributes
    ----------
    memory : Memory
        What it serves.
    """

    def __init__(self, bench: CompiledBench, handle: int, memory: Memory) -> None:
        self.memory = memory  # the compiled model holds a pointer to its bytes
        self._lib, self._h, self._handle, self._bench = bench._lib, bench._h, handle, bench

    def add_fault(self, fault: Fault) -> None:
        """Inject ``fault`` from now on; it counts the accesses that come after this call."""
        values = [fault.kind, fault.write, fault.low, fault.high, fault.skip, fault.count, fault.argument]
        array = np.array([int(value) for value in values], np.uint64)
        self._lib.sim_fault(self._h, self._handle, array.ctypes.data)
