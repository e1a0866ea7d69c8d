"""The registers of a device. Model, RTL, driver and documentation are built from this one description.

Registers are 32 bits wide. Offsets 0x00 to 0x0C follow the ``ap_ctrl_hs`` protocol of AMD's kernels, whose arguments
start at 0x10. All registers are public. Values that depend on secrets travel in sealed responses only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from omap.params import Params
from omap.wire import SESSIONS, WIRE_VERSION

IDENTITY = 0x4F4D4150
"""The letters ``OMAP``."""


class Access(StrEnum):
    """What the host may do with a register."""

    READ = "read"
    WRITE = "write"
    READ_WRITE = "read, write"


class State(IntEnum):
    """Field ``state`` of STATUS."""

    IDLE = 0
    FORMATTING = 1
    READY = 2
    FAULT = 3
    STOPPED = 4
    EXPORTING = 5
    RESTORING = 6


class Fault(IntEnum):
    """Values of FAULT: why the device erased its keys. They do not show whose operation it was, or which."""

    NONE = 0
    PAGE_TAG = 1
    EXHAUSTED = 2
    BUS = 3
    INTERNAL = 4


class Request(IntEnum):
    """Values of REQUEST."""

    NONE = 0
    FORMAT = 1
    STOP = 2
    EXPORT = 3
    RESTORE = 4


@dataclass(frozen=True)
class Field:
    """Bits ``low`` to ``low + width - 1`` of a register."""

    name: str
    low: int
    width: int
    text: str


@dataclass(frozen=True)
class Register:
    """One 32-bit register.

    Parameters
    ----------
    name : str
        Name, as the driver and the RTL use it.
    offset : int
        Byte offset, a multiple of 4.
    access : Access
        What the host may do.
    text : str
        Purpose of the register.
    fields : tuple of Field
        Its fields; none if it is one number.
    """

    name: str
    offset: int
    access: Access
    text: str
    fields: tuple[Field, ...] = ()

    def field(self, name: str, value: int) -> int:
        """Return the field called ``name`` in the register value ``value``.

        Raises
        ------
        KeyError
            If the register has no such field.
        """
        for field in self.fields:
            if field.name == name:
                return value >> field.low & (1 << field.width) - 1
        raise KeyError(f"{self.name} has no field {name!r}")

    def word(self, **values: int) -> int:
        """Return the register value whose fields have ``values``; fields that are not named are 0."""
        fields = {field.name: field for field in self.fields}
        return sum(value << fields[name].low for name, value in values.items())


_READ, _WRITE, _BOTH = Access

REGISTERS: tuple[Register, ...] = (
    Register(
        "CTRL",
        0x00,
        _BOTH,
        "Kernel control (ap_ctrl_hs).",
        (
            Field("start", 0, 1, "Write 1 to start; the buffer and its size must be set."),
            Field("done", 1, 1, "The kernel has stopped."),
            Field("idle", 2, 1, "The kernel is not running."),
            Field("ready", 3, 1, "The kernel can be started again."),
        ),
    ),
    Register("GIER", 0x04, _BOTH, "Global interrupt enable (ap_ctrl_hs)."),
    Register("IER", 0x08, _BOTH, "Interrupt enable (ap_ctrl_hs)."),
    Register("ISR", 0x0C, _BOTH, "Interrupt status (ap_ctrl_hs)."),
    Register("BUFFER_LOW", 0x10, _BOTH, "Bits 31:0 of the shared buffer's bus address."),
    Register("BUFFER_HIGH", 0x14, _BOTH, "Bits 63:32 of the shared buffer's bus address."),
    Register("RING_LINES", 0x1C, _BOTH, "Lines in each ring, a power of two from 128 to 65536."),
    Register("REQUEST", 0x24, _BOTH, "1: format, 2: stop, 3: export, 4: restore. Reads 0 once the request is done."),
    Register("IDENTITY", 0x40, _READ, f"{IDENTITY:#x}, the letters OMAP: this is an oblivious map."),
    Register(
        "VERSION",
        0x44,
        _READ,
        "What it speaks.",
        (Field("wire", 0, 16, "Version of records, rings and registers."), Field("sessions", 16, 8, "Open at once.")),
    ),
    Register(
        "MODE",
        0x48,
        _READ,
        "What the board guarantees, and what it is.",
        (
            Field("hbm_private", 0, 1, "No path leads from the host to device memory."),
            Field("attested", 1, 1, "Only the encrypted bitstream boots, as its user configured."),
            Field("hardware", 2, 1, "This is a card; 0 in a model or a simulation."),
            Field("insecure", 3, 1, "A stand-in for measuring, which hides nothing from anybody."),
            Field("journal", 4, 1, "It writes a journal, and exports and restores its map when it is asked to."),
        ),
    ),
    Register("STATUS", 0x4C, _READ, "What it is doing.", (Field("state", 0, 4, "See omap.regmap.State."),)),
    Register("FAULT", 0x50, _READ, "Why it has erased its keys; see omap.regmap.Fault."),
    *(
        Register(
            f"DIGEST_{word}", 0x60 + 4 * word, _READ, f"Bytes {4 * word} to {4 * word + 3} of the digest, big-endian."
        )
        for word in range(8)
    ),
)

BY_NAME = {register.name: register for register in REGISTERS}
REGISTER_BYTES = 0x100
"""Size of the register window."""

HBM_POINTERS = 0x400
"""Offset of the first pointer to a memory port. AMD's linker needs these pointers, and the engine ignores them.

