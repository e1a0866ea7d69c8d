"""What travels on the four streams of the PCIe hard block, 512 bits wide.

The block is the PCIE4C of UltraScale+ devices, with double words aligned and straddling switched off: a TLP begins in
the lowest bits of a beat, and nothing follows it in its last beat. Each TLP begins with a descriptor in the place of
its header. The layouts follow AMD PG213, "512-bit Completer Interface" and "512-bit Requester Interface". Fields begin
at bit 0. What begins with ``gap`` is reserved.

========== ============ ==================================================
stream     direction    carries
========== ============ ==================================================
RQ         out          our requests to host memory
RC         in           the completions of our reads
CQ         in           what the host asks of the register BAR
CC         out          the completions of its reads
========== ============ ==================================================
"""

from __future__ import annotations

from enum import IntEnum

from amaranth.lib.data import StructLayout

from rtl.constants import LINE_BITS

DWORD_BITS = 32
DWORDS = LINE_BITS // DWORD_BITS
"""Double words of a beat, which are those of a line of host memory too."""


class Type(IntEnum):
    """Kinds of requests. Those above :attr:`LAST_COMPLETED` are messages, which ask for no completion."""

    READ = 0
    WRITE = 1
    READ_LOCKED = 7
    LAST_COMPLETED = 11
    """Up to here everything but :attr:`WRITE` must be completed."""


class Status(IntEnum):
    """How a completion ended."""

    SUCCESSFUL = 0
    UNSUPPORTED = 1
    ABORTED = 4


TIMED_OUT = 0b1001
"""Error code of a request that nobody completed in the time that the host has set."""

REQUEST = StructLayout(
    {
        "translation": 2,
        "address": 62,  # of a double word
        "dwords": 11,
        "type": 4,
        "poisoned": 1,
        "requester": 16,
        "tag": 8,
        "completer": 16,
        "requester_given": 1,
        "traffic_class": 3,
        "attributes": 3,
        "ecrc": 1,
    }
)
"""Descriptor on RQ. The block fills in who asks unless ``requester_given`` says otherwise."""

COMPLETION = StructLayout(
    {
        "address": 12,
        "error": 4,
        "bytes": 13,
        "locked": 1,
        "completed": 1,
        "gap_1": 1,
        "dwords": 11,
        "status": 3,
        "poisoned": 1,
        "gap_2": 1,
        "requester": 16,
        "tag": 8,
        "completer": 16,
        "gap_3": 1,
        "traffic_class": 3,
        "attributes": 3,
        "gap_4": 1,
    }
)
"""Descriptor on RC. ``completed`` marks the last completion of a request, after which its tag is free again."""

ASKED = StructLayout(
    {
        "translation": 2,
        "address": 62,  # of a double word
        "dwords": 11,
        "type": 4,
        "gap_1": 1,
        "requester": 16,
        "tag": 8,
        "function": 8,
        "bar": 3,
        "aperture": 6,
        "traffic_class": 3,
        "attributes": 3,
        "gap_2": 1,
    }
)
"""Descriptor on CQ."""

ANSWER = StructLayout(
    {
        "address": 7,
        "gap_1": 1,
        "translation": 2,
        "gap_2": 6,
        "bytes": 13,
        "locked": 1,
        "gap_3": 2,
        "dwords": 11,
        "status": 3,
        "poisoned": 1,
        "gap_4": 1,
        "requester": 16,
        "tag": 8,
        "function": 8,
        "bus": 8,
        "completer_given": 1,
        "traffic_class": 3,
        "attributes": 3,
        "ecrc": 1,
    }
)
"""Descriptor on CC."""

REFUSED = StructLayout({"answer": ANSWER, "first_enable": 4, "last_enable": 4, "gap": 24, "asked": ASKED})
"""What goes to CC with an error: behind the descriptor that of the request, which the block needs for its error log."""

FRAME = {"begins": 2, "begin_at": 4, "ends": 2, "end_at": 8}
"""Where up to two TLPs begin and end in a beat: whether, and at which place."""

USER = {
    "rq": StructLayout(
        {
            "first_enable": 8,
            "last_enable": 8,
            "offset": 4,
            **FRAME,
            "discontinue": 1,
            "hints": 24,
            "sequence": 12,
            "parity": 64,
        }
    ),
    "rc": StructLayout(
        {
            "enables": 64,
            "begins": 4,
            "begin_at": 8,
            "ends": 4,
            "end_at": 16,
            "discontinue": 1,
            "parity": 64,
        }
    ),
    "cq": StructLayout(
        {
            "first_enable": 8,
            "last_enable": 8,
            "enables": 64,
            **FRAME,
            "discontinue": 1,
            "hints": 22,
            "parity": 64,
        }
    ),
    "cc": StructLayout({**FRAME, "discontinue": 1, "parity": 64}),
}
"""What the side band of each stream carries; of fields for two TLPs the lower half is the one that is used."""

BEAT = {name: StructLayout({"data": LINE_BITS, "keep": DWORDS, "last": 1, "user": user}) for name, user in USER.items()}
"""Payload of each stream: ``tdata``, ``tkeep``, ``tlast`` and ``tuser``."""

SEQUENCE = StructLayout({"number": 6, "valid": 1})
"""A sequence number that comes back from the block: no completion can overtake the request that had it any more."""

ORDERED = 1 << 5
"""Bit of a sequence number that marks a write. Reads have the number 0, which nobody looks at."""
