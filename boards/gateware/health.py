"""Health tests of a noise source that gives bits (NIST SP 800-90B, section 4.4), with the cutoffs of the standard."""

from __future__ import annotations

import math

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from scipy.stats import binom

from rtl.stream.interfaces import require

__all__ = ["ALPHA", "WINDOW", "HealthTest", "proportion_cutoff", "repetition_cutoff"]

ALPHA = 2.0**-30
"""Share of false alarms if a source has no more entropy than is claimed; the standard allows 2**-40 to 2**-20."""

WINDOW = 1024
"""Samples of a window of the adaptive proportion test, for sources of bits."""


def repetition_cutoff(entropy: float, alpha: float = ALPHA) -> int:
    """Return how many equal samples in a row are an alarm (section 4.4.1).

    Parameters
    ----------
    entropy : float
        Min-entropy of a sample that is claimed, bits; above 0, at most 1.
    alpha : float
        Share of false alarms.
    """
    _check(entropy)
    return 1 + math.ceil(-math.log2(alpha) / entropy)


def proportion_cutoff(entropy: float, alpha: float = ALPHA, window: int = WINDOW) -> int:
    """Return how many samples of a window that equal its first are an alarm (section 4.4.2).

    Parameters
    ----------
    entropy, alpha
        As for :func:`repetition_cutoff`.
    window : int
        Samples of a window.

    Raises
    ------
    ParamsError
        If not even a window of equal samples would be an alarm: the entropy claimed is too low.
    """
    _check(entropy)
    cutoff = 1 + int(binom.isf(alpha, window, 2.0**-entropy))
    require(cutoff <= window, f"entropy is {entropy}; a window of {window} samples can't tell that from none")
    return cutoff


def _check(entropy: float) -> None:
    require(0 < entropy <= 1, f"entropy is {entropy!r}; a bit has more than 0 and at most 1")


class HealthTest(wiring.Component):
    """Both tests on one source. Must equal what sections 4.4.1 and 4.4.2 say.

    Parameters
    ----------
    entropy : float
        Min-entropy of a sample that is claimed, bits.

    Members
    -------
    bit : In(1)
        The sample.
    sample : In(1)
        ``bit`` is a new sample.
    first : In(1)
        It is the first of a window of :data:`WINDOW` samples.
    failed : Out(1)
        One of the tests failed; shows in the cycle after the sample. Stays.
    """

    def __init__(self, *, entropy: float) -> None:
        self.repetitions, self.proportion = repetition_cutoff(entropy), proportion_cutoff(entropy)
        super().__init__({"bit": In(1), "sample": In(1), "first": In(1), "failed": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        last, run = Signal(), Signal(range(self.repetitions + 1))
        wanted, count = Signal(), Signal(range(self.proportion + 1))
        again, another = self.bit == last, ~self.first & (self.bit == wanted)
        with m.If(self.sample):
            m.d.sync += [last.eq(self.bit), run.eq(Mux(again, run + 1, 1))]
            with m.If(self.first):
                m.d.sync += [wanted.eq(self.bit), count.eq(1)]
            with m.Elif(another):
                m.d.sync += count.eq(count + 1)
            with m.If((again & (run == self.repetitions - 1)) | (another & (count == self.proportion - 1))):
                m.d.sync += self.failed.eq(1)
        return m
