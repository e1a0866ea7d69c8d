# amaranth: UnusedElaboratable=no
"""The device's end of all sessions: records in, commands out; replies in, records out."""

from __future__ import annotations

from typing import NamedTuple

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.fresh import DEVICE_ID_BYTES
from omap.lineage import NO_ANCESTOR
from omap.params import Params
from omap.wire import HEADER, SESSIONS
from rtl.constants import BLOCK_BITS
from rtl.crypto.gcm import GcmOpenEach, GcmSeal
from rtl.rings.durable_keys import DurableKeys
from rtl.rings.fresh import Fresh
from rtl.rings.handshake import KEY_BITS, RootKey
from rtl.rings.journal_back import JournalBack
from rtl.rings.lineage import Lineage
from rtl.rings.record import (
    RECORD_BEAT,
    RIGHTS,
    SOURCE_FIELD_BYTES,
    command_layout,
    reply_layout,
    sealed_bytes,
)
from rtl.rings.record_back import RecordBack
from rtl.rings.record_commands import CONTEXT, TEXT_BEAT, RecordCommands
from rtl.rings.record_front import RecordFront
from rtl.rings.restore import Restore
from rtl.stream.interfaces import page_beat, require_whole
from rtl.stream.ways import choose, route, split

MOST_BEFORE = 48
"""Records that may have passed the check of their header beyond those whose commands run: more than hide the opener."""


