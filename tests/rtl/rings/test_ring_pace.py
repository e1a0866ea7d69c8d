# amaranth: UnusedElaboratable=no
"""What the rings take of the link for each operation, beside the pages: reads, writes, cycles."""

import random

import pytest

from omap.wire import Counter
from sim.models.observer import EventKind
from sim.models.timing import HostTiming
from tests.support.rtl.ring_bench import BASE, Host

EACH = 5
"""Cycles in which the engine behind the rings takes an operation."""

OPERATIONS = 4048

BEHIND = HostTiming(reads=32, writes=32)


def drive(count, ahead):
    """Run records of ``count`` operations, ``ahead`` at most without a response, beside a page each way for each one.

    Return the host, and the first and last cycle in which it is in its stride, with the operations of that time.
    """
    host = Host("TINY", 4096, timing=BEHIND, seed=1)
    bench, rng = host.bench, random.Random(1)
    records = [host.record(count) for _ in range(OPERATIONS // count)]
    beats = len(records[0]) // 16
    spare = count * EACH - beats
    waits = [spare // beats] * (beats - 1) + [spare - spare // beats * (beats - 1)]
    bench.sink("o_record", waits=waits * len(records))
    touched = [BASE + host.layout.pages + 128 * rng.randrange(1000) for _ in range(OPERATIONS)]
    for role in ("page_read", "page_write"):
        bench.source(f"i_{role}", waits=[400] + [EACH - 1] * OPERATIONS).push(
            [{"address": at, "lines": 2, "id": k % 32} for k, at in enumerate(touched)]
        )
    bench.source("i_page_lines").push([bytes(64)] * (2 * OPERATIONS))
    while len(host.responses) < len(records):
        assert bench.cycle < 20 * OPERATIONS
        host.submit(records[: len(host.responses) + ahead])
        bench.run(20)
        host.answer(host.records())
        host.collect()
    cycles = bench.sink("o_record").cycles
    begin, end = (int(cycles[int(share * len(cycles))]) for share in (0.4, 0.9))
    return host, begin, end, 0.5 * OPERATIONS


FULL, ONE = 253, 1


@pytest.mark.parametrize(
    ("count", "ahead", "reads", "responses", "counters"),
    [
        (FULL, 100, 0.06, 0.02, 0.01),  # a full ring: each read brings 16 lines
        (FULL, 2, 0.12, 0.02, 0.01),  # one record runs, another one waits
        (ONE, 4096, 0.11, 0.28, 0.03),
        (ONE, 128, 0.19, 0.28, 0.08),  # as many as are in flight, so that none waits
    ],
)
def test_under_load_the_rings_cost_few_accesses_beside_the_pages(count, ahead, reads, responses, counters):
    host, begin, end, operations = drive(count, ahead)
    layout = host.layout

    def share(kind, low, high):
        cycles = host.events(kind, low, high)["cycle"]
        return ((cycles >= begin) & (cycles < end)).sum() / operations

    assert (end - begin) / operations <= 1.02 * EACH
    assert share(EventKind.READ, 0, layout.responses) <= reads
    assert share(EventKind.WRITE, layout.responses, layout.pages) <= responses
    assert share(EventKind.WRITE, 0, layout.commands) <= counters
    assert host.counter(Counter.RESPONSES_WRITTEN) == host.taken
