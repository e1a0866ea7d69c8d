# amaranth: UnusedElaboratable=no
"""The guides: what they say to type can be typed, what they point to is there, what they quote is said."""

import ast
import importlib
import re
import shlex
from importlib import metadata
from pathlib import Path

import click
import pytest

from boards.check import checks
from boards.folder import build
from boards.folder import disk as folders
from boards.target import Plan
from boards.targets import TARGETS
from boards.u55c_direct import cores
from boards.u55c_direct.files import BUILD
from boards.u55c_vitis import kernel
from host.device.preflight_vfio import Wanted
from host.device.vfio import WANTED
from omap.board import BOARDS
from omap.regmap import BY_NAME, REGISTER_BYTES
from tests.support.boards.folders import plan
from tests.support.rtl.engines import TIGHT

ROOT = Path(__file__).parents[2]
OVERVIEW = "boards/README.md"
GUIDES = {name: target.guide for name, target in TARGETS.items()}
DOCUMENTS = [OVERVIEW, *GUIDES.values()]

PROGRAMS = {"apt", "export", "lspci", "poweroff", "setpci", "sh", "source", "v++", "xbmgmt", "xbutil", "xclbinutil"}
PROGRAMS |= {"dmesg", "xrt-smi"}
"""Programs that are not ours; what stands behind them is not checked."""

MADE = {
    "data",
    "build/trial",
    "build/u55c_direct",
    "build/u55c_vitis",
    "card.nky",
    "client.key",
    "plan.json",
    "root.key",
}
"""Made by what the guides tell to run, or by their reader."""


def text(document):
    return (ROOT / document).read_text("utf-8")


