"""A netlist as arrays: cells, nets, and the ways of time through them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rtl.synth.netlist import SynthesisError, parts_of
from rtl.timing import delays
from rtl.timing.cells import Way, ways

ROOT = Path(__file__).parents[2]
UNTIMED = frozenset({"clk", "rst", "reset"})
"""Ports that are not looked at: clocks and resets have trees of their own."""

TRANSPARENT = frozenset({"INV", "IBUF", "OBUF", "BUFG"})
"""Inverters vanish in the LUTs around them; buffers belong to what is around a block."""

NOTHING = frozenset({"$scopeinfo", "GND", "VCC"})
PORT = "port"
"""Kind of the cells that stand for a bit of a port: a register right outside."""


@dataclass(frozen=True)
class Netlist:
    """Cells, nets and ways, numbered from 0.

    Attributes
    ----------
    kinds, names, sources : list of str
        Of each cell: its kind; its name for a reader, or its kind; file and line that it comes from, or nothing.
    nets : int
        How many nets there are.
    driver : ndarray of int
        Cell that drives each net; -1 for none.
    start, end : ndarray of int
        Nets at both ends of each way; -1 where a way begins or ends at the clock.
    cell : ndarray of int
        Cell of each way.
    inside, pin, near : ndarray of float
        See `Way`; ``near`` is NaN if there is no such way.
    ranked : ndarray of bool
        See `Way`.
    """

    kinds: list[str]
    names: list[str]
    sources: list[str]
    nets: int
    driver: np.ndarray
    start: np.ndarray
    end: np.ndarray
    cell: np.ndarray
    inside: np.ndarray
    pin: np.ndarray
    near: np.ndarray
    ranked: np.ndarray

    @cached_property
    def connections(self) -> tuple[np.ndarray, np.ndarray]:
        """Nets and the cells that they reach, each pair once."""
        reached = self.start >= 0
        pairs = np.unique(np.stack([self.start[reached], self.cell[reached]]), axis=1)
        return pairs[0], pairs[1]

    @cached_property
    def fanout(self) -> np.ndarray:
        """Cells that each net reaches."""
        return np.bincount(self.connections[0], minlength=self.nets)

    @cached_property
    def level(self) -> np.ndarray:
        """Ways through cells, at most, from a register to each net.

        Raises
        ------
        SynthesisError
            If there is a loop without a register.
        """
        through = (self.start >= 0) & (self.end >= 0)
        start, end = self.start[through], self.end[through]
        order = np.argsort(start, kind="stable")
        start, end = start[order], end[order]
        first = np.searchsorted(start, np.arange(self.nets + 1))
        waiting = np.bincount(end, minlength=self.nets)
        level = np.zeros(self.nets, dtype=np.int64)
        ready = np.flatnonzero(waiting == 0)
        depth = done = 0
        while ready.size:
            done += ready.size
            level[ready] = depth
            depth += 1
            reached = end[_ranges(first[ready], first[ready + 1])]
            np.subtract.at(waiting, reached, 1)
            reached = np.unique(reached)
            ready = reached[waiting[reached] == 0]
        if done < self.nets:
            raise SynthesisError("the netlist has a loop without a register")
        return level


def _ranges(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return all numbers of several ranges, one range after the other."""
    sizes = last - first
    before = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(first - before, sizes)


@dataclass
class _Maker:
    kinds: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    found: list[tuple[int, Way]] = field(default_factory=list)
    drivers: dict[int, int] = field(default_factory=dict)

    def add(self, kind: str, name: str, source: str, made: list[Way], outputs: list[int]) -> None:
        number = len(self.kinds)
        self.kinds.append(kind)
        self.names.append(name)
        self.sources.append(source)
        self.found += [(number, way) for way in made]
        self.drivers.update(dict.fromkeys(outputs, number))


def read(module: Mapping[str, Any], boxes: Sequence[str] = ()) -> Netlist:
    """Return a flat netlist, as the synthesiser writes it in JSON, with its ports as registers right outside.

    Parameters
    ----------
    module : mapping
        The module.
    boxes : sequence of str
        Patterns of parts that were left out, see `rtl.synth.netlist.mapped`. Paths end at their inputs and begin at
        their outputs, as if there were registers.

    Raises
    ------
    SynthesisError
        If a cell is of a kind without delays, or no part was left out by one of the patterns.
    """
    names = _net_names(module)
    maker = _Maker()
    parts = set(parts_of(module, boxes))
    for name, cell in module["cells"].items():
        if cell["type"] in NOTHING or cell["type"] in TRANSPARENT:
            continue
        outputs = _ints(cell, "output")
        made = _register(_ints(cell, "input"), outputs) if cell["type"] in parts else ways(cell)
        label = names[outputs[0]] if outputs and outputs[0] in names else name
        maker.add(cell["type"], _plain(label) or cell["type"], _source(cell.get("attributes", {})), made, outputs)
    for name, port in module["ports"].items():
        if name in UNTIMED:
            continue
        for place, bit in enumerate(port["bits"]):
            if isinstance(bit, int):
                outward = port["direction"] == "output"
                made = _register([bit], []) if outward else _register([], [bit])
                maker.add(PORT, f"{_plain(name)}[{place}]", "", made, [] if outward else [bit])
    return _arrays(maker, _untimed(module), _aliases(module))


