"""Runs cocotb tests under Verilator, one at a time, so that each is one test of pytest.

In a pytest file::

    @pytest.mark.parametrize("name", cocotb_tests("tests.support.designs.dma_bench"))
    def test_dma(name):
        run_cocotb("tests.support.designs.dma_bench", name)

A failing test is run again with a waveform, from the same seed; the waveform stays under ``build/sim/failed`` and the
error says where. Passing tests leave nothing. Simulations hold keys that tests made up, never those of a session.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import tempfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cocotb_tools.config
from cocotb_tools.runner import get_runner

from sim.bench import build
from sim.bench.verilog import TOP, simulation_verilog
from sim.cache import kept_text, root
from sim.errors import SimulationError

LOG_LINES = 60
"""Lines of the simulation's log in the error of a failing test."""


class CocotbFailure(SimulationError, AssertionError):  # noqa: N818 -- an assertion that failed
    """A cocotb test failed; the message has its log, its seed and its waveform."""


def cocotb_tests(module: str) -> list[str]:
    """Return the names of the cocotb tests in a module, in the order of their definition."""
    from cocotb._decorators import TestGenerator  # cocotb has no public way to list tests outside a simulation

    found = [value for value in vars(importlib.import_module(module)).values() if isinstance(value, TestGenerator)]
    names = [test.name for generator in found for test in generator.generate_tests()]
    if not names:
        raise SimulationError(f"{module} has no cocotb tests")
    return names


def run_cocotb(module: str, name: str, *, seed: int | None = None, waves: bool = True, **parameters: Any) -> None:
    """Run one cocotb test.

    Parameters
    ----------
    module : str
        Importable module with the test and a function ``component``, which returns the design; or with a function
        ``verilog``, which returns its text, top module :data:`sim.bench.verilog.TOP`, and marks with
        ``/*verilator public_flat_rw*/`` what cocotb may see.
    name : str
        Test, as :func:`cocotb_tests` lists it.
    seed : int, optional
        Seed of cocotb's random numbers; derived from the test's name if not given, and in the message of a failure.
    waves : bool
        Whether to run a failing test again for its waveform.
    **parameters
        Passed to that function; the test finds them in :func:`parameters_of_run`.

    Raises
    ------
    CocotbFailure
        If the test fails or does not end.
    """
    bench = importlib.import_module(module)
    seed = zlib.crc32(name.encode()) if seed is None else seed
    inside = not hasattr(bench, "verilog")
    verilog = kept_text(bench.component(**parameters), simulation_verilog) if inside else bench.verilog(**parameters)
    case = _Case(verilog, module, name, seed, inside, parameters)
    with tempfile.TemporaryDirectory() as folder:
        log = case.run(Path(folder), waves=False)
        if log is None:
            return
    where = "none was asked for"
    if waves:
        with tempfile.TemporaryDirectory() as folder:
            case.run(Path(folder), waves=True)
            where = _keep(Path(folder) / "dump.vcd", f"{module}.{name}")
    raise CocotbFailure(f"cocotb test {module}.{name} failed (seed {seed}; waveform: {where})\n{log}")


def parameters_of_run() -> dict[str, Any]:
    """Return the parameters that :func:`run_cocotb` was given, inside the simulation."""
    parameters: dict[str, Any] = json.loads(os.environ.get("OMAP_BENCH_PARAMETERS", "{}"))
    return parameters


@dataclass(frozen=True)
class _Case:
    """One cocotb test and the design that it runs on."""

    verilog: str
    module: str
    name: str
    seed: int
    inside: bool
    parameters: dict[str, Any]

    def run(self, folder: Path, *, waves: bool) -> str | None:
        """Run the test; return None if it passed, else the end of its log."""
        program = build.cocotb_executable(self.verilog, waves=waves, inside=self.inside)
        results, log = folder / "results.xml", folder / "log.txt"
        ld_path = os.environ.get("LD_LIBRARY_PATH")
        with suppress(SystemExit, RuntimeError):  # how the runner reports a failure; the results say which
            get_runner("verilator").test(
                test_module=self.module,
                hdl_toplevel=TOP,
                hdl_toplevel_lang="verilog",
                build_dir=program.parent,
                test_dir=folder,
                results_xml=str(results),
                test_filter=rf"^{re.escape(self.module)}\.{re.escape(self.name)}$",
                seed=self.seed,
                waves=waves,
                log_file=log,
                extra_env={
                    "OMAP_BENCH_PARAMETERS": json.dumps(self.parameters),
                    "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(cocotb_tools.config.libs_dir), ld_path])),
                },
            )
        text = "\n".join(log.read_text().splitlines()[-LOG_LINES:]) if log.exists() else "no log"
        if not results.exists():
            return f"the simulation ended without results\n{text}"
        cases = ElementTree.parse(results).getroot().findall(".//testcase")
        if len(cases) != 1:
            return f"{len(cases)} tests of that name ran, wanted 1\n{text}"
        return text if any(cases[0].find(kind) is not None for kind in ("failure", "error")) else None


def _keep(waveform: Path, name: str) -> str:
    if not waveform.exists():
        return "none was written"
    target = root() / "failed" / (re.sub(r"[^\w.=-]", "_", name) + ".vcd")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(waveform, target)
    return str(target.relative_to(root().parent.parent))  # no path of the machine in a report
