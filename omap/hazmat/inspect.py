"""Reads the trusted state of a reference map, to check that it is consistent."""

from __future__ import annotations

from omap.map import PagedMap
from omap.page import Page


def contents(map_: PagedMap) -> dict[bytes, bytes]:
    """Return all live keys and values, after checking every invariant of the state.

    Every page opens under its version. Free page slots and padding are zero. Every live key has one position map entry
    and one tuple, which lies in a bin of that entry or waits for its page. Every waiting slot and every further line is
    used once or is free.

    Reveals
        To the caller: all keys and values. The host sees nothing.

    Raises
    ------
    AssertionError
        If an invariant does not hold; names it.
    """
    params, waiting = map_.params, map_.waiting
    found: dict[bytes, tuple[int, bytes]] = {}
    used_slots: list[int] = []
    used_lines: list[int] = []

    def note(number: int, entry: bytes) -> None:
        key, value = entry[: params.key_bytes], entry[params.key_bytes :]
        assert key not in found, "a key has two tuples"
        found[key] = number, value

    for number in range(params.bins):
        descriptor = waiting.load(number)
        used_slots += descriptor.waiting
        used_lines += descriptor.further
        for index in descriptor.waiting:
            note(number, waiting.read_slot(index))
        if number >= params.hbm_bins:
            for entry in _tuples(map_, number - params.hbm_bins, descriptor.version, descriptor.occupancy):
                note(number, entry)
    assert len(used_slots) == len(set(used_slots)) == waiting.free_slots.taken, "waiting slots leak or are shared"
    assert len(used_lines) == len(set(used_lines)) == waiting.free_lines.taken, "further lines leak or are shared"
    for key, (number, _) in found.items():
        words = map_.position_map.begin(key, map_.position_map.candidates(key))
        assert words is not None, "a tuple has no position map entry"
        assert number in words, "a tuple is not where its entry says"
    assert len(found) == len(map_), "the number of live keys is wrong"
    assert map_.position_map.count() == len(map_), "the position map has entries of dead keys"
    return {key: value for key, (_, value) in found.items()}


def _tuples(map_: PagedMap, number: int, version: int, occupancy: int) -> list[bytes]:
    params = map_.params
    sealed = map_.host.data[number * params.page_bytes : (number + 1) * params.page_bytes]
    page = Page(params, map_._codec.open(number, version, bytes(sealed), present=map_.version), occupancy)
    size = params.tuple_bytes
    slots = [bytes(page.plaintext[slot * size : (slot + 1) * size]) for slot in range(params.page_slots)]
    for slot, entry in enumerate(slots):
        assert occupancy >> slot & 1 or not any(entry), "a free slot is not zero"
    assert not any(page.plaintext[params.page_slots * size :]), "padding is not zero"
    assert occupancy < 1 << params.page_slots, "a slot beyond the last is used"
    return [entry for slot, entry in enumerate(slots) if occupancy >> slot & 1]
