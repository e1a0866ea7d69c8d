"""Pages are sealed in the stated format, under nonces that never repeat; altered ones are refused."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from omap.crypto import PageCodec, Secrets
from omap.errors import TamperedError

keys, ids = st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16)
pages, boots, versions = st.integers(0, 2**31 - 1), st.integers(0, 2**16 - 1), st.integers(1, 2**48 - 1)
plaintexts = st.binary(min_size=1, max_size=112)


@pytest.mark.sec_cm("PAGE.MEM.ENCRYPT")
@given(key=keys, map_id=ids, page=pages, boot=boots, version=versions, plaintext=plaintexts)
def test_page_format(key, map_id, page, boot, version, plaintext):
    nonce = page.to_bytes(4, "big") + boot.to_bytes(2, "big") + version.to_bytes(6, "big")
    codec = PageCodec(key, map_id, boot)
    sealed = codec.seal(page, version, plaintext)
    assert sealed == AESGCM(key).encrypt(nonce, plaintext, map_id)
    assert codec.open(page, version, sealed) == plaintext


@pytest.mark.sec_cm("PAGE.NONCE.UNIQUE")
@given(key=keys, map_id=ids, one=st.tuples(pages, boots, versions), other=st.tuples(pages, boots, versions))
def test_no_two_pages_boots_or_versions_share_a_key_stream(key, map_id, one, other):
    seals = [PageCodec(key, map_id, boot).seal(page, version, bytes(16)) for page, boot, version in (one, other)]
    assert (seals[0] == seals[1]) == (one == other)


@given(key=keys, map_id=ids, page=pages, version=versions, plaintext=plaintexts, data=st.data())
def test_a_flipped_bit_is_refused(key, map_id, page, version, plaintext, data):
    codec = PageCodec(key, map_id)
    sealed = bytearray(codec.seal(page, version, plaintext))
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(TamperedError, match=f"page {page} failed authentication"):
        codec.open(page, version, bytes(sealed))


@pytest.mark.sec_cm("ERROR.TEXT.CLEAN")
def test_secrets_do_not_show():
    secrets = Secrets.generate()
    for name in ("page_key", "draw_seed", "hash_key"):
        value = getattr(secrets, name)
        assert value.hex() not in repr(secrets)
        assert repr(value) not in repr(secrets)
