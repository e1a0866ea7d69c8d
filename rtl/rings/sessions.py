# amaranth: UnusedElaboratable=no
"""The device's end of all sessions: records in, commands out; replies in, records out."""

from __future__ import annotations

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.fresh import DEVICE_ID_BYTES
from omap.lineage import NO_ANCESTOR
from omap.params import Params
from omap.wire import HEADER, LINE_BYTES, SESSIONS, RecordCodec
from rtl.constants import BLOCK_BITS
from rtl.crypto.gcm import GcmOpenEach, GcmSeal
from rtl.rings.fresh import Fresh
from rtl.rings.handshake import KEY_BITS, RootKey
from rtl.rings.journal_back import JournalBack
from rtl.rings.record import RECORD_BEAT, command_layout, reply_layout
from rtl.rings.record_back import RecordBack
from rtl.rings.record_commands import RecordCommands
from rtl.rings.record_front import RecordFront
from rtl.stream.interfaces import page_beat, require_whole

MOST_BEFORE = 48
"""Records that may have passed the check of their header beyond those whose commands run: more than hide the opener."""


class Sessions(wiring.Component):
    """Opens records and seals replies as :class:`omap.sessions.DeviceSessions` does, and answers handshakes.

    Every record that comes in is answered by one record, in order. A record that comes for an open session in its turn
    is opened while records before it still run. Any other record waits until all records before it are answered.
    Commands run in the order of their records; what a session may not do runs as a NOP. A record is answered when the
    last of its commands has its reply.

    A record that does not authenticate ends its session. It and the records of this session that are under way behind
    it are refused in their order, and those of other sessions are opened as if nothing had happened.

    Parameters
    ----------
    params : Params
        The map.
    in_flight : int
        Commands that can be without a reply, at least 1.
    journal : bool
        Write a journal, see :class:`rtl.rings.journal_back.JournalBack`.

    Members
    -------
    i_root_key : In(stream.Signature(256))
        See :class:`rtl.rings.handshake.RootKey`.
    device_id : In(96)
        The device's id, constant; byte 0 in the lowest bits.
    i_noise : In(stream.Signature(128))
        Noise, two words for each fresh value.
    o_secrets : Out(stream.Signature(128))
        Secrets of a format, after each ``clear``: see :class:`rtl.rings.fresh.Fresh`.
    map_id : In(128)
        Id of the map, constant while ``open_``.
    open_ : In(1)
        Records are taken. One that has begun when it falls is taken to its end.
    i_record : In(stream.Signature(RECORD_BEAT))
        Command records, of as many lines as :meth:`omap.wire.RecordCodec.command_lines` says.
    o_command : Out(stream.Signature(command_layout(params)))
        Commands.
    i_reply : In(stream.Signature(reply_layout(params)))
        A reply to each, in order.
    o_record : Out(stream.Signature(page_beat(1)))
        Response records, one for each that came in.
    o_journal : Out(stream.Signature(page_beat(1)))
        Records of the journal, if there is one; each for commands before the last beat of their response.
    begin, begun : In(1), Out(1)
        If there is a journal: the map is formatted and the journal's ring has room, so that it begins; it has begun.
    clear : In(1)
        A format begins: ends all sessions, and makes the secrets of the new map. For a block that is idle, and whose
        ``o_secrets`` were taken.
    erase : In(1)
        Clears all keys and all that is under way, for good.
    idle : Out(1)
        Nothing is under way, and nothing will come out.

    Countermeasures
    ---------------
    SESSIONS.KEY.ERASE
        ``erase`` clears all keys; after it no record is taken.
    SESSIONS.FORMAT.ENDS
        ``clear`` ends all sessions and clears their keys.
    SESSIONS.TIME.CONST
        Times depend on handshakes and on headers alone.
    JOURNALS.BEFORE.RESPONSE
        No response leaves before the journal has the record of its commands.
    """

    def __init__(self, params: Params, *, in_flight: int = 64, journal: bool = False) -> None:
        require_whole("in_flight", in_flight, 1, 1 << 16)
        self.params = params
        self.in_flight = in_flight
        self.journal = journal
        sealed_bytes = RecordCodec(params).most_lines * LINE_BYTES
        self._opener = GcmOpenEach(sealed_bytes=sealed_bytes, header_bytes=HEADER.size, keys=SESSIONS, lengths=True)
        self._sealer = GcmSeal(sealed_bytes=sealed_bytes, header_bytes=HEADER.size, keys=SESSIONS, lengths=True)
        super().__init__(
            {
                "i_root_key": In(stream.Signature(KEY_BITS)),
                "device_id": In(8 * DEVICE_ID_BYTES),
                "i_noise": In(stream.Signature(BLOCK_BITS)),
                "o_secrets": Out(stream.Signature(BLOCK_BITS)),
                "map_id": In(BLOCK_BITS),
                "open_": In(1),
                "i_record": In(stream.Signature(RECORD_BEAT)),
                "o_command": Out(stream.Signature(command_layout(params))),
                "i_reply": In(stream.Signature(reply_layout(params))),
                "o_record": Out(stream.Signature(page_beat(1))),
                "clear": In(1),
                "erase": In(1),
                "idle": Out(1),
            }
            | ({"o_journal": Out(stream.Signature(page_beat(1))), "begin": In(1), "begun": Out(1)} if journal else {})
        )

    @property
    def latency(self) -> int:
        """Cycles from the last reply to a record to the first beat of its answer, if no other is under way."""
        return self._sealer.latency + 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.root = root = RootKey()
        connect(m, flipped(self.i_root_key), root.i_root_key)
        m.submodules.fresh = fresh = Fresh()
        connect(m, flipped(self.i_noise), fresh.i_noise)
        connect(m, fresh.o_secrets, flipped(self.o_secrets))
        m.d.comb += [
            root.erase.eq(self.erase),
            fresh.erase.eq(self.erase),
            fresh.root_key.eq(root.root_key),
            fresh.present.eq(root.present),
            fresh.device_id.eq(self.device_id),
            fresh.format.eq(self.clear),
        ]
        # SEC_CM: SESSIONS.KEY.ERASE -- all registers and tables of keys
        # SEC_CM: SESSIONS.FORMAT.ENDS -- whoever held a session learns that the map is another one
        m.submodules.inner = ResetInserter(self.erase | self.clear)(self._elaborate_sessions(root, fresh))
        return m

    def _elaborate_sessions(self, root: RootKey, fresh: Fresh) -> Module:
        m = Module()
        m.submodules.front = front = RecordFront(self.params, most=self.in_flight + MOST_BEFORE)
        m.submodules.opener = opener = self._opener
        m.submodules.commands = commands = RecordCommands(self.params, in_flight=self.in_flight)
        m.submodules.back = back = RecordBack(self.params, in_flight=self.in_flight)
        m.submodules.sealer = sealer = self._sealer
        connect(m, fresh.o_nonce, front.i_nonce)
        connect(m, flipped(self.i_record), front.i_record)
        connect(m, back.o_record, flipped(self.o_record))
        connect(m, front.o_command_key, opener.i_key)
        connect(m, front.o_response_key, sealer.i_key)
        connect(m, front.o_request, opener.i_request)
        connect(m, front.o_sealed, opener.i_sealed)
        connect(m, front.o_answer, back.i_answer)
        connect(m, opener.o_text, commands.i_text)
        if self.journal:
            self._elaborate_journal(m, root, commands, back, sealer)
        else:
            connect(m, flipped(self.i_reply), back.i_reply)
            connect(m, commands.o_command, flipped(self.o_command))
            connect(m, commands.o_context, back.i_context)
            connect(m, sealer.o_sealed, back.i_sealed)
        connect(m, commands.o_denied, back.i_denied)
        connect(m, back.o_request, sealer.i_request)
        connect(m, back.o_text, sealer.i_text)
        m.d.comb += [
            front.root_key.eq(root.root_key),
            front.present.eq(root.present),
            front.map_id.eq(self.map_id),
            front.kept.eq(NO_ANCESTOR),  # this device restores no map, so that its maps have no ancestors
            front.open_.eq(self.open_ & ~root.dead),
            front.answered.eq(back.answered),
            front.close.eq(commands.close),
            front.close_index.eq(commands.close_index),
            front.rights_index.eq(commands.rights_index),
            commands.rights.eq(front.rights),
            commands.open_sessions.eq(front.open_sessions),
            self.idle.eq(front.idle),
            opener.forget.eq(front.forget),
            sealer.forget.eq(front.forget | back.forget),
        ]
        return m

    # Many: the journal stands beside all parts that records pass on their way back.
    def _elaborate_journal(
        self, m: Module, root: RootKey, commands: RecordCommands, back: RecordBack, sealer: GcmSeal
    ) -> None:
        """Give records, commands and replies to the journal, too, and hold responses back until it has theirs."""
        m.submodules.journal = journal = JournalBack(self.params, in_flight=self.in_flight)
        connect(m, journal.o_record, flipped(self.o_journal))
        m.d.comb += [
            journal.root_key.eq(root.root_key),
            journal.map_id.eq(self.map_id),
            journal.begin.eq(self.begin & root.present),  # never under the zeros that an erasure leaves
            self.begun.eq(journal.begun),
        ]
        for source, *sinks in (
            (flipped(self.i_reply), back.i_reply, journal.i_reply),
            (commands.o_command, flipped(self.o_command), journal.i_command),
            (commands.o_context, back.i_context, journal.i_context),
        ):
            split(m, source, *sinks)
        ahead = Signal(range(self.in_flight + MOST_BEFORE))  # records that the journal has and no response has left for
        sealed, passes, gone = sealer.o_sealed, Signal(), Signal()
        m.d.comb += [
            # SEC_CM: JOURNALS.BEFORE.RESPONSE -- no client learns of an operation that no journal holds
            passes.eq(~sealed.p.last | (ahead != 0)),
            back.i_sealed.p.eq(sealed.p),
            back.i_sealed.valid.eq(sealed.valid & passes),
            sealed.ready.eq(back.i_sealed.ready & passes),
            gone.eq(sealed.valid & sealed.ready & sealed.p.last),
        ]
        m.d.sync += ahead.eq(ahead + journal.journalled - gone)


def split(m: Module, source: stream.Interface, first: stream.Interface, second: stream.Interface) -> None:
    """Give what a stream carries to two others, each item to both at once."""
    m.d.comb += [
        source.ready.eq(first.ready & second.ready),
        first.valid.eq(source.valid & second.ready),
        second.valid.eq(source.valid & first.ready),
        first.p.eq(source.p),
        second.p.eq(source.p),
    ]
