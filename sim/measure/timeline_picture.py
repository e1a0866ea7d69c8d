"""Draws when an operation passes which stage, alone and among others, for docs/hardware/architecture.md. Plain SVG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from omap.demo.pictures import COLOURS

WIDTH, ROW, LEFT, RIGHT = 1000, 24, 340, 980

PHASES = (
    ("doorbell", "fetched", "host", "poll, fetch the record, open it"),
    ("fetched", "admitted", "engine", "decode, draw two pages"),
    ("admitted", "located", "engine", "find the key in the position map"),
    ("admitted", "read", "fixed", "page read: admitted + lookup_cycles"),
    ("read", "arrived", "host", "the host answers with the page"),
    ("started", "merged", "engine", "open the page, merge"),
    ("merged", "sealed", "engine", "seal under the next version"),
    ("started", "write", "fixed", "page write: started + merge_cycles"),
    ("started", "replied", "fixed", "reply: started + reply_cycles"),
    ("replied", "answered", "engine", "seal the answer"),
    ("answered", "told", "host", "write the answer, then its counter"),
)
"""Where each bar of an operation begins and ends, what sets its length, and what happens."""

SPANS = (
    ("admitted", "due", "fixed"),
    ("due", "read", "public"),
    ("read", "started", "host"),
    ("started", "replied", "fixed"),
)
"""The bars of each of several operations; ``due`` is when its page would be read if there always were a place."""

READ_CYCLES = 3
"""Cycles from the end of ``lookup_cycles`` to the read of a page that nothing holds back."""

LEGEND = (
    ("engine", "work inside"),
    ("host", "the host's time"),
    ("fixed", "fixed offset"),
    ("public", "all places for pages are in use"),
)
FIRST, ROWS = 40, 14
"""Operations of those together that are drawn."""

STYLE = """
text { fill: var(--ink); font: 15px system-ui, sans-serif } .soft { fill: var(--soft) } .head { font-size: 19px }
.grid { stroke: var(--line); stroke-width: 1; opacity: .45 } .engine { fill: var(--line) } .host { fill: var(--plain) }
.fixed { fill: var(--oblivious) }
.public { fill: var(--soft) } .mark { stroke: var(--ink); stroke-width: 2 }
"""


@dataclass(frozen=True)
class Shown:
    """What is drawn.

    Attributes
    ----------
    one : mapping of str to int
        Cycle after the doorbell of each stage, and of what the host saw, of an operation alone.
    many : mapping of str to int arrays
        Cycle of each stage of operations that overlap, in their order.
    lookup_cycles : int
        Of the engine.
    clock_mhz : float
        The clock that is assumed.
    """

    one: Mapping[str, int]
    many: Mapping[str, Any]
    lookup_cycles: int
    clock_mhz: float


def picture(shown: Shown) -> str:
    """Return the picture as one SVG file."""
    alone = _alone(shown, 70)
    top = 70 + ROW * (len(PHASES) + 1) + 60
    together = _together(shown, top + 26)
    height = top + 26 + ROW * (ROWS + 1) + 24
    legend = "".join(
        f'<rect class="{kind}" x="{LEFT + 155 * n}" y="40" width="14" height="14"/>'
        f"{_text(LEFT + 155 * n + 20, 52, words, 'soft')}"
        for n, (kind, words) in enumerate(LEGEND)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img"><title>Stages of an operation, in cycles</title><style>{COLOURS}{STYLE}</style>'
        f'<rect width="100%" height="100%" style="fill: var(--paper)"/>'
        f"{_text(14, 26, f'One operation alone: cycles from its doorbell ({shown.clock_mhz:g} MHz assumed)', 'head')}"
        f"{legend}{alone}"
        f"{_text(14, top, f'Operations {FIRST} to {FIRST + ROWS - 1} of many: each row is one', 'head')}"
        f"{together}</svg>\n"
    )


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    classes = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{classes}>{escape(words)}</text>'


def _step(span: int) -> int:
    return next(step for step in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if span / step <= 10)


def _axis(low: int, high: int, top: int, rows: int) -> tuple[str, float]:
    """Return grid lines with their cycles below, and the width of a cycle."""
    scale, step = (RIGHT - LEFT) / (high - low), _step(high - low)
    lines = []
    for cycle in range(0, high - low + 1, step):
        x = LEFT + scale * cycle
        lines.append(f'<path class="grid" d="M{x:.1f} {top}v{rows * ROW}"/>')
        lines.append(_text(x, top + rows * ROW + 18, f"{cycle:,}", "soft", "middle"))
    return "".join(lines), scale


def _bar(kind: str, begin: float, end: float, y: float) -> str:
    return f'<rect class="{kind}" x="{begin:.1f}" y="{y:g}" width="{max(end - begin, 1.5):.1f}" height="{ROW - 9}"/>'


def points_of(one: Mapping[str, int]) -> dict[str, int]:
    """Return stages and the ends of what the host saw by the names that :data:`PHASES` has for them."""
    write = next(cycle for name, cycle in one.items() if name.startswith("writes page"))
    told = next(cycle for name, cycle in one.items() if "RESPONSES_WRITTEN" in name and cycle >= one["answered"])
    return {"doorbell": 0, **one, "write": write, "told": told}


def _alone(shown: Shown, top: int) -> str:
    points = points_of(shown.one)
    axis, scale = _axis(0, max(points[end] for _, end, _, _ in PHASES), top, len(PHASES))
    rows = []
    for n, (begin, end, kind, words) in enumerate(PHASES):
        y = top + n * ROW + 5
        rows.append(_text(14, y + 13, words))
        rows.append(_bar(kind, LEFT + scale * points[begin], LEFT + scale * points[end], y))
        cycles = f"{points[end] - points[begin]:,}"
        at = LEFT + scale * points[end] + 6
        rows.append(
            _text(at, y + 13, cycles, "soft")
            if at < RIGHT - 40
            else _text(LEFT + scale * points[begin] - 6, y + 13, cycles, "soft", "end")
        )
    return axis + "".join(rows)


def _together(shown: Shown, top: int) -> str:
    drawn = range(FIRST, FIRST + ROWS)
    low = int(shown.many["admitted"][FIRST])
    high = int(shown.many["replied"][drawn[-1]])
    axis, scale = _axis(low, high, top, ROWS)
    rows = []
    for n, operation in enumerate(drawn):
        y = top + n * ROW + 5
        points = {name: int(cycles[operation]) for name, cycles in shown.many.items() if len(cycles) > operation}
        points["due"] = min(points["admitted"] + shown.lookup_cycles + READ_CYCLES, points["read"])
        at = {name: LEFT + scale * (cycle - low) for name, cycle in points.items()}
        rows.append(_text(LEFT - 10, y + 13, f"{operation}", "soft", "end"))
        rows += [_bar(kind, at[begin], at[end], y) for begin, end, kind in SPANS if at[begin] < at[end]]
        rows += [f'<path class="mark" d="M{at[name]:.1f} {y:g}v{ROW - 9}"/>' for name in ("located", "merged")]
    words = ("admitted to read, read to started,", "started to replied;", "marks: located, merged")
    rows += [_text(14, top + 18 + 20 * n, line, "soft") for n, line in enumerate(words)]
    return axis + "".join(rows)
