"""Parameters: layouts that follow from them, their digest, and what is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omap.errors import OmapError, ParamsError
from omap.params import Params
from omap.presets import preset

TINY, PAPER, STANDARD = preset("TINY"), preset("PAPER"), preset("STANDARD")


def test_layouts_follow_from_the_contract():
    assert (PAPER.tuple_bytes, PAPER.page_slots, PAPER.entry_bytes, PAPER.bucket_entries) == (12, 9, 8, 8)
    assert (STANDARD.tuple_bytes, STANDARD.page_slots, STANDARD.slot_bytes) == (72, 8, 96)
    assert PAPER.host_bytes == PAPER.pages * 128
    assert PAPER.line_indices == (28, 31)
    assert TINY.line_indices == (4, 7)
    assert PAPER.hbm_bytes == sum(PAPER.hbm_account.values())


def test_they_survive_json_and_their_digest_covers_every_field():
    again = Params.from_dict(json.loads(json.dumps(STANDARD.to_dict())))
    assert again == STANDARD
    assert again.digest == STANDARD.digest
    two = replace(TINY, rule="two_choice")
    others = {
        "rule": two,
        "hbm_bins": replace(two, hbm_bins=1),
        "key_bytes": replace(TINY, key_bytes=8),
        "page_bytes": replace(TINY, page_bytes=128),
        "descriptor_bytes": replace(TINY, descriptor_bytes=64),
        "bucket_bytes": replace(TINY, bucket_bytes=128),
    }
    for name, value in TINY.to_dict().items():
        base = two if name == "hbm_bins" else TINY
        changed = others[name] if name in others else replace(TINY, **{name: value + 1})
        assert changed.digest != base.digest, name


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"capacity": 0}, "capacity is 0; it must be a whole number, 1 or more"),
        ({"capacity": -1}, "capacity is -1; it must be a whole number"),
        ({"capacity": 1.5}, "capacity is 1.5; it must be a whole number"),
        ({"capacity": True}, "capacity is True; it must be a whole number"),
        ({"capacity": 10**6}, "position map has room for .* capacity 1000000 needs more buckets"),
        ({"key_bytes": 5}, "key_bytes is 5; it must be 4, 8 or 16"),
        ({"value_bytes": 0}, "value_bytes is 0; it must be 1 to 4096"),
        ({"value_bytes": 4097}, "value_bytes is 4097; it must be 1 to 4096"),
        ({"rule": "best"}, "rule is 'best'; choose one of one_choice, two_choice, resident"),
        ({"page_bytes": 100}, "page_bytes is 100; it must be a positive multiple of 64"),
        ({"page_bytes": 0}, "page_bytes is 0; it must be a positive multiple of 64"),
        ({"value_bytes": 60}, "page_bytes is 64; one 64-byte tuple and its tag need 128"),
        ({"page_bytes": 320}, "room for 38 tuples of 8 bytes; the occupancy bitmap allows 32"),
        ({"pages": 0}, "pages is 0; it must be 1 to 2147483648"),
        ({"pages": 2**31 + 1}, "pages is 2147483649; it must be 1 to 2147483648"),
        ({"rule": "two_choice", "pages": 1}, "two_choice draws two distinct bins"),
        ({"hbm_bins": 3}, "hbm_bins is 3; only two_choice keeps bins in HBM"),
        ({"descriptor_bytes": 48}, "descriptor_bytes is 48; it must be 32, 64 or 128"),
        ({"bucket_bytes": 32}, "bucket_bytes is 32; it must be 64 or 128"),
        ({"buckets": 0}, "buckets is 0; each position map table needs 1 to"),
        ({"relocation_steps": 0}, "entries in transit would never arrive"),
        ({"waiting_slots": 0}, "for the tuple of the last operation"),
        ({"waiting_slots": 2**32 + 1}, "32-bit indices reach 4294967296 of either"),
        ({"rule": "resident"}, "a resident map has no pages"),
        (
            {"rule": "resident", "pages": 0, "page_bytes": 0, "further_lines": 0, "waiting_slots": 3},
            "waiting_slots is 3; a resident map needs one for each of 12 keys",
        ),
    ],
)
def test_bad_parameters_are_refused_with_reason_and_bound(change, text):
    with pytest.raises(ParamsError, match=text) as caught:
        replace(TINY, **change)
    assert isinstance(caught.value, OmapError)


def test_unknown_and_missing_names_are_refused():
    with pytest.raises(ParamsError, match="not a parameter set: .*'colour'"):
        Params.from_dict({**TINY.to_dict(), "colour": 1})
    with pytest.raises(ParamsError, match="not a parameter set: .*'pages'"):
        Params.from_dict({name: value for name, value in TINY.to_dict().items() if name != "pages"})


@given(key_bytes=st.sampled_from([4, 8, 16]), value_bytes=st.integers(1, 4096), lines=st.integers(1, 80))
def test_a_page_has_room_for_its_slots_and_no_more(key_bytes, value_bytes, lines):
    try:
        params = replace(TINY, key_bytes=key_bytes, value_bytes=value_bytes, page_bytes=64 * lines, bucket_bytes=128)
    except ParamsError:
        assert not 1 <= (64 * lines - 16) // (key_bytes + value_bytes) <= 32
        return
    used = params.page_slots * params.tuple_bytes
    assert used <= params.plaintext_bytes < used + params.tuple_bytes
    assert params.slot_bytes % 32 == 0
    assert params.tuple_bytes <= params.slot_bytes < params.tuple_bytes + 32
