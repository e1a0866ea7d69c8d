"""Ports of a component for Amaranth's writers."""

from __future__ import annotations

from amaranth.hdl import Signal, Value
from amaranth.hdl._ir import PortDirection  # the writers want it, but no public module has it
from amaranth.lib import wiring


def ports_of(component: wiring.Component) -> dict[str, tuple[Signal, PortDirection]]:
    """Return the ports by name, path members joined by two underscores.

    The writers find them on their own, but stumble over the constants in streams that are always valid or ready.
    Those, and ports without bits, are left out.
    """
    ports = {}
    for path, member, value in component.signature.flatten(component):
        signal = Value.cast(value)
        if isinstance(signal, Signal) and len(signal):
            direction = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
            ports["__".join(map(str, path))] = signal, direction
    return ports
