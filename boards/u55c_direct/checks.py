"""Whether the scripts of a direct build folder make what they should, and stop where they should.

They are run without the tools, see boards.tcl.vivado: once as if all went well, and then once for each thing that must
not end in a bitstream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from boards.check import noise
from boards.folder import disk as folders
from boards.gateware import entropy
from boards.target import Plan
from boards.tcl.interpreter import ScriptError, ScriptStoppedError
from boards.tcl.jtag import HardwareManager
from boards.tcl.vivado import Design, Made, Vivado
from boards.tcl.xdc import Parts
from boards.u55c_direct import cores, files, vendor
from omap.board import BOARDS
from omap.errors import InputError

KEY = "/elsewhere/card.nky"
"""A key of a bitstream outside the folder; no such file is looked for."""

GOOD = Made(
    primitives={files.PCIE_PRIMITIVE: 1, **dict.fromkeys(files.FORBIDDEN, 0)},
    properties={files.PCIE_PRIMITIVE: {"mcap_enable": "FALSE"}},
)

BY_CORE = ("pcie_rx_p", "pcie_rx_n", "pcie_tx_p", "pcie_tx_n")
"""Ports whose pins are those of the transceivers that the PCIe core takes."""

REPORTS = ("report_utilization", "report_timing_summary", "report_drc", "report_power")
WIDTHS_DIFFER = "Synth 8-689"
"""The tools' message for a port that is wider or narrower than what it is connected to."""

BOOT = {
    "cfgbvs": "GND",
    "config_voltage": "1.8",
    "bitstream.config.spi_32bit_addr": "YES",
    "bitstream.config.spi_fall_edge": "YES",
    "bitstream.config.configrate": "85.0",
    "bitstream.config.extmastercclk_en": "DISABLE",
    "bitstream.config.unusedpin": "PULLUP",
    "bitstream.config.overtempshutdown": "ENABLE",
}
"""How the card reads a bitstream, as in public constraints for it; besides, what follows from its flash."""

CLOSED = {
    "bitstream.config.configfallback": "DISABLE",
    "bitstream.config.persist": "NO",
    "bitstream.readback.activereconfig": "NO",
    "bitstream.readback.security": "LEVEL2",
    "bitstream.general.jtag_sysmon": "DISABLE",
    "bitstream.general.disable_jtag": "YES",
}
"""What must hold of every bitstream."""

ENCRYPTED = {
    "bitstream.encryption.encrypt": "YES",
    "bitstream.encryption.encryptkeyselect": "eFUSE",
    "bitstream.encryption.keyfile": KEY,
}


STAGES = ("core", "generated", "synthesised")
"""Properties of a core that are none of its settings."""


@cache
def parts(plan: Plan) -> Parts:
    """Return what constraints may name in the design; to make its ports takes time."""
    return Parts(
        ports=plan.target.ports(plan.params),
        cells=(*files.CELLS, *noise.PARTS.cells),
        nets=noise.PARTS.nets,
        pins=tuple(f"pcie/{port}" for port in vendor.pcie_ports()),
        loops=noise.PARTS.loops,
    )


def tool(
    folder: Path, plan: Plan, *, made: Made = GOOD, present: tuple[str, ...] | None = None, absent: tuple[str, ...] = ()
) -> Vivado:
    """Return the tools for a folder, in which the secret is if nothing else is said, and a key elsewhere."""
    known = cores.cores(BOARDS[plan.target.board], plan.target.channels(plan.params))
    return Vivado(
        folder,
        Design(plan.target.module, parts(plan), dict(known.values()), folders.OUT),
        made=made,
        present=(folders.SECRET, KEY) if present is None else present,
        absent=absent,
    )


def problems(folder: Path, plan: Plan) -> list[str]:
    """Return what is wrong with the scripts and constraints in a folder."""
    run = tool(folder, plan)
    try:
        run.run(files.BUILD, environment={files.KEY_VARIABLE: KEY})
    except ScriptError as error:
        return [str(error)]
    return [
        *_made(run, plan),
        *_cores(run, plan),
        *_ports(run, plan),
        *_closed(run, plan),
        *_stops(folder, plan),
        *_constants(folder, plan),
        *_instances(folder, plan),
        *_load(folder, plan),
        *_flash(folder, plan),
    ]


