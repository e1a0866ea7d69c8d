"""Decides on the netlist that no path leads from the register BAR of the direct target to HBM, or back.

What is looked at is the Verilog that a build holds. A *path* runs from bit to bit: along wires, through operators from
each input to each output that it may change, through registers from data, enable and reset to the output, and through
the ports of modules. Clocks are no paths. It is followed

* forward from all that the PCIe block says on the BAR's channels: addresses, data, strobes, handshakes;
* backward from all that is answered there;
* backward from all that the PCIe block hears for host memory, which must come from the engine's host port alone;
* forward from all that HBM answers to reads, which must end in the map.

Inside the modules of :data:`FOLLOWED` every path is followed. Where it ends must be in :data:`TAKES` (forward) or
:data:`GIVES` (backward): the whole list of what the engine learns from the registers and shows in them. Anything else
is a finding, HBM above all. All paths to a port of HBM, followed backward, must come from the map's port for
that channel, or from the clearing (:func:`drives`).

What this does not see: what the engine does with what is listed (its timing rule and its tests are for that), what is
inside the vendor's blocks, their debug and configuration ports, power and clocks, and whatever the tools add or change
after this netlist.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boards.u55c_direct import vendor
from boards.u55c_direct.top import MODULE
from omap.errors import InputError
from rtl.synth.netlist import yosys

FOLLOWED = ("", "card", "card.hbm_sync", "card.bar", "card.gate", "card.clear", r"card.clear.channel_\d+", "card.core")
FOLLOWED += ("card.core.engine", "card.core.engine.csr")
"""Modules that paths are followed through, by their place below the top; a pattern each."""

_ENGINE = "card.core.engine"
_BAR = r"pcie\.m_axib_\w+"
_CLEARING = (r"hbm\.AXI_\d\d_(AWREADY|WREADY|BRESP|BVALID)", r"hbm\.apb_complete_\d")


def _parts(**ports: str) -> tuple[str, ...]:
    """Return patterns of ports of the engine's parts."""
    return tuple(rf"{_ENGINE}\.{part}\.{name}" for part, names in ports.items() for name in names.split())


TAKES = {
    "the answer to the BAR": (_BAR,),
    "where the shared buffer is, and how long its rings are": _parts(core="base", ring="base ring_entries"),
    "whether it runs": _parts(ring="run serve", sessions="open_"),
    "requests": _parts(
        core="format", sessions="clear", ring="o_request__ready i_request_done__valid i_mirror__valid i_mirror__payload"
    ),
    "erasure": _parts(core="erase", sessions="erase", port="abort"),
    "whose turn it is to take entropy": (
        *_parts(core="i_entropy__valid", sessions="i_nonce__valid"),
        r"card\.core\.entropy\.o__ready",
    ),
}
"""Where a path from the BAR may end: what the engine takes from the registers, also through its control state."""

GIVES = {
    "what the BAR is asked": (_BAR,),
    "reset": (r"pcie\.axi_aresetn",),
    "how the clearing of HBM goes": _CLEARING,
    "faults": _parts(core="page_fault exhausted bus_fault", port="error", sessions="fault_tag fault_sequence")
    + (r"card\.core\.entropy\.failed",),
    "progress of requests": _parts(
        core="formatted idle",
        sessions="idle",
        ring="i_mirror__ready o_request__valid o_request__payload i_request_done__ready",
    ),
}
"""Where a path to the BAR may come from: single bits, but for the code of a request that came through the ring."""


def drives(channel: int) -> tuple[str, ...]:
    """Return where a path to the HBM port of a channel may come from: the map, the clearing, the reset."""
    return (rf"{_ENGINE}\.core\.m_axi_hbm__{channel}__\w+", r"pcie\.axi_aresetn", *_CLEARING)


TELLS = (rf"{_ENGINE}\.port\.\w+",)
"""Where a path to host memory may come from: the host port, by whatever names the generator gives to its outputs."""

HEARS = (rf"{_ENGINE}\.core\.\w+",)
"""Where a path from what HBM has read may end: the map, which may name its inputs after its insides."""

BITWISE = {"$and", "$or", "$xor", "$xnor", "$not", "$pos", "$mux", "$_NOT_"}
"""Operators in which a bit of the result depends on the same bit of each operand of the same width."""

