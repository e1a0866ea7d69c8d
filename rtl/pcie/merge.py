"""Reads and writes on the one stream of requests."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.pcie.layouts import BEAT
from rtl.stream.skid import SkidBuffer


class RequestMerge(wiring.Component):
    """Lets requests of both sides out, a whole one at a time; if both have one, they take turns.

    Nothing orders them here. A read that must see a write is asked for after ``written``, see
    :class:`rtl.pcie.writes.WriteSide`.

    Members
    -------
    i_read, i_write : In(stream.Signature(BEAT["rq"]))
        Requests.
    open_ : In(1)
        A request may begin. What was begun is ended in any case.
    o : Out(stream.Signature(BEAT["rq"]))
        To the hard block. Latency 1.
    idle : Out(1)
        No request is begun and not ended.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "i_read": In(stream.Signature(BEAT["rq"])),
                "i_write": In(stream.Signature(BEAT["rq"])),
                "open_": In(1),
                "o": Out(stream.Signature(BEAT["rq"])),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.out = out = SkidBuffer(shape=BEAT["rq"])
        wiring.connect(m, out.o, wiring.flipped(self.o))
        begun, write_next, write = Signal(), Signal(), Signal()  # only writes have more than one beat
        passes = self.open_ | begun
        m.d.comb += [
            write.eq(begun | (self.i_write.valid & (write_next | ~self.i_read.valid))),
            out.i.p.eq(Mux(write, self.i_write.p, self.i_read.p)),
            out.i.valid.eq(passes & (self.i_write.valid | (self.i_read.valid & ~begun))),
            self.i_write.ready.eq(passes & write & out.i.ready),
            self.i_read.ready.eq(passes & ~write & out.i.ready),
            self.idle.eq(~begun & ~out.o.valid),
        ]
        with m.If(out.i.valid & out.i.ready):
            m.d.sync += [begun.eq(~out.i.p.last), write_next.eq(~write)]
        return m
