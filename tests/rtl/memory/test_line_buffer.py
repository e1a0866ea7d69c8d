"""However touches, memory and consumer interleave, the outcome is that of one access after the other."""

import random

import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from rtl.memory.line_buffer import LineBuffer

LINES, WIDTH = 6, 16


def run(touches, *, entries, seed, keep, slowness=None):
    """Use lines in the order of ``touches``; return what was seen, what memory holds in the end, and the fetches.

    A use adds its number to the line, unless ``keep`` says that it leaves it alone. Everything around the buffer
    answers after times drawn from ``seed``: fetches out of order, writes and the consumer late.
    """
    dut = LineBuffer(address_bits=3, line_bits=WIDTH, entries=entries)
    rng = random.Random(seed)
    memory, seen, fetches = [100 * line for line in range(LINES)], [], []
    reads, writes = [], []  # under way: (cycle it is due, id, address or data)
    slowness = slowness or rng.choice([1, 4, 12])

    async def bench(ctx):
        sent = cycle = 0
        pending = None
        idle_for = 0
        while len(seen) < len(touches) or idle_for < 3:
            assert cycle < 400 + 100 * len(touches) * slowness, "stuck"
            ctx.set(dut.i_touch.valid, sent < len(touches) and rng.random() < 0.8)
            ctx.set(dut.i_touch.p, touches[min(sent, len(touches) - 1)])
            ctx.set(dut.o_line.ready, pending is None and rng.random() < 0.7)
            answer = pending is not None and rng.random() < 0.7
            ctx.set(dut.i_line.valid, answer)
            if answer:
                line, number = pending
                changed = number not in keep
                ctx.set(dut.i_line.p.changed, changed)
                ctx.set(dut.i_line.p.data, (line + number + 1) % 2**WIDTH if changed else rng.getrandbits(WIDTH))
            ctx.set(dut.o_fetch.ready, rng.random() < 0.7)
            ctx.set(dut.o_flush.ready, rng.random() < 0.7)
            due = [read for read in reads if read[0] <= cycle]
            read = rng.choice(due) if due else None
            ctx.set(dut.i_fetched.valid, read is not None)
            if read:
                ctx.set(dut.i_fetched.p, {"id": read[1], "data": memory[read[2]]})
            write = next((write for write in writes if write[0] <= cycle), None)
            ctx.set(dut.i_flushed.valid, write is not None)
            if write:
                ctx.set(dut.i_flushed.p, write[1])

            went = {
                name: bool(ctx.get(port.valid) and ctx.get(port.ready))
                for name, port in (("touch", dut.i_touch), ("line", dut.o_line), ("answer", dut.i_line))
            }
            if went["touch"]:
                sent += 1
            if went["line"]:
                pending = ctx.get(dut.o_line.p), len(seen)
            if went["answer"]:
                seen.append(pending[0])
                pending = None
            if ctx.get(dut.o_fetch.valid) and ctx.get(dut.o_fetch.ready):
                payload = ctx.get(dut.o_fetch.p)
                fetches.append(payload.address)
                reads.append((cycle + rng.randrange(slowness * 3), payload.id, payload.address))
            if ctx.get(dut.o_flush.valid) and ctx.get(dut.o_flush.ready):
                payload = ctx.get(dut.o_flush.p)
                assert payload.id not in [write[1] for write in writes], "two writes of a line under way"
                writes.append((cycle + rng.randrange(slowness * 3), payload.id, payload.address, payload.data))
            if read and ctx.get(dut.i_fetched.ready):
                reads.remove(read)
            if write:  # the write takes effect when it is acknowledged, as late as it can
                writes.remove(write)
                memory[write[2]] = write[3]
            idle_for = idle_for + 1 if ctx.get(dut.idle) and not writes else 0
            await ctx.tick()
            cycle += 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen, memory, fetches


@settings(max_examples=25)
@given(
    touches=st.lists(st.integers(0, LINES - 1), min_size=1, max_size=40),
    entries=st.sampled_from([2, 3, 5]),
    seed=st.integers(0, 2**32 - 1),
    keep=st.sets(st.integers(0, 39), max_size=20),
)
def test_every_use_sees_all_uses_before_it(touches, entries, seed, keep):
    seen, memory, _ = run(touches, entries=entries, seed=seed, keep=keep)
    lines, expected = [100 * line for line in range(LINES)], []
    for number, line in enumerate(touches):
        expected.append(lines[line])
        if number not in keep:
            lines[line] += number + 1
    assert seen == expected
    assert memory == lines


