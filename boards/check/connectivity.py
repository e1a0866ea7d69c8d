"""Decides on the netlist that paths end where they may, and nowhere else: between the host's ports and HBM, above all.

What is looked at is the Verilog that a build holds. A *path* runs from bit to bit: along wires, through operators from
each input to each output that it may change, through registers from data, enable and reset to the output, through
memories from what is written and from all addresses and enables to what is read, and through the ports of modules.
Clocks are no paths.

A target says in a :class:`Design` which modules paths are followed through, and in its rules where paths begin and
where they may end. An end that no rule allows is a finding.

What this does not see: what the engine does with what is allowed (its timing rule and its tests are for that), what is
inside the vendor's blocks, their debug and configuration ports, power and clocks, and whatever the tools add or change
after this netlist.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boards.gateware.ports import Ports, stub
from omap.errors import InputError
from rtl.synth.netlist import yosys

Ends = Mapping[str, tuple[str, ...]]
"""Where paths may end: what that is, to patterns of pins."""

BITWISE = {"$and", "$or", "$xor", "$xnor", "$not", "$pos", "$mux", "$_NOT_"}
"""Operators in which a bit of the result depends on the same bit of each operand of the same width."""

REGISTER = re.compile(r"\$(a|al|s)?dff(e|sr|sre|ce)?$")
MEMORY = "$mem_v2"

Bit = tuple[str, int]
"""A wire: the place of its module, and its number there."""


@dataclass(frozen=True)
class Rule:
    """Paths that begin at some pins of the vendor's blocks, and where they may end.

    Parameters
    ----------
    finding : str
        What to say of an end that is not allowed; ``{}`` stands for the end. Names the rule, too.
    pins : str
        Pattern of the pins, such as ``hbm.AXI_00_RDATA``.
    ways : tuple of str
        Which of them: ``input``, ``output``, as the block sees them, or both.
    back : bool
        Whether paths are followed against the flow of data.
    ends : mapping
        What may be reached, to patterns of pins.
    nothing : str
        What to say if no path ends anywhere; empty if that is all right.
    """

    finding: str
    pins: str
    ways: tuple[str, ...]
    back: bool
    ends: Ends
    nothing: str = ""


@dataclass(frozen=True)
class Design:
    """What a target says of its top.

    Parameters
    ----------
    top : str
        Name of the module.
    followed : tuple of str
        Modules that paths are followed through, by their place below the top; a pattern each.
    blocks : mapping
        Ports of the vendor's blocks, by name.
    rules : tuple of Rule
        What must hold.
    """

    top: str
    followed: tuple[str, ...]
    blocks: Mapping[str, Ports]
    rules: tuple[Rule, ...]

    def follows(self, place: str) -> bool:
        """Return whether paths are followed through the module in a place."""
        return any(re.fullmatch(pattern, place) for pattern in self.followed)


@dataclass(frozen=True)
class Pin:
    """One bit of a port of a block that paths are not followed into; ``way`` is the direction of the port."""

    place: str
    way: str
    port: str
    index: int

    def __str__(self) -> str:
        return f"{self.place}.{re.sub(r'[$][0-9]+$', '', self.port)}"  # the generator numbers names that meet


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes
    ----------
    findings : list of str
        What should not be; empty if all is well.
    ends : dict
        Finding of a rule, to all places where its paths end.
    """

    findings: list[str]
    ends: dict[str, list[str]]


