"""Maps with a planted leak, each a few lines over the sound one: the audit must flag every one of them.

Each answers every operation correctly; only what the host sees differs. They are what somebody would do who looks for
speed or tidiness and forgets the observer.
"""

from dataclasses import replace
from zlib import crc32

from omap.map import OneChoiceMap, PagedMap, TwoChoiceMap
from omap.operations import Kind, Status
from omap.params import Params, Rule
from omap.presets import preset


def params_for(rule: Rule) -> Params:
    """Return the SMALL map under any rule; ``two_choice`` in BOLT's published shape (8 keys a bin, a fifth in HBM)."""
    small = preset("SMALL")
    if rule is Rule.ONE_CHOICE:
        return small
    sizes = {"rule": rule, "waiting_slots": small.capacity}
    if rule is Rule.RESIDENT:
        return replace(small, **sizes, page_bytes=0, pages=0, further_lines=0)
    return replace(small, **sizes, page_bytes=256, pages=100, hbm_bins=25, buckets=100)


class NoRemapOnReads(PagedMap):
    """A read leaves the key where it is."""

    def _placement(self, kind, key, found, draw):
        return found if found and kind == Kind.GET else draw[1]


class NoTouchIfWaiting(PagedMap):
    """A tuple that waits in HBM is served from there."""

    def _touch(self, number, key):
        descriptor = self.waiting.load(number)
        value = None if key is None else self.waiting.take_key(descriptor, key)
        if value is None:
            return super()._touch(number, key)
        self.waiting.store(descriptor)
        return value


class MissHashesKey(PagedMap):
    """What an absent key touches follows from the key."""

    def _bins(self, kind, key, found, draw):
        one = crc32(key) % self.params.bins
        return found or (one, (one + 1) % self.params.bins)[: len(draw[0])]


class InsertTouchesNewPage(PagedMap):
    """A new key's page is touched at once, instead of a dummy page."""

    def _bins(self, kind, key, found, draw):
        return draw[1] if kind == Kind.PUT and found is None else super()._bins(kind, key, found, draw)


class RedrawsFullPages(PagedMap):
    """A page without a free slot is not taken: another is drawn."""

    def _placement(self, kind, key, found, draw):
        attempt, words = 0, draw[1]
        while any(self.waiting.load(number).load() >= self.params.page_slots for number in words):
            attempt += 1
            words = self._draws(self.sequence + (attempt << 40), 1)[0][1]
        return words


class ChosenFirst(PagedMap):
    """Of a pair, the bin that holds the key is touched first."""

    def _placement(self, kind, key, found, draw):
        return tuple(sorted(draw[1], key=lambda number: self.waiting.load(number).load()))

    def _emptiest(self, bins):
        return self.waiting.load(bins[0])

    def _bulk_words(self, count):
        words = super()._bulk_words(count)
        swapped = super()._bulk_bins(words) != words[:, 0]
        words[swapped] = words[swapped, ::-1]
        return words

    def _bulk_bins(self, words):
        return words[:, 0]


class OnlyChosen(ChosenFirst):
    """Of a pair, only the bin that holds the key is touched."""

    def _bins(self, kind, key, found, draw):
        return super()._bins(kind, key, found, draw)[:1]


class EarlyExit(PagedMap):
    """The second bin is left alone once the first has the key."""

    def _touch_all(self, bins, key):
        for number in bins:
            value = self._touch(number, key)
            if value is not None:
                break
        return value


class NopTouchesNothing(PagedMap):
    """An operation that does nothing touches nothing."""

    def _access(self, kind, key, value, found, draw, placed):
        return None if kind == Kind.NOP else super()._access(kind, key, value, found, draw, placed)


class RefusedTouchesNothing(PagedMap):
    """A PUT that finds no room touches nothing."""

    def _access(self, kind, key, value, found, draw, placed):
        refused = kind == Kind.PUT and placed is None
        return None if refused else super()._access(kind, key, value, found, draw, placed)


class NopDrawsNothing(PagedMap):
    """A NOP does not advance the sequence, so that the next operation draws the same pages."""

    def _operate(self, kind, key, value, buckets, draw):
        answer = super()._operate(kind, key, value, buckets, self._draws(self.sequence, 1)[0])
        self.sequence -= kind == Kind.NOP
        return answer


class DeletedPageAgain(PagedMap):
    """An absent key touches the page that it had when it was deleted, as if its entry were still there."""

    def _bins(self, kind, key, found, draw):
        gone = vars(self).setdefault("gone", {})
        if kind == Kind.DELETE and found:
            gone[key] = found
        return found or gone.get(key, draw[0])


class DrawnIsNextDummy(PagedMap):
    """The page that was drawn for the key of the operation before serves as the next dummy page."""

    drawn = None

    def _bins(self, kind, key, found, draw):
        dummy, self.drawn = self.drawn or draw[0], draw[1]
        return found or dummy


class HitRunsTwice(PagedMap):
    """After an operation that finds its key the device runs one more by itself."""

    def _operate(self, kind, key, value, buckets, draw):
        def run(*what):
            return super(HitRunsTwice, self)._operate(*what, buckets, self._draws(self.sequence, 1)[0])

        answer = run(kind, key, value)
        if answer.previous is not None:
            run(Kind.NOP, b"", b"")
        return answer


class ScansWhenFull(PagedMap):
    """A batch in which a PUT was refused is followed by a scan over all pages, to make room."""

    def execute(self, batch):
        responses = super().execute(batch)
        if Status.FULL in {response.status for response in responses}:
            self.bulk_load([], [])
        return responses


FAULTS = {
    f"{fault.__name__}-{base.rule}": type(fault.__name__, (fault, base), {})
    for fault, bases in {
        NoRemapOnReads: (OneChoiceMap, TwoChoiceMap),
        NoTouchIfWaiting: (OneChoiceMap, TwoChoiceMap),
        MissHashesKey: (OneChoiceMap, TwoChoiceMap),
        InsertTouchesNewPage: (OneChoiceMap, TwoChoiceMap),
        RedrawsFullPages: (OneChoiceMap,),
        ChosenFirst: (TwoChoiceMap,),
        OnlyChosen: (TwoChoiceMap,),
        EarlyExit: (TwoChoiceMap,),
        NopTouchesNothing: (OneChoiceMap, TwoChoiceMap),
        RefusedTouchesNothing: (OneChoiceMap, TwoChoiceMap),
        NopDrawsNothing: (OneChoiceMap, TwoChoiceMap),
        DeletedPageAgain: (OneChoiceMap, TwoChoiceMap),
        DrawnIsNextDummy: (OneChoiceMap, TwoChoiceMap),
        HitRunsTwice: (OneChoiceMap, TwoChoiceMap),
        ScansWhenFull: (OneChoiceMap, TwoChoiceMap),
    }.items()
    for base in bases
}
"""Map classes with a fault, by name of fault and rule."""
