"""GHASH (NIST SP 800-38D, section 6.4) of messages whose lengths are known beforehand.

The usual form multiplies a running value by the hash key for every block, a loop that must close within a cycle. With a
known length the sum can be written out instead,

    S = A H^(n+2)  +  C_1 H^(n+1)  +  ...  +  C_n H^2  +  L H,

with A the additional data, C_i the n blocks of text and L the lengths. Every block meets a known power of H, taken from
a table, in a multiplier that needs no result of an earlier block; only an addition closes a loop.

Pages all have one length, so that L and A are the same for all messages under one key: their share is computed once,
when the key is loaded. Records have lengths of their own. L then stands in the place of the tag, and a table of powers
as long as the longest record would take long to fill. So the sum is cut into segments of s = 32 blocks, counted from
the end; T_0 is the last one. Every segment is summed up with the powers H to H^s, and

    S = (... (T_m H^s + T_(m-1)) H^s + ... + T_1) H^s + T_0.

There is one product with H^s a segment. A serial multiplier makes it while the next segment comes in.
"""

from __future__ import annotations

from functools import reduce
from operator import xor

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value, unsigned
from amaranth.lib import enum, stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.constants import BLOCK_BITS, BLOCK_BYTES, LANES
from rtl.crypto.aes import MAX_KEYS
from rtl.crypto.gf128 import GfMultiplier, GfSerialMultiplier
from rtl.stream.interfaces import require, require_one_of, require_whole, swap_bytes

MAX_BLOCKS = 1 << 14
"""Most places in a message: 256 KiB. More would need a power table larger than 64 block RAMs a lane."""

SEGMENT = 32
"""Blocks that share a power of the hash key, if messages have lengths of their own. At least two more than the serial
multiplier's latency, so that one product is ready before the next segment is summed up."""

ONE = 1 << 127
"""The element 1."""

LUT_TABLE_DEPTH = 64
"""Tables up to here go to LUT RAM, deeper ones to block RAM."""


class _Step(enum.Enum, shape=2):
    """Products that a new key needs, in order."""

    LENGTHS = 0  # lengths times H
    POWERS = 1  # the next power of H, once for every place and the additional data
    SHARE = 2  # additional data times its power


