# amaranth: UnusedElaboratable=no
"""Lines and slots over HBM ports equal plain lists, whatever HBM's times; errors and silence are seen."""
# Long: lines and slots share their shapes, their timings and the bench around them.

import random
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from omap.presets import preset
from omap.sizing.channels import Layout
from omap.sizing.hbm import HbmLimits
from rtl.memory.line_channels import LineChannels
from rtl.memory.slot_channels import SlotChannels
from rtl.work import Work
from sim.bench.compiled import Design
from sim.models.faults import Fault, FaultKind
from sim.models.memory import Memory
from sim.models.observer import EventKind
from sim.models.timing import HbmTiming

CHANNEL = 1 << 29
LINES, INITIAL_LINES, TIMEOUT = 157, 101, 2000
SLOT_COUNT = 75


def lines(line_bytes, **layout):
    return Layout(items=LINES, item_bytes=line_bytes, **layout)


def slots(slot_bytes, **layout):
    return Layout(items=SLOT_COUNT, item_bytes=slot_bytes, **layout)


SHAPES = {
    # name: layout, first channel, id bits
    "one": (lines(128), 3, 5),
    "two": (lines(64, spread=1), 30, 5),
    "four": (lines(32, spread=2), 0, 6),
    "six groups": (lines(64, groups=6, per_group=28), 26, 5),
    "fifteen groups": (lines(32, groups=15, per_group=11), 0, 5),
    "three groups of two": (lines(128, spread=1, groups=3, per_group=32), 7, 5),
}
SLOTS = {
    # name: layout, first channel, entry bytes
    "beat": (slots(32, spread=1), 6, 12),
    "odd": (slots(96, spread=1), 0, 93),
    "burst": (slots(128), 1, 100),
    "nine bursts": (slots(288, spread=1), 4, 272),
    "fifteen groups": (slots(96, groups=15, per_group=5), 2, 72),
    "three groups of two": (slots(32, spread=1, groups=3, per_group=14), 26, 12),
}
TIMINGS = {
    "usual": HbmTiming(),
    "busy": HbmTiming(ready_withheld=0.5, valid_withheld=0.3, reads=5, writes=3),
    "narrow": HbmTiming(banks=1, row_bytes=256, spacing_ns=60, refresh_every_ns=900, refresh_ns=200),
}


@cache
def line_design(shape):
    layout, first, id_bits = SHAPES[shape]
    return Design(
        LineChannels(
            layout=layout,
            id_bits=id_bits,
            first_channel=first,
            initial_lines=INITIAL_LINES,
            timeout=TIMEOUT,
        )
    )


@cache
def slot_design(shape):
    layout, first, entry_bytes = SLOTS[shape]
    return Design(SlotChannels(layout=layout, entry_bytes=entry_bytes, first_channel=first, timeout=TIMEOUT))


