# amaranth: UnusedElaboratable=no
"""Merging: an operation meets its opened page, ends the uses of its two bins, and becomes a reply."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.operations import Kind, Status
from rtl.config import EngineConfig
from rtl.map.pacer import Pacer
from rtl.map.page import PageMerge
from rtl.map.position_map import PositionMap
from rtl.map.waiting import WaitingBins
from rtl.rings.record import command_layout, reply_layout
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import page_beat

STEPS = 4
"""Operations between the start of their merge and the uses of their bins; enough for the merge not to wait."""


class Merging(wiring.Component):
    """Merges one page after the other, gives each operation its reply, and counts live keys and overruns.

    Parameters
    ----------
    config : EngineConfig
        The engine.
    position_map : PositionMap
        Gives the shape of its findings.
    bins : WaitingBins
        Gives the shapes of the streams between it and the merge.

    Members
    -------
    i_command, i_finding : In(stream)
        Operations in order, and what the position map found for each; see :class:`rtl.map.admission.Admission`.
    i_bin, i_waiting, o_verdict, o_occupancy, o_append : streams
        The uses of the bins, see :class:`rtl.map.waiting.WaitingBins`.
    i_text, o_text : streams of page_beat
        Opened pages, and the pages to seal.
    o_reply : Out(stream of reply_layout)
        One reply for each operation, at its time.
    started : In(1)
        A page has started, which is the time base of its reply.
    late : In(3)
        A page was read late; a page was written late; the format began late.
    formatted : In(1)
        A map is there. Without one the overruns are forgotten.
    restart : In(1)
        The map is empty, and the next operation has number 0.
    merged : Out(1)
        The uses of an operation's bins have ended.
    lost : Out(1)
        The tuple of a live key was neither in its page nor waiting. Stays.
    erase : In(1)
        Clears all registers of the merge.

    Countermeasures
    ---------------
    OVERRUN.COUNT.SEALED
        Overruns are counted, and told in sealed replies alone.
    EVENT.TIME.PACED
        A reply leaves at a fixed offset from the start of its page.
    """

    def __init__(self, config: EngineConfig, position_map: PositionMap, bins: WaitingBins) -> None:
        self.config = config
        params, uses = config.params, bins.signature.members
        self.merge = PageMerge(params, lanes=config.lanes)
        self.reply_pacer = Pacer(
            shape=reply_layout(params),
            offset=config.reply_cycles,
            depth=config.in_flight,
            insecure_unpaced=config.insecure_unpaced,
        )
        super().__init__(
            {
                "i_command": In(stream.Signature(command_layout(params))),
                "i_finding": position_map.signature.members["o_located"].flip(),
                **{f"i_{name}": uses[f"o_{name}"].flip() for name in ("bin", "waiting")},
                **{f"o_{name}": uses[f"i_{name}"].flip() for name in ("verdict", "occupancy", "append")},
                "i_text": In(stream.Signature(page_beat(config.lanes))),
                "o_text": Out(stream.Signature(page_beat(config.lanes))),
                "o_reply": Out(stream.Signature(reply_layout(params))),
                "started": In(1),
                "late": In(3 + config.journal),
                "formatted": In(1),
                "restart": In(1),
                "merged": Out(1),
                "lost": Out(1),
                "erase": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        merge = self.merge
        m.submodules.merge = merge
        m.d.comb += merge.erase.eq(self.erase)
        for name in ("text", "waiting"):
            connect(m, flipped(getattr(self, f"i_{name}")), getattr(merge, f"i_{name}"))
        for name in ("text", "verdict"):
            connect(m, getattr(merge, f"o_{name}"), flipped(getattr(self, f"o_{name}")))
        self._end(m, self._begin(m))
        return m

    def _begin(self, m: Module) -> stream.Interface:
        """Begin a merge when all that it needs is there; return the operations whose merge has begun."""
        command, finding, bin_, job = self.i_command, self.i_finding, self.i_bin, self.merge.i_job
        shape = StructLayout({"command": command.p.shape(), "finding": finding.p.shape()})
        m.submodules.pending = pending = Fifo(shape=shape, depth=STEPS)
        begin = Signal()
        m.d.comb += [
            job.valid.eq(command.valid & finding.valid & bin_.valid & pending.i.ready),
            job.p.take.eq(finding.p.hit),
            job.p.key.eq(command.p.key),
            job.p.occupancy.eq(bin_.p.occupancy),
            begin.eq(job.valid & job.ready),
            *(flow.ready.eq(begin) for flow in (command, finding, bin_)),
            pending.i.valid.eq(begin),
            pending.i.p.command.eq(command.p),
            pending.i.p.finding.eq(finding.p),
        ]
        return pending.o

    def _end(self, m: Module, pending: stream.Interface) -> None:
        """End the uses of both bins with the result of a merge, and make the reply."""
        result, found, command = self.merge.o_result, pending.p.finding, pending.p.command
        is_put = Signal()
        there, may_end = result.valid & pending.valid, self._append(m, pending, is_put)
        m.d.comb += [
            self.o_occupancy.valid.eq(there & may_end),
            self.o_occupancy.p.eq(result.p.occupancy),
            self.merged.eq(self.o_occupancy.valid & self.o_occupancy.ready),
            result.ready.eq(self.merged),
            pending.ready.eq(self.merged),
            is_put.eq(command.kind == Kind.PUT),
        ]
        with m.If(self.merged & found.hit & ~result.p.found):
            m.d.sync += self.lost.eq(1)

        m.submodules.reply_pacer = pacer = self.reply_pacer
        operation, live = self._numbers(m, found)
        missed = Mux(is_put, Mux(found.full, Status.FULL, Status.OK), Status.NOT_FOUND)
        m.d.comb += [
            pacer.start.eq(self.started),
            pacer.i.valid.eq(self.merged),
            pacer.i.p.status.eq(Mux(found.hit | (command.kind == Kind.NOP), Status.OK, missed)),
            pacer.i.p.found.eq(found.hit),
            pacer.i.p.value.eq(result.p.value),
            pacer.i.p.overruns.eq(self._overruns(m)),
            pacer.i.p.operation.eq(operation),
            pacer.i.p.live.eq(live),
        ]
        connect(m, pacer.o, flipped(self.o_reply))

    def _append(self, m: Module, pending: stream.Interface, is_put: Signal) -> Value:
        """Offer what joins the second bin as soon as the result is there, for the next operation may be on its key.

        If it is not taken at once, it waits in a queue. Returns whether it has been offered or is offered now.
        """
        result, command, out = self.merge.o_result, pending.p.command, self.o_append
        m.submodules.appends = appends = Fifo(shape=out.p.shape(), depth=STEPS)
        offered, fresh, item = Signal(), Signal(), Signal(out.p.shape())
        m.d.comb += [
            item.present.eq(pending.p.finding.keep),
            item.entry.eq(Cat(command.key, Mux(is_put, command.value, result.p.value))),
            fresh.eq(result.valid & pending.valid & ~offered & appends.i.ready),
            out.valid.eq(appends.o.valid | fresh),
            out.p.eq(Mux(appends.o.valid, appends.o.p.as_value(), item.as_value())),
            appends.o.ready.eq(out.ready),
            appends.i.valid.eq(fresh & (appends.o.valid | ~out.ready)),
            appends.i.p.eq(item),
        ]
        m.d.sync += offered.eq((offered | fresh) & ~self.merged)
        return offered | appends.i.ready

    def _numbers(self, m: Module, found: Value) -> tuple[Signal, Signal]:
        """Return the number of the operation that ends, and how many keys are live after it."""
        before, operation = Signal(range(self.config.params.capacity + 1)), Signal(64)
        live = Signal.like(before)
        m.d.comb += live.eq(before + (found.keep & ~found.hit) - (found.hit & ~found.keep))
        with m.If(self.merged):
            m.d.sync += [before.eq(live), operation.eq(operation + 1)]
        with m.If(self.restart):
            m.d.sync += [before.eq(0), operation.eq(0)]
        return operation, live

    def _overruns(self, m: Module) -> Signal:
        """Return how many events were late since the format."""
        overruns = Signal(32)
        with m.If(~self.formatted):
            m.d.sync += overruns.eq(0)
        with m.Else():
            # SEC_CM: OVERRUN.COUNT.SEALED -- counted here, and told in sealed replies alone
            m.d.sync += overruns.eq(overruns + sum(self.late) + self.reply_pacer.late)
        return overruns
