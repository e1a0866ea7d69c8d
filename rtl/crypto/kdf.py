"""Key derivation in counter mode (NIST SP 800-108, section 4.1) with CMAC-AES-256."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, ResetInserter, Signal, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.kdf import LENGTH_BYTES, Derivation
from rtl.constants import BLOCK_BITS, BLOCK_BYTES
from rtl.crypto.cmac import Cmac
from rtl.stream.interfaces import require, require_whole, swap_bytes

KEY_BITS = 256
COUNTER_BYTES = 4
MAX_FIXED_BYTES = 252
MAX_OUTPUT_BYTES = 256


def fixed_input(use: Derivation, *context: ValueLike) -> Value:
    """Return the fixed input of a derivation, from the parts of its context as bytes of a stream."""
    parts = [Value.cast(part) for part in context]
    came, wanted = [len(part) for part in parts], [8 * size for size in use.context.values()]
    assert came == wanted, f"the context of {use.label.decode()!r} has parts of {wanted} bits; {came} came"
    label = use.label + b"\0"
    return Cat(
        Const(int.from_bytes(label, "little"), 8 * len(label)),
        *parts,
        swap_bytes(Const(8 * use.length, 8 * LENGTH_BYTES)),
    )


def _end(fixed_bytes: int) -> tuple[int, int]:
    """Return which beat of a message is the last one, and how many of its bytes count."""
    beat = (COUNTER_BYTES + fixed_bytes - 1) // BLOCK_BYTES
    return beat, COUNTER_BYTES + fixed_bytes - beat * BLOCK_BYTES


class Kdf(wiring.Component):
    """Derives a key of ``output_bytes``. Must equal :func:`omap.kdf.derive`.

    Each 16 bytes of output are the CMAC of a 32-bit counter and the fixed input, ``label || 0x00 || context || length``
    with the length of the output in bits as 32-bit big-endian number. Whoever wires the block puts it together, see
    :func:`fixed_input`, and may make any part of it constant. If the length in it is less than the block's, the output
    begins with what is derived. With ``short_bytes`` a request says which of two lengths its fixed input has.

    Parameters
    ----------
    fixed_bytes : :class:`int`
        Length of the fixed input, 1 to 252.
    output_bytes : :class:`int`
        Length of the output, a multiple of 16 from 16 to 256.
    short_bytes : :class:`int`
        Length of a second, shorter fixed input, 1 to ``fixed_bytes`` - 1, or 0 if there is none.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout({"key": 256, "fixed": 8 * fixed_bytes})))`
        Key to derive from, and fixed input. With ``short_bytes`` there is a further field, ``short``: the fixed input
        is the first ``short_bytes`` of ``fixed``, and the other bytes are ignored.
    o : :py:`Out(stream.Signature(8 * output_bytes))`
        Derived key; zero while nothing is on offer.
    erase : :py:`In(1)`
        Clears both keys.

    Countermeasures
    ---------------
    KDF.KEY.ERASE
        ``erase`` clears both keys; they are cleared after every derivation as well.
    KDF.KEY.UNREADABLE
        ``o`` is zero unless it offers a whole derived key.
    KDF.TIME.CONST
        The time of a derivation is a constant for each length of a fixed input.
    """

    def __init__(self, *, fixed_bytes: int, output_bytes: int, short_bytes: int = 0) -> None:
        require_whole("fixed_bytes", fixed_bytes, 1, MAX_FIXED_BYTES)
        require_whole("output_bytes", output_bytes, BLOCK_BYTES, MAX_OUTPUT_BYTES)
        require(
            output_bytes % BLOCK_BYTES == 0, f"output_bytes is {output_bytes}; it must be a multiple of {BLOCK_BYTES}"
        )
        require_whole("short_bytes", short_bytes, 0, fixed_bytes - 1)
        self.fixed_bytes = fixed_bytes
        self.output_bytes = output_bytes
        self.short_bytes = short_bytes
        request = {"key": KEY_BITS, "fixed": 8 * fixed_bytes} | ({"short": 1} if short_bytes else {})
        super().__init__(
            {
                "i": In(stream.Signature(StructLayout(request))),
                "o": Out(stream.Signature(8 * output_bytes)),
                "erase": In(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a request to its answer, if its fixed input is not the short one."""
        blocks = -(-(COUNTER_BYTES + self.fixed_bytes) // BLOCK_BYTES)
        return 18 + self.output_bytes // BLOCK_BYTES * (16 * blocks + 1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.cmac = cmac = Cmac()
        message_bytes = COUNTER_BYTES + self.fixed_bytes
        beats = -(-message_bytes // BLOCK_BYTES)
        last_beat, last_bytes = _end(self.fixed_bytes)
        rounds = self.output_bytes // BLOCK_BYTES
        key = Signal(KEY_BITS)
        fixed = Signal(8 * self.fixed_bytes)
        output = Signal(8 * self.output_bytes)
        beat = Signal(range(beats))
        counter = Signal(8 * COUNTER_BYTES)

        message = Cat(swap_bytes(counter), fixed, Const(0, 8 * (beats * BLOCK_BYTES - message_bytes)))
        if self.short_bytes:
            short = Signal()
            last_beat, last_bytes = (
                Mux(short, few, many) for few, many in zip(_end(self.short_bytes), _end(self.fixed_bytes), strict=True)
            )
            with m.If(self.i.valid & self.i.ready):
                m.d.sync += short.eq(self.i.p.short)
        last = beat == last_beat
        m.d.comb += [
            cmac.i_key.p.eq(key),
            cmac.i_message.p.data.eq(Array(message.word_select(index, BLOCK_BITS) for index in range(beats))[beat]),
            cmac.i_message.p.last.eq(last),
            cmac.i_message.p.bytes.eq(Mux(last, last_bytes, BLOCK_BYTES)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(~self.erase)
                with m.If(self.i.valid):
                    m.d.sync += [key.eq(self.i.p.key), fixed.eq(self.i.p.fixed), counter.eq(1)]
                    m.next = "KEY"
            with m.State("KEY"):
                m.d.comb += cmac.i_key.valid.eq(1)
                with m.If(cmac.i_key.ready):
                    m.next = "MESSAGE"
            with m.State("MESSAGE"):
                # SEC_CM: KDF.TIME.CONST -- as many blocks for every key and input
                m.d.comb += cmac.i_message.valid.eq(1)
                with m.If(cmac.i_message.ready):
                    m.d.sync += beat.eq(Mux(last, 0, beat + 1))
                    with m.If(last):
                        m.next = "TAG"
            with m.State("TAG"):
                m.d.comb += cmac.o_tag.ready.eq(1)
                with m.If(cmac.o_tag.valid):
                    m.d.sync += [output.eq(Cat(output, cmac.o_tag.p)[BLOCK_BITS:]), counter.eq(counter + 1)]
                    m.next = "MESSAGE"
                    with m.If(counter == rounds):
                        m.next = "DONE"
            with m.State("DONE"):
                # SEC_CM: KDF.KEY.UNREADABLE -- a part of the derived key shows nowhere before
                m.d.comb += [self.o.valid.eq(1), self.o.p.eq(output)]
                with m.If(self.o.ready):
                    m.d.sync += [output.eq(0), key.eq(0), fixed.eq(0)]
                    m.next = "IDLE"
        # SEC_CM: KDF.KEY.ERASE -- all registers, those of the CMAC among them
        return ResetInserter(self.erase)(m)
