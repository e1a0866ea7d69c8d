"""Streams that have one owner and are lent to another at times."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Value
from amaranth.lib import stream


def lend_output(
    m: Module, lent: Value, *, owner: stream.Interface, borrower: stream.Interface, out: stream.Interface
) -> None:
    """Have ``out`` carry what the owner gives, or what the borrower gives while the stream is ``lent``."""
    m.d.comb += [
        out.valid.eq(Mux(lent, borrower.valid, owner.valid)),
        out.p.eq(Mux(lent, Value.cast(borrower.p), Value.cast(owner.p))),
        owner.ready.eq(out.ready & ~lent),
        borrower.ready.eq(out.ready & lent),
    ]


def lend_input(
    m: Module, lent: Value, *, owner: stream.Interface, borrower: stream.Interface, source: stream.Interface
) -> None:
    """Have what comes go to the owner, or to the borrower while the stream is ``lent``."""
    m.d.comb += [
        *(end.p.eq(source.p) for end in (owner, borrower)),
        owner.valid.eq(source.valid & ~lent),
        borrower.valid.eq(source.valid & lent),
    ]
    if not source.signature.always_ready:
        m.d.comb += source.ready.eq(Mux(lent, borrower.ready, owner.ready))
