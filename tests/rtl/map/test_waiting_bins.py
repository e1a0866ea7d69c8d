"""However bins, HBM and the merge stage interleave, every use sees the lists that the uses before it left."""

import random
from dataclasses import replace

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from omap.presets import preset
from rtl import offsets
from rtl.map.bin_shapes import Use
from rtl.map.page import Verdict
from rtl.map.waiting import WaitingBins
from rtl.stream.pick import first
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.secrecy import differences, state

SHAPE = replace(preset("TINY"), capacity=60, pages=4, waiting_slots=60, further_lines=20, buckets=6)
FULL = (1 << SHAPE.page_slots) - 1


def script(rng, uses):
    """Return drawn uses with all that goes in, and what must come out, from lists alone."""
    lists, versions, occupancies = [[] for _ in range(4)], [0] * 4, [0] * 4
    touches, live = [], 0
    ins, outs = {"verdict": [], "occupancy": [], "append": []}, {"version": [], "bin": [], "waiting": []}
    growing = rng.random()
    for number in range(uses):
        bin_ = rng.choice([0, 0, 0, 1, 2, 3])
        if rng.random() < 0.5 + growing / 3:
            touches.append({"bin": bin_, "use": Use.APPEND})
            present = live < 58 and rng.random() < 0.9
            entry = number + 1 << 8 | 0x5A
            ins["append"].append({"present": present, "entry": entry})
            if present:
                lists[bin_].append(entry)
                live += 1
            continue
        touches.append({"bin": bin_, "use": Use.TOUCH})
        outs["version"].append(versions[bin_])
        outs["bin"].append(occupancies[bin_])
        outs["waiting"] += [(0, entry) for entry in lists[bin_]] + [(1, 0)]
        keep = rng.choice([0.0, 0.5, 0.9, 1.0])
        verdicts = [
            Verdict.KEPT if rng.random() < keep else rng.choice([Verdict.MOVED, Verdict.TAKEN]) for _ in lists[bin_]
        ]
        ins["verdict"] += verdicts
        live -= sum(verdict is not Verdict.KEPT for verdict in verdicts)
        lists[bin_] = [e for e, verdict in zip(lists[bin_], verdicts, strict=True) if verdict is Verdict.KEPT]
        versions[bin_] = len(outs["bin"])  # which touch it was, from 1
        occupancies[bin_] = rng.randint(0, FULL)
        ins["occupancy"].append(occupancies[bin_])
    return touches, ins, outs, (lists, versions, occupancies)


