"""The delays that the estimate rests on, in picoseconds, each with its source. They are frozen: no block moves them.

``RW``: RapidWright's timing model of UltraScale+, speed grade -2, github.com/Xilinx/RapidWright at 325baa0,
``timing/ultrascaleplus/intrasite_delay_terms.txt`` (inside a site) and ``intersite_delay_terms.txt`` (wires).

``LE``: routed public designs on a ZU3EG, speed grade -1, github.com/gussmith23/lakeroad-evaluation at 4efb342,
reports of Vivado 2021.2 in ``runs/2022-07-06-1704-full``. What is taken from there is divided by ``GRADE``.

A memory has one delay for all bits of a port, the largest of the source.
"""

from __future__ import annotations

from itertools import pairwise

GRADE = 1.19
"""Speed grade -1 over -2: a LUT's slowest input is 179 ps in LE and 150 ps in RW, its second slowest 149 and 125."""

CLOCK_TO_Q = 77.0
"""Flip-flop (RW)."""

SETUP = {"D": -25.0, "CE": 43 / GRADE, "R": 72 / GRADE}
"""Flip-flop: D from RW, CE and R (also S, CLR and PRE) from LE."""

LUT = (35.0, 50.0, 90.0, 100.0, 125.0, 150.0)
"""Through a LUT by input, fastest first, A6 to A1 (RW)."""

LUT_PIN = (43.0, 44.0, 44.0, 48.0, 53.0, 74.0)
"""From the last wire into the same inputs (RW)."""

PIN = {"X": 65.0, "CONTROL": 5.0, "WE": 65.0}
"""From the last wire into a slice beside the LUTs: bypass and SRL data; clock enable and reset; write enable (RW)."""

BYPASS_TO_FF, LUT_TO_FF, LUT_TO_CARRY, LUT_TO_MUX = 100.0, 50.0, 15.0, 25.0
"""Inside a slice: bypass to a flip-flop; LUT to a flip-flop, a carry chain, a wide multiplexer (RW)."""

MUX_DATA, MUX_SELECT, MUX_OUT = 70.0, 77.0, 32.0
"""Wide multiplexer F7; F8 and F9 are taken as the same, because RW has no figure of them (RW)."""

CARRY_IN_TO_SUM = (56.0, 76.0, 67.0, 82.0, 86.0, 116.0, 103.0, 116.0)
CARRY_IN_TO_CARRY = (52.0, 42.0, 57.0, 60.0, 92.0, 77.0, 92.0, 23.0)
"""CARRY8 by bit; the last leaves upwards (RW)."""

CARRY_UP = 28 / GRADE
"""From one CARRY8 to the next above (LE)."""

CARRY_TO_SUM = (
    (65, 96, 134, 139, 206, 240, 226, 241),
    (56, 117, 123, 204, 237, 224, 238),
    (58, 86, 167, 200, 188, 202),
    (61, 149, 184, 172, 187),
    (63, 95, 129, 137),
    (58, 131, 138),
    (56, 85),
    (56,),
)
CARRY_TO_CARRY = (
    (71, 109, 115, 186, 216, 201, 217, 199),
    (91, 98, 184, 213, 199, 214, 197),
    (63, 148, 176, 162, 177, 168),
    (133, 159, 146, 162, 170),
    (70, 103, 113, 163),
    (105, 113, 166),
    (61, 124),
    (124,),
)
"""CARRY8 from input S of a bit to the sums and carries of this bit and those above (RW). DI is taken as S."""

LUT_MEMORY_CLOCK_TO_OUT = 312.0
LUT_MEMORY_SETUP = {"DATA": 69.0, "ADDRESS": 117.0, "WE": 180.0}
"""LUT RAM and shift register: a value that was just written, and what a write wants (RW)."""

BLOCK_RAM_CLOCK_TO_OUT = {("A", 0): 1003.0, ("B", 0): 992.0, ("A", 1): 220.0, ("B", 1): 229.0}
"""By port and by whether the output register is on (RW)."""

BLOCK_RAM_SETUP = {"ADDR": 383.0, "DIN": 313.0, "EN": 342.0, "WE": 394.0, "REGCE": 233.0, "RST": 313.0}
"""By what the names of pins begin with (RW)."""

ULTRA_RAM_CLOCK_TO_OUT = {("A", 0): 1292.0, ("B", 0): 2059.0, ("A", 1): 767.0, ("B", 1): 698.0}
"""Port B acts after port A in the same cycle, so its outputs come later (RW)."""

ULTRA_RAM_SETUP = {"ADDR": 522.0, "DIN": 536.0, "EN": 458.0, "RDB": 456.0, "BWE": 491.0, "RST": 458.0}
"""By what the names of pins begin with; reset is taken as the enable (RW)."""

DSP = {"IN": 195 / GRADE, "PREADD": 92 / GRADE, "MULTIPLY": 737 / GRADE, "M": 59 / GRADE, "ALU": 699 / GRADE}
DSP_OUT, DSP_CLOCK_TO_DATA, DSP_SETUP = 141 / GRADE, 263 / GRADE, -10 / GRADE
"""DSP48E2 by stage; output of the last; inner register to data; setup before an inner register (LE)."""

DSP_CLOCK_TO_OUT = 229.0
"""Registered output of a DSP48E2: no public figure was found, so a block RAM's registered output stands for it."""

OUT_OF_TILE = 43.0
"""The first wire of any net (RW, K0)."""

VERTICAL = {1: 43 + 3.6 * 1, 2: 43 + 3.6 * 3, 4: 43 + 3.6 * 5, 12: 43 + 3.6 * 12}
HORIZONTAL = {1: 43 + 3.5 * 1, 2: 43 + 3.5 * 10, 6: 43 + 3.5 * 14}
"""Wires by the tiles that they span: K0 + K1 L (RW). K2 d, for columns that are crossed, is in the factors below."""

TIGHT = (1.15, 6.0)
"""A routed wire over the fastest one between its two tiles: a factor, and ps for each doubling of the fan-out.

So wires are where the clock was pressed. 62 nets on worst paths of LE, all but those of the designs ``lpm`` and
``no-matches``, fit 1.15 and 23 ps, but their clocks were met with a third to spare, so that their router had no reason
to hurry. The factor is kept; 6 ps bring picorv32 near the period that is published of it.
"""

RELAXED = (1.5, 23.0)
"""The same where the clock was not pressed, and cells are not as near to each other as they could be either.

The factor brings ``sqrt``, ``std-sdiv`` and ``std-fp-sdiv`` of LE to within 7 % of their periods, in the mean 2 %.
``lpm`` and ``no-matches`` took no part: they are the check.
"""

LUT_RELAXED = 79.0
"""Mean of 78 LUTs on worst paths of LE, those of ``lpm`` and ``no-matches`` left out: they have 87."""


def fastest(spans: dict[int, float], longest: int) -> list[float]:
    """Return the least delay over 0 to ``longest`` tiles in one direction, never less than over a shorter way."""
    least = [0.0]
    for tiles in range(1, longest + 1):
        least.append(min(least[max(tiles - span, 0)] + delay for span, delay in spans.items()))
    assert all(shorter <= longer for shorter, longer in pairwise(least))
    return least
