"""What is known of every bin on chip, and of the announcement that is being compared with all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Signal, Value


@dataclass(frozen=True)
class Standing:
    """How every bin on chip stands; a bit for each.

    Attributes
    ----------
    used : Signal
        The entry holds a bin.
    wanted : Signal
        A use of it is announced and has not ended.
    parsed, complete : Signal
        Its first line is here; all its tuples are here.
    changed : Signal
        HBM does not hold it as it is.
    opened : Signal
        Version and occupancy have been told for its next TOUCH.
    on_its_way : Signal
        It is being written to HBM.
    """

    used: Signal
    wanted: Signal
    parsed: Signal
    complete: Signal
    changed: Signal
    opened: Signal
    on_its_way: Signal


@dataclass(frozen=True)
class Touch:
    """The announcement that is being compared with the bins on chip.

    Attributes
    ----------
    asked : Signal
        What is announced.
    asks, compared : Signal
        It is here; ``match`` is about it.
    match : Signal
        The entry that holds its bin, a bit for each.
    hit : Signal
        There is one.
    fire : Signal
        It is acted on.
    allocate : Signal
        Its bin gets the entry ``spare``.
    touched, spare : Signal
        The entry of its bin; an entry that holds nothing.
    allocated : Value
        The entry that is allocated, a bit for each.
    """

    asked: Any
    asks: Signal
    compared: Signal
    match: Signal
    hit: Signal
    fire: Signal
    allocate: Signal
    touched: Signal
    spare: Signal
    allocated: Value
