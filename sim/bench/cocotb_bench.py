"""The bench of a cocotb test: streams, memory models and observer around the design that cocotb runs.

A cocotb test module has a function ``component(**parameters)`` that returns the design, and tests that begin with
``bench = await CocotbBench.start(dut, component())``; :mod:`sim.bench.cocotb_runner` runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge, Timer

from sim.bench.base import PROBE_EVERY, RESET_CYCLES, PythonModels, raise_limit
from sim.bench.verilog import describe_ports
from sim.models.protocol import Breach, Rule

PERIOD_NS = 4


class CocotbBench(PythonModels):
    """The design of a cocotb test with the Python models; :meth:`run` and :meth:`run_until` are awaited.

    Make one by :meth:`start`.
    """

    def __init__(self, dut: Any, component: Any, *, seed: int = 0) -> None:
        super().__init__(describe_ports(component), seed)
        self.dut = dut
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
                bench._set(name, 0)
        dut.rst.value = 1
        Clock(dut.clk, PERIOD_NS, "ns").start(start_high=False)
        for _ in range(RESET_CYCLES):
            await RisingEdge(dut.clk)
        dut.rst.value = 0
        return bench

    async def run(self, cycles: int) -> None:
        """As :meth:`Bench.run`."""
        for _ in range(cycles):
            await self._one_cycle()

    async def run_until(
        self, *, limit: int, transfers: Mapping[str, int] | None = None, values: Mapping[str, int] | None = None
    ) -> None:
        """As :meth:`Bench.run_until`."""
        streams = {name: self._streams[self.ports.find("stream", name).name] for name in transfers or {}}
        wanted = {streams[name]: streams[name].transfers + n for name, n in (transfers or {}).items()}
        values = values or {}
        for _ in range(limit):
            await self._one_cycle(values)
            if all(s.transfers >= n for s, n in wanted.items()) and self._matched:
                return
        raise_limit(limit, wanted, {name: (self._get(name), value) for name, value in values.items()})

    async def _one_cycle(self, values: Mapping[str, int] | None = None) -> None:
        # What is put after an edge shows after that edge; at the next edge the design shows how the cycle ended.
        self._drive(self._set)
        breaches = []
        if self.cycle % PROBE_EVERY == 0:
            await FallingEdge(self.dut.clk)
            breaches = await self._probe()
        await RisingEdge(self.dut.clk)
        breaches += self._step(self._get)
        self._matched = all(self._get(name) == value for name, value in (values or {}).items())
        if breaches:
            raise breaches[0].error()

    async def _probe(self) -> list[Breach]:
        found = []
        for name, flow in self.ports.streams.items():
            if flow.input or not flow.ready or not flow.valid:
                continue
            ends = [end for end in (flow.valid, flow.payload) if end]
            before = [self._get(end) for end in ends]
            ready = self._shown[flow.ready]
            self._set(flow.ready, 1 - ready)
            await Timer(1, "ps")
            after = [self._get(end) for end in ends]
            self._set(flow.ready, ready)
            await Timer(1, "ps")
            if before[0] != after[0] or (before[0] and before != after):
                found.append(Breach(self.cycle, name, Rule.STREAM_WAITS))
        return found

    def _set(self, name: str, value: int) -> None:
        if self._shown.get(name) != value:
            self._shown[name] = value
            self._handles[name].value = value

    def _get(self, name: str) -> int:
        return int(self._handles[name].value)
