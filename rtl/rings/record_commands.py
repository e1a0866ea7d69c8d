# amaranth: UnusedElaboratable=no
"""Where opened records become commands: each item one, unless the client may not give it."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout, View
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.credentials import MOST_PREFIX_BYTES
from omap.operations import Kind
from omap.params import Params
from omap.wire import CLOSE, SESSIONS, RecordCodec
from rtl.constants import BLOCK_BITS, BLOCK_BYTES
from rtl.rings.record import (
    RIGHTS,
    SESSION_BITS,
    SESSION_INDEX,
    TURN_BITS,
    command_layout,
    read_command,
    read_header,
    read_kind,
)
from rtl.stream.fifo import Fifo

CONTEXT = StructLayout(
    {
        "session_index": SESSION_INDEX,
        "session": SESSION_BITS,
        "turn": TURN_BITS,
        "lines": 8,
        "count": 8,
        "refused": 1,
        "altered": 1,
        "sees_values": 1,
        "sees_map": 1,
    }
)
"""A record that awaits its answer: fields of its header; whether it is refused because its session was closed when it
was opened, and whether it is refused because its tag was wrong, which ends its session; whether its client is told what
its keys held, and how many keys are live and events were late."""

HEADER_KEPT = ("session_index", "session", "turn", "lines", "count")

TEXT_BEAT = StructLayout({"data": BLOCK_BITS, "last": 1, "fault": 1})
"""A beat of an opened record, as :class:`rtl.crypto.gcm.GcmOpenEach` gives it."""


class RecordCommands(wiring.Component):
    """Unpacks opened records into commands, as :class:`omap.batch.CommandBatch` does.

    The beats of a record come when its tag was judged. With the first two the record is announced, each item becomes a
    command, and the rest is dropped. An item that the rights of its session do not allow becomes a NOP without key and
    value. A beat a cycle goes in; a command a cycle comes out if an item is one beat.

    A record with a wrong tag, or of a session that was closed before, gives no command. Its session is closed when its
    last beat has passed, and so is the session of a record with a CLOSE. An early record with a wrong tag closes
    nothing, and is not announced: it will come again.

    Parameters
    ----------
    params : Params
        The map.
    in_flight : int
        Commands that can be without a reply.

    Members
    -------
    i_text : In(stream.Signature(TEXT_BEAT))
        Opened records: header and text.
    o_command : Out(stream.Signature(command_layout(params)))
        Commands.
    o_context : Out(stream.Signature(CONTEXT))
        Records, each before its first command.
    o_denied : Out(stream.Signature(1))
        For each command, whether it is a NOP in the place of one that the rights do not allow.
    open_sessions : In(SESSIONS)
        Session indices at which a session is open.
    rights_index : Out(range(SESSIONS))
        Session index whose rights are looked up.
    rights : In(RIGHTS)
        What the session at the ``rights_index`` of the cycle before may do.
    early : In(1)
        The record that comes was read early, see :class:`rtl.rings.early_reads.EarlyReads`.
    judged, right : Out(1)
        If it was: its tag is known now; it is right.
    close : Out(1)
        The session at ``close_index`` is to be closed.
    close_index : Out(range(SESSIONS))
        See ``close``.

    Countermeasures
    ---------------
    SESSIONS.CLOSED.REFUSED
        A record that was on its way when its session was closed does not run.
    SESSIONS.RIGHTS.ENFORCED
        What a session may not do becomes a NOP.
    SESSIONS.TAMPER.ENDS
        Nothing of a record with a wrong tag runs, and its session is closed.
    SESSIONS.EARLY.FORGOTTEN
        An early record with a wrong tag closes nothing and is not announced.
    """

    def __init__(self, params: Params, *, in_flight: int) -> None:
        self.params = params
        self.in_flight = in_flight
        super().__init__(
            {
                "i_text": In(stream.Signature(TEXT_BEAT)),
                "o_command": Out(stream.Signature(command_layout(params))),
                "o_context": Out(stream.Signature(CONTEXT)),
                "o_denied": Out(stream.Signature(1)),
                "open_sessions": In(SESSIONS),
                "rights_index": Out(SESSION_INDEX),
                "rights": In(RIGHTS),
                "early": In(1),
                "judged": Out(1),
                "right": Out(1),
                "close": Out(1),
                "close_index": Out(SESSION_INDEX),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        item_beats = RecordCodec(self.params).item_bytes // BLOCK_BYTES
        m.submodules.commands = commands = Fifo(shape=command_layout(self.params), depth=2)
        m.submodules.denied = denied = Fifo(shape=1, depth=self.in_flight)
        connect(m, commands.o, flipped(self.o_command))
        connect(m, denied.o, flipped(self.o_denied))

        # A beat is looked at in the cycle after it came, an item together with its last beat.
        item = Signal(item_beats * BLOCK_BITS)  # the last beats that came, the newest at the top
        here, last, fault = Signal(), Signal(), Signal()
        first, second = Signal(init=1), Signal()  # which beat of its record is here
        blocked, moves = Signal(), Signal()
        m.d.comb += [moves.eq(here & ~blocked), self.i_text.ready.eq(~here | ~blocked)]
        with m.If(self.i_text.ready):
            m.d.sync += here.eq(self.i_text.valid)
        with m.If(self.i_text.valid & self.i_text.ready):
            m.d.sync += [
                item.eq(Cat(item, self.i_text.p.data)[BLOCK_BITS:]),
                last.eq(self.i_text.p.last),
                fault.eq(self.i_text.p.fault),
            ]
        with m.If(moves):
            m.d.sync += [first.eq(last), second.eq(first)]

        context = self._announce(m, item[-BLOCK_BITS:], here & first, here & second, fault)
        left = Signal(8)  # items that are still to come
        part = Signal(range(item_beats))  # beats that are here of the next one
        closes = Signal()
        whole, close = Signal(), Signal()
        m.d.comb += [
            whole.eq(~first & ~second & (left != 0) & (part == item_beats - 1)),
            blocked.eq(
                (second & ~self.o_context.ready & ~(self.early & fault))
                | (whole & ~(commands.i.ready & denied.i.ready))
            ),
            commands.i.valid.eq(moves & whole),
            denied.i.valid.eq(moves & whole),
            close.eq(closes | (whole & (read_kind(item) == CLOSE))),
            self.close.eq(moves & last & close),
            self.close_index.eq(context.session_index),
            self.judged.eq(self.early & moves & second),
            self.right.eq(~fault),
        ]
        self._decide(m, read_command(self.params, item), commands.i.p, denied.i.p)
        with m.If(moves & second):
            m.d.sync += [
                # SEC_CM: SESSIONS.TAMPER.ENDS -- nothing runs of a record with a wrong tag, nor of what is behind it
                left.eq(Mux(context.refused, 0, context.count)),
                closes.eq(context.altered),
                part.eq(0),
            ]
        with m.Elif(moves & (left != 0)):
            m.d.sync += [part.eq(Mux(whole, 0, part + 1)), left.eq(left - whole), closes.eq(close)]
        return m

    def _announce(self, m: Module, beat: Value, opens: Value, second: Value, fault: Value) -> View:
        """Keep the header that is here if the record ``opens``, and hand it on with its second beat; return it."""
        header, context = read_header(beat), self.o_context.p
        kept = Signal(StructLayout({name: CONTEXT[name].shape for name in HEADER_KEPT}))
        running = Signal()
        with m.If(opens):
            m.d.sync += [
                kept.session_index.eq(header.session_index),
                kept.turn.eq(header.sequence),
                *(kept[name].eq(header[name]) for name in ("session", "lines", "count")),
            ]
        m.d.comb += [
            # looked up with the first beat, and there with the second
            self.rights_index.eq(Mux(opens, header.session_index, kept.session_index)),
            # SEC_CM: SESSIONS.CLOSED.REFUSED -- the session's last record may have been opened since this one came
            running.eq(self.open_sessions.bit_select(kept.session_index, 1)),
            self.o_context.valid.eq(second & ~(self.early & fault)),
            *(context[name].eq(kept[name]) for name in HEADER_KEPT),
            context.refused.eq(~running | fault),
            # SEC_CM: SESSIONS.EARLY.FORGOTTEN -- its bytes may have been on their way into memory
            context.altered.eq(running & fault & ~self.early),
            context.sees_values.eq(self.rights.read),
            context.sees_map.eq(self.rights.read & (self.rights.prefix_bytes == 0)),
        ]
        return context

    def _decide(self, m: Module, given: dict[str, Value], command: View, denied: Signal) -> None:
        """Make a command of what was given, or a NOP if the session may not give it."""
        rights, is_get = self.rights, given["kind"] == Kind.GET
        own = Cat(
            (at >= rights.prefix_bytes) | (given["key"].word_select(at, 8) == rights.prefix.word_select(at, 8))
            for at in range(min(MOST_PREFIX_BYTES, self.params.key_bytes))
        )
        idle = Signal()
        m.d.comb += [
            # SEC_CM: SESSIONS.RIGHTS.ENFORCED -- after the tag, whatever the client's software does
            denied.eq((given["kind"] != Kind.NOP) & ~(Mux(is_get, rights.read, rights.write) & own.all())),
            idle.eq(denied | (given["kind"] == Kind.NOP)),
            *(command[name].eq(Mux(idle, 0, value)) for name, value in given.items()),
        ]
