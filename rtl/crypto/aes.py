"""AES encryption (FIPS 197): a pipelined core with a table of expanded keys, and a small iterative one.

Decryption is absent on purpose: counter mode, GCM, CMAC and the draws need the forward cipher alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.constants import BLOCK_BITS, LANES
from rtl.stream.interfaces import require_one_of, require_whole

KEY_BITS = (128, 256)
MAX_KEYS = 64
"""Deepest round-key memory that is one LUT RAM primitive deep (64 x n), so that keys cost no extra level of LUTs."""


def rounds_of(key_bits: int) -> int:
    """Return the number of rounds, 10 or 14 (FIPS 197, table 3)."""
    return key_bits // 32 + 6


def _sbox() -> tuple[int, ...]:
    """Compute the substitution of FIPS 197, section 5.1.1: inverse in GF(2^8), then an affine map."""

    def times3(value: int) -> int:
        return value ^ (value << 1 ^ (0x11B if value & 0x80 else 0))

    powers = [1]
    while len(powers) < 255:
        powers.append(times3(powers[-1]))
    inverse = [0] * 256
    for exponent, value in enumerate(powers):
        inverse[value] = powers[-exponent % 255]
    rotated = [[(value << by | value >> 8 - by) & 0xFF for by in range(5)] for value in inverse]
    return tuple(a ^ b ^ c ^ d ^ e ^ 0x63 for a, b, c, d, e in rotated)


SBOX = _sbox()


class SBoxes:
    """The substitutions of one component: read ports of one ROM.

    One ROM with many ports simulates as fast as many ROMs and is written out and compiled several times faster. The
    synthesiser makes 32 LUTs and their wide multiplexers of every port. Logic over composite fields would save LUTs
    and cost 10 to 40 times in simulation speed.
    """

    def __init__(self, m: Module) -> None:
        self._memory = m.submodules.sbox = Memory(shape=unsigned(8), depth=256, init=SBOX)
        self._m = m

    def substitute(self, value: Value) -> list[Value]:
        """Return the substituted bytes of ``value``, lowest first, in the same cycle."""
        out = []
        for at in range(0, len(value), 8):
            port = self._memory.read_port(domain="comb")
            self._m.d.comb += port.addr.eq(value[at : at + 8])
            out.append(port.data)
        return out


def _double(word: Value) -> Value:
    """Multiply the four bytes of a word by x in GF(2^8)."""
    carry = (word >> 7) & 0x01010101
    shifted = ((word & 0x7F7F7F7F) << 1)[:32]
    return shifted ^ carry ^ (carry << 1)[:32] ^ (carry << 3)[:32] ^ (carry << 4)[:32]


def _mix_column(word: Value) -> Value:
    """MixColumns of one column, row 0 in the lowest byte (FIPS 197, section 5.1.3)."""
    below = word.rotate_right(8)
    return _double(word ^ below) ^ below ^ word.rotate_right(16) ^ word.rotate_right(24)


def round_words(m: Module, boxes: SBoxes, state: Value, name: str) -> tuple[list[Signal], list[Value]]:
    """Return the columns of a state after SubBytes and ShiftRows, and those after MixColumns as well."""
    substituted = boxes.substitute(state)
    shifted = [Signal(32, name=f"{name}_column{column}") for column in range(4)]
    m.d.comb += [
        word.eq(Cat(substituted[row + 4 * ((column + row) % 4)] for row in range(4)))
        for column, word in enumerate(shifted)
    ]
    return shifted, [_mix_column(word) for word in shifted]


def next_round_key(boxes: SBoxes, window: Sequence[Value], rotate: Value | int, constant: Value) -> Value:
    """Return the round key that follows ``window``, the last one (AES-128) or two (AES-256) round keys.

    ``rotate`` says whether RotWord and ``constant``, the round constant, apply: always for AES-128, for every second
    round key of AES-256 (FIPS 197, section 5.2).
    """
    b = boxes.substitute(window[-1][96:128])
    word = Mux(rotate, Cat(b[1], b[2], b[3], b[0]) ^ constant, Cat(b))
    words: list[Value] = []
    for index in range(4):
        word = window[0].word_select(index, 32) ^ word
        words.append(word)
    return Cat(words)


class _KeyExpander:
    """Round keys in order, one a cycle: ``key`` is the current one, :meth:`load` and :meth:`step` are the moves.

    The window shifts by one round key a step, so that any number of rounds costs four substitutions.
    """

    def __init__(self, m: Module, boxes: SBoxes, key_bits: int) -> None:
        self._m = m
        self._window = [Signal(128, name=f"key_window{index}") for index in range(key_bits // 128)]
        self._constant = Signal(8, init=1)
        self._rotate = Signal(init=1)
        self.key = self._window[0]
        self.next_key = self._window[-1]
        self.following = Signal(128)
        m.d.comb += self.following.eq(next_round_key(boxes, self._window, self._rotate, self._constant))

    def load(self, key: Value) -> None:
        self._m.d.sync += [
            Cat(self._window).eq(key),
            self._constant.eq(1),
            self._rotate.eq(1),
        ]

    def step(self) -> None:
        constant = self._constant
        self._m.d.sync += [
            Cat(self._window).eq(Cat(self._window[1:], self.following)),
            self._rotate.eq(1 if len(self._window) == 1 else ~self._rotate),
        ]
        with self._m.If(self._rotate):
            self._m.d.sync += constant.eq(Cat(0, constant[:7]) ^ Mux(constant[7], 0x1B, 0))

    def clear(self) -> None:
        self._m.d.sync += [word.eq(0) for word in self._window]


class Aes(wiring.Component):
    """Encrypts ``lanes`` blocks a cycle, each beat under a key of its choice. Must equal AES of ``cryptography``.

    A beat offered in cycle t is answered in cycle t + :attr:`latency`, always, in order; there is no back-pressure.
    Keys are expanded into a table beforehand, ``rounds + 2`` cycles each, while beats under other keys go on.

    Parameters
    ----------
    key_bits : :class:`int`
        128 or 256.
    keys : :class:`int`
        Keys in the table, 1 to 64. One key lies in registers, more in one LUT RAM a round.
    lanes : :class:`int`
        Blocks a beat carries, 1, 2 or 4. They share a key, hence the table.

    Members
    -------
    i_key : :py:`In(stream.Signature(StructLayout({"key_index": range(keys), "key": key_bits})))`
        Key to expand, and its place in the table. The key is in use from the cycle in which ``ready`` returns. A beat
        under a key that is being loaded is answered with nonsense.
    i_blocks : :py:`In(stream.Signature(StructLayout({"key_index": range(keys), "blocks": ArrayLayout(128, lanes)}), always_ready=True))`
        Blocks to encrypt.
    o_blocks : :py:`Out(stream.Signature(ArrayLayout(128, lanes), always_ready=True))`
        Encrypted blocks.
    erase : :py:`In(1)`
        Overwrites all keys with zeros, one key a cycle, and drops all beats under way or offered meanwhile;
        ``i_key.ready`` returns when it is done.
    forget : :py:`In(1)`
        Overwrites the key at ``forget_index`` with zeros, in this cycle. Only while ``i_key.ready`` is high and no key
        comes. Beats under other keys go on.
    forget_index : :py:`In(range(keys))`
        See ``forget``.

    Countermeasures
    ---------------
    AES.KEY.ERASE
        ``erase`` overwrites every round key, the key expander and all blocks under way; ``forget`` overwrites all round
        keys of one key.
    AES.KEY.UNREADABLE
        ``o_blocks`` changes only when a block has been encrypted.
    AES.TIME.CONST
        Latency and loading time are constants.
    """  # noqa: E501 -- a shape is easier to read on one line

    def __init__(self, *, key_bits: int = 256, keys: int = 1, lanes: int = 1) -> None:
        require_one_of("key_bits", key_bits, KEY_BITS)
        require_whole("keys", keys, 1, MAX_KEYS)
        require_one_of("lanes", lanes, LANES)
        self.key_bits = key_bits
        self.keys = keys
        self.lanes = lanes
        self.rounds = rounds_of(key_bits)
        key_index = range(keys)
        blocks = ArrayLayout(BLOCK_BITS, lanes)
        super().__init__(
            {
                "i_key": In(stream.Signature(StructLayout({"key_index": key_index, "key": key_bits}))),
                "i_blocks": In(
                    stream.Signature(StructLayout({"key_index": key_index, "blocks": blocks}), always_ready=True)
                ),
                "o_blocks": Out(stream.Signature(blocks, always_ready=True)),
                "erase": In(1),
                "forget": In(1),
                "forget_index": In(key_index),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a beat to its answer: the first key addition and every round are one stage each."""
        return self.rounds + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        boxes = SBoxes(m)
        expander = _KeyExpander(m, boxes, self.key_bits)
        new_index = Signal(range(self.keys))
        key_round = Signal(range(self.rounds + 1))
        expanding = Signal()
        # SEC_CM: AES.KEY.ERASE -- a reset clears all registers at once and walks the table, while it lasts and after it
        erasing = Signal(init=1)
        walk = Signal(range(self.keys), reset_less=True)
        m.d.comb += self.i_key.ready.eq(~expanding & ~erasing & ~self.erase)

        with m.If(expanding):
            expander.step()
            m.d.sync += key_round.eq(key_round + 1)
            # SEC_CM: AES.TIME.CONST -- every key takes all rounds
            with m.If(key_round == self.rounds):
                expander.clear()
                m.d.sync += [expanding.eq(0), key_round.eq(0)]
        with m.Elif(self.i_key.valid & self.i_key.ready):
            expander.load(self.i_key.p.key)
            m.d.sync += [expanding.eq(1), new_index.eq(self.i_key.p.key_index)]
        with m.If(erasing):
            m.d.sync += [
                new_index.eq(new_index + 1),
                erasing.eq(new_index != self.keys - 1),
                walk.eq(Mux(walk == self.keys - 1, 0, walk + 1)),
            ]
        write_index = Mux(erasing, walk, Mux(self.forget, self.forget_index, new_index))

        indices = [self.i_blocks.p.key_index]
        for stage in range(self.rounds):
            indices.append(Signal(range(self.keys), name=f"key_index{stage}"))
            m.d.sync += indices[-1].eq(indices[-2])
        new_key = Signal(128)
        m.d.comb += new_key.eq(Mux(erasing | self.forget, 0, expander.key))
        keys = []
        for index in range(self.rounds + 1):
            write = Signal(name=f"write_key{index}")
            m.d.comb += write.eq(erasing | self.forget | (expanding & (key_round == index)))
            keys.append(self._stored_key(m, index, write, write_index, new_key, indices[index]))

        valid: Value = self.i_blocks.valid & ~erasing
        states: list[Value] = [self.i_blocks.p.blocks[lane] for lane in range(self.lanes)]
        for index, key in enumerate(keys):
            following = [Signal(BLOCK_BITS, name=f"state{index}_{lane}") for lane in range(self.lanes)]
            for lane, (state, after) in enumerate(zip(states, following, strict=True)):
                if index == 0:
                    words = [state.word_select(column, 32) for column in range(4)]
                else:
                    plain, mixed = round_words(m, boxes, state, f"round{index}_{lane}")
                    words = plain if index == self.rounds else mixed
                # SEC_CM: AES.KEY.UNREADABLE -- a stage moves for a block alone: idle inputs are never encrypted
                with m.If(valid):
                    m.d.sync += [
                        after.word_select(column, 32).eq(word ^ key.word_select(column, 32))
                        for column, word in enumerate(words)
                    ]
            states = list(following)
            stage_valid = Signal(name=f"valid{index}")
            m.d.sync += stage_valid.eq(valid)
            valid = stage_valid
        m.d.comb += [self.o_blocks.valid.eq(valid), self.o_blocks.p.eq(Cat(states))]
        return ResetInserter(self.erase)(m)

    def _stored_key(
        self, m: Module, index: int, write: Value, key_index: Value, data: Value, read_index: Value
    ) -> Value:
        """Make the storage of round key ``index`` of all keys; return what ``read_index`` selects in this cycle."""
        if self.keys == 1:
            key = Signal(128, name=f"key{index}")
            with m.If(write):
                m.d.sync += key.eq(data)
            return key
        memory = Memory(shape=unsigned(128), depth=self.keys, init=[], attrs={"ram_style": "distributed"})
        m.submodules[f"keys{index}"] = memory
        write_port = memory.write_port()
        read_port = memory.read_port(domain="comb")
        m.d.comb += [
            write_port.en.eq(write),
            write_port.addr.eq(key_index),
            write_port.data.eq(data),
            read_port.addr.eq(read_index),
        ]
        return read_port.data


