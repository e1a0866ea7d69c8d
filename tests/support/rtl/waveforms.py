"""Reading of waveforms that a simulation wrote."""

import re

MEMORY_DATA = re.compile(r"__data(\$\d+)?$")
"""What a port of a memory shows; a number follows if several ports of a module have the same name."""


def final_values(vcd):
    """Return the last value of every register of a lookup stage; memories cannot be cleared at once."""
    names, values, scope = {}, {}, []
    for line in vcd.splitlines():
        match line.split():
            case ["$scope", _, name, *_]:
                scope.append(name)
            case ["$upscope", *_]:
                scope.pop()
            case ["$var", _, _, code, name, *_] if {"inner", "hash"} & set(scope):
                if not ("payload" in name or "[" in name or MEMORY_DATA.search(name)):
                    names.setdefault(code, ".".join([*scope, name]))
            case [value, code] if value[0] == "b":
                values[code] = value[1:]
    return {name: values[code] for code, name in names.items() if code in values}