def test_a_line_in_use_is_fetched_once():
    _, _, fetches = run([3] * 10 + [1], entries=3, seed=5, keep=set())
    assert fetches.count(1) == 1
    assert fetches.count(3) < 10


@pytest.mark.parametrize("seed", range(6))
def test_more_touches_of_a_line_than_are_kept(seed):
    seen, memory, _ = run([3] * 40, entries=2, seed=seed, keep=set())
    assert seen == [300 + number * (number + 1) // 2 for number in range(40)]
    assert memory[3] == 300 + 820


@pytest.mark.parametrize("seed", range(6))
def test_a_line_changed_again_while_it_is_written(seed):
    others = 11  # more than are announced ahead, so that nobody waits for the line in between
    seen, memory, _ = run(([3] + [1] * others) * 8, entries=2, seed=seed, keep=set(), slowness=40)
    changes = [number * (others + 1) + 1 for number in range(8)]
    assert seen[:: others + 1] == [300 + sum(changes[:number]) for number in range(8)]
    assert memory[3] == 300 + sum(changes)


def cycles_of_uses(touches, *, slow=1):
    """Return the cycles in which lines are used if all around is as fast as can be, and every use changes its line.

    Memory takes ``slow`` cycles.
    """
    dut = LineBuffer(address_bits=8, line_bits=WIDTH, entries=32)
    uses = []

    async def bench(ctx):
        sent, answer, reads, writes = 0, False, [], []
        for port in (dut.o_fetch, dut.o_flush, dut.o_line):
            ctx.set(port.ready, 1)
        ctx.set(dut.i_line.p.changed, 1)
        for cycle in range(4 * len(touches)):
            ctx.set(dut.i_touch.valid, sent < len(touches))
            ctx.set(dut.i_touch.p, touches[min(sent, len(touches) - 1)])
            ctx.set(dut.i_line.valid, answer)
            for port, due in ((dut.i_fetched, reads), (dut.i_flushed, writes)):
                ctx.set(port.valid, bool(due) and due[0][0] <= cycle)
            if reads:
                ctx.set(dut.i_fetched.p.id, reads[0][1])
            if writes:
                ctx.set(dut.i_flushed.p, writes[0][1])
            for port, due in ((dut.i_fetched, reads), (dut.i_flushed, writes)):
                del due[: ctx.get(port.valid & port.ready)]
            sent += ctx.get(dut.i_touch.ready)
            for port, due in ((dut.o_fetch, reads), (dut.o_flush, writes)):
                if ctx.get(port.valid):
                    due.append((cycle + slow, ctx.get(port.p.id)))
            answer = bool(ctx.get(dut.o_line.valid))
            if answer:
                uses.append(cycle)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(uses) == len(touches)
    return uses


@pytest.mark.parametrize(
    "touches", [[0, 1] * 100, [0, 1, 2, 3, 4, 5] * 30, list(range(200)), [k * k % 7 + k % 2 * 7 for k in range(200)]]
)
def test_a_line_is_used_every_cycle(touches):
    """Lines that are fetched anew, and lines that are here."""
    uses = cycles_of_uses(touches)
    assert uses[-1] - uses[0] <= 1.05 * len(uses)


def test_the_same_line_is_used_every_two_cycles():
    uses = cycles_of_uses([0] * 60)
    assert uses[-1] - uses[0] == 2 * (len(uses) - 1)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"entries": 1}, "entries is 1; it must be a whole number from 2 to 128"),
        ({"address_bits": 0}, "address_bits is 0; it must be a whole number from 1 to 48"),
        ({"line_bits": 5000}, "line_bits is 5000; it must be a whole number from 1 to 4096"),
    ],
)
def test_bad_parameters_are_refused(change, text):
    with pytest.raises(ParamsError, match=text):
        LineBuffer(**{"address_bits": 3, "line_bits": 16, **change})
