"""``omap snapshot``, ``omap backup`` and ``omap restore``: what is done with the data folder of a map.

While `omap serve` runs, it alone uses the folder, and does the work when it is asked to. Else these commands do it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from host.commands.options import echo_json, gathered
from host.commands.planned import MAP_OPTIONS, MapOptions
from host.data.backup import restore_backup
from host.data.folder import DataFolder
from host.data.identity import NAME, known
from host.relay.control import ask
from omap.errors import InputError

_FOLDER = click.option(
    "--data-dir", required=True, type=click.Path(path_type=Path, file_okay=False), help="The data folder."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_MAP = gathered("wanted", MapOptions, *MAP_OPTIONS)


@click.command()
@_FOLDER
@_JSON
def snapshot(data_dir: Path, as_json: bool) -> None:
    """Have the `omap serve` of a data folder take a snapshot, and drop the journal that it replaces.

    The map does nothing else while its device writes the snapshot. `omap serve` also takes snapshots by itself.
    """
    taken = ask(data_dir, do="snapshot")
    if taken is None:
        raise InputError(f"no `omap serve` uses {data_dir}: start it, because only the device can take a snapshot")
    if as_json:
        echo_json(**taken)
    else:
        click.echo(
            f"snapshot of {taken['bytes']:,} bytes taken in {taken['seconds']:.2f} s; the map paused for "
            f"{taken['pause']:.2f} s"
        )


@click.command()
@_MAP
@_FOLDER
@click.option("--to", "target", type=click.Path(path_type=Path, dir_okay=False), help="Write the backup there.")
@click.option("--from", "source", type=click.Path(path_type=Path, dir_okay=False), help="Fill a new folder from it.")
@_JSON
def backup(wanted: MapOptions, data_dir: Path, target: Path | None, source: Path | None, as_json: bool) -> None:
    """Write all that a data folder holds into one file, or fill a new folder from such a file.

    The file is sealed: any device with the same root key restores it, and nobody else can read it. The folder may be in
    use. It says itself which map it holds; a new folder is filled for the map that the options say.
    """
    if (target is None) == (source is None):
        raise InputError("give either --to FILE, to write a backup, or --from FILE, to fill a new folder")
    if source is not None:
        _filled(data_dir, restore_backup(source, data_dir, wanted.params_of(data_dir)), as_json)
        return
    assert target is not None
    done = ask(data_dir, do="backup", to=str(target.absolute()))
    if done is None:
        _demand(data_dir)
        with contextlib.closing(DataFolder.open(data_dir, wanted.params_of(data_dir))) as folder:
            done = {"operations": folder.backup_to(target)}
    if as_json:
        echo_json(**done)
    else:
        click.echo(f"{target} holds the map after its first {done['operations']:,} operations")


@click.command()
@_MAP
@_FOLDER
@click.option("--from", "source", type=click.Path(path_type=Path, dir_okay=False), help="A backup to fill it from.")
@_JSON
def restore(wanted: MapOptions, data_dir: Path, source: Path | None, as_json: bool) -> None:
    """Check a data folder and say what the next `omap serve` will restore, or fill a new folder from a backup.

    The check reads all files. It finds damage, but not what somebody changed on purpose: the device finds that, and
    refuses to restore it.
    """
    if source is not None:
        _filled(data_dir, restore_backup(source, data_dir, wanted.params_of(data_dir)), as_json)
        return
    _demand(data_dir)
    with contextlib.closing(DataFolder.open(data_dir, wanted.params_of(data_dir))) as folder:
        found = folder.found
    if as_json:
        echo_json(
            empty=found.empty,
            maps=[map_id.hex() for map_id in found.maps],
            operations=found.operations,
            records=found.records,
            snapshot_time=found.snapshot_time,
            cut_bytes=found.cut_bytes,
        )
    else:
        click.echo("\n".join([*found.sentences, found.next]))


def _demand(folder: Path) -> None:
    """Refuse what is no data folder, so that a slip of the finger makes none, and no check says which map it holds."""
    if not folder.is_dir():
        raise InputError(f"there is no data folder {folder}: check its name")
    if known(folder) is None:
        raise InputError(f"{folder} is no data folder, because it has no file {NAME}: check its name, or put that back")


def _filled(folder: Path, operations: int, as_json: bool) -> None:
    if as_json:
        echo_json(operations=operations)
    else:
        click.echo(
            f"{folder} holds the map after its first {operations:,} operations; the next `omap serve` restores it"
        )