The linker connects a port only where a 64-bit argument names it. So under a shell HBM port ``i`` has an argument,
``hbm_NN``, at :func:`hbm_pointer` of ``i``. The arguments are no registers: they read 0, and written values are
forgotten. The ports know the addresses of their pseudo-channels without them.
"""

POINTER_STRIDE = 12
"""Bytes from one 64-bit argument of an ``ap_ctrl_hs`` kernel to the next."""

MIRROR = 0x100
"""Offset in the control block where the device repeats its registers, for a host that can't read registers."""


def hbm_pointer(port: int) -> int:
    """Return the offset of the pointer that names HBM port ``port``."""
    return HBM_POINTERS + POINTER_STRIDE * port


class RegisterFile:
    """32-bit registers by name, in memory that host and device share.

    Parameters
    ----------
    memory : bytearray or memoryview
        ``REGISTER_BYTES`` bytes: little-endian words at the offsets of this module. Without it the file has its own.
    """

    def __init__(self, memory: bytearray | memoryview | None = None) -> None:
        self.memory = bytearray(REGISTER_BYTES) if memory is None else memory

    def read(self, name: str) -> int:
        """Return the value of a register. Every value is public."""
        return self._word(name)[0]

    def write(self, name: str, value: int) -> None:
        """Set a register. The host sees every value."""
        self._word(name)[0] = value

    def _word(self, name: str) -> memoryview:
        # one load or store: struct moves single bytes and clears first, which the other side could see
        offset = BY_NAME[name].offset
        return memoryview(self.memory)[offset : offset + 4].cast("I")


def identity(
    params: Params,
    *,
    hbm_private: bool,
    attested: bool,
    hardware: bool,
    insecure: bool = False,
    journal: bool = False,
) -> dict[str, int]:
    """Return the values of the registers that say what a device is."""
    values = {
        "IDENTITY": IDENTITY,
        "VERSION": BY_NAME["VERSION"].word(wire=WIRE_VERSION, sessions=SESSIONS),
        "MODE": BY_NAME["MODE"].word(
            hbm_private=hbm_private, attested=attested, hardware=hardware, insecure=insecure, journal=journal
        ),
    }
    for word in range(8):
        values[f"DIGEST_{word}"] = int.from_bytes(params.digest[4 * word : 4 * word + 4], "big")
    return values
