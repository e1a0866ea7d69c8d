"""Touches of pages that are in flight already: which touch follows which, and how far the earlier one is."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.memory.host_port import id_bits
from rtl.stream.pick import one_hot


class Following(wiring.Component):
    """Keeps account of page entries in use, and of those whose page is in another, earlier entry too.

    An entry is in use until its write was acknowledged, and until what follows it for that reason may start.

    Parameters
    ----------
    entries : int
        Page entries.
    wait : int
        Cycles from a start until a page that follows is no longer ``early``.

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
    skipped : In(1)
        With ``asked``: its turn is passed over, and nothing follows it.
    started : In(1)
        The page of the entry ``turn`` starts.
    written : In(1)
        The host acknowledges the write of the entry ``written_entry``.
    written_entry : In(entry)
        Which.
    turn : In(entry)
        The entry that starts next.
    busy : Out(entries)
        Entries in use.
    follows : Out(1)
        It follows another one ...
    earlier : Out(entry)
        ... which is this.
    early : Out(entries)
        Entries that follow one whose page has not started, or not long ago.
    behind : Out(entries)
        Entries that follow one whose write the host has not acknowledged.

    Countermeasures
    ---------------
    PAGE.FOLLOW.PACED
        An entry is ``early`` until a fixed time after the other's page has started, for which there are public reasons
        alone.
    """

    def __init__(self, entries: int, *, wait: int) -> None:
        self.entries, self.wait = entries, wait
        entry = id_bits(entries)
        super().__init__(
            {
                "asked": In(1),
                "entry": In(entry),
                "found": In(1),
                "before": In(entry),
                "skipped": In(1),
                "started": In(1),
                "written": In(1),
                "written_entry": In(entry),
                "turn": In(entry),
                "busy": Out(entries),
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
        after_started, after_written = later_of.read_port(domain="comb"), later_of.read_port(domain="comb")
        # An entry follows another one; it is followed; what follows it may start.
        follows, followed, out = Signal(n), Signal(n), Signal(n)
        now, not_out, not_written, acknowledged = Signal(), Signal(), Signal(), Signal(n)
        passed, passed_entry = self._later(m)
        m.d.comb += [
            # An earlier touch that is over since pages were compared is with the host.
            now.eq(self.asked & self.found & self.busy.bit_select(self.before, 1)),
            not_out.eq(~out.bit_select(self.before, 1) & ~(passed & (passed_entry == self.before))),
            not_written.eq(
                ~acknowledged.bit_select(self.before, 1) & ~(self.written & (self.written_entry == self.before))
            ),
            earlier_write.en.eq(now),
            earlier_write.addr.eq(self.entry),
            earlier_write.data.eq(self.before),
            later_write.en.eq(now),
            later_write.addr.eq(self.before),
            later_write.data.eq(self.entry),
            own.addr.eq(self.turn),
            after_started.addr.eq(passed_entry),
            after_written.addr.eq(self.written_entry),
            self.earlier.eq(own.data),
            self.follows.eq(follows.bit_select(self.turn, 1)),
        ]
        new = one_hot(self.entry, n, self.asked)
        ended = one_hot(after_written.data, n, self.written & followed.bit_select(self.written_entry, 1))
        # SEC_CM: PAGE.FOLLOW.PACED -- a fixed time after the earlier page has started, whenever it is sealed
        gone = one_hot(after_started.data, n, passed & followed.bit_select(passed_entry, 1))
        m.d.sync += [
            follows.eq((follows & ~new) | one_hot(self.entry, n, now)),
            followed.eq((followed & ~new) | one_hot(self.before, n, now)),
            out.eq(((out | one_hot(passed_entry, n, passed)) & ~new) | one_hot(self.entry, n, self.skipped)),
            self.early.eq((self.early & ~gone) | one_hot(self.entry, n, now & not_out)),
            self.behind.eq((self.behind & ~ended) | one_hot(self.entry, n, now & not_written)),
            acknowledged.eq((acknowledged | one_hot(self.written_entry, n, self.written)) & ~new),
            self.busy.eq((self.busy & ~(acknowledged & out)) | new),
        ]
        return m

    def _later(self, m: Module) -> tuple[Value, Value]:
        """Return starts as pages that follow see them: a fixed time later, whatever is merged."""
        passed: Value = self.started
        entry: Value = self.turn
        for stage in range(self.wait):
            later, later_entry = Signal(name=f"passed_{stage}"), Signal.like(entry, name=f"passed_entry_{stage}")
            m.d.sync += [later.eq(passed), later_entry.eq(entry)]
            passed, entry = later, later_entry
        return passed, entry
