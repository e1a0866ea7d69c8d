# amaranth: UnusedElaboratable=no
"""Random words for the engine, from the noise of ring oscillators (after NIST SP 800-90B).

At a fixed interval one bit of each source is a sample, and words are made of the XOR of the sources. 1024 samples in a
row make a word. The same samples are a window of the adaptive proportion test, so that a word is on offer only after
all its samples have passed both tests.

What is tested
    Each source, because the XOR hides a dead source as long as another source works. The XOR as well, because sources
    that lock to each other pass their own tests while their XOR stands still.

What is assumed
    :data:`MIN_ENTROPY` bits a sample, for each source and for the XOR. Whoever builds for a card should measure it (SP
    800-90B, section 3; unverified on a card). The cutoffs of the tests follow from it. Good sources have far more, and
    then false alarms are far rarer than the cutoffs allow.

How words are made
    AES-128 in CBC-MAC (section 3.1.5.1.1: inputs of one length, any key, here a public one). A window carries 307 bits
    of min-entropy under the assumption: more than twice the 128 bits that come out.
"""

from __future__ import annotations

from functools import reduce
from importlib.resources import files
from operator import or_

from amaranth.hdl import Cat, ClockSignal, Instance, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from boards.gateware.health import WINDOW, HealthTest
from rtl.constants import BLOCK_BITS
from rtl.crypto.aes import AesIterative
from rtl.stream.interfaces import require_whole

__all__ = ["CONSTRAINTS", "FILE", "KEY", "MIN_ENTROPY", "MODULE", "Conditioner", "Entropy", "source_text"]

MIN_ENTROPY = 0.3
"""Bits of min-entropy that a sample is taken to have: an assumption."""

SOURCES = 4
INTERVAL = 256
"""Cycles between samples, a microsecond at 250 MHz. The phases of the rings drift apart in this time."""

KEY = int.from_bytes(b"omap entropy 128", "little")
"""Key of the conditioning, public; the standard demands only that it does not depend on the noise."""

MODULE = "omap_noise"
"""The Verilog module of a source: input ``i_clk``, output ``o_bit``, parameter ``INDEX`` with its number."""

FILE, CONSTRAINTS = f"{MODULE}.v", f"{MODULE}.xdc"
"""The module's source and its constraints, which stand beside this file; the same in every build."""


def source_text(name: str) -> str:
    """Return the text of :data:`FILE` or :data:`CONSTRAINTS`."""
    return files("boards.gateware").joinpath(name).read_text("utf-8")


KEY_BITS = 128
assert WINDOW % BLOCK_BITS == 0, "a window is whole blocks"
assert WINDOW * MIN_ENTROPY >= 2 * BLOCK_BITS, "twice as much comes in as goes out"


class Conditioner(wiring.Component):
    """Tests noise, and makes words of it.

    A word takes ``1024 * interval`` cycles. The first window after a reset is for the tests alone and makes no word.
    One word waits until it is taken, and the tests go on meanwhile.

    Parameters
    ----------
    sources : int
        Sources of noise, 1 to 64.
    interval : int
        Cycles between samples, at least 1.

    Members
    -------
    raw : In(sources)
        One bit of each source, new in every cycle.
    o : Out(stream.Signature(128))
        Words; zero while none is on offer. The first sample of each block of 128 is in its lowest bit.
    failed : Out(1)
        A test failed. Stays until a reset. No word is on offer then, and a word that was is withdrawn; nothing else
        withdraws one.

    Countermeasures
    ---------------
    ENTROPY.HEALTH.TESTED
        No word is given before the sources were tested, and none once a test failed.
    """

    def __init__(self, *, sources: int = SOURCES, interval: int = INTERVAL) -> None:
        require_whole("sources", sources, 1, 64)
        require_whole("interval", interval, 1, 1 << 20)
        self.sources, self.interval = sources, interval
        super().__init__({"raw": In(sources), "o": Out(stream.Signature(BLOCK_BITS)), "failed": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sample, bits, mixed = Signal(), Signal(self.sources), Signal()
        since = Signal(range(self.interval))
        due = since == self.interval - 1
        m.d.sync += [since.eq(Mux(due, 0, since + 1)), sample.eq(due)]
        with m.If(due):
            m.d.sync += [bits.eq(self.raw), mixed.eq(self.raw.xor())]

        position = Signal(range(WINDOW))
        m.d.sync += position.eq(position + sample)
        tested = [*bits, mixed] if self.sources > 1 else [mixed]
        tests = [HealthTest(entropy=MIN_ENTROPY) for _ in tested]
        for place, (bit, test) in enumerate(zip(tested, tests, strict=True)):
            m.submodules[f"test_{place}"] = test
            m.d.comb += [test.bit.eq(bit), test.sample.eq(sample), test.first.eq(position == 0)]
        alarm = reduce(or_, (test.failed for test in tests))

        # The engine is free when a block is whole: that is 128 samples apart, and it takes 12 cycles.
        m.submodules.aes = aes = AesIterative(key_bits=KEY_BITS)
        block, chain, whole, last = Signal(BLOCK_BITS), Signal(BLOCK_BITS), Signal(), Signal()
        m.d.comb += [
            aes.i.valid.eq(whole),
            aes.i.p.key.eq(KEY),
            aes.i.p.block.eq(chain ^ block),
            aes.o.ready.eq(1),
        ]
        m.d.sync += whole.eq(sample & position[: BLOCK_BITS.bit_length() - 1].all())
        with m.If(sample):
            m.d.sync += block.eq(Cat(block[1:], mixed))
        with m.If(whole):
            m.d.sync += last.eq(position == 0)  # the next sample begins a window

        tested_before = Signal()  # the window at the start is over
        with m.If(self.o.ready):
            m.d.sync += [self.o.valid.eq(0), self.o.p.eq(0)]
        with m.If(aes.o.valid):
            m.d.sync += chain.eq(Mux(last, 0, aes.o.p))
            with m.If(last):
                m.d.sync += tested_before.eq(1)
                with m.If(tested_before & ~self.o.valid):
                    m.d.sync += [self.o.valid.eq(1), self.o.p.eq(aes.o.p)]
        # SEC_CM: ENTROPY.HEALTH.TESTED -- the test of the last sample is long over when its word is made
        with m.If(alarm):
            m.d.sync += [self.failed.eq(1), self.o.valid.eq(0), self.o.p.eq(0)]
        return m


class Entropy(wiring.Component):
    """Sources of noise with a :class:`Conditioner` behind them.

    Parameters
    ----------
    sources, interval
        As for :class:`Conditioner`. With those given here a word takes a millisecond at 250 MHz.

    Members
    -------
    o : Out(stream.Signature(128))
        Words.
    failed : Out(1)
        The sources are broken. Stays.
    """

    def __init__(self, *, sources: int = SOURCES, interval: int = INTERVAL) -> None:
        self.conditioner = Conditioner(sources=sources, interval=interval)
        super().__init__({name: self.conditioner.signature.members[name] for name in ("o", "failed")})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.conditioner = conditioner = self.conditioner
        for index in range(conditioner.sources):
            m.submodules[f"noise_{index}"] = Instance(
                MODULE, p_INDEX=index, i_i_clk=ClockSignal(), o_o_bit=conditioner.raw[index]
            )
        connect(m, conditioner.o, flipped(self.o))
        m.d.comb += self.failed.eq(conditioner.failed)
        return m
