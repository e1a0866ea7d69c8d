"""AMD's packager of kernels as far as our script uses it: a :class:`boards.tcl.interpreter.Tool` that knows one design.

Commands and properties are those of UG835 and UG1118, as public scripts of RTL kernels use them. Unverified with the
tools themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from boards.tcl.interpreter import Thing, Tool
from boards.tcl.kernel import Kernel
from boards.tcl.signatures import Answer, Call, RefusedError, command
from rtl.stream.axi import AxiLiteSignature, AxiSignature

SOURCES, CONSTRAINTS = "sources_1", "constrs_1"

BUS_PARAMETERS = ("DATA_WIDTH", "NUM_READ_OUTSTANDING", "NUM_WRITE_OUTSTANDING")
"""What the linker should know of a memory port."""

_ANY = r".+"
_NUMBER = r"0x[0-9a-fA-F]+|\d+"
_REGISTERED = re.compile(r"([sm]_axi_\w+?)_([A-Z]+)")


class Packager(Tool):
    """Makes a kernel object from Verilog.

    Parameters
    ----------
    folder : Path
        Where the scripts and their files are.
    kernel : Kernel
        The design.
    present, absent
        As of :class:`boards.tcl.interpreter.Tool`.
    """

    PROPERTIES: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "fileset": {"top": r"\w+"},
        "file": {"used_in": "implementation", "processing_order": "LATE"},
        "core": {
            "core_revision": r"\d+", "display_name": _ANY, "description": _ANY,
            "sdx_kernel": "true", "sdx_kernel_type": "rtl",
            "vitis_drc": r"ctrl_protocol (ap_ctrl_hs|ap_ctrl_chain|ap_ctrl_none|user_managed)",
            "ipi_drc": "ignore_freq_hz true",
        },
        "bus interface": {"slave_memory_map_ref": r"\w+"},
        "bus parameter": {"value": r"\w+"},
        "address block": {"range": _NUMBER, "width": "32", "usage": "register"},
        "register": {"description": _ANY, "address_offset": _NUMBER, "size": _NUMBER, "access": "read-write"},
        "register parameter": {"value": r"\w+"},
    }  # fmt: skip

    def __init__(
        self,
        folder: Path,
        kernel: Kernel,
        *,
        present: Iterable[str] = (),
        absent: Iterable[str] = (),
    ) -> None:
        super().__init__(folder, present=present, absent=absent)
        self.top, self.ports, self.clock, self.reset = kernel.top, dict(kernel.ports), kernel.clock, kernel.reset
        self.registers = {register.name: register for register in kernel.registers}
        self.sources: list[str] = []
        self.associated: dict[str, str] = {}
        self.resets: dict[str, str] = {}
        self.root = ""
        self.kernels: list[str] = []

    # The project

    @command("create_project", "-force -part=! name directory?")
    def create_project(self, call: Call) -> Answer:
        """Make the project."""
        project = self.add("project", call.words[0])
        project.properties["part"] = call.options["-part"]
        self.add("fileset", SOURCES)
        self.add("fileset", CONSTRAINTS)
        return project.handle

    @command("add_files", "-norecurse -fileset= files")
    def add_files(self, call: Call) -> None:
        """Add files of the folder."""
        self.after("create_project")
        fileset = call.options.get("-fileset", SOURCES)
        self.named("fileset", fileset)
        for text in self.split(call.words[0]):
            name = self.need_file(text)
            wanted = CONSTRAINTS if name.endswith(".xdc") else SOURCES
            if fileset != wanted:
                raise RefusedError(f"{name} belongs into {wanted}")
            self.add("file", Path(name).name)
            self.sources.append(name)

    @command("get_files", "name")
    def get_files(self, call: Call) -> Answer:
        """Return a file that was added."""
        return self.named("file", call.words[0]).handle

    @command("current_fileset")
    def current_fileset(self, call: Call) -> Answer:
        """Return the sources."""
        return self.named("fileset", SOURCES).handle

    @command("update_compile_order", "-fileset=!")
    def update_compile_order(self, call: Call) -> None:
        """Look at the files."""
        self.after("add_files")
        self.named("fileset", call.options["-fileset"])

    @command("close_project", "-delete")
    def close_project(self, call: Call) -> None:
        """Close the core's project."""
        self.after("ipx::save_core")

    # The core

    @command("ipx::package_project", "-root_dir=! -vendor=! -library=! -taxonomy= -import_files -set_current= -force")
    def package_project(self, call: Call) -> Answer:
        """Make a core, with the interfaces that the names of the top's ports show."""
        self.after("add_files", "update_compile_order")
        if "top" not in self.named("fileset", SOURCES).properties:
            raise RefusedError("the top module must be set before")
        self.root = self.path(call.options["-root_dir"])
        core = self.add("core", self.top)
        for name in self.interfaces():
            self.add("bus interface", name, core)
            if name.startswith("s_"):
                self.add("memory map", name, core)
        return core.handle

    def interfaces(self) -> list[str]:
        """Return the interfaces that the packager finds by the names of ports: those that have all they need."""
        found: dict[str, set[str]] = {}
        for port in self.ports:
            if match := _REGISTERED.fullmatch(port):
                found.setdefault(match[1], set()).add(match[2].lower())
        whole = []
        for name, signals in found.items():
            needed = set(AxiLiteSignature(addr_width=12, data_width=32).members)
            if name.startswith("m_"):
                needed = set(AxiSignature(addr_width=64, data_width=512, id_width=1).members)
            if needed <= signals:
                whole.append(name)
        return [*whole, *(name for name in (self.clock, self.reset) if name in self.ports)]

    @command("ipx::unload_core", "file")
    def unload_core(self, call: Call) -> None:
        """Close the core as it was made."""
        self._component(call.words[0])

    @command("ipx::edit_ip_in_project", "-upgrade= -name=! -directory=! file")
    def edit_ip_in_project(self, call: Call) -> None:
        """Open the core in a project of its own."""
        self.after("ipx::unload_core")
        self._component(call.words[0])
        self.add("project", call.options["-name"])

    def _component(self, text: str) -> None:
        self.after("ipx::package_project")
        if self.path(text) != f"{self.root}/component.xml":
            raise RefusedError(f"{self.path(text)} is not the core in {self.root}")

    @command("ipx::current_core")
    def current_core(self, call: Call) -> Answer:
        """Return the core."""
        self.after("ipx::edit_ip_in_project")
        return self.named("core", self.top).handle

    def _core(self, text: str) -> Thing:
        return self.find(text, "core")

    # Interfaces

    @command("ipx::get_bus_interfaces", "-of_objects=! name")
    def get_bus_interfaces(self, call: Call) -> Answer:
        """Return an interface."""
        return self.named("bus interface", call.words[0], self._core(call.options["-of_objects"])).handle

    @command("ipx::associate_bus_interfaces", "-busif= -clock=! -reset= core")
    def associate_bus_interfaces(self, call: Call) -> None:
        """Say which clock an interface runs on, or which reset belongs to a clock."""
        core, clock = self._core(call.words[0]), call.options["-clock"]
        self.named("bus interface", clock, core)
        if clock != self.clock:
            raise RefusedError(f"{clock} is no clock of {self.top}")
        bus, reset = call.get("-busif"), call.get("-reset")
        if (bus is None) == (reset is None):
            raise RefusedError("one of -busif and -reset was expected")
        if bus is not None:
            self.named("bus interface", bus, core)
            if bus in (self.clock, self.reset):
                raise RefusedError(f"{bus} is no bus")
            if bus in self.associated:
                raise RefusedError(f"{bus} is associated already")
            self.associated[bus] = clock
        if reset is not None:
            self.named("bus interface", reset, core)
            if reset != self.reset:
                raise RefusedError(f"{reset} is no reset of {self.top}")
            self.resets[clock] = reset

    @command("ipx::add_bus_parameter", "name interface")
    def add_bus_parameter(self, call: Call) -> Answer:
        """Add a parameter to an interface."""
        name, bus = call.words[0], self.find(call.words[1], "bus interface")
        if name not in BUS_PARAMETERS:
            raise RefusedError(f"an interface has no parameter {name}")
        return self.add("bus parameter", name, bus).handle

    # Registers

    @command("ipx::get_memory_maps", "-quiet -of_objects=! name")
    def get_memory_maps(self, call: Call) -> Answer:
        """Return a memory map, nothing if it is not there."""
        core = self._core(call.options["-of_objects"])
        return tuple(map_.handle for map_ in self.all("memory map") if (map_.name, map_.of) == (call.words[0], core))

    @command("ipx::remove_memory_map", "name core")
    def remove_memory_map(self, call: Call) -> None:
        """Remove a memory map."""
        del self.things[self.named("memory map", call.words[0], self._core(call.words[1])).handle]

    @command("ipx::add_memory_map", "name core")
    def add_memory_map(self, call: Call) -> Answer:
        """Add a memory map."""
        return self.add("memory map", call.words[0], self._core(call.words[1])).handle

    @command("ipx::add_address_block", "name map")
    def add_address_block(self, call: Call) -> Answer:
        """Add a block to a memory map."""
        return self.add("address block", call.words[0], self.find(call.words[1], "memory map")).handle

    @command("ipx::add_register", "name block")
    def add_register(self, call: Call) -> Answer:
        """Add a register, one of those that the design has."""
        name = call.words[0]
        if name not in self.registers:
            raise RefusedError(f"the kernel has no register {name}; it has {', '.join(self.registers)}")
        return self.add("register", name, self.find(call.words[1], "address block")).handle

    @command("ipx::add_register_parameter", "name register")
    def add_register_parameter(self, call: Call) -> Answer:
        """Add a parameter to a register."""
        if call.words[0] != "ASSOCIATED_BUSIF":
            raise RefusedError(f"a register has no parameter {call.words[0]}")
        return self.add("register parameter", call.words[0], self.find(call.words[1], "register")).handle

    def assigned(self, thing: Thing, name: str, value: str) -> None:
        """Compare what was set with the design."""
        if thing.kind == "fileset" and value != self.top:
            raise RefusedError(f"the top is {self.top}, not {value}")
        if thing.kind == "bus interface":
            self.named("memory map", value, thing.of)
        if thing.kind == "register":
            right = self.registers[thing.name]
            wanted = {"address_offset": right.offset, "size": right.bits}
            if name in wanted and not _same_number(value, wanted[name]):
                raise RefusedError(f"{name} of {thing.name} is {wanted[name]:#x}, not {value}")
        if thing.kind == "register parameter":
            assert thing.of is not None
            bus = self.registers[thing.of.name].bus
            if value != bus:
                raise RefusedError(f"{thing.of.name} belongs to {bus}, not to {value}")
        if thing.kind == "bus parameter":
            assert thing.of is not None
            bits, ids = self.ports[f"{thing.of.name}_WDATA"][1], self.ports[f"{thing.of.name}_AWID"][1]
            right_value = bits if thing.name == "DATA_WIDTH" else 1 << ids
            if value != str(right_value):
                raise RefusedError(f"{thing.name} of {thing.of.name} is {right_value}, not {value}")

    # Writing it

    @command("ipx::create_xgui_files", "core")
    def create_xgui_files(self, call: Call) -> None:
        """Write the core's dialogue."""
        self._core(call.words[0])

    @command("ipx::update_checksums", "core")
    def update_checksums(self, call: Call) -> None:
        """Sum up the core's files."""
        self.after("ipx::create_xgui_files")
        self._core(call.words[0])

    @command("ipx::check_integrity", "-kernel core")
    def check_integrity(self, call: Call) -> None:
        """Look whether the core is a whole kernel."""
        self.after("ipx::update_checksums")
        core = self._core(call.words[0])
        if "-kernel" not in call.options:
            raise RefusedError("-kernel is missing: this is to be a kernel")
        for bus in (thing.name for thing in self.all("bus interface")):
            if bus not in (self.clock, self.reset) and bus not in self.associated:
                raise RefusedError(f"bus interface {bus} is associated with no clock")
        if self.resets.get(self.clock) != self.reset:
            raise RefusedError(f"clock {self.clock} is associated with no reset")
        self._all_set(core, "core_revision", "sdx_kernel", "sdx_kernel_type", "vitis_drc", "ipi_drc")
        for file in self.all("file"):
            if file.name.endswith(".xdc"):
                self._all_set(file, "used_in", "processing_order")
        self._whole_buses(core)
        self._whole_registers()

    def _all_set(self, thing: Thing, *names: str) -> None:
        for name in names:
            if name not in thing.properties:
                raise RefusedError(f"property {name} of {thing.kind} {thing.name} is not set, see {thing.place}")

    def _whole_buses(self, core: Thing) -> None:
        for bus in self.all("bus interface"):
            if bus.name.startswith("m_"):
                for name in BUS_PARAMETERS:
                    self._all_set(self.named("bus parameter", name, bus), "value")
            if bus.name.startswith("s_"):
                self._all_set(bus, "slave_memory_map_ref")
                used = self.named("memory map", bus.properties["slave_memory_map_ref"], core)
                for block in (block for block in self.all("address block") if block.of is used):
                    self._all_set(block, "range", "width", "usage")

    def _whole_registers(self) -> None:
        found = {thing.name: thing for thing in self.all("register")}
        for name, right in self.registers.items():
            if name not in found:
                raise RefusedError(f"register {name} is missing")
            for needed in ("address_offset", "size"):
                if needed not in found[name].properties:
                    raise RefusedError(f"register {name} has no {needed}, see {found[name].place}")
            bus = self.things.get(f"{found[name].handle}/register_parameter:ASSOCIATED_BUSIF")
            if right.bus is not None and (bus is None or "value" not in bus.properties):
                raise RefusedError(f"pointer {name} has no ASSOCIATED_BUSIF, see {found[name].place}")

    @command("ipx::save_core", "core")
    def save_core(self, call: Call) -> None:
        """Write the core."""
        self.after("ipx::check_integrity")
        self._core(call.words[0])

    @command("package_xo", "-force -xo_path=! -kernel_name=! -ip_directory=! -ctrl_protocol=! -output_kernel_xml=")
    def package_xo(self, call: Call) -> None:
        """Write the kernel object."""
        self.after("ipx::save_core", "close_project")
        if call.options["-kernel_name"] != self.top:
            raise RefusedError(f"the kernel is {self.top}")
        if self.path(call.options["-ip_directory"]) != self.root:
            raise RefusedError(f"the core is in {self.root}")
        protocol = self.named("core", self.top).properties["vitis_drc"].split()[1]
        if call.options["-ctrl_protocol"] != protocol:
            raise RefusedError(f"the core's protocol is {protocol}")
        self.kernels.append(self.path(call.options["-xo_path"]))


def _same_number(text: str, number: int) -> bool:
    """Whether a text is this number; one with zeros before it is none, it is octal to some readers."""
    try:
        return int(text, 0) == number
    except ValueError:
        return False
