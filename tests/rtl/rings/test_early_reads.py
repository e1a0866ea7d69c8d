# amaranth: UnusedElaboratable=no
"""Records that are read together with the counters: soon here if they are right, and read again if they are not."""

import random

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.presets import preset
from omap.wire import Counter, Header, RecordType
from rtl.memory.bursts import access
from rtl.rings.early_reads import EarlyReads, early_lines
from sim.models.timing import HostTiming
from tests.support.rtl.ring_bench import CALM, LEAST, ROUGH, ROUNDS, EarlyHost

SHIPPED = HostTiming()


def early_reads(host):
    """Return when the command ring was read."""
    return host.reads(host.layout.commands, host.layout.responses)


def latency(name, type=RecordType.DATA, lie=0):
    """Return the cycles from a doorbell to the last beat of a record that comes alone."""
    host = EarlyHost(name, 256)
    host.bench.set("lie", lie)
    host.bench.run(2000)
    record = host.record(1, type=type)
    rung = host.bench.cycle
    host.submit([record])
    while not host.records():
        assert host.bench.cycle < 4000
        host.bench.run(1)
    assert host.seen == [record]
    return host.bench.cycle - rung


@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_a_lone_record_is_here_when_the_counters_are(name):
    beats = 4 * early_lines(preset(name))
    assert latency(name) <= 20 + 18 + beats
    assert latency(name, RecordType.CONFIRM) >= 150  # which is read in the usual way, at once


@pytest.mark.sec_cm("RING.EARLY.ONCE")
@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_a_record_that_was_not_right_is_read_once_more_in_the_usual_way(name):
    host = EarlyHost(name, 1024, timing=ROUGH)  # so that the verdict falls into any cycle between two polls
    host.bench.set("lie", 1)  # no early record is right
    host.bench.run(1500)
    tries = []
    for number in range(100):
        record, before = host.record(1), host.bench.get("early")
        host.submit([*host.seen, record])
        host.bench.run(1500)
        tries.append(host.bench.get("early") - before)
        assert host.bench.get("usual") == number + 1
        assert host.records() == [record]  # and not the early one
        host.answer([record])
        host.bench.run(1500)
        host.collect()
    assert set(tries) <= {0, 1}
    assert sum(tries) > 50
    assert host.counter(Counter.COMMANDS_FETCHED) == host.written


@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_an_early_record_may_be_older_than_the_counters(name):
    """The host's counters seem to overtake its record: what was read early is no record, or an old one."""
    host = EarlyHost(name, LEAST)
    rounds, rng = 2 * LEAST // early_lines(preset(name)), random.Random(3)
    for turn in range(rounds):
        record, late = host.record(1), rng.random() < 0.5
        host.bench.set("lie", late)
        if late:
            host.submit_late(record)
        else:
            host.submit([*host.seen, record])
        host.bench.run(500)
        assert host.records() == [record], turn
        host.answer([record])
        host.bench.run(700)
        host.collect()
    assert host.bench.get("early") > rounds // 2
    assert host.bench.get("usual") < rounds


@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_records_and_responses_go_round_the_rings_in_order_with_early_ones_among_them(name):
    @settings(max_examples=25)
    @given(**ROUNDS, shorter=st.sampled_from([0.0, 0.3]), lies=st.sampled_from([0.0, 0.5, 1.0]))
    def check(ring, timing, seed, idle, chunk, shorter, lies):
        host, rng = EarlyHost(name, ring, timing=timing, seed=seed), random.Random(seed)
        host.bench.sink("o_record", idle=idle[0])
        host.bench.source("i_record", idle=idle[1])
        host.shorter = lambda record: rng.random() < shorter
        records = []
        for _ in range(6):  # alone, or many at once
            records += host.records_of(rng.choice([1, 1, 1, 40]))
            host.bench.set("lie", rng.random() < lies)
            host.exchange(records, limit=100_000, chunk=lambda: rng.randint(1, chunk))
            host.bench.run(rng.randrange(2000))
        host.bench.run_until(limit=9000, values={"idle": 1})
        assert host.counter(Counter.COMMANDS_FETCHED) == sum(map(len, records)) // 64
        assert host.counter(Counter.RESPONSES_WRITTEN) == sum(map(len, host.answers)) // 64
        assert not host.bench.get("error")

    check()


