"""Completions from the hard block, as whole lines of host memory."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from rtl.constants import LINE_BITS
from rtl.memory.bursts import WINDOW_LINES
from rtl.pcie.layouts import BEAT, COMPLETION, DWORDS, TIMED_OUT, Status
from rtl.pcie.tag_table import LINES, TAG_BITS

PART = StructLayout(
    {
        "begins": 1,
        "ends": 1,
        "good": 1,
        "tag": TAG_BITS,
        "line": range(WINDOW_LINES),
        "lines": LINES,
        "completed": 1,
        "timed_out": 1,
        "here": 1,
        "data": LINE_BITS,
    }
)
"""What a beat of a completion says. ``line``, ``lines``, ``tag``, ``completed`` and ``timed_out`` are those of the
completion in all its beats; ``here`` if ``data`` is its next line; ``good`` if nothing is wrong up to here."""


class CompletionReader(wiring.Component):
    """Turns the beats of completions into lines, and says of each completion whether it is sound.

    Our reads begin and end with whole lines, and a host splits completions at multiples of 64 bytes (PCI Express 4.0,
    section 2.3.1.1). So a sound completion has whole lines too. A line begins in one beat, behind the descriptor's 12
    bytes, and ends in the next.

    Members
    -------
    i : In(stream.Signature(BEAT["rc"], always_ready=True))
        From the hard block.
    o : Out(stream.Signature(PART, always_ready=True))
        A part for each beat. Latency 2. No part has more lines than its completion announced.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(BEAT["rc"], always_ready=True)),
                "o": Out(stream.Signature(PART, always_ready=True)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        valid, beat = Signal(), Signal(BEAT["rc"])
        m.d.sync += valid.eq(self.i.valid)
        with m.If(self.i.valid):
            m.d.sync += beat.eq(self.i.p)

        head = data.View(COMPLETION, beat.data[: COMPLETION.size])
        begins, sound = Signal(), Signal()
        m.d.comb += [
            begins.eq(beat.user.begins[0]),
            sound.eq(
                (head.error == 0)
                & (head.status == Status.SUCCESSFUL)
                & ~head.poisoned
                & ~head.locked
                & (head.dwords != 0)
                & (head.dwords % DWORDS == 0)
                & (head.dwords <= WINDOW_LINES * DWORDS)
                & (head.address % (LINE_BITS // 8) == 0)
            ),
        ]
        part, kept = Signal(PART), Signal(PART)
        rest = Signal(LINE_BITS - COMPLETION.size)  # the line's beginning, from the beat before
        remaining = Signal(LINES)
        with m.If(begins):
            m.d.comb += [
                part.tag.eq(head.tag),
                part.line.eq(head.address // (LINE_BITS // 8)),
                part.lines.eq(head.dwords // DWORDS),
                part.completed.eq(head.completed),
                part.timed_out.eq(head.error == TIMED_OUT),
                part.good.eq(sound & ~beat.user.discontinue & ~beat.last),
            ]
        with m.Else():
            m.d.comb += [
                part.tag.eq(kept.tag),
                part.line.eq(kept.line),
                part.lines.eq(kept.lines),
                part.completed.eq(kept.completed),
                part.timed_out.eq(kept.timed_out),
                part.here.eq(remaining != 0),
                part.good.eq(kept.good & ~beat.user.discontinue & (beat.last == (remaining == 1))),
            ]
        m.d.comb += [
            part.begins.eq(begins),
            part.ends.eq(beat.last),
            part.data.eq(Cat(rest, beat.data[: COMPLETION.size])),
        ]
        m.d.sync += self.o.valid.eq(valid)
        with m.If(valid):
            m.d.sync += [
                self.o.p.eq(part),
                kept.eq(part),
                rest.eq(beat.data[COMPLETION.size :]),
                remaining.eq(Mux(begins, part.lines, remaining - part.here)),
            ]
        return m
