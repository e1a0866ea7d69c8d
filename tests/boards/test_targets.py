"""A target needs a folder of its own and an entry in the list: a third one works, and nobody knows a target by name."""

import ast
import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from boards.check import checks
from boards.folder import build
from boards.target import Plan
from boards.targets import TARGETS
from omap.board import BOARDS
from omap.cli import main
from omap.errors import ParamsError
from tests.support.boards.folders import change, key_file, use_hollow
from tests.support.boards.third import SCRIPT, ThirdTarget
from tests.support.rtl.engines import TIGHT

ROOT = Path(__file__).parents[2]
NAMES = tuple(word for target in TARGETS.values() for word in (target.name, target.module))


@pytest.fixture
def third(monkeypatch):
    """Return a target that stands in the list and nowhere else."""
    target = ThirdTarget()
    monkeypatch.setitem(TARGETS, target.name, target)
    use_hollow(monkeypatch)
    return target


def run(*arguments):
    return CliRunner().invoke(main, ["board", *map(str, arguments)])


def test_a_third_target_is_listed_built_and_checked(tmp_path, third):
    assert run("list").output.splitlines()[-1] == f"third         {BOARDS['u55c'].part}, HBM is whatever the third says"
    params, out = tmp_path / "params.json", tmp_path / "out"
    params.write_text(json.dumps(TIGHT.params.to_dict()))
    built = run("build", "third", "--params", params, "--out", out, "--no-run", "--key-file", key_file(tmp_path))
    assert built.exit_code == 0, built.output
    assert f"  thirdc {SCRIPT}\n" in built.output
    readme = (out / "README.md").read_text()
    for words in ("The third warns of nothing.", "such as `0000:01:00.0`", "   thirdload --device BDF\n"):
        assert words in readme
    dry = subprocess.run(
        ["make", "--dry-run", "all", "flash", "BDF=1"], cwd=out, capture_output=True, text=True, check=True
    )
    assert f"thirdc {SCRIPT}\n" in dry.stdout
    assert "thirdload --device 1\n" in dry.stdout
    checked = run("check", out)
    assert checked.exit_code == 0, checked.output
    assert len(checked.output.splitlines()) == len(checks.CHECKS)
    change(out, SCRIPT, "thirdc", "fourthc")
    wrong = run("check", out)
    assert wrong.exit_code == 2
    assert f"{SCRIPT} is not the script of this map" in wrong.output
    flashed = run("flash", out, "--device", "1", "--no-run")
    assert flashed.exit_code == 0, flashed.output
    assert "  thirdload --device 1\n" in flashed.output
    assert "  omap serve --device 1 --data-dir ../data\n" in flashed.output


def test_a_target_that_claims_private_hbm_must_prove_it(tmp_path, third, monkeypatch):
    said = "third says that HBM is private, and has no check that proves it"
    monkeypatch.setattr(ThirdTarget, "hbm_private", True)
    plan = Plan(third, TIGHT.params)
    with pytest.raises(ParamsError, match=said):
        third.path_problems("", plan)
    build.build(plan, tmp_path / "out", None)
    (paths,) = [result for result in checks.check(tmp_path / "out", TARGETS) if result.check.name == "paths"]
    assert paths.problems == (said,)


def test_a_target_that_nobody_has_is_refused():
    refused = run("build", "fourth")
    assert refused.exit_code == 2
    assert f"no target is called 'fourth'; there are {', '.join(TARGETS)}" in refused.output


def named(source):
    """Return the names of targets in a source, and modules that it imports by a name that is made as it runs."""
    found = [name for name in NAMES if name in source]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found += [ast.unparse(node)] * (not isinstance(node.args[0], ast.Constant))
    return found


def test_nothing_outside_its_folder_names_a_target():
    folders = {ROOT / "boards" / name for name in TARGETS}
    here = ROOT / "boards" / "targets.py"
    files = [path for path in (ROOT / "boards").rglob("*.py") if not folders & set(path.parents) and path != here]
    assert len(files) > 20
    found = {str(path.relative_to(ROOT)): names for path in files if (names := named(path.read_text("utf-8")))}
    assert not found


def test_the_search_for_names_finds_them():
    assert named('if target.name == "u55c_direct": pass') == ["u55c_direct"]
    assert named("from boards import u55c_vitis") == ["u55c_vitis"]
    assert named('import_module(f"boards.{name}")') == ["import_module(f'boards.{name}')"]
    assert named('import_module("boards.report")') == []