class Run:
    """A bench with memory on every port, and how items lie in it."""

    def __init__(self, design, layout, first, *, seed=0, timing=None):
        self.layout, self.item_bytes = layout, layout.item_bytes
        self.bench = design.bench(seed=seed)
        self.memories = [Memory(1 << 16, (first + k) * CHANNEL) for k in range(layout.channels)]
        self.models = [
            self.bench.memory(f"m_axi__{k}", memory, timing or HbmTiming(), observe=True)
            for k, memory in enumerate(self.memories)
        ]

    def place(self, number):
        turns = 1 << self.layout.spread
        group, row = divmod(number // turns, self.layout.per_group)
        memory = self.memories[group * turns + number % turns]
        return memory, memory.base + row * self.item_bytes

    def read(self, number):
        memory, address = self.place(number)
        return int.from_bytes(memory.read(address, self.item_bytes), "little")

    def write(self, number, value):
        memory, address = self.place(number)
        memory.write(address, value.to_bytes(self.item_bytes, "little"))

    def settle(self, limit=20_000, **transfers):
        self.bench.run_until(
            limit=limit,
            transfers={name: n for name, n in transfers.items() if n} or None,
            values=None if any(transfers.values()) else {"quiet": 1},
        )
        self.bench.run_until(limit=limit, values={"quiet": 1})
        assert self.bench.get("error") == 0


def line_run(shape, **settings):
    layout, first, _ = SHAPES[shape]
    return Run(line_design(shape), layout, first, **settings)


def slot_run(shape, **settings):
    layout, first, _ = SLOTS[shape]
    return Run(slot_design(shape), layout, first, **settings)


@settings(max_examples=12)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    timing=st.sampled_from(sorted(TIMINGS)),
    seed=st.integers(0, 2**32 - 1),
    idle=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_lines_equal_a_list(shape, timing, seed, idle):
    rng = random.Random(seed)
    layout, _, id_bits = SHAPES[shape]
    line_bytes = layout.item_bytes
    run = line_run(shape, seed=seed, timing=TIMINGS[timing])
    bench, model = run.bench, [rng.getrandbits(8 * line_bytes) for _ in range(LINES)]
    for number, value in enumerate(model):
        run.write(number, value)
    fetch, flush = bench.source("i_fetch", idle=idle), bench.source("i_flush", idle=idle)
    fetched, flushed = bench.sink("o_fetched", idle=idle), bench.sink("o_flushed", idle=idle)
    for _ in range(4):
        numbers = rng.sample(range(LINES), LINES)
        written, read = numbers[: rng.choice([1, 20, 60])], numbers[60:]
        flushes = [
            {"address": rng.choice(written), "id": rng.randrange(1 << id_bits), "data": rng.getrandbits(8 * line_bytes)}
            for _ in range(rng.choice([0, 10, 150]))
        ]
        fetches = [
            {"address": rng.choice(read), "id": rng.randrange(1 << id_bits)} for _ in range(rng.choice([0, 10, 150]))
        ]
        flush.push(flushes)
        fetch.push(fetches)
        run.settle(o_fetched=len(fetches), o_flushed=len(flushes))
        assert sorted(flushed.take()) == sorted(item["id"] for item in flushes)
        expected = [item["id"] | model[item["address"]] << id_bits for item in fetches]
        assert sorted(fetched.take()) == sorted(expected)
        for item in flushes:
            model[item["address"]] = item["data"]
        assert [run.read(number) for number in range(LINES)] == model


@settings(max_examples=12)
@given(
    shape=st.sampled_from(sorted(SLOTS)),
    timing=st.sampled_from(sorted(TIMINGS)),
    seed=st.integers(0, 2**32 - 1),
    idle=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_slots_equal_a_list(shape, timing, seed, idle):
    rng = random.Random(seed)
    entry_bits = 8 * SLOTS[shape][2]
    run = slot_run(shape, seed=seed, timing=TIMINGS[timing])
    bench, model = run.bench, [rng.getrandbits(entry_bits) for _ in range(SLOT_COUNT)]
    for number, value in enumerate(model):
        run.write(number, value)
    fetch, write = bench.source("i_fetch", idle=idle), bench.source("i_write", idle=idle)
    fetched = bench.sink("o_fetched", idle=idle)
    bench.sink("o_written", idle=idle)
    for _ in range(4):
        numbers = rng.sample(range(SLOT_COUNT), SLOT_COUNT)
        written, read = numbers[: rng.choice([1, 8, 30])], numbers[30:]
        writes = [
            {"slot": rng.choice(written), "data": rng.getrandbits(entry_bits)} for _ in range(rng.choice([0, 9, 120]))
        ]
        fetches = [rng.choice(read) for _ in range(rng.choice([0, 9, 120]))]
        write.push(writes)
        fetch.push(fetches)
        run.settle(o_fetched=len(fetches), o_written=len(writes))
        assert fetched.take() == [model[number] for number in fetches]
        for item in writes:
            model[item["slot"]] = item["data"]
        assert [run.read(number) for number in range(SLOT_COUNT)] == model


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_fill_writes_the_first_lines_alone(shape):
    run = line_run(shape, seed=5, timing=TIMINGS["busy"])
    bench, line_bytes = run.bench, run.item_bytes
    fetch, flush = bench.source("i_fetch"), bench.source("i_flush")
    old = (1 << 8 * line_bytes) - 1
    for number in range(LINES):
        run.write(number, old)
    bench.set("fill", 1)
    bench.run(1)
    bench.set("fill", 0)
    flush.push([{"address": 1, "id": 1, "data": 77}])  # waits until the fill is over
    fetch.push([{"address": 0, "id": 2}, {"address": LINES - 1, "id": 3}])
    bench.run(2)
    assert bench.get("filling") == 1
    bench.run_until(limit=20_000, values={"filling": 0})
    over = bench.cycle - 1
    assert [run.read(number) for number in range(INITIAL_LINES)] == [0] * INITIAL_LINES
    run.bench.run_until(limit=500, values={"quiet": 1})
    assert min([*flush.cycles, *fetch.cycles]) >= over
    assert [run.read(number) for number in range(LINES)] == [0, 77] + [0] * (INITIAL_LINES - 2) + [old] * (
        LINES - INITIAL_LINES
    )
    assert sorted(bench.sink("o_fetched").take()) == sorted([2, 3 | old << SHAPES[shape][2]])
    assert bench.sink("o_flushed").take() == [1]


def test_fill_keeps_every_channel_busy():
    """One beat a cycle and channel, but for the start and refreshes."""
    run = line_run("one", timing=HbmTiming(refresh_every_ns=0))
    run.bench.set("fill", 1)
    run.bench.run(1)
    run.bench.set("fill", 0)
    beats = INITIAL_LINES * run.item_bytes // 32
    run.bench.run_until(limit=beats + 60, values={"filling": 0})


def test_random_lines_come_at_the_rate_of_the_channels():
    """Reads and writes of 64-byte lines: two channels give one every 13.5 ns each, but for refreshes."""
    rng, timing = random.Random(7), HbmTiming()
    run = line_run("two", timing=HbmTiming(row_bytes=64))  # no two lines share a row
    count = 4000
    numbers = [rng.randrange(LINES) for _ in range(2 * count)]
    run.bench.source("i_fetch").push([{"address": n, "id": k % 32} for k, n in enumerate(numbers[:count])])
    run.bench.source("i_flush").push([{"address": n, "id": k % 32, "data": k} for k, n in enumerate(numbers[count:])])
    run.settle(o_fetched=count, o_flushed=count, limit=50_000)
    spacing = timing.spacing_ns * timing.clock_mhz / 1000 / (1 - timing.refresh_ns / timing.refresh_every_ns)
    assert run.bench.cycle < 1.2 * spacing * 2 * count / 2


@pytest.mark.parametrize("shape", ["odd", "burst", "nine bursts"])
def test_tuples_of_many_bursts_come_as_fast_as_offsets_count_on(shape):
    """From one channel, and from two at once, in an HBM as slow as it may be; but for the first tuple."""
    layout, limits = SLOTS[shape][0], HbmLimits()
    slow = HbmTiming(
        hit_ns=limits.latency_ns, closed_ns=limits.latency_ns, conflict_ns=limits.latency_ns, refresh_every_ns=0
    )
    each = Work(preset("PAPER"), 1, {"slots": layout}).tuple_cycles
    for channels in range(1, (1 << layout.spread) + 1):
        run = slot_run(shape, timing=slow)
        numbers = [k for k in range(SLOT_COUNT) if layout.place(k)[0] < channels] * 4
        run.bench.source("i_fetch").push(numbers)
        run.settle(o_fetched=len(numbers))
        cycles = run.bench.sink("o_fetched").cycles
        assert cycles[-1] - cycles[0] <= each / channels * (len(numbers) - 1) + 2 * layout.item_bytes // 32


def test_slots_are_not_quiet_while_an_entry_is_owed():
    run = slot_run("nine bursts")
    run.bench.source("i_fetch").push([0])
    quiet = []
    while not run.bench.sink("o_fetched").cycles.size:
        run.bench.run(1)
        quiet.append(run.bench.get("quiet"))
    assert not any(quiet[:-1])


def test_slots_of_one_beat_have_many_reads_under_way():
    run = slot_run("beat", timing=HbmTiming(hit_ns=2000, closed_ns=2000, conflict_ns=2000, refresh_every_ns=0))
    run.bench.source("i_fetch").push([0, 1] * 40)
    run.bench.run(400)
    assert len(run.bench.observer.events()) == 64


@pytest.mark.parametrize("block", ["line", "slot"])
@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("kind", [FaultKind.ERROR, FaultKind.DEAD])
def test_an_error_or_silence_raises_error(block, write, kind):
    run = line_run("two") if block == "line" else slot_run("beat")
    bench = run.bench
    run.models[1].add_fault(Fault(kind=kind, write=write, skip=1))
    if block == "line":
        bench.source("i_fetch").push([{"address": n, "id": n} for n in range(6)])
        bench.source("i_flush").push([{"address": 10 + n, "id": n, "data": n} for n in range(6)])
    else:
        bench.source("i_fetch").push([*range(6)])
        bench.source("i_write").push([{"slot": 10 + n, "data": n} for n in range(6)])
    if kind is FaultKind.DEAD:
        bench.run(TIMEOUT - 200)
        assert bench.get("error") == 0
    bench.run_until(limit=400, values={"error": 1})
    bench.run(100)
    assert bench.get("error") == 1


def test_a_port_that_takes_no_address_raises_error():
    run = line_run("two")
    run.models[0].add_fault(Fault(kind=FaultKind.DEAD, write=False))
    run.bench.source("i_fetch").push([{"address": 0, "id": 0}])
    run.bench.run(100)
    run.bench.source("i_flush").push([{"address": 2, "id": 1, "data": 3}])
    run.bench.run_until(limit=TIMEOUT + 200, values={"error": 1})


@pytest.mark.parametrize("block", ["line", "slot"])
def test_two_writes_of_one_address_take_effect_in_order(block):
    """The first is held up in HBM, and under another ID the second would overtake it."""
    run = line_run("two") if block == "line" else slot_run("beat")
    run.models[0].add_fault(Fault(kind=FaultKind.STALL, write=True, argument=1000))
    items = {"i_flush": "address", "i_write": "slot"}
    name = "i_flush" if block == "line" else "i_write"
    for value in (1, 2):
        item = {items[name]: 4, "data": value} | ({"id": value} if block == "line" else {})
        run.bench.source(name).push([item])
    run.settle(**{"o_flushed" if block == "line" else "o_written": 2})
    assert run.read(4) == 2


@pytest.mark.parametrize("block", ["line", "slot"])
def test_transfers_end_when_whoever_asked_is_slow(block):
    """Every answer is taken from HBM at once, though nobody takes it from the block."""
    run = line_run("two") if block == "line" else slot_run("beat")
    bench = run.bench
    for name, flow in bench.ports.streams.items():
        if not flow.input:
            bench.sink(name, waits=[3000])
    if block == "line":
        bench.source("i_fetch").push([{"address": n, "id": n % 32} for n in range(150)])
        bench.source("i_flush").push([{"address": n, "id": n % 32, "data": n} for n in range(150)])
    else:
        bench.source("i_fetch").push([n % SLOT_COUNT for n in range(150)])
        bench.source("i_write").push([{"slot": n % SLOT_COUNT, "data": n} for n in range(150)])
    bench.run(2900)
    kinds = bench.observer.events()["kind"]
    assert np.sum(kinds == EventKind.READ) == np.sum(kinds == EventKind.READ_DATA) > 0
    assert np.sum(kinds == EventKind.WRITE) == np.sum(kinds == EventKind.WRITE_DONE) > 0
    assert bench.get("error") == 0
    run.settle(o_fetched=150, **{"o_flushed" if block == "line" else "o_written": 150})


def test_groups_are_whole_channels():
    """Items next to a group's border lie in channels of their own, at their ends."""
    for block, item_bytes, first in ((LineChannels, 128, 0), (SlotChannels, 96, 1)):
        room = (1 << 28) // item_bytes
        layout = Layout(items=2 * room + 1, item_bytes=item_bytes, groups=3, per_group=room)
        extra = {"id_bits": 5} if block is LineChannels else {"entry_bytes": 72}
        run = Design(block(layout=layout, first_channel=first, channel_bits=28, **extra)).bench()
        memories = [Memory(1 << 28, first + k << 28) for k in range(3)]
        for k, memory in enumerate(memories):
            run.memory(f"m_axi__{k}", memory, HbmTiming())
            memory.write(memory.base, (2 * k + 1).to_bytes(item_bytes, "little"))
            memory.write(memory.base + (room - 1) * item_bytes, (2 * k + 2).to_bytes(item_bytes, "little"))
        numbers = [0, room - 1, room, 2 * room - 1, 2 * room]
        fetches = [{"address": n, "id": k} for k, n in enumerate(numbers)] if block is LineChannels else numbers
        run.source("i_fetch").push(fetches)
        run.run_until(limit=2000, transfers={"o_fetched": len(numbers)})
        fetched = run.sink("o_fetched").take()
        if block is LineChannels:
            fetched = [item >> 5 for item in sorted(fetched, key=lambda item: item & 31)]
        assert fetched == [1, 2, 3, 4, 5]


LINE = {"id_bits": 5, "first_channel": 0}
SLOT = {"entry_bytes": 12, "first_channel": 0}


@pytest.mark.parametrize(
    ("block", "change", "text"),
    [
        (LineChannels, {"layout": lines(48)}, "item_bytes is 48; it must be one of 32, 64, 128"),
        (LineChannels, {"layout": lines(64, spread=6)}, "channels is 64; it must be a whole number from 1 to 32"),
        (LineChannels, {"first_channel": 31}, "first_channel is 31; it must be a whole number from 0 to 30"),
        (
            LineChannels,
            {"layout": Layout(items=(1 << 24) + 1, item_bytes=64, spread=1)},
            "per_group is 8388609; it must be a whole number from 1 to 8388608",
        ),
        (
            LineChannels,
            {"layout": Layout(items=(1 << 23) + 1, item_bytes=64, spread=1), "channel_bits": 28},
            "per_group is 4194305; it must be a whole number from 1 to 4194304",
        ),
        (LineChannels, {"channel_bits": 30}, "channel_bits is 30; it must be a whole number from 12 to 29"),
        (LineChannels, {"id_bits": 10}, "id_bits is 10; it must be a whole number from 1 to 9"),
        (LineChannels, {"address_bits": 6}, "address_bits is 6; it must be a whole number from 8 to 48"),
        (LineChannels, {"initial_lines": 158}, "initial_lines is 158; it must be a whole number from 0 to 157"),
        (LineChannels, {"timeout": 1}, "timeout is 1; it must be a whole number from 2"),
        (SlotChannels, {"layout": slots(40)}, "item_bytes is 40; it must be a multiple of 32"),
        (SlotChannels, {"entry_bytes": 33}, "entry_bytes is 33; it must be a whole number from 1 to 32"),
        (SlotChannels, {"first_channel": 31}, "first_channel is 31; it must be a whole number from 0 to 30"),
        (
            SlotChannels,
            {"layout": Layout(items=(1 << 25) + 1, item_bytes=32, spread=1)},
            "per_group is 16777217; it must be a whole number from 1 to 16777216",
        ),
    ],
)
def test_bad_parameters_are_refused(block, change, text):
    usual = LINE | {"layout": lines(64, spread=1)} if block is LineChannels else SLOT | {"layout": slots(32, spread=1)}
    with pytest.raises(ParamsError, match=text):
        block(**usual | change)
