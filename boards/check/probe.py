"""Reads and writes every word of the registers in a folder's Verilog, by simulating their module.

The Verilog in the file is simulated, not the Amaranth that it was made from, so that an offset that moved in the file
is found. Yosys turns the module into AND gates. All words are tried at once, each in one bit of Python's integers: copy
``k`` of the design, which is bit ``k`` everywhere, accesses word ``k``.
"""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from omap.errors import InputError
from omap.regmap import BY_NAME, REGISTER_BYTES, REGISTERS, Access
from rtl.rings.csr import ADDRESS_BITS, WORD_BITS
from rtl.synth.netlist import yosys

BUS = "s_axi_control__"
WORDS = (1 << ADDRESS_BITS) // 4
"""All that the bus can address; registers are among the first ``REGISTER_BYTES``."""

LONGEST = 16
"""Cycles that an access may take."""

_ALL = (1 << WORDS) - 1
_MODULE = re.compile(r"^module +(\\?\S*\bcsr) *\(.*?^endmodule", re.MULTILINE | re.DOTALL)
_GATES = "read_verilog csr.v; hierarchy -top {}; proc; flatten; dffunmap; opt_clean; simplemap; aigmap"
_WRITE = "write_aiger -ascii -symbols -zinit csr.aag"
_SYMBOL = re.compile(r"^([io])(\d+) (.*?)(?:\[(\d+)\])?$")


def pattern(word: int) -> int:
    """Return what is written to a word. It differs from word to word, and does not start the kernel."""
    return 0xA50000A4 | word << 8


