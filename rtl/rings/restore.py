# amaranth: UnusedElaboratable=no
"""A restore: records of snapshots and journals in, their operations out, in the place of clients' sessions."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect

from omap.params import Params
from rtl.rings.restore_back import RestoreBack
from rtl.rings.restore_front import RestoreFront
from rtl.rings.restore_texts import RestoreTexts
from rtl.stream.ways import through


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

    OF_FRONT = (
        *("open_", "i_record", "o_request", "o_sealed", "o_derive", "i_derived", "o_key", "forget"),
        *("restored", "end"),
    )
    OF_TEXTS = ("i_text", "o_text", "runs", "o_ancestor", "map_id", "operation")
    OF_BACK = ("i_context", "i_reply", "o_answer", "begun", "failed")

    def __init__(self, params: Params, *, in_flight: int, most: int) -> None:
        self.params = params
        self.front = RestoreFront(params)
        self.texts = RestoreTexts(params)
        self.back = RestoreBack(params, in_flight=in_flight, most=most)
        self._through = dict.fromkeys(self.OF_FRONT, self.front)
        self._through |= dict.fromkeys(self.OF_TEXTS, self.texts)
        self._through |= dict.fromkeys(self.OF_BACK, self.back)
        super().__init__(
            {name: block.signature.members[name] for name, block in self._through.items()}
            | {"start": Out(1), "idle": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        front, texts, back = self.front, self.texts, self.back
        m.submodules.front, m.submodules.texts, m.submodules.back = front, texts, back
        through(m, self, self._through)
        connect(m, front.o_taken, back.i_taken)
        was = Signal()
        m.d.sync += was.eq(front.start)
        m.d.comb += [
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
            self.start.eq(front.start & ~was),
            self.idle.eq(front.idle & back.drained),
        ]
        return m