class Hbm:
    """Lines and slots behind the block, with answers as late and as disordered as drawn; and the free lists."""

    def __init__(self, dut, rng):
        self.dut, self.rng, self.slowness = dut, rng, rng.choice([1, 5, 15])
        self.lines = dict.fromkeys(range(SHAPE.pages), 0)  # version 0, nothing waits
        self.slots = {}
        self.reads, self.writes, self.slot_reads, self.slot_writes = [], [], [], []
        self.free_slots, self.free_lines = list(range(SHAPE.waiting_slots)), list(range(SHAPE.further_lines))

    def due(self, queue, cycle):
        return [item for item in queue if item[0] <= cycle]

    def later(self, cycle):
        return cycle + 1 + self.rng.randrange(3 * self.slowness)

    def drive(self, ctx, cycle):
        dut, rng = self.dut, self.rng
        for port in (dut.o_line_fetch, dut.o_line_flush, dut.o_slot_fetch, dut.o_slot_write):
            ctx.set(port.ready, rng.random() < 0.7)
        for port in (dut.o_freed_slot, dut.o_freed_line):
            ctx.set(port.ready, rng.random() < 0.8)
        read = rng.choice(self.due(self.reads, cycle) or [None])
        write = rng.choice(self.due(self.writes, cycle) or [None])
        slot = self.slot_reads[0] if self.due(self.slot_reads[:1], cycle) else None
        done = self.slot_writes[0] if self.due(self.slot_writes[:1], cycle) else None
        ctx.set(dut.i_line_fetched.valid, read is not None)
        ctx.set(dut.i_line_flushed.valid, write is not None)
        ctx.set(dut.i_slot_fetched.valid, slot is not None)
        ctx.set(dut.i_slot_written.valid, done is not None)
        if read:
            ctx.set(dut.i_line_fetched.payload, {"id": read[1], "data": self.lines[read[2]]})
        if write:
            ctx.set(dut.i_line_flushed.payload, write[1])
        if slot:
            ctx.set(dut.i_slot_fetched.payload, self.slots[slot[1]])
        ctx.set(dut.i_free_slot.valid, bool(self.free_slots))
        ctx.set(dut.i_free_line.valid, bool(self.free_lines))
        ctx.set(dut.i_free_slot.payload, self.free_slots[0] if self.free_slots else 0)
        ctx.set(dut.i_free_line.payload, self.free_lines[0] if self.free_lines else 0)
        self.offered = read, write, slot, done

    def step(self, ctx, cycle):
        dut = self.dut
        read, write, slot, done = self.offered

        def went(port):
            return ctx.get(port.valid) and ctx.get(port.ready)

        if went(dut.i_line_fetched):
            self.reads.remove(read)
        if went(dut.i_line_flushed):  # a write takes effect as late as it can
            self.writes.remove(write)
            self.lines[write[2]] = write[3]
        if went(dut.i_slot_fetched):
            self.slot_reads.remove(slot)
        if went(dut.i_slot_written):
            self.slot_writes.remove(done)
            self.slots[done[1]] = done[2]
        if went(dut.i_free_slot):
            self.free_slots.pop(0)
        if went(dut.i_free_line):
            self.free_lines.pop(0)
        if went(dut.o_line_fetch):
            asked = ctx.get(dut.o_line_fetch.payload)
            self.reads.append((self.later(cycle), asked.id, asked.address))
        if went(dut.o_line_flush):
            flushed = ctx.get(dut.o_line_flush.payload)
            self.writes.append((self.later(cycle), flushed.id, flushed.address, flushed.data))
        if went(dut.o_slot_fetch):
            self.slot_reads.append((self.later(cycle), ctx.get(dut.o_slot_fetch.payload)))
        if went(dut.o_slot_write):
            written = ctx.get(dut.o_slot_write.payload)
            self.slot_writes.append((self.later(cycle), written.slot, written.data))
        if went(dut.o_freed_slot):
            freed = ctx.get(dut.o_freed_slot.payload)
            assert freed not in self.free_slots
            self.free_slots.append(freed)
        if went(dut.o_freed_line):
            freed = ctx.get(dut.o_freed_line.payload)
            assert freed not in self.free_lines
            self.free_lines.append(freed)

    def contents(self, number):
        """Follow a descriptor's links and return version, occupancy and list."""
        line = self.lines[number]
        count, link = line >> 48 & 0xFFFF, line >> 96 & 0xFFFFFFFF
        indices = [line >> 128 + 32 * k & 0xFFFFFFFF for k in range(SHAPE.line_indices[0])]
        lines = []
        while len(indices) < count:
            lines.append(link)
            line = self.lines[SHAPE.pages + link]
            indices += [line >> 32 + 32 * k & 0xFFFFFFFF for k in range(SHAPE.line_indices[1])]
            link = line & 0xFFFFFFFF
        return (self.lines[number] & (1 << 48) - 1, self.lines[number] >> 64 & 0xFFFFFFFF, indices[:count], lines)


def run(touches, ins, outs, *, entries, seed):
    """Run a script against a memory with drawn delays; return what came out and the memory."""
    dut, rng = WaitingBins(SHAPE, entries=entries), random.Random(seed)
    hbm = Hbm(dut, rng)
    sources = {
        dut.i_touch: list(touches),
        dut.i_verdict: list(ins["verdict"]),
        dut.i_occupancy: list(ins["occupancy"]),
        dut.i_append: list(ins["append"]),
    }
    got = {"version": [], "bin": [], "waiting": []}
    sinks = {dut.o_version: "version", dut.o_bin: "bin", dut.o_waiting: "waiting"}
    offering = dict.fromkeys(sources, False)

    async def bench(ctx):
        cycle = quiet = owed = 0
        while quiet < 4:
            assert cycle < 1000 + 20 * len(touches) * (4 + hbm.slowness), "stuck"
            for port in sinks:
                ctx.set(port.ready, rng.random() < 0.7)
            for port, items in sources.items():
                offering[port] = bool(items) and (offering[port] or rng.random() < 0.7)
                # a verdict comes when its tuple is taken, or later
                taken = ctx.get(dut.o_waiting.valid) and ctx.get(dut.o_waiting.ready)
                if port is dut.i_verdict and not (owed or (taken and not ctx.get(dut.o_waiting.payload).end)):
                    offering[port] = False
                ctx.set(port.valid, offering[port])
                if offering[port]:
                    ctx.set(port.payload, items[0])
            hbm.drive(ctx, cycle)
            assert ctx.get(dut.o_waiting.valid) or not ctx.get(dut.o_waiting.payload.as_value())
            for port, name in sinks.items():
                if ctx.get(port.valid) and ctx.get(port.ready):
                    item = ctx.get(port.payload)
                    owed += name == "waiting" and not item.end
                    got[name].append(
                        (item.end, item.entry) if name == "waiting" else item.occupancy if name == "bin" else item
                    )
            for port, items in sources.items():
                if ctx.get(port.valid) and ctx.get(port.ready):
                    items.pop(0)
                    offering[port] = False
                    owed -= port is dut.i_verdict
            hbm.step(ctx, cycle)
            over = not any(sources.values()) and ctx.get(dut.quiet)
            quiet = quiet + 1 if over else 0
            await ctx.tick()
            cycle += 1
        assert not ctx.get(dut.exhausted)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return got, hbm