def expected(identity: dict[str, int]) -> tuple[dict[int, int], dict[int, int]]:
    """Return what each word reads after reset, and after :func:`pattern` was written to it.

    Parameters
    ----------
    identity : dict
        What :func:`omap.regmap.identity` says of the device.
    """
    assert 4 * WORDS >= REGISTER_BYTES
    fresh = dict.fromkeys(range(WORDS), 0)
    for register in REGISTERS:
        fresh[register.offset // 4] = identity.get(register.name, 0)
    idle = next(field for field in BY_NAME["CTRL"].fields if field.name == "idle")
    fresh[BY_NAME["CTRL"].offset // 4] = 1 << idle.low
    kept = {r.offset // 4 for r in REGISTERS if r.access is Access.READ_WRITE and r.name != "CTRL"}
    return fresh, {word: pattern(word) if word in kept else value for word, value in fresh.items()}


def problems(verilog: str, identity: dict[str, int]) -> list[str]:
    """Return in what the registers of a design behave otherwise than :mod:`omap.regmap` describes.

    Raises
    ------
    InputError
        If the text has no module of registers, or one without the bus.
    SynthesisError
        If Yosys does not understand the module.
    """
    names = {register.offset // 4: register.name for register in REGISTERS}
    found = []
    for when, right, seen in zip(("", " once written,"), expected(identity), words(verilog), strict=True):
        for word, value in right.items():
            if seen.get(word) != value:
                what = names.get(word, "no register")
                came = "gives no answer" if word not in seen else f"reads {seen[word]:#x}"
                found.append(f"the word at {4 * word:#04x}, {what},{when} {came}; {value:#x} was expected")
    return found


def words(verilog: str) -> tuple[dict[int, int], dict[int, int]]:
    """Return what the words of a design's registers read after reset, and after each was written."""
    bus = _Bus(_gates(verilog))
    fresh = bus.read()
    bus.write()
    return fresh, bus.read()


@dataclass(frozen=True)
class _Gates:
    """An and-inverter graph: literals are twice the variable, odd ones inverted (FMV report 11/2, "AIGER")."""

    inputs: dict[str, list[int]]
    outputs: dict[str, list[int]]
    latches: list[tuple[int, int]]
    ands: list[tuple[int, int, int]]


def _gates(verilog: str) -> _Gates:
    modules = list(_MODULE.finditer(verilog))
    if len(modules) != 1:
        raise InputError(f"the Verilog has {len(modules) or 'no'} modules of registers (`csr`), one was expected")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "csr.v").write_text(modules[0][0] + "\n")
        name = modules[0][1]
        yosys(["-q", "-p", "; ".join((_GATES.format(name), _WRITE))], Path(folder))
        lines = (Path(folder) / "csr.aag").read_text().splitlines()
    _, _, inputs, latches, outputs, ands = lines[0].split()[:6]
    numbers = [
        tuple(map(int, line.split())) for line in lines[1 : 1 + int(inputs) + int(latches) + int(outputs) + int(ands)]
    ]
    parts = []
    for count in (inputs, latches, outputs, ands):
        parts.append(numbers[: int(count)])
        del numbers[: int(count)]
    named: dict[str, dict[str, list[int]]] = {"i": defaultdict(list), "o": defaultdict(list)}
    for line in lines[1 + sum(map(len, parts)) :]:
        if found := _SYMBOL.match(line):
            way, place, port, bit = found.groups()
            literals = named[way][port.lstrip("\\")]
            literals.extend([0] * (int(bit or 0) + 1 - len(literals)))
            literals[int(bit or 0)] = parts["i?o".index(way)][int(place)][0]
    return _Gates(named["i"], named["o"], [(at, to) for at, to, *_ in parts[1]], [(a, b, c) for a, b, c in parts[3]])


class _Bus:
    """The registers, one copy for each word, in step."""

    def __init__(self, gates: _Gates) -> None:
        needed = {
            "awaddr": "i",
            "awvalid": "i",
            "wdata": "i",
            "arvalid": "i",
            "araddr": "i",
            "rdata": "o",
            "bvalid": "o",
        }
        for name, way in needed.items():
            if BUS + name not in (gates.inputs if way == "i" else gates.outputs):
                raise InputError(f"the module of registers has no port {BUS}{name}")
        self._gates = gates
        self._state = {at: 0 for at, _ in gates.latches}
        self._drive: dict[str, list[int]] = {}
        copies = range(WORDS)
        address = [sum(1 << copy for copy in copies if 4 * copy >> bit & 1) for bit in range(ADDRESS_BITS)]
        data = [sum(1 << copy for copy in copies if pattern(copy) >> bit & 1) for bit in range(WORD_BITS)]
        self._set(awaddr=address, araddr=address, wdata=data, wstrb=[_ALL] * 4, bready=[_ALL], rready=[_ALL])

    def read(self) -> dict[int, int]:
        """Read the word of each copy; copies that do not answer are left out."""
        self._set(arvalid=[_ALL])
        found: dict[int, int] = {}
        for _ in range(LONGEST):
            seen = self._step()
            answered, bits = seen["rvalid"][0], seen["rdata"]
            if answered and not found:
                found = {
                    copy: sum((bits[bit] >> copy & 1) << bit for bit in range(WORD_BITS))
                    for copy in range(WORDS)
                    if answered >> copy & 1
                }
            self._set(arvalid=[self._drive["arvalid"][0] & ~seen["arready"][0]])
        return found

    def write(self) -> None:
        """Write the pattern of each copy to its word."""
        self._set(awvalid=[_ALL], wvalid=[_ALL])
        for _ in range(LONGEST):
            seen = self._step()
            for way in ("aw", "w"):
                self._set(**{f"{way}valid": [self._drive[f"{way}valid"][0] & ~seen[f"{way}ready"][0]]})

    def _set(self, **values: list[int]) -> None:
        self._drive |= values

    def _step(self) -> dict[str, list[int]]:
        """Let a clock cycle pass; return what the bus showed in it."""
        values = {0: 0, **self._state}
        for port, literals in self._gates.inputs.items():
            driven = self._drive.get(port.removeprefix(BUS), []) if port.startswith(BUS) else []
            for bit, literal in enumerate(literals):
                values[literal] = driven[bit] if bit < len(driven) else 0

        def value(literal: int) -> int:
            return values[literal & ~1] ^ (_ALL if literal & 1 else 0)

        for at, left, right in self._gates.ands:
            values[at] = value(left) & value(right)
        seen = {
            port.removeprefix(BUS): [value(literal) for literal in literals]
            for port, literals in self._gates.outputs.items()
            if port.startswith(BUS)
        }
        self._state = {at: value(to) for at, to in self._gates.latches}
        return seen
