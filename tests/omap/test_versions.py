"""Versions: how long an epoch is, and how a version is found again from its low bits."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omap.params import Rule
from omap.presets import preset
from omap.versions import KEPT_MASK, MOST_EPOCH_BITS, choose_epoch_bits, whole
from tests.support.leakage.faults import params_for


@pytest.mark.parametrize(("pages", "bits"), [(1, 16), (1 << 12, 19), (1 << 17, 24), (1 << 27, 34)])
def test_epochs_are_as_long_as_the_contract_says(pages, bits):
    assert choose_epoch_bits(pages, 1.0) == bits


@given(pages=st.integers(1, 1 << 31), touches=st.floats(0.1, 2.0))
def test_all_pages_are_touched_within_an_epoch(pages, touches):
    bits = choose_epoch_bits(pages, touches)
    assert bits <= MOST_EPOCH_BITS
    untouched = (1 << bits) * math.log1p(-min(touches, 1) / pages) if pages > 1 else -math.inf
    assert math.log(pages) + untouched <= -122 * math.log(2) + 1e-6
    if bits > 16:
        assert (1 << bits) / 2 < pages / min(touches, 1) * (math.log(pages) + 122 * math.log(2))


@given(present=st.integers(0, 2**64 - 1), back=st.integers(0, 2**47 - 1))
def test_a_version_is_found_again_from_its_low_bits(present, back):
    version = max(0, present - back)
    assert whole(version & KEPT_MASK, present) == version


def test_presets_have_epochs_and_resident_maps_have_none():
    assert {name: preset(name).epoch_bits for name in ("TINY", "PAPER", "STANDARD", "WIDE")} == {
        "TINY": 16,
        "PAPER": 24,
        "STANDARD": 25,
        "WIDE": 24,
    }
    assert params_for(Rule.RESIDENT).epoch_bits == 0
    assert params_for(Rule.TWO_CHOICE).epoch_bits == 16