@pytest.mark.sec_cm("WAITING.TUPLE.UNREADABLE")
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), uses=st.sampled_from([10, 40]), entries=st.sampled_from([2, 3, 5]))
def test_every_use_sees_the_lists_that_the_uses_before_it_left(seed, uses, entries):
    rng = random.Random(seed)
    touches, ins, outs, (lists, versions, occupancies) = script(rng, uses)
    got, hbm = run(touches, ins, outs, entries=entries, seed=seed)
    assert got == outs
    slots, lines = [], []
    for number in range(SHAPE.pages):
        version, occupancy, indices, further = hbm.contents(number)
        assert (version, occupancy) == (versions[number], occupancies[number])
        assert [hbm.slots[index] for index in indices] == lists[number]
        slots += indices
        lines += further
    assert sorted(slots + hbm.free_slots) == list(range(SHAPE.waiting_slots))
    assert sorted(lines + hbm.free_lines) == list(range(SHAPE.further_lines))


def test_a_bin_without_room_loses_the_tuple_and_says_so():
    dut = WaitingBins(SHAPE, entries=2, most=3)
    bench = AmaranthBench(dut)
    bench.source("i_touch").push([{"bin": 1, "use": Use.APPEND}] * 4 + [{"bin": 1, "use": Use.TOUCH}])
    bench.source("i_append").push([{"present": 1, "entry": number} for number in range(4)])
    bench.source("i_line_fetched", waits=[20]).push([{"id": 0, "data": 5}])
    bench.source("i_free_slot").push(range(4))
    bench.source("i_slot_written", waits=[99])
    bench.source("i_verdict", waits=[60]).push([Verdict.KEPT.value] * 3)
    bench.run_until(limit=200, transfers={"o_waiting": 4})
    waiting = dut.o_waiting.p.shape()
    assert [waiting.from_bits(raw).entry for raw in bench.sink("o_waiting").take()] == [0, 1, 2, 0]
    assert bench.sink("o_version").take() == [5]
    assert bench.get("exhausted")


def appended(count, *, lines=1):
    """A bench on which ``count`` tuples have joined bin 1; no write of a line or of a slot arrives."""
    bench = AmaranthBench(WaitingBins(SHAPE, entries=2))
    bench.source("i_touch").push([{"bin": 1, "use": Use.APPEND}] * count)
    bench.source("i_append").push([{"present": 1, "entry": number} for number in range(count)])
    bench.source("i_free_slot").push(range(count))
    bench.source("i_free_line").push([3] * lines)
    bench.run_until(limit=20, transfers={"o_line_fetch": 1})
    bench.source("i_line_fetched").push([{"id": 0, "data": 5}])
    bench.run_until(limit=40, transfers={"o_slot_write": count})
    bench.run(20)
    return bench


def test_a_bin_is_not_used_while_its_lines_leave():
    bench = appended(SHAPE.line_indices[0] + 1, lines=0)
    assert bench.sink("o_line_flush").transfers == 0  # no line is free to which the first one can link
    bench.source("i_touch").push([{"bin": 1, "use": Use.TOUCH}])
    bench.run(20)
    assert bench.sink("o_version").transfers == 1
    assert bench.sink("o_waiting").transfers == 0
    bench.source("i_free_line").push([3])
    bench.run_until(limit=20, transfers={"o_line_flush": 2, "o_waiting": 1})


def test_versions_are_told_before_the_touches_before_have_ended():
    bench = AmaranthBench(WaitingBins(SHAPE, entries=2))
    bench.source("i_touch").push([{"bin": bin_, "use": Use.TOUCH} for bin_ in (1, 1, 2, 1)])
    bench.run_until(limit=20, transfers={"o_line_fetch": 2})
    bench.source("i_line_fetched").push([{"id": 0, "data": 77 | 6 << 64}, {"id": 1, "data": 88}])
    bench.run(20)
    assert bench.sink("o_version").take() == [77, 1, 88, 2]
    assert bench.sink("o_bin").take() == [6]  # of the others it is known when the first touch has ended
    bench.source("i_occupancy").push([5])
    bench.run_until(limit=20, transfers={"o_bin": 2, "o_waiting": 2})
    assert bench.sink("o_bin").take() == [5, 0]
    # Meanwhile the page is sealed: the next touch is there long before that page is opened again.
    ended = bench.source("i_occupancy").cycles[0]
    told, offered = (bench.sink(name).cycles[1] for name in ("o_bin", "o_waiting"))
    assert max(told, offered) - ended < offsets.SEALING + offsets.OPENING
    bench.run(20)
    assert bench.sink("o_bin").transfers == 3


