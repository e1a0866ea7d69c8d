"""``omap board``: build folders for cards: write, check, and bring into a card."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from boards import report as reporting
from boards.check import checks
from boards.folder import build as building
from boards.folder import manifest, steps, tools
from boards.folder.disk import SECRET
from boards.target import Plan, Step, Target, Variable
from boards.targets import TARGETS
from host.paramsfile import read_params_file
from omap.board import BOARDS
from omap.errors import InputError
from omap.outfiles import try_file, write_text
from omap.params import Params
from omap.presets import preset
from rtl.synth import report as table
from rtl.synth.generate import JOURNAL


def _target(ctx: click.Context, param: click.Parameter, value: str) -> Target:
    """Return the target of a name; the message lists those that there are."""
    if value not in TARGETS:
        raise click.BadParameter(f"no target is called {value!r}; there are {', '.join(TARGETS)}")
    return TARGETS[value]


FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))


@click.group()
def command() -> None:
    """Build a map's accelerator for a card."""


@command.command("list")
def list_targets() -> None:
    """List the targets: card, whether HBM is private, what a map may take."""
    for target in TARGETS.values():
        click.echo(f"{target.name:<14}{BOARDS[target.board].part}, {target.summary}")


@command.command()
@click.argument("target", callback=_target)
@click.option("--preset", "name", help="Parameters of the map, by name.  [default: PAPER]")
@click.option("--params", "params_file", type=click.Path(path_type=Path), help="The same from `omap plan --json`.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write.  [default: build/TARGET]")
@click.option("--key-file", type=click.Path(path_type=Path), help="Root key of the card, from `omap provision`.")
@click.option("--attested", is_flag=True, help="The card is fused to boot this encrypted bitstream alone.")
@click.option("--plain", is_flag=True, help="Leave the bitstream unencrypted: for trials, it protects nothing.")
@click.option(
    "--journal/--no-journal",
    default=JOURNAL,
    show_default=True,
    help="The card writes a journal, so that `omap serve --data-dir` keeps the map over a restart.",
)
@click.option("--run/--no-run", default=None, help="Run the vendor's tools.  [default: if they are on PATH]")
def build(  # a parameter for each option: click hands them over so
    target: Target,
    name: str | None,
    params_file: Path | None,
    out: Path | None,
    key_file: Path | None,
    attested: bool,
    plain: bool,
    journal: bool,
    run: bool | None,
) -> None:
    """Write a complete build folder for TARGET (minutes), then run the vendor's tools on it (hours).

    The same inputs give the same bytes. Without --key-file the folder has no root key, and nothing is run.
    """
    plan = Plan(target, _params(name, params_file), attested, plain, journal)
    folder = out or Path("build") / target.name
    for note in building.build(plan, folder, key_file):
        click.echo(note)
    click.echo(f"{folder} is written; {folder / 'README.md'} says what to do with it")
    _run(Work(folder, target.build_steps(plan), target.environment(plan)), run)


@command.command()
@FOLDER
def check(folder: Path) -> None:
    """Check that a build folder is whole and that its parts fit together. Needs no tools of the vendor."""
    failed = 0
    for result in checks.check(folder, TARGETS):
        failed += bool(result.problems)
        click.echo(f"{'FAIL' if result.problems else 'ok  '}  {result.check.name}: {result.check.promise}")
        for problem in result.problems[:SHOWN]:
            click.echo(f"        {problem}")
        if len(result.problems) > SHOWN:
            click.echo(f"        and {len(result.problems) - SHOWN} more")
    if failed:
        raise InputError(f"{failed} of {len(checks.CHECKS)} checks of {folder} failed")


SHOWN = 10
"""Most problems of one check that are printed."""


@command.command()
@FOLDER
@click.option("--device", help="The card's PCIe address, such as 0000:3b:00.1.")
@click.option("--volatile", is_flag=True, help="Load it through JTAG until power goes, in place of writing the flash.")
@click.option("--yes", is_flag=True, help="Ask nothing: write the flash; what root must do is done.")
@click.option("--run/--no-run", default=None, help="Run the vendor's tools.  [default: if they are on PATH]")
def flash(folder: Path, device: str | None, volatile: bool, yes: bool, run: bool | None) -> None:
    """Bring what was built in FOLDER into a card.

    A target without a shell is written into the flash from which the card boots, unless --volatile is given; under the
    shell XRT loads the program, until power goes.
    """
    plan = manifest.plan_of(manifest.read(folder), TARGETS)
    target = plan.target
    wanted = target.flash_steps(plan, device, volatile=volatile)
    notes = () if volatile else target.flash_notes(plan)
    for note in notes:
        click.echo(note)
    built = target.build_steps(plan)
    for product in built[-1].makes:
        if run is not False and not (folder / product).exists():
            raise InputError(f"{folder / product} is not there: `omap board build` makes it, with the vendor's tools")
    ask = "Write the flash?" if notes and not yes else None
    _run(Work(folder, wanted, first=len(built) + 1), run, ask=ask, sure=yes)
    served = target.serve_step(plan, device)
    click.echo(f"{served.title}, in {folder}:\n  {served.shown}")


