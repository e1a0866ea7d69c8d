"""Pages are sealed in the stated format, under nonces that never repeat; altered ones are refused."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from omap.crypto import PageCipher, PageCodec, Secrets, page_key
from omap.errors import ExhaustedError, TamperedError
from omap.kdf import derive
from omap.versions import KEPT_MASK

keys, ids = st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16)
pages, versions = st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1)
plaintexts = st.binary(min_size=1, max_size=112)


@pytest.mark.sec_cm("PAGE.MEM.ENCRYPT")
@given(key=keys, map_id=ids, page=pages, version=versions, plaintext=plaintexts)
def test_page_format(key, map_id, page, version, plaintext):
    nonce = page.to_bytes(4, "big") + version.to_bytes(8, "big")
    cipher = PageCipher(key, map_id)
    sealed = cipher.seal(page, version, plaintext)
    assert sealed == AESGCM(key).encrypt(nonce, plaintext, map_id)
    assert cipher.open(page, version, sealed) == plaintext


@pytest.mark.sec_cm("PAGE.NONCE.UNIQUE")
@given(key=keys, map_id=ids, one=st.tuples(pages, versions), other=st.tuples(pages, versions))
def test_no_two_pages_or_versions_share_a_key_stream(key, map_id, one, other):
    seals = [PageCipher(key, map_id).seal(page, version, bytes(16)) for page, version in (one, other)]
    assert (seals[0] == seals[1]) == (one == other)


@given(key=keys, map_id=ids, page=pages, version=versions, plaintext=plaintexts, data=st.data())
def test_a_flipped_bit_is_refused(key, map_id, page, version, plaintext, data):
    cipher = PageCipher(key, map_id)
    sealed = bytearray(cipher.seal(page, version, plaintext))
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(TamperedError, match=f"page {page} failed authentication"):
        cipher.open(page, version, bytes(sealed))


@pytest.mark.sec_cm("PAGE.KEY.EPOCH")
@given(secret=keys, map_id=ids, version=versions, k=st.integers(1, 46))
def test_each_epoch_has_a_key_of_its_own(secret, map_id, version, k):
    codec = PageCodec(secret, map_id, k)
    found = [codec.seal(7, later, bytes(48)) for later in (version, version + (1 << k))]
    for number, sealed in enumerate(found):
        epoch = (version >> k) + number
        key = derive(secret, b"omap page 2", map_id + epoch.to_bytes(8, "big"), 32)
        assert key == page_key(secret, map_id, epoch)
        assert sealed == PageCipher(key, map_id).seal(7, version + (number << k), bytes(48))


@given(secret=keys, version=versions, k=st.integers(1, 46), later=st.integers(0, 2**47 - 1))
def test_a_page_opens_in_its_epoch_and_the_next_and_is_lost_after_that(secret, version, k, later):
    present = version + later
    codec = PageCodec(secret, bytes(16), k)
    sealed = codec.seal(3, version, b"text")
    if (present >> k) - (version >> k) <= 1:
        assert codec.open(3, version & KEPT_MASK, sealed, present=present) == b"text"
    else:
        with pytest.raises(ExhaustedError, match="page 3 was not touched for a whole epoch"):
            codec.open(3, version & KEPT_MASK, sealed, present=present)


@pytest.mark.sec_cm("ERROR.TEXT.CLEAN")
def test_secrets_do_not_show():
    secrets = Secrets.generate()
    for name in ("page_secret", "draw_seed", "hash_key"):
        value = getattr(secrets, name)
        assert value.hex() not in repr(secrets)
        assert repr(value) not in repr(secrets)
