"""What boards.gateware.entropy does, in Python: health tests and words from samples, and the model of the noise."""

import math
from fractions import Fraction
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from boards import gateware
from boards.check.noise import SIMULATOR
from boards.gateware.entropy import FILE

SOURCE = Path(gateware.__file__).with_name(FILE)

WINDOW = 1024
REPETITIONS, PROPORTION = 101, 904
"""Cutoffs for 0.3 bits a sample and 2**-30, checked in test_entropy.py."""

KEY = b"omap entropy 128"


def exact_proportion_cutoff(entropy, alpha, window):
    """Return 1 + CRITBINOM(window, 2**-entropy, 1 - alpha), computed without rounding but that of 2**-entropy."""
    p, alpha = Fraction(2.0**-entropy), Fraction(alpha)
    above = Fraction(0)  # probability of more than k
    for k in reversed(range(window + 1)):
        following = above + math.comb(window, k) * p**k * (1 - p) ** (window - k)
        if following > alpha:
            return 1 + k
        above = following
    raise AssertionError("alpha is 1 or more")


def first_failure(bits):
    """Return after how many samples a source is found broken, or None: sections 4.4.1 and 4.4.2, step by step."""
    last, run, wanted, count = None, 0, None, 0
    for place, bit in enumerate(bits):
        run = run + 1 if bit == last else 1
        last = bit
        if place % WINDOW == 0:
            wanted, count = bit, 1
        elif bit == wanted:
            count += 1
        if run >= REPETITIONS or count >= PROPORTION:
            return place + 1
    return None


def failure(samples):
    """Return after how many samples a test fails, or None. ``samples`` are tuples with a bit of each source."""
    columns = [*zip(*samples, strict=True), [sum(sample) % 2 for sample in samples]]
    found = [at for at in map(first_failure, columns) if at is not None]
    return min(found, default=None)


def word(samples):
    """Return the word that a window of samples makes: AES-128 in CBC-MAC."""
    bits = sum((sum(sample) % 2) << place for place, sample in enumerate(samples))
    cipher = Cipher(algorithms.AES(KEY), modes.CBC(bytes(16))).encryptor()
    return int.from_bytes(cipher.update(bits.to_bytes(WINDOW // 8, "little"))[-16:], "little")


def words(samples):
    """Return the words of all whole windows but the first, up to the first failure."""
    good = failure(samples)
    count = (len(samples) if good is None else good - 1) // WINDOW
    return [word(samples[WINDOW * place :][:WINDOW]) for place in range(1, count)]


def known_noise():
    """Return the source of noise as the vendor's simulator sees it, with the stand-in for its rings."""
    return f"`define {SIMULATOR}\n{SOURCE.read_text()}"


def noise_bits(index, count):
    """Return the first bits of the source ``index`` of omap_noise.v, in a simulator."""
    mask = (1 << 64) - 1
    state, bits = 0x9E3779B97F4A7C15 * (2 * index + 1) & mask, []
    for _ in range(count):
        bits.append(state >> 63)
        state ^= state << 13 & mask
        state ^= state >> 7
        state ^= state << 17 & mask
    return bits
