"""Every example runs, shows what it says one learns, and is listed; the notebook is one and agrees with its script."""

import ast
import json
import os
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_LINES = 60


def run(name):
    """Run a script as ``python examples/NAME.py`` does."""
    return runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")


def load(name):
    """Return what a script defines."""
    return runpy.run_path(str(FOLDER / f"{name}.py"))


def test_reference_trace(capsys):
    run("reference_trace")
    rows = capsys.readouterr().out.splitlines()[1:-1]
    assert len(rows) == 6
    for row in rows:  # whatever the operation: one page, read and written back
        (read, write) = re.fullmatch(r".*  read page (\d+), write page (\d+)", row).groups()
        assert read == write


def test_relay_and_client(capsys):
    run("relay_and_client")
    told = capsys.readouterr().out
    assert "b'Heathrow'" in told
    assert "b'value 07'" in told
    assert "live keys: 21" in told
    assert "bob reads: b'Heathrow'" in told
    assert "bob may not write: the credential of this client does not allow PUT" in told
    assert "a stranger: the device does not hold the root key that this client's key was derived from" in told


def test_planted_leak():
    example = load("planted_leak")
    assert example["sound"]().passed
    careless = example["careless"]()
    assert not careless.passed
    assert any("depends on when its key does" in finding.means for finding in careless.failures)


def test_block_waveform(tmp_path):
    example = load("block_waveform")
    left = example["simulate"](tmp_path)
    assert [item for _, item in left] == [0, 1, 2, 3]
    waited = [cycle - start for (cycle, _), start in zip(left, example["STARTS"], strict=True)]
    assert waited[:3] == [example["OFFSET"]] * 3  # in time, whenever they came
    assert waited[3] > example["OFFSET"]
    wave, shown = (tmp_path / "pacer.vcd").read_text(), (tmp_path / "pacer.gtkw").read_text()
    signals = re.findall(r"^bench\.top\.([\w$]+)", shown, re.MULTILINE)
    assert len(signals) == 6
    described = (ROOT / "docs" / "hardware" / "waveforms.md").read_text("utf-8")
    for name in signals:
        assert f" {name} $end" in wave
        assert f"`{name}`" in described


def test_plan_for_a_card(capsys):
    run("plan_for_a_card")
    told = capsys.readouterr().out
    assert "100,000,000 keys: " in told
    assert "1,000,000,000 keys: refused. one_choice: HBM of a U55C has 32 channels" in told


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_from_its_first_cell_to_its_last(path, capsys):
    notebook = json.loads(path.read_text("utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["language"] == "python"
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    names = {"__name__": "notebook"}
    for cell in notebook["cells"]:
        assert cell["cell_type"] in ("markdown", "code")
        assert all(isinstance(line, str) for line in cell["source"])
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None), "clear the outputs before you commit"
            exec(compile("".join(cell["source"]), f"{path.name}, {cell['id']}", "exec"), names)
    assert "FAIL: the trace shows more" in capsys.readouterr().out


def test_the_notebook_plants_the_leak_of_its_script():
    cells = json.loads((FOLDER / "planted_leak.ipynb").read_text("utf-8"))["cells"]
    notebook = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    found = [
        ast.unparse(node)
        for text in ((FOLDER / "planted_leak.py").read_text("utf-8"), notebook)
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef)
    ]
    assert len(found) == 2
    assert found[0] == found[1]


def test_every_example_is_listed_tested_short_and_says_what_one_learns():
    listed = set(re.findall(r"\]\(([\w.]+)\)", (FOLDER / "README.md").read_text("utf-8")))
    assert listed == {path.name for path in (*SCRIPTS, *NOTEBOOKS)}
    for path in SCRIPTS:
        assert f"test_{path.stem}" in globals(), path.name
        text = path.read_text("utf-8")
        assert len(text.splitlines()) <= MOST_LINES, path.name
        told = ast.get_docstring(ast.parse(text))
        assert "You learn" in told
        assert f"python examples/{path.name}" in told


def test_the_folder_holds_nothing_else():
    assert set(os.listdir(FOLDER)) - {"__pycache__"} == {path.name for path in (*SCRIPTS, *NOTEBOOKS)} | {"README.md"}