HBM_PORT = re.compile(r"AXI_(\d\d)_(?!ACLK|ARESET_N)")
HBM_READ = re.compile(r"AXI_\d\d_R(DATA|ID|LAST|RESP|VALID)")
REGISTER = re.compile(r"\$(a|al|s)?dff(e|sr|sre|ce)?$")

Bit = tuple[str, int]
"""A wire: the place of its module, and its number there."""


@dataclass(frozen=True)
class Pin:
    """One bit of a port of a block that paths are not followed into."""

    place: str
    kind: str
    port: str
    index: int

    def __str__(self) -> str:
        return f"{self.place}.{re.sub(r'[$][0-9]+$', '', self.port)}"  # the generator numbers names that meet


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes
    ----------
    findings : list of str
        What should not be; empty if all is well.
    takes, gives : list of str
        Where paths from the register BAR end, and where those to it come from.
    """

    findings: list[str]
    takes: list[str]
    gives: list[str]


class Netlist:
    """The followed modules as a graph of bits."""

    def __init__(self, modules: dict[str, Any]) -> None:
        self._modules = modules
        self.forward: dict[Bit | Pin, list[Bit | Pin]] = defaultdict(list)
        self.backward: dict[Bit | Pin, list[Bit | Pin]] = defaultdict(list)
        self.pins: dict[str, list[Pin]] = defaultdict(list)
        self._seen: set[str] = set()
        self._add(MODULE, "")

    def _edge(self, source: Bit | Pin, target: Bit | Pin) -> None:
        self.forward[source].append(target)
        self.backward[target].append(source)

    def _add(self, name: str, place: str) -> None:
        module = self._modules[name]
        if name in self._seen:
            raise InputError(f"module {name} is there twice; a path through it could not be told from another")
        self._seen.add(name)
        for instance, cell in module["cells"].items():
            kind, ways, wires = cell["type"], cell["port_directions"], cell["connections"]
            inner = f"{place}.{instance}".lstrip(".")
            if kind.startswith("$"):
                self._operator(place, kind, ways, wires)
            elif kind in self._modules and _followed(inner) and not _empty(self._modules[kind]):
                self._add(kind, inner)
                for port, bits in wires.items():
                    own = self._modules[kind]["ports"][port]["bits"]
                    for outside, inside in zip(bits, own, strict=True):
                        if isinstance(outside, int) and isinstance(inside, int):
                            ends: tuple[Bit, Bit] = ((place, outside), (inner, inside))
                            self._edge(*(ends if ways[port] == "input" else ends[::-1]))
            else:
                for port, bits in wires.items():
                    for index, bit in enumerate(bits):
                        pin = Pin(inner, kind, port, index)
                        self.pins[inner].append(pin)
                        if isinstance(bit, int):
                            ends2 = ((place, bit), pin)
                            self._edge(*(ends2 if ways[port] == "input" else ends2[::-1]))

    def _operator(self, place: str, kind: str, ways: dict[str, str], wires: dict[str, list[Any]]) -> None:
        outputs = [port for port, way in ways.items() if way == "output"]
        for port, way in ways.items():
            if way != "input" or port == "CLK":
                continue
            for out in outputs:
                same = len(wires[port]) == len(wires[out])
                by_bit = same and ((kind in BITWISE and port in "AB") or (REGISTER.match(kind) and port == "D"))
                pairs: Iterable[tuple[Any, Any]] = (
                    zip(wires[port], wires[out], strict=True)
                    if by_bit
                    else ((source, target) for source in set(wires[port]) for target in wires[out])
                )
                for source, target in pairs:
                    if isinstance(source, int) and isinstance(target, int):
                        self._edge((place, source), (place, target))

    def reach(self, starts: Iterable[Pin], *, back: bool = False) -> Iterator[Pin]:
        """Yield the pins at which paths from ``starts`` end."""
        edges = self.backward if back else self.forward
        stack: list[Bit | Pin] = list(starts)
        seen: set[Bit | Pin] = set(stack)
        while stack:
            for target in edges.get(stack.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    if isinstance(target, Pin):
                        yield target
                    else:
                        stack.append(target)


def check(verilog: str) -> Report:
    """Check the Verilog of the direct target's top.

    Parameters
    ----------
    verilog : str
        The generated text, without the vendor's blocks.

    Raises
    ------
    InputError
        If it is not what it should be: another top, or modules in other places.
    """
    netlist = Netlist(_modules(verilog))
    bar, ways = {f"m_axib_{name}" for name in vendor.BAR_AXI.members}, vendor.pcie_ports()
    says = [pin for pin in netlist.pins["pcie"] if pin.port in bar and ways[pin.port][0] == "output"]
    answered = [pin for pin in netlist.pins["pcie"] if pin.port in bar and ways[pin.port][0] == "input"]
    host = [pin for pin in netlist.pins["pcie"] if pin.port.startswith("s_axib_") and ways[pin.port][0] == "input"]
    hbm: dict[int, list[Pin]] = defaultdict(list)
    for pin in netlist.pins["hbm"]:
        if channel := HBM_PORT.match(pin.port):
            hbm[int(channel[1])].append(pin)
    if not says or not answered or not host or not hbm:
        raise InputError(f"{MODULE} has no BAR or no HBM: this is no top of the direct target")
    findings: list[str] = []
    takes = _ends(netlist.reach(says), _all(TAKES), "the register BAR reaches {}", findings)
    gives = _ends(netlist.reach(answered, back=True), _all(GIVES), "the register BAR shows {}", findings)
    if not _ends(netlist.reach(host, back=True), TELLS, "host memory is told {}", findings):
        findings.append("nothing reaches host memory: the check has lost its way")
    for channel_number, pins in sorted(hbm.items()):
        read = [pin for pin in pins if HBM_READ.fullmatch(pin.port)]
        what = f"what HBM port {channel_number} has read reaches {{}}"
        if not _ends(netlist.reach(read), HEARS, what, findings):
            findings.append(f"nothing takes what HBM port {channel_number} has read: the check has lost its way")
        what = f"HBM port {channel_number} depends on {{}}"
        if not _ends(netlist.reach(pins, back=True), drives(channel_number), what, findings):
            findings.append(f"nothing drives HBM port {channel_number}: the check has lost its way")
    return Report(findings, takes, gives)


def _all(lists: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(pattern for patterns in lists.values() for pattern in patterns)


def _ends(pins: Iterable[Pin], allowed: tuple[str, ...], what: str, findings: list[str]) -> list[str]:
    """Compare the ends of paths with those allowed; add the others to the findings and return them all."""
    found = sorted({str(pin) for pin in pins})
    findings += [what.format(pin) for pin in found if not any(re.fullmatch(pattern, pin) for pattern in allowed)]
    return found


def _followed(place: str) -> bool:
    return any(re.fullmatch(pattern, place) for pattern in FOLLOWED)


def _empty(module: dict[str, Any]) -> bool:
    return module.get("attributes", {}).get("blackbox") is not None


def _modules(verilog: str) -> dict[str, Any]:
    """Return the netlist of the followed modules; the others are kept as ports alone."""
    parts = re.split(r"(?m)^(?=module )", verilog)
    kept = []
    for part in parts[1:]:
        name = re.match(r"module \\?(\S+?)\s*\(", part)
        if name is None:
            raise InputError(f"not a module as the generator writes them: {part[:80]!r}")
        place = name[1].removeprefix(MODULE).lstrip(".")
        if name[1].startswith(MODULE) and _followed(place):
            kept.append(part)
        else:
            head = part[: part.index(";") + 1]
            ports = re.findall(r"(?m)^  (?:input|output) .*;$", part)
            kept.append("(* blackbox *)\n" + "\n".join([head, *ports, "endmodule\n"]))
    if not any(part.startswith(f"module {MODULE}(") for part in kept):
        raise InputError(f"the Verilog has no module {MODULE}")
    channels = len(set(re.findall(r"\.AXI_(\d\d)_ACLK\(", verilog)))
    stubs = [f"(* blackbox *)\n{vendor.stub(name, ports)}" for name, ports in vendor.blocks(channels).items()]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "design.v").write_text("\n".join([*kept, *stubs]))
        script = f"read_verilog design.v; hierarchy -top {MODULE}; proc; write_json design.json"
        yosys(["-q", "-p", script], Path(folder))
        found: dict[str, Any] = json.loads((Path(folder) / "design.json").read_text())["modules"]
    return found
