"""Shapes and conventions that all blocks share.

Byte order
    Bytes travel as on AXI: byte ``i`` of a beat is bits ``8 * i + 7`` to ``8 * i``. A beat of ``lanes`` lanes carries
    ``lanes`` blocks of 16 bytes; lane ``l`` is bytes ``16 * l`` to ``16 * l + 15``. Keys, nonces and tags lie the same
    way, byte 0 in the lowest bits. Where a standard reads bytes as a big-endian number, :func:`swap_bytes` turns one
    into the other; it is wiring and costs nothing.

Streams
    Every data port is an :class:`amaranth.lib.stream.Signature`. A stream made with ``always_ready=True`` cannot be
    held back: its producer has a fixed latency and its consumer has room kept free.

Erasure
    Blocks that hold keys have an ``erase`` input. One cycle of it acts like a reset of the block, keys included: what
    was under way is dropped, and a payload that was on offer is withdrawn. It is the one exception to the rule that
    an offered payload stays until it is taken.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Value, ValueLike
from amaranth.lib.data import StructLayout

from omap.errors import ParamsError
from rtl.constants import BLOCK_BITS

NONCE_BITS = 96


def page_beat(lanes: int) -> StructLayout:
    """Return the payload of a stream of page or record beats: ``data``, and ``last`` on the last beat of each."""
    return StructLayout({"data": lanes * BLOCK_BITS, "last": 1})


def swap_bytes(value: ValueLike) -> Value:
    """Return ``value`` with its bytes in the opposite order."""
    value = Value.cast(value)
    assert len(value) % 8 == 0, f"swap_bytes takes whole bytes, not {len(value)} bits"
    return Cat(value[at : at + 8] for at in reversed(range(0, len(value), 8)))


def in_bits(value: ValueLike, bits: int) -> Value:
    """Return ``value`` in so many bits: with zeros above it, or without its upper bits."""
    return Cat(value, Const(0, bits))[:bits]


def require(condition: bool, message: str) -> None:
    """Refuse a parameter: raise ParamsError with ``message`` unless ``condition`` holds."""
    if not condition:
        raise ParamsError(message)


def require_whole(name: str, value: object, least: int, most: int) -> None:
    """Refuse ``value`` unless it is a whole number from ``least`` to ``most``."""
    require(
        type(value) is int and least <= value <= most,
        f"{name} is {value!r}; it must be a whole number from {least} to {most}",
    )


def require_one_of(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse ``value`` unless it is one of ``choices``."""
    require(value in choices, f"{name} is {value!r}; it must be one of {', '.join(map(str, choices))}")
