"""Build folders without the minutes that a real engine takes, and stand-ins for the vendor's tools."""

import json
import os

import pytest

from boards.targets import TARGETS
from tests.support.boards.folders import plan, use_hollow
from tests.support.rtl.engines import TIGHT


@pytest.fixture
def hollow(monkeypatch):
    """Have builds of the small map use Verilog that is made once."""
    use_hollow(monkeypatch)


@pytest.fixture
def params_file(tmp_path):
    """Return a file with the parameters of the small map."""
    path = tmp_path / "params.json"
    path.write_text(json.dumps(TIGHT.params.to_dict()))
    return path


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Stand-ins for the vendor's tools, which write down what they are called with; none is on PATH until added."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for variable in TARGETS["u55c_direct"].environment(plan("u55c_direct")):
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}/usr/bin{os.pathsep}/bin")

    def add(name, *makes, code=0, says="hello"):
        made = "".join(f"mkdir -p $(dirname {file}); echo made > {file}\n" for file in makes)
        path = bin_folder / name
        log = tmp_path / "calls.txt"
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {log}\necho "{name} says {says}"\n{made}exit {code}\n')
        path.chmod(0o755)
        return log

    return add
