"""What turns a build folder into a running card: the commands, as data.

README, Makefile and ``omap board`` are made from these, so that they say and do the same. Commands are run in the build
folder. Nothing here was tried with the vendor's tools: unverified on a card.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from importlib import import_module

from boards.folder import disk as folders
from boards.folder.manifest import Plan
from omap.errors import InputError
from omap.wire import BufferLayout

# SEC_CM: BUILD.OUT.OWNER -- whatever the umask, and whoever made the folder
PREPARE = f"install -d -m 700 {folders.OUT}"
"""Comes before the first step; the tools write there, and what they write may hold the root key."""

TEMPORARY = f"{folders.OUT}/_x"
"""Where the linker unpacks the kernel, root key included (AMD UG1393: the working directory, unless told otherwise)."""

DEVICE = "BDF"
"""Stands for the card's PCIe address where none is given."""


@dataclass(frozen=True)
class Step:
    """One command.

    Parameters
    ----------
    title : str
        What it does.
    command : tuple of str
        Program and arguments.
    makes : tuple of str
        Files that are there afterwards, the first of which stands for the step in the Makefile.
    root : bool
        Whether it needs the rights of root. Such a step is told, never run.
    key : bool
        Whether it needs the root key in the folder.
    """

    title: str
    command: tuple[str, ...]
    makes: tuple[str, ...] = ()
    root: bool = False
    key: bool = False

    @property
    def shown(self) -> str:
        """The command as it is typed."""
        return shlex.join(("sudo", *self.command) if self.root else self.command)


def scripts(plan: Plan) -> dict[str, str]:
    """Return the scripts and constraints of a folder by name."""
    made: dict[str, str] = import_module(f"boards.{plan.target.name}").scripts(plan)
    return made


def host_memory(plan: Plan) -> str:
    """Return how much host memory the shell must give to the card: rings and pages, in a power of two of GiB."""
    size = BufferLayout(plan.params).size
    return f"{1 << max(0, (size - 1 >> 30).bit_length())}G"


def build_steps(plan: Plan) -> tuple[Step, ...]:
    """Return what makes the card's program."""
    top = plan.target.module
    if plan.target.name == "u55c_vitis":
        kernel, program = f"{folders.OUT}/{top}.xo", f"{folders.OUT}/{top}.xclbin"
        return (
            Step("Package the kernel (minutes)", vivado("package.tcl", "package"), (kernel,), key=True),
            Step(
                "Link it with the shell (hours)",
                ("v++", "--link", "--config", "link.cfg", "--temp_dir", TEMPORARY, "--output", program, kernel),
                (program,),
            ),
        )
    products = (f"{folders.OUT}/{top}.bit", f"{folders.OUT}/{top}.mcs")
    return (Step("Make the bitstream (hours)", vivado("build.tcl", "build"), products, key=True),)


def emulation_step(plan: Plan) -> Step | None:
    """Return what links for emulation in place of a card, None if the target has no emulation."""
    if plan.target.name != "u55c_vitis":
        return None
    return Step(
        "Link the kernel for emulation in place of a card",
        ("sh", "hw_emu.sh"),
        (f"{folders.OUT}/{plan.target.module}.hw_emu.xclbin",),
    )


def environment(plan: Plan) -> dict[str, str]:
    """Return what variables the steps need, and what each names."""
    if not plan.encrypted:
        return {}
    from boards.u55c_direct.files import KEY_VARIABLE  # which imports this module

    return {KEY_VARIABLE: "the .nky file, outside this folder, with the key that is in the fuses of the card"}


