# amaranth: UnusedElaboratable=no
"""The texts of records that have items: those of a journal, and the chunks of a snapshot."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.operations import Status
from omap.params import Params
from omap.wire import RecordCodec, RecordType
from rtl.constants import BLOCK_BITS
from rtl.rings.journal_items import JournalItems
from rtl.rings.record import NUMBER_BITS, command_layout, header_beat, reply_layout
from rtl.rings.record_commands import CONTEXT
from rtl.rings.record_replies import lay_out
from rtl.stream.fifo import Fifo


class JournalTexts(wiring.Component):
    """Gathers what commands changed, or what the slots of the map hold, and lays it out to be sealed.

    A slot goes the way of a command that has answered OK: so a used one is a PUT, and a free one a NOP with zeros.

    Parameters
    ----------
    params : Params
        The map.
    in_flight : int
        Commands that can be without a reply.

    Members
    -------
    i_context : In(stream.Signature(CONTEXT))
        Records in their order.
    i_command : In(stream.Signature(command_layout(params)))
        The commands of those that are not refused, as they run. They come before their replies.
    i_reply : In(stream.Signature(reply_layout(params)))
        A reply to each.
    exporting : In(1)
        What comes is the slots of the map, and no command is under way.
    i_slot : In(stream.Signature(command_layout(params)))
        All slots, while ``exporting``.
    chunk : In(64)
        Number of the chunk of the snapshot that comes next.
    give : In(1)
        Lay out the text of that chunk.
    given : Out(1)
        A text is being laid out, and its header is there: once for each.
    o_lines : Out(stream.Signature(8))
        Lines of each record of the journal, at once.
    o_text : Out(stream.Signature(128))
        Headers and texts.
    """

    def __init__(self, params: Params, *, in_flight: int) -> None:
        self.params, self.in_flight = params, in_flight
        super().__init__(
            {
                "i_context": In(stream.Signature(CONTEXT)),
                "i_command": In(stream.Signature(command_layout(params))),
                "i_reply": In(stream.Signature(reply_layout(params))),
                "exporting": In(1),
                "i_slot": In(stream.Signature(command_layout(params))),
                "chunk": In(NUMBER_BITS),
                "give": In(1),
                "given": Out(1),
                "o_lines": Out(stream.Signature(8)),
                "o_text": Out(stream.Signature(BLOCK_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        codec = RecordCodec(self.params)
        m.submodules.items = items = JournalItems(self.params)
        m.submodules.commands = commands = Fifo(shape=items.given, depth=self.in_flight, ram_style="block")
        m.submodules.contexts = contexts = Fifo(shape=self.i_context.p.shape(), depth=self.in_flight)
        m.submodules.expected = expected = Fifo(shape=items.i_expected.p.shape(), depth=self.in_flight)
        m.submodules.lines = lines = Fifo(shape=8, depth=self.in_flight)
        connect(m, commands.o, items.i_given)
        connect(m, lines.o, flipped(self.o_lines))

        put = Signal()
        m.d.comb += [
            self.i_context.ready.eq(contexts.i.ready & expected.i.ready & lines.i.ready),
            put.eq(self.i_context.valid & self.i_context.ready & ~self.i_context.p.refused),
            contexts.i.valid.eq(put),
            contexts.i.p.lines.eq(self.i_context.p.lines),
            contexts.i.p.count.eq(self.i_context.p.count),
            expected.i.valid.eq(put),
            expected.i.p.count.eq(self.i_context.p.count),
            lines.i.valid.eq(put),
            lines.i.p.eq(self.i_context.p.lines),
        ]
        with m.If(self.exporting):
            m.d.comb += [
                self.i_slot.ready.eq(commands.i.ready & items.i_reply.ready),
                commands.i.valid.eq(self.i_slot.valid & items.i_reply.ready),
                commands.i.p.eq(self.i_slot.p),
                items.i_reply.valid.eq(self.i_slot.valid & commands.i.ready),
                items.i_reply.p.status.eq(Status.OK),
                items.i_expected.valid.eq(1),
                items.i_expected.p.count.eq(codec.most_operations),
            ]
        with m.Else():
            connect(m, flipped(self.i_reply), items.i_reply)
            connect(m, flipped(self.i_command), commands.i)
            connect(m, expected.o, items.i_expected)

        number = Signal(NUMBER_BITS, init=1)  # of the next record of the journal; the START before it has been sealed
        context, load = contexts.o.p, Signal()
        count = Mux(self.exporting, codec.most_operations, context.count)
        size = Mux(self.exporting, codec.chunk_lines, context.lines)
        header = header_beat(
            type=Mux(self.exporting, RecordType.SNAPSHOT, RecordType.JOURNAL),
            session_index=0,
            lines=size,
            count=count,
            session=0,
            sequence=Mux(self.exporting, self.chunk, number),
        )
        awaits = Mux(self.exporting, self.give, contexts.o.valid)
        m.d.comb += [
            load.eq(lay_out(m, items, self.o_text, awaits=awaits, header=header, lines=size)),
            contexts.o.ready.eq(load & ~self.exporting),
            self.given.eq(load),
        ]
        m.d.sync += number.eq(number + (load & ~self.exporting))
        return m
