"""``omap demo``: what a host sees of a real table, and what stays hidden from it."""

from __future__ import annotations

import json
import shlex
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omap.commands.delimiter import DELIMITER
from omap.commands.numbers import Whole
from omap.commands.progress import progress
from omap.commands.tables import show
from omap.errors import InputError
from omap.outfiles import try_file, write_text

if TYPE_CHECKING:
    from omap.demo.run import Contestant, Outcome
    from omap.demo.scenarios import Scenario
    from omap.demo.table import Table


# click passes every option as an argument of its own, so the signature is as long as the list of options
@click.command()
@click.option("--keys-csv", type=click.Path(path_type=Path), help="Your own table: a CSV file with a header line.")
@click.option("--key", "key_column", help="The column of that file that holds the keys.")
@DELIMITER
@click.option(
    "--operations",
    type=Whole(100, 10_000_000),
    default=2000,
    show_default=True,
    help="Operations in each workload.",
)
@click.option(
    "--seed", type=Whole(0), default=1, show_default=True, help="Seed of the mixed workload; the map draws its own."
)
@click.option(
    "--backend",
    default="reference",
    show_default=True,
    help="Back end that runs the oblivious map: 'reference', or 'rtl', the simulated accelerator (takes minutes).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("omap-demo.html"),
    show_default=True,
    help="The report to write.",
)
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="Write its first two pictures as SVG.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(
    keys_csv: Path | None,
    key_column: str | None,
    delimiter: str,
    operations: int,
    seed: int,
    backend: str,
    out: Path,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Load a real table, query it in three ways, and show what the host saw.

    The table lists the world's airports, or is your own with --keys-csv and --key. It is stored in an encrypted hash
    table and in the oblivious map, and every answer is checked. The report is one HTML file. Exit code 1 means that an
    answer was wrong, or that the oblivious map failed the audit.
    """
    from omap import backends
    from omap.commands.version import versions
    from omap.demo.contestants import contestants
    from omap.demo.pictures import side_by_side
    from omap.demo.report import Facts, draw, render
    from omap.demo.scenarios import scenarios
    from omap.demo.table import airports, read_csv

    if (keys_csv is None) != (key_column is None):
        raise InputError("--keys-csv and --key go together: name the file and the column that holds its keys")
    for path in filter(None, (out, picture)):
        try_file(path)

    create = backends.load(backend)
    table = airports() if keys_csv is None or key_column is None else read_csv(keys_csv, key_column, delimiter)
    if notice := getattr(create, "notice", None):
        click.echo(f"Back end {backend}: {notice}", err=True)
    outcomes = _run_all(contestants(table, create), table, scenarios(table, operations, seed))

    own = ["--keys-csv", keys_csv.name, "--key", key_column or ""] if keys_csv else []
    if keys_csv and delimiter != ",":
        own += ["--delimiter", delimiter]
    if backend != "reference":
        own += ["--backend", backend]
    facts = Facts(
        command=shlex.join(["omap", "demo", *own, "--operations", str(operations), "--seed", str(seed)]),
        date=time.strftime("%Y-%m-%d"),
        versions=versions(),
        backend=backend,
    )
    write_text(out, render(table, outcomes, facts))
    if picture is not None:
        left, right = (draw(outcome, outcome.seen[0]) for outcome in outcomes[:2])
        titles = (outcomes[0].contestant.title, outcomes[1].contestant.title)
        write_text(picture, side_by_side(left, right, titles))

    if as_json:
        click.echo(json.dumps(_results(table, outcomes, out), indent=2))
    else:
        _show(outcomes)
        click.echo(f"Report: {out.resolve()}")
    _judge(outcomes)


def _run_all(those: list[Contestant], table: Table, asked: list[Scenario]) -> list[Outcome]:
    from omap.demo.run import run

    outcomes = []
    with progress() as bars:
        for contestant in those:
            # this bar has no length, because making a map may include building the simulator that runs it
            make = bars.add_task(f"{contestant.title}: preparing", total=None)
            load = bars.add_task(f"{contestant.title}: loading", total=len(table))
            query = bars.add_task(
                f"{contestant.title}: querying", total=len(table) + sum(len(scenario.operations) for scenario in asked)
            )
            outcomes.append(
                run(
                    contestant,
                    table,
                    asked,
                    made=partial(bars.remove_task, make),
                    loaded=partial(bars.advance, load),
                    asked=partial(bars.advance, query),
                )
            )
    return outcomes


def _show(outcomes: list[Outcome]) -> None:
    from rich.table import Table as Grid

    grid = Grid(title="What the host saw, says the audit")
    grid.add_column("", no_wrap=True)
    for seen in outcomes[0].seen:
        grid.add_column(seen.scenario.name)
    for heading in ("bytes/op", "HBM B/key", "ops/s*", "wrong"):
        grid.add_column(heading, justify="right")
    for outcome in outcomes:
        params = outcome.contestant.params
        grid.add_row(
            outcome.contestant.name,
            *("random" if seen.report.passed else "[bold red]leaks[/]" for seen in outcome.seen),
            f"{outcome.bytes_per_operation:,.0f}",
            f"{params.hbm_bytes / params.capacity:,.0f}",
            f"{outcome.operations_per_second:,.0f}",
            f"{outcome.wrong:,}",
        )
    grid.caption = "* of this Python model, not of hardware"
    if any(outcome.clock_mhz for outcome in outcomes):
        grid.caption = "* of this machine, which simulates the accelerator"
    show(grid)
    _explain(outcomes)
    for outcome in outcomes:
        _show_cycles(outcome)


def _explain(outcomes: list[Outcome]) -> None:
    """Say what each name in the table stands for."""
    from rich.console import Console

    console = Console(highlight=False)
    for outcome in outcomes:
        console.print(f"[bold]{outcome.contestant.name}[/]: {outcome.contestant.title}")
    for seen in outcomes[0].seen:
        console.print(f"[bold]{seen.scenario.name}[/]: {seen.scenario.title}")


def _show_cycles(outcome: Outcome) -> None:
    """Show the clock cycles of an operation, if hardware or its simulation ran the map."""
    from rich.table import Table as Grid

    if outcome.cycles_per_operation is None or outcome.clock_mhz is None:
        return
    rate = 1e6 * outcome.clock_mhz / outcome.cycles_per_operation
    grid = Grid(title="Clock cycles an operation, in simulation")
    grid.add_column("", no_wrap=True)
    for name in (*(seen.scenario.name for seen in outcome.seen), "all", f"ops/s at {outcome.clock_mhz:g} MHz*"):
        grid.add_column(name, justify="right")
    cycles = (*(seen.cycles_per_operation for seen in outcome.seen), outcome.cycles_per_operation)
    grid.add_row(outcome.contestant.name, *(f"{each:,.1f}" for each in cycles if each is not None), f"{rate:,.0f}")
    grid.caption = "* this clock is assumed: no card was measured"
    show(grid)


def _results(table: Table, outcomes: list[Outcome], out: Path) -> dict[str, Any]:
    return {
        "report": str(out.resolve()),
        "table": {
            "title": table.title,
            "rows": len(table),
            "key_bytes": table.key_bytes,
            "value_bytes": table.value_bytes,
            "hashed_keys": table.hashed,
        },
        "maps": [
            {
                "name": outcome.contestant.name,
                "oblivious": outcome.contestant.oblivious,
                "params": outcome.contestant.params.to_dict(),
                "answers": outcome.answers,
                "wrong_answers": outcome.wrong,
                "bytes_per_operation": outcome.bytes_per_operation,
                "host_bytes": outcome.contestant.params.host_bytes,
                "hbm_bytes": outcome.contestant.params.hbm_bytes,
                "model_operations_per_second": outcome.operations_per_second,
                "model_keys_loaded_per_second": outcome.loaded_per_second,
                "cycles_per_operation": outcome.cycles_per_operation,
                "assumed_clock_mhz": outcome.clock_mhz,
                "workloads": [
                    {
                        "name": seen.scenario.name,
                        "cycles_per_operation": seen.cycles_per_operation,
                        "audit": seen.report.to_dict(),
                    }
                    for seen in outcome.seen
                ],
            }
            for outcome in outcomes
        ],
    }


def _judge(outcomes: list[Outcome]) -> None:
    """Exit with an error if an answer was wrong, or an oblivious map failed the audit."""
    for outcome in outcomes:
        if outcome.wrong:
            raise click.ClickException(
                f"{outcome.contestant.title}: {outcome.wrong} of {outcome.answers} answers wrong"
            )
        for seen in outcome.seen:
            if outcome.contestant.oblivious and not seen.report.passed:
                raise click.ClickException(
                    f"{outcome.contestant.title}, {seen.scenario.title}: {seen.report.summary()}"
                )
