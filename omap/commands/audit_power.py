"""What ``omap audit --help`` says about the size of a leak and the length at which it shows: measured, not proven."""

from __future__ import annotations

SHARES = (1.0, 0.3, 0.1, 0.05, 0.02, 0.01)
"""Shares of the touches that leak."""

SHOWS_AT: dict[str, tuple[int | None, ...]] = {
    "are the page of 1 touch ago": (10, 50, 200, 500, 5000, 5000),
    "are that of 1,500 touches ago": (2000, 2000, 2000, 5000, 5000, 20000),
    "are one certain page": (10, 50, 200, 500, 5000, 5000),
    "lie in the lower half": (50, 1000, 10000, 50000, 200000, 1000000),
    "lie in a half picked once": (200, 2000, 50000, 100000, 1000000, None),
    "avoid pages touched lately": (100, 2000, 20000, 100000, 500000, None),
}
"""Operations at which each leak shows, for each share; None if not at a million. ``python -m
tests.support.leakage.power`` makes the lines, and ``tests/leakage/test_power.py`` compares them."""


def _number(count: int | None) -> str:
    return "-" if count is None else "10^6" if count == 10**6 else f"{count:,}"


def text() -> str:
    """Return the table and what it stands for, for the end of the help."""
    width = max(map(len, SHOWS_AT))
    lines = [" " * width + "".join(f"{share:>8.0%}" for share in SHARES)]
    for leak, lengths in SHOWS_AT.items():
        lines.append(f"{leak:{width}}" + "".join(f"{_number(n):>8}" for n in lengths))
    table = "\n".join(lines)
    return f"""\
After how many operations does a leak show? It depends on its size: the share of the touches whose page is not a fresh
uniform draw. So many operations were enough in three runs of three, of 10, 20, 50, 100, ... 1,000,000 that were tried,
on 191 pages (SMALL); - means not at a million. These touches ...

\b
{table}

On a larger map pages that come again show sooner, and pages that are preferred show later, unless they lie side by
side. Where more than one workload runs, all are also audited together, as one long run. So a leak that is there
whatever the workload is needs as many operations in all workloads together, and not in each.
"""
