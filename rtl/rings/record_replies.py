# amaranth: UnusedElaboratable=no
"""Where replies wait until all those to their record are there, as the text that answers it."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout, View
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
    i_given : In(stream.Signature(given))
        What is known of each command: whether it was not allowed.
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

    given: ShapeLike = 1
    """What is known of a command when its reply comes."""

    def __init__(self, params: Params) -> None:
        self.params = params
        super().__init__(
            {
                "i_expected": In(stream.Signature(EXPECTED)),
                "i_given": In(stream.Signature(self.given)),
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
        item, told = self._tell(reply)
        before = Signal(8)  # replies to this record that have come
        operation = Signal(64)  # number of the record's first operation
        parts = Signal(range(item_beats))  # beats of the last item that are still to go
        take, last = Signal(), Signal()
        there = replies.o.valid & self.i_expected.valid & self.i_given.valid
        m.d.comb += [
            last.eq(before + 1 == expected.count),
            # SEC_CM: SESSIONS.TIME.CONST -- a reply is taken when it comes, whatever it says
            take.eq(there & items.i.ready & preambles.i.ready & (parts == 0)),
            replies.o.ready.eq(take),
            self.i_given.ready.eq(take),
            self.i_expected.ready.eq(take & last),
            self.complete.eq(take & last),
        ]
        with m.If(take):
            m.d.sync += before.eq(Mux(last, 0, before + 1))
            with m.If(before == 0):
                m.d.sync += operation.eq(reply.operation)

        rest = Signal((item_beats - 1) * BLOCK_BITS)
        m.d.comb += [
            items.i.valid.eq(take | (parts != 0)),
            items.i.p.data.eq(Mux(take, item[:BLOCK_BITS], rest[:BLOCK_BITS])),
            preambles.i.valid.eq(take & last),
            preambles.i.p.eq(reply_preamble(operation=Mux(before == 0, reply.operation, operation), **told)),
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

    def _tell(self, reply: View) -> tuple[Value, dict[str, Value]]:
        """Return the item for a reply, and what its record tells of the map if the reply is the last."""
        expected = self.i_expected.p
        # SEC_CM: SESSIONS.PREVIOUS.HIDDEN -- who may not read learns neither values nor which keys are live
        missing = (reply.status == Status.NOT_FOUND) & ~expected.sees_values
        status = Mux(self.i_given.p, Status.DENIED, Mux(missing, Status.OK, reply.status))
        found = reply.found & expected.sees_values
        item = reply_item(self.params, status=status, found=found, value=reply.value)
        # SEC_CM: SESSIONS.TOLD.BOUNDED -- else a client in league with the host counts what others insert
        told = {
            "overruns": Mux(expected.sees_map, reply.overruns, 0),
            "live": Mux(expected.sees_map, reply.live, 0),
        }
        return item, told


def lay_out(
    m: Module, replies: RecordReplies, text: stream.Interface, *, awaits: Value, header: Value, lines: Value
) -> Value:
    """Give text to be sealed once all replies to a record are there; return whether its header is loaded now.

    ``awaits`` says that the oldest record without an answer awaits replies; ``header`` and ``lines`` are its own.
    """
    complete = Signal(range(PREAMBLES_KEPT + 1))  # records whose replies are all there
    left = Signal(range(LINE_BEATS * 256))  # beats of the text that are still to be loaded
    second, items = Signal(), Signal()  # the preamble comes next; there are still items
    free, load = Signal(), Signal()
    m.d.comb += [
        free.eq(~text.valid | text.ready),
        load.eq(free & (left == 0) & awaits & ((complete != 0) | replies.complete)),
        replies.o_preamble.ready.eq(free & second),
        replies.o_items.ready.eq(free & items & ~second),
    ]
    m.d.sync += complete.eq(complete + replies.complete - load)
    with m.If(free):
        m.d.sync += [text.valid.eq(load | (left != 0)), text.p.eq(0)]
        with m.If(left == 0):
            # the tag is no part of the text
            m.d.sync += [text.p.eq(header), second.eq(load), items.eq(load)]
            with m.If(load):
                m.d.sync += left.eq(Cat(Const(LINE_BEATS - 2, 2), (lines - 1)[:8]))
        with m.Elif(second):
            m.d.sync += [text.p.eq(replies.o_preamble.p), second.eq(0), left.eq(left - 1)]
        with m.Elif(~items):
            m.d.sync += left.eq(left - 1)
        with m.Elif(replies.o_items.valid):
            m.d.sync += [text.p.eq(replies.o_items.p.data), items.eq(~replies.o_items.p.last), left.eq(left - 1)]
        with m.Else():
            m.d.sync += text.valid.eq(0)
    return load
