"""Which map to serve, as the options of a command say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

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
        sizes = (self.capacity, self.key_bytes, self.value_bytes)
        planned = any(size is not None for size in sizes)
        if (self.preset is not None) + (self.params_file is not None) + planned > 1:
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


MAP_OPTIONS = (
    click.option("--preset", help="Parameters of the map, by name."),
    click.option("--params", "params_file", type=click.Path(path_type=Path), help="The same from `omap plan --json`."),
    click.option("--capacity", type=SIZE, help=f"Most keys of a map to plan.  [default: {CAPACITY}]"),
    click.option("--key-bytes", type=SIZE, help=f"Bytes of its keys: 4, 8 or 16.  [default: {KEY_BYTES}]"),
    click.option("--value-bytes", type=SIZE, help=f"Bytes of its values.  [default: {VALUE_BYTES}]"),
)
"""Options that say which map it is."""
