"""A compiled engine as a device: shared buffer, registers and time, for transports, benchmarks and tests."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from typing import Any

from omap.errors import DeviceError
from omap.regmap import BY_NAME
from omap.wire import RING_LINES, BufferLayout
from rtl.config import EngineConfig
from rtl.engine import Engine
from sim.bench.build import FAST
from sim.bench.compiled import CompiledBench, Design
from sim.device.known import DEVICE_ID
from sim.device.map_bench import WORD_BYTES, attach_hbm, engine_hbm_port
from sim.models.memory import Memory
from sim.models.timing import HbmTiming, HostTiming

BUFFER_ADDRESS = 0x2_0000_0000
"""Bus address of the shared buffer, anything that is not 0."""

BUS_CYCLES = 64
"""Most cycles that a register access may take."""

BATCH = 64
"""Words of noise put before the device at a time."""


def engine_design(config: EngineConfig) -> Design:
    """Return the engine of a configuration, compiled; kept from run to run."""
    return Design(Engine(config), flags=FAST)


def random_words() -> Iterable[int]:
    """Yield 128-bit words from the operating system's source, for ever."""
    while True:
        yield int.from_bytes(secrets.token_bytes(WORD_BYTES), "little")


class EngineRun:
    """One engine with its memories, started by its registers.

    Parameters
    ----------
    design : Design
        Of :func:`engine_design`.
    config : EngineConfig
        The engine.
    root_key : bytes
        32 secret bytes, provisioned once.
    ring_lines : int
        Lines of each ring.
    noise : iterable of int, optional
        128-bit words; the operating system's source by default.
    seed : int
        Of the memories' latencies.
    hbm, host : HbmTiming, HostTiming, optional
        Timing of the memories.
    start : bool
        Whether to start the kernel at once.

    Attributes
    ----------
    bench : CompiledBench
        The run.
    buffer : memoryview
        The shared buffer.
    """

    hbm_port = staticmethod(engine_hbm_port)

    # Many: each after the third is an option of its own that few runs give.
    def __init__(
        self,
        design: Design,
        config: EngineConfig,
        root_key: bytes,
        *,
        ring_lines: int = RING_LINES,
        noise: Iterable[int] | None = None,
        seed: int = 0,
        hbm: HbmTiming | None = None,
        host: HostTiming | None = None,
        start: bool = True,
    ) -> None:
        self.config, self.layout = config, BufferLayout(config.params, ring_lines)
        self.bench: CompiledBench = design.bench(seed=seed)
        self.memory = Memory(-(-self.layout.size // 4096) * 4096, BUFFER_ADDRESS)
        self.buffer = memoryview(self.memory.data.data)[: self.layout.size]
        self.host = self.bench.memory("m_axi_host", self.memory, replace(host or HostTiming(), ids=config.host_ids))
        self.hbm: list[Any] = attach_hbm(self.bench, config, hbm, name=self.hbm_port)
        self._noise = iter(random_words() if noise is None else noise)
        self.provision(root_key)
        if start:
            self.start()

    def provision(self, root_key: bytes) -> None:
        """Give the engine what a board would: an id, and one root key after each reset."""
        self.bench.set("device_id", int.from_bytes(DEVICE_ID, "little"))
        self.bench.source("i_root_key").push([int.from_bytes(root_key, "little")])
        self._feed()

    def start(self) -> None:
        """Give the kernel its arguments and start it."""
        self.write("BUFFER_LOW", BUFFER_ADDRESS & 0xFFFF_FFFF)
        self.write("BUFFER_HIGH", BUFFER_ADDRESS >> 32)
        self.write("RING_LINES", self.layout.ring_lines)
        self.write("CTRL", 1)

    def _feed(self) -> None:
        source = self.bench.source("i_noise")
        if source.remaining < BATCH // 2:
            source.push(list(islice(self._noise, BATCH)))

    def step(self, cycles: int = 256) -> None:
        """Let time pass."""
        self._feed()
        self.bench.run(cycles)

    def until(self, done: Callable[[], bool], *, limit: int, cycles: int = 64) -> int:
        """Let time pass until ``done()``, and return the cycle; raise DeviceError after ``limit`` cycles."""
        end = self.bench.cycle + limit
        while not done():
            if self.bench.cycle >= end:
                raise DeviceError(f"the simulated engine has not got there in {limit} cycles")
            self.step(cycles)
        return self.bench.cycle

    # -- registers ----------------------------------------------------------------------------------------------

    def read(self, name: str) -> int:
        """Return a register's value, over the bus."""
        return self.read_word(BY_NAME[name].offset)

    def write(self, name: str, value: int) -> None:
        """Set a register, over the bus."""
        self.write_word(BY_NAME[name].offset, value)

    def _port(self, signal: str) -> str:
        """Return the port of a signal of the registers' bus."""
        return f"s_axi_control__{signal}"

    def read_word(self, offset: int) -> int:
        """Return the word at an offset."""
        bench, port = self.bench, self._port
        bench.set(port("araddr"), offset)
        self._offer("ar")
        bench.run_until(limit=BUS_CYCLES, values={port("rvalid"): 1})
        value = bench.get(port("rdata"))
        bench.set(port("rready"), 1)
        bench.run(1)
        bench.set(port("rready"), 0)
        return value

    def write_word(self, offset: int, value: int) -> None:
        """Write the word at an offset."""
        bench, port = self.bench, self._port
        for signal, word in (("awaddr", offset), ("wdata", value), ("wstrb", 0xF)):
            bench.set(port(signal), word)
        self._offer("aw", "w")
        bench.run_until(limit=BUS_CYCLES, values={port("bvalid"): 1})
        bench.set(port("bready"), 1)
        bench.run(1)
        bench.set(port("bready"), 0)

    def _offer(self, *names: str) -> None:
        """Hold valid on channels until each was taken, in whatever order."""
        bench, port, channels = self.bench, self._port, list(names)
        for channel in channels:
            bench.set(port(f"{channel}valid"), 1)
        for _ in range(BUS_CYCLES):
            taken = [channel for channel in channels if bench.get(port(f"{channel}ready"))]
            bench.run(1)
            for channel in taken:
                bench.set(port(f"{channel}valid"), 0)
            channels = [channel for channel in channels if channel not in taken]
            if not channels:
                return
        raise DeviceError(f"the simulated bus took nothing on {', '.join(channels)} for {BUS_CYCLES} cycles")
