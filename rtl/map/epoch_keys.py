# amaranth: UnusedElaboratable=no
"""Page keys: one for each epoch, derived from the page secret ahead of time."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.kdf import PAGE
from rtl.constants import BLOCK_BITS
from rtl.crypto.kdf import KEY_BITS, Kdf, fixed_input
from rtl.stream.interfaces import swap_bytes

EPOCH_BITS = 8 * PAGE.context["epoch"]

KEYS = 4
"""Places for page keys: those of the present epoch, of the one before and of the next are in use."""


class EpochKeys(wiring.Component):
    """Derives the page key of the next epoch while the present one lasts. Must equal :func:`omap.crypto.page_key`.

    A new page secret is followed by the keys of epochs 0 and 1. Each beginning of an epoch is followed by the key of
    the epoch after it. The key of an epoch has the index of the epoch modulo :data:`KEYS`.

    Members
    -------
    i_secret : In(stream.Signature(256))
        Page secret of a new map. It is taken at once, and keys of the map before are not derived any more.
    map_id : In(128)
        Id of the map.
    begun : In(1)
        The next epoch has begun.
    o_key : Out(stream.Signature({"key_index": range(KEYS), "key": 256}))
        Page keys, in the order of their epochs; zero while none is on offer.
    renewed : Out(1)
        A page secret is taken in this cycle: keys of the map before are to be forgotten.
    erase : In(1)
        Clears the secret, and the key that is being derived.

    Countermeasures
    ---------------
    PAGE.KEY.EPOCH
        Each epoch has a key of its own, so that no key encrypts too many blocks.
    PAGE.SECRET.ERASE
        ``erase`` clears the page secret and the key that is being derived.
    """

    def __init__(self) -> None:
        self.kdf = Kdf(fixed_bytes=PAGE.fixed_bytes, output_bytes=PAGE.length)
        super().__init__(
            {
                "i_secret": In(stream.Signature(KEY_BITS)),
                "map_id": In(BLOCK_BITS),
                "begun": In(1),
                "o_key": Out(stream.Signature(StructLayout({"key_index": range(KEYS), "key": KEY_BITS}))),
                "renewed": Out(1),
                "erase": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.kdf = kdf = self.kdf
        secret = Signal(KEY_BITS)
        epoch, owed = Signal(EPOCH_BITS), Signal(range(KEYS))  # the next epoch to derive; keys still to be derived
        asks = Signal()
        m.d.comb += [
            self.i_secret.ready.eq(~self.erase),
            self.renewed.eq(self.i_secret.valid & self.i_secret.ready),
            asks.eq(kdf.i.valid & kdf.i.ready),
            kdf.i.valid.eq(owed != 0),
            kdf.i.p.key.eq(secret),
            # SEC_CM: PAGE.KEY.EPOCH -- the epoch is in the context, so that each epoch has another key
            kdf.i.p.fixed.eq(fixed_input(PAGE, self.map_id, swap_bytes(epoch))),
            kdf.erase.eq(self.renewed),
            self.o_key.valid.eq(kdf.o.valid),
            self.o_key.p.key.eq(kdf.o.p),
            self.o_key.p.key_index.eq(Mux(kdf.o.valid, epoch[:2] - 1, 0)),
            kdf.o.ready.eq(self.o_key.ready),
        ]
        with m.If(self.renewed):
            m.d.sync += [secret.eq(self.i_secret.p), epoch.eq(0), owed.eq(2)]
        with m.Else():
            m.d.sync += [epoch.eq(epoch + asks), owed.eq(owed + self.begun - asks)]
        # SEC_CM: PAGE.SECRET.ERASE -- all registers, those of the KDF among them
        return ResetInserter(self.erase)(m)