def _made(run: Vivado, plan: Plan) -> Iterator[str]:
    top, part = plan.target.module, BOARDS[plan.target.board].part
    if run.bitstreams != [f"{folders.OUT}/{top}.bit"]:
        yield f"{files.BUILD} makes {run.bitstreams}, not {folders.OUT}/{top}.bit"
    flash = BOARDS[plan.target.board].flash
    image = (f"{folders.OUT}/{top}.bit", flash.interface, flash.mebibytes, flash.start)
    if run.images != {f"{folders.OUT}/{top}.mcs": image}:
        yield f"{files.BUILD} makes {run.images} for the flash, not {folders.OUT}/{top}.mcs of {image}"
    if sorted(run.sources) != sorted([f"{top}.v", entropy.FILE, folders.SECRET]):
        yield f"{files.BUILD} reads {', '.join(run.sources)}"
    wanted = [files.PINS, files.CONFIG, entropy.CONSTRAINTS, files.IMPLEMENTATION]
    if run.constraints != wanted:
        yield f"{files.BUILD} reads the constraints {', '.join(run.constraints)}, not {', '.join(wanted)}"
    found = {project.properties["part"] for project in run.all("project")}
    found |= {call.options["-part"] for name, _, call in run.calls if name == "synth_design"}
    if found != {part}:
        yield f"{files.BUILD} is for {', '.join(sorted(found))}, not for {part}"
    yield from noise.constraint_problems(run, entropy.CONSTRAINTS)
    for way, port in (("-from", "pcie_rst_n"), ("-to", "hbm_cattrip")):
        if (way, f"port:{port}") not in run.free:
            yield f"{files.PINS} has paths of {port} timed, which keeps to no clock"
    for name in ("set_clock_groups", "set_operating_conditions", "phys_opt_design", *REPORTS):
        if not any(name == called for called, _, _ in run.calls):
            yield f"{files.BUILD} and its constraints have no {name}"
    if WIDTHS_DIFFER not in run.errors:
        yield f"{files.BUILD} goes on if a core has ports of other widths than expected"
    if [(area.properties.get("place"), area.properties.get("cells")) for area in run.all("pblock")] != [
        ("SLR0", " ".join(files.CELLS))
    ]:
        yield f"{files.IMPLEMENTATION} does not put {' and '.join(files.CELLS)} into SLR0"


def _cores(run: Vivado, plan: Plan) -> Iterator[str]:
    wanted = cores.cores(BOARDS[plan.target.board], plan.target.channels(plan.params))
    for name in {core.name for core in run.all("core")} ^ wanted.keys():
        yield f"{files.BUILD}: core {name} is missing, or should not be there"
    for core in run.all("core"):
        kind = core.properties["core"].split()[0]
        found = {setting: value for setting, value in core.properties.items() if setting not in STAGES}
        right = wanted.get(core.name, (("", ""), {}))[1]
        for setting in sorted(found.keys() | right.keys()):
            if found.get(setting) != right.get(setting):
                yield (
                    f"{files.BUILD}: {setting} of core {core.name} is {found.get(setting)}, not {right.get(setting)}"
                    + (": a way in is open" if setting in cores.CLOSED.get(kind, {}) else "")
                )


def _ports(run: Vivado, plan: Plan) -> Iterator[str]:
    board = BOARDS[plan.target.board]
    for thing in run.all("port"):
        by_core = thing.name.partition("[")[0] in BY_CORE
        if by_core == ("package_pin" in thing.properties):
            yield f"port {thing.name} has {'a pin, which is for the PCIe core to say' if by_core else 'no pin'}"
    for name, port in files.PORTS.items():
        where = getattr(board.pins, name)
        pair = {f"{port}_p": where[0], f"{port}_n": where[1]} if isinstance(where, tuple) else {port: where}
        for one, pin in pair.items():
            found = run.things[f"port:{one}"].properties.get("package_pin") if f"port:{one}" in run.things else None
            if found not in (None, pin):
                yield f"port {one} is on pin {found}, on the card it is {pin}"
    clocks = {clock.properties.get("source"): clock.properties.get("period") for clock in run.all("clock")}
    for pin, hertz in (("pcie_refclk_p", board.pcie_refclk_hz), ("hbm_refclk_p", board.hbm_refclk_hz)):
        if float(clocks.get(pin) or 0) != 1e9 / hertz:
            yield f"{files.PINS}: the clock of {pin} has a period of {clocks.get(pin)} ns, not {1e9 / hertz:.3f}"


def _closed(run: Vivado, plan: Plan) -> Iterator[str]:
    (design,) = run.all("design") or [run.add("design", "none")]
    flash = BOARDS[plan.target.board].flash
    lanes = {"config_mode": flash.interface, "bitstream.config.spi_buswidth": str(flash.lanes)}
    wanted = BOOT | lanes | CLOSED | (ENCRYPTED if plan.encrypted else {})
    for name in sorted(wanted.keys() | design.properties.keys()):
        if design.properties.get(name) != wanted.get(name):
            yield f"{name.upper()} is {design.properties.get(name)}, not {wanted.get(name)}"


