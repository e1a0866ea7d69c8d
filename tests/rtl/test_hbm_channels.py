"""Lines and slots over HBM ports equal plain lists, whatever HBM's times; errors and silence are seen."""

import random
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from rtl.line_channels import LineChannels
from rtl.slot_channels import SlotChannels
from sim.compiled import Design
from sim.memory import Memory
from sim.timing import HbmTiming

CHANNEL = 1 << 29
INITIAL = 0x1234 << 200 | 0xBEE1
SHAPES = {
    # name: channels, first channel, line bytes, id bits
    "one": (1, 3, 128, 5),
    "two": (2, 30, 64, 5),
    "four": (4, 0, 32, 6),
}
LINES, INITIAL_LINES, TIMEOUT = 157, 101, 2000
SLOTS = {
    # name: channels, first channel, slot bytes, entry bytes
    "beat": (2, 6, 32, 12),
    "odd": (2, 0, 96, 93),
    "burst": (1, 1, 128, 100),
}
SLOT_COUNT = 75
TIMINGS = {
    "usual": HbmTiming(),
    "busy": HbmTiming(ready_withheld=0.5, valid_withheld=0.3, reads=5, writes=3),
    "narrow": HbmTiming(banks=1, row_bytes=256, spacing_ns=60, refresh_every_ns=900, refresh_ns=200),
}


@cache
def line_design(shape):
    channels, first, line_bytes, id_bits = SHAPES[shape]
    return Design(
        LineChannels(
            lines=LINES,
            line_bytes=line_bytes,
            id_bits=id_bits,
            channels=channels,
            first_channel=first,
            initial=INITIAL,
            initial_lines=INITIAL_LINES,
            timeout=TIMEOUT,
        )
    )


@cache
def slot_design(shape):
    channels, first, slot_bytes, entry_bytes = SLOTS[shape]
    return Design(
        SlotChannels(
            slots=SLOT_COUNT,
            entry_bytes=entry_bytes,
            slot_bytes=slot_bytes,
            channels=channels,
            first_channel=first,
            timeout=TIMEOUT,
        )
    )


class Run:
    """A bench with memory on every port, and how items lie in it."""

    def __init__(self, design, channels, first, item_bytes, *, seed=0, timing=None):
        self.channels, self.item_bytes = channels, item_bytes
        self.bench = design.bench(seed=seed)
        self.memories = [Memory(1 << 16, (first + k) * CHANNEL) for k in range(channels)]
        self.models = [
            self.bench.memory(f"m_axi__{k}", memory, timing or HbmTiming(), observe=True)
            for k, memory in enumerate(self.memories)
        ]

    def place(self, number):
        memory = self.memories[number % self.channels]
        return memory, memory.base + number // self.channels * self.item_bytes

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
    channels, first, line_bytes, _ = SHAPES[shape]
    return Run(line_design(shape), channels, first, line_bytes, **settings)


def slot_run(shape, **settings):
    channels, first, slot_bytes, _ = SLOTS[shape]
    return Run(slot_design(shape), channels, first, slot_bytes, **settings)


@settings(deadline=None, max_examples=20)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    timing=st.sampled_from(sorted(TIMINGS)),
    seed=st.integers(0, 2**32 - 1),
    idle=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_lines_equal_a_list(shape, timing, seed, idle):
    rng = random.Random(seed)
    _, _, line_bytes, id_bits = SHAPES[shape]
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


@settings(deadline=None, max_examples=20)
@given(
    shape=st.sampled_from(sorted(SLOTS)),
    timing=st.sampled_from(sorted(TIMINGS)),
    seed=st.integers(0, 2**32 - 1),
    idle=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_slots_equal_a_list(shape, timing, seed, idle):
    rng = random.Random(seed)
    entry_bits = 8 * SLOTS[shape][3]
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
