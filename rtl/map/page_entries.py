"""What is known of the pages in flight."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from amaranth.hdl import Signal


@dataclass(frozen=True)
class PageEntries:
    """What is known of all page entries. They are used in turn, round and round.

    Attributes
    ----------
    busy, ready : Signal
        A bit for each entry: it has a page; its page may start when its turn comes.
    next, turn, due : Signal
        The entry that is given next, that starts next, that is written next.
    asked : Signal
        A page gets the entry ``next``, and its read is asked for.
    skipped : Signal
        The same, and the page is blank, so that its turn is passed over.
    started : Signal
        The page of the entry ``turn`` starts.
    departed : Signal
        The write of the entry ``due`` leaves.
    """

    busy: Signal
    ready: Signal
    next: Signal
    turn: Signal
    due: Signal
    asked: Signal
    skipped: Signal
    started: Signal
    departed: Signal

    @classmethod
    def of(cls, count: int) -> PageEntries:
        """Return the signals for so many page entries."""
        shapes: dict[str, Any] = {"busy": count, "ready": count, "next": range(count), "turn": range(count)}
        shapes |= {"due": range(count)}
        return cls(**{field.name: Signal(shapes.get(field.name, 1), name=field.name) for field in fields(cls)})
