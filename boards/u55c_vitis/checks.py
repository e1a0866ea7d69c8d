"""Whether the scripts of a Vitis build folder fit its kernel: they run without the tools (boards.tcl.packager)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from boards.check import noise
from boards.folder import disk as folders
from boards.gateware import entropy
from boards.gateware.clocks import CLOCK_MHZ
from boards.gateware.ports import Ports
from boards.target import Plan
from boards.tcl.interpreter import ScriptError, ScriptStoppedError
from boards.tcl.kernel import Kernel
from boards.tcl.packager import Packager
from boards.tcl.xdc import Constraints
from boards.u55c_vitis import files, kernel
from boards.u55c_vitis.top import CLOCK, CONTROL, RESET
from omap.board import BOARDS
from omap.errors import InputError

LINE = re.compile(r"([a-z_]+)=(\S+)")


def problems(folder: Path, plan: Plan) -> list[str]:
    """Return what is wrong with the scripts in a folder."""
    ports = plan.target.ports(plan.params)
    return [
        *package_problems(folder, plan, ports),
        *loop_problems(folder),
        *link_problems(folder, plan, ports),
        *emulation_problems(folder, plan),
    ]


def package_problems(folder: Path, plan: Plan, ports: Ports) -> Iterator[str]:
    """Yield what is wrong with the packaging script, for a kernel with these ports."""
    top = plan.target.module

    design = Kernel(top, ports, CLOCK, RESET, kernel.registers(ports))
    run = Packager(folder, design, present=(folders.SECRET,))
    try:
        run.run(files.PACKAGE)
    except ScriptError as error:
        yield str(error)
        return
    if run.kernels != [f"{folders.OUT}/{top}.xo"]:
        yield f"{files.PACKAGE} makes {run.kernels}, not {folders.OUT}/{top}.xo"
    wanted = {f"{top}.v", entropy.FILE, entropy.CONSTRAINTS, folders.SECRET}
    if set(run.sources) != wanted:
        yield f"{files.PACKAGE} adds {', '.join(run.sources)}, not {', '.join(sorted(wanted))}"
    parts = [project.properties["part"] for project in run.all("project") if "part" in project.properties]
    if parts != [BOARDS[plan.target.board].part]:
        yield f"{files.PACKAGE} is for {parts}, not for {BOARDS[plan.target.board].part}"
    for block in run.all("address block"):
        if int(block.properties.get("range", "0"), 0) != kernel.control_bytes(ports):
            yield f"{block.place}: the address block has another size than {CONTROL}'s addresses reach"
    yield from needs_key(Packager(folder, design, absent=(folders.SECRET,)), files.PACKAGE)


def loop_problems(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the constraints of the noise source."""
    name, run = entropy.CONSTRAINTS, Constraints(folder, noise.PARTS)
    try:
        run.read(name)
    except ScriptError as error:
        yield str(error)
    else:
        yield from noise.constraint_problems(run, name)


def needs_key(run: Packager, script: str) -> Iterator[str]:
    """Yield a problem if a script goes on without a root key."""
    try:
        run.run(script)
    except ScriptStoppedError as error:
        if "--key-file" not in str(error):
            yield f"{script} does not say how a root key is made: {error}"
    except ScriptError as error:
        yield f"{script} without a root key: {error}"
    else:
        yield f"{script} runs without a root key"


def link_problems(folder: Path, plan: Plan, ports: Ports) -> Iterator[str]:
    """Yield what is wrong with the linker's configuration."""
    name, top, instance = files.LINK, plan.target.module, kernel.INSTANCE
    section, found = "", []
    for number, line in enumerate(_lines(folder, name), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("["):
            section = text
        elif match := LINE.fullmatch(text):
            found.append((section, match[1], match[2]))
        else:
            yield f"{name}, line {number}: neither a section nor name=value: {text}"
    memories = Counter(kernel.masters(ports).items())
    wanted = Counter(
        [
            ("", "platform", BOARDS[plan.target.board].platform),
            ("", "kernel_frequency", f"0:{CLOCK_MHZ}"),
            ("[connectivity]", "nk", f"{top}:1:{instance}"),
            ("[connectivity]", "slr", f"{instance}:{files.SLR}"),
            *(("[connectivity]", "sp", f"{instance}.{port}:{memory}") for port, memory in memories),
        ]
    )
    have = Counter(found)
    for section, key, value in wanted - have:
        yield f"{name}: {key}={value} is missing{f' in {section}' if section else ' before the first section'}"
    for section, key, value in have - wanted:
        yield f"{name}: {key}={value} is wrong, or once too often{f', in {section}' if section else ''}"


def emulation_problems(folder: Path, plan: Plan) -> Iterator[str]:
    """Yield what is wrong with the script for emulation: it is short enough to be compared as a whole."""
    have = [line for line in _lines(folder, files.EMULATE) if not line.startswith("#")]
    wanted = [line for line in files.emulate(plan).splitlines() if not line.startswith("#")]
    if have != wanted:
        odd = next((line for line in have if line not in wanted), "a line is missing")
        yield f"{files.EMULATE} does not link this kernel for emulation: {odd}"


def _lines(folder: Path, name: str) -> list[str]:
    try:
        return (folder / name).read_text("utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{name} can't be read: {error.strerror}") from None
