"""The placement rules behind one interface: ``one_choice``, ``two_choice`` and ``resident``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from omap.crypto import Secrets
from omap.drbg import scale
from omap.errors import ExhaustedError
from omap.operations import Kind
from omap.page import Page
from omap.params import Params, Rule
from omap.position_map import Words
from omap.reference import Draw, ReferenceMap
from omap.trace import Observer
from omap.versions import epoch, whole
from omap.waiting import Descriptor

PAGES_AT_ONCE = 1 << 10
"""Pages that are read at once, when all are."""


def lost() -> ExhaustedError:
    """Return the error of a tuple that is in none of its bins, which only a defect can bring about."""
    return ExhaustedError("a key was not where its position map entry says: the state of the map is lost")


class PagedMap(ReferenceMap):
    """A map whose tuples live in pages of host memory, or wait in HBM for their page to be touched."""

    # -- one operation ------------------------------------------------------------------------------------------

    def _access(
        self, kind: Kind, key: bytes, value: bytes, found: Words | None, draw: Draw, placed: Words | None
    ) -> bytes | None:
        previous = self._touch_all(self._bins(kind, key, found, draw), key if found else None)
        if placed is not None:
            new = value if kind == Kind.PUT or previous is None else previous
            descriptor = self._emptiest(placed)
            self.waiting.append(descriptor, key + new)
            self.waiting.store(descriptor)
        return previous

    def _bins(self, kind: Kind, key: bytes, found: Words | None, draw: Draw) -> Words:
        """Return the bins to touch, in order."""
        # SEC_CM: PAGE.MISS.DUMMY -- a miss touches bins that were drawn for it; nothing follows from the key
        return draw[0] if found is None else found

    def _touch_all(self, bins: Words, key: bytes | None) -> bytes | None:
        """Touch bins in the given order, take ``key`` from the bin that has it, and return its value."""
        previous = None
        for number in bins:
            # SEC_CM: BINS.BOTH.TOUCHED -- no stop at the bin that has the key; the order follows the draw alone
            value = self._touch(number, key)
            previous = value if previous is None else previous
        if key is not None and previous is None:
            raise lost()
        return previous

    def _touch(self, number: int, key: bytes | None) -> bytes | None:
        """Take ``key`` from a bin if it is there, move waiting tuples to the bin's page, and return the value taken."""
        descriptor = self.waiting.load(number)
        value = None if key is None else self.waiting.take_key(descriptor, key)
        page_number = number - self.params.hbm_bins
        if page_number >= 0:
            # SEC_CM: PAGE.TOUCH.ALWAYS -- a hit, a miss and a tuple that waits in HBM all read and write the page
            page = self._read_page(page_number, descriptor, self.version)
            if key is not None and value is None:
                value = page.take(key)
            self._drain(descriptor, page)
            self._write_page(page_number, descriptor, page)
        self.waiting.store(descriptor)
        return value

    def _drain(self, descriptor: Descriptor, page: Page) -> None:
        """Move waiting tuples to free page slots, as many as fit; the others go on waiting."""
        while descriptor.waiting and page.has_room():
            page.put(self.waiting.take_oldest(descriptor))

    def _read_page(self, number: int, descriptor: Descriptor, present: int) -> Page:
        sealed = self.host.read(number * self.params.page_bytes, self.params.page_bytes)
        plaintext = self._codec.open(number, descriptor.version, sealed, present=present)
        return Page(self.params, plaintext, descriptor.occupancy)

    def _write_page(self, number: int, descriptor: Descriptor, page: Page) -> None:
        descriptor.version = self.version
        descriptor.occupancy = page.occupancy
        self.host.write(number * self.params.page_bytes, self._codec.seal(number, self.version, page.plaintext))

    def _emptiest(self, bins: Words) -> Descriptor:
        """Return the descriptor of the bin with the fewest tuples; of equal bins the first."""
        return min((self.waiting.load(number) for number in bins), key=Descriptor.load)

    # -- all slots ----------------------------------------------------------------------------------------------

    def _page_slots(self) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint8]]]:
        params, present = self.params, self.version
        for first in range(0, params.pages, PAGES_AT_ONCE):
            pages = np.arange(first, min(first + PAGES_AT_ONCE, params.pages))
            kept, occupancy = self.waiting.kept(pages + params.hbm_bins)
            versions = whole(kept, present)
            stale = epoch(present, params.epoch_bits) - epoch(versions, params.epoch_bits) > 1
            for page in pages[stale].tolist():
                self._codec.open(page, int(kept[page - first]), b"", present=present)  # says what is wrong
            size = params.page_bytes
            sealed = np.frombuffer(b"".join([self.host.read(page * size, size) for page in pages.tolist()]), np.uint8)
            opened, altered = self._codec.open_rows(pages, versions, sealed.reshape(-1, size))
            if altered is not None:
                raise altered
            rows = np.frombuffer(b"".join(opened), np.uint8).reshape(len(pages), -1)
            tuples = rows[:, : params.page_slots * params.tuple_bytes].reshape(-1, params.tuple_bytes)
            yield (occupancy[:, None] >> np.arange(params.page_slots) & 1).astype(bool).ravel(), tuples

    # -- many keys at once --------------------------------------------------------------------------------------

    def _bulk_bins(self, words: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the bin that each key of a bulk load goes to, one of its own."""
        return words[:, 0]

    def _scan_in(
        self, keys: npt.NDArray[np.uint8], values: npt.NDArray[np.uint8], words: npt.NDArray[np.int64]
    ) -> None:
        bins = self._bulk_bins(words)
        order = np.argsort(bins, kind="stable")
        tuples = np.concatenate([keys, values], axis=1)[order].tobytes()
        ends = np.searchsorted(bins[order], np.arange(self.params.bins), side="right").tolist()
        size, at = self.params.tuple_bytes, 0
        first = self.version - max(len(keys), 1) + 1  # pages open as for the first operation, and seal as for the last
        for number, end in enumerate(ends):
            descriptor = self.waiting.load(number)
            if number >= self.params.hbm_bins:
                page_number = number - self.params.hbm_bins
                page = self._read_page(page_number, descriptor, first)
                self._drain(descriptor, page)
                at += page.fill(tuples[at * size : end * size])
                self._write_page(page_number, descriptor, page)
            for place in range(at, end):
                self.waiting.append(descriptor, tuples[place * size : (place + 1) * size])
            self.waiting.store(descriptor)
            at = end


class OneChoiceMap(PagedMap):
    """Every key has one page, drawn afresh at each operation on the key. An operation touches exactly one page."""

    rule = Rule.ONE_CHOICE

    def _draws(self, first: int, count: int) -> list[Draw]:
        return [((p,), (q,)) for p, q in self._drbg.pairs(first, count, self.params.pages).tolist()]

    def _bulk_words(self, keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        return self._drbg.pairs(self.sequence, len(keys), self.params.pages)[:, 1:]


class TwoChoiceMap(PagedMap):
    """BOLT's rule (Guo et al., CCS 2025): a key has two distinct random bins, and its tuple lies in the emptier.

    An operation touches both bins. The bins below ``hbm_bins`` have no page, so that their tuples stay in HBM.
    Operation i draws two pairs of bins: the dummy pair from index 2i, the fresh pair from index 2i + 1. The first bin
    of a pair is uniform over all bins, the second over all others.
    """

    rule = Rule.TWO_CHOICE

    def _pairs(self, first: int, count: int) -> npt.NDArray[np.int64]:
        words = self._drbg.words(2 * first, 2 * count)
        one, other = scale(words[:, 0], self.params.bins), scale(words[:, 1], self.params.bins - 1)
        return np.stack([one, other + (other >= one)], axis=1)

    def _draws(self, first: int, count: int) -> list[Draw]:
        pairs: list[Words] = [(a, b) for a, b in self._pairs(first, count).tolist()]
        return list(zip(pairs[::2], pairs[1::2], strict=True))

    def _bulk_words(self, keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        return self._pairs(self.sequence, len(keys))[1::2]

    def _bulk_bins(self, words: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        loads = [self.waiting.load(number).load() for number in range(self.params.bins)]
        chosen = []
        for a, b in words.tolist():
            chosen.append(a if loads[a] <= loads[b] else b)
            loads[chosen[-1]] += 1
        return np.array(chosen, np.int64)


class ResidentMap(ReferenceMap):
    """All tuples lie in HBM, so that nothing reaches host memory. For tables that fit there."""

    rule = Rule.RESIDENT

    def _draws(self, first: int, count: int) -> list[Draw]:
        return [((0,), (0,))] * count

    def _placement(self, kind: Kind, key: bytes, found: Words | None, draw: Draw) -> Words:
        return found or (self.waiting.free_slots.top,)

    def _access(
        self, kind: Kind, key: bytes, value: bytes, found: Words | None, draw: Draw, placed: Words | None
    ) -> bytes | None:
        previous = None
        if found:
            previous = self.waiting.read_slot(found[0])[self.params.key_bytes :]
        if placed is not None:
            if not found:
                self.waiting.free_slots.take()
            new = value if kind == Kind.PUT or previous is None else previous
            self.waiting.write_slot(placed[0], key + new)
        elif found:
            self.waiting.free_slots.give(found[0])
        return previous

    def _bulk_words(self, keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        return self.waiting.free_slots.peek(len(keys))[:, None]

    def _scan_in(
        self, keys: npt.NDArray[np.uint8], values: npt.NDArray[np.uint8], words: npt.NDArray[np.int64]
    ) -> None:
        for (index,), key, value in zip(words.tolist(), keys, values, strict=True):
            assert index == self.waiting.free_slots.take()
            self.waiting.write_slot(index, key.tobytes() + value.tobytes())


RULES: dict[Rule, type[ReferenceMap]] = {rule.rule: rule for rule in (OneChoiceMap, TwoChoiceMap, ResidentMap)}


def create(
    params: Params,
    *,
    observer: Observer | None = None,
    memory: bytearray | memoryview | None = None,
    secrets: Callable[[], Secrets] = Secrets.generate,
) -> ReferenceMap:
    """Return a freshly formatted reference map for any rule.

    Parameters
    ----------
    params, observer, memory, secrets
        As for :class:`~omap.reference.ReferenceMap`.

    Reveals
        That a format ran, and ``params``, which are public.
    """
    return RULES[params.rule](params, observer=observer, memory=memory, secrets=secrets)
