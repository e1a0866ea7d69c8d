"""Comparison of runs that differ in secrets alone: what shows outside, when, and what stays behind inside."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from amaranth.hdl import Value

from sim.bench.amaranth_bench import AmaranthBench

State = list[tuple[str, int]]


class Recorder:
    """Notes the values of all output ports in every cycle from the first.

    Parameters
    ----------
    bench : AmaranthBench
        A bench that has not run yet.
    times_only : bool
        Leave payloads of streams out: what remains is when things happen.
    data : collection of str
        Other outputs that carry data as payloads do.

    Attributes
    ----------
    rows : list of tuple of int
        One row for each cycle.
    """

    def __init__(self, bench: AmaranthBench, *, times_only: bool = False, data: Iterable[str] = ()) -> None:
        self.rows: list[tuple[int, ...]] = []
        payloads = {flow.payload for flow in bench.ports.streams.values()} | {*data}
        self._values = [
            Value.cast(port.value)
            for name, port in bench.ports.ports.items()
            if not port.input and not (times_only and name in payloads)
        ]
        bench.simulator.add_process(self._process)

    async def _process(self, ctx: Any) -> None:
        async for _, _, *values in ctx.tick().sample(*self._values):
            self.rows.append(tuple(values))


def state(bench: AmaranthBench, *, without_memories_of: Iterable[str] = ()) -> State:
    """Return every register and every memory row in the design, with a name for messages.

    Memories that a source file ending in one of ``without_memories_of`` makes are left out.
    """
    bench.run(0)
    found: State = []
    for slot in bench.simulator._engine._state.slots:  # there is no public way to list what a design holds
        if hasattr(slot, "signal"):
            found += [] if slot.is_comb else [(slot.signal.name, slot.curr)]
        elif not slot.memory.src_loc[0].endswith(tuple(without_memories_of) or "\0"):
            found += [(f"memory row {index}", row) for index, row in enumerate(slot.data)]
    return found


def differences(one: State, other: State) -> list[str]:
    """Return the names of what differs between two states of one design."""
    return [name for (name, a), (_, b) in zip(one, other, strict=True) if a != b]