class Netlist:
    """The followed modules as a graph of bits.

    Parameters
    ----------
    modules : dict
        The modules as Yosys writes them, by name.
    design : Design
        Says which of them are followed.
    """

    def __init__(self, modules: dict[str, Any], design: Design) -> None:
        self._modules, self._design = modules, design
        self.forward: dict[Bit | Pin, list[Bit | Pin]] = defaultdict(list)
        self.backward: dict[Bit | Pin, list[Bit | Pin]] = defaultdict(list)
        self.pins: dict[str, list[Pin]] = defaultdict(list)
        self._seen: set[str] = set()
        self._add(design.top, "")

    def _edge(self, source: Bit | Pin, target: Bit | Pin) -> None:
        self.forward[source].append(target)
        self.backward[target].append(source)

    def _add(self, name: str, place: str) -> None:
        module = self._modules[name]
        if name in self._seen:
            raise InputError(f"module {name} is there twice; a path through it could not be told from another")
        self._seen.add(name)
        for instance, cell in module["cells"].items():
            kind, ways, wires = cell["type"], cell["port_directions"], cell["connections"]
            inner = f"{place}.{instance}".lstrip(".")
            if kind.startswith("$"):
                self._operator(place, kind, ways, wires)
            elif kind in self._modules and self._design.follows(inner) and not _empty(self._modules[kind]):
                self._add(kind, inner)
                for port, bits in wires.items():
                    own = self._modules[kind]["ports"][port]["bits"]
                    for outside, inside in zip(bits, own, strict=True):
                        if isinstance(outside, int) and isinstance(inside, int):
                            ends: tuple[Bit, Bit] = ((place, outside), (inner, inside))
                            self._edge(*(ends if ways[port] == "input" else ends[::-1]))
            else:
                if strange := wires.keys() - self._design.blocks.get(kind, wires).keys():  # no rule would watch it
                    raise InputError(f"{kind} has no port {min(strange)}: this is no top of this target")
                for port, bits in wires.items():
                    for index, bit in enumerate(bits):
                        pin = Pin(inner, ways[port], port, index)
                        self.pins[str(pin)].append(pin)
                        if isinstance(bit, int):
                            ends2 = ((place, bit), pin)
                            self._edge(*(ends2 if ways[port] == "input" else ends2[::-1]))

    def _operator(self, place: str, kind: str, ways: dict[str, str], wires: dict[str, list[Any]]) -> None:
        outputs = [port for port, way in ways.items() if way == "output"]
        for port, way in ways.items():
            if way != "input" or port.endswith("CLK"):
                continue
            for out in outputs:
                same = len(wires[port]) == len(wires[out])
                by_bit = same and (
                    (kind in BITWISE and port in "AB")
                    or (REGISTER.match(kind) and port == "D")
                    or (kind == MEMORY and port == "WR_DATA")
                )
                pairs: Iterable[tuple[Any, Any]] = (
                    zip(wires[port], wires[out], strict=True)
                    if by_bit
                    else ((source, target) for source in set(wires[port]) for target in wires[out])
                )
                for source, target in pairs:
                    if isinstance(source, int) and isinstance(target, int):
                        self._edge((place, source), (place, target))

    def starts(self, rule: Rule) -> list[Pin]:
        """Return the pins at which a rule's paths begin."""
        named = (pins for name, pins in self.pins.items() if re.fullmatch(rule.pins, name))
        return [pin for pins in named for pin in pins if pin.way in rule.ways]

    def reach(self, starts: Iterable[Pin], *, back: bool = False) -> Iterator[Pin]:
        """Yield the pins at which paths from ``starts`` end."""
        edges = self.backward if back else self.forward
        stack: list[Bit | Pin] = list(starts)
        seen: set[Bit | Pin] = set(stack)
        while stack:
            for target in edges.get(stack.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    if isinstance(target, Pin):
                        yield target
                    else:
                        stack.append(target)


def check(verilog: str, design: Design) -> Report:
    """Check the Verilog of a top.

    Parameters
    ----------
    verilog : str
        The generated text, without the vendor's blocks.
    design : Design
        What the target says of it.

    Raises
    ------
    InputError
        If it is not what it should be: another top, or modules in other places.
    """
    netlist = Netlist(_modules(verilog, design), design)
    findings: list[str] = []
    ends: dict[str, list[str]] = {}
    for rule in design.rules:
        starts = netlist.starts(rule)
        if not starts:
            raise InputError(f"{design.top} has no {rule.pins}: this is no top of this target")
        found = sorted({str(pin) for pin in netlist.reach(starts, back=rule.back)})
        allowed = [pattern for patterns in rule.ends.values() for pattern in patterns]
        findings += [
            rule.finding.format(pin) for pin in found if not any(re.fullmatch(pattern, pin) for pattern in allowed)
        ]
        if not found and rule.nothing:
            findings.append(f"{rule.nothing}: the check has lost its way")
        ends[rule.finding] = found
    return Report(findings, ends)


def _empty(module: dict[str, Any]) -> bool:
    return module.get("attributes", {}).get("blackbox") is not None


def _modules(verilog: str, design: Design) -> dict[str, Any]:
    """Return the netlist of the followed modules; the others are kept as ports alone."""
    parts = re.split(r"(?m)^(?=module )", verilog)
    kept = []
    for part in parts[1:]:
        name = re.match(r"module \\?(\S+?)\s*\(", part)
        if name is None:
            raise InputError(f"not a module as the generator writes them: {part[:80]!r}")
        place = name[1].removeprefix(design.top).lstrip(".")
        if name[1].startswith(design.top) and design.follows(place):
            kept.append(part)
        else:
            head = part[: part.index(";") + 1]
            ports = re.findall(r"(?m)^  (?:input|output) .*;$", part)
            kept.append("(* blackbox *)\n" + "\n".join([head, *ports, "endmodule\n"]))
    if not any(part.startswith(f"module {design.top}(") for part in kept):
        raise InputError(f"the Verilog has no module {design.top}")
    stubs = [f"(* blackbox *)\n{stub(name, ports)}" for name, ports in design.blocks.items()]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "design.v").write_text("\n".join([*kept, *stubs]))
        script = f"read_verilog design.v; hierarchy -top {design.top}; proc; memory_collect; write_json design.json"
        yosys(["-q", "-p", script], Path(folder))
        found: dict[str, Any] = json.loads((Path(folder) / "design.json").read_text())["modules"]
    return found
