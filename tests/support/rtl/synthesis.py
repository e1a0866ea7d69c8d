"""What tests of generated Verilog and of synthesis reports share."""

import os
import subprocess

from sim.bench import toolchain

TOLERANCE = 0.05
"""Share by which LUTs and flip-flops may differ from the document: other releases of the synthesiser map otherwise."""


def lint(path, top):
    """Return what Verilator warns of."""
    root = toolchain.verilator_root()
    done = subprocess.run(
        [root / "bin" / "verilator_bin", "--lint-only", "--language", "1364-2005", "--top-module", top, path.name],
        cwd=path.parent,
        env=os.environ | {"VERILATOR_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("%")]
