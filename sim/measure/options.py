"""What the benchmarks of the engine measure: shapes of maps, numbers of an engine, and the host beside it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction

from omap import sizing
from omap.errors import OmapError
from omap.params import Params
from omap.units import parse
from rtl.config import EngineConfig
from sim.models.timing import HostTiming, own_end

CLOCK_MHZ = HostTiming.clock_mhz  # what the memory models assume

SHAPES = {
    "PAPER": {"key_bytes": 4, "value_bytes": 8, "page_bytes": 128},
    "STANDARD": {"key_bytes": 8, "value_bytes": 64, "page_bytes": 640},
    "WIDE": {"key_bytes": 16, "value_bytes": 256, "page_bytes": 4096},
}
"""Keys, values and pages of the presets of these names."""

NUMBERS = [field.name for field in fields(EngineConfig) if field.type in ("int", "int | Fraction")]
"""What an engine can be given instead of what follows from its map."""


@dataclass(frozen=True)
class Choice:
    """An engine that is measured.

    Attributes
    ----------
    name : str
        Which of the :data:`SHAPES` its map has.
    config : EngineConfig
        The engine.
    host : HostTiming
        The host beside it.
    """

    name: str
    config: EngineConfig
    host: HostTiming


def shaped(name: str, keys: int) -> Params:
    """Return a map of so many keys with one of the :data:`SHAPES`."""
    return sizing.one_choice(capacity=keys, **SHAPES[name])


def number(text: str) -> tuple[str, int | Fraction]:
    """Return what sets a number of an engine, NAME=NUMBER; the interval may be a fraction, such as 19/4."""
    name, _, value = text.partition("=")
    above, _, below = value.partition("/")
    if name not in NUMBERS or not above.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER with one of these names: {', '.join(NUMBERS)}")
    if name == "interval" and below.isdecimal() and int(below):
        return name, Fraction(int(above), int(below))
    if below or "/" in value:
        raise argparse.ArgumentTypeError(f"{text!r}: only the interval may be a fraction, such as interval=19/4")
    return name, int(above)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is measured on which engine."""
    parser.add_argument("--operations", type=parse, default=20_000)
    parser.add_argument("--shape", choices=[*SHAPES, "all"], default="all")
    parser.add_argument("--keys", type=parse, nargs="*", help="capacities, instead of the usual ones")
    parser.add_argument("--record", type=int, default=0, help="operations of a record, instead of as many as fit")
    parser.add_argument(
        "--set", type=number, action="append", default=[], metavar="NAME=NUMBER",
        help="a number of the engine (rtl.config.EngineConfig) instead of the one that follows from the map; repeat it",
    )  # fmt: skip
    host = parser.add_mutually_exclusive_group()
    host.add_argument("--outstanding", type=int, help="host reads, and host writes, under way at most")
    host.add_argument("--own-end", action="store_true", help="as many as our own end of PCIe has (rtl.pcie)")


def chosen(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    capacities: Mapping[str, Sequence[int]],
    *,
    journal: bool = False,
) -> list[Choice]:
    """Return what is to be measured; the program ends with a sentence if an engine or a host can't be like this.

    Parameters
    ----------
    parser : ArgumentParser
        One with the options of :func:`add_options`.
    arguments : Namespace
        What it parsed.
    capacities : mapping of str to sequence of int
        Keys of the maps of each shape, unless others were asked for.
    journal : bool
        Whether the engines write a journal.
    """
    names = SHAPES if arguments.shape == "all" else (arguments.shape,)
    found = []
    try:
        for name in names:
            for keys in arguments.keys or capacities[name]:
                config = EngineConfig(params=shaped(name, keys), journal=journal, **dict(arguments.set))
                found.append(Choice(name, config, host_of(arguments, config.page_lines)))
    except OmapError as error:
        parser.error(str(error))
    return found


def host_of(arguments: argparse.Namespace, page_lines: int) -> HostTiming:
    """Return the host that was asked for."""
    if arguments.own_end:
        return own_end(page_lines)
    most = arguments.outstanding
    return HostTiming() if most is None else HostTiming(reads=most, writes=most)
