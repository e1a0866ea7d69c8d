# amaranth: UnusedElaboratable=no
"""Where the records of a restore are answered: what came of their operations, in their order."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.operations import Status
from omap.params import Params
from omap.wire import RecordType, Refusal
from rtl.rings.handshake import REFUSAL_BITS
from rtl.rings.record import header_beat, reply_layout
from rtl.rings.record_commands import CONTEXT
from rtl.rings.record_front import ANSWER
from rtl.rings.restore_front import RESTORED
from rtl.stream.fifo import Fifo


class RestoreBack(wiring.Component):
    """Answers each record of a restore, as :meth:`omap.restore.Restore.run` does, with a line in the clear.

    A record whose commands run is answered when the last reply came. If one of them is not OK, the restore has failed.
    The record at fault is refused with what is wrong, and all after it as failed.

    Parameters
    ----------
    params : Params
        The map.
    in_flight : int
        Commands that can be without a reply.
    most : int
        Records that can be without an answer.

    Members
    -------
    i_taken : In(stream.Signature(RESTORED))
        Records in their order.
    i_context : In(stream.Signature(CONTEXT))
        Those whose commands run, in their order, each before its commands; or that they do not run after all.
    i_reply : In(stream.Signature(reply_layout(params)))
        Replies to the commands.
    o_answer : Out(stream.Signature(ANSWER))
        Answers. Taken when they have departed.
    begun : In(1)
        The answer to END may leave.
    failed : Out(1)
        A record was refused for good. It is answered after that.
    drained : Out(1)
        All records are answered.

    Countermeasures
    ---------------
    RESTORES.FAIL.ENDS
        Every record after the first one at fault is refused.
    """

    def __init__(self, params: Params, *, in_flight: int, most: int) -> None:
        self.params, self.in_flight, self.most = params, in_flight, most
        super().__init__(
            {
                "i_taken": In(stream.Signature(RESTORED)),
                "i_context": In(stream.Signature(CONTEXT)),
                "i_reply": In(stream.Signature(reply_layout(params))),
                "o_answer": Out(stream.Signature(ANSWER)),
                "begun": In(1),
                "failed": Out(1),
                "drained": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.records = records = Fifo(shape=RESTORED, depth=self.most)
        m.submodules.contexts = contexts = Fifo(shape=CONTEXT, depth=self.in_flight)
        m.submodules.results = results = Fifo(shape=REFUSAL_BITS, depth=self.in_flight)
        connect(m, flipped(self.i_taken), records.i)
        connect(m, flipped(self.i_context), contexts.i)

        # Replies to one record after the other.
        context, reply = contexts.o.p, self.i_reply.p
        before, wrong = Signal(8), Signal()  # replies that came; one of them was not OK
        last, bad, done = Signal(), Signal(), Signal()
        m.d.comb += [
            last.eq(before + 1 == context.count),
            bad.eq(wrong | (reply.status != Status.OK)),
            self.i_reply.ready.eq(contexts.o.valid & ~context.refused & results.i.ready),
            done.eq(contexts.o.valid & (context.refused | (self.i_reply.valid & last))),
            results.i.valid.eq(done),
            results.i.p.eq(
                Mux(
                    context.refused,
                    Mux(context.altered, Refusal.ALTERED, Refusal.RESTORE_FAILED),
                    Mux(bad, Refusal.RESTORE_FAILED, 0),
                )
            ),
            contexts.o.ready.eq(done & results.i.ready),
        ]
        with m.If(self.i_reply.valid & self.i_reply.ready):
            m.d.sync += [before.eq(Mux(last, 0, before + 1)), wrong.eq(bad & ~last)]
        self._answer(m, records, results)
        return m

    def _answer(self, m: Module, records: Fifo, results: Fifo) -> None:
        """Answer the records in their order."""
        record, here = records.o.p, Signal()
        kept, why, load, gone = Signal(RESTORED), Signal(REFUSAL_BITS), Signal(), Signal()
        refused = kept.refusal != 0
        awaits_begin = ~refused & (kept.header.type == RecordType.END)
        m.d.comb += [
            # SEC_CM: RESTORES.FAIL.ENDS -- a host can not choose which records count
            why.eq(Mux(self.failed, Refusal.RESTORE_FAILED, Mux(record.runs, results.o.p, record.refusal))),
            load.eq(records.o.valid & (~record.runs | results.o.valid) & (~here | gone)),
            gone.eq(self.o_answer.valid & self.o_answer.ready),
            records.o.ready.eq(load),
            results.o.ready.eq(load & record.runs),
            self.drained.eq(~here & ~records.o.valid),
            self.o_answer.valid.eq(here & (~awaits_begin | self.begun)),
            self.o_answer.p.header.eq(
                header_beat(
                    type=Mux(refused, RecordType.REFUSED, kept.header.type),
                    session_index=Mux(refused, kept.header.session_index, 0),
                    lines=1,
                    count=kept.refusal,
                    session=Mux(refused, kept.header.session, 0),
                    sequence=kept.header.sequence,
                )
            ),
            self.o_answer.p.lines.eq(1),
        ]
        with m.If(load):
            m.d.sync += [here.eq(1), kept.eq(record), kept.refusal.eq(why)]
            with m.If((why != 0) & (why != Refusal.RESTORING)):
                m.d.sync += self.failed.eq(1)
        with m.Elif(gone):
            m.d.sync += here.eq(0)
