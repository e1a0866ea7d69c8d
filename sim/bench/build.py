"""Compiles Verilog with Verilator, for the harness and for cocotb, and keeps what was compiled.

What was compiled is an entry of :mod:`sim.cache`, named by a digest of what went in: Verilog, our C++ without comments,
flags and tool versions. Verilator's own runtime and the harness are the same for every design and are compiled once.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cocotb_tools.config

from sim import cache
from sim.bench import toolchain
from sim.bench.verilog import TOP

NATIVE = Path(__file__).parents[1] / "native"
"""C++ sources of the harness and the memory models."""

VERILATE = ["--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "--output-split", "20000"]
VERILATE += ["-Wno-fatal", "-Wno-lint", "--prefix", "Vtop", "--top-module", TOP]
COMPILE = ["-std=gnu++17", "-fPIC", "-faligned-new", "-w"]
DEFINES = [f"VM_{option}=0" for option in ("COVERAGE", "SC", "TIMING", "TRACE_FST", "TRACE_SAIF")]
NO_WAVES = [*DEFINES, "VM_TRACE=0", "VM_TRACE_VCD=0"]
FAST, QUICK, SLOW = ["-Os"], ["-Og"], ["-O0"]
"""For what Verilator writes. Megabytes of it run once a cycle, and what counts is how fast they come from the cache.
With g++, ``FAST`` makes an engine run twice as fast as ``-O1``, ``-O2`` or ``QUICK`` do. It takes four times as long to
compile as ``QUICK``, which is for designs that run for seconds. ``SLOW`` is for what runs once."""
OURS = ["-O2"]
"""For the harness and Verilator's runtime."""
SHARED = ["-shared", "-pthread", "-Wl,-z,defs"]
"""For a library; a function that is missing is found when it is linked."""
LIBRARIES = {"clang++": ["-latomic"], "g++": []}
"""By compiler, what it needs for those atomic operations that it does not compile in place."""
COCOTB = ["-lcocotbvpi_verilator", "-ldl"]
"""What cocotb's simulator is linked with. No path is kept in it, because another environment may run it later."""
GATHERED_BYTES = 200_000
"""C++ that is worth a processor of its own."""


def digest(*parts: object) -> str:
    """Return a short digest of texts, of their boundaries, and of the versions of the tools."""
    return cache.digest(*parts, sorted(toolchain.versions().items()))


def native_sources() -> dict[str, str]:
    """Return the harness's C++ files by name, without comments (after two blanks or on their own) and indentation."""
    files = [path for path in sorted(NATIVE.iterdir()) if path.suffix in (".h", ".cpp")]
    plain = {path.name: re.sub(r"(?m)(?:^|  ) *//.*$", "", path.read_text()) for path in files}
    return {name: re.sub(r"\s*\n\s*", "\n", text) for name, text in plain.items()}


def _compile(
    jobs: list[tuple[Path, list[str]]], folder: Path, *, includes: list[Path], defines: list[str]
) -> list[Path]:
    """Compile each (source, flags) into ``folder`` and return the objects, on all processors at once."""

    def one(job: tuple[Path, list[str]]) -> Path:
        source, flags = job
        target = folder / (source.stem + ".o")
        command = [toolchain.compiler(), *COMPILE, *flags, *(f"-D{d}" for d in defines), *(f"-I{i}" for i in includes)]
        toolchain.run([*command, "-c", str(source), "-o", str(target)], purpose=f"compile {source.name}")
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, jobs))


