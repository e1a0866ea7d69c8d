"""Public designs whose periods were published: what the estimate says of them shows what it is worth.

None of their code is kept here. Whoever wants their rows again checks their repositories out.
"""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from omap.errors import InputError
from rtl.synth.netlist import FLOW, TOP, yosys
from rtl.timing import delays
from rtl.timing.netlist import UNTIMED, Netlist, read


@dataclass(frozen=True)
class Anchor:
    """A public design.

    Attributes
    ----------
    repository, commit : str
        Where it is from: a folder of the repository's own name is looked for.
    files : tuple of str
        Verilog in the repository.
    published : float
        Its period there, in ps, at speed grade -2; periods of grade -1 were divided by ``delays.GRADE``.
    about : str
        Who found this period, and how.
    routed : bool
        Whether the files hold a netlist that the vendor's tools placed and routed, rather than a source.
    """

    repository: str
    commit: str
    files: tuple[str, ...]
    published: float
    about: str
    routed: bool = False


_RUN = "runs/2022-07-06-1704-full/vivado-eval/xilinx-ultrascale-plus-vivado-eval/vivado-synth-opt-place-route"


def _routed(name: str, slack: float, note: str) -> Anchor:
    return Anchor(
        "gussmith23/lakeroad-evaluation",
        "4efb342",
        (f"{_RUN}/{name}.futil-vanilla-route.v",),
        (5.0 - slack) * 1000 / delays.GRADE,
        f"routed for 5 ns on a ZU3EG-1, slack {slack:g} ns; {note}",
        routed=True,
    )


ANCHORS = {
    "picorv32": Anchor(
        "YosysHQ/picorv32",
        "87c89ac",
        ("picorv32.v", "scripts/vivado/tabtest.v"),
        1500.0,
        "shortest period that a search over clocks found on a VU3P-2, README",
    ),
    "lpm": _routed("lpm", 1.432, "took no part in the constants"),
    "no-matches": _routed("no-matches", 2.335, "took no part in the constants"),
    "std-sdiv": _routed("std-sdiv", 2.367, "one of those that the constants are from"),
    "std-fp-sdiv": _routed("std-fp-sdiv", 1.406, "one of those that the constants are from"),
    "sqrt": _routed("sqrt", 3.148, "one of those that the constants are from"),
}


def load(anchor: Anchor, folder: Path) -> Netlist:
    """Return the netlist of an anchor from a folder with checked-out repositories; a routed one without its ports.

    Raises
    ------
    InputError
        If a file is not there.
    """
    source = folder / anchor.repository.partition("/")[2]
    try:
        texts = [(source / name).read_text("utf-8") for name in anchor.files]
    except OSError as error:
        raise InputError(
            f"no file {error.filename}: check github.com/{anchor.repository} out at {anchor.commit} as {source}"
        ) from None
    with tempfile.TemporaryDirectory() as made:
        for number, text in enumerate(texts):
            (Path(made) / f"{number}.v").write_text(_plain_ports(text) if anchor.routed else text)
        names = " ".join(f"{number}.v" for number in range(len(texts)))
        script = (f"read_verilog {names}", *(_ROUTED if anchor.routed else FLOW), f"select {TOP}")
        yosys(["-q", "-p", "; ".join((*script, "write_json -selected design.json"))], Path(made))
        module = json.loads((Path(made) / "design.json").read_text())["modules"][TOP]
    if anchor.routed:  # its clock was not asked to hold for ports
        module["ports"] = {name: port for name, port in module["ports"].items() if name in UNTIMED}
    return read(module)


_ROUTED = (
    "read_verilog -lib +/xilinx/cells_sim.v +/xilinx/cells_xtra.v",
    "hierarchy -top main",
    "proc; flatten; opt_clean",
    f"rename -top {TOP}",
)


def _plain_ports(text: str) -> str:
    """Return a routed netlist with ports that Yosys reads: their second names become their only ones."""
    text = re.sub(r"_sp_(\d+)\b", r"_sn_\1", text.partition("`ifndef GLBL")[0])
    return re.sub(
        r"^module .*?\);", lambda head: re.sub(r"\.\S+\s*\(([^()]*)\)", r"\1", head[0]), text, flags=re.M | re.S
    )
