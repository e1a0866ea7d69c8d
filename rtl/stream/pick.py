"""From masks to numbers and back, in few levels of logic even for a hundred bits."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, ValueLike

ARITY = 4
"""Children of a node: what one look-up table can choose among."""


def first(m: Module, mask: Value, name: str) -> tuple[Value, Value]:
    """Return whether a bit of ``mask`` is set, and the number of the lowest one."""
    nodes: list[tuple[Value, Value]] = [(mask[k], Const(0, 0)) for k in range(len(mask))]
    while len(nodes) > 1:
        parents = []
        for at in range(0, len(nodes), ARITY):
            group = nodes[at : at + ARITY]
            high: ValueLike = len(group) - 1
            low: ValueLike = group[-1][1]
            for child in reversed(range(len(group) - 1)):
                high = Mux(group[child][0], child, high)
            any_ = Signal(name=f"{name}_any_{len(nodes)}_{at}")
            which = Signal(range(ARITY), name=f"{name}_which_{len(nodes)}_{at}")
            below = Signal(len(group[0][1]), name=f"{name}_below_{len(nodes)}_{at}")
            for child in reversed(range(len(group) - 1)):
                low = Mux(which == child, group[child][1], low)
            m.d.comb += [any_.eq(Cat(found for found, _ in group).any()), which.eq(high), below.eq(low)]
            parents.append((any_, Cat(below, which)))
        nodes = parents
    return nodes[0]


def one_hot(index: Value, count: int, when: ValueLike = 1) -> Value:
    """Return ``count`` bits: the one at ``index`` is 1 if ``when``, all others are 0.

    Both halves of the index are decoded on their own, so that its bits and ``when`` have few loads each.
    """
    low = len(index) // 2
    columns = (Const(1, 1) << index[:low])[: 1 << low]
    rows = (Value.cast(when) << index[low:])[: -(-count >> low)]
    return (columns.replicate(len(rows)) & Cat(row.replicate(len(columns)) for row in rows))[:count]


def lowest(mask: Value) -> Value:
    """Return ``mask`` with all bits but its lowest one cleared."""
    return (mask & (~mask + 1))[: len(mask)]


def encoded(mask: Value) -> Value:
    """Return the number of the bit that is set in ``mask``; 0 if none is."""
    bits = range(max((len(mask) - 1).bit_length(), 1))
    return Cat((mask & sum(1 << k for k in range(len(mask)) if k >> bit & 1)).any() for bit in bits)


def chosen(mask: Value, values: list[Value]) -> Value:
    """Return the value whose bit is set in ``mask``; 0 if none is."""
    return reduce(or_, (value & bit.replicate(len(value)) for bit, value in zip(mask, values, strict=True)))
