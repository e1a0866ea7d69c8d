"""An Amaranth component as Verilog, with a table of its ports, streams and AXI ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from amaranth._toolchain.yosys import find_yosys  # the Yosys that Amaranth itself would take
from amaranth.hdl import Shape, Value
from amaranth.lib import stream, wiring

from rtl.stream.axi import AxiReadSignature, AxiSignature, AxiWriteSignature
from rtl.synth.rtlil import to_rtlil, with_zeros
from sim.errors import SimulationError

TOP = "top"
"""Name of the Verilog module."""

_AXI = (AxiReadSignature, AxiSignature, AxiWriteSignature)


@dataclass(frozen=True)
class Port:
    """One port of the top: its name, its width in bits, whether it is an input, and where it is in Amaranth."""

    name: str
    width: int
    input: bool
    value: Any = None


@dataclass(frozen=True)
class StreamPort:
    """A stream of the top; ``payload``, ``valid`` or ``ready`` is None where the design has no such port."""

    name: str
    input: bool
    shape: Any
    width: int
    payload: str | None
    valid: str | None
    ready: str | None


@dataclass(frozen=True)
class AxiPort:
    """An AXI master port of the top: its signature and the port name of each signal."""

    name: str
    signature: Any
    signals: dict[str, str]


@dataclass(frozen=True)
class Ports:
    """Everything that a component shows, by name. Nested names are joined by two underscores, as in the Verilog."""

    ports: dict[str, Port]
    streams: dict[str, StreamPort]
    axi: dict[str, AxiPort]

    def find(self, kind: str, name: str) -> Any:
        """Return the port, stream or AXI port ``name``; one that is not there raises SimulationError with a list."""
        tables: dict[str, Mapping[str, Any]] = {"port": self.ports, "stream": self.streams, "AXI port": self.axi}
        table = tables[kind]
        if name not in table:
            raise SimulationError(f"the design has no {kind} {name!r}; it has {', '.join(sorted(table)) or 'none'}")
        return table[name]


def describe_ports(component: wiring.Component) -> Ports:
    """Return the ports of a component."""
    ports: dict[str, Port] = {}
    streams: dict[str, StreamPort] = {}
    axi: dict[str, AxiPort] = {}
    for path, member, value in component.signature.flatten(component):
        cast = Value.cast(value)
        if type(cast).__name__ == "Const" or len(cast) == 0:  # streams that are always valid or ready; empty payloads
            continue
        name = "__".join(map(str, path))
        ports[name] = Port(name, len(cast), member.flow is wiring.In, value)

    def present(name: str) -> str | None:
        return name if name in ports else None

    def visit(path: str, signature: Any) -> None:
        inward = isinstance(signature, wiring.FlippedSignature)
        plain = signature.flip() if inward else signature
        if isinstance(plain, stream.Signature):
            names = {end: present(f"{path}__{end}") for end in ("payload", "valid", "ready")}
            shape = plain.members["payload"].shape
            streams[path] = StreamPort(path, inward, shape, Shape.cast(shape).width, **names)
        elif isinstance(plain, _AXI):
            if not inward:  # an AXI slave of the design is driven by the bench itself
                axi[path] = AxiPort(path, plain, {name: f"{path}__{name}" for name in plain.members})
        else:
            for name, member in signature.members.items():
                if member.is_signature:
                    for place in product(*map(range, member.dimensions)):
                        visit("__".join(filter(None, [path, name, *map(str, place)])), member.signature)

    visit("", component.signature)
    return Ports(ports, streams, axi)


def simulation_verilog(component: wiring.Component) -> str:
    """Return the component as Verilog with top module :data:`TOP`, the same text for the same design.

    As :func:`amaranth.back.verilog.convert` does it, but without Yosys's pass over expressions: that takes masked words
    apart into bits, which Verilator does not put together again (AES-GCM runs a fifth slower).
    """
    script = [f"read_rtlil <<rtlil\n{to_rtlil(component, TOP)}\nrtlil", "proc -nomux -norom -noopt", "memory_collect"]
    script.append("write_verilog -norename -noattr")
    yosys = find_yosys(lambda version: version >= (0, 40))
    verilog = yosys.run(["-q", "-"], "\n".join(script), ignore_warnings=True)  # as Amaranth does: it warns of processes
    return with_zeros(verilog)
