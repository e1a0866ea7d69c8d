"""The list of targets: a new target needs a folder of its own and an entry here, and no other change."""

from __future__ import annotations

from boards.target import Target
from boards.u55c_direct.target import DirectTarget
from boards.u55c_vitis.target import VitisTarget

TARGETS: dict[str, Target] = {target.name: target for target in (VitisTarget(), DirectTarget())}
"""Name to target."""
