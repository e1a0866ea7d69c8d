"""Counts what happens inside a compiled design: transfers of its streams, states of its machines, how full it is.

The design's Verilog stays as it is. A module around it names signals inside and counts them, so that no block has ports
for it, and nothing of it is in what a board gets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sim.bench import build
from sim.bench.compiled import CompiledBench, Design, load_library
from sim.bench.verilog import TOP, Port, Ports, describe_ports, simulation_verilog
from sim.cache import kept_text
from sim.errors import SimulationError

INNER = "probed"
"""Name of the design's module within the module that counts."""

RUN, CLEAR, SELECT, VALUE = "probe_run", "probe_clear", "probe_select", "probe_value"
SELECT_BITS, COUNT_BITS = 12, 48

MOST_STATE_BITS = 6
"""Bits of the largest state of a machine; what is wider and called a state is none."""


@dataclass(frozen=True)
class Flow:
    """A stream: how many items moved, and for how many cycles one waited.

    Parameters
    ----------
    name : str
        What it is called in a report.
    block : str
        The block that it belongs to, as a path of names from the design.
    valid, ready : str
        Names of its signals there.
    """

    name: str
    block: str
    valid: str
    ready: str


@dataclass(frozen=True)
class Machine:
    """A state machine: for how many cycles it was in another state than its first one.

    Parameters
    ----------
    name, block : str
        As of :class:`Flow`.
    signal, idle : str
        Its state, and the first one as Verilog writes it.
    """

    name: str
    block: str
    signal: str
    idle: str


@dataclass(frozen=True)
class Level:
    """A number of things: its mean, and the most.

    Parameters
    ----------
    name, block : str
        As of :class:`Flow`.
    signal : str
        What holds the number, or a bit for each thing.
    bits : bool
        Whether it holds bits.
    """

    name: str
    block: str
    signal: str
    bits: bool = True


Probe = Flow | Machine | Level


@dataclass(frozen=True)
class Count:
    """What a probe counted.

    Attributes
    ----------
    busy : int
        Cycles in which an item was on offer, or a machine was not idle; the sum over all cycles, of a level.
    moved : int
        Items that moved; the most, of a level.
    """

    busy: int
    moved: int = 0


def stream(name: str, block: str, flow: str) -> Flow:
    """Return the probe of a stream by its name in its block."""
    return Flow(name, block, f"{flow}__valid", f"{flow}__ready")


class Modules:
    """The modules of a design's Verilog, by their paths.

    Parameters
    ----------
    verilog : str
        As :func:`sim.bench.verilog.simulation_verilog` makes it: a module for each block, named by its path.
    """

    def __init__(self, verilog: str) -> None:
        self.text: dict[str, str] = {}
        self._instances: dict[str, str] = {}
        for text in re.split(r"(?m)^(?=module )", verilog)[1:]:
            found = re.match(r"module \\?(\S+)", text)
            assert found
            self.text[self._plain(found[1].partition("(")[0])] = text
            for module, instance in re.findall(rf"(?m)^  \\?({TOP}\.\S+) +(\\?\S+) +\($", text):
                self._instances[self._plain(module)] = instance

    @staticmethod
    def _plain(module: str) -> str:
        """Return the path of a module: its name without the top, and without numbers that Yosys adds."""
        return re.sub(r"\$\d+", "", module).removeprefix(TOP).removeprefix(".")

    def find(self, block: str, signal: str) -> str:
        """Return the hierarchical name of a signal; raise SimulationError with those that are there if it is not."""
        text = self.text.get(block)
        if text is None:
            near = [path for path in self.text if path.rpartition(".")[0] == block.rpartition(".")[0]]
            raise SimulationError(
                f"the design has no block {block!r}; beside it are {', '.join(sorted(near)) or 'none'}"
            )
        if not re.search(rf"(?m)^  (?:wire|reg)(?: \[[^\]]*\])? {re.escape(signal)}(?: =.*)?;$", text):
            there = sorted(set(re.findall(r"(?m)^  (?:wire|reg)(?: \[[^\]]*\])? ([a-zA-Z]\w*)(?: =.*)?;$", text)))
            raise SimulationError(f"block {block!r} has no signal {signal!r}; it has {', '.join(there)}")
        parts = block.split(".") if block else []
        names = [self._instances[".".join(parts[: length + 1])] for length in range(len(parts))]
        return ".".join([f"{INNER}_i", *(f"{name} " if name.startswith("\\") else name for name in names), signal])

    def machines(self) -> list[Machine]:
        """Return all state machines of the design."""
        found = []
        for block, text in self.text.items():
            for high, signal, idle in re.findall(r"(?m)^  reg(?: \[(\d+):0\])? (\w*_state) = (\S+);$", text):
                if int(high or 0) < MOST_STATE_BITS:
                    found.append(Machine(f"{block}: {signal}", block, signal, idle))
        return found


