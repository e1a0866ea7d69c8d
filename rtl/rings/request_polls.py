"""The requests of a host that can't write registers."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.wire import Counter
from rtl.memory.bursts import ADDRESS_BITS
from rtl.rings.ring_commands import COUNTER_BITS, counter_in, line_read


class RequestPolls(wiring.Component):
    """Reads REQUESTS of the control block and hands requests on, one at a time.

    Parameters
    ----------
    request : StructLayout
        Payload of an access, see :func:`rtl.memory.bursts.access`.
    read_id : int
        Id to use.
    every : int
        Cycles from one read to the next.

    Members
    -------
    run : In(1)
        Read it.
    base : In(64)
        Bus address of the shared buffer.
    o_read, i_data
        As :class:`rtl.rings.counter_polls.CounterPolls` has them.
    o_request : Out(stream.Signature(8))
        A request: the lowest bits of a number that is new.
    i_request_done : In(stream.Signature(0))
        The request was served.
    o_done : Out(stream.Signature(64))
        Its number, for REQUESTS_DONE; nothing is read until it is taken.
    """

    def __init__(self, *, request: StructLayout, read_id: int, every: int) -> None:
        self.read_id, self.every = read_id, every
        super().__init__(
            {
                "run": In(1),
                "base": In(ADDRESS_BITS),
                "o_read": Out(stream.Signature(request)),
                "i_data": In(stream.Signature(line_read(request), always_ready=True)),
                "o_request": Out(stream.Signature(8)),
                "i_request_done": In(stream.Signature(0)),
                "o_done": Out(stream.Signature(COUNTER_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        wait = Signal(range(self.every))
        number = Signal(COUNTER_BITS)
        latest = counter_in(self.i_data.p.data, Counter.REQUESTS)
        read = self.o_read.p
        m.d.comb += [
            read.address.eq(self.base + Counter.REQUESTS),
            read.lines.eq(1),
            read.id.eq(self.read_id),
            self.o_request.p.eq(number),
            self.o_done.p.eq(number),
        ]
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.FSM():
            with m.State("WAIT"):
                with m.If(self.run & (wait == 0)):
                    m.d.sync += wait.eq(self.every - 1)
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += self.o_read.valid.eq(1)
                with m.If(self.o_read.ready):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                with m.If(self.i_data.valid & (self.i_data.p.id == self.read_id)):
                    with m.If(latest == number):
                        m.next = "WAIT"
                    with m.Else():
                        m.d.sync += number.eq(latest)
                        m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += self.o_request.valid.eq(1)
                with m.If(self.o_request.ready):
                    m.next = "SERVED"
            with m.State("SERVED"):
                m.d.comb += self.i_request_done.ready.eq(1)
                with m.If(self.i_request_done.valid):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.o_done.valid.eq(1)
                with m.If(self.o_done.ready):
                    m.next = "WAIT"
        return m
