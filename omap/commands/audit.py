"""``omap audit``: does what the host saw follow from public parameters alone?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from omap.commands import audit_power
from omap.commands.numbers import Real, Whole
from omap.commands.tables import show
from omap.errors import InputError
from omap.outfiles import try_file
from omap.params import Params, Rule
from omap.presets import NAMES
from omap.workloads import WORKLOADS

if TYPE_CHECKING:
    from omap.audit import Report
    from omap.trace import Trace

TOGETHER = "all together"
"""Name of the report on all workloads that ran, as one trace."""

PRESETS = tuple(name for name in NAMES if name != "U55C")
"""Presets that a workload can run on in the reference: all but the one that fills a card."""


# click passes every option as an argument of its own, so the signature is as long as the list of options
@click.command(epilog=audit_power.text())
@click.argument("trace", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--rule", type=click.Choice([str(rule) for rule in Rule]), default="one_choice", show_default=True)
@click.option(
    "--workload",
    "workloads",
    multiple=True,
    type=click.Choice([*WORKLOADS]),
    help="Workload to run; may be repeated. Without it all workloads run, each on a map of its own.",
)
@click.option(
    "--operations",
    type=Whole(0),
    default=20_000,
    show_default=True,
    help="Operations in each workload.",
)
@click.option("--preset", type=click.Choice(PRESETS, case_sensitive=False), default="small", show_default=True)
@click.option(
    "--seed", type=Whole(0), default=0, show_default=True, help="Seed of the workload; the map draws its own."
)
@click.option("--backend", default="reference", show_default=True, help="Back end that runs the map.")
@click.option("--plain", is_flag=True, help="Run an encrypted hash table instead of the map, to see it fail.")
@click.option(
    "--false-alarm",
    type=Real(above=0, below=1),
    default=2.0**-30,
    show_default="2^-30",
    help="Largest probability that a sound trace fails, for each trace.",
)
@click.option("--overlapping", is_flag=True, help="Operations may overlap in time, as in a pipelined engine.")
@click.option("--save", type=click.Path(path_type=Path, dir_okay=False), help="Write the trace of the one workload.")
@click.option("-v", "--verbose", is_flag=True, help="List every check.")
@click.option("--json", "as_json", is_flag=True, help="Print the reports as JSON.")
@click.pass_context
def command(
    context: click.Context,
    trace: Path | None,
    rule: str,
    workloads: tuple[str, ...],
    operations: int,
    preset: str,
    seed: int,
    backend: str,
    plain: bool,
    false_alarm: float,
    overlapping: bool,
    save: Path | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Compare what the host saw with what public parameters alone would produce.

    TRACE is a file that --save or omap.audit.save_trace wrote; it holds events, what was submitted, and public
    parameters. Without TRACE, workloads run on fresh maps. Every check is exact or has a stated probability of a false
    alarm, which holds for each trace.

    Exit code 1 means that a trace shows more than it may.
    """
    from omap.audit import audit, load_trace, save_trace
    from omap.trace import join

    names = workloads or tuple(WORKLOADS)
    if save is not None and (trace is not None or len(names) != 1):
        raise InputError("--save writes one trace: name one --workload, and no TRACE")
    if trace is not None:
        _refuse_what_makes_a_trace(context)
    elif plain and rule != Rule.ONE_CHOICE:
        raise InputError(f"--plain has no placement rule: leave out --rule {rule}")
    if save is not None:
        try_file(save)
    reports: dict[str, Report] = {}
    if trace is not None:
        seen, params = load_trace(trace)
        reports[str(trace)] = audit(seen, params, false_alarm=false_alarm, overlapping=overlapping)
    else:
        params = params_for(preset, Rule(rule))
        traces = {}
        for name in dict.fromkeys(names):
            seen = traces[name] = observe(name, params, operations, seed=seed, backend=backend, plain=plain)
            if save is not None:
                save_trace(save, seen, params)
            reports[name] = audit(seen, params, false_alarm=false_alarm, overlapping=overlapping)
        if len(traces) > 1:
            whole = join(*traces.values())
            reports[TOGETHER] = audit(whole, params, false_alarm=false_alarm, overlapping=overlapping)
    passed = all(report.passed for report in reports.values())
    if as_json:
        runs = [{"trace": name, **report.to_dict()} for name, report in reports.items()]
        click.echo(json.dumps({"passed": passed, "params": params.to_dict(), "audits": runs}, indent=2))
    else:
        _show(reports, verbose)
    context.exit(0 if passed else 1)


def _refuse_what_makes_a_trace(context: click.Context) -> None:
    """Refuse options that would have no effect, because a saved trace says itself what ran."""
    given = [
        "--" + name.removesuffix("s") if name == "workloads" else "--" + name
        for name in ("rule", "workloads", "operations", "preset", "seed", "backend", "plain")
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise InputError(f"TRACE is audited as it is: leave out {' and '.join(given)}")


def params_for(preset: str, rule: Rule) -> Params:
    """Return parameters under any rule for the keys and values of a preset; ``two_choice`` as published."""
    from omap import sizing
    from omap.presets import preset as named

    shape = named(preset)
    if rule is Rule.ONE_CHOICE:
        return shape
    sized = sizing.two_choice if rule is Rule.TWO_CHOICE else sizing.resident
    return sized(capacity=shape.capacity, key_bytes=shape.key_bytes, value_bytes=shape.value_bytes)


def observe(name: str, params: Params, operations: int, *, seed: int, backend: str, plain: bool) -> Trace:
    """Run one workload on a fresh map; return what was submitted and what the host saw, format and load included."""
    from omap import backends
    from omap.plain import PlainTable
    from omap.trace import Observer
    from omap.workloads import load_and_run, workload

    observer = Observer()
    create = PlainTable if plain else backends.load(backend)
    submitted = load_and_run(workload(name, params, operations, seed=seed), create(params, observer=observer))
    return observer.trace(submitted)


def _show(reports: dict[str, Report], verbose: bool) -> None:
    if len(reports) == 1:
        (report,) = reports.values()
        click.echo(report.summary())
    else:
        width = max(map(len, reports))
        for name, report in reports.items():
            worst = report.worst
            click.echo(
                f"{name:{width}}  {'PASS' if report.passed else 'FAIL'}  {len(report.findings)} checks, "
                f"{len(report.failures)} failed; least probable: {worst.name}, {worst.chance}"
            )
        report = min(reports.values(), key=lambda report: report.passed)  # one that failed, if there is one
        click.echo(f"{report.claim_text}\n{report.false_alarm_text}")
        for note in dict.fromkeys(note for report in reports.values() for note in report.notes):
            click.echo(f"Note: {note}")
    if verbose:
        _table(reports)


def _table(reports: dict[str, Report]) -> None:
    from rich.table import Table

    for name, report in reports.items():
        table = Table(title=name, show_edge=False)
        for heading in ("check", "observed", "expected", "p at most", ""):
            table.add_column(heading, justify="left" if heading in ("check", "") else "right")
        for finding in report.findings:
            table.add_row(
                finding.name,
                f"{finding.observed:,.6g}",
                f"{finding.expected:,.6g}",
                f"{finding.p_value:.2g}",
                finding.verdict,
                style=None if finding.passed else "bold red",
            )
        show(table)