def counting_verilog(verilog: str, ports: Ports, probes: Sequence[Probe]) -> str:
    """Return a design within a module that counts what the probes name."""
    modules = Modules(verilog)
    inner, count = re.subn(rf"(?m)^module \\?{TOP} *\(", f"module {INNER} (", verilog, count=1)
    assert count == 1
    outer = {"clk": Port("clk", 1, True), "rst": Port("rst", 1, True), **ports.ports}
    own = [f"input {RUN}", f"input {CLEAR}", f"input [{SELECT_BITS - 1}:0] {SELECT}"]
    own.append(f"output reg [{COUNT_BITS - 1}:0] {VALUE}")
    shown = [f"{'input' if p.input else 'output'} {_range(p.width)}{name}" for name, p in outer.items()]
    lines = [f"module {TOP}({', '.join([*shown, *own])});"]
    lines.append(f"  {INNER} {INNER}_i({', '.join(f'.{name}({name})' for name in outer)});")
    cases = []
    for number, probe in enumerate(probes):
        lines += [
            f"  reg [{COUNT_BITS - 1}:0] busy_{number} = 0, moved_{number} = 0;",
            *_counter(modules, number, probe),
        ]
        cases += [f"      {2 * number}: {VALUE} = busy_{number};", f"      {2 * number + 1}: {VALUE} = moved_{number};"]
    lines += ["  always @(*)", f"    case ({SELECT})", *cases, f"      default: {VALUE} = 0;", "    endcase"]
    return "\n".join([inner, *lines, "endmodule", ""])


def _range(width: int) -> str:
    return f"[{width - 1}:0] " if width > 1 else ""


def _counter(modules: Modules, number: int, probe: Probe) -> Iterable[str]:
    """Yield what counts for one probe."""
    busy, moved, more = f"busy_{number}", f"moved_{number}", "1'b0"
    if isinstance(probe, Flow):
        valid, ready = (modules.find(probe.block, name) for name in (probe.valid, probe.ready))
        now, more = valid, f"{valid} & {ready}"
    elif isinstance(probe, Machine):
        now = f"{modules.find(probe.block, probe.signal)} != {probe.idle}"
    else:
        signal = modules.find(probe.block, probe.signal)
        now = f"$countones({signal})" if probe.bits else signal
    yield "  always @(posedge clk)"
    yield f"    if ({CLEAR}) begin {busy} <= 0; {moved} <= 0; end"
    yield f"    else if ({RUN}) begin"
    yield f"      {busy} <= {busy} + ({now});"
    if isinstance(probe, Level):
        yield f"      if (({now}) > {moved}) {moved} <= {now};"
    else:
        yield f"      {moved} <= {moved} + ({more});"
    yield "    end"


class ProbedDesign(Design):
    """A compiled design with probes.

    Parameters
    ----------
    component : wiring.Component
        What to simulate.
    probes : sequence of Probe
        What to count. A probe of what the design does not have raises SimulationError.
    flags : list of str
        As of :class:`sim.bench.compiled.Design`.
    machines : bool
        Whether to count all state machines, too; they are behind the others.

    Attributes
    ----------
    probes : list of Probe
        All that is counted.
    """

    def __init__(
        self,
        component: Any,
        probes: Sequence[Probe],
        *,
        flags: list[str] = build.QUICK,
        machines: bool = False,
    ) -> None:
        shown, verilog = describe_ports(component), kept_text(component, simulation_verilog)
        self.probes = [*probes, *(Modules(verilog).machines() if machines else [])]
        if 2 * len(self.probes) > 1 << SELECT_BITS:
            raise SimulationError(f"{len(self.probes)} probes are too many; {1 << SELECT_BITS - 1} are the most")
        widths = {RUN: (1, True), CLEAR: (1, True), SELECT: (SELECT_BITS, True), VALUE: (COUNT_BITS, False)}
        own = {name: Port(name, width, inward) for name, (width, inward) in widths.items()}
        self.ports = Ports({**shown.ports, **own}, shown.streams, shown.axi)
        self.verilog = counting_verilog(verilog, shown, self.probes)
        self.native = load_library(self.verilog, flags)


def start(bench: CompiledBench) -> None:
    """Count from the coming cycle on, from zero."""
    bench.set(RUN, 0)
    bench.set(CLEAR, 1)
    bench.run(1)
    bench.set(CLEAR, 0)
    bench.set(RUN, 1)


def stop(bench: CompiledBench, probes: Sequence[Probe]) -> list[Count]:
    """Stop counting, and return what each probe counted."""
    bench.set(RUN, 0)
    found = []
    for number in range(2 * len(probes)):
        bench.set(SELECT, number)
        bench.run(1)
        found.append(bench.get(VALUE))
    return [Count(busy, moved) for busy, moved in zip(found[::2], found[1::2], strict=True)]
