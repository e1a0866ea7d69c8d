"""SipHash-2-4 with a 64-bit result (Aumasson and Bernstein, INDOCRYPT 2012) of keys of one fixed length."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.stream.interfaces import require_one_of

MESSAGE_BYTES = (4, 8, 16)
WORD = 64
COMPRESSION_ROUNDS = 2
FINAL_ROUNDS = 4
INITIAL = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
FINAL = 0xFF

State = Sequence[Value]


def _first_half(v: State) -> list[Value]:
    """Return the state after the upper half of a SipRound: two additions side by side, none after another."""
    a, c = (v[0] + v[1])[:WORD], (v[2] + v[3])[:WORD]
    return [a.rotate_left(32), v[1].rotate_left(13) ^ a, c, v[3].rotate_left(16) ^ c]


def _second_half(v: State) -> list[Value]:
    """Return the state after the lower half of a SipRound."""
    a, c = (v[0] + v[3])[:WORD], (v[2] + v[1])[:WORD]
    return [a, v[1].rotate_left(17) ^ c, c.rotate_left(32), v[3].rotate_left(21) ^ a]


class SipHash(wiring.Component):
    """Hashes one message a cycle. Must equal :func:`omap.siphash.siphash24`.

    A message offered in cycle t is answered in cycle t + :attr:`latency`, always, in order; there is no back-pressure.
    Half a round is a stage, so that no path has more than one addition.

    Parameters
    ----------
    message_bytes : :class:`int`
        Length of every message, 4, 8 or 16: the key sizes of a map.

    Members
    -------
    i_key : :py:`In(stream.Signature(128, always_ready=True))`
        Hash key, used for the messages of the next cycle on.
    i_message : :py:`In(stream.Signature(8 * message_bytes, always_ready=True))`
        Messages.
    o_hash : :py:`Out(stream.Signature(64, always_ready=True))`
        Their hashes; zero while there is none.
    erase : :py:`In(1)`
        Clears the hash key and all messages under way.

    Countermeasures
    ---------------
    SIPHASH.KEY.ERASE
        ``erase`` clears the hash key and everything computed with it.
    SIPHASH.KEY.UNREADABLE
        ``o_hash`` is zero unless it carries the hash of a message.
    SIPHASH.TIME.CONST
        The latency is a constant.
    """

    def __init__(self, *, message_bytes: int) -> None:
        require_one_of("message_bytes", message_bytes, MESSAGE_BYTES)
        self.message_bytes = message_bytes
        super().__init__(
            {
                "i_key": In(stream.Signature(2 * WORD, always_ready=True)),
                "i_message": In(stream.Signature(8 * message_bytes, always_ready=True)),
                "o_hash": Out(stream.Signature(WORD, always_ready=True)),
                "erase": In(1),
            }
        )

    @property
    def words(self) -> int:
        """Words that are compressed: the last one holds the length of the message."""
        return self.message_bytes // 8 + 1

    @property
    def latency(self) -> int:
        """Cycles from a message to its hash: one for the key, two for each round."""
        return 1 + 2 * (COMPRESSION_ROUNDS * self.words + FINAL_ROUNDS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        key = Signal(2 * WORD)
        with m.If(self.i_key.valid):
            m.d.sync += key.eq(self.i_key.p)

        padding = 8 * self.words - 1 - self.message_bytes
        message: Value = Cat(self.i_message.p, Const(0, 8 * padding), Const(self.message_bytes, 8))
        valid: Value = self.i_message.valid
        state: State = [key.word_select(index % 2, WORD) ^ initial for index, initial in enumerate(INITIAL)]
        state = [*state[:3], state[3] ^ message[:WORD]]

        stage = 0

        def register(values: State, rest: Value) -> tuple[list[Value], Value, Value]:
            """Put a stage of registers behind ``values`` and the words that are still to come."""
            nonlocal stage
            after = [Signal(WORD, name=f"v{index}_{stage}") for index in range(4)]
            rest_after = Signal(len(rest), name=f"rest_{stage}")
            valid_after = Signal(name=f"valid_{stage}")
            # SEC_CM: SIPHASH.TIME.CONST -- every message passes every stage
            m.d.sync += [Cat(after).eq(Cat(values)), rest_after.eq(rest), valid_after.eq(valid)]
            stage += 1
            return list(after), rest_after, valid_after

        state, message, valid = register(state, message)
        for index in range(self.words):
            for step in range(COMPRESSION_ROUNDS):
                state, message, valid = register(_first_half(state), message)
                state = _second_half(state)
                if step == COMPRESSION_ROUNDS - 1:  # the word goes in, and the next one, or the end, follows at once
                    word, message = message[:WORD], message[WORD:]
                    state[0] = state[0] ^ word
                    if index == self.words - 1:
                        state[2] = state[2] ^ FINAL
                    else:
                        state[3] = state[3] ^ message[:WORD]
                state, message, valid = register(state, message)
        for _ in range(FINAL_ROUNDS):
            state, message, valid = register(_first_half(state), message)
            state, message, valid = register(_second_half(state), message)
        # SEC_CM: SIPHASH.KEY.UNREADABLE -- idle stages hold the bare key in a known mixture
        m.d.comb += [
            self.o_hash.valid.eq(valid),
            self.o_hash.p.eq((state[0] ^ state[1] ^ state[2] ^ state[3]) & valid.replicate(WORD)),
        ]
        # SEC_CM: SIPHASH.KEY.ERASE -- all registers, those of the pipeline among them
        return ResetInserter(self.erase)(m)