def vivado(script: str, name: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a Tcl script."""
    logs = ("-nojournal", "-log", f"{folders.OUT}/{name}.vivado.log", "-tempDir", folders.OUT)
    return ("vivado", "-mode", "batch", *logs, "-source", script, *(("-tclargs", *arguments) if arguments else ()))


def flash_steps(plan: Plan, device: str | None, *, volatile: bool = False) -> tuple[Step, ...]:
    """Return what brings the program into a card.

    Parameters
    ----------
    plan : Plan
        Of the folder.
    device : str or None
        The card's PCIe address.
    volatile : bool
        Load it until the card loses its power, where it could be written into a flash.

    Raises
    ------
    InputError
        If ``volatile`` is asked of a target that knows nothing else.
    """
    card = ("--device", device or DEVICE)
    if plan.target.name == "u55c_vitis":
        if volatile:
            raise InputError(
                f"under the shell of {plan.target.name} XRT loads the program, until power goes, and no flash is "
                "written: leave --volatile out"
            )
        program = build_steps(plan)[-1].makes[0]
        return (
            Step(
                "Give the card host memory, once after each start of the machine",
                ("xrt-smi", "configure", "--host-mem", *card, "--size", host_memory(plan), "enable"),
                root=True,
            ),
            Step("See that the card is there", ("xrt-smi", "examine", *card)),
            Step("Load the program", ("xrt-smi", "program", *card, "--user", program)),
        )
    load = (
        Step("Load the bitstream through JTAG, until the card loses its power", vivado("load.tcl", "load")),
        Step(
            "Restart the machine without switching its power off: it finds the card", ("systemctl", "reboot"), root=True
        ),
    )
    write = (
        Step("Write the bitstream into the card's flash, through JTAG (minutes)", vivado("flash.tcl", "flash")),
        Step(
            "Switch the machine's power off, and on again: the card boots from its flash",
            ("systemctl", "poweroff"),
            root=True,
        ),
    )
    return (
        *(load if volatile else write),
        Step("Let programs have the card; `omap serve` says how it is bound", ("modprobe", "vfio-pci"), root=True),
    )


def flash_notes(plan: Plan) -> tuple[str, ...]:
    """Return what to know before a card's flash is written."""
    if not plan.target.hbm_private:
        return ()
    stays = (
        "What is written into the flash stays: the card boots it from then on, in place of AMD's shell, and closes "
        "JTAG once it runs. Whether the flash can be written again then nobody has tried: load the same bitstream "
        "with --volatile before."
    )
    plain = "This bitstream is not encrypted: whoever reads the flash has the root key."
    return (stays,) if plan.encrypted else (stays, plain)


def serve_step(plan: Plan, device: str | None) -> Step:
    """Return what serves the map that the card runs."""
    card = ("--params", "manifest.json", "--device", device or DEVICE)
    if plan.target.name == "u55c_vitis":
        program = build_steps(plan)[-1].makes[0]
        return Step("Serve the map", ("omap", "serve", "--backend", "xrt", "--xclbin", program, *card))
    return Step("Serve the map", ("omap", "serve", "--backend", "vfio", *card))


def makefile(plan: Plan) -> str:
    """Return the Makefile of a folder."""
    steps, emulation = build_steps(plan), emulation_step(plan)
    into_card = {"flash": flash_steps(plan, None)}
    if plan.target.hbm_private:
        into_card["load"] = flash_steps(plan, None, volatile=True)
    sources = " ".join(("$(wildcard *.v)", "$(wildcard secret/*.v)", *sorted(scripts(plan))))
    lines = [
        "# The steps of README.md. Each needs the vendor's tools on PATH.",
        "",
        f"{DEVICE} ?= ",
        "",
        f".PHONY: {' '.join(['all', *into_card, *(['hw_emu'] if emulation else [])])}",
        f"all: {' '.join(steps[-1].makes)}",
    ]
    before = sources
    for step in steps:
        lines += ["", f"{step.makes[0]}: {before}", f"\t{PREPARE}"]
        if step.key:
            lines.append(f"\t@test -f {folders.SECRET} || {{ echo '{no_key()}' >&2; exit 1; }}")
        lines.append(f"\t{step.shown}")
        lines += [line for made in step.makes[1:] for line in ("", f"{made}: {step.makes[0]}")]
        before = step.makes[0]
    if emulation:
        (made,), (*_, script) = emulation.makes, emulation.command
        lines += ["", f"hw_emu: {made}", "", f"{made}: {steps[0].makes[0]} {script}", f"\t{emulation.shown}"]
    for name, wanted in into_card.items():
        lines += ["", f"{name}: {' '.join(steps[-1].makes)}"]
        if any(DEVICE in step.command for step in wanted):
            lines.append(
                f"\t@test -n '$({DEVICE})' || {{ echo 'give {DEVICE}=, the PCIe address of the card' >&2; exit 1; }}"
            )
        for step in wanted:
            shown = step.shown.replace(f" {DEVICE}", f" $({DEVICE})")
            told = f"{step.title}, as root: {shown}"
            lines.append(f"\t@echo {shlex.quote(told)}" if step.root else f"\t{shown}")
    return "\n".join(lines) + "\n"


def no_key() -> str:
    """Return what to say where the root key is missing."""
    return (
        f"{folders.SECRET} is missing, the root key as a constant: "
        "run `omap board build` again with --key-file, into the same folder"
    )