class AesIterative(wiring.Component):
    """Encrypts one block at a time, a round a cycle, with a key that comes along. Must equal AES of ``cryptography``.

    The answer to a request taken in cycle t is offered in cycle t + :attr:`latency`; the next request is taken in the
    cycle after the answer is. It serves what is rare (sessions, key derivation) or slow (the draws).

    Parameters
    ----------
    key_bits : :class:`int`
        128 or 256.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout({"key": key_bits, "block": 128})))`
        Block, and the key to encrypt it under.
    o : :py:`Out(stream.Signature(128))`
        Encrypted block; zero while nothing is on offer.
    erase : :py:`In(1)`
        Clears key and block.

    Countermeasures
    ---------------
    AES.KEY.ERASE
        ``erase`` clears key and block; the key is cleared after every block as well.
    AES.KEY.UNREADABLE
        ``o`` is zero unless it offers an encrypted block.
    AES.TIME.CONST
        Latency is a constant.
    """

    def __init__(self, *, key_bits: int = 256) -> None:
        require_one_of("key_bits", key_bits, KEY_BITS)
        self.key_bits = key_bits
        self.rounds = rounds_of(key_bits)
        super().__init__(
            {
                "i": In(stream.Signature(StructLayout({"key": key_bits, "block": BLOCK_BITS}))),
                "o": Out(stream.Signature(BLOCK_BITS)),
                "erase": In(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a request to its answer."""
        return self.rounds + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        boxes = SBoxes(m)
        expander = _KeyExpander(m, boxes, self.key_bits)
        state = Signal(BLOCK_BITS)
        done = Signal(range(self.rounds + 1))  # rounds behind the state
        key = Signal(128)
        # A 256-bit window already holds the next round key; a 128-bit one has to make it.
        m.d.comb += key.eq(expander.following if self.key_bits == 128 else expander.next_key)
        plain, mixed = round_words(m, boxes, state, "round")
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(~self.erase)
                with m.If(self.i.valid):
                    expander.load(self.i.p.key)
                    m.d.sync += [state.eq(self.i.p.block ^ self.i.p.key[:128]), done.eq(1)]
                    m.next = "ROUND"
            with m.State("ROUND"):
                expander.step()
                m.d.sync += done.eq(done + 1)
                with m.If(done == self.rounds):
                    expander.clear()
                    m.d.sync += state.eq(Cat(plain) ^ key)
                    m.next = "DONE"
                with m.Else():
                    m.d.sync += state.eq(Cat(mixed) ^ key)
            with m.State("DONE"):
                m.d.comb += [self.o.valid.eq(1), self.o.p.eq(state)]
                with m.If(self.o.ready):
                    m.d.sync += state.eq(0)
                    m.next = "IDLE"
        # SEC_CM: AES.KEY.ERASE -- all registers, the key window and the block among them
        return ResetInserter(self.erase)(m)
