"""The target ``u55c_vitis``: the Alveo U55C under AMD's Vitis shell, whose host loads the program and reaches HBM."""

from __future__ import annotations

from pathlib import Path

from boards.folder import disk as folders
from boards.folder.steps import data_option, device_option, vivado
from boards.gateware.core import Top
from boards.target import Plan, Step, Target
from boards.u55c_vitis import checks, files, top
from omap.board import BOARDS
from omap.errors import InputError, ParamsError
from omap.params import Params
from omap.units import format_bytes
from omap.wire import BufferLayout
from rtl.config import EngineConfig

WITHOUT_SHELL = "u55c_direct"
"""The target for maps of the same card that need more host memory than the shell gives."""


class VitisTarget(Target):
    """Packages the engine as a kernel, and links it with the shell."""

    name = "u55c_vitis"
    board = "u55c"
    module = top.MODULE
    hbm_private = False
    fusable = False
    guide = "boards/u55c_vitis/README.md"
    device = "0000:3b:00.1"

    def make(self, config: EngineConfig, *, attested: bool) -> Top:
        """Return the kernel. ``attested`` is never set here."""
        return top.VitisKernel(config)

    def check(self, params: Params) -> None:
        """Raise ParamsError if the shell gives a kernel less host memory than pages and rings may take."""
        board, needed = BOARDS[self.board], BufferLayout.largest(params).size
        if board.window_holds(needed) is False:
            assert board.host_window_bytes is not None
            raise ParamsError(
                f"pages and rings of this map take up to {format_bytes(needed)} of host memory, and {self.name} "
                f"reaches {format_bytes(board.host_window_bytes)} of it through HOST[0]: take a target without a shell "
                f"({WITHOUT_SHELL}), or a smaller map (`omap plan --board {self.board} --host`)"
            )

    def scripts(self, plan: Plan) -> dict[str, str]:
        """Return the scripts for packaging, linking, and linking for emulation, and the constraints of the noise."""
        return files.files(plan)

    def build_steps(self, plan: Plan) -> tuple[Step, ...]:
        """Return packaging and linking."""
        kernel, program = files.kernel_object(plan), files.program(plan)
        link = ("v++", "--link", "--config", files.LINK, "--temp_dir", files.TEMPORARY, "--output", program, kernel)
        return (
            Step("Package the kernel (minutes)", vivado(files.PACKAGE, "package"), (kernel,), key=True),
            Step("Link it with the shell (hours)", link, (program,)),
        )

    def flash_steps(self, plan: Plan, device: str | None, *, volatile: bool = False) -> tuple[Step, ...]:
        """Return what has XRT load the program: the shell keeps no flash for it."""
        if volatile:
            raise InputError(
                f"under the shell of {self.name} XRT loads the program, until power goes, and no flash is "
                "written: leave --volatile out"
            )
        card = device_option(device)
        return (
            Step(
                "Give the card host memory, once after each start of the machine",
                ("xrt-smi", "configure", "--host-mem", *card, "--size", _host_memory(plan), "enable"),
                root=True,
            ),
            Step("See that the card is there", ("xrt-smi", "examine", *card)),
            Step("Load the program", ("xrt-smi", "program", *card, "--user", files.program(plan))),
        )

    def serve_step(self, plan: Plan, device: str | None) -> Step:
        """Return what serves the map through XRT."""
        card = ("--params", "manifest.json", *device_option(device), *data_option(plan.journal))
        return Step("Serve the map", ("omap", "serve", "--backend", "xrt", "--xclbin", files.program(plan), *card))

    def variants(self, plan: Plan) -> dict[str, Step]:
        """Return linking for emulation in place of a card."""
        return {"hw_emu": _emulation_step(plan)}

    def script_problems(self, folder: Path, plan: Plan) -> list[str]:
        """Return what is wrong with the scripts, which are run without the tools."""
        return checks.problems(folder, plan)

    @property
    def summary(self) -> str:
        """What ``omap board list`` says of HBM and host memory."""
        window = BOARDS[self.board].host_window_bytes
        return f"HBM open to the host, at most {'?' if window is None else format_bytes(window)} of pages"

    def warning(self, plan: Plan) -> list[str]:
        """Return that nothing is hidden from the host."""
        return [
            "The host of this target loads the program, which holds the root key, and can read HBM: it is for bring-up",
            "and for measuring, not for secrets.",
        ]

    def otherwise(self, plan: Plan) -> list[str]:
        """Return what emulation is for."""
        emulation = _emulation_step(plan)
        return [
            f"`make hw_emu`, which is `{emulation.shown}`, links the packaged kernel for emulation, thousands of times",
            f"slower than a card. With `XCL_EMULATION_MODE=hw_emu` in the environment and `{folders.OUT}/` as working",
            "directory XRT takes the emulator for a card. Its noise is a stand-in, so that every key made there can be",
            "known beforehand: it is for trials alone.",
            "",
        ]


def _emulation_step(plan: Plan) -> Step:
    return Step(
        "Link the kernel for emulation in place of a card",
        ("sh", files.EMULATE),
        (files.emulated_program(plan),),
    )


def _host_memory(plan: Plan) -> str:
    """Return how much host memory the shell must give to the card: rings and pages, in a power of two of GiB."""
    size = BufferLayout(plan.params).size
    return f"{1 << max(0, (size - 1 >> 30).bit_length())}G"
