"""The site of ``make docs`` is built without a warning, and holds every page and every section of the docstrings."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = "docs/site"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    run = subprocess.run(
        [*command, "--conf-dir", CONFIGURATION, "--doctree-dir", str(out / "read"), ".", str(out / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return out / "site"


def test_make_docs_builds_it_in_the_same_way():
    (line,) = re.findall(r"^\t.*-m sphinx .*$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert f"--fail-on-warning --keep-going --quiet --conf-dir {CONFIGURATION} . build/docs" in line


def test_every_page_is_there_and_the_first_leads_to_them(site):
    assert 'url=docs/README.html"' in (site / "index.html").read_text("utf-8")
    first = (site / "docs" / "README.html").read_text("utf-8")
    pages = [path.relative_to(ROOT).with_suffix(".html") for path in sorted((ROOT / "docs").rglob("*.[mr][ds]*"))]
    assert len(pages) >= 30
    for page in pages:
        assert (site / page).exists(), page
        assert f'"{page.relative_to("docs")}"' in first or page.name == "README.html", page


@pytest.mark.parametrize(
    ("page", "texts"),
    [
        ("omap", ["Reveals", "Hides", "Parameters", "omap.ObliviousMap.execute", "WrongKeyError"]),
        ("rtl-map", ["Members", "Countermeasures", "EVENT.TIME.PACED", "rtl.map.core.Core"]),
        ("omap-modules", ["omap.position_map.PositionMap"]),
        ("sim-bench", ["sim.bench.amaranth_bench.AmaranthBench"]),
    ],
)
def test_the_reference_shows_docstrings_with_our_sections(site, page, texts):
    shown = (site / "docs" / "reference" / f"{page}.html").read_text("utf-8")
    for text in texts:
        assert text in shown, text


def test_a_block_leads_to_its_twin(site):
    shown = (site / "docs" / "reference" / "rtl-map.html").read_text("utf-8")
    assert 'href="omap-modules.html#omap.position_map.PositionMap"' in shown
