"""Checks that a build makes its noise with ring oscillators, and with nothing that can be known beforehand.

Both parts of a noise source are looked at: the Verilog by synthesis, and the constraints by reading them.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from boards.gateware.entropy import FILE, MODULE, SOURCES
from boards.tcl.xdc import Constraints, Parts
from omap.errors import InputError
from rtl.synth.netlist import yosys

SIMULATOR = "XILINX_SIMULATOR"
"""Macro under which a source is a stand-in, no noise. Vivado's simulator sets it (AMD UG900, *Predefined Macros*)."""

LUTS = """
(* blackbox *) module LUT1 #(parameter [1:0] INIT = 0) (input I0, output O); endmodule
(* blackbox *) module LUT2 #(parameter [3:0] INIT = 0) (input I0, input I1, output O); endmodule
"""


def rings(verilog: str, index: int = 0) -> list[list[tuple[str, int]]]:
    """Return the rings that a source samples, as a synthesiser has them: the LUTs of each, by kind and INIT.

    Parameters
    ----------
    verilog : str
        The source.
    index : int
        Its number.

    Raises
    ------
    InputError
        If it is not made of rings alone, each of which two registers sample one after the other.
    """
    script = f"read_verilog luts.v {FILE}; chparam -set INDEX {index} {MODULE}; hierarchy -top {MODULE}; proc; flatten"
    if MODULE not in _modules(verilog, f"read_verilog {FILE}"):
        raise InputError(f"{FILE} has no source of noise for synthesis")
    cells = [cell for module in _modules(verilog, script).values() for cell in module["cells"].values()]
    driver = {cell["connections"]["O"][0]: cell for cell in cells if cell["type"].startswith("LUT")}
    flops = {cell["connections"]["Q"][0]: cell["connections"]["D"][0] for cell in cells if cell["type"] == "$dff"}
    found = []
    for first, start in flops.items():
        if start not in driver:
            continue
        if first not in flops.values():
            raise InputError(f"{FILE} has a register that samples a ring, and no second register behind it")
        at = start
        ring: list[tuple[str, int]] = []
        while not ring or at != start:
            if at not in driver or len(ring) > len(driver):
                raise InputError(f"{FILE} samples a LUT that is in no ring")
            cell = driver[at]
            ring.append((cell["type"], int(cell["parameters"]["INIT"], 2)))
            at = cell["connections"]["I0"][0]
        found.append(ring)
    if sum(map(len, found)) != len(driver):
        raise InputError(f"{FILE} has LUTs in no ring, or rings that nothing samples")
    return found


@cache
def problems(verilog: str) -> tuple[str, ...]:
    """Return what is wrong with a source of noise that is to be synthesised."""
    found = []
    if MODULE in _modules(verilog, f"read_verilog -D {SIMULATOR} {FILE}"):
        found.append(f"{FILE} is something else than ring oscillators if {SIMULATOR} is set, for synthesis too")
    sampled = rings(verilog)
    if not sampled:
        found.append(f"{FILE} has no ring oscillator: what it gives can be known beforehand")
    if not all(len(ring) % 2 for ring in sampled):
        found.append(f"{FILE} has a ring with an even number of inversions, which stands still")
    lengths = [len(ring) for index in range(SOURCES) for ring in rings(verilog, index)]
    if len(set(lengths)) != len(lengths):
        found.append(f"{FILE} has rings of the same length in one source or in two, which may lock to each other")
    return tuple(found)


PARTS = Parts(
    cells=("noise/rings[0].first_reg", "noise/rings[3].first_reg", "noise/rings[3].second_reg"),
    nets=("noise/rings[0].ring[0]", "noise/rings[3].ring[6]", "noise/run", "ring/rings[0]"),
    loops=r".*noise/rings\[\d+\]\.ring\[\d+\]",
)
"""Parts of a noise source that its constraints may name, and some that are none."""


def constraint_problems(run: Constraints, name: str) -> Iterator[str]:
    """Yield what constraints lack for the noise source.

    Parameters
    ----------
    run : Constraints
        Has read the constraints, of a design with :data:`PARTS`.
    name : str
        Of the file.
    """
    for net in run.all("net"):
        if re.fullmatch(run.parts.loops, net.name) and "allow_combinatorial_loops" not in net.properties:
            yield f"{name} does not allow the loop {net.name}: the tools would refuse the rings"
    for cell in run.all("cell"):
        if cell.name.endswith(".first_reg") != (("-to", cell.handle) in run.free) and "/rings[" in cell.name:
            yield f"{name} is wrong about {cell.name}: paths that end in the first register of a ring alone are free"


def _modules(verilog: str, script: str) -> dict[str, Any]:
    """Return the modules after a script, which the synthesiser runs with SYNTHESIS set, as Vivado's does (UG901)."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE).write_text(verilog)
        (Path(folder) / "luts.v").write_text(LUTS)
        yosys(["-q", "-p", f"{script}; proc; write_json design.json"], Path(folder))
        found: dict[str, Any] = json.loads((Path(folder) / "design.json").read_text())["modules"]
    return found
