"""Streams that go one of two ways, or both, or through. All of it is wiring and multiplexers: no item waits here."""

from __future__ import annotations

from collections.abc import Mapping

from amaranth.hdl import Module, Mux, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, connect, flipped


def through(m: Module, outer: wiring.Component, inner: Mapping[str, wiring.Component]) -> None:
    """Connect ports of a block with the ports of the same names of blocks inside it."""
    for name, block in inner.items():
        ours, theirs, member = getattr(outer, name), getattr(block, name), block.signature.members[name]
        if member.is_signature:
            connect(m, flipped(ours), theirs)
        elif member.flow is In:
            m.d.comb += theirs.eq(ours)
        else:
            m.d.comb += ours.eq(theirs)


def tell(m: Module, source: wiring.Component, sink: wiring.Component, *names: str) -> None:
    """Connect outputs of a block with the inputs of the same names of another one; they are no streams."""
    m.d.comb += [getattr(sink, name).eq(getattr(source, name)) for name in names]


def route(
    m: Module, second: ValueLike, source: stream.Interface, first_sink: stream.Interface, second_sink: stream.Interface
) -> None:
    """Give what a stream carries to the first of two others, or to the second one."""
    second = Value.cast(second)
    m.d.comb += [
        first_sink.valid.eq(source.valid & ~second),
        second_sink.valid.eq(source.valid & second),
        first_sink.p.eq(source.p),
        second_sink.p.eq(source.p),
    ]
    if not source.signature.always_ready:
        m.d.comb += source.ready.eq(Mux(second, second_sink.ready, first_sink.ready))


def choose(
    m: Module,
    second: ValueLike,
    first_source: stream.Interface,
    second_source: stream.Interface,
    sink: stream.Interface,
) -> None:
    """Give a stream what the first of two others carries, or the second one."""
    second = Value.cast(second)
    m.d.comb += [
        sink.valid.eq(Mux(second, second_source.valid, first_source.valid)),
        sink.p.eq(Mux(second, second_source.p, first_source.p)),
        first_source.ready.eq(sink.ready & ~second),
        second_source.ready.eq(sink.ready & second),
    ]


def split(
    m: Module, source: stream.Interface, first: stream.Interface, second: stream.Interface, *, alone: ValueLike = 0
) -> None:
    """Give what a stream carries to two others, each item to both at once; ``alone`` gives it to the first alone."""
    alone = Value.cast(alone)
    m.d.comb += [
        source.ready.eq(first.ready & (second.ready | alone)),
        first.valid.eq(source.valid & (second.ready | alone)),
        second.valid.eq(source.valid & first.ready & ~alone),
        first.p.eq(source.p),
        second.p.eq(source.p),
    ]
