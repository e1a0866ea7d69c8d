"""What the packager must know of the design that becomes a kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Register:
    """A register of a kernel: of its control, or one of its arguments.

    Parameters
    ----------
    name : str
        As the packager and XRT know it.
    offset, bits : int
        Where it is, and how wide.
    bus : str or None
        The memory port that a pointer belongs to.
    """

    name: str
    offset: int
    bits: int
    bus: str | None = None


@dataclass(frozen=True)
class Kernel:
    """The design that becomes a kernel.

    Parameters
    ----------
    top : str
        The top module.
    ports : mapping
        Its ports: name to direction and width.
    clock, reset : str
        Two of its ports.
    registers : tuple of Register
        The registers that the core must have, and no others.
    """

    top: str
    ports: Mapping[str, tuple[str, int]]
    clock: str
    reset: str
    registers: tuple[Register, ...]
