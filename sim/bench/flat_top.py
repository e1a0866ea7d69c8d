"""Compiles a design that is there as Verilog, with flat names and a clock and a reset of its own, for the harness.

A top of a board is such a design: what is simulated is the very text that a build would hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sim.bench import build
from sim.bench.compiled import Design, load_library
from sim.bench.verilog import TOP, AxiPort, Port, Ports
from sim.errors import SimulationError

CLOCK, RESET = "clk", "rst"
"""What the harness drives."""


@dataclass(frozen=True)
class FlatTop:
    """A design as Verilog.

    Parameters
    ----------
    verilog : str
        All of it, with models of what is no part of it.
    module : str
        Its top module, named otherwise than :data:`sim.bench.verilog.TOP`.
    ports : mapping of str to (str, int)
        Direction (``input``, ``output``) and width of each port, by name.
    clock, reset : str
        Its clock, and its reset.
    reset_low : bool
        Whether the reset acts while it is low.
    axi : mapping of str to signature
        Its AXI master ports: what their names begin with, before an underscore and the signal in upper case, and what
        a slave may expect of them. Ports may be wider than the signature says, with zeros above.
    """

    verilog: str
    module: str
    ports: Mapping[str, tuple[str, int]]
    clock: str
    reset: str
    reset_low: bool = True
    axi: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shown(self) -> Ports:
        """What the benches see."""
        driven = (self.clock, self.reset)
        ports = {
            name: Port(name, width, way == "input") for name, (way, width) in self.ports.items() if name not in driven
        }
        axi = {}
        for prefix, signature in self.axi.items():
            signals = {name: f"{prefix}_{name.upper()}" for name in signature.members}
            missing = sorted(set(signals.values()) - set(ports))
            if missing:
                raise SimulationError(f"{self.module} has no AXI port {prefix}: it lacks {', '.join(missing)}")
            axi[prefix] = AxiPort(prefix, signature, signals)
        return Ports(ports, {}, axi)

    @property
    def text(self) -> str:
        """The design within a module whose clock and reset are those of the harness."""
        outer = [name for name in self.ports if name not in (self.clock, self.reset)]
        lines = [f"module {TOP}({', '.join([CLOCK, RESET, *outer])});", f"  input {CLOCK};", f"  input {RESET};"]
        for name in outer:
            way, width = self.ports[name]
            lines.append(f"  {way} {f'[{width - 1}:0] ' if width > 1 else ''}{name};")
        inner = {name: name for name in outer}
        inner |= {self.clock: CLOCK, self.reset: f"~{RESET}" if self.reset_low else RESET}
        lines.append(f"  {self.module} design_i({', '.join(f'.{port}({wire})' for port, wire in inner.items())});")
        return "\n".join([self.verilog, *lines, "endmodule", ""])


class FlatDesign(Design):
    """A compiled design that was given as Verilog. It is meant for short runs: quick to compile, not to run.

    Parameters
    ----------
    top : FlatTop
        The design; compiled when this is called, if it was not before.
    """

    def __init__(self, top: FlatTop) -> None:
        self.ports = top.shown
        self.verilog = top.text
        self.native = load_library(self.verilog, build.QUICK)
