"""Draws are AES in counter mode, indexed by operation, and scaled without error."""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from omap.drbg import Drbg, scale

seeds = st.binary(min_size=32, max_size=32)


@given(seed=seeds, first=st.integers(0, 2**64), count=st.integers(1, 5), pages=st.integers(1, 2**31))
def test_block_i_is_aes_of_i(seed, first, count, pages):
    ecb = Cipher(algorithms.AES256(seed), modes.ECB()).encryptor()
    for place, pair in enumerate(Drbg(seed).pairs(first, count, pages)):
        block = ecb.update((first + place).to_bytes(16, "big"))
        expected = [int.from_bytes(half, "big") * pages >> 64 for half in (block[:8], block[8:])]
        assert pair.tolist() == expected


def test_fips_197_block():
    # FIPS 197 appendix C.3: AES-256 of 00112233..ff under 00 01 .. 1f
    key, index = bytes(range(32)), int.from_bytes(bytes.fromhex("00112233445566778899aabbccddeeff"), "big")
    words = Drbg(key).words(index, 1)[0]
    assert b"".join(int(word).to_bytes(8, "big") for word in words).hex() == "8ea2b7ca516745bfeafc49904b496089"


@given(words=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=8), bound=st.integers(1, 2**31))
def test_scale_is_exact(words, bound):
    assert scale(np.array(words, np.uint64), bound).tolist() == [word * bound >> 64 for word in words]
