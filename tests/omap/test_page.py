"""A page equals a list of slots."""

from hypothesis import given
from hypothesis import strategies as st

from omap.page import Page
from omap.presets import preset

TINY = preset("TINY")
SLOTS = TINY.page_slots
entries = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda pair: b"".join(n.to_bytes(4, "big") for n in pair))


@given(steps=st.lists(st.one_of(entries, st.integers(0, 3), st.lists(entries, max_size=9)), max_size=30))
def test_equals_a_list_of_slots(steps):
    page, slots = Page(TINY, bytes(TINY.plaintext_bytes), 0), [None] * SLOTS
    for step in steps:
        if isinstance(step, int):
            key = step.to_bytes(4, "big")
            place = next((at for at, entry in enumerate(slots) if entry and entry[:4] == key), None)
            assert page.take(key) == (None if place is None else slots[place][4:])
            if place is not None:
                slots[place] = None
            continue
        new = [step] if isinstance(step, bytes) else step
        taken = {entry[:4] for entry in slots if entry}
        new = [entry for at, entry in enumerate(new) if entry[:4] not in taken | {e[:4] for e in new[:at]}]
        count = min(len(new), slots.count(None))
        if isinstance(step, bytes):
            for entry in new[:count]:
                page.put(entry)
        else:
            assert page.fill(b"".join(new)) == count
        for entry in new[:count]:
            slots[slots.index(None)] = entry
        assert page.has_room() == (None in slots)
    image = b"".join(entry or bytes(8) for entry in slots)
    assert page.plaintext == image.ljust(TINY.plaintext_bytes, b"\0")
    assert page.occupancy == sum(1 << at for at, entry in enumerate(slots) if entry)
