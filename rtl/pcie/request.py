"""How a request to host memory begins, the same for reads and for writes.

All requests are ordered strictly: no relaxed and no id-based ordering, one traffic class. By PCI Express 4.0, table
2-40, a write then overtakes no write, and a read overtakes no write; a write may overtake a read.
"""

from __future__ import annotations

from amaranth.hdl import Module, Value
from amaranth.lib import data

from rtl.pcie.cutter import LINE_ADDRESS_BITS
from rtl.pcie.layouts import DWORD_BITS, DWORDS, REQUEST, Type

BYTES = DWORD_BITS // 8
ALL_BYTES = (1 << BYTES) - 1


def begin_request(m: Module, beat: data.View, *, kind: Type, line: Value, lines: Value, tag: Value | int = 0) -> None:
    """Drive descriptor and side band of a first beat: whole lines, all bytes, the block's own id, strict order."""
    descriptor = data.View(REQUEST, beat.data[: REQUEST.size])
    assert len(line) == LINE_ADDRESS_BITS
    m.d.comb += [
        descriptor.address.eq(line * DWORDS),
        descriptor.dwords.eq(lines * DWORDS),
        descriptor.type.eq(kind),
        descriptor.tag.eq(tag),
        beat.user.first_enable.eq(ALL_BYTES),
        beat.user.last_enable.eq(ALL_BYTES),
        beat.user.begins[0].eq(1),
    ]