def must_stop(plan: Plan) -> dict[str, tuple[Made, tuple[str, ...], Mapping[str, str]]]:
    """Return what must not end in a bitstream: what the tools made, files that are there, and the environment."""

    def made(**changed: object) -> Made:
        return Made(**{"primitives": GOOD.primitives, "properties": GOOD.properties, **changed})  # type: ignore[arg-type]

    there, key = (folders.SECRET, KEY), {files.KEY_VARIABLE: KEY}
    block = files.PCIE_PRIMITIVE
    cases: dict[str, tuple[Made, tuple[str, ...], Mapping[str, str]]] = {
        "set-up fails": (made(slack={"max": -0.001, "min": 0.01}), there, key),
        "hold fails": (made(slack={"max": 0.01, "min": -0.001}), there, key),
        "nothing is timed": (made(slack={"max": None, "min": None}), there, key),
        "a debug core": (made(debug_cores=1), there, key),
        "configuration over PCIe": (made(properties={block: {"mcap_enable": "TRUE"}}), there, key),
        "no word of configuration over PCIe": (made(properties={}), there, key),
        "no PCIe block": (made(primitives={}), there, key),
        "a second PCIe block": (made(primitives={block: 2}), there, key),
        "no root key": (GOOD, (KEY,), key),
    }
    for primitive in ("BSCANE2", "ICAPE3", "DNA_PORTE2", "MASTER_JTAG", "EFUSE_USR", "FRAME_ECCE4", "STARTUPE3"):
        cases[f"a {primitive}"] = (made(primitives={**GOOD.primitives, primitive: 1}), there, key)
    if plan.encrypted:
        inside = "card.nky"
        cases |= {
            "no key for the bitstream": (GOOD, there, {}),
            "a key that is not there": (GOOD, (folders.SECRET,), key),
            "a key inside the folder": (GOOD, (*there, inside), {files.KEY_VARIABLE: "@/" + inside}),
        }
    return cases


def _stops(folder: Path, plan: Plan) -> Iterator[str]:
    for what, (made, there, environment) in must_stop(plan).items():
        absent = () if folders.SECRET in there else (folders.SECRET,)
        run = tool(folder, plan, made=made, present=there, absent=absent)
        places = {name: value.replace("@", str(run.folder)) for name, value in environment.items()}
        try:
            run.run(files.BUILD, environment=places)
        except ScriptStoppedError as error:
            if absent and "--key-file" not in str(error):
                yield f"{files.BUILD} does not say how a root key is made: {error}"
            if run.bitstreams:
                yield f"{files.BUILD} stops for {what}, but after the bitstream was written"
        except ScriptError as error:
            yield f"{files.BUILD}, with {what}: {error}"
        else:
            yield f"{files.BUILD} makes a bitstream in spite of {what}"


def _constants(folder: Path, plan: Plan) -> Iterator[str]:
    text = _text(folder, files.BUILD)
    for name, value in (("plain", not plan.encrypted), ("attested", plan.attested)):
        if re.findall(rf"^set {name} (.*)$", text, re.MULTILINE) != [str(int(value))]:
            yield f"{files.BUILD} does not set {name} to {int(value)}, as the manifest has it"


def _instances(folder: Path, plan: Plan) -> Iterator[str]:
    top = plan.target.module
    match = re.search(rf"^module {top}\b.*?^endmodule", _text(folder, f"{top}.v"), re.MULTILINE | re.DOTALL)
    body = match[0] if match else ""
    for instance in (*files.CELLS, files.CLOCK_PIN.partition("/")[0]):
        if not re.search(rf"^ *\\?\S+ +{instance} \(", body, re.MULTILINE):
            yield f"{top}.v has no instance {instance}, which the constraints name"


def _load(folder: Path, plan: Plan) -> Iterator[str]:
    bitstream = f"{folders.OUT}/{plan.target.module}.bit"
    run = HardwareManager(folder, present=(bitstream,))
    yield from _runs(run, files.LOAD)
    if run.loaded != [bitstream] or run.written:
        yield f"{files.LOAD} loads {run.loaded}, not {bitstream}"
    yield from _refuses(
        files.LOAD,
        {
            "without a bitstream": HardwareManager(folder, absent=(bitstream,)),
            "with two cards": HardwareManager(folder, cards=2, present=(bitstream,)),
        },
    )


def _flash(folder: Path, plan: Plan) -> Iterator[str]:
    image, flash = f"{folders.OUT}/{plan.target.module}.mcs", BOARDS[plan.target.board].flash.part
    run = HardwareManager(folder, flashes=(flash,), present=(image,))
    yield from _runs(run, files.FLASH)
    if run.written != [(flash, image)] or run.loaded:
        yield f"{files.FLASH} writes {run.written}, not {image} into {flash}"
    if not run.booted:
        yield f"{files.FLASH} does not have the card boot what it has written"
    yield from _refuses(
        files.FLASH,
        {
            "without an image": HardwareManager(folder, flashes=(flash,), absent=(image,)),
            "with two cards": HardwareManager(folder, cards=2, flashes=(flash,), present=(image,)),
            "with tools that do not know the flash": HardwareManager(folder, present=(image,)),
        },
    )


def _runs(run: HardwareManager, script: str) -> Iterator[str]:
    try:
        run.run(script)
    except ScriptError as error:
        yield str(error)


def _refuses(script: str, tools: Mapping[str, HardwareManager]) -> Iterator[str]:
    for what, run in tools.items():
        try:
            run.run(script)
        except ScriptStoppedError:
            continue
        except ScriptError as error:
            yield f"{script}, {what}: {error}"
        else:
            yield f"{script} goes on {what}"


def _text(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text("utf-8")
    except OSError as error:
        raise InputError(f"{name} can't be read: {error.strerror}") from None
