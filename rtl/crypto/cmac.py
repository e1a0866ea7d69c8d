"""CMAC (NIST SP 800-38B) with AES-256, a block at a time."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from rtl.constants import BLOCK_BITS, BLOCK_BYTES
from rtl.crypto.aes import AesIterative
from rtl.stream.interfaces import swap_bytes

KEY_BITS = 256

DOUBLING = 0x87
"""x^128 = x^7 + x^2 + x + 1 in the order of a big-endian number (SP 800-38B, section 5.3)."""


def _doubled(block: Value) -> Value:
    number = swap_bytes(block)
    return swap_bytes(Cat(0, number[:-1])[:BLOCK_BITS] ^ Mux(number[-1], DOUBLING, 0))


class Cmac(wiring.Component):
    """Authenticates messages of any length. Must equal :func:`omap.kdf.cmac`.

    A key takes 17 cycles and every block 16; there is one AES, because sessions are rare.

    Members
    -------
    i_key : :py:`In(stream.Signature(256))`
        Key of the messages that follow. Taken between messages.
    i_message : :py:`In(stream.Signature(StructLayout({"data": 128, "bytes": range(17), "last": 1})))`
        Message, 16 bytes a beat; ``bytes`` counts in the beat marked ``last`` alone, and is 0 only for the empty
        message. Not taken before a key came.
    o_tag : :py:`Out(stream.Signature(128))`
        Tag of each message; zero while nothing is on offer.
    erase : :py:`In(1)`
        Clears key, subkeys and the message under way.

    Countermeasures
    ---------------
    CMAC.KEY.ERASE
        ``erase`` clears key, subkeys and chaining value.
    CMAC.KEY.UNREADABLE
        ``o_tag`` is zero unless it carries the tag of a whole message.
    CMAC.TIME.CONST
        Times depend on the number of blocks alone.
    """

    def __init__(self) -> None:
        beat = StructLayout({"data": BLOCK_BITS, "bytes": range(BLOCK_BYTES + 1), "last": 1})
        super().__init__(
            {
                "i_key": In(stream.Signature(KEY_BITS)),
                "i_message": In(stream.Signature(beat)),
                "o_tag": Out(stream.Signature(BLOCK_BITS)),
                "erase": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.aes = aes = AesIterative(key_bits=KEY_BITS)
        key = Signal(KEY_BITS)
        keyed = Signal()
        subkey = Signal(BLOCK_BITS)  # K1; K2 is one doubling more
        chain = Signal(BLOCK_BITS)
        begun = Signal()
        final = Signal()

        beat = self.i_message.p
        whole = beat.bytes == BLOCK_BYTES
        padded = Cat(
            Mux(index < beat.bytes, beat.data.word_select(index, 8), Mux(index == beat.bytes, 0x80, 0))
            for index in range(BLOCK_BYTES)
        )
        # SEC_CM: CMAC.TIME.CONST -- both ends of a message, padded or not, take one block of AES
        block = Mux(beat.last, padded ^ Mux(whole, subkey, _doubled(subkey)), beat.data)
        m.d.comb += aes.i.p.key.eq(key)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i_key.ready.eq(~begun & ~self.erase)
                with m.If(self.i_key.valid & ~begun):
                    m.d.sync += [key.eq(self.i_key.p), keyed.eq(0)]
                    m.next = "SUBKEY"
                with m.Elif(self.i_message.valid & keyed):
                    m.d.comb += [
                        self.i_message.ready.eq(aes.i.ready & ~self.erase),
                        aes.i.valid.eq(1),
                        aes.i.p.block.eq(chain ^ block),
                    ]
                    with m.If(aes.i.ready):
                        m.d.sync += [begun.eq(~beat.last), final.eq(beat.last)]
                        m.next = "BLOCK"
            with m.State("SUBKEY"):
                m.d.comb += aes.i.valid.eq(1)
                with m.If(aes.i.ready):
                    m.next = "AWAIT_SUBKEY"
            with m.State("AWAIT_SUBKEY"):
                m.d.comb += aes.o.ready.eq(1)
                with m.If(aes.o.valid):
                    m.d.sync += [subkey.eq(_doubled(aes.o.p)), keyed.eq(1)]
                    m.next = "IDLE"
            with m.State("BLOCK"):
                m.d.comb += aes.o.ready.eq(1)
                with m.If(aes.o.valid):
                    m.d.sync += chain.eq(aes.o.p)
                    m.next = "IDLE"
                    with m.If(final):
                        m.next = "TAG"
            with m.State("TAG"):
                # SEC_CM: CMAC.KEY.UNREADABLE -- the chaining value shows here alone
                m.d.comb += [self.o_tag.valid.eq(1), self.o_tag.p.eq(chain)]
                with m.If(self.o_tag.ready):
                    m.d.sync += chain.eq(0)
                    m.next = "IDLE"
        # SEC_CM: CMAC.KEY.ERASE -- all registers, those of the cipher among them
        return ResetInserter(self.erase)(m)
