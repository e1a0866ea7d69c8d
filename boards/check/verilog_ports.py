"""The ports of a module as a Verilog file declares them, in the plain style of Yosys's writer."""

from __future__ import annotations

import re

from omap.errors import InputError

_DECLARED = re.compile(
    r"^ *(input|output|inout) +(?:(?:wire|reg) +)?(?:\[(\d+):0\] +)?(\\\S+|\w+) *(?:=[^;]*)?;", re.MULTILINE
)


def ports(verilog: str, module: str) -> dict[str, tuple[str, int]]:
    """Return direction and width of each port of a module, in the order of its head.

    Raises
    ------
    InputError
        If the text has no such module, more than one, or one whose head and declarations differ.
    """
    heads = list(
        re.finditer(rf"^module +{re.escape(module)} *\(([^)]*)\);(.*?)^endmodule", verilog, re.MULTILINE | re.DOTALL)
    )
    if len(heads) != 1:
        raise InputError(f"the Verilog has {len(heads) or 'no'} modules called {module}, one was expected")
    named = [name.strip() for name in heads[0][1].split(",") if name.strip()]
    declared = {name: (way, int(high or 0) + 1) for way, high, name in _DECLARED.findall(heads[0][2])}
    if sorted(named) != sorted(declared):
        odd = sorted(set(named) ^ set(declared)) or sorted(named)
        raise InputError(f"head and declarations of {module} differ in {', '.join(odd[:5])}")
    return {name: declared[name] for name in named}


def differences(found: dict[str, tuple[str, int]], wanted: dict[str, tuple[str, int]]) -> list[str]:
    """Return in what ports differ from those wanted."""
    problems = [f"port {name} is missing" for name in wanted if name not in found]
    problems += [f"port {name} should not be there" for name in found if name not in wanted]
    for name in wanted.keys() & found.keys():
        if found[name] != wanted[name]:
            (way, width), (right_way, right_width) = found[name], wanted[name]
            problems.append(f"port {name} is an {way} of {width} bits, not an {right_way} of {right_width}")
    return sorted(problems)