def blocks(document, language):
    """Return the code blocks of a document, without the indentation of a step."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text(document), re.MULTILINE | re.DOTALL)
    return ["\n".join(line.removeprefix(indent) for line in block.splitlines()) for indent, block in found]


def quoted(document):
    """Return what stands between backticks outside of code blocks."""
    prose = re.sub(r"^ *```.*?^ *```$", "", text(document), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def commands(document):
    lines = [line for block in blocks(document, "sh") for line in block.splitlines()]
    return lines + [code for code in quoted(document) if code.startswith("omap ")]


def check_omap(words):
    """Raise a click error for a command that ``omap`` would not take."""
    (entry_point,) = metadata.entry_points(group="omap.commands", name=words[0])
    command, context = entry_point.load(), None
    name, *rest = words
    while isinstance(command, click.Group) and rest:
        context = click.Context(command, parent=context, info_name=name)
        name, *rest = rest
        command = command.get_command(context, name)
        assert command is not None, f"omap has no command {' '.join(words)}"
    if not isinstance(command, click.Group):
        command.make_context(name, rest, parent=context)


@pytest.mark.parametrize(("document", "line"), [(name, line) for name in DOCUMENTS for line in commands(name)])
def test_commands(document, line):
    words = shlex.split(line.partition(" > ")[0], comments=True)
    words = words[words[0] == "sudo" :]
    program = Path(words[0]).name
    if program != "omap":
        assert program in PROGRAMS, f"nobody checks commands of {program}"
        return
    if len(words) > 3 or any(word.startswith("-") for word in words) or line not in quoted(document):
        try:
            check_omap(words[1:])
        except click.exceptions.MissingParameter:
            assert line in quoted(document), "only prose may leave arguments out"
    else:  # named in passing
        assert metadata.entry_points(group="omap.commands", name=words[1])


@pytest.mark.parametrize(
    "line", ["omap board biuld u55c_direct", "omap board build u99", "omap status --keyfile x", "omap board flash a b"]
)
def test_a_wrong_command_is_noticed(line):
    with pytest.raises((click.UsageError, AssertionError)):
        check_omap(shlex.split(line)[1:])


def in_a_folder(target, monkeypatch):
    """Return the names of files that a build folder has, or gets from the vendor's tools."""

    def nothing(top, name):
        top._MustUse__silence = True
        return ""

    monkeypatch.setattr(build, "to_verilog", nothing)
    files = build.contents(plan(target))
    made = [name for step in TARGETS[target].build_steps(plan(target)) for name in step.makes]
    reports = re.findall(r"file join \$out (\w+\.txt)", files.get(BUILD, b"").decode())
    return {*files, folders.SECRET, folders.SECRET_FOLDER, folders.OUT, *made} | {
        f"{folders.OUT}/{report}" for report in reports
    }


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_and_links_are_there(document, monkeypatch):
    here = (ROOT / document).parent
    links = [link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", text(document)) if "://" not in link]
    for path, _, heading in links:
        goal = here / path if path else ROOT / document
        assert goal.exists(), path
        if heading:
            titles = re.findall(r"^#+ (.*)$", goal.read_text("utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    built = set().union(*(in_a_folder(target, monkeypatch) for target in TARGETS))
    for code in quoted(document):
        if re.fullmatch(r"[\w-]+(/[\w.-]*)+|[\w-]+\.(py|v|tcl|xdc|cfg|sh|md|json|txt|key)", code):
            name = code.rstrip("/")
            known = name in MADE | built or (here / code).exists() or (ROOT / code).exists()
            assert known or (ROOT / "boards" / code).exists(), f"{code} is neither in the tree nor in a build folder"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_names_in_python_stand_for_something(document):
    for code in quoted(document):
        if re.fullmatch(r"(omap|rtl|sim|host|boards)(\.\w+)+", code):
            module, _, name = code.rpartition(".")
            try:
                importlib.import_module(code)
            except ImportError:
                assert hasattr(importlib.import_module(module), name), code
    for block in blocks(document, "python"):
        compile(block, document, "exec")


def said(path):
    """Return the texts in a Python file, with a null character for each value that is put in, or a script's own."""
    if path.suffix != ".py":
        return [path.read_text("utf-8")]
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


def symptoms(document):
    table = text(document).partition("## Troubleshooting")[2]
    rows = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| ")]
    codes = [code for row in rows for code in re.findall(r"`([^`]+)`", row)]
    return [code for code in codes if code.split()[0] not in PROGRAMS]


@pytest.mark.parametrize("target", TARGETS)
def test_messages_that_are_explained_are_said(target):
    python = [path for package in ("host", "boards") for path in (ROOT / package).rglob("*.py")]
    files = [*python, *(ROOT / "boards" / target).glob("*.tcl")]
    texts = [one for path in files for one in said(path)]
    wanted = symptoms(GUIDES[target])
    assert len(wanted) >= 8
    for symptom in wanted:
        assert any(symptom in one for one in texts), f"nobody says {symptom!r}"


NO_CLAIMS = ("insecure", "journal")
"""Fields of MODE that say what runs, and not what a board guarantees."""


@pytest.mark.parametrize("target", TARGETS)
def test_the_fields_of_mode_are_named_and_right(target):
    claims = Plan(TARGETS[target], TIGHT.params).claims
    assert list(claims) == [field.name for field in BY_NAME["MODE"].fields if field.name not in NO_CLAIMS]
    assert all(f"`{name}`" in text(document) for name in claims for document in (OVERVIEW, GUIDES[target]))
    (row,) = [line for line in text(OVERVIEW).splitlines() if line.startswith("| MODE:")]
    head = next(line for line in text(OVERVIEW).splitlines() if line.startswith("| | ["))
    cell = row.split(" | ")[[target in cell for cell in head.split(" | ")].index(True)]
    values = re.sub(r" or 1 \(.*?\)", "", cell).strip(" |")
    assert values == ", ".join(str(int(value)) for value in claims.values())
    assert (" or 1 (`omap board build --attested`)" in cell) == TARGETS[target].hbm_private


def test_registers_are_where_the_guide_reads_them():
    (block,) = blocks(GUIDES["u55c_direct"], "python")
    offsets, names = re.search(r"print\((.*)\)  # (.*)\n", block).groups()
    found = [int(offset, 16) for offset in re.findall(r"words\[(0x\w+) // 4\]", offsets)]
    assert found == [BY_NAME[name].offset for name in names.split(", ")]
    assert f"words[{REGISTER_BYTES:#x} // 4 :]" in block


def test_the_card_looks_on_its_bus_as_the_guide_says():
    guide, settings = text(GUIDES["u55c_direct"]), cores.pcie(BOARDS["u55c"])
    assert isinstance(WANTED, Wanted)
    assert f"ids `{WANTED.ids}`" in guide
    assert f"`Region 0` of {cores.BAR_KIB}K" in guide
    assert f"class `{settings['PF0_CLASS_CODE'][:4]}`" in guide
    assert f"`LnkSta` {WANTED.speed:g}GT/s x{WANTED.width}" in guide
    guide = text(GUIDES["u55c_vitis"])
    assert BOARDS["u55c"].platform in guide
    assert f"`{BOARDS['u55c'].pci_management:04x}` and `{BOARDS['u55c'].pci_user:04x}`" in guide


def test_the_argument_that_shows_hbm_is_the_first_channels():
    (block,) = blocks(GUIDES["u55c_vitis"], "python")
    arguments = kernel.registers(TARGETS["u55c_vitis"].ports(TIGHT.params))[len(kernel.CONTROLS) :]
    number = int(re.search(r"group_id\((\d+)\)", block)[1])
    assert arguments[number].name == "hbm_00"
    assert f"argument {number}: hbm_00" in block


def test_every_check_and_every_target_has_its_place():
    table = text(OVERVIEW).partition("## Checked")[2].partition("## What the tops cost")[0]
    rows = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(check.name for check in checks.CHECKS)
    assert all(f"({target}/README.md)" in text(OVERVIEW) for target in TARGETS)
