"""Touches of pages that are in flight already: which touch follows which, and how far the earlier one is."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.memory.host_port import id_bits
from rtl.stream.pick import one_hot


class Following(wiring.Component):
    """Keeps account of page entries whose page is in another, earlier entry too.

    Parameters
    ----------
    entries : int
        Page entries.

    Members
    -------
    asked : In(1)
        A touch gets the entry ``entry``.
    entry : In(entry)
        Which.
    found : In(1)
        Its page was in the entry ``before`` when pages were compared.
    before : In(entry)
        The newest touch of that page.
    busy : In(entries)
        Entries in use.
    departed : In(1)
        The write of the entry ``due`` leaves.
    due : In(entry)
        Which.
    written : In(1)
        The host has acknowledged the write of the entry ``written_id``.
    written_id : In(entry)
        Which.
    turn : In(entry)
        The entry that starts next.
    follows : Out(1)
        It follows another one ...
    earlier : Out(entry)
        ... which is this.
    early : Out(entries)
        Entries that follow one whose write has not departed.
    behind : Out(entries)
        Entries that follow one whose write the host has not acknowledged.

    Countermeasures
    ---------------
    PAGE.FOLLOW.PACED
        An entry is ``early`` until the other's write has departed, for which there are public reasons alone.
    """

    def __init__(self, entries: int) -> None:
        self.entries = entries
        entry = id_bits(entries)
        super().__init__(
            {
                "asked": In(1),
                "entry": In(entry),
                "found": In(1),
                "before": In(entry),
                "busy": In(entries),
                "departed": In(1),
                "due": In(entry),
                "written": In(1),
                "written_id": In(entry),
                "turn": In(entry),
                "follows": Out(1),
                "earlier": Out(entry),
                "early": Out(entries),
                "behind": Out(entries),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        n = self.entries
        m.submodules.earlier_of = earlier_of = Memory(shape=range(n), depth=n, init=[])
        m.submodules.later_of = later_of = Memory(shape=range(n), depth=n, init=[])
        earlier_write, later_write = earlier_of.write_port(), later_of.write_port()
        own = earlier_of.read_port(domain="comb")
        after_due, after_written = later_of.read_port(domain="comb"), later_of.read_port(domain="comb")
        follows, followed, out = Signal(n), Signal(n), Signal(n)  # it follows; it is followed; its write has departed
        now = Signal()
        not_out = Signal()
        acknowledged = self.written & (self.written_id == self.before)
        m.d.comb += [
            # An earlier touch that was acknowledged since pages were compared is with the host.
            now.eq(self.asked & self.found & self.busy.bit_select(self.before, 1) & ~acknowledged),
            not_out.eq(~out.bit_select(self.before, 1) & ~(self.departed & (self.due == self.before))),
            earlier_write.en.eq(now),
            earlier_write.addr.eq(self.entry),
            earlier_write.data.eq(self.before),
            later_write.en.eq(now),
            later_write.addr.eq(self.before),
            later_write.data.eq(self.entry),
            own.addr.eq(self.turn),
            after_due.addr.eq(self.due),
            after_written.addr.eq(self.written_id),
            self.earlier.eq(own.data),
            self.follows.eq(follows.bit_select(self.turn, 1)),
        ]
        new = one_hot(self.entry, n, self.asked)
        ended = one_hot(after_written.data, n, self.written & followed.bit_select(self.written_id, 1))
        # SEC_CM: PAGE.FOLLOW.PACED -- until the earlier write has departed, however long ago it was sealed
        gone = one_hot(after_due.data, n, self.departed & followed.bit_select(self.due, 1))
        m.d.sync += [
            follows.eq((follows & ~new) | one_hot(self.entry, n, now)),
            followed.eq((followed & ~new) | one_hot(self.before, n, now)),
            out.eq((out | one_hot(self.due, n, self.departed)) & ~new),
            self.early.eq((self.early & ~gone) | one_hot(self.entry, n, now & not_out)),
            self.behind.eq((self.behind & ~ended) | one_hot(self.entry, n, now)),
        ]
        return m