class Ghash(wiring.Component):
    """Hashes ``lanes`` blocks a cycle, messages back to back. Must equal :func:`omap.ghash.ghash`.

    A message is ``blocks`` places for blocks, or at most so many, ``lanes`` a beat: an optional header, text, and the
    tag's place. The content of the tag's place does not count, so that a sealed message can be hashed as it comes. Beats
    may come with gaps; the digest appears :attr:`latency` cycles after the last beat of its message, and a new message
    may begin in the cycle after that beat.

    Parameters
    ----------
    blocks : :class:`int`
        Places in a message, header's and tag's included: 2 (3 with a header) to 16384, a multiple of ``lanes``.
    aad_bytes : :class:`int`
        Bytes of additional data that come with the key, 0 to 16, the same for all its messages.
    header_bytes : :class:`int`
        Bytes of additional data at the start of every message, 0 or 16; 16 only if ``aad_bytes`` is 0.
    keys : :class:`int`
        Hash keys in the table, 1 to 64.
    lanes : :class:`int`
        Blocks a beat, 1, 2 or 4: so many multipliers.
    lengths : :class:`bool`
        Every message has a length of its own, 3 places to ``blocks``. Needs ``lanes`` 1, ``header_bytes`` 16 and
        ``aad_bytes`` 0.
    more_header_bytes : :class:`int`
        Bytes of additional data behind the header of those messages that have ``more``: a multiple of 16. 0 if none
        has. Needs ``lengths``.

    Members
    -------
    i_key : :py:`In(stream.Signature(StructLayout({"key_index": range(keys), "hash_key": 128, "aad": 128})))`
        Hash key (AES of the zero block) and additional data, padded with zeros. Its powers are in the table
        when ``ready`` returns, :attr:`load_cycles` later; other keys can be used meanwhile.
    i_blocks : :py:`In(stream.Signature(beat_shape, always_ready=True))`
        ``data``, blocks of headers and text, and the ``key_index`` of their message. With ``lengths`` every beat says
        how many ``places`` are behind it in its message, modulo 32, and whether it ``ends_text``, so that the tag's
        place alone is behind it. With ``more_header_bytes`` it says whether its message has ``more``.
    o_digest : :py:`Out(stream.Signature(128, always_ready=True))`
        Digest of a message; zero while there is none.
    erase : :py:`In(1)`
        Overwrites all tables with zeros; ``i_key.ready`` returns when it is done.
    forget : :py:`In(1)`
        Overwrites the tables of the key at ``forget_index`` with zeros; ``i_key.ready`` returns when it is done. Only
        while ``i_key.ready`` is high and no key comes. Blocks under other keys go on.
    forget_index : :py:`In(range(keys))`
        See ``forget``.

    Countermeasures
    ---------------
    GHASH.KEY.ERASE
        ``erase`` overwrites hash keys, powers and shares of the additional data; ``forget`` overwrites those of one key.
    GHASH.KEY.UNREADABLE
        ``o_digest`` is zero unless it carries a finished digest.
    GHASH.TIME.CONST
        Latency and loading time are constants, and the same for all lengths.
    """  # noqa: E501 -- a shape is easier to read on one line

    latency = GfMultiplier.latency + 2

    # Many: each is one size of messages or tables, and most have defaults.
    def __init__(
        self,
        *,
        blocks: int,
        aad_bytes: int,
        header_bytes: int = 0,
        keys: int = 1,
        lanes: int = 1,
        lengths: bool = False,
        more_header_bytes: int = 0,
    ) -> None:
        require_one_of("lanes", lanes, LANES)
        require_whole("aad_bytes", aad_bytes, 0, BLOCK_BYTES)
        require_one_of("header_bytes", header_bytes, (0, BLOCK_BYTES))
        require(
            aad_bytes == 0 or header_bytes == 0,
            f"aad_bytes is {aad_bytes} and header_bytes {header_bytes}; additional data comes with the key or with "
            "every message, so one of them must be 0",
        )
        require(
            more_header_bytes >= 0 and more_header_bytes % BLOCK_BYTES == 0 and (lengths or not more_header_bytes),
            f"more_header_bytes is {more_header_bytes}; it must be a multiple of {BLOCK_BYTES}, and 0 without lengths",
        )
        require_whole("blocks", blocks, 2 + (header_bytes + more_header_bytes) // BLOCK_BYTES, MAX_BLOCKS)
        require(blocks % lanes == 0, f"blocks is {blocks}; it must be a multiple of lanes, {lanes}")
        require_whole("keys", keys, 1, MAX_KEYS)
        require(
            not lengths or (lanes, header_bytes, aad_bytes) == (1, BLOCK_BYTES, 0),
            f"lanes is {lanes}, header_bytes {header_bytes} and aad_bytes {aad_bytes}; messages with lengths of their "
            f"own need 1, {BLOCK_BYTES} and 0",
        )
        self.aad_bytes, self.header_bytes, self.more_header_bytes = aad_bytes, header_bytes, more_header_bytes
        self.blocks = blocks
        self.keys = keys
        self.lanes = lanes
        self.lengths = lengths
        key_index = range(keys)
        places = {"places": range(SEGMENT), "ends_text": 1} if lengths else {}
        more = {"more": 1} if more_header_bytes else {}
        self.beat_shape = StructLayout({"key_index": key_index, "data": lanes * BLOCK_BITS, **places, **more})
        super().__init__(
            {
                "i_key": In(
                    stream.Signature(StructLayout({"key_index": key_index, "hash_key": BLOCK_BITS, "aad": BLOCK_BITS}))
                ),
                "i_blocks": In(stream.Signature(self.beat_shape, always_ready=True)),
                "o_digest": Out(stream.Signature(BLOCK_BITS, always_ready=True)),
                "erase": In(1),
                "forget": In(1),
                "forget_index": In(key_index),
            }
        )

    @property
    def beats(self) -> int:
        """Beats of the longest message."""
        return self.blocks // self.lanes

    @property
    def load_cycles(self) -> int:
        """Cycles from an accepted key to the return of ``ready``."""
        products = SEGMENT if self.lengths else self.blocks + 2
        return products * (GfSerialMultiplier.latency + 1) + 1

    @property
    def length_block(self) -> int:
        """The last block of the longest message: lengths of additional data and text in bits, 64 each."""
        text_bytes = BLOCK_BYTES * (self.blocks - 1) - self.header_bytes
        return 8 * (self.aad_bytes + self.header_bytes) << 64 | 8 * text_bytes

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Of one key, whose table starts at a multiple of it.
        depth = SEGMENT if self.lengths else 1 << (self.beats - 1).bit_length()
        style = "distributed" if depth * self.keys <= LUT_TABLE_DEPTH else "block"
        powers = []
        for lane in range(self.lanes):
            powers.append(_table(depth * self.keys, style))
            m.submodules[f"powers{lane}"] = powers[-1]
        m.submodules.shares = shares = _table(self.keys, "distributed")
        self._elaborate_load(m, powers, shares, depth)
        if self.lengths:
            self._elaborate_segments(m, powers[0], shares)
        else:
            self._elaborate_sum(m, powers, shares, depth)
        # SEC_CM: GHASH.KEY.ERASE -- a reset clears all registers at once and walks the tables, while it lasts and after
        return ResetInserter(self.erase)(m)

    def _elaborate_load(self, m: Module, powers: list[Memory], shares: Memory, depth: int) -> None:
        """Fill the tables. Places count from the end: place r needs H^(r + 1).

        The tag's place is 0. It stays zero if all messages have one length. If they have lengths of their own, it gets
        H, for the lengths, and the share of a key is the power that a segment meets, H^s.
        """
        m.submodules.serial = serial = GfSerialMultiplier()
        erasing = Signal(init=1)
        places = depth * self.keys
        walked = Signal(range(places))
        walk = Signal(range(places), reset_less=True)
        with m.If(erasing):
            m.d.sync += [
                walked.eq(walked + 1),
                erasing.eq(walked != places - 1),
                walk.eq(Mux(walk == places - 1, 0, walk + 1)),
            ]

        key_index = Signal(range(self.keys))
        last_place = SEGMENT - 1 if self.lengths else self.blocks  # of the additional data, after the first text block
        place = Signal(range(last_place + 1))
        hash_key, aad, power, share = (Signal(BLOCK_BITS, name=name) for name in ("hash_key", "aad", "power", "share"))
        lane_bits = (self.lanes - 1).bit_length()
        beat_bits = (depth - 1).bit_length()
        address = Cat(place[lane_bits : lane_bits + beat_bits], key_index)
        write_power, write_share = Signal(), Signal()
        forgetting, forgotten = Signal(), Signal(range(self.keys))
        forget_place = Signal(range(depth))
        with m.If(self.forget):
            m.d.sync += [forgetting.eq(1), forgotten.eq(self.forget_index), forget_place.eq(0)]
        with m.Elif(forgetting):
            m.d.sync += [forget_place.eq(forget_place + 1), forgetting.eq(forget_place != depth - 1)]
        clear = erasing | forgetting
        for lane, table in enumerate(powers):
            port = table.write_port()
            m.d.comb += [
                port.en.eq(clear | (write_power & (place[:lane_bits] == self.lanes - 1 - lane))),
                port.addr.eq(Mux(erasing, walk, Mux(forgetting, Cat(forget_place, forgotten), address))),
                port.data.eq(Mux(clear, 0, serial.o.p)),
            ]
        port = shares.write_port()
        m.d.comb += [
            port.en.eq(clear | write_share),
            port.addr.eq(Mux(erasing, walk, Mux(forgetting, forgotten, key_index))),
            port.data.eq(Mux(clear, 0, serial.o.p ^ share)),
        ]

        step = Signal(_Step)
        waiting = Signal()
        running = Signal()
        m.d.comb += [
            self.i_key.ready.eq(~clear & ~running & ~self.erase),
            serial.i.valid.eq(running & ~waiting),
            serial.i.p.a.eq(Mux(step == _Step.LENGTHS, self.length_block, power)),
            serial.i.p.b.eq(Mux(step == _Step.SHARE, aad, hash_key)),
            serial.o.ready.eq(waiting),
        ]
        with m.If(self.i_key.valid & self.i_key.ready):
            padded = self.i_key.p.aad & ((1 << 8 * self.aad_bytes) - 1)
            m.d.sync += [
                running.eq(1),
                step.eq(_Step.POWERS if self.lengths else _Step.LENGTHS),
                key_index.eq(self.i_key.p.key_index),
                hash_key.eq(swap_bytes(self.i_key.p.hash_key)),
                power.eq(ONE if self.lengths else swap_bytes(self.i_key.p.hash_key)),
                aad.eq(swap_bytes(padded[:BLOCK_BITS])),
                place.eq(0 if self.lengths else 1),
            ]
        with m.If(serial.i.valid & serial.i.ready):
            m.d.sync += waiting.eq(1)
        with m.If(serial.o.valid & serial.o.ready):
            m.d.sync += waiting.eq(0)
            # SEC_CM: GHASH.TIME.CONST -- the number of products and the time of each do not depend on the key
            with m.Switch(step):
                with m.Case(_Step.LENGTHS):
                    m.d.sync += [share.eq(serial.o.p), step.eq(_Step.POWERS)]
                with m.Case(_Step.POWERS):
                    m.d.sync += [power.eq(serial.o.p), place.eq(place + 1)]
                    with m.If(place == last_place):
                        if self.lengths:
                            m.d.comb += [write_power.eq(1), write_share.eq(1)]
                            m.d.sync += [running.eq(0), hash_key.eq(0), power.eq(0)]
                        else:
                            m.d.sync += step.eq(_Step.SHARE)
                    with m.Else():
                        m.d.comb += write_power.eq(1)
                with m.Case(_Step.SHARE):
                    m.d.comb += write_share.eq(1)
                    m.d.sync += [running.eq(0), hash_key.eq(0), power.eq(0), share.eq(0)]

    def _elaborate_sum(self, m: Module, powers: list[Memory], shares: Memory, depth: int) -> None:
        """Multiply every block with the power of its place, and add up."""
        beat = Signal(range(self.beats), init=self.beats - 1)
        incoming = self.i_blocks
        with m.If(incoming.valid):
            m.d.sync += beat.eq(Mux(beat == 0, self.beats - 1, beat - 1))
        products = []
        for lane, table in enumerate(powers):
            port = table.read_port()
            block = Signal(BLOCK_BITS, name=f"block{lane}", reset_less=True)
            m.submodules[f"multiplier{lane}"] = multiplier = GfMultiplier()
            m.d.sync += block.eq(swap_bytes(incoming.p.data.word_select(lane, BLOCK_BITS)))
            m.d.comb += [
                port.addr.eq(Cat(beat[: (depth - 1).bit_length()], incoming.p.key_index)),
                multiplier.a.eq(block),
                multiplier.b.eq(port.data),
            ]
            products.append(multiplier.o)

        valid, first, last, key_index = incoming.valid, beat == self.beats - 1, beat == 0, incoming.p.key_index
        for stage in range(1 + GfMultiplier.latency):
            valid, first, last, key_index = (
                self._delayed(m, value, f"{name}{stage}", reset_less=name != "valid")
                for name, value in (("valid", valid), ("first", first), ("last", last), ("key_index", key_index))
            )
        share = shares.read_port(domain="comb")
        total = Signal(BLOCK_BITS)
        m.d.comb += share.addr.eq(key_index)
        with m.If(valid):
            m.d.sync += total.eq(reduce(xor, products, Mux(first, share.data, total)))
        self._elaborate_digest(m, total, valid & last)

    def _elaborate_segments(self, m: Module, powers: Memory, shares: Memory) -> None:
        """Multiply every block with the power of its place in its segment, and sum up segment by segment."""
        incoming = self.i_blocks
        first, last = Signal(init=1), Signal()  # what the next beat is in its message
        text_blocks = Signal(range(self.blocks))  # of this message, so far; less than 0 in its headers
        aad_bits, before_text = 8 * BLOCK_BYTES << 64, 0
        if self.more_header_bytes:
            more = incoming.p.more
            aad_bits = Mux(more, aad_bits + (8 * self.more_header_bytes << 64), aad_bits)
            before_text = Mux(more, -(self.more_header_bytes // BLOCK_BYTES), 0)
        with m.If(incoming.valid):
            m.d.sync += [
                last.eq(incoming.p.ends_text),
                first.eq(last),
                text_blocks.eq(Mux(first, before_text, text_blocks + 1)),
            ]
        length_block = aad_bits | Cat(Const(0, (8 * BLOCK_BYTES - 1).bit_length()), text_blocks)
        port = powers.read_port()
        block = Signal(BLOCK_BITS, reset_less=True)
        m.submodules.multiplier = multiplier = GfMultiplier()
        m.d.sync += block.eq(Mux(last, length_block, swap_bytes(incoming.p.data)))
        m.d.comb += [
            port.addr.eq(Cat(incoming.p.places, incoming.p.key_index)),
            multiplier.a.eq(block),
            multiplier.b.eq(port.data),
        ]

        valid, key_index = incoming.valid, incoming.p.key_index
        ends = (incoming.p.places == 0) & ~last  # a segment, and others follow
        for stage in range(1 + GfMultiplier.latency):
            valid, first, last, ends, key_index = (
                self._delayed(m, value, f"{name}{stage}", reset_less=name != "valid")
                for name, value in (
                    ("valid", valid),
                    ("first", first),
                    ("last", last),
                    ("ends", ends),
                    ("key_index", key_index),
                )
            )
        m.submodules.fold = fold = GfSerialMultiplier()
        share = shares.read_port(domain="comb")
        total = Signal(BLOCK_BITS)
        folds = self._delayed(m, valid & ends, "folds", reset_less=False)
        m.d.comb += [
            share.addr.eq(self._delayed(m, key_index, "fold_index", reset_less=True)),
            # Always taken: the product before it is done, because a segment that others follow has 32 beats.
            fold.i.valid.eq(folds),
            fold.i.p.a.eq(total),
            fold.i.p.b.eq(share.data),
            fold.o.ready.eq(1),
        ]
        kept = total & ~(folds | (valid & first)).replicate(BLOCK_BITS)
        product = multiplier.o & valid.replicate(BLOCK_BITS)
        m.d.sync += total.eq(kept ^ product ^ (fold.o.p & fold.o.valid.replicate(BLOCK_BITS)))
        self._elaborate_digest(m, total, valid & last)

    def _elaborate_digest(self, m: Module, total: Signal, done_next: Value) -> None:
        """Offer the sum as a digest in the one cycle in which it is whole."""
        done = Signal()
        m.d.sync += done.eq(done_next)
        # SEC_CM: GHASH.KEY.UNREADABLE -- partial sums and powers show nowhere
        m.d.comb += [self.o_digest.valid.eq(done), self.o_digest.p.eq(Mux(done, swap_bytes(total), 0))]

    @staticmethod
    def _delayed(m: Module, value: Value, name: str, *, reset_less: bool) -> Signal:
        delayed = Signal(len(value), name=name, reset_less=reset_less)
        m.d.sync += delayed.eq(value)
        return delayed


def _table(depth: int, style: str) -> Memory:
    return Memory(shape=unsigned(BLOCK_BITS), depth=depth, init=[], attrs={"ram_style": style})
