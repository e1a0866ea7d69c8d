"""Makes all widths in RTLIL equal where Verilog would extend or cut silently.

Amaranth leaves it to the operators to extend the narrower operand. Verilog's operators do so too, but every linter
warns, and among hundreds of such warnings a real one is not seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

COMPARISONS = frozenset({"$eq", "$ne", "$lt", "$le", "$gt", "$ge", "$eqx", "$nex"})
ARITHMETIC = frozenset({"$add", "$sub", "$mul", "$and", "$or", "$xor", "$xnor", "$divfloor", "$modfloor"})
SAME_AS_RESULT = frozenset({"$not", "$neg", "$pos", "$shl", "$sshl"})
SHIFTS_DOWN = frozenset({"$shr", "$sshr", "$shift", "$shiftx"})

_CELL = re.compile(r"^  cell (\$\w+) (\S+)\n(.*?)^  end\n", re.MULTILINE | re.DOTALL)
_PARAMETER = re.compile(r"^    parameter \\(\w+) (\S+)$", re.MULTILINE)
_CONNECTION = re.compile(r"^    connect \\(\w+) (.+)$", re.MULTILINE)
_PART = re.compile(r"(?:\{ )?(?:\d+'([01])[01]*|((?:\\|\$)\S+))(?: \[(\d+)(?::\d+)?\])?")


@dataclass
class _Cell:
    """One operator: its parameters and what it is connected to."""

    kind: str
    name: str
    parameters: dict[str, str]
    connections: dict[str, str]

    def width(self, port: str) -> int:
        return int(self.parameters[f"{port}_WIDTH"])

    def extend(self, port: str, width: int, widths: dict[str, int]) -> None:
        """Extend an operand to ``width`` bits, by its sign if it has one."""
        have = self.width(port)
        if have >= width:
            return
        signal = self.connections[port]
        zeros = f"{width - have}'{'0' * (width - have)}"
        if have == 0:
            self.connections[port] = zeros
        elif self.parameters[f"{port}_SIGNED"] == "1":
            sign = _highest_bit(signal, widths)
            self.connections[port] = "{ " + f"{sign} " * (width - have) + f"{signal} }}"
        else:
            self.connections[port] = f"{{ {zeros} {signal} }}"
        self.parameters[f"{port}_WIDTH"] = str(width)

    def text(self) -> str:
        parameters = "".join(f"    parameter \\{name} {value}\n" for name, value in self.parameters.items())
        connections = "".join(f"    connect \\{name} {value}\n" for name, value in self.connections.items())
        return f"  cell {self.kind} {self.name}\n{parameters}{connections}  end\n"


def _highest_bit(signal: str, widths: dict[str, int]) -> str:
    part = _PART.match(signal)
    assert part is not None, f"not a signal: {signal}"
    constant, wire, high = part.groups()
    if constant is not None:
        return f"1'{constant}"
    return f"{wire} [{high if high is not None else widths[wire] - 1}]"


def equalised(rtlil: str) -> str:
    """Return the same design with operands extended and results cut explicitly."""
    modules = re.split(r"(?m)^(?=(?:attribute [^\n]*\n)*module )", rtlil)
    return "".join(_equalised_module(module) for module in modules)


def _equalised_module(text: str) -> str:
    widths = {name: int(width) for width, name in re.findall(r"(?m)^  wire width (\d+) (?:\S+ \d+ )?(\S+)$", text)}
    added = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal added
        kind, name, body = match.groups()
        cell = _Cell(kind, name, dict(_PARAMETER.findall(body)), dict(_CONNECTION.findall(body)))
        if kind in COMPARISONS:
            width = max(cell.width("A"), cell.width("B"))
            cell.extend("A", width, widths)
            cell.extend("B", width, widths)
        elif kind in ARITHMETIC:
            cell.extend("A", cell.width("Y"), widths)
            cell.extend("B", cell.width("Y"), widths)
        elif kind in SAME_AS_RESULT:
            cell.extend("A", cell.width("Y"), widths)
        elif kind in SHIFTS_DOWN:
            cell.extend("A", cell.width("Y"), widths)
            wanted, whole = cell.width("Y"), cell.width("A")
            if wanted < whole:
                target, wire = cell.connections["Y"], f"$whole${added}"
                added += 1
                cell.connections["Y"] = wire
                cell.parameters["Y_WIDTH"] = str(whole)
                cut = f"  connect {target} {wire} [{wanted - 1}:0]\n"
                return f"  wire width {whole} {wire}\n{cell.text()}{cut}"
        else:
            return match[0]
        return cell.text()

    return _CELL.sub(replace, text)
