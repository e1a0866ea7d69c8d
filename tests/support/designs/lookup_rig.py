"""The lookup stage and both its tables, as a circuit."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.map.position_map import PositionMap
from tests.support.designs.late_lines import LateLines


class LookupRig(wiring.Component):
    """A position map with late memory behind it, which counts the lines used and the lines fetched of each table.

    Parameters
    ----------
    params : Params
        The map.
    sizes
        As :class:`~rtl.map.position_map.PositionMap` has them.
    """

    CONTROL = ("live", "quiet", "clear", "erase")
    FLOWS = ("i_key", "i_operation", "o_located")

    def __init__(self, params, **sizes):
        self.params, self.dut = params, PositionMap(params, **sizes)
        members = self.dut.signature.members
        own = {
            "latency": In(8),
            "jitter": In(8),
            "shy": In(1),
            "wipe": In(1),
            "uses": Out(32).array(2),
            "fetches": Out(32).array(2),
            "in_transit": Out(self.dut.queue.entries),
        }
        super().__init__({name: members[name] for name in (*self.FLOWS, *self.CONTROL)} | own)

    def elaborate(self, platform):
        """Return the circuit."""
        m = Module()
        m.submodules.dut = dut = self.dut
        for name in self.FLOWS:
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(dut, name))
        m.d.comb += [self.live.eq(dut.live), self.quiet.eq(dut.quiet), self.in_transit.eq(dut.queue.held)]
        m.d.comb += [dut.clear.eq(self.clear), dut.erase.eq(self.erase)]
        for t, buffer in enumerate(dut.buffers):
            m.submodules[f"memory{t}"] = memory = LateLines(buffer, lines=self.params.buckets, seed=t)
            m.d.comb += [memory.latency.eq(self.latency), memory.jitter.eq(self.jitter), memory.shy.eq(self.shy)]
            m.d.comb += memory.wipe.eq(self.wipe)
            wiring.connect(m, dut.o_fetch[t], memory.fetch)
            wiring.connect(m, dut.i_fetched[t], memory.fetched)
            wiring.connect(m, dut.o_flush[t], memory.flush)
            wiring.connect(m, dut.i_flushed[t], memory.flushed)
            for count, flow in ((self.uses[t], buffer.o_line), (self.fetches[t], dut.o_fetch[t])):
                m.d.sync += count.eq(count + (flow.valid & flow.ready))
        return m
