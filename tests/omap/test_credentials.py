"""Credentials and the keys that follow from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omap.credentials import MOST_PREFIX_BYTES, NAME_BYTES, Credential, Right, provision
from omap.errors import InputError
from omap.kdf import derive
from omap.presets import preset

ROOT_KEY = bytes(range(32))

credentials = st.builds(
    Credential,
    st.sampled_from([Right.READ, Right.WRITE, Right.READ | Right.WRITE]),
    st.binary(max_size=MOST_PREFIX_BYTES),
    st.binary(max_size=NAME_BYTES).map(lambda name: name.rstrip(b"\0")),
)


@given(credential=credentials)
def test_a_credential_comes_back_from_its_32_bytes(credential):
    packed = credential.pack()
    assert packed[:2] == bytes([credential.rights, len(credential.prefix)])
    assert packed[2:10].rstrip(b"\0") == credential.prefix.rstrip(b"\0")
    assert packed[10:].rstrip(b"\0") == credential.name
    assert Credential.unpack(packed) == credential


@given(packed=st.binary(max_size=40))
def test_other_bytes_are_no_credential(packed):
    try:
        credential = Credential.unpack(packed)
    except InputError:
        return
    assert credential.pack() == packed


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (dict(rights=0), r"rights are 0; they must be 1 \(read\), 2 \(write\) or 3 \(both\)"),
        (dict(rights=4), "rights are 4"),
        (dict(prefix=bytes(9)), "the prefix has 9 bytes; at most 8"),
        (dict(name=bytes([1]) * 23), "the name has 23 bytes; it must have at most 22"),
        (dict(name=b"alice\0"), "the last of them not zero"),
    ],
)
def test_what_no_client_can_be_is_refused_in_a_sentence(parts, says):
    with pytest.raises(InputError, match=says):
        Credential(**parts)


def test_a_prefix_is_no_longer_than_a_key():
    Credential(prefix=b"four").check(preset("TINY"))
    with pytest.raises(InputError, match="the prefix has 5 bytes and keys of this map have 4: provision"):
        Credential(prefix=b"five!").check(preset("TINY"))


@pytest.mark.sec_cm("SESSION.KEY.OWN")
@given(root_key=st.binary(min_size=32, max_size=32), one=credentials, other=credentials)
def test_keys_follow_from_root_key_and_credential(root_key, one, other):
    mine, theirs = provision(root_key, one), provision(root_key, other)
    assert mine.key == derive(root_key, b"omap client 2", one.pack(), 32)
    prefix = bytes([len(one.prefix)]) + one.prefix.ljust(8, b"\0")
    assert mine.names_key == derive(root_key, b"omap names 2", prefix, 32)
    assert (mine.key == theirs.key) == (one == other)
    assert (mine.names_key == theirs.names_key) == (one.prefix == other.prefix)
    assert root_key not in (mine.key, mine.names_key)


@given(credential=credentials)
def test_who_is_told_what(credential):
    """Who writes only, or has a prefix, learns nothing of others from the number of live keys."""
    assert credential.sees_map == (credential.rights in (1, 3) and not credential.prefix)
    assert credential.allows_all == (credential.rights == 3 and not credential.prefix)
