"""The bench of a cocotb test: streams, memory models and observer around the design that cocotb runs.

A cocotb test module has a function ``component(**parameters)`` that returns the design, and tests that begin with
``bench = await CocotbBench.start(dut, component())``; :mod:`sim.bench.cocotb_runner` runs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge, Timer

from sim.bench.base import PROBE_EVERY, RESET_CYCLES, PythonModels, Timing, raise_limit
from sim.bench.verilog import describe_ports
from sim.models.axi_memory import AxiMemory
from sim.models.faults import Fault
from sim.models.memory import Memory
from sim.models.observer import Observer
from sim.models.protocol import Breach, Rule
from sim.models.streams import Sink, Source

PERIOD_NS = 4


class CocotbBench:
    """Methods of :class:`~sim.bench.base.Bench`; :meth:`run` and :meth:`run_until` are awaited. See :meth:`start`."""

    def __init__(self, dut: Any, component: Any, *, seed: int = 0) -> None:
        self.dut, self.seed = dut, seed
        self.ports = describe_ports(component)
        self._models = PythonModels(self.ports, seed)
        self._handles = {name: getattr(dut, name) for name in self.ports.ports}
        self._shown: dict[str, int] = {}

    @classmethod
    async def start(cls, dut: Any, component: Any, *, seed: int = 0) -> CocotbBench:
        """Start the clock, reset the design, and return its bench in cycle 0.

        Parameters
        ----------
        dut : cocotb handle
            The simulated top.
        component : wiring.Component
            The same design in Amaranth, for its ports.
        seed : int
            Seed of all draws.
        """
        bench = cls(dut, component, seed=seed)
        if not hasattr(dut, "clk"):
            raise ValueError("the design has no clock; try it under Amaranth's simulator")
        for name, port in bench.ports.ports.items():
            if port.input:
                bench._put(name, 0)
        dut.rst.value = 1
        Clock(dut.clk, PERIOD_NS, "ns").start(start_high=False)
        for _ in range(RESET_CYCLES):
            await RisingEdge(dut.clk)
        dut.rst.value = 0
        return bench

    @property
    def cycle(self) -> int:
        """Cycles since reset."""
        return self._models.cycle

    @property
    def observer(self) -> Observer:
        """Events of the ports that are observed."""
        return self._models.observer

    def source(self, name: str, *, waits: Iterable[int] = (), idle: float | None = None) -> Source:
        """As :meth:`Bench.source`."""
        return self._models.source(name, waits=waits, idle=idle)

    def sink(self, name: str, *, waits: Iterable[int] = (), idle: float | None = None) -> Sink:
        """As :meth:`Bench.sink`."""
        return self._models.sink(name, waits=waits, idle=idle)

    def memory(
        self,
        name: str,
        memory: Memory,
        timing: Timing,
        *,
        faults: Iterable[Fault] = (),
        observe: bool | None = None,
    ) -> AxiMemory:
        """As :meth:`Bench.memory`."""
        return self._models.memory(name, memory, timing, faults=faults, observe=observe)

    def observe(self, name: str) -> None:
        """As :meth:`Bench.observe`."""
        self._models.observe(name)

    def set(self, name: str, value: int) -> None:
        """As :meth:`Bench.set`."""
        self._put(name, value)

    def get(self, name: str) -> int:
        """As :meth:`Bench.get`, but as the port was at the end of the last cycle."""
        return self._read(name)

    async def run(self, cycles: int) -> None:
        """As :meth:`Bench.run`."""
        for _ in range(cycles):
            await self._cycle()

    async def run_until(
        self, *, limit: int, transfers: Mapping[str, int] | None = None, values: Mapping[str, int] | None = None
    ) -> None:
        """As :meth:`Bench.run_until`."""
        streams = {**self._models.sources, **self._models.sinks}
        wanted = {streams[name]: streams[name].transfers + n for name, n in (transfers or {}).items()}
        values = values or {}
        for _ in range(limit):
            await self._cycle(values)
            if all(s.transfers >= n for s, n in wanted.items()) and self._matched:
                return
        raise_limit(limit, wanted, {name: (self._read(name), value) for name, value in values.items()})

    async def _cycle(self, values: Mapping[str, int] | None = None) -> None:
        # What is put after an edge shows after that edge; at the next edge the design shows how the cycle ended.
        models = self._models
        models.drive(self._put)
        breaches = []
        if models.cycle % PROBE_EVERY == 0:
            await FallingEdge(self.dut.clk)
            breaches = await self._probe()
        await RisingEdge(self.dut.clk)
        breaches += models.step(self._read)
        self._matched = all(self._read(name) == value for name, value in (values or {}).items())
        if breaches:
            raise breaches[0].error()

    async def _probe(self) -> list[Breach]:
        found = []
        for name, flow in self.ports.streams.items():
            if flow.input or not flow.ready or not flow.valid:
                continue
            ends = [end for end in (flow.valid, flow.payload) if end]
            before = [self._read(end) for end in ends]
            ready = self._shown[flow.ready]
            self._put(flow.ready, 1 - ready)
            await Timer(1, "ps")
            after = [self._read(end) for end in ends]
            self._put(flow.ready, ready)
            await Timer(1, "ps")
            if before[0] != after[0] or (before[0] and before != after):
                found.append(Breach(self.cycle, name, Rule.STREAM_WAITS))
        return found

    def _put(self, name: str, value: int) -> None:
        if self._shown.get(name) != value:
            self._shown[name] = value
            self._handles[name].value = value

    def _read(self, name: str) -> int:
        return int(self._handles[name].value)
