"""A recorder for constraints as Vivado reads them (:class:`~boards.tcl.interpreter.Tool`), with ports and parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from boards.tcl.interpreter import PLAIN, Thing, Tool
from boards.tcl.signatures import Answer, Call, RefusedError, command

_SITE = r"[A-Z]{1,2}\d{1,2}"
_NAME = re.compile(r"NAME =~ (\S+)")
_SWITCH = "(?i:yes|no|true|false|enable|disable)"

DESIGN_PROPERTIES = {
    "cfgbvs": "GND|VCCO",
    "config_voltage": r"\d\.\d",
    "config_mode": "SPIx[1248]",
    "bitstream.config.configfallback": _SWITCH,
    "bitstream.config.configrate": r"\d+\.\d",
    "bitstream.config.extmastercclk_en": _SWITCH,
    "bitstream.config.overtempshutdown": _SWITCH,
    "bitstream.config.persist": _SWITCH,
    "bitstream.config.spi_32bit_addr": _SWITCH,
    "bitstream.config.spi_buswidth": "[1248]",
    "bitstream.config.spi_fall_edge": _SWITCH,
    "bitstream.config.unusedpin": "(?i:pullup|pulldown|pullnone)",
    "bitstream.encryption.encrypt": _SWITCH,
    "bitstream.encryption.encryptkeyselect": "(?i:efuse|bbram)",
    "bitstream.encryption.keyfile": r".+\.nky",
    "bitstream.general.compress": _SWITCH,
    "bitstream.general.disable_jtag": _SWITCH,
    "bitstream.general.jtag_sysmon": _SWITCH,
    "bitstream.readback.activereconfig": _SWITCH,
    "bitstream.readback.security": "(?i:none|level1|level2)",
}
"""Properties of a design that say how it is loaded (AMD UG908, table of UltraScale bitstream settings)."""


COMMANDS = frozenset(
    {
        "set_property", "current_design", "get_ports", "get_nets", "get_cells", "get_pins", "create_clock",
        "get_clocks", "set_false_path", "set_clock_groups", "set_operating_conditions", "create_pblock", "get_pblocks",
        "resize_pblock", "add_cells_to_pblock",
    }
)  # fmt: skip
"""What may stand in constraints, beside plain Tcl."""


@dataclass(frozen=True)
class Parts:
    """What constraints may name in a design.

    Parameters
    ----------
    ports : mapping
        The top's ports: name to direction and width.
    cells, nets, pins : tuple of str
        Examples of each, by their hierarchical names.
    loops : str
        Pattern of the nets that may be loops.
    """

    ports: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    cells: tuple[str, ...] = ()
    nets: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    loops: str = ""

    @property
    def port_bits(self) -> tuple[str, ...]:
        """Every bit of every port."""
        return tuple(
            name if width == 1 else f"{name}[{bit}]" for name, (_, width) in self.ports.items() for bit in range(width)
        )


class Constraints(Tool):
    """Reads constraints.

    Parameters
    ----------
    folder : Path
        Where the scripts and their files are.
    parts : Parts
        What they may name.
    present, absent
        As of :class:`boards.tcl.interpreter.Tool`.
    """

    PROPERTIES: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "design": DESIGN_PROPERTIES,
        "port": {
            "package_pin": _SITE, "iostandard": "LVCMOS18|LVDS|DIFF_SSTL12", "drive": r"\d+", "slew": "SLOW|FAST",
            "pullup": "(?i:true|false)", "pulltype": "PULLUP|PULLDOWN|NONE",
        },
        "net": {"allow_combinatorial_loops": "(?i:true)"},
    }  # fmt: skip

    def __init__(self, folder: Path, parts: Parts, *, present: Iterable[str] = (), absent: Iterable[str] = ()) -> None:
        super().__init__(folder, present=present, absent=absent)
        self.parts = parts
        self.free: set[tuple[str, str]] = set()
        for kind in ("cell", "net", "pin"):
            for name in getattr(parts, f"{kind}s"):
                self.add(kind, name)
        for name in parts.port_bits:
            self.add("port", name)

    def read(self, name: str) -> None:
        """Read a file of constraints.

        Raises
        ------
        ScriptError
            With its name, the line and what is wrong.
        """
        known = {command: body for command, body in self.commands().items() if command in COMMANDS}
        self._source(name, known, PLAIN, {})

    def assigned(self, thing: Thing, name: str, value: str) -> None:
        """Compare what was set with what was set before, and loops with those that are meant."""
        if name == "package_pin":
            for other in self.all("port"):
                if other is not thing and other.properties.get(name) == value:
                    raise RefusedError(f"pin {value} is {other.name}'s already")
        if thing.kind == "net" and not re.fullmatch(self.parts.loops, thing.name):
            raise RefusedError(f"{thing.name} must not be a loop: those of the noise source alone are meant")

    def _matching(self, kind: str, call: Call) -> tuple[str, ...]:
        """Return the objects that a pattern names; refuse one that names none, unless the call is quiet."""
        patterns = self.split(call.words[0]) if call.words else ()
        if named := call.get("-filter"):
            match = _NAME.fullmatch(named)
            if match is None or patterns or "-hierarchical" not in call.options:
                raise RefusedError(f"-hierarchical and a filter such as NAME =~ *word* were expected, not {named}")
            patterns = (match[1],)
        found: list[str] = []
        for pattern in patterns:
            glob = re.escape(pattern).replace(r"\*", ".*")
            found += [thing.handle for thing in self.all(kind) if re.fullmatch(glob, thing.name)]
        if not found and "-quiet" not in call.options:
            raise RefusedError(f"the design has no {kind} {' '.join(patterns)}")
        return tuple(dict.fromkeys(found))

    @command("current_design")
    def current_design(self, call: Call) -> Answer:
        """Return the design."""
        if not self.all("design"):
            self.add("design", "design")
        return self.named("design", "design").handle

    @command("get_ports", "name")
    def get_ports(self, call: Call) -> Answer:
        """Return ports."""
        return self._matching("port", call)

    @command("get_nets", "-hierarchical -quiet -filter= name?")
    def get_nets(self, call: Call) -> Answer:
        """Return nets."""
        return self._matching("net", call)

    @command("get_cells", "-hierarchical -quiet -filter= name?")
    def get_cells(self, call: Call) -> Answer:
        """Return cells."""
        return self._matching("cell", call)

    @command("get_pins", "name")
    def get_pins(self, call: Call) -> Answer:
        """Return pins."""
        return self._matching("pin", call)

    @command("create_clock", "-period=! -name=! objects")
    def create_clock(self, call: Call) -> None:
        """Say that a clock comes in."""
        (handle,) = self.split(call.words[0])
        clock = self.add("clock", call.options["-name"])
        clock.properties |= {"period": call.options["-period"], "source": self.find(handle, "port").name}

    @command("get_clocks", "-of_objects= name?")
    def get_clocks(self, call: Call) -> Answer:
        """Return clocks, by name or at a pin."""
        at = call.get("-of_objects")
        if (at is None) == (not call.words):
            raise RefusedError("either a name or -of_objects was expected")
        if at is None:
            return self._matching("clock", call)
        (handle,) = self.split(at)
        pin = self.find(handle, "pin")
        clock = self.things.get(f"clock:{pin.name}") or self.add("clock", pin.name)
        return clock.handle

    @command("set_false_path", "-from= -to= -through=")
    def set_false_path(self, call: Call) -> None:
        """Say that paths are not timed."""
        if not call.options:
            raise RefusedError("no path of the whole design would be timed")
        for way, value in call.options.items():
            self._some(value, "port", "cell", "pin")
            self.free |= {(way, handle) for handle in self.split(value)}

    @command("set_clock_groups", "-asynchronous -group=+")
    def set_clock_groups(self, call: Call) -> None:
        """Say that clocks know nothing of each other."""
        if "-asynchronous" not in call.options or len(call.many.get("-group", ())) < 2:
            raise RefusedError("two groups of asynchronous clocks were expected")
        for group in call.many["-group"]:
            self._some(group, "clock")

    def _some(self, text: str, *kinds: str) -> None:
        handles = self.split(text)
        if not handles:
            raise RefusedError("there is no object")
        for handle in handles:
            self.find(handle, *kinds)

    @command("set_operating_conditions", "-design_power_budget=!")
    def set_operating_conditions(self, call: Call) -> None:
        """Say what the card may take."""
        if not re.fullmatch(r"\d+", call.options["-design_power_budget"]):
            raise RefusedError("a power budget is a number of watts")

    @command("create_pblock", "name")
    def create_pblock(self, call: Call) -> Answer:
        """Make an area."""
        return self.add("pblock", call.words[0]).handle

    @command("get_pblocks", "name")
    def get_pblocks(self, call: Call) -> Answer:
        """Return an area."""
        return self.named("pblock", call.words[0]).handle

    @command("resize_pblock", "-add=! pblock")
    def resize_pblock(self, call: Call) -> None:
        """Give an area its place."""
        area = self.find(call.words[0], "pblock")
        if not re.fullmatch(r"SLR\d(:SLR\d)?", call.options["-add"]):
            raise RefusedError(f"{call.options['-add']} is no SLR")
        area.properties["place"] = call.options["-add"]

    @command("add_cells_to_pblock", "pblock cells")
    def add_cells_to_pblock(self, call: Call) -> None:
        """Put cells into an area."""
        area = self.find(call.words[0], "pblock")
        self._some(call.words[1], "cell")
        area.properties["cells"] = " ".join(self.find(handle).name for handle in self.split(call.words[1]))
