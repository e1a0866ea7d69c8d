# amaranth: UnusedElaboratable=no
"""What seals the records of a journal and of a snapshot."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.params import Params
from omap.wire import HEADER
from rtl.constants import BLOCK_BITS
from rtl.crypto.gcm import GcmSeal
from rtl.crypto.kdf import KEY_BITS
from rtl.rings.record import (
    LINE_BEATS,
    NUMBER_BITS,
    SOURCE_FIELD_BEATS,
    SOURCE_FIELD_BYTES,
    journal_nonce,
    sealed_bytes,
)
from rtl.stream.interfaces import page_beat

DURABLE_KEY = StructLayout({"snapshot": 1, "key": KEY_BITS})
"""The key of a snapshot, or of a journal."""

DURABLE_RECORD = StructLayout({"snapshot": 1, "type": 8, "number": NUMBER_BITS, "lines": 8})
"""What announces a record: whether it is of a snapshot or of a journal, its type, its number and its lines."""


class JournalSealer(wiring.Component):
    """Seals records as :mod:`omap.journal` and :mod:`omap.snapshot` say.

    The additional data of a record of a snapshot are its header and the fields of SOURCE. These pass the cipher behind
    the header, and go no further.

    Parameters
    ----------
    params : Params
        The map.

    Members
    -------
    i_key : In(stream.Signature(DURABLE_KEY))
        A key, while no record is under way. ``ready`` returns when it can be used.
    fields : In(896)
        The fields of SOURCE, still while a record of a snapshot is under way.
    i_request : In(stream.Signature(DURABLE_RECORD))
        Announces a record. One of a snapshot comes alone.
    i_text : In(stream.Signature(128))
        Its header and its text.
    o_record : Out(stream.Signature(page_beat(1)))
        The record.

    Countermeasures
    ---------------
    JOURNALS.NONCE.UNIQUE
        Type and number of a record make its nonce.
    SNAPSHOTS.SOURCE.BOUND
        A record of a snapshot is sealed with all that its SOURCE says.
    """

    def __init__(self, params: Params) -> None:
        self._gcm = GcmSeal(
            sealed_bytes=sealed_bytes(params, more=True),
            header_bytes=HEADER.size,
            more_header_bytes=SOURCE_FIELD_BYTES,
            keys=2,
            lengths=True,
        )
        super().__init__(
            {
                "i_key": In(stream.Signature(DURABLE_KEY)),
                "fields": In(8 * SOURCE_FIELD_BYTES),
                "i_request": In(stream.Signature(DURABLE_RECORD)),
                "i_text": In(stream.Signature(BLOCK_BITS)),
                "o_record": Out(stream.Signature(page_beat(1))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.gcm = gcm = self._gcm
        which, asked = self.i_request.p, Signal()
        m.d.comb += [
            gcm.i_key.valid.eq(self.i_key.valid),
            gcm.i_key.p.key_index.eq(self.i_key.p.snapshot),
            gcm.i_key.p.key.eq(self.i_key.p.key),
            self.i_key.ready.eq(gcm.i_key.ready),
            gcm.i_request.valid.eq(self.i_request.valid),
            gcm.i_request.p.key_index.eq(which.snapshot),
            # SEC_CM: JOURNALS.NONCE.UNIQUE -- type and number are in every nonce, so none repeats under one key
            gcm.i_request.p.nonce.eq(journal_nonce(which.type, which.number)),
            gcm.i_request.p.beats.eq(which.lines * LINE_BEATS + Mux(which.snapshot, SOURCE_FIELD_BEATS, 0)),
            # SEC_CM: SNAPSHOTS.SOURCE.BOUND -- nobody can put another number or id in the place of the right one
            gcm.i_request.p.more.eq(which.snapshot),
            self.i_request.ready.eq(gcm.i_request.ready),
            asked.eq(self.i_request.valid & self.i_request.ready & which.snapshot),
        ]

        # How many of these beats are still to go in, and to be left out; all that is not one of them passes.
        moved_in, moved_out = (gcm.i_text.valid & gcm.i_text.ready, gcm.o_sealed.valid & gcm.o_sealed.ready)
        to_add, to_drop = self._behind_header(m, asked, moved_in), self._behind_header(m, asked, moved_out)
        adds, drops = to_add != 0, to_drop != 0
        field = self.fields.word_select((SOURCE_FIELD_BEATS - to_add)[: len(to_add)], BLOCK_BITS)
        m.d.comb += [
            gcm.i_text.valid.eq(adds | self.i_text.valid),
            gcm.i_text.p.eq(Mux(adds, field, self.i_text.p)),
            self.i_text.ready.eq(gcm.i_text.ready & ~adds),
            self.o_record.valid.eq(gcm.o_sealed.valid & ~drops),
            self.o_record.p.eq(gcm.o_sealed.p),
            gcm.o_sealed.ready.eq(self.o_record.ready | drops),
        ]
        return m

    def _behind_header(self, m: Module, asked: Signal, moved: Signal) -> Signal:
        """Return how many fields are still to come here, counted when the first beat after ``asked`` has moved."""
        due, fields = Signal(), Signal(range(SOURCE_FIELD_BEATS + 1))
        with m.If(asked):
            m.d.sync += due.eq(1)
        with m.Elif(moved & due):
            m.d.sync += [due.eq(0), fields.eq(SOURCE_FIELD_BEATS)]
        with m.Elif(moved & (fields != 0)):
            m.d.sync += fields.eq(fields - 1)
        return fields
