"""Netlists made by hand, as the synthesiser writes them."""

OUTPUTS = ("O", "Q", "CO", "DO", "DPO", "SPO")


def cell(kind, *, parameters=None, **ports):
    """Return a cell; ports whose names begin as those of outputs do are outputs."""
    ways = {name: "output" if name.startswith(OUTPUTS) else "input" for name in ports}
    return {"type": kind, "parameters": parameters or {}, "port_directions": ways, "connections": ports}


def module(*cells, inputs=(), outputs=()):
    """Return a netlist of cells, with two ports."""
    ports = {
        "i": {"direction": "input", "bits": list(inputs)},
        "o": {"direction": "output", "bits": list(outputs)},
    }
    return {"ports": ports, "cells": {f"cell{index}": value for index, value in enumerate(cells)}}


def chain(length):
    """Return a ring: a register, ``length`` LUTs one behind the other, a register, and one LUT."""
    clock, last, back = 0, length + 1, length + 2
    luts = [cell("LUT1", I0=[net], O=[net + 1]) for net in range(1, last)]
    registers = [cell("FDRE", C=[clock], D=[back + 1], Q=[1]), cell("FDRE", C=[clock], D=[last], Q=[back])]
    return module(*luts, *registers, cell("LUT1", I0=[back], O=[back + 1]))
