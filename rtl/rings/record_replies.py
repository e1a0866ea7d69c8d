# amaranth: UnusedElaboratable=no
"""Where replies wait until all those to their record are there, as the text that answers it."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.operations import Status
from omap.params import Params
from omap.wire import RecordCodec
from rtl.constants import BLOCK_BITS, BLOCK_BYTES
from rtl.rings.record import LINE_BEATS, reply_item, reply_layout, reply_preamble
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import page_beat

REPLIES_KEPT = 4

PREAMBLES_KEPT = 4
"""Records whose replies are all there; more wait only if the host takes no responses."""

EXPECTED = StructLayout({"count": 8, "sees_values": 1, "sees_map": 1})
"""What answers a record: so many replies, and what they may tell."""


class RecordReplies(wiring.Component):
    """Gathers the replies to one record after the other, as :meth:`omap.batch.CommandBatch.replies` does.

    Two records of any length have room here, so that one is gathered while another leaves.

    Parameters
    ----------
    params : Params
        The map.

    Members
    -------
    i_expected : In(stream.Signature(EXPECTED))
        Records to which there will be replies.
    i_denied : In(stream.Signature(1))
        For each command, whether it was not allowed.
    i_reply : In(stream.Signature(reply_layout(params)))
        Replies to the commands.
    complete : Out(1)
        The last reply to a record has come: once for each record, at least a cycle before its preamble is on offer.
    o_preamble : Out(stream.Signature(128))
        For each record, the beat before its items.
    o_items : Out(stream.Signature(page_beat(1)))
        Its items; ``last`` marks the last beat of the last one.

    Countermeasures
    ---------------
    SESSIONS.PREVIOUS.HIDDEN
        A session that may not read is told neither values nor which keys were live.
    SESSIONS.TOLD.BOUNDED
        A session that may not read the whole map is told neither live keys nor overruns.
    SESSIONS.TIME.CONST
        Times depend on when replies come and how many a record has.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        super().__init__(
            {
                "i_expected": In(stream.Signature(EXPECTED)),
                "i_denied": In(stream.Signature(1)),
                "i_reply": In(stream.Signature(reply_layout(params))),
                "complete": Out(1),
                "o_preamble": Out(stream.Signature(BLOCK_BITS)),
                "o_items": Out(stream.Signature(page_beat(1))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        codec = RecordCodec(self.params)
        item_beats = codec.item_bytes // BLOCK_BYTES
        m.submodules.replies = replies = Fifo(shape=reply_layout(self.params), depth=REPLIES_KEPT)
        m.submodules.items = items = Fifo(
            shape=page_beat(1), depth=2 * LINE_BEATS * codec.most_lines, ram_style="block"
        )
        m.submodules.preambles = preambles = Fifo(shape=BLOCK_BITS, depth=PREAMBLES_KEPT)
        connect(m, flipped(self.i_reply), replies.i)
        connect(m, preambles.o, flipped(self.o_preamble))
        connect(m, items.o, flipped(self.o_items))

        reply, expected = replies.o.p, self.i_expected.p
        before = Signal(8)  # replies to this record that have come
        operation = Signal(64)  # number of the record's first operation
        parts = Signal(range(item_beats))  # beats of the last item that are still to go
        take, last = Signal(), Signal()
        there = replies.o.valid & self.i_expected.valid & self.i_denied.valid
        m.d.comb += [
            last.eq(before + 1 == expected.count),
            # SEC_CM: SESSIONS.TIME.CONST -- a reply is taken when it comes, whatever it says
            take.eq(there & items.i.ready & preambles.i.ready & (parts == 0)),
            replies.o.ready.eq(take),
            self.i_denied.ready.eq(take),
            self.i_expected.ready.eq(take & last),
            self.complete.eq(take & last),
        ]
        with m.If(take):
            m.d.sync += before.eq(Mux(last, 0, before + 1))
            with m.If(before == 0):
                m.d.sync += operation.eq(reply.operation)

        # SEC_CM: SESSIONS.PREVIOUS.HIDDEN -- who may not read learns neither values nor which keys are live
        missing = (reply.status == Status.NOT_FOUND) & ~expected.sees_values
        status = Mux(self.i_denied.p, Status.DENIED, Mux(missing, Status.OK, reply.status))
        found = reply.found & expected.sees_values
        item = reply_item(self.params, status=status, found=found, value=reply.value)
        rest = Signal((item_beats - 1) * BLOCK_BITS)
        m.d.comb += [
            items.i.valid.eq(take | (parts != 0)),
            items.i.p.data.eq(Mux(take, item[:BLOCK_BITS], rest[:BLOCK_BITS])),
            preambles.i.valid.eq(take & last),
            preambles.i.p.eq(
                reply_preamble(
                    operation=Mux(before == 0, reply.operation, operation),
                    # SEC_CM: SESSIONS.TOLD.BOUNDED -- else a client in league with the host counts what others insert
                    overruns=Mux(expected.sees_map, reply.overruns, 0),
                    live=Mux(expected.sees_map, reply.live, 0),
                )
            ),
        ]
        if item_beats == 1:
            m.d.comb += items.i.p.last.eq(last)
        else:
            final = Signal()  # the last item is the last one of its record
            m.d.comb += items.i.p.last.eq(final & (parts == 1))
            with m.If(take):
                m.d.sync += [rest.eq(item[BLOCK_BITS:]), parts.eq(item_beats - 1), final.eq(last)]
            with m.Elif(items.i.ready & (parts != 0)):
                m.d.sync += [rest.eq(rest >> BLOCK_BITS), parts.eq(parts - 1)]
        return m