@command.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--preset", "name", default="PAPER", show_default=True, help="Parameters of the map.")
@click.option(
    "--engine",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    default=Path("docs/hardware/synthesis.md"),
    show_default=True,
    help="Document with the engine's row, by `omap rtl report`.",
)
@click.option(
    "--update",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Document whose table to replace by what is found, such as boards/README.md.",
)
def report(names: tuple[str, ...], name: str, engine: Path, update: Path | None) -> None:
    """Synthesise what the boards have around the engine: area, longest path, share of the card. Takes minutes.

    NAME: only this part. The engine's row is taken from a document: it takes half an hour.
    """
    params, areas = preset(name), {}
    if update is not None:
        try_file(update)
    chosen = table.choose(reporting.parts(params), names, "part")
    whole = table.read_table(engine.read_text("utf-8")).get(reporting.ENGINE)
    if whole is None:
        raise InputError(f"{engine} has no row {reporting.ENGINE}: `omap rtl report --update {engine}` makes one")
    click.echo(table.table({}))
    for part, synthesise in chosen.items():
        areas[part] = synthesise()
        click.echo(table.row(part, areas[part]))
    document = "" if update is None else update.read_text("utf-8")
    areas = reporting.with_tops(table.read_table(document) | areas, whole)
    for target in TARGETS:
        if target in areas:
            click.echo(table.row(target, areas[target]))
    if update is not None:
        ordered = {row: areas[row] for row in reporting.names(params) if row in areas}
        tops = "\n".join(reporting.shares(target, areas[target]) for target in TARGETS if target in areas)
        heading = f"Preset {name.upper()}; {table.tools()}; {datetime.now(UTC):%Y-%m-%d}.\n{tops}"
        write_text(update, table.with_table(document, ordered, heading))


def _params(name: str | None, params_file: Path | None) -> Params:
    if name is not None and params_file is not None:
        raise InputError("--preset and --params both say which map: give one of them")
    return preset(name or "PAPER") if params_file is None else read_params_file(params_file)


@dataclass(frozen=True)
class Work:
    """Steps to run in a build folder.

    Parameters
    ----------
    folder : Path
        The folder.
    steps : tuple of Step
        What to run.
    variables : tuple of Variable
        What the steps need in their environment.
    first : int
        Number of the first step, for the names of logs.
    """

    folder: Path
    steps: tuple[Step, ...]
    variables: tuple[Variable, ...] = ()
    first: int = 1

    def environment(self, lacks: list[str]) -> dict[str, str]:
        """Return the variables with their values, and add to ``lacks`` what is wrong with them."""
        named: dict[str, str] = {}
        for variable in self.variables:
            name, what = variable.name, variable.what
            if not os.environ.get(name):
                lacks.append(f"{name} is not set: it names {what}")
                continue
            named[name] = os.path.abspath(os.environ[name])  # the tools run in the build folder, their user elsewhere
            if not os.path.isfile(named[name]):
                lacks.append(f"there is no file {named[name]}, as {name} has it: it names {what}")
        return named


def _run(work: Work, run: bool | None, *, ask: str | None = None, sure: bool = False) -> None:
    """Run steps, or say what to run and where, if something is missing here or running is not wanted.

    With ``ask`` nothing is run unless the user says yes to it. Unless ``sure``, nothing that comes after a step of root
    is run before the user says that the step is done.
    """
    folder, wanted = work.folder, work.steps
    absent = tools.missing(wanted)
    lacks = [f"{', '.join(absent)} not on PATH: source the settings of the vendor's tools"] if absent else []
    if any(steps.DEVICE in step.command for step in wanted):
        lacks.append("--device is not given: the card's PCIe address, as `lspci -D -d 10ee:` shows it")
    if any(step.key for step in wanted) and not (folder / SECRET).exists():
        lacks.append(steps.no_key())
    environment = work.environment(lacks)
    if run is False or lacks:
        if run:
            raise InputError("; ".join(lacks))
        for lack in lacks:
            click.echo(lack)
        click.echo(f"To run in {folder}, on a machine with the vendor's tools:")
        for line in (steps.PREPARE, *(step.shown for step in wanted)):
            click.echo(f"  {line}")
        return
    if ask is not None:
        click.confirm(ask, abort=True)
    for place, step in enumerate(wanted):
        if step.root:
            click.echo(f"{step.title}, as root:\n  {step.shown}")
            if not sure and not all(later.root for later in wanted[place:]):
                click.confirm("Is that done?", abort=True)
        else:
            click.echo(f"{step.title}: {step.shown}")
            tools.run(folder, work.first + place, step, click.echo, environment)
