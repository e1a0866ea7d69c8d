# amaranth: UnusedElaboratable=no
"""Fresh values: secrets of formats, nonces of handshakes, ids of snapshots; derived under the root key from noise."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from omap.fresh import COUNTER_BYTES, DEVICE_ID_BYTES, NOISE_BYTES
from omap.kdf import EXPORT, FORMAT, NONCE
from rtl.constants import BLOCK_BITS, BLOCK_BYTES
from rtl.crypto.kdf import KEY_BITS, Kdf, fixed_input
from rtl.stream.interfaces import swap_bytes

SECRETS_WORDS = FORMAT.length // BLOCK_BYTES
"""128-bit words of the secrets of a format."""

NOISE_WORDS = NOISE_BYTES // BLOCK_BYTES
"""128-bit words of noise that go into each value."""

assert FORMAT.fixed_bytes == NONCE.fixed_bytes == EXPORT.fixed_bytes, "one KDF derives all fresh values"
assert NONCE.length == EXPORT.length == BLOCK_BYTES, "a nonce is one word, and so is the id of a snapshot"


class Fresh(wiring.Component):
    """Makes fresh values. Must equal :class:`omap.fresh.Fresh`, in the same order.

    A nonce is made ahead, so that a handshake finds one. The noise of the next value is gathered ahead as well.

    Parameters
    ----------
    exports : bool
        Make ids of snapshots, too.

    Members
    -------
    root_key : In(256)
        Root key.
    present : In(1)
        There is one. Nothing is taken or derived before.
    device_id : In(96)
        The device's id, constant while ``present``; byte 0 in the lowest bits.
    i_noise : In(stream.Signature(128))
        Noise, two words for each value.
    format : In(1)
        A format begins: its secrets are derived, and offered. Not again before they are taken.
    o_secrets : Out(stream.Signature(128))
        Words of the secrets of a format, in the order of :data:`omap.kdf.FORMAT`; zero while none is on offer.
    export : In(1)
        With ``exports``: a snapshot begins: its id is derived, and offered. Not again before it is taken, and not while
        a format waits for its secrets.
    o_export_id : Out(stream.Signature(128))
        With ``exports``: the id of a snapshot; zero while none is on offer.
    o_nonce : Out(stream.Signature(128))
        Nonces; zero while none is on offer.
    erase : In(1)
        Clears all of it.

    Countermeasures
    ---------------
    FRESH.VALUE.KEYED
        What is handed out is derived under the root key; no noise is handed out as it comes.
    FRESH.VALUE.UNIQUE
        Device id and counter are in every value.
    FRESH.SECRET.ERASE
        ``erase`` clears noise, keys and values; secrets that were taken are cleared as well.
    FRESH.SECRET.UNREADABLE
        All outputs are zero unless they offer a value.
    FRESH.TIME.CONST
        A value takes as long whatever noise and keys are.
    """

    def __init__(self, *, exports: bool = False) -> None:
        self.exports = exports
        super().__init__(
            ({"export": In(1), "o_export_id": Out(stream.Signature(BLOCK_BITS))} if exports else {})
            | {
                "root_key": In(KEY_BITS),
                "present": In(1),
                "device_id": In(8 * DEVICE_ID_BYTES),
                "i_noise": In(stream.Signature(BLOCK_BITS)),
                "format": In(1),
                "o_secrets": Out(stream.Signature(BLOCK_BITS)),
                "o_nonce": Out(stream.Signature(BLOCK_BITS)),
                "erase": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.kdf = kdf = Kdf(fixed_bytes=FORMAT.fixed_bytes, output_bytes=FORMAT.length)
        noise, gathered = Signal(8 * NOISE_BYTES), Signal(range(NOISE_WORDS + 1))
        counter = Signal(8 * COUNTER_BYTES)
        due = Signal()  # a format waits for its secrets
        secret = Signal()  # what is being derived are these
        word = Signal(range(SECRETS_WORDS))

        # SEC_CM: FRESH.VALUE.UNIQUE -- id and counter differ where the noise does not
        context = self.device_id, noise, swap_bytes(counter)
        whole = gathered == NOISE_WORDS
        wanted: Value = due
        fixed = Mux(secret, fixed_input(FORMAT, *context), fixed_input(NONCE, *context))
        if self.exports:
            export_due = Signal()  # a snapshot waits for its id
            export_id = Signal()  # what is being derived is that
            wanted, fixed = due | export_due, Mux(export_id, fixed_input(EXPORT, *context), fixed)
            with m.If(self.export):
                m.d.sync += export_due.eq(1)
        m.d.comb += [
            self.i_noise.ready.eq(self.present & ~whole & ~self.erase),
            # SEC_CM: FRESH.VALUE.KEYED -- whoever knows the noise still needs the root key
            kdf.i.p.key.eq(self.root_key),
            kdf.i.p.fixed.eq(fixed),
        ]
        with m.If(self.i_noise.valid & self.i_noise.ready):
            m.d.sync += [noise.word_select(gathered[0], BLOCK_BITS).eq(self.i_noise.p), gathered.eq(gathered + 1)]
        with m.If(self.format):
            m.d.sync += due.eq(1)
        with m.If(self.o_nonce.ready):
            m.d.sync += [self.o_nonce.valid.eq(0), self.o_nonce.p.eq(0)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += secret.eq(self.o_nonce.valid)
                if self.exports:
                    m.d.sync += export_id.eq(self.o_nonce.valid & export_due)
                with m.If(self.present & whole & (~self.o_nonce.valid | wanted)):
                    m.next = "DERIVE"
            with m.State("DERIVE"):
                m.d.comb += kdf.i.valid.eq(1)
                with m.If(kdf.i.ready):
                    m.d.sync += [noise.eq(0), gathered.eq(0), counter.eq(counter + 1)]
                    m.next = "GIVE"
                    if self.exports:
                        with m.If(export_id):
                            m.next = "EXPORT"
            with m.State("GIVE"):
                # SEC_CM: FRESH.TIME.CONST -- a nonce takes as long as secrets, and either takes as long as any other
                with m.If(~secret):
                    m.d.comb += kdf.o.ready.eq(1)
                    with m.If(kdf.o.valid):
                        m.d.sync += [self.o_nonce.valid.eq(1), self.o_nonce.p.eq(kdf.o.p[:BLOCK_BITS])]
                        m.next = "IDLE"
                with m.Else():
                    m.d.comb += [
                        self.o_secrets.valid.eq(kdf.o.valid),
                        # SEC_CM: FRESH.SECRET.UNREADABLE -- nothing of a nonce's derivation, or of a part of secrets
                        self.o_secrets.p.eq(kdf.o.p.word_select(word, BLOCK_BITS)),
                    ]
                    with m.If(self.o_secrets.valid & self.o_secrets.ready):
                        m.d.sync += word.eq(word + 1)
                        with m.If(word == SECRETS_WORDS - 1):
                            m.d.comb += kdf.o.ready.eq(1)
                            m.d.sync += [word.eq(0), due.eq(0)]
                            m.next = "IDLE"
            if self.exports:
                with m.State("EXPORT"):
                    m.d.comb += [
                        self.o_export_id.valid.eq(kdf.o.valid),
                        self.o_export_id.p.eq(kdf.o.p[:BLOCK_BITS]),
                        kdf.o.ready.eq(self.o_export_id.ready),
                    ]
                    with m.If(kdf.o.valid & kdf.o.ready):
                        m.d.sync += export_due.eq(0)
                        m.next = "IDLE"
        # SEC_CM: FRESH.SECRET.ERASE -- all registers, those of the KDF among them
        return ResetInserter(self.erase)(m)
