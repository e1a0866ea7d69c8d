"""Tags of reads under way: what was asked under each, how much of it has come, and in which order they were given."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.memory.bursts import WINDOW_LINES
from rtl.stream.interfaces import require_one_of

TAG_BITS = 8
MOST_TAGS = 1 << TAG_BITS
PLAIN_TAGS = 32
"""Tags that a device has whose host allows no longer ones (PCI Express 4.0, section 2.2.6.2)."""

LINES = range(WINDOW_LINES + 1)


def entry(id_bits: int, buffer_lines: int) -> StructLayout:
    """Return what is kept of a read: AXI id, whether its burst ends with it, first line, lines, place in the buffer."""
    return StructLayout(
        {"id": id_bits, "last": 1, "line": range(WINDOW_LINES), "lines": LINES, "base": range(buffer_lines)}
    )


class TagTable(wiring.Component):
    """Gives tags in a circle and gives completed reads back in the same order, whatever order completions have.

    Parameters
    ----------
    shape : StructLayout
        Of :func:`entry`.
    tags : int
        Most tags: 32, 64, 128 or 256.

    Members
    -------
    extended : In(1)
        The host allows tags above 31. A change counts when no tag is given, and none is shown.
    shown : In(1)
        Tag ``tag`` is shown to somebody, so it must stay.
    free : Out(1)
        Tag ``tag`` can be given. It stays so until it is.
    tag : Out(8)
        The next tag.
    give : In(1)
        Give it; only if ``free``.
    given : In(shape)
        What is read under it.
    unasked : In(1)
        Nobody is asked: the read has failed as soon as its tag is given.
    look : In(1)
        Look up ``look_tag``. The four outputs below show what is found from the next cycle on, until the next look.
    look_tag : In(8)
    known : Out(1)
        The tag is under way.
    found : Out(shape)
        What is read under it.
    arrived : Out(range(65))
        Lines that have come.
    failed : Out(1)
        Something was wrong with it.
    note : In(1)
        Keep ``note_arrived`` and ``note_failed`` for the tag looked up last. Only if ``known``.
    note_arrived : In(range(65))
    note_failed : In(1)
    note_done : In(1)
        Nothing more comes for this tag.
    o : Out(stream.Signature({"read": shape, "failed": 1}))
        Reads that are done, in the order in which tags were given. A tag is free once its read is in the register of
        this output.
    idle : Out(1)
        Nothing is waited for.
    """

    def __init__(self, *, shape: StructLayout, tags: int) -> None:
        require_one_of("tags", tags, (32, 64, 128, 256))
        self.shape, self.tags = shape, tags
        super().__init__(
            {
                "extended": In(1),
                "shown": In(1),
                "free": Out(1),
                "tag": Out(TAG_BITS),
                "give": In(1),
                "given": In(shape),
                "unasked": In(1),
                "look": In(1),
                "look_tag": In(TAG_BITS),
                "known": Out(1),
                "found": Out(shape),
                "arrived": Out(LINES),
                "failed": Out(1),
                "note": In(1),
                "note_arrived": In(LINES),
                "note_failed": In(1),
                "note_done": In(1),
                "o": Out(stream.Signature(StructLayout({"read": shape, "failed": 1}))),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._asked = self._memory(m, "asked", self.shape)
        self._progress = self._memory(m, "progress", StructLayout({"arrived": LINES, "failed": 1}))
        # a tag is `waiting` until its read is done, and `fresh` until something has come for it
        self._waiting, self._fresh = Signal(self.tags), Signal(self.tags)
        noted = Signal(TAG_BITS)
        asks, done = self.give & ~self.unasked, self.note & self.note_done
        m.d.sync += [
            self._waiting.eq((self._waiting & ~self._only(noted, done)) | self._only(self.tag, asks)),
            self._fresh.eq((self._fresh & ~self._only(noted, self.note)) | self._only(self.tag, self.give)),
        ]
        self._look(m, noted)
        self._circle(m)
        waited = Signal(range(self.tags + 1))
        m.d.sync += waited.eq(waited + asks - done)
        m.d.comb += self.idle.eq(waited == 0)
        return m

    def _memory(self, m: Module, name: str, shape: StructLayout) -> Memory:
        m.submodules[name] = memory = Memory(shape=shape, depth=self.tags, init=[], attrs={"ram_style": "distributed"})
        return memory

    def _only(self, tag: Value, when: Value) -> Value:
        """Return a vector of all tags in which the bit of one is ``when``."""
        return Value.cast(when) << tag[: (self.tags - 1).bit_length()]

    def _bit(self, vector: Signal, tag: Value) -> Value:
        return vector.bit_select(tag[: (self.tags - 1).bit_length()], 1)

    def _look(self, m: Module, noted: Signal) -> None:
        """Look up a tag, and keep what is noted of it; the two may meet in one cycle."""
        asked, progress = self._asked.read_port(domain="comb"), self._progress.read_port(domain="comb")
        write = self._progress.write_port()
        same = Signal()
        m.d.comb += [
            asked.addr.eq(self.look_tag),
            progress.addr.eq(self.look_tag),
            same.eq(self.note & (noted == self.look_tag)),
            write.addr.eq(noted),
            write.en.eq(self.note),
            write.data.arrived.eq(self.note_arrived),
            write.data.failed.eq(self.note_failed),
        ]
        with m.If(self.look):
            m.d.sync += [
                noted.eq(self.look_tag),
                self.known.eq(
                    self._bit(self._waiting, self.look_tag) & (self.look_tag < self.tags) & ~(same & self.note_done)
                ),
                self.found.eq(asked.data),
                self.arrived.eq(progress.data.arrived),
                self.failed.eq(progress.data.failed),
            ]
            with m.If(same):
                m.d.sync += [self.arrived.eq(self.note_arrived), self.failed.eq(self.note_failed)]
            with m.Elif(self._bit(self._fresh, self.look_tag)):
                m.d.sync += [self.arrived.eq(0), self.failed.eq(0)]

    def _circle(self, m: Module) -> None:
        """Give tags, and offer what was read under them."""
        write = self._asked.write_port()
        asked, progress = self._asked.read_port(domain="comb"), self._progress.read_port(domain="comb")
        limit = Signal(range(self.tags + 1), init=PLAIN_TAGS)
        wanted = Mux(self.extended, self.tags, PLAIN_TAGS)
        used, oldest, load = Signal(range(self.tags + 1)), Signal(TAG_BITS), Signal()
        m.d.comb += [
            self.free.eq(used != limit),
            write.en.eq(self.give),
            write.addr.eq(self.tag),
            write.data.eq(self.given),
            asked.addr.eq(oldest),
            progress.addr.eq(oldest),
            load.eq((used != 0) & ~self._bit(self._waiting, oldest) & (~self.o.valid | self.o.ready)),
        ]
        m.d.sync += used.eq(used + self.give - load)
        with m.If(self.give):
            m.d.sync += self.tag.eq(Mux(self.tag == limit - 1, 0, self.tag + 1))
        with m.If(load):
            m.d.sync += [
                oldest.eq(Mux(oldest == limit - 1, 0, oldest + 1)),
                self.o.valid.eq(1),
                self.o.p.read.eq(asked.data),
                self.o.p.failed.eq(progress.data.failed | self._bit(self._fresh, oldest)),
            ]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If((used == 0) & ~self.give & ~self.shown & (limit != wanted)):
            m.d.sync += [limit.eq(wanted), self.tag.eq(0), oldest.eq(0)]
