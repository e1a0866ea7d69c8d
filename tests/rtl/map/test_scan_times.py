# amaranth: UnusedElaboratable=no
"""The fixed times of a scan cover the longest chains, and all slots read at once, at an HBM as slow as it may be."""

import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.presets import preset
from omap.sizing.hbm import HbmLimits
from rtl.config import EngineConfig
from rtl.map.bin_shapes import BinShapes
from rtl.map.descriptor_walk import DescriptorWalk
from rtl.map.scan_times import ScanTimes
from rtl.map.slot_marks import MARKS
from rtl.map.waiting import MOST_WAITING
from rtl.memory.hbm import HBM_AXI
from rtl.memory.line_channels import LineChannels
from rtl.memory.slot_channels import SlotChannels
from sim.bench.amaranth_bench import AmaranthBench
from sim.models.memory import Memory
from sim.models.timing import HbmTiming

LIMITS = HbmLimits()
SLOWEST = HbmTiming(hit_ns=LIMITS.latency_ns, closed_ns=LIMITS.latency_ns, conflict_ns=LIMITS.latency_ns)
UNREFRESHED = HbmLimits(refresh_ns=1e-6), replace(SLOWEST, refresh_every_ns=0)


class Walk(wiring.Component):
    """Descriptors in HBM, and what reads them."""

    def __init__(self, config, shapes, layout, most):
        self.walk = DescriptorWalk(shapes, most=most)
        self.lines = LineChannels(layout=layout, id_bits=shapes.id_bits, first_channel=0, address_bits=shapes.line_bits)
        super().__init__({"begin": In(1), "done": Out(1), "m_axi": Out(HBM_AXI).array(layout.channels)})

    def elaborate(self, platform):
        """Return the circuit."""
        m = Module()
        m.submodules.walk, m.submodules.lines = self.walk, self.lines
        connect(m, self.walk.o_line_fetch, self.lines.i_fetch)
        connect(m, self.lines.o_fetched, self.walk.i_line_fetched)
        m.d.comb += [self.walk.begin.eq(self.begin), self.walk.count.eq(self.walk.most), self.done.eq(self.walk.done)]
        for k, port in enumerate(self.lines.m_axi):
            connect(m, port, flipped(self.m_axi[k]))
        return m


def attach(bench, layout, items, timing=SLOWEST):
    """Put HBM on the ports, with the items in their places; an item that is not named is zeros."""
    for channel in range(layout.channels):
        size = -(-layout.per_group * layout.item_bytes // 4096) * 4096
        memory = Memory(size, channel << 29)
        for item, data in items.items():
            where, row = layout.place(item)
            if where == channel:
                memory.data[row * layout.item_bytes : row * layout.item_bytes + len(data)] = np.frombuffer(
                    data, np.uint8
                )
        bench.memory(f"m_axi__{channel}", memory, timing)


def taken(bench, limit, values):
    """Begin, and return the cycles until a port has its value."""
    bench.run(300)
    bench.set("begin", 1)
    bench.run(1)
    bench.set("begin", 0)
    bench.run(1)
    before = bench.cycle
    bench.run_until(limit=limit, values=values)
    return bench.cycle - before


@pytest.mark.parametrize("name", ["PAPER", "U55C"])
@pytest.mark.parametrize(
    ("at_once", "limits", "timing", "least"),
    [(8, LIMITS, SLOWEST, 0.3), (1, *UNREFRESHED, 0.75)],
    ids=["all", "one"],
)
def test_the_longest_chains_are_covered(name, at_once, limits, timing, least, monkeypatch):
    """Lines of 128 and of 32 bytes; each page has as many waiting tuples as a bin can have.

    What others take, and a refresh, may come at the worst time for each access, and rarely do. So one chain alone
    says whether the cycles of the blocks are right.
    """
    monkeypatch.setattr("rtl.map.scan_times.PAGES_AT_ONCE", at_once)
    config = EngineConfig(params=replace(preset(name), pages=60, further_lines=400, capacity=500, buckets=100))
    shapes = BinShapes(config.params, 256, MOST_WAITING)
    times, layout, rng = ScanTimes(config, shapes, limits), config.layouts["descriptors"], random.Random(1)
    first, each = config.params.line_indices
    links, lines = rng.sample(range(400), 8 * shapes.most_lines), {}
    for page in range(times.pages):
        chain = [links.pop() for _ in range(shapes.most_lines)]
        head = MOST_WAITING << 48 | chain[0] << 96
        lines[page] = head.to_bytes(16, "little") + bytes(4 * first)
        for line, link in zip(chain, [*chain[1:], 0], strict=True):
            lines[config.params.pages + line] = link.to_bytes(4, "little") + bytes(4 * each)
    bench = AmaranthBench(Walk(config, shapes, layout, times.pages))
    attach(bench, layout, lines, timing)
    cycles = taken(bench, 2 * times.page_cycles, {"done": 1})
    print(name, cycles, times.page_cycles)
    assert least * times.page_cycles < cycles < times.page_cycles


@pytest.mark.parametrize("name", ["PAPER", "STANDARD", "WIDE"])
def test_all_waiting_slots_that_are_read_at_once_are_covered(name):
    """Slots of one burst, of three and of nine."""
    config = EngineConfig(params=replace(preset(name), waiting_slots=100))
    times, layout = ScanTimes(config, BinShapes(config.params, 256, MOST_WAITING)), config.layouts["slots"]
    bench = AmaranthBench(SlotChannels(layout=layout, entry_bytes=config.params.tuple_bytes, first_channel=0))
    attach(bench, layout, {})
    bench.run(300)
    bench.source("i_fetch").push(range(MARKS))
    before = bench.cycle
    bench.run_until(limit=2 * times.slot_cycles, transfers={"o_fetched": MARKS})
    cycles = bench.cycle - before
    print(name, cycles, times.slot_cycles)
    assert times.slot_cycles / 4 < cycles < times.slot_cycles
