"""``omap bounds``: simulated loads, compared with what is claimed about them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from omap.commands.numbers import SIZE, Real, Whole
from omap.commands.tables import show
from omap.params import Rule
from omap.sizing.bounds import WORKLOADS

if TYPE_CHECKING:
    from rich.table import Table

    from omap.sizing.bounds import Outcome, Shape

POSITION_MAP = "position_map"
"""Choice of ``--rule`` for the transit queue of the position map."""

ONE_CHOICE_SHAPES = ((11.25, 15), (6.0, 8))
"""Loads and page slots of the default table. All but the first run only the worst workload, a sweep."""

BUCKET_ENTRIES = (8, 10, 6)
"""Entries in a bucket of one_choice maps with keys of 4, 8 and 16 bytes."""


class Asked(NamedTuple):
    """Values of the options; ``None`` if each rule has a default of its own, and no workloads for all of them."""

    keys: int
    accesses: int
    load: float | None
    slots: int | None
    share: float
    workloads: tuple[str, ...]
    seed: int


# click passes every option as an argument of its own, so the signature is as long as the list of options
@click.command()
@click.option(
    "--rule",
    "rules",
    type=click.Choice([Rule.ONE_CHOICE.value, Rule.TWO_CHOICE.value, POSITION_MAP]),
    multiple=True,
    help="What to simulate; may be repeated.  [default: all three]",
)
@click.option(
    "--workload",
    "workloads",
    type=click.Choice(list(WORKLOADS)),
    multiple=True,
    help="Workload to run; may be repeated.  [default: all]",
)
@click.option("--keys", type=SIZE, default="2^20", show_default=True, help="Live keys, N.")
@click.option("--accesses", type=SIZE, default="1e7", show_default=True, help="Operations in each workload.")
@click.option(
    "--load",
    type=Real(above=0),
    help="Mean tuples of a page or bin, c.  [default: 11.25 and 6; two_choice 8]",
)
@click.option(
    "--slots",
    type=Whole(1),
    help="Tuples that a page has room for, C.  [default: 15 and 8; two_choice 13]",
)
@click.option(
    "--share",
    type=Real(0, below=1),
    default=0.2,
    show_default=True,
    help="two_choice: share of bins in HBM, alpha.",
)
@click.option("--seed", type=Whole(0), default=1, show_default=True, help="Seed of draws and workloads.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    rules: tuple[str, ...],
    workloads: tuple[str, ...],
    keys: int,
    accesses: int,
    load: float | None,
    slots: int | None,
    share: float,
    seed: int,
    as_json: bool,
) -> None:
    """Simulate loads without crypto, and print them together with their bounds.

    one_choice is compared with the theorem, two_choice with the published bounds, and the position map with the tail
    that the sizing relies on. Exit code 1 means that a figure is above its bound.
    """
    started = time.process_time()
    rows: list[dict[str, Any]] = []
    asked = Asked(keys, accesses, load, slots, share, workloads, seed)
    chosen = rules or (Rule.ONE_CHOICE, Rule.TWO_CHOICE, POSITION_MAP)
    if Rule.ONE_CHOICE in chosen:
        rows += _one_choice(asked)
    if Rule.TWO_CHOICE in chosen:
        rows += _two_choice(asked)
    if POSITION_MAP in chosen:
        rows += _position_map(asked)
    held = all(row["holds"] for row in rows)
    if as_json:
        click.echo(
            json.dumps({"keys": keys, "accesses": accesses, "seed": seed, "holds": held, "rows": rows}, indent=2)
        )
    else:
        _show(rows, keys, accesses, time.process_time() - started)
    if not held:
        raise click.ClickException("a figure is above its bound")


def _outcome(name: str, shape: Shape, workload: str, asked: Asked) -> Outcome:
    from rich.console import Console

    from omap.sizing.bounds import simulate

    with Console(stderr=True).status(f"{name}: {workload}"):
        return simulate(shape, workload, asked.accesses, asked.seed)


def _one_choice(asked: Asked) -> Iterator[dict[str, Any]]:
    import numpy as np

    from omap.params import line_indices
    from omap.sizing import INSTANT_BITS
    from omap.sizing.bounds import Shape
    from omap.sizing.sizes import DESCRIPTOR_LINE
    from omap.sizing.theorem import mean_share, provision, waiting_law

    keys = asked.keys
    custom = asked.load is not None or asked.slots is not None
    shapes = ((asked.load or 11.25, asked.slots or 15),) if custom else ONE_CHOICE_SHAPES
    for place, (c, room) in enumerate(shapes):
        pages = max(2, math.ceil(keys / c))
        lines = line_indices(DESCRIPTOR_LINE)
        shape = Shape(rule=Rule.ONE_CHOICE, capacity=keys, pages=pages, page_slots=room, line_indices=lines)
        law = waiting_law(keys, pages, room)
        provided = min(keys, provision(law, np.arange(len(law)), pages, INSTANT_BITS))
        for workload in asked.workloads or (tuple(WORKLOADS) if place == 0 else ("sweep",)):
            seen = _outcome(f"one_choice ({c}, {room})", shape, workload, asked)
            yield {
                "rule": "one_choice",
                "load": c,
                "slots": room,
                "workload": workload,
                "mean_waiting": seen.mean_waiting,
                "theorem_mean": mean_share(keys / pages, room) * keys,
                "most_waiting": seen.most_waiting,
                "provided": provided,
                "most_load": seen.most_load,
                "holds": seen.most_waiting <= provided,
            }


def _two_choice(asked: Asked) -> Iterator[dict[str, Any]]:
    from omap.sizing import PUBLISHED_LOAD, most_load, two_choice_bounds
    from omap.sizing.bounds import Shape

    keys, share = asked.keys, asked.share
    c = asked.load or PUBLISHED_LOAD
    bins = max(2, math.ceil(keys / c))
    hbm_bins = int(share * bins)
    room = asked.slots or math.floor(most_load(keys, c))
    shape = Shape(rule=Rule.TWO_CHOICE, capacity=keys, pages=bins - hbm_bins, hbm_bins=hbm_bins, page_slots=room)
    hbm, queue = two_choice_bounds(keys, c, hbm_bins, bins - hbm_bins)
    for workload in asked.workloads or WORKLOADS:
        seen = _outcome(f"two_choice ({c}, {room}, {share})", shape, workload, asked)
        pairs = (
            (seen.most_load, most_load(keys, c)),
            (seen.most_resident, hbm),
            (seen.most_waiting, queue),
            (seen.most_together, hbm + queue),
        )
        yield {
            "rule": "two_choice",
            "load": c,
            "slots": room,
            "share": share,
            "workload": workload,
            "most_load": seen.most_load,
            "load_bound": most_load(keys, c),
            "mean_hbm": seen.mean_resident,
            "most_hbm": seen.most_resident,
            "hbm_bound": hbm,
            "mean_queue": seen.mean_waiting,
            "most_queue": seen.most_waiting,
            "queue_bound": queue,
            "most_total": seen.most_together,
            "total_bound": hbm + queue,
            "holds": all(figure <= bound for figure, bound in pairs),
        }


def _position_map(asked: Asked) -> Iterator[dict[str, Any]]:
    from rich.console import Console

    from omap.sizing.buckets import LOADS, TRANSIT_BITS_AN_ENTRY, TRANSIT_ENTRIES
    from omap.sizing.transit import simulate_transit

    for entries in BUCKET_ENTRIES:
        with Console(stderr=True).status(f"position map: buckets of {entries}"):
            seen = simulate_transit(entries, asked.keys, asked.accesses, seed=asked.seed)
        known = not math.isnan(seen.bits)
        yield {
            "rule": POSITION_MAP,
            "bucket_entries": entries,
            "load": LOADS[entries],
            "pairs": seen.pairs,
            "longest": seen.longest,
            "room": TRANSIT_ENTRIES,
            "bits_an_entry": seen.bits if known else None,
            "bits_relied_on": TRANSIT_BITS_AN_ENTRY,
            "holds": seen.longest <= TRANSIT_ENTRIES and (not known or seen.bits >= TRANSIT_BITS_AN_ENTRY),
        }


# -- tables -----------------------------------------------------------------------------------------------------


def _show(rows: list[dict[str, Any]], keys: int, accesses: int, seconds: float) -> None:
    from rich.console import Console

    console = Console()
    console.print(f"N = {keys:,} keys, {accesses:,} accesses in each workload after filling the map")
    for rule, table in TABLES.items():
        chosen = [row for row in rows if row["rule"] == rule]
        if chosen:
            show(table(chosen, keys), console)
    console.print(f"{seconds:.0f} s of CPU time", style="dim")


def _grid(title: str, *headings: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=box.SIMPLE)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "workload" else "right")
    return table


def _style(row: dict[str, Any]) -> str | None:
    return None if row["holds"] else "bold red"


def _show_one_choice(rows: list[dict[str, Any]], keys: int) -> Table:
    title = "one_choice: tuples waiting, % of N, beside the theorem"
    table = _grid(title, "c", "C", "workload", "mean", "theorem, worst", "most", "provided")
    for row in rows:
        figures = (row[name] for name in ("mean_waiting", "theorem_mean", "most_waiting", "provided"))
        shares = (f"{100 * figure / keys:.2f}" for figure in figures)
        table.add_row(f"{row['load']:g}", f"{row['slots']}", row["workload"], *shares, style=_style(row))
    return table


def _show_two_choice(rows: list[dict[str, Any]], keys: int) -> Table:
    title = "two_choice: largest values and means, beside the published bounds"
    table = _grid(title, "workload", "load", "in HBM bins", "mean", "eviction buffer", "mean", "total")
    names = ("most_hbm", "mean_hbm", "most_queue", "mean_queue", "most_total")
    for row in rows:
        figures = (f"{row[name]:,.0f}" for name in names)
        table.add_row(row["workload"], f"{row['most_load']}", *figures, style=_style(row))
    bound = rows[0]
    table.add_section()
    limits = (f"{bound[name]:,.0f}" if name else "" for name in ("hbm_bound", "", "queue_bound", "", "total_bound"))
    table.add_row("bound", f"{bound['load_bound']:.2f}", *limits)
    return table


def _show_position_map(rows: list[dict[str, Any]], keys: int) -> Table:
    title = "position map: entries in transit under churn with relocation steps at insertions only"
    table = _grid(title, "entries a bucket", "load", "pairs", "most", "room", "bits an entry", "relied on")
    for row in rows:
        bits = "too few seen" if row["bits_an_entry"] is None else f"{row['bits_an_entry']:.2f}"
        table.add_row(
            f"{row['bucket_entries']}",
            f"{row['load']:.2f}",
            f"{row['pairs']:,}",
            f"{row['longest']}",
            f"{row['room']}",
            bits,
            f"{row['bits_relied_on']:.2f}",
            style=_style(row),
        )
    return table


TABLES: dict[str, Callable[[list[dict[str, Any]], int], Table]] = {
    Rule.ONE_CHOICE: _show_one_choice,
    Rule.TWO_CHOICE: _show_two_choice,
    POSITION_MAP: _show_position_map,
}
