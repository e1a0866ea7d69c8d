"""The transport ``rtl``: the generated accelerator, compiled and simulated, behind the same seam as a card.

Time passes only while the host waits or reads registers. This process holds the root key and the device's memory: it
shows how the accelerator behaves, and protects nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from host.device.transport import Transport
from host.keyfile import read_root_file
from omap.errors import DeviceError, InputError
from omap.params import Params
from rtl.config import EngineConfig
from sim.device.engine_run import EngineRun, engine_design

CYCLES = 512
"""Cycles that pass while the host waits."""

PATIENCE = 100.0
"""A simulated cycle takes thousands of times as long as one of a card, but a host waits for few of them."""


class RtlTransport(Transport):
    """A simulated engine.

    Parameters
    ----------
    run : EngineRun
        The engine, started.

    Attributes
    ----------
    run : EngineRun
        The same.
    """

    patience = PATIENCE

    def __init__(self, run: EngineRun) -> None:
        super().__init__(run.layout)
        self.run = run
        self.buffer = run.buffer
        self._open = True

    def read(self, name: str) -> int:
        """Return a register's value."""
        self.check()
        return self.run.read(name)

    def write(self, name: str, value: int) -> None:
        """Set a register."""
        self.check()
        self.run.write(name, value)

    def check(self) -> None:
        """Raise DeviceError if the transport was closed."""
        if not self._open:
            raise DeviceError("the device is gone: the transport was closed; open it again")

    def wait(self, timeout: float, turn: int = 0) -> None:
        """Let the engine run for some cycles."""
        self.check()
        self.run.step(CYCLES)

    def close(self) -> None:
        """Drop the engine: keys and map are gone."""
        self._open = False


def open_rtl(
    params: Params,
    *,
    ring_lines: int,
    key_file: str | os.PathLike[str] | None,
    seed: int = 0,
    noise: Iterable[int] | None = None,
    journal: bool = False,
) -> RtlTransport:
    """Open the transport; compiles the engine at the first use of its parameters, which takes a minute or two.

    Parameters
    ----------
    params : Params
        The map.
    ring_lines : int
        Lines of each ring.
    key_file : path
        Root key file.
    seed : int
        Of the simulated latencies.
    noise : iterable of int, optional
        128-bit words; the operating system's by default.
    journal : bool
        Whether the engine writes a journal.
    """
    if key_file is None:
        raise InputError("a simulated engine needs a root key file: `omap provision FILE` writes one")
    key = read_root_file(key_file)
    config = EngineConfig(params=params, journal=journal)
    return RtlTransport(EngineRun(engine_design(config), config, key, ring_lines=ring_lines, seed=seed, noise=noise))
