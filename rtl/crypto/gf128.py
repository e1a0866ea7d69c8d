"""Multiplication in GF(2^128) as GCM defines it (NIST SP 800-38D, section 6.3).

An element is a block read as a big-endian number: bit 127 is the coefficient of x^0, bit 0 the
coefficient of x^127. In this order the carry-less product of two numbers is the product of the elements shifted down
by one, so no bit is ever reversed.
"""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

WORD = 32
DIGIT = 8
"""Coefficients that the serial multiplier works off in a cycle."""

REDUCTION = 0xE1 << 120
"""x^128 = x^7 + x^2 + x + 1."""


def _operand_words(element: Value) -> list[Value]:
    """Return the nine 32-bit operands of a product of 128 bits split twice after Karatsuba and Ofman."""
    w = [element.word_select(index, WORD) for index in range(4)]
    low, high, middle = w[0:2], w[2:4], [w[0] ^ w[2], w[1] ^ w[3]]
    return [word for half in (low, high, middle) for word in (*half, half[0] ^ half[1])]


def _word_product(a: Value, b: Value) -> Value:
    """Carry-less product of two words, 63 bits."""
    total: Value | None = None
    for index in range(WORD):
        term = (b & a[index].replicate(WORD)).shift_left(index)
        total = term if total is None else total ^ term
    assert total is not None
    return total[: 2 * WORD - 1]


def _joined(low: Value, high: Value, middle: Value, width: int) -> Value:
    """Put the three partial products of one Karatsuba step together; each part is ``width`` bits of operand."""
    total = low ^ (middle ^ low ^ high).shift_left(width) ^ high.shift_left(2 * width)
    return total[: 4 * width - 1]


def reduced(product: Value) -> Value:
    """Reduce a carry-less product of 255 bits to an element."""
    high_degrees = product[:127].shift_left(1)  # coefficients of x^128 up, in the order of an element
    folded = (high_degrees ^ high_degrees.shift_left(126) ^ high_degrees.shift_left(121))[:128]
    return product[127:255] ^ folded ^ folded.shift_right(1) ^ folded.shift_right(2) ^ folded.shift_right(7)


class GfMultiplier(wiring.Component):
    """Multiplies two elements, one pair a cycle: ``o`` is the product of ``a`` and ``b`` of :attr:`latency` cycles ago.

    Stages: sums of operand words, nine products of words, recombination with reduction. There is no state beyond the
    three register stages, and none of it depends on earlier products.

    Members
    -------
    a, b : :py:`In(128)`
        Elements.
    o : :py:`Out(128)`
        Their product.
    """

    latency = 3

    def __init__(self) -> None:
        super().__init__({"a": In(128), "b": In(128), "o": Out(128)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        products = []
        for index, (a, b) in enumerate(zip(_operand_words(self.a), _operand_words(self.b), strict=True)):
            word_a = Signal(WORD, name=f"a{index}", reset_less=True)
            word_b = Signal(WORD, name=f"b{index}", reset_less=True)
            product = Signal(2 * WORD - 1, name=f"product{index}", reset_less=True)
            m.d.sync += [word_a.eq(a), word_b.eq(b), product.eq(_word_product(word_a, word_b))]
            products.append(product)
        thirds = []
        for index, name in enumerate(("low", "high", "middle")):
            third = Signal(127, name=name)
            m.d.comb += third.eq(_joined(*products[3 * index : 3 * index + 3], WORD))
            thirds.append(third)
        whole = Signal(255)
        result = Signal(128, reset_less=True)
        m.d.comb += [whole.eq(_joined(*thirds, 2 * WORD)), self.o.eq(result)]
        m.d.sync += result.eq(reduced(whole))
        return m


def multiples(m: Module, element: Value, count: int, name: str) -> list[Value]:
    """Return ``element`` times x^0, x^1, ... x^(count - 1), in the same cycle."""
    out = [element]
    for power in range(1, count):
        last = out[-1]
        out.append(Signal(128, name=f"{name}_x{power}"))  # a signal each: nested expressions would double every time
        m.d.comb += out[-1].eq(last.shift_right(1) ^ (last[0].replicate(128) & REDUCTION))
    return out


class GfSerialMultiplier(wiring.Component):
    """Multiplies one pair of elements at a time, in 128 / 8 cycles: for the powers of a new hash key.

    A request taken in cycle t is answered in cycle t + :attr:`latency`; the next is taken after the answer is.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout({"a": 128, "b": 128})))`
        Elements.
    o : :py:`Out(stream.Signature(128))`
        Their product.
    """

    latency = 128 // DIGIT + 1

    def __init__(self) -> None:
        super().__init__(
            {"i": In(stream.Signature(StructLayout({"a": 128, "b": 128}))), "o": Out(stream.Signature(128))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a, b, total = Signal(128), Signal(128), Signal(128)
        step = Signal(range(128 // DIGIT))
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [a.eq(self.i.p.a), b.eq(self.i.p.b), total.eq(0), step.eq(0)]
                    m.next = "STEP"
            with m.State("STEP"):
                # Horner's rule from the highest degrees, which are the lowest bits. Multiples of b by x^0 to x^7.
                following = multiples(m, total, DIGIT + 1, "total")[-1]
                for degree, multiple in enumerate(multiples(m, b, DIGIT, "b")):
                    following = following ^ (multiple & a[DIGIT - 1 - degree].replicate(128))
                m.d.sync += [a.eq(a >> DIGIT), total.eq(following), step.eq(step + 1)]
                with m.If(step == 128 // DIGIT - 1):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += [self.o.valid.eq(1), self.o.p.eq(total)]
                with m.If(self.o.ready):
                    m.d.sync += [a.eq(0), b.eq(0), total.eq(0)]
                    m.next = "IDLE"
        return m