class Parts(NamedTuple):
    """What opens records, runs them and seals their answers."""

    front: RecordFront
    opener: GcmOpenEach
    commands: RecordCommands
    back: RecordBack
    sealer: GcmSeal


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
    early : In(1)
        The record that comes was read early, and may be old or torn (:class:`rtl.rings.early_reads.EarlyReads`). No
        other is under way. High until ``sure`` or ``again``.
    sure, again : Out(1)
        An early record is right, and will be answered; or it is not, and no trace of it is left.
    o_command : Out(stream.Signature(command_layout(params)))
        Commands.
    i_reply : In(stream.Signature(reply_layout(params)))
        A reply to each, in order.
    o_record : Out(stream.Signature(page_beat(1)))
        Response records, one for each that came in.
    o_journal : Out(stream.Signature(page_beat(1)))
        Records of the journal, if there is one; each for commands before the last beat of their response.
    begin, begun, room, fits : In(1), Out(1), In(1), In(1)
        If there is a journal: it begins, and has begun; what there is room for in its ring. See
        :class:`rtl.rings.journal_back.JournalBack`.
    export, exported : In(1), Out(1)
        If there is a journal: for a cycle, while the block is idle and its journal has begun: a snapshot begins. It has
        left. No record is taken in between.
    i_slot : In(stream.Signature(command_layout(params)))
        If there is a journal: all slots of the map for a snapshot, and NOPs with zeros that fill its last chunk.
    restore : In(1)
        If there is a journal: the map was formatted for a restore, whose records come, see
        :class:`rtl.rings.restore.Restore`. It changes while the block is idle: it rises with ``clear``, and falls when
        END is answered, or with the next ``clear``.
    restored : Out(1)
        END was taken, and the map goes on where the one goes on that was restored. The answer to END leaves when the
        journal has begun. Stays until ``clear``.
    failed : Out(1)
        A record of a restore was refused for good, as all after it will be. Stays until ``clear``.
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
        self._opener = GcmOpenEach(
            sealed_bytes=sealed_bytes(params, more=journal),
            header_bytes=HEADER.size,
            more_header_bytes=SOURCE_FIELD_BYTES if journal else 0,
            keys=SESSIONS,
            lengths=True,
        )
        self._sealer = GcmSeal(sealed_bytes=sealed_bytes(params), header_bytes=HEADER.size, keys=SESSIONS, lengths=True)
        ports = {
            "o_journal": Out(stream.Signature(page_beat(1))),
            "begin": In(1),
            "begun": Out(1),
            "room": In(1),
            "fits": In(1),
            "export": In(1),
            "exported": Out(1),
            "i_slot": In(stream.Signature(command_layout(params))),
            "restore": In(1),
            "restored": Out(1),
            "failed": Out(1),
        }
        super().__init__(
            {
                "i_root_key": In(stream.Signature(KEY_BITS)),
                "device_id": In(8 * DEVICE_ID_BYTES),
                "i_noise": In(stream.Signature(BLOCK_BITS)),
                "o_secrets": Out(stream.Signature(BLOCK_BITS)),
                "map_id": In(BLOCK_BITS),
                "open_": In(1),
                "i_record": In(stream.Signature(RECORD_BEAT)),
                "early": In(1),
                "sure": Out(1),
                "again": Out(1),
                "o_command": Out(stream.Signature(command_layout(params))),
                "i_reply": In(stream.Signature(reply_layout(params))),
                "o_record": Out(stream.Signature(page_beat(1))),
                "clear": In(1),
                "erase": In(1),
                "idle": Out(1),
            }
            | (ports if journal else {})
        )

    @property
    def latency(self) -> int:
        """Cycles from the last reply to a record to the first beat of its answer, if no other is under way."""
        return self._sealer.latency + 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.root = root = RootKey()
        connect(m, flipped(self.i_root_key), root.i_root_key)
        m.submodules.fresh = fresh = Fresh(exports=self.journal)
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
        connect(m, back.o_record, flipped(self.o_record))
        connect(m, front.o_response_key, sealer.i_key)
        connect(m, back.o_request, sealer.i_request)
        connect(m, back.o_text, sealer.i_text)
        m.d.comb += [
            front.root_key.eq(root.root_key),
            front.present.eq(root.present),
            front.map_id.eq(self.map_id),
            front.answered.eq(back.answered),
            front.close_index.eq(commands.close_index),
            front.rights_index.eq(commands.rights_index),
            front.early.eq(self.early),
            commands.early.eq(self.early),
            opener.lenient.eq(self.early),
            front.judged.eq(commands.judged),
            front.right.eq(commands.right),
            self.sure.eq(front.sure),
            sealer.forget.eq(front.forget | back.forget),
        ]
        if self.journal:
            parts = Parts(front, opener, commands, back, sealer)
            m.submodules.journal = journal = JournalBack(self.params, in_flight=self.in_flight)
            self._elaborate_journal(m, parts, journal, *self._elaborate_restore(m, root, parts, journal))
            self._elaborate_export(m, root, fresh, journal)
            return m
        for source, sink in (
            (flipped(self.i_record), front.i_record),
            (front.o_command_key, opener.i_key),
            (front.o_request, opener.i_request),
            (front.o_sealed, opener.i_sealed),
            (front.o_answer, back.i_answer),
            (opener.o_text, commands.i_text),
            (flipped(self.i_reply), back.i_reply),
            (commands.o_command, flipped(self.o_command)),
            (commands.o_context, back.i_context),
            (commands.o_denied, back.i_denied),
            (sealer.o_sealed, back.i_sealed),
        ):
            connect(m, source, sink)
        m.d.comb += [
            self.again.eq(front.again),
            front.kept.eq(NO_ANCESTOR),  # this device restores no map, so that its maps have no ancestors
            front.open_.eq(self.open_ & ~root.dead),
            front.close.eq(commands.close),
            commands.rights.eq(front.rights),
            commands.open_sessions.eq(front.open_sessions),
            self.idle.eq(front.idle),
            opener.forget.eq(front.forget),
        ]
        return m

    def _elaborate_restore(
        self, m: Module, root: RootKey, parts: Parts, journal: JournalBack
    ) -> tuple[stream.Interface, stream.Interface]:
        """Have a restore in the place of the front while there is one; return contexts and replies of sessions."""
        front, opener, commands, back = parts.front, parts.opener, parts.commands, parts.back
        m.submodules.restore = restore = Restore(
            self.params, in_flight=self.in_flight, most=self.in_flight + MOST_BEFORE
        )
        m.submodules.lineage = lineage = Lineage()
        m.submodules.keys = keys = DurableKeys()
        connect(m, restore.o_ancestor, lineage.i_ancestor)
        request, text, context, reply, numbered = (
            stream.Signature(shape).create()
            for shape in (
                restore.o_request.p.shape(),
                TEXT_BEAT,
                CONTEXT,
                *(2 * [reply_layout(self.params)]),
            )
        )
        restores = self.restore
        needs_keys = restores & ~restore.restored  # then the journal does, while END still awaits its answer
        choose(m, needs_keys, journal.o_derive, restore.o_derive, keys.i)
        route(m, needs_keys, keys.o, journal.i_key, restore.i_derived)
        record = stream.Signature(RECORD_BEAT).create()
        route(m, restores, record, front.i_record, restore.i_record)
        choose(m, restores, front.o_command_key, restore.o_key, opener.i_key)
        choose(m, restores, request, restore.o_request, opener.i_request)
        choose(m, restores, front.o_sealed, restore.o_sealed, opener.i_sealed)
        route(m, restores, opener.o_text, text, restore.i_text)
        choose(m, restores, text, restore.o_text, commands.i_text)
        route(m, restores, commands.o_context, context, restore.i_context)
        route(m, restores, numbered, reply, restore.i_reply)
        choose(m, restores, front.o_answer, restore.o_answer, back.i_answer)

        ran, ahead = Signal(64), Signal(64)  # operations of this map, and by how much clients count more
        m.d.sync += ran.eq(ran + (numbered.valid & numbered.ready))
        with m.If(restore.end):
            m.d.sync += ahead.eq(restore.operation - ran)
        drops = restores & self.early  # it was read before the restore began, and is none of its records
        m.d.comb += [
            record.valid.eq(self.i_record.valid & ~drops),
            record.p.eq(self.i_record.p),
            self.i_record.ready.eq(record.ready | drops),
            self.again.eq(front.again | (drops & self.i_record.valid & self.i_record.p.last)),
            numbered.valid.eq(self.i_reply.valid),
            self.i_reply.ready.eq(numbered.ready),
            numbered.p.eq(self.i_reply.p),
            numbered.p.operation.eq(self.i_reply.p.operation + ahead),
            request.valid.eq(front.o_request.valid),
            front.o_request.ready.eq(request.ready),
            *(request.p[name].eq(front.o_request.p[name]) for name, _ in front.o_request.p.shape()),
            keys.root_key.eq(root.root_key),
            keys.erase.eq(self.erase | self.clear),
            lineage.reset.eq(restore.start),
            lineage.child.eq(restore.end),
            lineage.map_id.eq(restore.map_id),
            lineage.operation.eq(restore.operation),
            lineage.known.eq(front.known),
            lineage.index.eq(journal.index),
            journal.count.eq(lineage.count),
            journal.ancestor.eq(lineage.ancestor),
            journal.operation.eq(ran + ahead),
            front.kept.eq(lineage.kept),
            front.open_.eq(self.open_ & ~root.dead & ~restores),
            front.close.eq(commands.close & ~restores),
            restore.open_.eq(self.open_ & ~root.dead & restores),
            restore.begun.eq(self.begun),
            commands.rights.eq(Mux(restores, RIGHTS.const({"read": 1, "write": 1}), front.rights)),
            commands.open_sessions.eq(Mux(restores, restore.runs.replicate(SESSIONS), front.open_sessions)),
            back.i_denied.p.eq(commands.o_denied.p),
            back.i_denied.valid.eq(commands.o_denied.valid & ~restores),
            commands.o_denied.ready.eq(Mux(restores, numbered.valid & numbered.ready, back.i_denied.ready)),
            self.idle.eq(front.idle & restore.idle),
            opener.forget.eq(front.forget | restore.forget),
            self.restored.eq(restore.restored),
            self.failed.eq(restore.failed),
        ]
        return context, reply

    # Many: the journal stands beside all parts that records pass on their way back.
    def _elaborate_journal(
        self, m: Module, parts: Parts, journal: JournalBack, context: stream.Interface, reply: stream.Interface
    ) -> None:
        """Give records, commands and replies to the journal, too, and hold responses back until it has theirs."""
        back, sealed = parts.back, parts.sealer.o_sealed
        split(m, reply, back.i_reply, journal.i_reply)
        split(m, parts.commands.o_command, flipped(self.o_command), journal.i_command, alone=self.restore)
        split(m, context, back.i_context, journal.i_context)
        ahead = Signal(range(self.in_flight + MOST_BEFORE))  # records that the journal has and no response has left for
        passes, gone = Signal(), Signal()
        m.d.comb += [
            # SEC_CM: JOURNALS.BEFORE.RESPONSE -- no client learns of an operation that no journal holds
            passes.eq(~sealed.p.last | (ahead != 0)),
            back.i_sealed.p.eq(sealed.p),
            back.i_sealed.valid.eq(sealed.valid & passes),
            sealed.ready.eq(back.i_sealed.ready & passes),
            gone.eq(sealed.valid & sealed.ready & sealed.p.last),
        ]
        m.d.sync += ahead.eq(ahead + journal.journalled - gone)

    def _elaborate_export(self, m: Module, root: RootKey, fresh: Fresh, journal: JournalBack) -> None:
        """Have the journal begin, and a snapshot written, when they are asked for."""
        connect(m, journal.o_record, flipped(self.o_journal))
        connect(m, fresh.o_export_id, journal.i_export_id)
        connect(m, flipped(self.i_slot), journal.i_slot)
        m.d.comb += [
            fresh.export.eq(self.export),
            journal.map_id.eq(self.map_id),
            journal.begin.eq(self.begin & root.present),  # never under the zeros that an erasure leaves
            journal.room.eq(self.room),
            journal.fits.eq(self.fits),
            journal.export.eq(self.export),
            self.begun.eq(journal.begun),
            self.exported.eq(journal.exported),
        ]