def _verilate(
    verilog: str, folder: Path, options: list[str], flags: list[str], *extra: Path
) -> list[tuple[Path, list[str]]]:
    """Turn Verilog into C++ in ``folder``; return the C++ files to compile, ``extra`` among them, with their flags.

    ``flags`` are those of what runs in every cycle.

    Verilator's many files are gathered into few: most of the time to compile a small one goes into its headers.
    """
    source = folder / "design.v"
    source.write_text(verilog)
    command = [str(toolchain.verilator_root() / "bin" / "verilator"), *VERILATE, *options, "--Mdir", str(folder)]
    toolchain.run([*command, str(source)], purpose="translate the design")
    files = sorted(folder.glob("Vtop*.cpp"), key=lambda file: -file.stat().st_size)
    slow = [file for file in files if "__Slow" in file.name]
    fast = [file for file in files if file not in slow]
    count = min(os.cpu_count() or 1, 1 + sum(file.stat().st_size for file in fast) // GATHERED_BYTES)
    gathered = [(slow, SLOW), *(([*fast[n::count], *(extra if n == 0 else ())], flags) for n in range(count))]
    jobs = []
    for number, (members, flags) in enumerate(gathered):
        file = folder / f"Vtop_gathered_{number}.cpp"
        file.write_text("".join(f'#include "{member}"\n' for member in members))
        jobs.append((file, flags))
    return jobs


def _runtime(*names: str) -> list[Path]:
    """Return objects of Verilator's own files, each compiled once for all designs, with and without waves."""
    include = toolchain.verilator_root() / "include"

    def one(name: str) -> Path:
        def make(folder: Path) -> None:
            source = (include / f"{name}.cpp", OURS)
            _compile([source], folder, includes=[include, include / "vltstd"], defines=NO_WAVES)

        return cache.cached(f"runtime-{digest(name, NO_WAVES, COMPILE, OURS)}", make) / f"{name}.o"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, names))


def _link(library: Path, objects: list[Path]) -> None:
    """Make a shared library."""
    compiler = toolchain.compiler()
    command = [compiler, *SHARED, "-o", str(library), *map(str, objects), *LIBRARIES[compiler]]
    toolchain.run(command, purpose=f"link {library.name}")


def harness() -> Path:
    """Return the shared library of the harness, which runs any design; compiled if it is not there yet."""

    def make(folder: Path) -> None:
        (made,) = _compile([(NATIVE / "harness.cpp", OURS)], folder, includes=[NATIVE], defines=[])
        _link(folder / "harness.so", [made])

    return cache.cached(f"harness-{digest(native_sources(), COMPILE, OURS, SHARED, LIBRARIES)}", make) / "harness.so"


GLUE = """// Ports of the design, for the harness.
#include "Vtop.h"
#include "Vtop___024root.h"
#include "design.h"

%s
namespace {
struct Compiled : Design {
    VerilatedContext context;
    Vtop top{&context, "top"};
    Compiled() { ports = {%s}; }
    void eval() override { top.eval(); }
    void edge() override {%s}
};
}  // namespace

extern "C" Design *make_design() { return new Compiled; }
"""

PHASES = """
// Phases of Verilator's eval(). After a rise of the clock alone, that of the inputs would do its work in vain.
bool Vtop___024root___eval_phase__act(Vtop___024root *);
bool Vtop___024root___eval_phase__nba(Vtop___024root *);
"""

EDGE = """
        top.clk = 1;
        do {
            while (Vtop___024root___eval_phase__act(top.rootp)) {}
        } while (Vtop___024root___eval_phase__nba(top.rootp));
        top.clk = 0;
    """

PLAIN_EDGE = "top.clk = 1; top.eval(); top.clk = 0;"


def _header_ports(header: str) -> list[tuple[str, int, bool]]:
    """Return (name, width, input) of the ports that Verilator gave its class."""
    found = re.findall(r"VL_(IN|OUT)(?:8|16|64|W)?\(&(\w+),(\d+),(\d+)(?:,\d+)?\);", header)
    return [(name, int(high) - int(low) + 1, way == "IN") for way, name, high, low in found]


