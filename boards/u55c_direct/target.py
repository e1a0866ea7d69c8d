"""The target ``u55c_direct``: the Alveo U55C without a shell, whose HBM is wired to the engine alone."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

from amaranth.lib import wiring

from boards.check import connectivity
from boards.folder import disk as folders
from boards.folder.steps import data_option, device_option, vivado
from boards.gateware.clear import Clear
from boards.gateware.core import Top
from boards.gateware.gate import Gate
from boards.gateware.ports import stub
from boards.target import Plan, Step, Target, Variable
from boards.u55c_direct import checks, files, paths, top, vendor
from boards.u55c_direct.link import Link
from omap.params import Params
from rtl.config import EngineConfig
from rtl.constants import HOST_IDS
from rtl.engine import host_axi
from rtl.rings.csr import ADDRESS_BITS, WORD_BITS
from rtl.stream.axi import AxiLiteSignature

WIDTH = 120
"""Of lines in a README, characters."""


class DirectTarget(Target):
    """Makes a bitstream of the whole card, for its flash or for JTAG."""

    name = "u55c_direct"
    board = "u55c"
    module = top.MODULE
    hbm_private = True
    fusable = True
    guide = "boards/u55c_direct/README.md"
    device = "0000:3b:00.0"
    host_ids = HOST_IDS[-1]  # the link has more reads under way than that

    def make(self, config: EngineConfig, *, attested: bool) -> Top:
        """Return the top with the card's pins."""
        return top.DirectTop(top.DirectCard(config, attested=attested))

    def scripts(self, plan: Plan) -> dict[str, str]:
        """Return the scripts for bitstream, flash and JTAG, and the constraints."""
        return files.files(plan)

    def build_steps(self, plan: Plan) -> tuple[Step, ...]:
        """Return the one step that makes the bitstream, as JTAG takes it and as the flash does."""
        products = (f"{folders.OUT}/{self.module}.bit", f"{folders.OUT}/{self.module}.mcs")
        return (Step("Make the bitstream (hours)", vivado(files.BUILD, "build"), products, key=True),)

    def flash_steps(self, plan: Plan, device: str | None, *, volatile: bool = False) -> tuple[Step, ...]:
        """Return what writes the card's flash, or loads the bitstream through JTAG. Neither needs the PCIe address."""
        load = (
            Step("Load the bitstream through JTAG, until the card loses its power", vivado(files.LOAD, "load")),
            Step(
                "Restart the machine without switching its power off: it finds the card",
                ("systemctl", "reboot"),
                root=True,
            ),
        )
        write = (
            Step("Write the bitstream into the card's flash, through JTAG (minutes)", vivado(files.FLASH, "flash")),
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

    def serve_step(self, plan: Plan, device: str | None) -> Step:
        """Return what serves the map through VFIO."""
        return Step(
            "Serve the map",
            ("omap", "serve", "--backend", "vfio", "--params", "manifest.json")
            + (*device_option(device), *data_option(plan.journal)),
        )

    def flash_notes(self, plan: Plan) -> tuple[str, ...]:
        """Return that the flash keeps what is written, and who can read it."""
        stays = (
            "What is written into the flash stays: the card boots it from then on, in place of AMD's shell, and closes "
            "JTAG once it runs. Whether the flash can be written again then nobody has tried: load the same bitstream "
            "with --volatile before."
        )
        plain = "This bitstream is not encrypted: whoever reads the flash has the root key."
        return (stays,) if plan.encrypted else (stays, plain)

    def goals(self, plan: Plan) -> dict[str, tuple[Step, ...]]:
        """Return writing the flash, and loading through JTAG."""
        return super().goals(plan) | {"load": self.flash_steps(plan, None, volatile=True)}

    def environment(self, plan: Plan) -> tuple[Variable, ...]:
        """Return the variable that names the key of an encrypted bitstream."""
        if not plan.encrypted:
            return ()
        what = "the .nky file, outside this folder, with the key that is in the fuses of the card"
        return (Variable(files.KEY_VARIABLE, what, "../../card.nky", "`omap board build --plain` does without"),)

    def script_problems(self, folder: Path, plan: Plan) -> list[str]:
        """Return what is wrong with the scripts, which are run without the tools."""
        return checks.problems(folder, plan)

    def path_problems(self, verilog: str, plan: Plan) -> list[str]:
        """Return the paths between register BAR, host memory and HBM that should not be there."""
        return connectivity.check(verilog, paths.design(self.channels(plan.params))).findings

    @property
    def summary(self) -> str:
        """What ``omap board list`` says of HBM and host memory."""
        return "HBM private: the host has no way to it"

    def warning(self, plan: Plan) -> list[str]:
        """Return what must hold of the card."""
        return ["The bitstream holds the root key. HBM is private only on a card that boots this bitstream alone."]

    def otherwise(self, plan: Plan) -> list[str]:
        """Return how the bitstream is tried without writing the flash."""
        load, restart, *_ = self.flash_steps(plan, None, volatile=True)
        return [
            *textwrap.wrap(" ".join(self.flash_notes(plan)), WIDTH),
            f"That is `omap board flash --volatile .`, or `make load`: {load.title[0].lower()}{load.title[1:]}.",
            "",
            "```sh",
            load.shown,
            restart.shown,
            "```",
            "",
        ]

    def blocks(self, params: Params) -> dict[str, Callable[[], wiring.Component]]:
        """Return what stands between PCIe and the core, and between the core and HBM."""
        channels, channel_bytes = self.channels(params), 1 << self.config(params).channel_bits
        return {
            "link": lambda: Link(id_bits=host_axi(self.host_ids).id_width),
            "gate": lambda: Gate(AxiLiteSignature(addr_width=ADDRESS_BITS, data_width=WORD_BITS)),
            "clear": lambda: Clear(channels, channel_bytes),
        }

    def boxes(self, params: Params) -> dict[str, str]:
        """Return the vendor's cores as empty modules; the synthesiser knows the primitives."""
        blocks = vendor.blocks(self.channels(params))
        return {name: "" if name in vendor.PRIMITIVES else stub(name, ports) for name, ports in blocks.items()}
