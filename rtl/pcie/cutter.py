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
        here, name = Signal(), Signal.like(self.i.p.id)
        line, remaining = Signal(LINE_ADDRESS_BITS), Signal(range((1 << len(self.i.p.len)) + 1))
        room, lines, sent = Signal.like(self.limit), Signal.like(self.limit), Signal()
        m.d.comb += [
            room.eq(self.limit - (line[: len(self.limit)] & (self.limit - 1))),
            lines.eq(Mux(out.i.p.last, remaining, room)),
            out.i.valid.eq(here),
            out.i.p.line.eq(line),
            out.i.p.lines.eq(lines),
            out.i.p.id.eq(name),
            out.i.p.last.eq(remaining <= room),
            sent.eq(out.i.valid & out.i.ready),
            self.i.ready.eq(~here | (sent & out.i.p.last)),
        ]
        with m.If(self.i.ready):
            m.d.sync += [
                here.eq(self.i.valid),
                name.eq(self.i.p.id),
                line.eq(self.i.p.addr[-LINE_ADDRESS_BITS:]),
                remaining.eq(self.i.p.len + 1),
            ]
        with m.Elif(sent):
            m.d.sync += [line.eq(line + lines), remaining.eq(remaining - lines)]
        return m


def take_bursts(m: Module, axi: wiring.PureInterface, channel: str, cutter: BurstCutter) -> None:
    """Have a cutter take the bursts of channel ``ar`` or ``aw`` of a slave's port."""
    m.d.comb += [
        cutter.i.valid.eq(getattr(axi, f"{channel}valid")),
        getattr(axi, f"{channel}ready").eq(cutter.i.ready),
    ]
    m.d.comb += [cutter.i.p[name].eq(getattr(axi, channel + name)) for name in CHANNELS[channel]]
