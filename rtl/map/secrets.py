"""The secrets of a format: they are gathered word by word, handed out once, and then forgotten."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from omap.kdf import FORMAT
from rtl.constants import BLOCK_BITS, BLOCK_BYTES

WORDS = FORMAT.length // BLOCK_BYTES
"""128-bit words of a format: page secret (2), draw seed (2), hash key, map id."""


class FormatSecrets(wiring.Component):
    """Gathers the words of a format, hands the keys out and forgets them. The map id stays, because it is public.

    Members
    -------
    load : In(1)
        High from the beginning of a format until ``done``.
    i_secrets : In(stream.Signature(128))
        Words of fresh secrets, :data:`WORDS` for each format, in the order of :data:`omap.kdf.FORMAT`.
    o_page_secret : Out(stream.Signature(256))
        What page keys are derived from.
    o_draw_seed, o_hash_key : Out(stream.Signature(256 and 128, always_ready=True))
        Seed of the draws, key of the position map's hash.
    map_id : Out(128)
        Id of the map, until the next format.
    done : Out(1)
        All keys have been taken.

    Countermeasures
    ---------------
    FORMAT.KEY.CLEARED
        The keys stay here only until they have been taken.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "load": In(1),
                "i_secrets": In(stream.Signature(BLOCK_BITS)),
                "o_page_secret": Out(stream.Signature(2 * BLOCK_BITS)),
                "o_draw_seed": Out(stream.Signature(2 * BLOCK_BITS, always_ready=True)),
                "o_hash_key": Out(stream.Signature(BLOCK_BITS, always_ready=True)),
                "map_id": Out(BLOCK_BITS),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words, gathered = Signal((WORDS - 1) * BLOCK_BITS), Signal(range(WORDS))
        keys = words[: 2 * BLOCK_BITS], words[2 * BLOCK_BITS : 4 * BLOCK_BITS], words[4 * BLOCK_BITS :]
        offered = Signal()
        m.d.comb += [
            self.o_page_secret.p.eq(keys[0]),
            self.o_draw_seed.p.eq(keys[1]),
            self.o_hash_key.p.eq(keys[2]),
            self.o_page_secret.valid.eq(offered),
        ]
        with m.FSM():
            with m.State("GATHER"):
                m.d.comb += self.i_secrets.ready.eq(self.load)
                with m.If(self.i_secrets.valid & self.load):
                    with m.If(gathered == WORDS - 1):
                        m.d.sync += [self.map_id.eq(self.i_secrets.p), gathered.eq(0), offered.eq(1)]
                        m.next = "GIVE"
                    with m.Else():
                        m.d.sync += [words.eq(Cat(words, self.i_secrets.p)[BLOCK_BITS:]), gathered.eq(gathered + 1)]
            with m.State("GIVE"):
                with m.If(self.o_page_secret.ready):
                    m.d.comb += [self.o_draw_seed.valid.eq(1), self.o_hash_key.valid.eq(1), self.done.eq(1)]
                    # SEC_CM: FORMAT.KEY.CLEARED -- nothing needs them here any more
                    m.d.sync += [words.eq(0), offered.eq(0)]
                    m.next = "GATHER"
        return m
