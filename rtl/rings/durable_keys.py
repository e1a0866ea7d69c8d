# amaranth: UnusedElaboratable=no
"""Keys of what the host keeps: journals and snapshots."""

from __future__ import annotations

from amaranth.hdl import Module, Mux
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.kdf import JOURNAL, SNAPSHOT
from rtl.constants import BLOCK_BITS
from rtl.crypto.kdf import KEY_BITS, Kdf, fixed_input
from rtl.stream.interfaces import swap_bytes

ERA_FIELD_BITS = 8 * JOURNAL.context["era"]
"""Bits of the number of an era in the context of a key."""

DURABLE = StructLayout({"snapshot": 1, "map_id": BLOCK_BITS, "context": BLOCK_BITS})
"""Which key: of a snapshot, and ``context`` is its export id; or of a journal, and the lowest bits of ``context`` are
the number of the era."""

assert JOURNAL.length == SNAPSHOT.length == KEY_BITS // 8, "one KDF derives both"
assert JOURNAL.fixed_bytes < SNAPSHOT.fixed_bytes


class DurableKeys(wiring.Component):
    """Derives keys as :data:`omap.kdf.JOURNAL` and :data:`omap.kdf.SNAPSHOT` say.

    Members
    -------
    root_key : In(256)
        Root key.
    i : In(stream.Signature(DURABLE))
        Which key.
    o : Out(stream.Signature(256))
        The key, until it is taken; zero while none is on offer.
    erase : In(1)
        Clears all of it.

    Countermeasures
    ---------------
    JOURNALS.KEY.ERASE
        ``erase`` clears keys, those that are being derived among them.
    JOURNALS.NONCE.UNIQUE
        Each era of a journal has a key of its own.
    SNAPSHOTS.KEY.OWN
        The key of a snapshot follows from its export id.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "root_key": In(KEY_BITS),
                "i": In(stream.Signature(DURABLE)),
                "o": Out(stream.Signature(KEY_BITS)),
                "erase": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.kdf = kdf = Kdf(
            fixed_bytes=SNAPSHOT.fixed_bytes, output_bytes=SNAPSHOT.length, short_bytes=JOURNAL.fixed_bytes
        )
        which = self.i.p
        # SEC_CM: JOURNALS.NONCE.UNIQUE -- the numbers of records begin anew in each era
        journal = fixed_input(JOURNAL, which.map_id, swap_bytes(which.context[:ERA_FIELD_BITS]))
        # SEC_CM: SNAPSHOTS.KEY.OWN -- chunk n of another snapshot has another key, so that no nonce repeats under one
        snapshot = fixed_input(SNAPSHOT, which.map_id, which.context)
        connect(m, kdf.o, flipped(self.o))
        m.d.comb += [
            kdf.i.valid.eq(self.i.valid),
            self.i.ready.eq(kdf.i.ready),
            kdf.i.p.key.eq(self.root_key),
            kdf.i.p.fixed.eq(Mux(which.snapshot, snapshot, journal)),
            kdf.i.p.short.eq(~which.snapshot),
            # SEC_CM: JOURNALS.KEY.ERASE -- all that is left of a derivation; who took a key has it no longer here
            kdf.erase.eq(self.erase),
        ]
        return m
