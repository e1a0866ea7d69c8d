"""Amaranth's RTLIL of a component, and its Verilog, with memories that begin as zeros in one line each.

Amaranth lists every bit of a memory's first contents, and Yosys every row: for the tuples on chip of a map with pages
of 4 KiB that is 36 million bits, and minutes. A memory that begins as zeros has no such list in the RTLIL, and a loop
in the Verilog.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from amaranth.back import rtlil
from amaranth.lib import wiring

from rtl.synth.ports import ports_of

_MODULE = re.compile(r"^module .*?^endmodule$", re.MULTILINE | re.DOTALL)
_MEMORY = re.compile(r"^  reg (?:\[\d+:0\] )?(\S+ ?) ?\[(\d+):0\];\n", re.MULTILINE)
_INDEX = "first_row"
"""The loops' variable."""


def to_rtlil(component: wiring.Component, name: str) -> str:
    """Return a component as RTLIL with the top module ``name``, where no memory that begins as zeros says so.

    Give the Verilog made of it to :func:`with_zeros`.
    """
    with _no_zeros(), _no_collection():
        return rtlil.convert(component, name=name, ports=ports_of(component), emit_src=False)


@contextmanager
def _no_zeros() -> Iterator[None]:
    emitter: Any = rtlil.ModuleEmitter
    plain = emitter.emit_memory

    def emit_memory(self: Any, cell_idx: int, cell: Any) -> None:
        if any(cell.init):
            plain(self, cell_idx, cell)

    emitter.emit_memory = emit_memory
    try:
        yield
    finally:
        emitter.emit_memory = plain


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect no garbage: looking for it among millions of objects in use takes two thirds as long as all the rest."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def with_zeros(verilog: str) -> str:
    """Return Yosys's Verilog with every memory without first contents beginning as zeros."""
    return _MODULE.sub(lambda match: _module_with_zeros(match[0]), verilog)


def _module_with_zeros(text: str) -> str:
    loops = ""

    def declared(match: re.Match[str]) -> str:
        nonlocal loops
        name, last = match.groups()
        if f"  initial begin\n    {name}[0] = " in text:
            return match[0]
        loop = f"for ({_INDEX} = 0; {_INDEX} <= {last}; {_INDEX} = {_INDEX} + 1) {name}[{_INDEX}] = 0;"
        variable = "" if loops else f"  integer {_INDEX};\n"
        loops += loop
        return f"{match[0]}{variable}  initial {loop}\n"

    return _MEMORY.sub(declared, text)
