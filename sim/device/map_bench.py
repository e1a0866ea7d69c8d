"""Runs a map's core in simulation: memories, secrets, commands and replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from omap.columns import Columns
from omap.crypto import Secrets
from omap.operations import Kind, Operation, Response, Status
from omap.wire import RecordCodec
from rtl.config import EngineConfig
from rtl.map.core import PROGRESS
from sim.bench.base import Bench
from sim.models.memory import Memory
from sim.models.timing import HbmTiming, HostTiming

WORD_BYTES = 16


class Reply(NamedTuple):
    """What the core says of one operation: its outcome and number, live keys after it, and overruns so far."""

    response: Response
    sequence: int
    live: int
    overruns: int


def channel_memories(config: EngineConfig) -> list[Memory]:
    """Return a memory for every HBM port of an engine, no larger than what lies there."""
    memories = []
    for name, layout in config.layouts.items():
        for k in range(layout.channels):
            size = layout.below(layout.items, k) * layout.item_bytes
            memories.append(Memory(-(-size // 4096) * 4096, config.first_channel[name] + k << config.channel_bits))
    return memories


def secret_words(secrets: Secrets) -> list[int]:
    """Return the words of the secrets of a format."""
    stream = secrets.page_secret + secrets.draw_seed + secrets.hash_key + secrets.map_id
    return [int.from_bytes(stream[at : at + WORD_BYTES], "little") for at in range(0, len(stream), WORD_BYTES)]


def engine_hbm_port(channel: int) -> str:
    """Return the name of an engine's port of an HBM channel."""
    return f"m_axi_hbm__{channel}"


def attach_hbm(
    bench: Bench,
    config: EngineConfig,
    timing: HbmTiming | None = None,
    *,
    name: Callable[[int], str] = engine_hbm_port,
) -> list[Any]:
    """Put an HBM model on every HBM port, called ``name(channel)``, and return them."""
    timing = timing or HbmTiming()
    return [bench.memory(name(index), memory, timing) for index, memory in enumerate(channel_memories(config))]


class CoreRun:
    """One run of :class:`tests.support.designs.core_on_host.CoreOnHost`.

    Parameters
    ----------
    bench : Bench
        Fresh, of the design.
    config : EngineConfig
        The engine.
    base : int
        Bus address of page 0.
    hbm, host : HbmTiming, HostTiming, optional
        Timing of the memories.

    Attributes
    ----------
    memory : Memory
        Host memory: the pages.
    """

    def __init__(
        self,
        bench: Bench,
        config: EngineConfig,
        *,
        base: int = 0x1_0000_0000,
        hbm: HbmTiming | None = None,
        host: HostTiming | None = None,
    ) -> None:
        self.bench, self.config, self.base = bench, config, base
        params = config.params
        self.memory = Memory(-(-params.host_bytes // 4096) * 4096, base)
        self.host = bench.memory("m_axi_host", self.memory, replace(host or HostTiming(), ids=config.host_ids))
        self.hbm = attach_hbm(bench, config, hbm)
        bench.set("base", base)

    def format(self, secrets: Secrets) -> None:
        """Format the map under given secrets."""
        self.bench.source("i_secrets").push(secret_words(secrets))
        self._pulse("format")
        limit = 20_000 + 40 * self.config.params.pages * self.config.page_beats + 40 * self.config.params.buckets
        self.bench.run_until(limit=limit, values={"formatted": 1})

    def begin_scan(self) -> int:
        """Begin a scan, and return how many slots will leave."""
        self._pulse("scan")
        codec = RecordCodec(self.config.params)
        return codec.chunks * codec.most_operations

    def scan(self) -> Columns:
        """Return all slots, and the NOPs behind them."""
        self.settle()
        slots = self.begin_scan()
        limit = 50_000 + 40 * slots + 5000 * self.config.params.pages
        self.bench.run_until(limit=limit, transfers={"o_slot": slots})
        return self.slots()

    def slots(self) -> Columns:
        """Return the slots that have come since the last call."""
        key, value = self.config.params.key_bytes, self.config.params.value_bytes
        taken = self.bench.sink("o_slot").take()
        rows = b"".join((slot >> 2).to_bytes(key + value, "little") for slot in taken)
        tuples = np.frombuffer(rows, np.uint8).reshape(-1, key + value)
        return Columns(np.array([slot & 3 for slot in taken], np.uint8), tuples[:, :key], tuples[:, key:])

    def drop(self) -> None:
        """Have the map forgotten."""
        self.settle()
        self._pulse("drop")
        self.settle()

    def _pulse(self, name: str) -> None:
        self.bench.set(name, 1)
        self.bench.run(1)
        self.bench.set(name, 0)
        self.bench.run(1)

    def push(self, batch: Sequence[Operation]) -> None:
        """Queue operations."""
        key, value = self.config.params.key_bytes, self.config.params.value_bytes
        rows = np.frombuffer(
            b"".join(_command(op, key, value).to_bytes(-(-(2 + 8 * (key + value)) // 8), "little") for op in batch),
            np.uint8,
        )
        if len(batch):
            self.bench.source("i_command").push(rows.reshape(len(batch), -1))

    def take(self) -> list[Reply]:
        """Return the replies that have come since the last call."""
        value = 8 * self.config.params.value_bytes
        replies = []
        for item in self.bench.sink("o_reply").take():
            fields = []
            for width in (2, 1, value, 32, 64, 64):
                fields.append(item & (1 << width) - 1)
                item >>= width
            status, found, data, overruns, operation, live = fields
            previous = data.to_bytes(value // 8, "little") if found else None
            replies.append(Reply(Response(Status(status), previous), operation, live, overruns))
        return replies

    def execute(self, batch: Sequence[Operation], *, limit: int | None = None) -> list[Reply]:
        """Run operations and return their replies."""
        self.push(batch)
        self.bench.run_until(limit=limit or 4000 + 2000 * len(batch), transfers={"o_reply": len(batch)})
        return self.take()

    def settle(self) -> None:
        """Let what is under way come to rest."""
        self.bench.run_until(limit=20_000, values={"idle": 1})

    def pages(self) -> bytes:
        """Return host memory: all pages."""
        return self.memory.data[: self.config.params.host_bytes].tobytes()


def _command(operation: Operation, key_bytes: int, value_bytes: int) -> int:
    kind, key, value = operation
    if kind == Kind.NOP:
        return 0
    found = int(kind) | int.from_bytes(key.ljust(key_bytes, b"\0"), "little") << 2
    return found | int.from_bytes(value, "little") << 2 + 8 * key_bytes if kind == Kind.PUT else found


def stage_cycles(
    events: npt.NDArray[np.void], names: Sequence[str] = PROGRESS, *, before: int = 0
) -> dict[str, npt.NDArray[np.int64]]:
    """Return when operations passed each stage, from the events of a port ``progress`` whose bits have these names.

    ``before`` is what the port showed before the first event.
    """
    values = events["address"].astype(np.uint64)
    turned = values ^ np.concatenate([np.array([before], np.uint64), values[:-1]])
    return {
        name: events["cycle"][(turned >> np.uint64(bit) & np.uint64(1)).astype(bool)] for bit, name in enumerate(names)
    }
