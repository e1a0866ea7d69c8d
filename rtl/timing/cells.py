"""What the primitives of the family do with time: ways through them, ways out of registers, ways into registers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rtl.synth.netlist import FLIP_FLOPS, LUT_MEMORIES, SHIFT_REGISTERS, SynthesisError
from rtl.timing import delays

CLOCKS = frozenset({"CLK", "CLKARDCLK", "CLKBWRCLK", "SLEEP"})
"""Pins of memories and multipliers whose timing is not looked at."""


@dataclass(frozen=True)
class Way:
    """One way through a cell, out of a register, or into one.

    Attributes
    ----------
    start : int or None
        Net that comes in; None if the way begins at the clock.
    end : int or None
        Net that goes out; None if the way ends at a register.
    inside : float
        Delay behind the pin, or clock to output, or setup, in ps.
    pin : float
        From the last wire into the pin, in ps.
    near : float or None
        In the place of wire and pin if what drives the net sits in the same slice; None if there is no such way.
    ranked : bool
        Whether the input is one of a LUT: the latest signal gets the fastest one; ``pin`` and ``inside`` are unused.
    """

    start: int | None
    end: int | None
    inside: float = 0.0
    pin: float = 0.0
    near: float | None = None
    ranked: bool = False


Cell = Mapping[str, Any]


def ways(cell: Cell) -> list[Way]:
    """Return all ways of a cell of Yosys's netlist; constants and clocks have none.

    Raises
    ------
    SynthesisError
        If the cell is of a kind without delays.
    """
    kind = cell["type"]
    make = _KINDS.get(kind)
    if make is None:
        raise SynthesisError(f"no delays are known of cells {kind}; there are {', '.join(sorted(_KINDS))}")
    return list(make(cell))


def _bits(cell: Cell, way: str) -> Iterator[tuple[str, int, int]]:
    """Yield pin, place in it and net of all inputs or outputs that are not constant."""
    for port, direction in cell["port_directions"].items():
        if direction == way:
            for place, bit in enumerate(cell["connections"].get(port, ())):
                if isinstance(bit, int):
                    yield port, place, bit


def _logic(cell: Cell) -> Iterator[Way]:
    for _, _, out in _bits(cell, "output"):
        for _, _, net in _bits(cell, "input"):
            yield Way(net, out, ranked=True)


def _free(cell: Cell) -> Iterator[Way]:
    for _, _, out in _bits(cell, "output"):
        for _, _, net in _bits(cell, "input"):
            yield Way(net, out, near=0.0)


def _mux(cell: Cell) -> Iterator[Way]:
    select, data = delays.MUX_SELECT + delays.MUX_OUT, delays.MUX_DATA + delays.MUX_OUT
    for _, _, out in _bits(cell, "output"):
        for port, _, net in _bits(cell, "input"):
            if port == "S":
                yield Way(net, out, select, delays.PIN["X"])
            else:  # from elsewhere, a signal comes through the LUT beside
                yield Way(net, out, data, delays.LUT_PIN[0] + delays.LUT[0], delays.LUT_TO_MUX)


def _flip_flop(cell: Cell) -> Iterator[Way]:
    for _, _, out in _bits(cell, "output"):
        yield Way(None, out, delays.CLOCK_TO_Q)
    for port, _, net in _bits(cell, "input"):
        if port == "D":
            bypass = delays.PIN["X"] + delays.BYPASS_TO_FF
            yield Way(net, None, delays.SETUP["D"], bypass, delays.LUT_TO_FF)
        elif port != "C":
            yield Way(net, None, delays.SETUP.get(port, delays.SETUP["R"]), delays.PIN["CONTROL"])


def _carry(cell: Cell) -> Iterator[Way]:
    """A CARRY8, or a CARRY4 as its lower half."""
    outs = {(port, place): net for port, place, net in _bits(cell, "output")}
    through_lut = delays.LUT_PIN[0] + delays.LUT[0] + delays.LUT_TO_CARRY
    last = 3 if cell["type"] == "CARRY4" else 7
    for port, place, net in _bits(cell, "input"):
        chained = port == "CI"
        first = 4 if port == "CI_TOP" else 0 if port in ("CI", "CYINIT") else place
        for (out, bit), end in outs.items():
            if bit < first:
                continue
            if port in ("S", "DI"):
                table = delays.CARRY_TO_SUM if out == "O" else delays.CARRY_TO_CARRY
                near = delays.LUT_TO_CARRY if port == "S" else None
                pin = through_lut if port == "S" else delays.PIN["X"]
                yield Way(net, end, float(table[place][bit - place]), pin, near)
            else:
                table = delays.CARRY_IN_TO_SUM if out == "O" else delays.CARRY_IN_TO_CARRY
                inside = delays.CARRY_IN_TO_CARRY[7] / (8 // (last + 1)) if (out, bit) == ("CO", last) else table[bit]
                up = delays.CARRY_UP / (8 // (last + 1))
                yield Way(net, end, inside, delays.PIN["X"], up if chained else None)


def _lut_memory(cell: Cell) -> Iterator[Way]:
    shift = cell["type"] in SHIFT_REGISTERS
    multi = any(port.startswith("ADDR") for port in cell["connections"])
    writes = max((port for port in cell["connections"] if port.startswith("ADDR")), default="A")
    setup = delays.LUT_MEMORY_SETUP
    for port, _, out in _bits(cell, "output"):
        yield Way(None, out, delays.LUT_MEMORY_CLOCK_TO_OUT)
        for name, _, net in _bits(cell, "input"):
            if _stem(name) == _read_address(port, multi):
                yield Way(net, out, ranked=True)
    for port, _, net in _bits(cell, "input"):
        stem = _stem(port)
        if stem in ("WE", "CE"):
            yield Way(net, None, setup["WE"], delays.PIN["WE"])
        elif stem.startswith("D") and not stem.startswith("DPRA"):
            yield Way(net, None, setup["DATA"], delays.PIN["X"])
        elif stem == writes and not shift:
            yield Way(net, None, setup["ADDRESS"], delays.LUT_PIN[-1])


def _stem(port: str) -> str:
    return port.rstrip("0123456789")


def _read_address(output: str, multi: bool) -> str:
    """Return the pins that an output of a LUT RAM or shift register is read by."""
    if multi:
        return f"ADDR{output.removeprefix('DO')}"
    return {"DPO": "DPRA"}.get(output, "A")


def _memory(outs: dict[tuple[str, int], float], setups: dict[str, float], register: str) -> Callable[[Cell], Any]:
    def make(cell: Cell) -> Iterator[Way]:
        for port, _, net in _bits(cell, "output"):
            side = "B" if "B" in port.removeprefix("DOUTP") else "A"
            yield Way(None, net, outs[side, _flag(cell["parameters"].get(register.format(side)))])
        for port, _, net in _bits(cell, "input"):
            if port not in CLOCKS:
                yield Way(net, None, next((ps for name, ps in setups.items() if port.startswith(name)), 0.0))

    return make


def _flag(value: Any) -> int:
    """Return whether a parameter is on, which the synthesiser writes as a word or in binary digits."""
    text = str(value or "0")
    return int(text == "TRUE" or (text.isdigit() and int(text, 2) > 0))


def _dsp(cell: Cell) -> Iterator[Way]:
    """A multiplier with its registers: each of A or B, M and P may be on."""
    on = {name: _flag(cell["parameters"].get(name, "1")) for name in ("AREG", "BREG", "CREG", "MREG", "PREG")}
    stages = delays.DSP
    product, total = stages["PREADD"] + stages["MULTIPLY"] + stages["M"], stages["ALU"] + delays.DSP_OUT
    outs = [net for _, _, net in _bits(cell, "output")]
    starts = [delays.DSP_CLOCK_TO_DATA + total] if on["MREG"] else []
    if (on["AREG"] or on["BREG"]) and not on["MREG"]:
        starts.append(delays.DSP_CLOCK_TO_DATA + product + total)
    for net in outs:
        yield Way(None, net, delays.DSP_CLOCK_TO_OUT if on["PREG"] else max(starts, default=delays.DSP_CLOCK_TO_OUT))
    for port, _, net in _bits(cell, "input"):
        if port in CLOCKS or port.startswith(("RST", "CE", "ALUMODE", "OPMODE", "INMODE", "CARRYINSEL")):
            continue
        path = stages["IN"]
        if port[0] in "ABD":
            if on["BREG" if port[0] == "B" else "AREG"]:
                yield Way(net, None, delays.DSP_SETUP + path)
                continue
            path += product
            if on["MREG"]:
                yield Way(net, None, delays.DSP_SETUP + path)
                continue
        elif on["CREG"]:
            yield Way(net, None, delays.DSP_SETUP + path)
            continue
        if on["PREG"]:
            yield Way(net, None, delays.DSP_SETUP + path + stages["ALU"])
        else:
            yield from (Way(net, out, path + total) for out in outs)


def _kinds(names: Iterable[str], make: Callable[[Cell], Iterator[Way]]) -> dict[str, Callable[[Cell], Iterator[Way]]]:
    return dict.fromkeys(names, make)


_KINDS = {
    **_kinds((f"LUT{inputs}" for inputs in range(1, 7)), _logic),
    **_kinds(("IBUF", "OBUF", "BUFG", "INV"), _free),
    **_kinds(("MUXF7", "MUXF8", "MUXF9"), _mux),
    **_kinds(FLIP_FLOPS, _flip_flop),
    **_kinds(("CARRY4", "CARRY8"), _carry),
    **_kinds(LUT_MEMORIES, _lut_memory),
    **_kinds(("RAMB18E2", "RAMB36E2"), _memory(delays.BLOCK_RAM_CLOCK_TO_OUT, delays.BLOCK_RAM_SETUP, "DO{}_REG")),
    "URAM288": _memory(delays.ULTRA_RAM_CLOCK_TO_OUT, delays.ULTRA_RAM_SETUP, "OREG_{}"),
    "DSP48E2": _dsp,
}
