"""``omap rtl``: the accelerator as Verilog, and what it costs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from omap.commands.numbers import Whole
from omap.outfiles import try_file, write_text
from omap.presets import preset
from rtl.synth import generate as generation
from rtl.synth import report as reporting
from rtl.synth.netlist import synthesise

PRESET = click.option("--preset", "name", default="PAPER", show_default=True, help="Parameters of the map.")


@click.group()
def command() -> None:
    """Generate the accelerator and report on it."""


@command.command()
@PRESET
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("build/rtl"), show_default=True)
@click.option(
    "--journal/--no-journal",
    default=generation.JOURNAL,
    show_default=True,
    help="The engine writes a journal, so that `omap serve --data-dir` keeps the map over a restart.",
)
def generate(name: str, out: Path, journal: bool) -> None:
    """Write the engine and its cryptographic blocks as Verilog-2005, with a manifest. Takes minutes.

    The times of public events, in cycles, are computed from the map and from what HBM must keep to; they stand in
    the manifest and go to standard error.
    """
    manifest = generation.generate(preset(name), out, journal=journal)
    click.echo(", ".join(f"{item} {number}" for item, number in manifest["times"].items()), err=True)
    for file in (*manifest["files"], generation.MANIFEST):
        click.echo(out / file)


@command.command()
@PRESET
@click.option("--block", "names", multiple=True, help="Only this block; may be given several times. Default: all.")
@click.option(
    "--update",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Document whose table to replace by what is found, such as docs/hardware/synthesis.md.",
)
def report(name: str, names: tuple[str, ...], update: Path | None) -> None:
    """Synthesise the blocks for the UltraScale+ family: area, longest path, share of a U55C. Takes minutes a block."""
    areas = {}
    if update is not None:
        try_file(update)
        reporting.with_table(update.read_text("utf-8"), {}, "")  # refuses a document without a table, before the work
    click.echo(reporting.table({}))
    for block_name, block in reporting.choose(reporting.reported(preset(name)), names, "block").items():
        areas[block_name] = synthesise(block.make(), apart=block.apart)
        click.echo(reporting.row(block_name, areas[block_name]))
    if update is not None:
        document = update.read_text("utf-8")
        areas = reporting.read_table(document) | areas
        heading = f"Preset {name.upper()}; {reporting.tools()}; {datetime.now(UTC):%Y-%m-%d}."
        write_text(update, reporting.with_table(document, areas, heading))


@command.command()
@PRESET
@click.option(
    "--block", "names", multiple=True, help="Only this block; may be given several times. Default: all but engines."
)
@click.option("--seeds", type=Whole(1, 100), default=3, show_default=True, help="Placements of each block.")
@click.option(
    "--anchors",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder with checked-out repositories of public designs: make their rows, and those of blocks that are named.",
)
@click.option(
    "--update",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Document whose figures to replace by what is found, such as docs/timing.md.",
)
def timing(name: str, names: tuple[str, ...], seeds: int, anchors: Path | None, update: Path | None) -> None:
    """Estimate the clock of blocks: placement and static timing with public delays. It is no timing closure.

    A block takes minutes, most of them for its synthesis. An engine takes much longer. So it has to be named (--block
    engine), and is placed once, without the ciphers of its lanes.
    """
    from rtl.timing import report as telling
    from rtl.timing.anchors import ANCHORS, load
    from rtl.timing.estimate import estimate
    from rtl.timing.subjects import subjects

    known = subjects(preset(name))
    if update is not None:
        try_file(update)
        telling.updated(update.read_text("utf-8"), {}, (), "")  # refuses a document without tables, before the work
    blocks = {} if anchors and not names else reporting.choose(known, names, "block")
    found = {}
    click.echo(telling.head())
    for block, subject in blocks.items():
        if names or not subject.whole:
            found[block] = estimate(subject.netlist(), range(1, 2 if subject.whole else seeds + 1))
            click.echo(telling.row(block, found[block]))
    for anchor, its in ANCHORS.items() if anchors else ():
        found[anchor] = estimate(load(its, anchors), range(1, seeds + 1))
        click.echo(telling.row(anchor, found[anchor]))
    if update is None:
        for netlist, its in found.items():
            click.echo(f"\n{telling.paths(netlist, its)}")
        return
    heading = f"Preset {name.upper()}; {telling.tools()}; {datetime.now(UTC):%Y-%m-%d}."
    write_text(update, telling.updated(update.read_text("utf-8"), found, (*known, *ANCHORS), heading))
