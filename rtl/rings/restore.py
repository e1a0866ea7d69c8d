# amaranth: UnusedElaboratable=no
"""A restore: records of snapshots and journals in, their operations out, in the place of clients' sessions."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.params import Params
from rtl.constants import BLOCK_BITS
from rtl.rings.durable_keys import DURABLE
from rtl.rings.handshake import KEY_BITS
from rtl.rings.lineage import ANCESTOR
from rtl.rings.record import RECORD_BEAT, record_request, reply_layout
from rtl.rings.record_commands import CONTEXT, TEXT_BEAT
from rtl.rings.record_front import ANSWER, OPEN_KEY
from rtl.rings.restore_back import RestoreBack
from rtl.rings.restore_front import RestoreFront
from rtl.rings.restore_texts import NUMBER_BITS, RestoreTexts


class Restore(wiring.Component):
    """Does with the records of a restore what :class:`omap.restore.Restore` does, one restore after each reset.

    What opens records, and what makes commands of their texts, is outside: a session's records need the same.

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
    open_, i_record, o_request, o_sealed, o_derive, i_derived, o_key, forget, restored
        See :class:`rtl.rings.restore_front.RestoreFront`.
    i_text, o_text, runs, o_ancestor, map_id, operation
        See :class:`rtl.rings.restore_texts.RestoreTexts`.
    i_context, i_reply, o_answer, begun, failed
        See :class:`rtl.rings.restore_back.RestoreBack`.
    start : Out(1)
        A START begins: its ancestors replace all that are known.
    end : Out(1)
        END is taken: for a cycle, in which ``map_id`` and ``operation`` are the last ones.
    idle : Out(1)
        No record is here, and all are answered.
    """

    def __init__(self, params: Params, *, in_flight: int, most: int) -> None:
        self.params = params
        self.front = RestoreFront(params)
        self.texts = RestoreTexts(params)
        self.back = RestoreBack(params, in_flight=in_flight, most=most)
        super().__init__(
            {
                "open_": In(1),
                "i_record": In(stream.Signature(RECORD_BEAT)),
                "o_request": Out(stream.Signature(record_request(params, more=True))),
                "o_sealed": Out(stream.Signature(BLOCK_BITS)),
                "o_derive": Out(stream.Signature(DURABLE)),
                "i_derived": In(stream.Signature(KEY_BITS)),
                "o_key": Out(stream.Signature(OPEN_KEY)),
                "forget": Out(1),
                "i_text": In(stream.Signature(TEXT_BEAT)),
                "o_text": Out(stream.Signature(TEXT_BEAT)),
                "runs": Out(1),
                "i_context": In(stream.Signature(CONTEXT)),
                "i_reply": In(stream.Signature(reply_layout(params))),
                "o_answer": Out(stream.Signature(ANSWER)),
                "start": Out(1),
                "o_ancestor": Out(stream.Signature(ANCESTOR)),
                "end": Out(1),
                "map_id": Out(BLOCK_BITS),
                "operation": Out(NUMBER_BITS),
                "begun": In(1),
                "restored": Out(1),
                "failed": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.front, m.submodules.texts, m.submodules.back = front, texts, back = (
            self.front,
            self.texts,
            self.back,
        )
        for block, inputs, outputs in (
            (front, ("i_record", "i_derived"), ("o_request", "o_sealed", "o_derive", "o_key")),
            (texts, ("i_text",), ("o_text", "o_ancestor")),
            (back, ("i_context", "i_reply"), ("o_answer",)),
        ):
            for name in inputs:
                connect(m, flipped(getattr(self, name)), getattr(block, name))
            for name in outputs:
                connect(m, getattr(block, name), flipped(getattr(self, name)))
        connect(m, front.o_taken, back.i_taken)
        was = Signal()
        m.d.sync += was.eq(front.start)
        m.d.comb += [
            front.open_.eq(self.open_),
            front.drained.eq(back.drained),
            front.failed.eq(back.failed),
            front.started.eq(texts.started),
            front.altered.eq(texts.altered),
            front.fits.eq(texts.fits),
            texts.announced.eq(self.i_context.valid & self.i_context.ready),
            texts.failed.eq(back.failed),
            texts.start.eq(front.start),
            texts.of_snapshot.eq(front.of_snapshot),
            texts.source_id.eq(front.source_id),
            texts.source_operation.eq(front.source_operation),
            back.begun.eq(self.begun),
            self.forget.eq(front.forget),
            self.runs.eq(texts.runs),
            self.start.eq(front.start & ~was),
            self.end.eq(front.end),
            self.map_id.eq(texts.map_id),
            self.operation.eq(texts.operation),
            self.restored.eq(front.restored),
            self.failed.eq(back.failed),
            self.idle.eq(front.idle & back.drained),
        ]
        return m