def _ints(cell: Mapping[str, Any], way: str) -> list[int]:
    """Return nets at the inputs or the outputs of a cell."""
    ports = (port for port, direction in cell["port_directions"].items() if direction == way)
    return [bit for port in ports for bit in cell["connections"].get(port, ()) if isinstance(bit, int)]


def _register(inputs: list[int], outputs: list[int]) -> list[Way]:
    bypass = delays.PIN["X"] + delays.BYPASS_TO_FF
    made = [Way(None, net, delays.CLOCK_TO_Q) for net in outputs]
    return made + [Way(net, None, delays.SETUP["D"], bypass) for net in inputs]


def _untimed(module: Mapping[str, Any]) -> set[int]:
    return {bit for name, port in module["ports"].items() if name in UNTIMED for bit in port["bits"]}


def _aliases(module: Mapping[str, Any]) -> dict[int, int]:
    """Return for each net behind a transparent cell the net before it."""
    before = {}
    for cell in module["cells"].values():
        if cell["type"] in TRANSPARENT and (inputs := _ints(cell, "input")):
            before |= dict.fromkeys(_ints(cell, "output"), inputs[0])
    return {net: _root(net, before) for net in before}


def _root(net: int, before: Mapping[int, int]) -> int:
    while net in before:
        net = before[net]
    return net


def _arrays(maker: _Maker, untimed: set[int], aliases: Mapping[int, int]) -> Netlist:
    nets: dict[int, int] = {}

    def number(bit: int | None) -> int:
        return -1 if bit is None else nets.setdefault(aliases.get(bit, bit), len(nets))

    kept = [
        (cell, way)
        for cell, way in maker.found
        if way.start is None or aliases.get(way.start, way.start) not in untimed
    ]
    start = np.array([number(way.start) for _, way in kept], dtype=np.int64)
    end = np.array([number(way.end) for _, way in kept], dtype=np.int64)
    driver = np.full(len(nets), -1, dtype=np.int64)
    for bit, cell in maker.drivers.items():
        if bit in nets and bit not in aliases:
            driver[nets[bit]] = cell
    return Netlist(
        kinds=maker.kinds,
        names=maker.names,
        sources=maker.sources,
        nets=len(nets),
        driver=driver,
        start=start,
        end=end,
        cell=np.array([cell for cell, _ in kept], dtype=np.int64),
        inside=np.array([way.inside for _, way in kept]),
        pin=np.array([way.pin for _, way in kept]),
        near=np.array([np.nan if way.near is None else way.near for _, way in kept]),
        ranked=np.array([way.ranked for _, way in kept], dtype=bool),
    )


def _net_names(module: Mapping[str, Any]) -> dict[int, str]:
    """Return the shortest name that the source has for each net, with its bit."""
    best: dict[int, tuple[int, str]] = {}
    for name, net in module.get("netnames", {}).items():
        if net.get("hide_name") or "$" in name:
            continue
        for place, bit in enumerate(net["bits"]):
            if isinstance(bit, int):
                text = f"{name}[{place}]" if len(net["bits"]) > 1 else name
                best[bit] = min(best.get(bit, (len(text) + 1, "")), (len(text), text))
    return {bit: text for bit, (_, text) in best.items()}


def _plain(name: str) -> str:
    """Return a name without the synthesiser's own parts: ``use.state[3]``."""
    return "" if name.startswith("$") else name.removeprefix("\\").removeprefix("inner.")


def _source(attributes: Mapping[str, Any]) -> str:
    """Return file and line of this project that a cell comes from."""
    for place in str(attributes.get("src", "")).split("|"):
        match = re.match(r"(.*\.(?:py|v)):(\d+)", place)
        path = Path(match[1]) if match else Path()
        if match and path.is_relative_to(ROOT) and "site-packages" not in path.parts:
            return f"{path.relative_to(ROOT)}:{match[2]}"
    return ""