def test_a_copy_stays_until_all_its_lines_have_arrived():
    count = SHAPE.line_indices[0] + 1
    bench = appended(count)
    assert bench.sink("o_line_flush").transfers == 2
    bench.source("i_slot_written").push([0] * count)
    bench.source("i_line_flushed").push([0])
    bench.run(20)
    assert not bench.get("quiet")
    bench.source("i_line_flushed").push([0])
    bench.run_until(limit=20, values={"quiet": 1})


@pytest.mark.parametrize(("lines", "slots"), [(0, 2), (1, 1)])
def test_a_copy_stays_until_all_its_writes_have_arrived(lines, slots):
    bench = appended(2)
    bench.source("i_line_flushed").push([0] * lines)
    bench.source("i_slot_written").push([0] * slots)
    bench.run(20)
    assert not bench.get("quiet")
    bench.source("i_touch").push([{"bin": 1, "use": Use.TOUCH}])
    bench.run_until(limit=20, transfers={"o_waiting": 1})
    assert bench.sink("o_line_fetch").transfers == 1  # it was not read again


def test_a_copy_goes_when_all_its_writes_have_arrived():
    bench = appended(2)
    bench.source("i_line_flushed").push([0])
    bench.source("i_slot_written").push([0] * 2)
    bench.run_until(limit=20, values={"quiet": 1})
    bench.source("i_touch").push([{"bin": 1, "use": Use.TOUCH}])
    bench.run_until(limit=20, transfers={"o_line_fetch": 1})


def registers(bench):
    """Return what the registers hold that belong to the block: not what is offered to it, and no memory.

    What a memory shows is one of its rows, and is read anew in every cycle.
    """
    return [one for one in state(bench) if not one[0].startswith(("i_", "memory row", "$signature__data"))]


@pytest.mark.sec_cm("WAITING.TUPLE.ERASE")
@pytest.mark.parametrize("control", ["clear", "erase"])
def test_no_register_keeps_tuples_or_versions(control):
    states = []
    for entry, version in ((0x1234, 5), (0xEDCB, 6)):
        bench = AmaranthBench(WaitingBins(SHAPE, entries=2))
        bench.source("i_touch").push([{"bin": 1, "use": Use.APPEND}] * 2 + [{"bin": 1, "use": Use.TOUCH}])
        bench.source("i_append").push([{"present": 1, "entry": entry}] * 2)
        bench.source("i_free_slot").push(range(2))
        bench.run_until(limit=20, transfers={"o_line_fetch": 1})
        bench.source("i_line_fetched").push([{"id": 0, "data": version}])
        bench.run_until(limit=40, transfers={"o_slot_write": 2})
        bench.run(20)
        before = registers(bench)
        bench.set(control, 1)
        bench.run(1)
        bench.set(control, 0)
        bench.run(1)
        states.append((before, registers(bench)))
    assert differences(states[0][0], states[1][0])
    assert not differences(states[0][1], states[1][1])


@pytest.mark.sec_cm("WAITING.TUPLE.ERASE")
@pytest.mark.parametrize("control", ["clear", "erase"])
def test_late_lines_lead_to_nothing(control):
    bench = AmaranthBench(WaitingBins(SHAPE, entries=2))
    bench.source("i_touch").push([{"bin": 1, "use": Use.TOUCH}])
    bench.run_until(limit=20, transfers={"o_line_fetch": 1})
    bench.set(control, 1)
    bench.run(1)
    bench.set(control, 0)
    bench.source("i_line_fetched", waits=[5]).push([{"id": 0, "data": 5 | 2 << 48}])
    bench.run_until(limit=20, values={"quiet": 1})
    bench.run(20)
    assert bench.get("quiet")
    assert bench.sink("o_slot_fetch").transfers == bench.sink("o_version").transfers == 0


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ({"entries": 1}, "entries is 1; it must be a whole number from 2 to 512"),
        ({"entries": 513}, "entries is 513; it must be a whole number from 2 to 512"),
        ({"most": 0}, "most is 0; it must be a whole number from 1 to 1024"),
    ],
)
def test_bad_parameters_are_refused(sizes, text):
    with pytest.raises(ParamsError, match=text):
        WaitingBins(SHAPE, **sizes)


@given(st.integers(1, 70), st.data())
@settings(max_examples=20)
def test_the_lowest_bit_is_picked(width, data):
    mask = data.draw(st.integers(0, (1 << width) - 1))
    m, given_ = Module(), Signal(width)
    found, index = first(m, given_, "pick")

    async def bench(ctx):
        ctx.set(given_, mask)
        assert ctx.get(found) == (mask != 0)
        assert not mask or ctx.get(index) == (mask & -mask).bit_length() - 1

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
