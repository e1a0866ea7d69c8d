"""Which map to serve, as the options of a command say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from host.data.identity import another_map, known
from host.paramsfile import read_params_file
from omap.commands.numbers import SIZE
from omap.errors import InputError
from omap.params import Params, Rule

CAPACITY, KEY_BYTES, VALUE_BYTES = 1 << 16, 16, 256
"""Sizes of the map that is served if no option says otherwise: room for hashed keys and short texts."""


@dataclass(frozen=True)
class MapOptions:
    """Which map to serve, as the options say.

    Parameters
    ----------
    preset : str or None
        Parameters by name.
    params_file : Path or None
        Parameters in a JSON file.
    capacity, key_bytes, value_bytes : int or None
        Sizes of a map to plan.
    """

    preset: str | None = None
    params_file: Path | None = None
    capacity: int | None = None
    key_bytes: int | None = None
    value_bytes: int | None = None

    def params(self) -> Params:
        """Return the parameters that the options ask for; raises InputError if the options contradict each other."""
        if (self.preset is not None) + (self.params_file is not None) + self._sized > 1:
            raise InputError("give one of --preset, --params, and sizes (--capacity, --key-bytes, --value-bytes)")
        if self.preset is not None:
            from omap.presets import preset as named

            return named(self.preset)
        if self.params_file is not None:
            return read_params_file(self.params_file)
        from omap.sizing.planner import plan

        return plan(
            capacity=CAPACITY if self.capacity is None else self.capacity,
            key_bytes=KEY_BYTES if self.key_bytes is None else self.key_bytes,
            value_bytes=VALUE_BYTES if self.value_bytes is None else self.value_bytes,
            hbm_bytes=16 << 30,
            rule=Rule.ONE_CHOICE,
        ).params

    def params_of(self, folder: Path | None) -> Params:
        """Return the parameters of the map that a data folder holds, or is to hold.

        The folder says it, unless options ask for another map. Sizes of keys, values and capacity that are those of the
        folder's map mean this map, however a map of these sizes would be planned now. A folder of an earlier omap may
        hold only the digest of its parameters. Then the maps are tried that planners made before, with shorter
        descriptor lines.

        Parameters
        ----------
        folder : Path or None
            The data folder, which need not be there; None if nothing is kept.

        Raises
        ------
        InputError
            If the options contradict each other or the folder, or if the folder does not say which map it holds.
        DamagedError, DataError
            If the folder can't be read.
        """
        there = None if folder is None else known(folder)
        if folder is None or there is None:
            return self.params()
        exact = self.preset is not None or self.params_file is not None
        if there.params is not None and not exact and self._fits(there.params):
            return there.params
        asked = self.params()
        if asked.digest == there.digest:
            return asked
        for params in [] if exact or there.params is not None else _earlier(asked):
            if params.digest == there.digest:
                return params
        raise another_map(folder, there, asked)

    @property
    def _sized(self) -> bool:
        return any(size is not None for size in (self.capacity, self.key_bytes, self.value_bytes))

    def _fits(self, params: Params) -> bool:
        """Whether a map has the sizes that the options say. All else of a map that is there was planned before."""
        pairs = (
            (self.capacity, params.capacity),
            (self.key_bytes, params.key_bytes),
            (self.value_bytes, params.value_bytes),
        )
        return all(wanted in (None, has) for wanted, has in pairs)


def _earlier(asked: Params) -> Iterator[Params]:
    """Yield what earlier planners made of the sizes of a map: their descriptor lines were shorter."""
    from omap.sizing.planner import SHORT_LINES
    from omap.sizing.sizes import one_choice

    for line in SHORT_LINES:
        yield one_choice(
            capacity=asked.capacity,
            key_bytes=asked.key_bytes,
            value_bytes=asked.value_bytes,
            page_bytes=asked.page_bytes,
            descriptor_bytes=line,
        )


MAP_OPTIONS = (
    click.option("--preset", help="Parameters of the map, by name."),
    click.option("--params", "params_file", type=click.Path(path_type=Path), help="The same from `omap plan --json`."),
    click.option("--capacity", type=SIZE, help=f"Most keys of a map to plan.  [default: {CAPACITY}]"),
    click.option("--key-bytes", type=SIZE, help=f"Bytes of its keys: 4, 8 or 16.  [default: {KEY_BYTES}]"),
    click.option("--value-bytes", type=SIZE, help=f"Bytes of its values.  [default: {VALUE_BYTES}]"),
)
"""Options that say which map it is."""
