"""Fixed offsets, so that the time at which something leaves does not tell what happened inside, or how long it took."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import require_whole


class Pacer(wiring.Component):
    """Lets items leave a fixed time after their start, in order, and tells if one was not there in time.

    The n-th item leaves :attr:`offset` cycles after the n-th start. It leaves later if the consumer does not take it,
    which must be for public reasons alone. It also leaves later if it is missing when it could leave: this shows, and
    is counted as an overrun.

    Parameters
    ----------
    shape : shape-like
        Shape of an item.
    offset : int
        Cycles from a start to the offer of its item, 2 to 4096.
    depth : int
        Most items that wait for their time, 1 to 256, and most starts whose item has not left.
    insecure_unpaced : bool
        DANGEROUS: items leave as soon as they are there, and none is ever late. See
        :class:`rtl.config.EngineConfig`.

    Members
    -------
    start : In(1)
        An item that will come starts now.
    at_once : In(1)
        An item that will come leaves as soon as it is there. Not given in a cycle in which a started item gets due.
    i : In(stream.Signature(shape))
        Items, in the order of their starts.
    o : Out(stream.Signature(shape))
        Items whose time has come.
    late : Out(1)
        High for one cycle for each item that was not there in time.

    Countermeasures
    ---------------
    EVENT.TIME.PACED
        Nothing leaves before its offset has passed.
    """

    def __init__(self, *, shape: Any, offset: int, depth: int, insecure_unpaced: bool = False) -> None:
        require_whole("offset", offset, 2, 4096)
        require_whole("depth", depth, 1, 256)
        self.shape, self.offset, self.depth = shape, offset, depth
        self.insecure_unpaced = insecure_unpaced
        super().__init__(
            {
                "start": In(1),
                "at_once": In(1),
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "late": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.items = items = Fifo(shape=self.shape, depth=self.depth)
        connect(m, flipped(self.i), items.i)
        if self.insecure_unpaced:
            connect(m, items.o, flipped(self.o))
            return m

        # A start travels down a shift register for as long as its item has to wait.
        path = Signal(self.offset - 1)
        due = Signal(range(self.depth + 1))
        some = Signal()  # something is due
        leave, missed = Signal(), Signal()
        m.d.sync += path.eq((path << 1) | self.start)
        more = Signal()
        m.d.comb += [
            more.eq(path[-1] | self.at_once),
            # SEC_CM: EVENT.TIME.PACED -- due by the count of starts, however long the item has been there
            self.o.valid.eq(items.o.valid & some),
            self.o.p.eq(items.o.p),
            items.o.ready.eq(leave),
            leave.eq(self.o.valid & self.o.ready),
        ]
        following = Signal(range(self.depth + 2))
        m.d.comb += following.eq(due + more - leave)
        m.d.sync += [due.eq(following), some.eq(following != 0)]

        m.d.comb += self.late.eq(some & ~items.o.valid & self.o.ready & ~missed)
        with m.If(leave):
            m.d.sync += missed.eq(0)
        with m.Elif(self.late):
            m.d.sync += missed.eq(1)
        return m
