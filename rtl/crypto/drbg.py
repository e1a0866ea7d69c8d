"""Page draws: AES-256 in counter mode, indexed by the sequence number of the operation, as :mod:`omap.drbg` does."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.params import MAX_PAGES
from rtl.constants import BLOCK_BITS, SPARE_BITS
from rtl.crypto.aes import AesIterative
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import require_whole, swap_bytes
from rtl.stream.pick import chosen

INDEX_BITS = 64
SEED_BITS = 256
WORD_BITS = 64
LIMB_BITS = 16
"""Bits of a draw that meet the number of pages in one multiplier: what one DSP slice takes."""


class Drbg(wiring.Component):
    """Turns a sequence number into two page draws. Must equal one row of :meth:`omap.drbg.Drbg.pairs`.

    Any index may be asked for at any time, so a log can be replayed. Each AES cipher takes an index every 16 cycles:
    six ciphers draw three times in 8 cycles. A draw is on offer :attr:`latency` cycles after its index was taken,
    unless earlier ones are still waiting to be taken.

    Parameters
    ----------
    pages : :class:`int`
        Pages to draw from, 1 to 2^31.
    ciphers : :class:`int`
        AES ciphers, 1 to 16.

    Members
    -------
    i_seed : :py:`In(stream.Signature(256, always_ready=True))`
        The seed. No index is taken before it came; give it while no draw is under way.
    i_index : :py:`In(stream.Signature(64))`
        Sequence numbers.
    o_draw : :py:`Out(stream.Signature(StructLayout({"dummy": range(pages), "next": range(pages)})))`
        The page to touch if the key has none, and the page it moves to.
    spare : :py:`Out(SPARE_BITS)`
        The lowest bits of the draw made last. They decide its page with a probability below ``pages`` / 2^32.
    erase : :py:`In(1)`
        Clears the seed and all draws under way.

    Countermeasures
    ---------------
    DRBG.SEED.ERASE
        ``erase`` clears the seed, the ciphers and draws not yet taken.
    DRBG.SEED.UNREADABLE
        Nothing is drawn that was not asked for; ``o_draw`` is zero while nothing is on offer.
    DRBG.TIME.CONST
        Latency and rate are constants.
    """

    def __init__(self, *, pages: int, ciphers: int = 6) -> None:
        require_whole("pages", pages, 1, MAX_PAGES)
        require_whole("ciphers", ciphers, 1, 16)
        self.pages = pages
        self.ciphers = ciphers
        self.draw_shape = StructLayout({"dummy": range(pages), "next": range(pages)})
        super().__init__(
            {
                "i_seed": In(stream.Signature(SEED_BITS, always_ready=True)),
                "i_index": In(stream.Signature(INDEX_BITS)),
                "o_draw": Out(stream.Signature(self.draw_shape)),
                "spare": Out(SPARE_BITS),
                "erase": In(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from an index to its draw: the cipher and a register, two for each limb of the scaling, the FIFO."""
        return 15 + 1 + 2 * (WORD_BITS // LIMB_BITS) + 1

    @property
    def interval(self) -> int:
        """Cycles in which every cipher takes one index."""
        return 16

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # As many indices are under way as the FIFO can take draws: twice what the ciphers and the scaling hold.
        m.submodules.draws = draws = Fifo(shape=self.draw_shape, depth=32)
        seed, seeded = Signal(SEED_BITS), Signal()
        room = Signal(range(draws.depth + 1), init=draws.depth)
        put, get = Signal(), Signal()
        with m.If(self.i_seed.valid):
            m.d.sync += [seed.eq(self.i_seed.p), seeded.eq(1)]

        ciphers = [AesIterative(key_bits=SEED_BITS) for _ in range(self.ciphers)]
        into, outof = Signal(self.ciphers, init=1), Signal(self.ciphers, init=1)  # whose turn it is
        for index, cipher in enumerate(ciphers):
            m.submodules[f"aes{index}"] = cipher
            m.d.comb += [
                cipher.i.p.key.eq(seed),
                cipher.i.p.block.eq(swap_bytes(Cat(self.i_index.p, Const(0, BLOCK_BITS - INDEX_BITS)))),
                cipher.i.valid.eq(put & into[index]),
                cipher.o.ready.eq(outof[index]),
            ]
        # SEC_CM: DRBG.TIME.CONST -- the ciphers take turns, and each takes as long as every other
        m.d.comb += [
            self.i_index.ready.eq(
                (into & Cat(cipher.i.ready for cipher in ciphers)).any() & seeded & (room != 0) & ~self.erase
            ),
            put.eq(self.i_index.valid & self.i_index.ready),
            get.eq(self.o_draw.valid & self.o_draw.ready),
        ]
        m.d.sync += room.eq(room - put + get)
        with m.If(put):
            m.d.sync += into.eq(into.rotate_left(1))
        taken, drawn, block = Signal(), Signal(), Signal(BLOCK_BITS)
        m.d.comb += taken.eq((outof & Cat(cipher.o.valid for cipher in ciphers)).any())
        m.d.sync += [drawn.eq(taken), block.eq(chosen(outof, [cipher.o.p for cipher in ciphers]))]
        with m.If(taken):
            m.d.sync += outof.eq(outof.rotate_left(1))

        words = [swap_bytes(block[:WORD_BITS]), swap_bytes(block[WORD_BITS:])]
        with m.If(drawn):
            m.d.sync += self.spare.eq(words[1][:SPARE_BITS])
        valid, scaled = self._scaled(m, drawn, words)
        m.d.comb += [
            draws.i.valid.eq(valid),
            draws.i.p.dummy.eq(scaled[0]),
            draws.i.p.next.eq(scaled[1]),
            self.o_draw.valid.eq(draws.o.valid),
            draws.o.ready.eq(self.o_draw.ready),
            # SEC_CM: DRBG.SEED.UNREADABLE -- what the FIFO held before shows nowhere
            Value.cast(self.o_draw.p).eq(Mux(draws.o.valid, Value.cast(draws.o.p), 0)),
        ]
        # SEC_CM: DRBG.SEED.ERASE -- all registers: seed, ciphers, scaling, and the level of the FIFO
        return ResetInserter(self.erase)(m)

    def _scaled(self, m: Module, valid: Value, words: list[Value]) -> tuple[Value, list[Value]]:
        """Return ``(word * pages) >> 64`` of every word, some cycles later, and whether it is there.

        Limb by limb from the lowest: what is shifted out below never matters again, so no step exceeds one limb times
        the number of pages.
        """
        page_bits = range(self.pages + 1)
        totals: list[Value] = [Value.cast(0)] * len(words)
        for step in range(WORD_BITS // LIMB_BITS):
            after_product, after_sum = Signal(name=f"product_valid{step}"), Signal(name=f"sum_valid{step}")
            m.d.sync += [after_product.eq(valid), after_sum.eq(after_product)]
            for index, (word, total) in enumerate(zip(words, totals, strict=True)):
                name = f"{step}_{index}"
                product = Signal(range((1 << LIMB_BITS) * self.pages), name=f"product{name}")
                held = Signal(page_bits, name=f"held{name}")
                rest = [Signal(max(len(word) - LIMB_BITS, 0), name=f"rest{name}_{stage}") for stage in range(2)]
                summed = Signal(page_bits, name=f"sum{name}")
                m.d.sync += [
                    product.eq(word[:LIMB_BITS] * self.pages),
                    held.eq(total),
                    rest[0].eq(word[LIMB_BITS:]),
                    summed.eq((product + held) >> LIMB_BITS),
                    rest[1].eq(rest[0]),
                ]
                words[index], totals[index] = rest[1], summed
            valid = after_sum
        return valid, totals
