"""Runs an Amaranth component under Amaranth's own simulator: slow, but without a compiler, and with a look inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from amaranth.hdl import Value
from amaranth.sim import Simulator

from sim.bench.base import PROBE_EVERY, Bench, PythonModels, Timing
from sim.bench.verilog import describe_ports
from sim.errors import SimulationError
from sim.models.axi_memory import AxiMemory
from sim.models.faults import Fault
from sim.models.memory import Memory
from sim.models.observer import Observer
from sim.models.protocol import Breach, Rule
from sim.models.streams import Sink, Source


class AmaranthBench(Bench):
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
        self.ports = describe_ports(component)
        self.seed = seed
        self._models = PythonModels(self.ports, seed)
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
        if not self.ports.find("port", name).input:
            raise SimulationError(f"port {name} is an output of the design")
        self._sets[name] = value

    def get(self, name: str) -> int:
        """As :meth:`Bench.get`."""
        self.ports.find("port", name)
        self._begin()
        return self._ctx.get(self._values[name])

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
        models = self._models
        while True:
            self._waiting = True
            while not self._more():
                await ctx.delay(0)
            self._waiting = False
            for name, value in self._sets.items():
                ctx.set(self._values[name], value)
            self._sets.clear()
            models.drive(lambda name, value: ctx.set(self._values[name], value))
            if self.cycle % PROBE_EVERY == 0:
                self._probe(ctx)
            self._breaches += models.step(lambda name: ctx.get(self._values[name]))
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
