"""The merge stage: takes a key from an opened page or from the tuples that wait for it, and fills free page slots."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import enum, stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.params import Params
from rtl.constants import BLOCK_BITS, LANES
from rtl.stream.interfaces import page_beat, require, require_one_of
from rtl.stream.pick import chosen
from rtl.stream.skid import SkidBuffer


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
    or one and one for each waiting tuple if these are more. The result is on offer three cycles after the last beat of
    a page for which nothing waits.

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
        slots = [Signal(8 * self.params.tuple_bytes, name=f"slot_{k}") for k in range(self.params.page_slots)]
        match = Signal(len(slots))  # in the first cycle of a page: the slot that its key lies in
        enter, depart = Signal(), Signal()  # from the register on the way in, to the one on the way out
        page_in, whole = self._take_in(m, enter)
        out_free = self._give_out(m, [Mux(match[k], 0, slot) for k, slot in enumerate(slots)], depart)
        self._enter(m, slots, match, enter, page_in)
        here, told = Signal(), Signal()  # a page is here; its result is told, but the page before has not departed yet
        ended = self._drain(m, slots, match, enter, here & ~told)
        m.d.comb += [
            depart.eq((ended | told) & out_free),
            enter.eq(self.i_job.valid & whole & (~here | depart)),
            self.i_job.ready.eq(enter),
        ]
        m.d.sync += [here.eq(enter | (here & ~depart)), told.eq((told | ended) & ~depart)]

    def _enter(self, m: Module, slots: list[Signal], match: Signal, enter: Signal, page_in: Value) -> None:
        """Have a page enter the page slots, and find its key there."""
        width, key_bits = len(slots[0]), 8 * self.params.key_bytes
        job = self.i_job.p
        m.d.sync += match.eq(0)
        with m.If(enter):
            m.d.sync += [slot.eq(page_in[k * width : (k + 1) * width]) for k, slot in enumerate(slots)]
            m.d.sync += match.eq(
                Cat(page_in[k * width : k * width + key_bits] == job.key for k in range(len(slots)))
                & job.occupancy
                & job.take.replicate(len(slots))
            )

    def _drain(self, m: Module, slots: list[Signal], match: Signal, enter: Signal, draining: Value) -> Signal:
        """Have waiting tuples enter the page or be taken while ``draining``; return whether the last one is through.

        The tuple of the key leaves its slot in the first cycle, in which the slot is free already.
        """
        params, waiting, verdict = self.params, self.i_waiting, self.o_verdict
        count, key_bits = len(slots), 8 * params.key_bytes
        key, take = Signal(key_bits), Signal()
        occupancy, used = Signal(count), Signal(count)  # `used` without the slot of the key
        found, value = Signal(), Signal(8 * params.value_bytes)
        lowest_free, full = Signal(count), Signal()
        wanted, moves, ended = Signal(), Signal(), Signal()
        entry, last = waiting.p.entry, waiting.p.end
        m.submodules.results = results = SkidBuffer(shape=self.o_result.p.shape())
        m.d.comb += [
            used.eq(occupancy & ~match),
            lowest_free.eq(Cat(~used[0], *(~used[k] & used[:k].all() for k in range(1, count)))),
            full.eq(used.all()),
            wanted.eq(take & (entry[:key_bits] == key)),
            verdict.valid.eq(draining & waiting.valid & ~last),
            verdict.p.eq(Mux(wanted, Verdict.TAKEN, Mux(full, Verdict.KEPT, Verdict.MOVED))),
            waiting.ready.eq(draining & Mux(last, results.i.ready, verdict.ready)),
            moves.eq(verdict.valid & verdict.ready & ~wanted & ~full),
            results.i.valid.eq(draining & waiting.valid & last),
            results.i.p.found.eq(found | match.any()),
            results.i.p.value.eq(value | chosen(match, [slot[key_bits:] for slot in slots])),
            results.i.p.occupancy.eq(used),
            ended.eq(results.i.valid & results.i.ready),
            self.o_result.valid.eq(results.o.valid),
            # SEC_CM: MERGE.TEXT.UNREADABLE -- a value not on offer, or taken already, shows nowhere
            self.o_result.p.eq(Mux(results.o.valid, results.o.p, 0)),
            results.o.ready.eq(self.o_result.ready),
        ]
        with m.If(enter):
            m.d.sync += [
                occupancy.eq(self.i_job.p.occupancy),
                take.eq(self.i_job.p.take),
                key.eq(self.i_job.p.key),
                found.eq(0),
                value.eq(0),
            ]
        with m.Else():
            m.d.sync += [
                occupancy.eq(used | Mux(moves, lowest_free, 0)),
                found.eq(results.i.p.found),
                value.eq(results.i.p.value),
            ]
            with m.If(verdict.valid & verdict.ready & wanted):
                m.d.sync += [found.eq(1), value.eq(entry[key_bits:])]
            for k, slot in enumerate(slots):
                with m.If(moves & lowest_free[k]):
                    m.d.sync += slot.eq(entry)
                with m.Elif(match[k]):
                    m.d.sync += slot.eq(0)
        return ended

    def _take_in(self, m: Module, enter: Signal) -> tuple[Signal, Value]:
        """Have beats fill a register from the top; return it, and whether a whole page is in it.

        The first beat of the next page comes in while the whole one leaves.
        """
        beats, beat_bits = self.text_beats, self.lanes * BLOCK_BITS
        page_in = Signal(beats * beat_bits)
        beats_in = Signal(range(beats + 1))
        whole, comes = Signal(), Signal()
        m.d.comb += [
            whole.eq(beats_in == beats),
            self.i_text.ready.eq(~whole | enter),
            comes.eq(self.i_text.valid & self.i_text.ready),
        ]
        with m.If(comes):
            m.d.sync += page_in.eq(Cat(page_in[beat_bits:], self.i_text.p.data))
        m.d.sync += beats_in.eq(Mux(enter, 0, beats_in) + comes)
        return page_in, whole

    def _give_out(self, m: Module, slots: list[Value], depart: Signal) -> Signal:
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
        with m.If(depart):
            m.d.sync += [page_out.eq(Cat(*slots)), beats_out.eq(beats)]  # what is beyond the slots is padding: zero
        with m.Elif(self.o_text.valid & self.o_text.ready):
            # A slice: to Amaranth, a shift of a page is as many paths as the square of its bits.
            m.d.sync += [page_out.eq(page_out[beat_bits:]), beats_out.eq(beats_out - 1)]
        return out_free