def test_nothing_is_read_early_while_a_record_is_under_way():
    host = EarlyHost("TINY", 256)
    host.bench.run(2000)
    early = early_reads(host)
    assert set(np.diff(early)[8:]) <= {19, 20, 21}
    host.submit([host.record(1)])
    host.bench.run(300)
    begun = host.bench.cycle
    host.bench.run(1000)
    assert not (early_reads(host) > begun).any()
    host.answer(host.records())
    host.bench.run(1000)
    host.collect()
    host.bench.run(1000)
    assert (early_reads(host) > begun).any()


def test_what_lies_in_the_next_place_changes_no_time():
    """Until the counters count it: an observer learns nothing of an early read but that it took place."""
    seen = []
    for seed in (1, 2):
        host = EarlyHost("TINY", 256, timing=CALM, seed=5)
        host.buffer[host.layout.commands :][: 64 * 256] = random.Random(seed).randbytes(64 * 256)
        if seed == 2:
            host.layout.write_lines(host.buffer, host.layout.commands, 0, host.record(1))
        host.bench.run(3000)
        seen.append(host.bench.observer.events())
        assert not host.records()
    assert np.array_equal(*seen)


def early_record(name, asked, moved, lines_in, cycles=100):
    """Return the cycles in which an early record begins, and its lines, of a block whose record is counted already.

    The place is asked for in the cycles ``asked``, and moves in the cycle ``moved``. ``lines_in`` gives for each cycle
    in which a line comes its id, what it holds, and whether it is the last one of its read.
    """
    block = EarlyReads(preset(name), request=access(16, 4), first_id=4, ids=2, patience=cycles)
    begins, lines = [], []

    async def bench(context):
        for port in (block.some, block.counted, block.o_read.ready):
            context.set(port, 1)
        for cycle in range(cycles):
            id, data, last = lines_in.get(cycle, (0, 0, 0))
            context.set(block.open_, not begins)
            context.set(block.asked, cycle in asked)
            context.set(block.moved, cycle == moved)
            context.set(block.i_data.valid, id != 0)
            context.set(block.i_data.p, {"id": id, "data": data, "last": last})
            if context.get(block.begins):
                begins.append(cycle)
            if context.get(block.o_line.valid):
                lines.append(context.get(block.o_line.p))
            await context.tick()

    simulator = Simulator(block)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return begins, lines


def first_line(name, number):
    """Return a line that may begin an early record; any other line may look like one."""
    return int.from_bytes(Header(RecordType.DATA, 0, early_lines(preset(name)), 1, number, 0).pack(), "little")


@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_only_the_lines_of_one_read_of_the_place_make_an_early_record(name):
    count = early_lines(preset(name))
    for moved in range(10, 23):  # before a first line came that was read of the old place, until just before it counts
        for overtaken in (False, True):  # another read is asked for in the cycle in which the place moves
            asked = [0, *[moved] * overtaken, moved + 1 + overtaken, moved + 4]
            begin = [20, *[40] * overtaken, 60, 61]
            lines_in = {}
            for read, at in enumerate(begin):
                step = 2 if at >= 60 else 1  # the lines of the last two come by turns
                for line in range(count):
                    lines_in[at + step * line] = 4 + read % 2, first_line(name, 100 * read + line), line == count - 1
            first = 100 * (len(begin) - 2)
            wanted = [63], [first_line(name, number) for number in range(first, first + count)]
            assert early_record(name, asked, moved, lines_in) == wanted, (moved, overtaken)


def test_a_line_that_looks_like_a_first_one_begins_no_record():
    count = early_lines(preset("WIDE"))
    lines_in = {20 + line: (4, first_line("WIDE", 0) * (line != 0), line == count - 1) for line in range(count)}
    assert early_record("WIDE", [0], None, lines_in) == ([], [])


def test_a_doorbell_before_the_start_and_a_ring_without_room():
    host = EarlyHost("TINY", LEAST, timing=SHIPPED, serve=0)
    host.submit([host.record(1)])
    host.bench.run(2000)
    assert not host.records()
    assert not len(early_reads(host))
    host.bench.set("serve", 1)
    host.bench.run(1000)
    assert len(host.records()) == 1
