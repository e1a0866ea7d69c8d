"""Fresh values follow from root key, device id, noise and counter, and from nothing less than all of these."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omap.crypto import Secrets
from omap.device import DeviceModel
from omap.errors import InputError
from omap.fresh import Fresh
from omap.kdf import DERIVATIONS, EXPORT, FORMAT, NONCE, derive
from omap.presets import preset
from omap.regmap import Request
from omap.session import ClientSession
from omap.wire import BufferLayout
from tests.support.sessions import holder

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
ID, OTHER_ID = bytes(range(12)), bytes(range(1, 13))
PARAMS = preset("TINY")


def stuck():
    """The noise of a source that stands still: everybody knows it."""
    return b"\xaa" * 32


def parts(secrets):
    return [secrets.page_secret, secrets.draw_seed, secrets.hash_key, secrets.map_id]


def values(key=KEY, device_id=ID, noise=stuck, count=3):
    """Return the secrets of some formats, each followed by a handshake and an export, their nonces and ids."""
    fresh = Fresh(key, device_id=device_id, noise=noise)
    found = [(fresh.secrets(), fresh.nonce(), fresh.export_id()) for _ in range(count)]
    return [part for secrets, *others in found for part in (*parts(secrets), *others)]


@given(
    key=st.binary(min_size=32, max_size=32),
    device_id=st.binary(min_size=12, max_size=12),
    noise=st.lists(st.binary(min_size=32, max_size=32), min_size=8, max_size=8),
    takes=st.lists(st.sampled_from(["format", "nonce", "export"]), max_size=6),
)
def test_values_are_those_of_the_description(key, device_id, noise, takes):
    """The first is a nonce, and whenever a nonce was taken the next value is one."""
    fresh, counter = Fresh(key, device_id=device_id, noise=iter(noise).__next__), 0

    def following(label, length):
        nonlocal counter
        context = device_id + noise[counter] + counter.to_bytes(8, "big")
        counter += 1
        return derive(key, label, context, length)

    ahead = following(b"omap nonces 1", 16)
    for take in takes:
        if take == "export":
            assert fresh.export_id() == following(b"omap export 1", 16)
        elif take == "format":
            came = following(b"omap format 1", 96)
            assert fresh.secrets() == Secrets(came[:32], came[32:64], came[64:80], came[80:])
        else:
            assert fresh.nonce() == ahead
            ahead = following(b"omap nonces 1", 16)


@pytest.mark.sec_cm("FRESH.VALUE.KEYED")
def test_known_noise_gives_nothing_away():
    """Who knows noise, id and counter, and all values of a device with another root key, knows none of this one's."""
    mine, others = values(), values(key=OTHER_KEY)
    assert not set(mine) & set(others)
    assert all(part not in stuck() for part in mine)
    for zeros, counter in itertools.product((bytes(32), stuck()), range(11)):
        guess = [use.derive(zeros, ID, stuck(), counter.to_bytes(8, "big")) for use in (FORMAT, NONCE, EXPORT)]
        assert not any(part in whole for part in mine for whole in guess)


@pytest.mark.sec_cm("FRESH.VALUE.UNIQUE")
def test_noise_that_stands_still_repeats_no_value():
    mine, other_device = values(count=20), values(count=20, device_id=OTHER_ID)
    found = mine + other_device
    assert len(set(found)) == len(found) == 2 * 20 * 6


def test_a_device_that_starts_again_with_the_same_noise_repeats_itself():
    """SECURITY.md says so: nothing in a device without memory can prevent it."""
    assert values() == values()
    assert not set(values()) & set(values(noise=lambda: bytes(32)))


def test_a_device_uses_fresh_values_alone():
    """Secrets of each format and the nonce of each handshake, in the order in which they were asked for."""
    device = DeviceModel(
        PARAMS, KEY, bytearray(BufferLayout(PARAMS, 128).size), ring_lines=128, device_id=ID, noise=stuck
    )
    twin = Fresh(KEY, device_id=ID, noise=stuck)
    seen = []
    for _ in range(3):
        device.registers.write("REQUEST", Request.FORMAT)
        device.step()
        assert device._map.map_id == twin.secrets().map_id
        seen.append(device._map.map_id)
        for _ in range(2):
            asked = ClientSession(PARAMS, holder()).hello()
            hello = device._sessions.hello(asked, device._map.map_id)
            assert hello[16:32] == twin.nonce()
    assert len(set(seen)) == 3


def test_a_device_id_of_another_length_is_refused():
    with pytest.raises(InputError, match="a device id has 12 bytes, not 8"):
        Fresh(KEY, device_id=bytes(8))


def test_labels_are_unique_and_fresh_ones_have_one_length():
    labels = [use.label for use in DERIVATIONS]
    assert len(set(labels)) == len(labels)
    assert all(b"\0" not in label for label in labels)
    assert len(FORMAT.label) == len(NONCE.label) == len(EXPORT.label)
    assert list(FORMAT.context.items()) == list(NONCE.context.items()) == list(EXPORT.context.items())


@given(lengths=st.lists(st.integers(0, 40), max_size=4))
def test_a_context_of_other_lengths_is_refused(lengths):
    if lengths == [12, 32, 8]:
        assert len(FORMAT.derive(KEY, *map(bytes, lengths))) == FORMAT.length == 96
    else:
        with pytest.raises(InputError, match="the context of 'omap format 1' has parts of"):
            FORMAT.derive(KEY, *map(bytes, lengths))
