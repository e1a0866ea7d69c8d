"""What is known of every bin on chip."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Signal


@dataclass(frozen=True)
class Standing:
    """How every bin on chip stands; a bit for each.

    Attributes
    ----------
    used : Signal
        The entry holds a bin.
    wanted : Signal
        A use of it is announced and has not ended.
    touches : Signal
        It has been announced for a touch since it came on chip.
    parsed, complete : Signal
        Its first line is here; all its tuples that were asked for are here.
    bare : Signal
        Its tuples were not asked for, but for those that have joined since.
    changed : Signal
        HBM does not hold it as it is.
    many : Signal
        It has more tuples than its first line names.
    opened : Signal
        Its occupancy has been told for its next TOUCH.
    on_its_way : Signal
        It is being written to HBM.
    """

    used: Signal
    wanted: Signal
    touches: Signal
    parsed: Signal
    complete: Signal
    bare: Signal
    changed: Signal
    many: Signal
    opened: Signal
    on_its_way: Signal
