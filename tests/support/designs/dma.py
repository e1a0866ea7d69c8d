"""A small AXI master: reads bursts into a stream, writes bursts from one. It exercises the memory models."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from omap.errors import ParamsError
from rtl.stream.axi import BURST_INCR, AxiSignature
from rtl.stream.fifo import Fifo


class Dma(wiring.Component):
    """Reads and writes bursts, any number at a time.

    Parameters
    ----------
    addr_width, data_width, id_width, version : int
        Of the AXI port; see :class:`rtl.stream.axi.AxiSignature`.
    depth : int
        Bursts that may wait for their write data.

    Members
    -------
    i_read : In(stream of {addr, len, id})
        Bursts to read, ``len`` as in AXI: beats less one.
    o_read : Out(stream of {data, id, resp, last})
        Beats read, in the order in which memory answers.
    i_write : In(stream of {addr, len, id})
        Bursts to write.
    i_data : In(stream of beats)
        Beats to write, in the order of ``i_write``.
    o_written : Out(stream of {id, resp})
        One item for each burst written.
    m_axi : Out(AxiSignature)
        The memory.
    """

    def __init__(self, *, addr_width=34, data_width=256, id_width=6, version=3, depth=8):
        if depth < 1:
            raise ParamsError(f"depth is {depth!r}; at least one burst must be able to wait")
        self.axi = AxiSignature(addr_width=addr_width, data_width=data_width, id_width=id_width, version=version)
        self.depth = depth
        length = self.axi.layout("ar")["len"].shape
        self.command = data.StructLayout({"addr": addr_width, "len": length, "id": id_width})
        super().__init__(
            {
                "i_read": In(stream.Signature(self.command)),
                "o_read": Out(self.axi.stream("r")),
                "i_write": In(stream.Signature(self.command)),
                "i_data": In(stream.Signature(data_width)),
                "o_written": Out(self.axi.stream("b")),
                "m_axi": Out(self.axi),
            }
        )

    def elaborate(self, platform):
        """Return the circuit."""
        m = Module()
        axi = self.m_axi
        m.submodules.lengths = lengths = Fifo(shape=self.command["len"].shape, depth=self.depth)
        for channel, command in (("ar", self.i_read), ("aw", self.i_write)):
            for name in ("addr", "len", "id"):
                m.d.comb += getattr(axi, channel + name).eq(command.payload[name])
            m.d.comb += [
                getattr(axi, channel + "size").eq(self.axi.full_size),
                getattr(axi, channel + "burst").eq(BURST_INCR),
            ]
        m.d.comb += [axi.arvalid.eq(self.i_read.valid), self.i_read.ready.eq(axi.arready)]
        for name in ("id", "data", "resp", "last"):
            m.d.comb += self.o_read.payload[name].eq(getattr(axi, "r" + name))
        m.d.comb += [self.o_read.valid.eq(axi.rvalid), axi.rready.eq(self.o_read.ready)]

        # An address is offered while there is room to remember its length: room never goes away unused.
        m.d.comb += [
            axi.awvalid.eq(self.i_write.valid & lengths.i.ready),
            self.i_write.ready.eq(axi.awready & lengths.i.ready),
            lengths.i.valid.eq(self.i_write.valid & axi.awready),
            lengths.i.payload.eq(self.i_write.payload.len),
        ]
        beat = Signal(self.command["len"].shape)
        m.d.comb += [
            axi.wvalid.eq(self.i_data.valid & lengths.o.valid),
            axi.wdata.eq(self.i_data.payload),
            axi.wstrb.eq(~0),
            axi.wlast.eq(beat == lengths.o.payload),
            self.i_data.ready.eq(axi.wready & lengths.o.valid),
            lengths.o.ready.eq(axi.wready & self.i_data.valid & axi.wlast),
        ]
        with m.If(axi.wvalid & axi.wready):
            m.d.sync += beat.eq(beat + 1)
            with m.If(axi.wlast):
                m.d.sync += beat.eq(0)
        m.d.comb += [self.o_written.payload.id.eq(axi.bid), self.o_written.payload.resp.eq(axi.bresp)]
        m.d.comb += [self.o_written.valid.eq(axi.bvalid), axi.bready.eq(self.o_written.ready)]
        return m
