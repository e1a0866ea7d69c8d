"""What the host has set in our configuration space, as far as requests depend on it."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.memory.bursts import WINDOW_LINES
from rtl.pcie.writes import MOST_LINES
from rtl.stream.interfaces import require_whole

DEVICE_CONTROL = 0x78 // 4
"""Double word with register Device Control: the block's PCI Express capability is at 0x70 (AMD PG213)."""

EXTENDED_TAG = 8
"""Bit of that register: tags may have 8 bits (PCI Express 4.0, section 7.5.3.4)."""

SMALLEST_LINES = 2
"""Lines of the smallest limit, 128 bytes. Each step of the two fields doubles it."""


class LinkSettings(wiring.Component):
    """Limits of requests, from the block's status ports; and whether tags may have 8 bits, for which there is none.

    That bit is read over the management port of the configuration space, again and again. Nothing is ever written
    there.

    Parameters
    ----------
    every : int
        Cycles between two reads.

    Members
    -------
    max_payload : In(2)
    max_read_request : In(3)
        Fields of Device Control, from the block.
    address : Out(10)
    read : Out(1)
        A read of a double word of the configuration space, until ``done``.
    data : In(32)
    done : In(1)
        Its answer.
    write_limit, read_limit : Out(range(65))
        Most lines of a write, and of a read.
    extended : Out(1)
        Tags may have 8 bits.
    """

    def __init__(self, *, every: int = 1 << 16) -> None:
        require_whole("every", every, 1, 1 << 32)
        self.every = every
        super().__init__(
            {
                "max_payload": In(2),
                "max_read_request": In(3),
                "address": Out(10),
                "read": Out(1),
                "data": In(32),
                "done": In(1),
                "write_limit": Out(range(MOST_LINES + 1), init=SMALLEST_LINES),
                "read_limit": Out(range(WINDOW_LINES + 1), init=SMALLEST_LINES),
                "extended": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.address.eq(DEVICE_CONTROL)
        m.d.sync += [
            self.write_limit.eq(SMALLEST_LINES << self.max_payload),
            self.read_limit.eq(Mux(self.max_read_request > 5, SMALLEST_LINES, SMALLEST_LINES << self.max_read_request)),
        ]
        ticks = Signal(range(self.every))
        with m.If(self.read):
            with m.If(self.done):
                m.d.sync += [self.read.eq(0), self.extended.eq(self.data[EXTENDED_TAG])]
        with m.Else():
            m.d.sync += ticks.eq(Mux(ticks == self.every - 1, 0, ticks + 1))
            with m.If(ticks == 0):
                m.d.sync += self.read.eq(1)
        return m
