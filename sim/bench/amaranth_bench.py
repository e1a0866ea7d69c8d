"""Runs an Amaranth component under Amaranth's own simulator: slow, but without a compiler, and with a look inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Value
from amaranth.sim import Simulator

from sim.bench.base import PROBE_EVERY, Bench, PythonModels
from sim.bench.verilog import describe_ports
from sim.models.protocol import Breach, Rule


class AmaranthBench(PythonModels, Bench):
    """One run of a component under Amaranth's simulator. Methods as :class:`~sim.bench.base.Bench`.

    Parameters
    ----------
    component : wiring.Component
        What to simulate; it can't be used again.
    seed : int
        Seed of all draws.

    Attributes
    ----------
    simulator : Simulator
        To which processes may be added before the first cycle, such as :func:`sim.models.streams.watch` on inner
        streams.
    """

    def __init__(self, component: Any, *, seed: int = 0) -> None:
        super().__init__(describe_ports(component), seed)
        self._values = {name: Value.cast(port.value) for name, port in self.ports.ports.items()}
        self._target = 0
        self._reached: Any = lambda: False
        self._stopped = False
        self._breaches: list[Breach] = []
        self._sets: dict[str, int] = {}
        self._ctx: Any = None
        self._waiting = False
        self.simulator = Simulator(component)
        try:
            self.simulator.add_clock(1e-6)
            self._clocked = True
        except NameError:  # combinational: there is no clock domain
            self._clocked = False
        self.simulator.add_testbench(self._testbench, background=True)

    def _set(self, name: str, value: int) -> None:
        self._sets[name] = value

    def _get(self, name: str) -> int:
        self._begin()
        return int(self._ctx.get(self._values[name]))

    def _begin(self) -> None:
        while self._ctx is None:
            self.simulator.advance()

    def _advance(self, cycles: int, transfers: dict[Any, int], values: Mapping[str, int]) -> bool:
        self._begin()
        wanted = bool(transfers or values)

        def reached() -> bool:
            return (
                wanted
                and all(stream.transfers >= count for stream, count in transfers.items())
                and all(self._ctx.get(self._values[name]) == value for name, value in values.items())
            )

        self._target, self._reached, self._stopped = self.cycle + cycles, reached, False
        while self._more() or not self._waiting:
            self.simulator.advance()
        if self._breaches:
            raise self._breaches[0].error()
        return self._stopped

    def _more(self) -> bool:
        return self.cycle < self._target and not self._stopped and not self._breaches

    async def _testbench(self, ctx: Any) -> None:
        # Reset needs no cycles: the simulator starts all registers at their initial values.
        self._ctx = ctx
        while True:
            self._waiting = True
            while not self._more():
                await ctx.delay(0)
            self._waiting = False
            for name, value in self._sets.items():
                ctx.set(self._values[name], value)
            self._sets.clear()
            self._drive(lambda name, value: ctx.set(self._values[name], value))
            if self.cycle % PROBE_EVERY == 0:
                self._probe(ctx)
            self._breaches += self._step(lambda name: ctx.get(self._values[name]))
            self._stopped = self._reached()
            if self._clocked:
                await ctx.tick()
            else:
                await ctx.delay(1e-6)

    def _probe(self, ctx: Any) -> None:
        for name, flow in self.ports.streams.items():
            if flow.input or not flow.ready or not flow.valid:
                continue
            ends = [self._values[end] for end in (flow.valid, flow.payload) if end]
            before = [ctx.get(end) for end in ends]
            ready = ctx.get(self._values[flow.ready])
            ctx.set(self._values[flow.ready], 1 - ready)
            after = [ctx.get(end) for end in ends]
            ctx.set(self._values[flow.ready], ready)
            if before[0] != after[0] or (before[0] and before != after):
                self._breaches.append(Breach(self.cycle, name, Rule.STREAM_WAITS))
