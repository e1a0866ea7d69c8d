# amaranth: UnusedElaboratable=no
"""All that the map keeps in HBM, each structure on its channels."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.config import EngineConfig
from rtl.constants import SPARE_BITS
from rtl.map.position_map import PositionMap
from rtl.map.waiting import WaitingBins
from rtl.memory.free_list import FreeLists
from rtl.memory.hbm import HBM_AXI
from rtl.memory.line_channels import LineChannels
from rtl.memory.slot_channels import SlotChannels

TABLES = ("fetch", "fetched", "flush", "flushed")
FROM_BINS = ("line_fetch", "line_flush", "slot_fetch", "slot_write", "freed_slot", "freed_line")
TO_BINS = ("line_fetched", "line_flushed", "slot_fetched", "slot_written", "free_slot", "free_line")


class MapMemory(wiring.Component):
    """Both tables of the position map, the descriptors, the waiting slots and the free lists.

    Nothing here is reset when the map is erased, because a transfer on an HBM port must end properly.

    Parameters
    ----------
    config : EngineConfig
        The engine: says which structure lies on which channels.
    position_map : PositionMap
        Gives the shapes of the streams of its tables.
    bins : WaitingBins
        Gives the shapes of its streams.

    Members
    -------
    i_fetch, o_fetched, i_flush, o_flushed : streams, two of each
        Lines of the tables, see :class:`rtl.map.position_map.PositionMap`.
    i_line_fetch, o_line_fetched, i_line_flush, o_line_flushed : streams
        Lines of descriptors, see :class:`rtl.map.waiting.WaitingBins`.
    i_slot_fetch, o_slot_fetched, i_slot_write, o_slot_written : streams
        Waiting slots, see the same.
    o_free_slot, i_freed_slot, o_free_line, i_freed_line : streams
        Free waiting slots and free further lines, see the same.
    m_axi_hbm : Out(AxiSignature).array(n)
        Pseudo-channels, as :attr:`rtl.config.EngineConfig.channels` has them.
    clear : In(1)
        For one cycle: all tables and descriptors are overwritten with zeros, which a descriptor of an empty page is.
    filling : Out(1)
        They are being overwritten.
    clear_free : In(1)
        For one cycle: all waiting slots and further lines are free.
    order : In(SPARE_BITS)
        Secret random bits, for the order in which free slots and lines are handed out.
    quiet : Out(1)
        No transfer of the free lists is under way.
    exhausted : Out(1)
        Nothing is free that was needed. Stays.
    error : Out(1)
        HBM failed. Stays.
    """

    def __init__(self, config: EngineConfig, position_map: PositionMap, bins: WaitingBins) -> None:
        self.config = config
        self.tables = [
            self._lines(
                f"table {t}",
                id_bits=buffer.id_bits,
                address_bits=buffer.address_bits,
                initial_lines=config.params.buckets,
            )
            for t, buffer in enumerate(position_map.buffers)
        ]
        self.descriptors = self._lines(
            "descriptors",
            id_bits=bins.id_bits,
            address_bits=bins.line_bits,
            initial_lines=config.params.bins,
        )
        self.slots = SlotChannels(entry_bytes=config.params.tuple_bytes, **self._place("slots"))
        groups = config.layouts["slots"].spread, config.layouts["descriptors"].spread
        self.free = FreeLists(config.params, **self._place("free lists"), groups=groups)
        tables, uses = position_map.signature.members, bins.signature.members
        super().__init__(
            {
                **{f"i_{name}": tables[f"o_{name}"].flip() for name in ("fetch", "flush")},
                **{f"o_{name}": tables[f"i_{name}"].flip() for name in ("fetched", "flushed")},
                **{f"i_{name}": uses[f"o_{name}"].flip() for name in FROM_BINS},
                **{f"o_{name}": uses[f"i_{name}"].flip() for name in TO_BINS},
                "m_axi_hbm": Out(HBM_AXI).array(sum(config.channels.values())),
                "clear": In(1),
                "filling": Out(1),
                "clear_free": In(1),
                "order": In(SPARE_BITS),
                "quiet": Out(1),
                "exhausted": Out(1),
                "error": Out(1),
            }
        )

    def _place(self, name: str) -> dict[str, Any]:
        """Return where a structure lies, as the blocks that drive HBM ports take it."""
        config = self.config
        return {
            "layout": config.layouts[name],
            "first_channel": config.first_channel[name],
            "timeout": config.timeout,
            "channel_bits": config.channel_bits,
        }

    def _lines(self, name: str, **sizes: int) -> LineChannels:
        return LineChannels(**self._place(name), **sizes)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        tables, descriptors, slots, free = self.tables, self.descriptors, self.slots, self.free
        blocks = {"table 0": tables[0], "table 1": tables[1], "descriptors": descriptors}
        blocks |= {"slots": slots, "free lists": free}
        for name, block in blocks.items():
            m.submodules[name.replace(" ", "_")] = block
            for k in range(self.config.channels[name]):
                connect(m, block.m_axi[k], flipped(self.m_axi_hbm[self.config.first_channel[name] + k]))
        for t, table in enumerate(tables):
            connect(m, flipped(self.i_fetch[t]), table.i_fetch)
            connect(m, table.o_fetched, flipped(self.o_fetched[t]))
            connect(m, flipped(self.i_flush[t]), table.i_flush)
            connect(m, table.o_flushed, flipped(self.o_flushed[t]))
        for outer, inner in (
            (self.i_line_fetch, descriptors.i_fetch),
            (self.i_line_flush, descriptors.i_flush),
            (self.i_slot_fetch, slots.i_fetch),
            (self.i_slot_write, slots.i_write),
            (self.i_freed_slot, free.i_slot),
            (self.i_freed_line, free.i_line),
        ):
            connect(m, flipped(outer), inner)
        for inner, outer in (
            (descriptors.o_fetched, self.o_line_fetched),
            (descriptors.o_flushed, self.o_line_flushed),
            (slots.o_fetched, self.o_slot_fetched),
            (slots.o_written, self.o_slot_written),
            (free.o_slot, self.o_free_slot),
            (free.o_line, self.o_free_line),
        ):
            connect(m, inner, flipped(outer))
        lines = [*tables, descriptors]
        m.d.comb += [
            *(block.fill.eq(self.clear) for block in lines),
            self.filling.eq(Cat(block.filling for block in lines).any()),
            free.clear.eq(self.clear_free),
            free.order.eq(self.order),
            self.quiet.eq(free.quiet),
            self.exhausted.eq(free.exhausted),
            self.error.eq(Cat(block.error for block in blocks.values()).any()),
        ]
        return m
