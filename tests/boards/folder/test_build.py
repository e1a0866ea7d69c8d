"""Build folders: complete, the same for the same inputs, and never over what is not theirs."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from boards.folder import build, manifest
from boards.folder import disk as folder
from boards.targets import TARGETS
from omap.errors import InputError, OutputError, ParamsError
from tests.support.boards.folders import KEY, key_file, plan
from tests.support.host.keys import root_file
from tests.support.rtl.engines import TIGHT

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.usefixtures("hollow")


def contents(path):
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_plan_gives_the_same_bytes_and_all_of_them_are_in_the_manifest(tmp_path, target):
    for name in ("one", "two"):
        assert build.build(plan(target), tmp_path / name, None) == []
    files = contents(tmp_path / "one")
    assert contents(tmp_path / "two") == files
    described = json.loads(files.pop(manifest.NAME))
    assert described["files"] == {name: {"sha256": manifest.digest(text)} for name, text in files.items()}
    assert {f"{TARGETS[target].module}.v", "omap_noise.v", "Makefile", "README.md"} < set(files)
    assert manifest.plan_of(described, TARGETS) == plan(target)
    assert described["claims"] == {"hbm_private": target == "u55c_direct", "attested": False, "hardware": True}
    assert str(tmp_path).encode() not in b"".join(contents(tmp_path / "one").values())
    modes = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "one").rglob("*") if file.is_file()}
    assert modes == {0o644}
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o755


def test_other_processes_give_the_same_bytes(tmp_path):
    """Sets and dictionaries of texts have another order in each process."""
    script = (
        "import sys; from pathlib import Path; from pytest import MonkeyPatch; from boards.folder import build;"
        "from tests.support.boards.folders import plan, use_hollow; use_hollow(MonkeyPatch());"
        "build.build(plan('u55c_vitis'), Path(sys.argv[1]), None)"
    )
    for seed in "12":
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", script, str(tmp_path / seed)], env=environment, check=True, cwd=ROOT)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_the_plan_shows_in_the_manifest():
    for options, mode in (({}, 21), ({"attested": True}, 23), ({"plain": True}, 21), ({"journal": False}, 5)):
        facts = json.loads(manifest.text(plan("u55c_direct", **options), {}))
        assert manifest.plan_of(facts, TARGETS) == plan("u55c_direct", **options)
        assert facts["identity"]["MODE"] == mode
        assert facts["encrypted"] == (options != {"plain": True})
        assert facts["engine"]["journal"] == (options != {"journal": False})
    with pytest.raises(ParamsError, match="its host loads the program"):
        plan("u55c_vitis", attested=True)
    with pytest.raises(ParamsError, match="boots encrypted bitstreams alone"):
        plan("u55c_direct", attested=True, plain=True)


def test_a_manifest_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no build folder"):
        manifest.read(tmp_path)
    for text, message in (
        ("{", "is no JSON"),
        ('{"kind": "other"}', "manifest of something else"),
        (json.dumps({"kind": manifest.KIND, "version": 9, "files": {}}), "another shape"),
    ):
        (tmp_path / manifest.NAME).write_text(text)
        with pytest.raises(InputError, match=message):
            manifest.read(tmp_path)
    facts = manifest.facts(plan("u55c_vitis"))
    with pytest.raises(InputError, match="target is 'u99'"):
        manifest.plan_of(facts | {"target": "u99"}, TARGETS)
    with pytest.raises(ParamsError, match="have the digest"):
        manifest.plan_of(facts | {"digest": "00"}, TARGETS)


@pytest.mark.sec_cm("BUILD.KEY.OWNER")
def test_the_key_is_in_one_file_that_its_owner_alone_can_read(tmp_path):
    old = os.umask(0)
    try:
        build.build(plan("u55c_vitis"), tmp_path / "with", key_file(tmp_path))
    finally:
        os.umask(old)
    build.build(plan("u55c_vitis"), tmp_path / "without", None)
    files = contents(tmp_path / "with")
    secret = files.pop(folder.SECRET)
    assert files == contents(tmp_path / "without")  # the manifest too: no digest of the key
    assert KEY[::-1].hex().encode() in secret
    assert stat.S_IMODE((tmp_path / "with" / folder.SECRET).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "with" / folder.SECRET_FOLDER).stat().st_mode) == 0o700


@pytest.mark.sec_cm("BUILD.KEY.KEPT")
def test_a_key_is_never_replaced_or_lost(tmp_path):
    out, key = tmp_path / "out", key_file(tmp_path)
    build.build(plan("u55c_vitis"), out, key)
    before = contents(out)
    assert build.build(plan("u55c_vitis"), out, None) == [f"{folder.SECRET} was there and is kept"]
    assert contents(out) == before
    assert build.build(plan("u55c_vitis"), out, key) == []
    assert contents(out) == before
    root_file(key, b"U" * 32)
    with pytest.raises(InputError, match="another root key") as caught:
        build.build(plan("u55c_vitis"), out, key)
    assert "55" * 32 not in str(caught.value)
    assert contents(out) == before
    assert build.build(plan("u55c_direct"), out, None) == [f"{folder.SECRET} was there and is kept"]  # another build
    assert contents(out)[folder.SECRET] == before[folder.SECRET]
    assert stat.S_IMODE((out / folder.SECRET).stat().st_mode) == 0o600
    assert not (out / "omap_kernel.v").exists()


def test_a_key_can_be_added_where_one_stands(tmp_path, monkeypatch):
    """The step of the folder's README; the folder is somebody's working directory and must stay the same one."""
    out = tmp_path / "out"
    build.build(plan("u55c_vitis"), out, None)
    monkeypatch.chdir(out)
    (out / "Makefile").write_text("damaged")
    build.build(plan("u55c_vitis"), Path("."), key_file(tmp_path))
    assert Path(folder.SECRET).exists()
    assert (out / "Makefile").read_text() != "damaged"


def test_what_is_not_ours_is_left_alone(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years")
    with pytest.raises(InputError, match="nothing is written over what is not ours"):
        build.build(plan("u55c_vitis"), out, None)
    assert contents(out) == {"thesis.txt": b"years"}
    build.build(plan("u55c_vitis"), tmp_path / "ours", None)
    (tmp_path / "ours" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"files that no build made \(notes.txt\)"):
        build.build(plan("u55c_vitis"), tmp_path / "ours", None)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is no folder"):
        build.build(plan("u55c_vitis"), tmp_path / "file", None)


def test_what_the_tools_made_stays_with_its_build(tmp_path):
    out = tmp_path / "out"
    build.build(plan("u55c_vitis"), out, None)
    product = out / folder.OUT / "omap_kernel.xclbin"
    product.parent.mkdir()
    product.write_text("hours")
    assert build.build(plan("u55c_vitis"), out, None) == [f"{folder.OUT} is of the same build and is kept"]
    with pytest.raises(InputError, match="made of another build"):
        build.build(plan("u55c_direct"), out, None)
    assert product.read_text() == "hours"


def test_a_build_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device", "some file")

    build.build(plan("u55c_vitis"), tmp_path / "old", None)
    before = contents(tmp_path / "old")
    monkeypatch.setattr(folder, "_fill", fail)
    for name in ("old", "new"):
        with pytest.raises(OutputError, match="No space left"):
            build.build(plan("u55c_vitis"), tmp_path / name, None)
    assert contents(tmp_path) == {f"old/{name}": text for name, text in before.items()}
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    out = tmp_path / "out"
    build.build(plan("u55c_vitis"), out, None)
    before, rename = contents(out), Path.rename

    def fails_once(self, goal):
        if goal == out and self.name.startswith(".out.") and not self.name.startswith(".out.old."):
            raise OSError(16, "Device or resource busy", str(goal))
        return rename(self, goal)

    monkeypatch.setattr(Path, "rename", fails_once)
    with pytest.raises(OutputError, match="busy"):
        build.build(plan("u55c_direct"), out, None)
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_can_be_refused_is_refused_before_the_long_work(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "contents", lambda plan: pytest.fail("the Verilog was made"))
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputError, match="not ours"):
        build.build(plan("u55c_vitis"), tmp_path, None)
    with pytest.raises(InputError, match="key file"):
        build.build(plan("u55c_vitis"), tmp_path / "new", tmp_path / "no.key")


@pytest.mark.sec_cm("BUILD.OUT.OWNER")
def test_the_readme_and_the_makefile_tell_the_same_steps(tmp_path):
    from boards.folder import steps

    for target in TARGETS:
        out = tmp_path / target
        build.build(plan(target), out, None)
        readme = (out / "README.md").read_text()
        volatile = TARGETS[target].flash_steps(plan(target), None, volatile=True)[:2] if plan(target).encrypted else ()
        emulated = list(TARGETS[target].variants(plan(target)).values())
        assert bool(volatile) != bool(emulated)
        for step in (*TARGETS[target].build_steps(plan(target)), *TARGETS[target].flash_steps(plan(target), None)):
            assert f"   {step.shown}\n" in readme
        for step in volatile:
            assert f"\n{step.shown}\n" in readme
        for step in emulated:
            assert f"`make hw_emu`, which is `{step.shown}`" in readme
        for step in (*TARGETS[target].build_steps(plan(target)), *volatile, *emulated):
            for name in step.command:
                if name.endswith((".tcl", ".cfg", ".xdc", ".sh")):
                    assert (out / name).exists()
        shown = subprocess.run(
            ["make", "--dry-run", "all", "flash", "load" if volatile else "hw_emu", "BDF=0000:01:00.1"],
            cwd=out,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for step in TARGETS[target].build_steps(plan(target)):
            assert step.shown in shown
        for step in (*TARGETS[target].flash_steps(plan(target), "0000:01:00.1"), *volatile, *emulated):
            assert step.shown in shown
        refused = subprocess.run(["make"], cwd=out, capture_output=True, text=True, check=False)
        assert refused.returncode
        assert steps.no_key() in refused.stderr
        assert TIGHT.params.digest.hex() in readme
        assert f"   {steps.PREPARE}\n" in readme
        (out / folder.OUT).mkdir(0o755, exist_ok=True)
        (out / folder.OUT).chmod(0o755)
        subprocess.run(steps.PREPARE, cwd=out, shell=True, check=True)
        assert stat.S_IMODE((out / folder.OUT).stat().st_mode) == 0o700
    flash = ["make", "-o", "out/omap_kernel.xclbin", "flash"]
    refused = subprocess.run(flash, cwd=tmp_path / "u55c_vitis", capture_output=True, text=True, check=False)
    assert refused.returncode
    assert "give BDF=" in refused.stderr
