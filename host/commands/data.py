"""The data folder of ``omap serve``: its options, and how a map begins from what is there."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from host.data.folder import DataFolder
from host.device.driver import Driver
from host.device.restoring import begin_empty, map_id, restore, settle, unused
from host.relay.keeper import Keeper, Keeping
from omap.commands.numbers import SIZE, Real
from omap.errors import InputError
from omap.params import Params
from omap.regmap import State

LOG = logging.getLogger("omap.serve")

_TELL_SECONDS = 2.0
"""How often a restore says how far it is."""

ALWAYS, INTERVAL = "always", "interval"

_SNAPSHOT_MINUTES = Keeping.snapshot_seconds / 60


class Sync(click.ParamType):  # type: ignore[type-arg]  # as in omap.commands.numbers
    """``always``, or ``interval MS`` in one word: milliseconds. The value is the words; see :func:`seconds`."""

    name = "always|interval MS"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Return the words if they say when to sync."""
        words = str(value).split()
        if words == [ALWAYS]:
            return ALWAYS
        with contextlib.suppress(ValueError):
            if len(words) == 2 and words[0] == INTERVAL and 0 < float(words[1]) < 1e9:
                return str(value)
        self.fail(f"--sync takes always, or 'interval MS' with milliseconds above 0, and {value!r} came", param, ctx)


def seconds(sync: str) -> float | None:
    """Return the seconds of an interval that :class:`Sync` took; None for always."""
    return None if sync == ALWAYS else float(sync.split()[1]) / 1e3


@dataclass(frozen=True)
class DataOptions:
    """Where and how a map is kept, as the options say.

    Parameters
    ----------
    data_dir : Path or None
        The data folder; None to keep nothing.
    sync : str or None
        When the journal is synced; None for always.
    snapshot_after : int or None
        Bytes of journal after which a snapshot is taken.
    snapshot_every : float or None
        Least minutes between two such snapshots; None for the default.
    """

    data_dir: Path | None
    sync: str | None
    snapshot_after: int | None
    snapshot_every: float | None

    def check(self) -> None:
        """Raise InputError if an option says how a map is kept, and it is not kept."""
        if self.data_dir is None:
            for name in ("sync", "snapshot_after", "snapshot_every"):
                if getattr(self, name) is not None:
                    option = "--" + name.replace("_", "-")
                    raise InputError(f"{option} is for --data-dir: give a folder, or leave {option} out")

    @property
    def keeping(self) -> Keeping:
        """How the map is kept."""
        minutes = _SNAPSHOT_MINUTES if self.snapshot_every is None else self.snapshot_every
        return Keeping(seconds(self.sync or ALWAYS), self.snapshot_after, 60 * minutes)

    @contextlib.contextmanager
    def opened(self, params: Params) -> Iterator[DataFolder | None]:
        """Open the folder, if there is one, until the end of the block, and say what is in it."""
        if self.data_dir is None:
            yield None
            return
        with contextlib.closing(DataFolder.open(self.data_dir, params)) as folder:
            for sentence in folder.found.sentences:
                LOG.info(sentence)
            yield folder


OPTIONS = (
    click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="Keep the map in this folder, so that a restart, a crash or a power cut loses nothing.",
    ),
    click.option(
        "--sync",
        type=Sync(),
        help="always: answer when it is on disk. 'interval MS': answer at once, and write to disk at least every so "
        f"many milliseconds; a power cut takes what came since.  [default: {ALWAYS}]",
    ),
    click.option(
        "--snapshot-after",
        type=SIZE,
        help="Bytes of journal after which a snapshot is taken.  [default: those of a snapshot, at least 16 MiB]",
    ),
    click.option(
        "--snapshot-every",
        type=Real(above=0),
        help=f"Least minutes between two such snapshots.  [default: {_SNAPSHOT_MINUTES:g}]",
    ),
)
"""Options of ``omap serve``."""


def begin(driver: Driver, folder: DataFolder | None, keeping: Keeping) -> Keeper | None:
    """Have a device hold the map of a folder, or a new one, and return what keeps it.

    Raises
    ------
    InputError
        If the device writes no journal and there is a folder, or the other way round, or if it holds another map.
    DataError
        If the folder can't be written, or the device refuses what is in it.
    DeviceError, DeviceFaultError
        If the device does not do it.
    """
    if folder is None:
        if driver.mode["journal"]:
            raise InputError(
                "this device writes a journal, which must be kept: give --data-dir, or take a device that writes none "
                "(a card that was built with --no-journal)"
            )
        driver.start()
        return None
    if not driver.mode["journal"]:
        raise InputError(
            "this device writes no journal, so that nothing can be kept: leave --data-dir out, or take a device that "
            "does (a card: `omap board build` makes one, unless it is told --no-journal; a model that is attached: "
            "start it with --journal)"
        )
    _check_empty(driver, folder)
    LOG.info(folder.found.asked)
    begun = begin_empty(driver) if folder.found.empty else _restored(driver, folder)
    folder.begin_map(begun)
    driver.take_journal()  # only now, so that another driver finds out that nothing of it was kept before
    return Keeper(driver, folder, keeping)


def _check_empty(driver: Driver, folder: DataFolder) -> None:
    """Refuse a device with a map that is not in the folder."""
    if driver.state in (State.FAULT, State.STOPPED):
        driver.check()
    if driver.state in (State.IDLE, State.RESTORING) or unused(driver):
        return
    settle(driver)  # nobody waits for the answers
    driver.take_journal()
    driver.check()
    if folder.found.maps[-1:] != (map_id(driver),):
        raise InputError(
            f"the device holds a map that is not the one in {folder.path}: give the folder of that map, or restart the "
            "device to drop it"
        )


def _restored(driver: Driver, folder: DataFolder) -> bytes:
    found, began, last = folder.found, time.monotonic(), time.monotonic()

    def told(lines: int) -> None:
        nonlocal last
        if time.monotonic() - last > _TELL_SECONDS:
            last = time.monotonic()
            LOG.info("restoring", extra={"percent": 100 * lines // max(1, found.lines)})

    begun = restore(driver, folder.records(), told)
    took = time.monotonic() - began
    LOG.info("restored", extra={"operations": found.operations, "seconds": round(took, 2)})
    return begun
