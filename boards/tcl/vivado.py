"""A recorder for AMD's implementation tools (:class:`~boards.tcl.interpreter.Tool`) that knows one design.

Commands are those of UG835. Where a script decides by what the tools have made, :class:`Made` says what they have made.
So a test can try whether a script stops where it should. Unverified with the tools themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from boards.tcl.interpreter import Thing
from boards.tcl.signatures import Answer, Call, RefusedError, command
from boards.tcl.xdc import Constraints, Parts

_FILTER = re.compile(r"REF_NAME == (\w+)")


@dataclass(frozen=True)
class Made:
    """What the tools would have made of the design.

    Parameters
    ----------
    slack : mapping
        The worst slack in nanoseconds, by kind of delay: ``max`` for set-up, ``min`` for hold; None if nothing is
        timed.
    primitives : mapping
        How many cells there are of a primitive; none of those that are not named.
    properties : mapping
        Primitive to properties of its cells.
    debug_cores : int
        How many debug cores there are.
    """

    slack: Mapping[str, float | None] = field(default_factory=lambda: {"max": 0.01, "min": 0.01})
    primitives: Mapping[str, int] = field(default_factory=dict)
    properties: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    debug_cores: int = 0


@dataclass(frozen=True)
class Design:
    """What a bitstream is made from.

    Parameters
    ----------
    top : str
        The top module.
    parts : Parts
        What constraints may name once the design is there; the ports are there from the start.
    catalogue : mapping
        Name and version of each core that there is, to the names of its parameters.
    out : str
        The folder that reports must be written into.
    """

    top: str
    parts: Parts
    catalogue: Mapping[tuple[str, str], Iterable[str]]
    out: str


class Vivado(Constraints):
    """Makes a bitstream from Verilog, cores and constraints.

    Parameters
    ----------
    folder : Path
        Where the scripts and their files are.
    design : Design
        What it is made from.
    made : Made
        What the tools make of it.
    present, absent
        As of :class:`boards.tcl.interpreter.Tool`.

    Attributes
    ----------
    images : dict
        What is written for a flash, to the bitstream in it, interface and megabytes of the flash, and address.
    """

    PROPERTIES: ClassVar[Mapping[str, Mapping[str, str]]] = {**Constraints.PROPERTIES, "core": {}}

    def __init__(
        self,
        folder: Path,
        design: Design,
        *,
        made: Made | None = None,
        present: Iterable[str] = (),
        absent: Iterable[str] = (),
    ) -> None:
        super().__init__(folder, Parts(ports=design.parts.ports), present=present, absent=absent)
        self.top, self.whole, self.out, self.made = design.top, design.parts, design.out, made or Made()
        self.catalogue = {core: frozenset(names) for core, names in design.catalogue.items()}
        self.sources: list[str] = []
        self.constraints: list[str] = []
        self.errors: set[str] = set()
        self.bitstreams: list[str] = []
        self.images: dict[str, tuple[str, str, int, int]] = {}

    # Cores and sources

    @command("create_project", "-in_memory -part=!")
    def create_project(self, call: Call) -> None:
        """Make the project."""
        if "-in_memory" not in call.options:
            raise RefusedError("a project on disk would leave the root key in files of its own")
        self.add("project", "project").properties["part"] = call.options["-part"]

    @command("set_msg_config", "-id=! -new_severity=!")
    def set_msg_config(self, call: Call) -> None:
        """Treat a message as an error. That is for our own design, not for the insides of cores."""
        if self.called("synth_design"):
            raise RefusedError("synth_design has been, and has said what it has to say")
        if call.options["-new_severity"] != "ERROR":
            raise RefusedError("messages are only taken more seriously here, not less")
        self.errors.add(call.options["-id"])

    @command("create_ip", "-force -name=! -vendor=! -library=! -version=! -module_name=! -dir=!")
    def create_ip(self, call: Call) -> None:
        """Make a core of the catalogue."""
        self.after("create_project")
        wanted = (call.options["-name"], call.options["-version"])
        if wanted not in self.catalogue or (call.options["-vendor"], call.options["-library"]) != ("xilinx.com", "ip"):
            raise RefusedError(f"{' '.join(wanted)} is no core that this design has")
        if not self.exists(call.options["-dir"]):
            raise RefusedError(f"-dir is {self.path(call.options['-dir'])}; there is no such folder yet: make it first")
        core = self.add("core", call.options["-module_name"])
        core.properties["core"] = " ".join(wanted)

    @command("get_ips", "name")
    def get_ips(self, call: Call) -> Answer:
        """Return a core."""
        return self.named("core", call.words[0]).handle

    def _assign(self, thing: Thing, name: str, value: str) -> None:
        if thing.kind != "core":
            return super()._assign(thing, name, value)
        core, version = thing.properties["core"].split()
        short = name.removeprefix("CONFIG.")
        if short == name or short not in self.catalogue[core, version]:
            raise RefusedError(f"core {core} has no property {name} that is used here")
        if "generated" in thing.properties:
            raise RefusedError(f"{thing.name} is generated already")
        thing.properties[short] = value
        return None

    @command("generate_target", "what core")
    def generate_target(self, call: Call) -> None:
        """Write a core's sources."""
        if call.words[0] != "all":
            raise RefusedError(f"all was expected, not {call.words[0]}")
        self.find(call.words[1], "core").properties["generated"] = "yes"

    @command("synth_ip", "core")
    def synth_ip(self, call: Call) -> None:
        """Synthesise a core."""
        core = self.find(call.words[0], "core")
        if self.errors:
            raise RefusedError(f"{', '.join(sorted(self.errors))} would be an error inside {core.name} too")
        if "generated" not in core.properties:
            raise RefusedError(f"{core.name} must be generated before")
        core.properties["synthesised"] = "yes"

    @command("read_verilog", "files")
    def read_verilog(self, call: Call) -> None:
        """Read sources."""
        self.after("create_project")
        for text in self.split(call.words[0]):
            self.sources.append(self.need_file(text))

    @command("read_xdc", "file")
    def read_xdc(self, call: Call) -> None:
        """Read constraints: those of ports before the synthesis, all others after it."""
        self.after("create_project")
        name = self.need_file(call.words[0])
        if name in self.constraints:
            raise RefusedError(f"{name} is read already")
        self.constraints.append(name)
        self.read(name)

    # Implementation

    @command("synth_design", "-top=! -part=! -flatten_hierarchy=")
    def synth_design(self, call: Call) -> None:
        """Synthesise the design."""
        self.after("read_verilog", "read_xdc")
        if call.options["-top"] != self.top:
            raise RefusedError(f"the top is {self.top}")
        for core in self.all("core"):
            if "synthesised" not in core.properties:
                raise RefusedError(f"core {core.name} is not synthesised")
        self.parts = self.whole
        for kind in ("cell", "net", "pin"):
            for name in getattr(self.parts, f"{kind}s"):
                self.add(kind, name)

    @command("opt_design")
    def opt_design(self, call: Call) -> None:
        """Simplify the netlist."""
        self.after("synth_design")

    @command("place_design")
    def place_design(self, call: Call) -> None:
        """Place it."""
        self.after("opt_design")

    @command("phys_opt_design")
    def phys_opt_design(self, call: Call) -> None:
        """Mend what is too slow."""
        self.after("place_design")

    @command("route_design")
    def route_design(self, call: Call) -> None:
        """Route it."""
        self.after("place_design")

    def _report(self, call: Call) -> None:
        self.after("route_design")
        if not self.path(call.options["-file"]).startswith(f"{self.out}/"):
            raise RefusedError(f"{call.options['-file']} is not in {self.out}/")

    @command("report_timing_summary", "-file=!")
    def report_timing_summary(self, call: Call) -> None:
        """Report the timing."""
        self._report(call)

    @command("report_utilization", "-hierarchical -file=!")
    def report_utilization(self, call: Call) -> None:
        """Report what the design takes."""
        self._report(call)

    @command("report_drc", "-file=!")
    def report_drc(self, call: Call) -> None:
        """Report broken rules."""
        self._report(call)

    @command("report_power", "-file=!")
    def report_power(self, call: Call) -> None:
        """Report the power."""
        self._report(call)

    # What was made

    @command("get_timing_paths", "-delay_type=! -max_paths=!")
    def get_timing_paths(self, call: Call) -> Answer:
        """Return the worst path."""
        self.after("route_design")
        kind = call.options["-delay_type"]
        if kind not in self.made.slack:
            raise RefusedError(f"there is no delay type {kind}")
        slack = self.made.slack[kind]
        if slack is None:
            return ()
        path = self.things.get(f"path:{kind}") or self.add("path", kind)
        path.properties["slack"] = str(slack)
        return path.handle

    @command("get_property", "name object")
    def get_property(self, call: Call) -> Answer:
        """Return a property."""
        return self.find(call.words[1]).properties.get(call.words[0].lower(), "")

    @command("get_debug_cores", "-quiet")
    def get_debug_cores(self, call: Call) -> Answer:
        """Return the debug cores."""
        self.after("synth_design")
        return tuple(f"debug_core:{number}" for number in range(self.made.debug_cores))

    @command("get_cells", "-hierarchical -quiet -filter= name?")
    def get_cells(self, call: Call) -> Answer:
        """Return cells, by name or by primitive."""
        wanted = call.get("-filter")
        if wanted is None or not wanted.startswith("REF_NAME"):
            return self._matching("cell", call)
        self.after("synth_design")
        match = _FILTER.fullmatch(wanted)
        if match is None or call.words or "-hierarchical" not in call.options:
            raise RefusedError(f"a filter such as REF_NAME == BSCANE2 was expected, with -hierarchical, not {wanted}")
        primitive, found = match[1], []
        for number in range(self.made.primitives.get(primitive, 0)):
            handle = f"cell:{primitive}_{number}"
            cell = self.things.get(handle) or self.add("cell", f"{primitive}_{number}")
            cell.properties |= self.made.properties.get(primitive, {})
            found.append(handle)
        return tuple(found)

    @command("write_bitstream", "-force file")
    def write_bitstream(self, call: Call) -> None:
        """Write what the card loads."""
        self.after("route_design")
        self.bitstreams.append(self.path(call.words[0]))

    @command("write_cfgmem", "-force -format=! -size=! -interface=! -loadbit=! file")
    def write_cfgmem(self, call: Call) -> None:
        """Write a bitstream as a flash holds it."""
        way, start, *bitstream = self.split(call.options["-loadbit"])
        if way != "up" or len(bitstream) != 1 or self.path(bitstream[0]) not in self.bitstreams:
            raise RefusedError(f"up, an address and a bitstream were expected, not {call.options['-loadbit']}")
        if call.options["-format"] != "mcs":
            raise RefusedError(f"the format mcs was expected, not {call.options['-format']}")
        flash = (call.options["-interface"], int(call.options["-size"]), int(start, 0))
        self.images[self.path(call.words[0])] = (self.path(bitstream[0]), *flash)
