"""The merge stage: takes a key from an opened page or from the tuples that wait for it, and fills free page slots."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import enum, stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.params import Params
from rtl.constants import BLOCK_BITS, LANES
from rtl.stream.interfaces import page_beat, require, require_one_of


class Verdict(enum.Enum, shape=2):
    """What became of a waiting tuple."""

    KEPT = 0
    """It goes on waiting, because the page is full."""
    MOVED = 1
    """It is in the page now; its waiting slot is free."""
    TAKEN = 2
    """It was the tuple of the key; its waiting slot is free."""


class PageMerge(wiring.Component):
    """Merges one page after the other. Must equal ``_touch`` of :class:`omap.map.PagedMap`.

    The key's tuple leaves its page slot, or is skipped among the waiting tuples. Then waiting tuples, oldest first, go
    to the lowest free page slots, as many as fit. Free page slots and padding of the page that goes out are zero.

    One page comes in and another goes out while a third is worked on. So a page takes as many cycles as it has beats,
    or four and one for each waiting tuple if these are more.

    Parameters
    ----------
    params : Params
        Gives the layout of keys, tuples and pages; a rule with pages.
    lanes : int
        Blocks of 16 bytes a beat, 1, 2 or 4.

    Members
    -------
    i_job : In(stream.Signature({"take": 1, "key": key, "occupancy": page_slots}))
        One for each page: the key to take, if ``take``, and which page slots are used.
    i_text : In(stream.Signature(page_beat(lanes)))
        Verified plaintext, :attr:`text_beats` for each page; ``last`` is ignored.
    i_waiting : In(stream.Signature({"end": 1, "entry": tuple}))
        The tuples that wait for the page, oldest first, then one item with ``end`` and no tuple.
    o_verdict : Out(stream.Signature(Verdict))
        One for each waiting tuple, in order.
    o_result : Out(stream.Signature({"found": 1, "value": value, "occupancy": page_slots}))
        One for each page: the value of the key, 0 if it was not found, and which page slots are used now.
    o_text : Out(stream.Signature(page_beat(lanes)))
        The page to seal.
    erase : In(1)
        One cycle of it clears every register and drops all that is under way.

    Countermeasures
    ---------------
    MERGE.TEXT.ERASE
        ``erase`` clears keys, pages and tuples.
    MERGE.TEXT.UNREADABLE
        ``o_result`` and ``o_text`` are zero while nothing is on offer.

    Raises
    ------
    ParamsError
        If the map has no pages, or they are no whole number of beats.
    """

    def __init__(self, params: Params, *, lanes: int = 1) -> None:
        require(params.page_slots > 0, f"rule is {params.rule}; only maps with pages have something to merge")
        require_one_of("lanes", lanes, LANES)
        require(
            params.page_bytes % (16 * lanes) == 0,
            f"page_bytes is {params.page_bytes}; {lanes} lanes need a multiple of {16 * lanes}",
        )
        self.params, self.lanes = params, lanes
        self.text_beats = params.page_bytes // (16 * lanes) - (lanes == 1)  # with one lane the tag has its own beat
        key, value = 8 * params.key_bytes, 8 * params.value_bytes
        occupancy = params.page_slots
        super().__init__(
            {
                "i_job": In(stream.Signature(StructLayout({"take": 1, "key": key, "occupancy": occupancy}))),
                "i_text": In(stream.Signature(page_beat(lanes))),
                "i_waiting": In(stream.Signature(StructLayout({"end": 1, "entry": key + value}))),
                "o_verdict": Out(stream.Signature(Verdict)),
                "o_result": Out(stream.Signature(StructLayout({"found": 1, "value": value, "occupancy": occupancy}))),
                "o_text": Out(stream.Signature(page_beat(lanes))),
                "erase": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m, inner = Module(), Module()
        self._merge(inner)
        # SEC_CM: MERGE.TEXT.ERASE -- there is no register that it spares
        m.submodules.inner = ResetInserter(self.erase)(inner)
        return m

    def _merge(self, m: Module) -> None:
        params = self.params
        count, width, key_bits = params.page_slots, 8 * params.tuple_bytes, 8 * params.key_bytes
        slots = [Signal(width, name=f"slot_{k}") for k in range(count)]
        leave_in, enter_out = Signal(), Signal()
        page_in, whole = self._take_in(m, leave_in)
        out_free = self._give_out(m, slots, enter_out)

        take, found = Signal(), Signal()
        key, value = Signal(key_bits), Signal(8 * params.value_bytes)
        occupancy, match = Signal(count), Signal(count)
        lowest_free, full = Signal(count), Signal()
        m.d.comb += [
            lowest_free.eq(Cat(~occupancy[0], *(~occupancy[k] & occupancy[:k].all() for k in range(1, count)))),
            full.eq(occupancy.all()),
        ]
        entry = self.i_waiting.p.entry
        with m.FSM():
            with m.State("START"):
                m.d.comb += [
                    leave_in.eq(self.i_job.valid & whole),
                    self.i_job.ready.eq(leave_in),
                ]
                with m.If(leave_in):
                    m.d.sync += [
                        *(slots[k].eq(page_in[k * width : (k + 1) * width]) for k in range(count)),
                        occupancy.eq(self.i_job.p.occupancy),
                        take.eq(self.i_job.p.take),
                        key.eq(self.i_job.p.key),
                        match.eq(
                            Cat(page_in[k * width : k * width + key_bits] == self.i_job.p.key for k in range(count))
                            & self.i_job.p.occupancy
                            & self.i_job.p.take.replicate(count)
                        ),
                        found.eq(0),
                        value.eq(0),
                    ]
                    m.next = "TAKE"
            with m.State("TAKE"):
                taken = Signal.like(value)
                for k in range(count):
                    with m.If(match[k]):
                        m.d.comb += taken.eq(slots[k][key_bits:])
                        m.d.sync += slots[k].eq(0)
                m.d.sync += [found.eq(match.any()), value.eq(taken), occupancy.eq(occupancy & ~match)]
                m.next = "DRAIN"
            with m.State("DRAIN"):
                last = self.i_waiting.p.end
                wanted = Signal()
                m.d.comb += wanted.eq(take & (entry[:key_bits] == key))
                m.d.comb += [
                    self.o_verdict.valid.eq(self.i_waiting.valid & ~last),
                    self.i_waiting.ready.eq(last | self.o_verdict.ready),
                    self.o_verdict.p.eq(Mux(wanted, Verdict.TAKEN, Mux(full, Verdict.KEPT, Verdict.MOVED))),
                ]
                with m.If(self.i_waiting.valid & self.i_waiting.ready):
                    with m.If(last):
                        m.next = "FINISH"
                    with m.Elif(wanted):
                        m.d.sync += [found.eq(1), value.eq(entry[key_bits:])]
                    with m.Elif(~full):
                        for k in range(count):
                            with m.If(lowest_free[k]):
                                m.d.sync += slots[k].eq(entry)
                        m.d.sync += occupancy.eq(occupancy | lowest_free)
            with m.State("FINISH"):
                told = Signal()  # the result has been taken, but the page before has not departed yet
                m.d.comb += [
                    self.o_result.valid.eq(~told),
                    enter_out.eq(out_free & (told | self.o_result.ready)),
                ]
                m.d.sync += told.eq((told | self.o_result.ready) & ~enter_out)
                # SEC_CM: MERGE.TEXT.UNREADABLE -- a value not on offer, or taken already, shows nowhere
                with m.If(~told):
                    m.d.comb += [
                        self.o_result.p.found.eq(found),
                        self.o_result.p.value.eq(value),
                        self.o_result.p.occupancy.eq(occupancy),
                    ]
                with m.If(enter_out):
                    m.next = "START"

    def _take_in(self, m: Module, leave_in: Signal) -> tuple[Signal, Value]:
        """Have beats fill a register from the top; return it, and whether a whole page is in it."""
        beats, beat_bits = self.text_beats, self.lanes * BLOCK_BITS
        page_in = Signal(beats * beat_bits)
        beats_in = Signal(range(beats + 1))
        m.d.comb += self.i_text.ready.eq(beats_in != beats)
        with m.If(self.i_text.valid & self.i_text.ready):
            m.d.sync += [
                page_in.eq(Cat(page_in[beat_bits:], self.i_text.p.data)),
                beats_in.eq(beats_in + 1),
            ]
        with m.Elif(leave_in):
            m.d.sync += beats_in.eq(0)
        return page_in, beats_in == beats

    def _give_out(self, m: Module, slots: list[Signal], enter_out: Signal) -> Signal:
        """Have beats leave a register from the bottom; return whether the next page may enter it."""
        beats, beat_bits = self.text_beats, self.lanes * BLOCK_BITS
        page_out = Signal(beats * beat_bits)
        beats_out = Signal(range(beats + 1))
        out_free = Signal()
        m.d.comb += [
            self.o_text.valid.eq(beats_out != 0),
            self.o_text.p.data.eq(page_out[:beat_bits]),
            self.o_text.p.last.eq(beats_out == 1),
            out_free.eq((beats_out == 0) | ((beats_out == 1) & self.o_text.ready)),
        ]
        with m.If(enter_out):
            m.d.sync += [page_out.eq(Cat(slots)), beats_out.eq(beats)]  # what is beyond the slots is padding: zero
        with m.Elif(self.o_text.valid & self.o_text.ready):
            # A slice: to Amaranth, a shift of a page is as many paths as the square of its bits.
            m.d.sync += [page_out.eq(page_out[beat_bits:]), beats_out.eq(beats_out - 1)]
        return out_free
