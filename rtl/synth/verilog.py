"""A component as Verilog-2005 that passes Verilator's lint without a warning."""

from __future__ import annotations

import tempfile
from pathlib import Path

from amaranth.lib import wiring

from rtl.synth.netlist import yosys
from rtl.synth.rtlil import to_rtlil, with_zeros
from rtl.synth.widths import equalised

PASSES = (
    "proc -noopt -norom",  # case statements become conditions, which can't be incomplete; shortcuts would lose widths
    "pmuxtree",
    "memory_collect",
    "opt_clean",
    "attrmap -remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding",
    "attrmap -modattr -remove generator -remove top -remove src -remove amaranth.hierarchy",
)


def to_verilog(component: wiring.Component, name: str) -> str:
    """Return a component as Verilog with the top module ``name``; the same text for the same design and tools.

    Raises
    ------
    SynthesisError
        If the writer fails.
    """
    text = equalised(to_rtlil(component, name))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "design.il").write_text(text)
        yosys(
            ["-q", "-p", "; ".join(["read_rtlil design.il", *PASSES, "write_verilog -norename design.v"])], Path(folder)
        )
        return with_zeros((Path(folder) / "design.v").read_text())
