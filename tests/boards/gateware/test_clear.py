# amaranth: UnusedElaboratable=no
"""HBM is zero before the engine sees it, nothing else is touched, and afterwards nothing stands in the engine's way."""

import random
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from hypothesis import given, settings
from hypothesis import strategies as st

from boards.gateware.clear import BURST_BYTES, Clear
from omap.errors import ParamsError
from rtl.memory.hbm import HBM_AXI
from sim.bench.compiled import Design
from sim.errors import CycleLimitError
from sim.models.faults import Fault, FaultKind
from sim.models.memory import Memory
from sim.models.timing import HbmTiming
from tests.support.designs.dma import Dma

SHAPES = {
    # name: channels, bytes of each, first channel, bytes from one to the next
    "small": (2, BURST_BYTES * 8, 3, BURST_BYTES * 8),
    "several": (3, 1 << 14, 0, 1 << 14),
    "last": (1, 1 << 13, 31, 1 << 13),
    "apart": (2, 1 << 12, 1, 1 << 14),
}
TIMEOUT = 2000
TIMINGS = {
    "usual": {},
    "busy": {"ready_withheld": 0.5, "valid_withheld": 0.3, "writes": 3},
    "narrow": {"banks": 1, "row_bytes": 256, "spacing_ns": 60, "refresh_every_ns": 900, "refresh_ns": 200},
    "slow to accept": {"writes": 1},
}
LIMIT = 100_000


