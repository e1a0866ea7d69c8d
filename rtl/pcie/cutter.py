"""AXI bursts cut into what one request to host memory may ask for."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from rtl.constants import LINE_BITS
from rtl.memory.bursts import ADDRESS_BITS, WINDOW_LINES
from rtl.stream.axi import CHANNELS, AxiReadSignature
from rtl.stream.skid import SkidBuffer

LINE_ADDRESS_BITS = ADDRESS_BITS - (LINE_BITS // 8 - 1).bit_length()


def piece(id_bits: int) -> StructLayout:
    """Return the payload of a stream of pieces: ``line`` (an address without the bits within a line), ``lines``."""
    return StructLayout(
        {"line": LINE_ADDRESS_BITS, "lines": range(WINDOW_LINES + 1), "id": id_bits, "last": 1},
    )


class BurstCutter(wiring.Component):
    """Cuts AXI bursts at multiples of a limit. One piece a cycle.

    Bursts must be as :class:`rtl.memory.host_port.HostPort` makes them: whole lines, rising addresses, within 4096
    bytes. Pieces end at multiples of the limit, so that host memory sees aligned accesses.

    Parameters
    ----------
    id_bits : int
        Width of an AXI id.

    Members
    -------
    i : In(stream.Signature(AxiReadSignature(...).layout("ar")))
        Bursts; AW has the same payload.
    limit : In(range(65))
        Most lines of a piece, a power of two.
    o : Out(stream.Signature(piece(id_bits)))
        Pieces in order; ``last`` marks the last one of a burst. Latency 2.
    """

    def __init__(self, *, id_bits: int) -> None:
        signature = AxiReadSignature(addr_width=ADDRESS_BITS, data_width=LINE_BITS, id_width=id_bits)
        super().__init__(
            {
                "i": In(signature.stream("ar")),
                "limit": In(range(WINDOW_LINES + 1)),
                "o": Out(stream.Signature(piece(id_bits))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.out = out = SkidBuffer(shape=self.o.p.shape())
        wiring.connect(m, out.o, wiring.flipped(self.o))
        here, name, sent = Signal(), Signal.like(self.i.p.id), Signal()
        line, more = Signal(LINE_ADDRESS_BITS), Signal.like(self.i.p.len)  # `more` lines follow the first
        mask, space = Signal(range(WINDOW_LINES)), Signal(range(WINDOW_LINES))
        place = line[: len(mask)]
        m.d.sync += mask.eq(self.limit - 1)
        m.d.comb += [
            space.eq(~place & mask),
            out.i.valid.eq(here),
            out.i.p.line.eq(line),
            out.i.p.last.eq(more <= space),
            out.i.p.lines.eq(Mux(out.i.p.last, more[: len(space)], space) + 1),
            out.i.p.id.eq(name),
            sent.eq(out.i.valid & out.i.ready),
            self.i.ready.eq(~here | (sent & out.i.p.last)),
        ]
        with m.If(self.i.ready):
            m.d.sync += [
                here.eq(self.i.valid),
                name.eq(self.i.p.id),
                line.eq(self.i.p.addr[-LINE_ADDRESS_BITS:]),
                more.eq(self.i.p.len),
            ]
        with m.Elif(sent):  # a burst stays in its window of 4096 bytes, so that no carry leaves the place in it
            m.d.sync += [place.eq((place | mask) + 1), more.eq(more - space - 1)]
        return m


def take_bursts(m: Module, axi: wiring.PureInterface, channel: str, cutter: BurstCutter) -> None:
    """Have a cutter take the bursts of channel ``ar`` or ``aw`` of a slave's port."""
    m.d.comb += [
        cutter.i.valid.eq(getattr(axi, f"{channel}valid")),
        getattr(axi, f"{channel}ready").eq(cutter.i.ready),
    ]
    m.d.comb += [cutter.i.p[name].eq(getattr(axi, channel + name)) for name in CHANNELS[channel]]
