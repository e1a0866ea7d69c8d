# amaranth: UnusedElaboratable=no
"""The ring port on host memory: what a host puts into the rings comes out, and it learns of all that is written."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from omap.presets import preset
from omap.regmap import MIRROR, REGISTER_BYTES, Fault, RegisterFile, State, identity
from omap.wire import Counter, write_counter
from rtl.rings.ring_port import RingPort
from sim.models.observer import EventKind
from sim.models.timing import HostTiming
from tests.support.rtl.ring_bench import BASE, CALM, LEAST, MODES, ROUGH, ROUNDS, Host, design


@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_records_and_responses_go_round_the_rings_in_order(name):
    assert design(name)

    @settings(max_examples=25)
    @given(
        **ROUNDS,
        shorter=st.sampled_from([0.0, 0.3, 1.0]),
    )
    def check(ring, timing, seed, idle, chunk, shorter):
        host, rng = Host(name, ring, timing=timing, seed=seed), random.Random(seed)
        host.bench.sink("o_record", idle=idle[0])
        host.bench.source("i_record", idle=idle[1])
        host.shorter = lambda record: rng.random() < shorter
        records = host.records_of(rng.randrange(1, 3 * ring))
        host.exchange(records, limit=100_000, chunk=lambda: rng.randint(1, chunk))
        host.bench.run_until(limit=9000, values={"idle": 1})
        assert host.counter(Counter.COMMANDS_FETCHED) == sum(map(len, records)) // 64
        assert host.counter(Counter.RESPONSES_WRITTEN) == sum(map(len, host.answers)) // 64
        assert not host.bench.get("error")

    check()


def test_the_largest_ring_and_a_doorbell_before_the_start():
    host = Host("WIDE", 1 << 16, serve=0)
    records = [host.record() for _ in range(20)]
    host.submit(records)
    host.bench.run(2000)
    assert not host.records()
    assert not len(host.reads(0, 0x80))  # the counters are not even read
    host.bench.set("serve", 1)
    host.exchange(records, limit=30_000)


def test_the_counters_are_read_every_20_cycles_and_a_record_is_soon_there():
    host = Host("TINY", 256)
    host.bench.run(2000)
    assert set(np.diff(host.reads(0, 0x80))[8:]) == {20}
    assert set(np.diff(host.reads(0x200, 0x240))[1:]) <= {255, 256, 257}  # a read of the counters may go first
    rung = host.bench.cycle
    host.submit([host.record(1)])
    host.bench.run(1000)
    first = host.bench.sink("o_record").cycles[0] - rung
    # up to 20 cycles until it is sampled, a round trip for the record; the rest is ours
    assert first <= 20 + 150 + 15
    host.answer(host.records())
    before = host.bench.cycle
    host.bench.run(200)
    written = host.events(EventKind.WRITE, host.layout.responses, host.layout.pages)["cycle"]
    told = host.events(EventKind.WRITE, 0, 0x80)["cycle"]
    assert len(written) == 1
    assert written[0] - before <= 12
    assert told[-1] - written[0] <= 4  # at once


def test_while_many_lines_are_here_the_counters_are_read_and_told_rarely():
    host = Host("TINY", 4096, timing=HostTiming())
    records = [host.record(host.codec.most_operations) for _ in range(40)]
    host.bench.sink("o_record", waits=[8] * 4096)  # an engine of 9 cycles a beat
    host.submit(records)
    host.exchange(records, limit=200_000)
    begun, ended = host.bench.sink("o_record").cycles[[1000, 9000]]
    middle = {
        kind: sum(begun <= cycle < ended for cycle in host.events(kind, low, high)["cycle"])
        for kind, low, high in ((EventKind.READ, 0, 0x40), (EventKind.WRITE, 0x40, 0x80))
    }
    assert middle[EventKind.READ] <= (ended - begun) / 256 + 1
    assert middle[EventKind.WRITE] <= 8000 / 256 + 1  # once a record
    reads = host.events(EventKind.READ, host.layout.commands, host.layout.responses)
    assert set(reads["length"].tolist()) == {16 * 64}  # every read is as long as it may be


@pytest.mark.sec_cm("RING.COUNTERS.BOUND")
@settings(max_examples=25)
@given(
    ring=st.sampled_from([LEAST, 2 * LEAST]),
    lies=st.lists(
        st.tuples(
            st.sampled_from([Counter.COMMANDS_WRITTEN, Counter.RESPONSES_TAKEN]),
            st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 2000), st.sampled_from([2**64 - 1, 2**63, 2**32])),
        ),
        max_size=12,
    ),
    answered=st.integers(0, 400),
    shorter=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_whatever_the_host_says_its_response_ring_has_room_for_what_is_fetched(ring, lies, answered, shorter, seed):
    host, rng = Host("TINY", ring, seed=seed), random.Random(seed)
    at = 0
    while at < ring:  # the device goes round and round: records and what looks like none, as they come
        record = host.record() if rng.random() < 0.9 else rng.randbytes(64)
        record = record[: 64 * (ring - at)]
        host.layout.write_lines(host.buffer, host.layout.commands, at, record)
        at += len(record) // 64
    host.shorter = lambda record: shorter
    believed = 0
    for counter, value in [*lies, (Counter.COMMANDS_WRITTEN, 2**64 - 1), (Counter.RESPONSES_TAKEN, 2**64 - 1)]:
        write_counter(host.buffer, counter, value)
        for _ in range(4):
            host.bench.run(400)
            host.records()
            host.answer(host.seen[len(host.answers) : max(answered, len(host.answers))])
            written = host.counter(Counter.RESPONSES_WRITTEN)
            claimed = host.counter(Counter.RESPONSES_TAKEN)
            believed = max(believed, claimed if claimed <= written else 0)
            responses = sum(map(len, host.answers)) + sum(map(len, host.seen[len(host.answers) :]))
            assert responses // 64 - believed <= ring
    assert not host.bench.get("error")


def test_counters_that_go_back_change_nothing():
    host = Host("TINY", 256)
    records = [host.record() for _ in range(5)]
    host.exchange(records, limit=9000)
    write_counter(host.buffer, Counter.COMMANDS_WRITTEN, 2)
    write_counter(host.buffer, Counter.RESPONSES_TAKEN, 0)
    host.bench.run(1000)
    assert not host.records()
    records.append(host.record())
    host.exchange(records, limit=19_000)


def test_requests_of_the_control_block_are_served_once():
    host = Host("TINY", 128, serve=0)
    for number in (0x501, 0x1_0000_0002, 1):
        write_counter(host.buffer, Counter.REQUESTS, number)
        host.bench.run_until(limit=1000, transfers={"o_request": 1})
        assert host.bench.sink("o_request").take() == [number & 0xFF]
        host.bench.run(1000)
        assert host.counter(Counter.REQUESTS_DONE) != number
        host.bench.source("i_request_done").push([0])
        host.bench.run(500)
        assert host.counter(Counter.REQUESTS_DONE) == number
        host.bench.run(1000)
    assert host.bench.sink("o_request").transfers == 3


def test_the_mirror_repeats_the_registers():
    host = Host("TINY", 128, serve=0)
    before = host.bench.cycle
    host.bench.run(10)
    for state, fault in ((State.READY, Fault.NONE), (State.FAULT, Fault.PAGE_TAG)):
        host.bench.source("i_mirror").push([{"state": state, "fault": fault}])
        host.bench.run_until(limit=1000, transfers={"i_mirror": 1})
        host.bench.run_until(limit=1000, values={"idle": 1})
        expected = RegisterFile()
        for name, value in identity(preset("TINY"), **MODES).items():
            expected.write(name, value)
        for name, value in (("BUFFER_LOW", BASE & 0xFFFFFFFF), ("BUFFER_HIGH", BASE >> 32), ("RING_LINES", 128)):
            expected.write(name, value)
        expected.write("STATUS", state)
        expected.write("FAULT", fault)
        assert bytes(host.buffer[MIRROR : MIRROR + REGISTER_BYTES]) == bytes(expected.memory)
    host.bench.run(2000)
    assert len(host.reads(0x200, 0x240)) >= (host.bench.cycle - before) // 256 - 1  # and requests are still looked for


def test_the_mirror_can_be_written_with_half_a_response_inside():
    host = Host("TINY", 128)
    host.exchange([host.record(1)], limit=3000)
    host.bench.source("i_record").push([{"data": 1, "last": 0}] * 3)
    host.bench.run(100)
    host.bench.set("serve", 0)
    host.bench.source("i_mirror").push([{"state": State.FAULT, "fault": Fault.BUS}])
    host.bench.run(500)
    assert RegisterFile(bytearray(host.buffer[MIRROR : MIRROR + REGISTER_BYTES])).read("STATUS") == State.FAULT
    assert host.counter(Counter.RESPONSES_WRITTEN) == 1


@pytest.mark.parametrize("name", ["TINY", "WIDE"])
@pytest.mark.parametrize(("timing", "most"), [(CALM, 1.01), (HostTiming(), 1.1)])  # the second has a long tail
@pytest.mark.parametrize("lines", ["one", "all"])
def test_a_beat_a_cycle_is_sustained_in_both_directions(name, lines, timing, most):
    host = Host(name, 4096, timing=timing)
    count = 1 if lines == "one" and name == "TINY" else host.codec.most_operations
    records = [host.record(count)]
    records *= 2400 * 64 // len(records[0])
    beats = sum(map(len, records)) // 16
    host.submit(records)
    host.exchange(records, limit=30_000)
    cycles = host.bench.sink("o_record").cycles
    assert cycles[-1] - cycles[0] <= most * beats
    written = host.events(EventKind.WRITE, host.layout.responses, host.layout.pages)
    assert written["length"].sum() == 16 * beats
    assert written["cycle"][-1] - cycles[-1] <= 1500  # and the responses are not behind
    assert len(written) <= beats / 4 / 2  # which are written several lines at a time
    told = host.events(EventKind.WRITE, 0x40, 0x80)
    assert len(told) < beats / 4 / 8  # and the counters are not written after each


def test_operations_every_eight_cycles_are_sustained_besides_pages():
    host = Host("TINY", 1024, timing=HostTiming())
    count = 800
    bench, pages = host.bench, BASE + host.layout.pages
    waits = [7] * count
    rng = random.Random(4)
    touched = [pages + 128 * rng.randrange(1000) for _ in range(count)]
    for role in ("page_read", "page_write"):
        bench.source(f"i_{role}", waits=[400, *waits]).push(
            [{"address": at, "lines": 2, "id": k % 32} for k, at in enumerate(touched)]
        )
    bench.source("i_page_lines").push([bytes(64)] * (2 * count))
    bench.sink("o_record", waits=[0, 0, 0, 4] * count)
    records = [host.record(1) for _ in range(count)]
    host.submit(records)
    host.exchange(records, limit=10_000)
    for cycles in (
        bench.sink("o_record").cycles,
        bench.sink("o_page_data").cycles,
        bench.sink("o_page_written").cycles,
    ):
        assert cycles[-1] - cycles[0] <= 8 * count + 300
    assert not bench.get("error")


def test_the_host_is_told_after_64_lines_and_an_access_at_the_latest():
    host = Host("TINY", 1024, timing=HostTiming(writes=1))  # so slow that there is always another one
    host.answer([host.record(1) for _ in range(400)])
    host.bench.run(5000)
    host.bench.run_until(limit=20_000, values={"idle": 1})
    runs, untold = [], 0
    for event in host.bench.observer.events(kinds={EventKind.WRITE}):
        if event["address"] == BASE + 0x40:
            runs, untold = [*runs, untold], 0
        else:
            untold += int(event["length"]) // 64
    assert sum(runs) == 400
    assert 64 <= max(runs) <= 64 + 16
    assert untold == 0


def test_short_responses_are_gathered_only_behind_another_one():
    host = Host("TINY", 1024)
    host.answer([host.record(1)])
    host.bench.run(300)
    host.answer([host.record(1) for _ in range(20)])
    host.bench.run(300)
    lengths = host.events(EventKind.WRITE, host.layout.responses, host.layout.pages)["length"] // 64
    assert lengths[:2].tolist() == [1, 1]  # neither waited for the next one
    assert lengths.sum() == 21
    assert set(lengths[2:-1].tolist()) == {4}


@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_times_do_not_depend_on_what_is_sealed(name):
    seen = []
    for seed in (1, 2):
        host, rng = Host(name, 256, timing=ROUGH, seed=7), random.Random(seed)
        for flow in ("o_record", "i_record"):
            host.bench.observe(flow)
        records = [host.record() for _ in range(30)]
        host.exchange([record[:16] + rng.randbytes(len(record) - 16) for record in records], limit=50_000)
        seen.append(host.bench.observer.events())
    assert np.array_equal(*seen)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"max_lines": 3}, "max_lines is 3; it must be a whole number from 4 to 1024"),
        ({"access_lines": 0}, "access_lines is 0; it must be one of 1, 2, 4, 8, 16, 32, 64"),
        ({"poll_cycles": 1}, "poll_cycles is 1; it must be a whole number from 2 to 65536"),
        ({"gather_cycles": 0}, "gather_cycles is 0; it must be a whole number from 1 to 65536"),
        ({"counter_cycles": 0}, "counter_cycles is 0; it must be a whole number from 1 to 65536"),
    ],
)
def test_bad_parameters_are_refused(change, text):
    with pytest.raises(ParamsError, match=text):
        RingPort(preset("TINY"), **{"max_lines": 4} | change)
