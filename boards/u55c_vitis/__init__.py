"""The Alveo U55C under AMD's Vitis shell: for bring-up and performance; the host reaches HBM."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boards.folder.manifest import Plan


def scripts(plan: Plan) -> dict[str, str]:
    """Return the scripts and constraints of a build folder by name."""
    from boards.u55c_vitis.files import files  # what it needs imports this package

    return files(plan)


def script_problems(folder: Path, plan: Plan) -> list[str]:
    """Return what is wrong with the scripts and constraints that stand in a build folder."""
    from boards.u55c_vitis.checks import problems

    return problems(folder, plan)