def _glue(folder: Path) -> str:
    """Return the C++ between the harness and what Verilator made in ``folder``."""
    rows, clocked = [], False
    header = (folder / "Vtop.h").read_text()
    for name, width, inward in _header_ports(header):
        at = f"top.{name}.data()" if width > 64 else f"&top.{name}"
        plain = name.removeprefix("__SYM__").replace("___05F", "__")  # Verilator marks words of C++ so
        rows.append(f'\n        {{"{plain}", {at}, {width}, {"true" if inward else "false"}}},')
        clocked |= name == "clk"
    made = "".join(file.read_text() for file in folder.glob("Vtop___024root__*.cpp"))
    phased = clocked and all(f"\nbool Vtop___024root___eval_phase__{phase}(" in made for phase in ("act", "nba"))
    edge = (EDGE if phased else PLAIN_EDGE) if clocked else ""
    return GLUE % (PHASES if phased else "", "".join(rows), edge)


def shared_library(verilog: str, flags: list[str]) -> Path:
    """Return the shared library of a design, compiling what is not there yet.

    It is compiled with no more of our C++ than the seam in ``design.h``, so that a change of the models leaves it.
    ``flags`` is :data:`FAST` or :data:`QUICK`.
    """

    def make(folder: Path) -> None:
        glue = folder / "glue.cpp"
        jobs = _verilate(verilog, folder, [], flags, glue)
        glue.write_text(_glue(folder))
        include = toolchain.verilator_root() / "include"
        includes = [folder, NATIVE, include, include / "vltstd"]
        objects = _compile(jobs, folder, includes=includes, defines=NO_WAVES)
        objects += _runtime("verilated", "verilated_threads")
        _link(folder / "design.so", objects)
        for file in {*folder.glob("*.o"), *folder.glob("Vtop*")}:
            file.unlink()

    options = VERILATE, COMPILE, NO_WAVES, flags, SLOW, OURS, SHARED, LIBRARIES
    name = f"compiled-{digest(verilog, native_sources()['design.h'], GLUE, EDGE, options)}"
    return cache.cached(name, make) / "design.so"


def cocotb_executable(verilog: str, *, waves: bool = False, inside: bool = True) -> Path:
    """Return the simulator that cocotb drives, compiling what is not there yet.

    Parameters
    ----------
    verilog : str
        The design, top module :data:`~sim.bench.verilog.TOP`.
    waves : bool
        Whether it can record a waveform.
    inside : bool
        Whether cocotb sees every signal; without, only those that the Verilog marks ``/*verilator public_flat_rw*/``,
        and the simulator is made and runs several times as fast.
    """
    defines = [*DEFINES, "VM_TRACE=1", "VM_TRACE_VCD=1"] if waves else NO_WAVES
    options = ["--vpi", *(["--public-flat-rw"] if inside else []), *(["--trace"] if waves else [])]
    libraries = Path(cocotb_tools.config.libs_dir)
    main = Path(cocotb_tools.config.share_dir) / "lib" / "verilator" / "verilator.cpp"

    def make(folder: Path) -> None:
        jobs = _verilate(verilog, folder, options, QUICK, main)
        include = toolchain.verilator_root() / "include"
        includes = [folder, include, include / "vltstd"]
        objects = _compile(jobs, folder, includes=includes, defines=defines)
        names = ("verilated", "verilated_threads", "verilated_vpi", "verilated_dpi")
        objects += _runtime(*names, *(["verilated_vcd_c"] if waves else []))
        command = [toolchain.compiler(), "-pthread", "-o", str(folder / TOP), *map(str, objects), f"-L{libraries}"]
        command += [*COCOTB, *LIBRARIES[toolchain.compiler()]]
        toolchain.run(command, purpose="link the design")
        for file in {*folder.glob("*.o"), *folder.glob("Vtop*")}:
            file.unlink()

    name = f"cocotb-{digest(verilog, VERILATE, COMPILE, COCOTB, LIBRARIES, defines, options, QUICK, SLOW)}"
    return cache.cached(name, make) / TOP
