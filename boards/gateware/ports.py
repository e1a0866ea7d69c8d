"""Ports of modules as plain tables, and empty modules made from them."""

from __future__ import annotations

from amaranth.hdl import Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

Ports = dict[str, tuple[str, int]]
"""Name to direction, ``input`` or ``output`` as the module sees it, and width in bits."""


def port_table(component: wiring.Component) -> Ports:
    """Return direction and width of each port of a component with flat members."""
    return {
        name: ("input" if member.flow is In else "output", Value.cast(Signal(member.shape)).shape().width)
        for name, member in component.signature.members.items()
    }


def stub(name: str, ports: Ports) -> str:
    """Return an empty Verilog module with these ports, for lint and black boxes; its outputs are undriven.

    Names of ports are escaped, because one of them may be a keyword of Verilog, such as ``begin``.
    """
    lines = [f"  {way} {f'[{width - 1}:0] ' if width > 1 else ''}\\{port} ;" for port, (way, width) in ports.items()]
    heads = ", ".join(f"\\{port} " for port in ports)
    return f"module {name}({heads});\n" + "\n".join(lines) + "\nendmodule\n"
