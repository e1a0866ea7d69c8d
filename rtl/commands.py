"""``omap rtl``: the accelerator as Verilog, and what it costs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from omap.outfiles import try_file, write_text
from omap.presets import preset
from rtl.synth import generate as generation
from rtl.synth import report as reporting
from rtl.synth.netlist import mapped, synthesise

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
    click.echo(reporting.table({}))
    for block_name, block in reporting.choose(reporting.reported(preset(name)), names, "block").items():
        areas[block_name] = synthesise(block.make())
        click.echo(reporting.row(block_name, areas[block_name]))
    if update is not None:
        document = update.read_text("utf-8")
        areas = reporting.read_table(document) | areas
        heading = f"Preset {name.upper()}; {reporting.tools()}; {datetime.now(UTC):%Y-%m-%d}."
        write_text(update, reporting.with_table(document, areas, heading))


@command.command()
@PRESET
@click.option(
    "--block", "names", multiple=True, help="Only this block; may be given several times. Default: all but the engine."
)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Placements of each block.")
@click.option(
    "--anchors",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder with checked-out repositories of public designs, whose rows to make as well.",
)
@click.option("--anchors-only", is_flag=True, help="Make no rows of blocks.")
@click.option(
    "--box", "boxes", multiple=True, help="Pattern of parts to leave out, such as *.seal.gcm; paths end there."
)
@click.option(
    "--update",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Document whose figures to replace by what is found, such as docs/timing.md.",
)
def timing(  # Many: one for each option
    name: str,
    names: tuple[str, ...],
    seeds: int,
    anchors: Path | None,
    anchors_only: bool,
    boxes: tuple[str, ...],
    update: Path | None,
) -> None:
    """Estimate the clock of the blocks: placement and static timing with public delays. No timing closure.

    A block takes minutes, most of them for its synthesis. The whole engine, 265,000 cells, takes 4 GB and an hour: it
    is left out unless named by --block engine, best with --seeds 1.
    """
    from rtl.timing import report as telling
    from rtl.timing.anchors import ANCHORS, load
    from rtl.timing.estimate import estimate
    from rtl.timing.netlist import read

    known = reporting.reported(preset(name))
    if update is not None:
        try_file(update)
    chosen = {} if anchors_only else reporting.choose(known, names, "block")
    if not names:
        chosen.pop("engine", None)
    netlists = {
        block: lambda made=made: read(mapped(made.make(), emptied=boxes), boxes) for block, made in chosen.items()
    }
    if anchors is not None:
        netlists |= {anchor: lambda its=its: load(its, anchors) for anchor, its in ANCHORS.items()}
    found = {}
    click.echo(telling.head())
    for netlist, make in netlists.items():
        found[netlist] = estimate(make(), range(1, seeds + 1))
        click.echo(telling.row(netlist, found[netlist]))
    if update is not None:
        heading = f"Preset {name.upper()}; {telling.tools()}; {datetime.now(UTC):%Y-%m-%d}."
        document = update.read_text("utf-8")
        write_text(update, telling.updated(document, found, (*known, *ANCHORS), heading))
    else:
        for netlist, its in found.items():
            click.echo(f"\n{telling.paths(netlist, its)}")