class Rig(wiring.Component):
    """A master in the place of the engine at every channel, behind the block."""

    STREAMS = ("i_read", "o_read", "i_write", "i_data", "o_written")

    def __init__(self, channels, channel_bytes, first, stride):
        self.clear = Clear(channels, channel_bytes, first=first, stride=stride, timeout=TIMEOUT)
        self.engines = [Dma() for _ in range(channels)]
        members = {name: self.engines[0].signature.members[name].array(channels) for name in self.STREAMS}
        flags = {"start": In(1), "done": Out(1), "error": Out(1)}
        super().__init__(members | flags | {"m_axi": Out(HBM_AXI).array(channels)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.clear = clear = self.clear
        m.d.comb += [clear.start.eq(self.start), self.done.eq(clear.done), self.error.eq(clear.error)]
        for place, engine in enumerate(self.engines):
            m.submodules[f"engine_{place}"] = engine
            connect(m, engine.m_axi, clear.i_axi[place])
            connect(m, clear.m_axi[place], flipped(self.m_axi[place]))
            for name in self.STREAMS:
                inner, outer = getattr(engine, name), flipped(getattr(self, name)[place])
                connect(m, *((outer, inner) if name[0] == "i" else (inner, outer)))
        return m


@cache
def design(shape):
    return Design(Rig(*SHAPES[shape]))


class Run:
    def __init__(self, shape, *, seed=0, timing="usual", faults=()):
        self.channels, self.channel_bytes, self.first, self.stride = SHAPES[shape]
        self.bench = design(shape).bench(seed=seed)
        base = max(0, self.first - 1) * self.stride  # with the channel before, and the one after
        self.memory = Memory((self.first + self.channels + 1) * self.stride - base, base)
        self.rng = np.random.default_rng(seed)
        self.memory.data[:] = self.before = self.rng.integers(1, 256, self.memory.size, np.uint8)
        settings = HbmTiming(channel_bytes=self.stride, **TIMINGS[timing])
        for place in range(self.channels):
            self.bench.memory(f"m_axi__{place}", self.memory, settings, faults=faults if place == 0 else ())

    def base(self, place):
        return (self.first + place) * self.stride

    def start(self, limit=LIMIT):
        self.bench.set("start", 1)
        self.bench.run(1)
        self.bench.set("start", 0)
        self.bench.run_until(limit=limit, values={"done": 1})

    def expected(self):
        data = self.before.copy()
        for place in range(self.channels):
            data[self.base(place) - self.memory.base :][: self.channel_bytes] = 0
        return data

    def beats(self, place):
        layout = HBM_AXI.layout("r")
        return [layout.from_bits(item)["data"] for item in self.bench.sink(f"o_read__{place}").take()]


@settings(max_examples=25)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    timing=st.sampled_from(sorted(TIMINGS)),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_channels_are_zeroed_and_nothing_else_is_and_the_engine_works_then(shape, timing, seed):
    run, rng = Run(shape, seed=seed, timing=timing), random.Random(seed)
    bench = run.bench
    bench.run(rng.randrange(100))
    assert np.array_equal(run.memory.data, run.before)  # not started
    run.start()
    expected = run.expected()
    assert np.array_equal(run.memory.data, expected)
    wanted = {}
    for place in range(run.channels):
        for number in rng.sample(range(run.channel_bytes // BURST_BYTES), rng.randrange(1, 8)):
            beats, address = rng.randrange(1, 17), run.base(place) + number * BURST_BYTES
            data = rng.randbytes(32 * beats)
            bench.source(f"i_write__{place}").push([{"addr": address, "len": beats - 1, "id": rng.randrange(64)}])
            bench.source(f"i_data__{place}").push(data[at : at + 32] for at in range(0, len(data), 32))
            expected[address - run.memory.base :][: len(data)] = np.frombuffer(data, np.uint8)
            wanted[f"o_written__{place}"] = wanted.get(f"o_written__{place}", 0) + 1
    bench.run_until(limit=LIMIT, transfers=wanted)
    assert np.array_equal(run.memory.data, expected)
    for place in range(run.channels):
        bench.source(f"i_read__{place}").push(
            {"addr": run.base(place) + at, "len": 15, "id": 1} for at in range(0, run.channel_bytes, BURST_BYTES)
        )
    bench.run_until(limit=LIMIT, transfers={f"o_read__{p}": run.channel_bytes // 32 for p in range(run.channels)})
    for place in range(run.channels):
        at = run.base(place) - run.memory.base
        found = b"".join(int(beat).to_bytes(32, "little") for beat in run.beats(place))
        assert found == expected[at : at + run.channel_bytes].tobytes()
    assert (bench.get("done"), bench.get("error")) == (1, 0)


@pytest.mark.sec_cm("HBM.START.CLEARED")
@pytest.mark.parametrize("timing", sorted(TIMINGS))
def test_the_engine_reads_nothing_that_was_there_before(timing):
    run = Run("several", timing=timing)
    bench = run.bench
    ends = [run.base(place) + at for place in range(run.channels) for at in (0, run.channel_bytes - BURST_BYTES)]
    for address in ends:  # what it asks for before and meanwhile has to wait
        place = address // run.stride - run.first
        bench.source(f"i_read__{place}").push([{"addr": address, "len": 15, "id": 0}])
        bench.source(f"i_write__{place}").push([{"addr": address, "len": 0, "id": 0}])
        bench.source(f"i_data__{place}").push([1])
    bench.run(500)
    assert np.array_equal(run.memory.data, run.before)
    run.start()
    cleared = bench.cycle - 1
    bench.run_until(limit=LIMIT, transfers={f"o_read__{place}": 32 for place in range(run.channels)})
    for place in range(run.channels):
        assert min(bench.source(f"i_read__{place}").cycles) >= cleared
        assert min(bench.source(f"i_write__{place}").cycles) >= cleared
        assert set(run.beats(place)) <= {0, 1}


def test_the_engine_waits_for_the_slowest_channel():
    stall = Fault(kind=FaultKind.STALL, write=True, skip=5, argument=4 * 1500)
    run = Run("several", faults=[stall])
    for place in range(run.channels):
        run.bench.source(f"i_read__{place}").push([{"addr": run.base(place), "len": 0, "id": 0}])
    run.start()
    assert run.bench.cycle > 1500
    assert not any(run.bench.sink(f"o_read__{place}").transfers for place in range(run.channels))
    assert np.array_equal(run.memory.data, run.expected())


def test_every_channel_is_busy_all_the_time():
    """A beat a cycle and channel, but for the start, the last answer, and refreshes."""
    TIMINGS["steady"] = {"refresh_every_ns": 0}
    run = Run("several", timing="steady")
    run.start(limit=run.channel_bytes // 32 + 60)
    del TIMINGS["steady"]


@pytest.mark.parametrize("kind", [FaultKind.ERROR, FaultKind.DEAD])
@pytest.mark.parametrize("skip", [0, 3, 31])
def test_after_an_error_the_engine_stays_outside(kind, skip):
    run = Run("several", faults=[Fault(kind=kind, write=True, skip=skip)])
    for place in range(run.channels):
        run.bench.source(f"i_read__{place}").push([{"addr": run.base(place), "len": 15, "id": 0}])
    with pytest.raises(CycleLimitError):
        run.start(limit=8 * TIMEOUT)
    assert (run.bench.get("done"), run.bench.get("error")) == (0, 1)
    assert not any(run.bench.source(f"i_read__{place}").transfers for place in range(run.channels))


def test_errors_after_that_are_the_engines():
    run = Run("small", faults=[Fault(kind=FaultKind.ERROR, write=True, skip=8)])
    run.start()
    run.bench.source("i_write__0").push([{"addr": run.base(0), "len": 0, "id": 9}])
    run.bench.source("i_data__0").push([5])
    run.bench.run_until(limit=LIMIT, transfers={"o_written__0": 1})
    assert run.bench.sink("o_written__0").take() == [9 | 2 << 6]
    run.bench.run(10)
    assert (run.bench.get("done"), run.bench.get("error")) == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0, 4096), "channels is 0; it must be a whole number from 1 to 32"),
        ((2, 4096, 31), "first is 31; it must be a whole number from 0 to 30"),
        ((1, 256), "channel_bytes is 256"),
        ((1, 4096 + 512), "channel_bytes is 4608; it must be a power of two"),
        ((1, 4096, 0, 2048), "stride is 2048"),
        ((1, 1 << 33, 2), "channel 2 of 8589934592 bytes lies beyond the 34 bits"),
    ],
)
def test_impossible_channels_are_refused(arguments, text):
    with pytest.raises(ParamsError, match=text):
        Clear(*arguments)
