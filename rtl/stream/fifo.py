"""A FIFO between two streams, in distributed or in block memory."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from omap.errors import ParamsError

RAM_STYLES = ("distributed", "block", "ultra")
"""Kinds of memory that a FIFO can lie in, as Vivado and Yosys name them."""


class Fifo(wiring.Component):
    """Keeps up to ``depth`` items of a stream, in order.

    Neither end looks at the other: ``i.ready`` and ``o.valid`` depend on the number of items kept alone. One item a
    cycle goes in and one comes out.

    Parameters
    ----------
    shape : shape-like
        Shape of the payload.
    depth : int
        Items kept, at least 1; need not be a power of two.
    ram_style : str
        "distributed" (LUT RAM), "block" or "ultra".
    registered : bool
        The memory is read through a register, which makes the latency 2 instead of 1. Block and ultra RAM always are;
        a register behind LUT RAM offers its item much earlier in a cycle than they do.

    Members
    -------
    i : In(stream.Signature(shape))
        Items in.
    o : Out(stream.Signature(shape))
        Items out.
    level : Out(range(depth + 1))
        Items kept.

    Raises
    ------
    ParamsError
        If ``depth`` or ``ram_style`` can't be honoured.
    """

    def __init__(self, *, shape, depth, ram_style="distributed", registered=False):
        if type(depth) is not int or depth < 1:
            raise ParamsError(f"depth is {depth!r}; a FIFO keeps at least 1 item")
        if ram_style not in RAM_STYLES:
            raise ParamsError(f"ram_style is {ram_style!r}; it must be one of {', '.join(RAM_STYLES)}")
        self.shape, self.depth, self.ram_style = shape, depth, ram_style
        self.registered = registered or ram_style != "distributed"
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "level": Out(range(depth + 1)),
            }
        )

    @property
    def latency(self):
        """Cycles from an item's arrival in an empty FIFO to its offer."""
        return 2 if self.registered else 1

    def elaborate(self, platform):
        m = Module()
        memory = Memory(shape=self.shape, depth=self.depth, init=[], attrs={"ram_style": self.ram_style})
        m.submodules.memory = memory
        write = memory.write_port()
        read = memory.read_port(domain="sync" if self.registered else "comb")

        def following(pointer):
            return Mux(pointer == self.depth - 1, 0, pointer + 1)

        put, get = self.i.valid & self.i.ready, self.o.valid & self.o.ready
        m.d.comb += [
            self.i.ready.eq(self.level != self.depth),
            write.en.eq(put),
            write.data.eq(self.i.p),
            self.o.p.eq(read.data),
        ]
        m.d.sync += self.level.eq(self.level + put - get)
        with m.If(put):
            m.d.sync += write.addr.eq(following(write.addr))

        if self.registered:
            # The read register holds the item on offer, so the next one is fetched when that leaves.
            stored = Signal(range(self.depth + 1))  # in memory, not yet in the read register
            fetch = Signal()
            m.d.comb += [fetch.eq((stored != 0) & (~self.o.valid | self.o.ready)), read.en.eq(fetch)]
            m.d.sync += stored.eq(stored + put - fetch)
            with m.If(fetch):
                m.d.sync += [self.o.valid.eq(1), read.addr.eq(following(read.addr))]
            with m.Elif(get):
                m.d.sync += self.o.valid.eq(0)
        else:
            m.d.comb += self.o.valid.eq(self.level != 0)
            with m.If(get):
                m.d.sync += read.addr.eq(following(read.addr))
        return m
