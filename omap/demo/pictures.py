"""Pictures of what the host saw, as SVG: page against time, and beside it how often each part of memory was touched.

No plotting library draws them. So a picture has a few kilobytes, is sharp at any width, and takes its colours from the
style sheet of the page around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

MOST_DOTS = 2000
"""Most operations in a picture, which are the first ones of a longer workload."""

BANDS = 48
"""Bars of the histogram; each stands for an equal part of the pages."""

WIDTH, HEIGHT = 600, 372
_LEFT, _TOP, _BOTTOM = 26, 8, 338  # the plot; text is 16 units high
_RIGHT, _BARS, _END = 468, 484, 596  # end of the plot; the histogram


def _frame(x0: int, x1: int) -> str:
    return f'<path class="axis" d="M{x0} {_TOP}V{_BOTTOM}H{x1}"/>'


def _text(x: float, y: float, anchor: str, words: str, turn: bool = False) -> str:
    turned = f' transform="rotate(-90 {x:g} {y:g})"' if turn else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{turned}>{escape(words)}</text>'


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the host saw of one workload, as a picture needs it.

    Parameters
    ----------
    pages, at : (t,) int64 arrays
        Pages touched, in order, and the operation that touched each.
    total : int
        Pages there are.
    operations : int
        Operations that ran.
    period : int
        Operations after which the workload repeats itself, marked by a thin line; 0 if it does not.
    """

    pages: npt.NDArray[np.int64]
    at: npt.NDArray[np.int64]
    total: int
    operations: int
    period: int = 0


def picture(run: Run, *, role: str, title: str) -> str:
    """Return one SVG element.

    Parameters
    ----------
    run : Run
        What is drawn.
    role : str
        Class of the dots and bars; the style sheet gives the class its colour.
    title : str
        What the picture shows, for those who can't see it.
    """
    pages, at, total, operations, period = run.pages, run.at, run.total, run.operations, run.period
    shown = min(operations, MOST_DOTS)
    drawn = at < shown
    wide = (_RIGHT - _LEFT - 4) / shown
    ends = range(period, shown, period) if period else ()
    rounds = "".join(f"M{_LEFT + 3 + end * wide:.1f} {_TOP}V{_BOTTOM}" for end in ends)
    x = _LEFT + 3 + (at[drawn] + 0.5) * wide
    y = _BOTTOM - 3 - (pages[drawn] + 0.5) * (_BOTTOM - _TOP - 5) / total
    dots = "".join(f"M{a:g} {b:g}h0" for a, b in zip(x.round(1).tolist(), y.round(1).tolist(), strict=True))

    touches, _ = np.histogram(pages, bins=BANDS, range=(0, total))
    most = max(int(touches.max()), 1)
    step = (_BOTTOM - 2 - _TOP) / BANDS
    bars = "".join(
        f"M{_BARS} {_BOTTOM - 2 - step * (band + 0.5):.1f}h{(_END - _BARS) * count / most:.1f}"
        for band, count in enumerate(touches.tolist())
        if count
    )
    first = f"{shown:,}" if shown == operations else f"first {shown:,}"
    return (
        f'<svg class="{role}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{escape(title)}</title>'
        f"{_frame(_LEFT, _RIGHT)}{_frame(_BARS - 2, _END)}"
        f'<path class="rounds" d="{rounds}"/><path class="dots" d="{dots}"/>'
        f'<path class="bars" stroke-width="{step * 0.8:.1f}" d="{bars}"/>'
        + _text(14, (_TOP + _BOTTOM) / 2, "middle", f"page of host memory (of {total:,})", turn=True)
        + _text((_LEFT + _RIGHT) / 2, _BOTTOM + 24, "middle", f"time: {first} operations →")
        + _text(_END, _BOTTOM + 24, "end", f"0\u2013{most:,} touches")
        + "</svg>"
    )


STYLE = """
svg .axis { fill: none; stroke: var(--line); stroke-width: 1.5 }
svg .rounds { stroke: var(--line); stroke-width: 1; opacity: .6 }
svg text { fill: var(--soft); font: 16px system-ui, sans-serif }
svg .dots { fill: none; stroke: var(--dots); stroke-width: 3; stroke-linecap: round }
svg .bars { fill: none; stroke: var(--dots) }
svg.plain { --dots: var(--plain) } svg.oblivious { --dots: var(--oblivious) }
"""
"""Style rules that the pictures need, besides the variables of :data:`COLOURS`."""

COLOURS = """
:root { color-scheme: light dark; --paper: #fdfdfc; --ink: #1c2024; --soft: #5d6570; --line: #9aa2ac;
  --tint: #f1f2f0; --plain: #c2410c; --oblivious: #0f766e }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --ink: #e6e8ea; --soft: #a3abb5; --line: #59616b;
  --tint: #1e2327; --plain: #fb923c; --oblivious: #2dd4bf } }
"""
"""Both colour schemes. No other place names a colour."""


def side_by_side(left: str, right: str, captions: tuple[str, str]) -> str:
    """Return one SVG file that needs no other: two pictures with a caption above each."""
    inner = "".join(
        f'<text class="caption" x="{x + _LEFT}" y="22">{escape(caption)}</text>'
        + svg.replace("<svg ", f'<svg x="{x}" y="32" width="{WIDTH}" height="{HEIGHT}" ', 1)
        for x, svg, caption in ((0, left, captions[0]), (WIDTH + 40, right, captions[1]))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH + 40} {HEIGHT + 32}" '
        f'width="{2 * WIDTH + 40}" height="{HEIGHT + 32}">'
        f"<style>{COLOURS}{STYLE}svg .caption {{ font-size: 20px; fill: var(--ink) }}</style>"
        f'<rect width="100%" height="100%" style="fill: var(--paper)"/>{inner}</svg>\n'
    )
