"""Parts of documents that follow from the code: compared here, rewritten with ``pytest tests/repo --regenerate``."""

import dataclasses
import importlib
import math
import re
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path

import pytest

import omap
from boards.folder import registers
from omap import sizing
from omap.kdf import DERIVATIONS
from omap.sizing.backlog import Lists
from omap.sizing.plan import Plan
from rtl.config import EngineConfig
from tests.support import blocks

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("omap", "rtl", "sim", "host", "boards")


def countermeasures():
    lines = ["| label | promise | where |", "|---|---|---|"]
    for package in PACKAGES:
        if not (ROOT / package / "countermeasures.py").exists():
            continue
        sources = {path: path.read_text("utf-8") for path in sorted((ROOT / package).rglob("*.py"))}
        for label, promise in importlib.import_module(f"{package}.countermeasures").COUNTERMEASURES.items():
            mark = re.compile(rf"# SEC_CM: {re.escape(label)}(?![A-Z0-9_.])")
            where = [f"`{path.relative_to(ROOT)}`" for path, text in sources.items() if mark.search(text)]
            lines.append(f"| `{label}` | {promise} | {', '.join(where)} |")
    return "\n".join(lines)


def proofs(labels):
    """Return the table of tests that are marked with each label."""
    lines = ["| countermeasure | tests |", "|---|---|"]
    sources = {path: path.read_text("utf-8") for path in sorted((ROOT / "tests").rglob("*.py"))}
    for label in labels:
        mark = re.compile(rf"mark\.sec_cm\(\s*[\"']{re.escape(label)}[\"']\s*\)")
        where = [f"`{path.relative_to(ROOT)}`" for path, text in sources.items() if mark.search(text)]
        lines.append(f"| `{label}` | {', '.join(where)} |")
    return "\n".join(lines)


def sizes():
    lines = [
        "| preset: key, value | keys | page | an operation | HBM a key | host memory a key "
        "| published rule: page, an operation, HBM a key |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for name in ("PAPER", "STANDARD", "WIDE", "U55C"):
        params = omap.preset(name)
        shape = {"capacity": params.capacity, "key_bytes": params.key_bytes, "value_bytes": params.value_bytes}
        ours, published = (
            (f"{plan.params.page_bytes:,}", f"{2 * plan.page_bytes_each_way:,.0f}", f"{plan.hbm_bytes_per_key:.1f}")
            for plan in (Plan(params, ""), Plan(sizing.two_choice(**shape), ""))
        )
        host = params.pages * params.page_bytes / params.capacity
        lines.append(
            f"| `{name}`: {params.key_bytes}, {params.value_bytes} | {params.capacity:,} | {' | '.join(ours)} "
            f"| {host:.1f} | {', '.join(published)} |"
        )
    return "\n".join(lines)


def derivations():
    """Return the table of all uses of the KDF."""
    lines = ["| label | key | context: bytes | derived: bytes |", "|---|---|---|---|"]
    for use in DERIVATIONS:
        context, output = (
            ", ".join(f"{name}: {size}" for name, size in parts.items()) or "nothing"
            for parts in (use.context, use.output)
        )
        lines.append(f'| `"{use.label.decode()}"` | {use.key} | {context} | {output} |')
    return "\n".join(lines)


GENERATED = [
    ("SECURITY.md", "countermeasures", countermeasures),
    ("docs/security/keys.md", "derivations", derivations),
    ("README.md", "sizes", sizes),
    ("docs/hardware/registers.md", "registers", registers.table),
    *(("docs/hardware/blocks.md", f"blocks of {wing}", partial(blocks.table, wing)) for wing in blocks.WINGS),
]


@pytest.mark.parametrize(
    ("document", "section", "make"), GENERATED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_generated_part(request, document, section, make):
    path = ROOT / document
    text = path.read_text("utf-8")
    found = re.search(rf"(<!-- {section}\b[^>]*-->\n)(.*?)(<!-- end -->)", text, re.DOTALL)
    assert found, f"{document} has no part called {section}"
    wanted = make() + "\n"
    if request.config.getoption("--regenerate"):
        path.write_text(text[: found.start(2)] + wanted + text[found.end(2) :], encoding="utf-8")
        return
    assert found[2] == wanted, f"{document} is out of date: run pytest tests/repo --regenerate"


ATTACKS = ROOT / "docs" / "security" / "attacks.md"
ATTACK = re.compile(r"(<!-- tests of ([A-Z0-9_. \n]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def test_what_proves_the_answer_to_each_attack(request):
    text = ATTACKS.read_text("utf-8")
    wanted = ATTACK.sub(lambda found: f"{found[1]}{proofs(found[2].split())}\n{found[4]}", text)
    if request.config.getoption("--regenerate"):
        ATTACKS.write_text(wanted, encoding="utf-8")
        return
    assert text == wanted, "docs/security/attacks.md is out of date: run pytest tests/repo --regenerate"


@pytest.mark.parametrize("document", ["SECURITY.md", "docs/security/keys.md"])
def test_how_far_page_keys_wear_is_what_the_plan_says(document):
    plan = Plan(omap.preset("PAPER"), "")
    text = " ".join((ROOT / document).read_text("utf-8").split())
    assert f"{plan.operations_per_second / 1e6:.1f} million operations a second" in text
    assert f"2^-{math.floor(plan.wear_bits)}" in text


@pytest.mark.parametrize("bits", [20, 40, 64, 122])
def test_the_decision_on_offsets_has_those_of_the_presets(bits):
    text = (ROOT / "docs/decisions/0012-turnaround.md").read_text("utf-8")
    sums = []
    for name in ("PAPER", "STANDARD", "WIDE"):
        config = EngineConfig(params=omap.preset(name), late_bits=bits)
        sums.append(config.lookup_cycles + config.turnaround_cycles + config.reply_cycles)
    assert f"| {bits} | {' | '.join(f'{found:,}' for found in sums)} |" in text


def test_the_decision_on_offsets_says_what_lines_of_64_bytes_would_cost():
    text = " ".join((ROOT / "docs/decisions/0012-turnaround.md").read_text("utf-8").split())
    paper = omap.preset("PAPER")
    config = EngineConfig(params=dataclasses.replace(paper, descriptor_bytes=64))
    cycles = config.lookup_cycles + config.turnaround_cycles + config.reply_cycles
    assert f"the offsets of PAPER would have {cycles:,} cycles instead of 794" in text
    tail = Lists(paper).touched_law[60:].sum()
    assert f"60 tuples or more with a probability of 2^{math.log2(tail):.1f}" in text


def test_every_countermeasure_stands_against_one_attack():
    named = [label for found in ATTACK.finditer(ATTACKS.read_text("utf-8")) for label in found[2].split()]
    modules = [path for package in PACKAGES for path in (ROOT / package).glob("countermeasures.py")]
    declared = {
        label
        for path in modules
        for label in importlib.import_module(f"{path.parent.name}.countermeasures").COUNTERMEASURES
    }
    assert len(set(named)) == len(named)
    assert set(named) == declared


def test_pictures_stand_alone():
    """Made by ``omap demo --picture``; whoever opens one loads nothing else."""
    pictures = list((ROOT / "docs" / "pictures").glob("*.svg"))
    assert pictures
    for path in pictures:
        text = path.read_text("utf-8")
        assert ET.fromstring(text).tag.endswith("svg")
        assert not re.search(r"href|url\(|@import|<script", text)
