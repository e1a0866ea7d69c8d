"""Opened pages cut into their page slots."""

from __future__ import annotations

import math

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from omap.operations import Kind
from omap.params import Params
from rtl.constants import BLOCK_BYTES
from rtl.rings.record import command_layout
from rtl.stream.interfaces import page_beat


class PageSlots(wiring.Component):
    """Makes a PUT of each used page slot, and a NOP with zeros of each free one, in order, in the same time.

    Parameters
    ----------
    params : Params
        Gives the layout of pages.
    lanes : int
        Blocks of 16 bytes a beat.

    Members
    -------
    i_text : In(stream.Signature(page_beat(lanes)))
        Verified plaintext, page after page.
    i_occupancy : In(stream.Signature(page_slots))
        The used page slots of each page.
    o_slot : Out(stream.Signature(command_layout(params)))
        All page slots. Zero while none is on offer.
    idle : Out(1)
        No page is being cut.
    """

    def __init__(self, params: Params, *, lanes: int) -> None:
        self.params, self.lanes = params, lanes
        super().__init__(
            {
                "i_text": In(stream.Signature(page_beat(lanes))),
                "i_occupancy": In(stream.Signature(params.page_slots)),
                "o_slot": Out(stream.Signature(command_layout(params))),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        params, beat_bytes = self.params, self.lanes * BLOCK_BYTES
        part = math.gcd(params.tuple_bytes, beat_bytes)  # a tuple begins at a multiple of it
        tuple_parts, beat_parts = params.tuple_bytes // part, beat_bytes // part
        most = tuple_parts + beat_parts - 1
        window = Signal(8 * part * most)  # what came last, the newest at the top
        held, skipped = Signal(range(most + 1)), Signal(range(max(2, beat_parts)))  # parts of slots still to come
        occupancy, left = Signal(params.page_slots), Signal(range(params.page_slots + 1))
        full, used, ended, whole = Signal(), Signal(), Signal(), Signal(8 * params.tuple_bytes)
        text, slot = self.i_text, self.o_slot
        starts = (8 * part * k for k in range(beat_parts))
        m.d.comb += [
            full.eq(held >= tuple_parts),
            skipped.eq(most - held),
            whole.eq(Array(window[at : at + 8 * params.tuple_bytes] for at in starts)[skipped]),
            used.eq(slot.valid & occupancy[0]),
            slot.p.kind.eq(Mux(used, Kind.PUT, Kind.NOP)),
            Cat(slot.p.key, slot.p.value).eq(Mux(used, whole, 0)),
        ]
        with m.FSM(name="cut"):
            with m.State("PAGE"):
                m.d.comb += [self.i_occupancy.ready.eq(1), self.idle.eq(1)]
                m.d.sync += [occupancy.eq(self.i_occupancy.p), left.eq(params.page_slots), held.eq(0), ended.eq(0)]
                with m.If(self.i_occupancy.valid):
                    m.next = "SLOTS"
            with m.State("SLOTS"):
                m.d.comb += [slot.valid.eq(full), text.ready.eq(~full)]
                with m.If(text.valid & text.ready):
                    m.d.sync += [
                        window.eq(Cat(window, text.p.data)[-len(window) :]),
                        held.eq(held + beat_parts),
                        ended.eq(text.p.last),
                    ]
                with m.If(slot.valid & slot.ready):
                    m.d.sync += [held.eq(held - tuple_parts), occupancy.eq(occupancy >> 1), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.next = "REST"
                        with m.If(ended):
                            m.next = "PAGE"
            with m.State("REST"):
                m.d.comb += text.ready.eq(1)
                with m.If(text.valid & text.p.last):
                    m.next = "PAGE"
        return m
