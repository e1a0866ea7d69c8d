"""The whole engine with the reference in lock-step, for as many operations as an hour allows: answers, pages, audit.

And with the device model: records of drawn lengths, from clients of many credentials.
"""

import random
import time
from dataclasses import replace

import numpy as np
import pytest

from omap import sizing
from omap.audit import audit
from omap.map import create
from omap.operations import Kind, Status
from omap.presets import preset
from omap.trace import Observer, Submitted, Trace
from rtl.config import EngineConfig
from sim.device.known import fixed_formats
from tests.support.rtl.engine_bench import Twin
from tests.support.rtl.engines import ROOMY, operations
from tests.support.rtl.session_bench import OWNER
from tests.support.rtl.session_ends import drawn
from tests.support.rtl.timed_engine import TimedEngine

CHUNK = 8192
"""Operations between two comparisons."""

SEED = 5

STANDARD = sizing.one_choice(capacity=1 << 14, key_bytes=8, value_bytes=64, page_bytes=640)

RUNS = {
    "TINY": (
        EngineConfig(
            params=sizing.one_choice(capacity=12_000, key_bytes=4, value_bytes=4, page_bytes=64, descriptor_bytes=32)
        ),
        1_000_000,
    ),
    "SMALL": (EngineConfig(params=preset("SMALL")), 1_000_000),
    "PAPER": (ROOMY, 1_000_000),
    "STANDARD": (EngineConfig(params=STANDARD), 1_000_000),
    "STANDARD, 1 lane": (EngineConfig(params=STANDARD, lanes=1), 150_000),
    "STANDARD, 2 lanes": (EngineConfig(params=STANDARD, lanes=2), 150_000),
    "WIDE": (
        EngineConfig(params=sizing.one_choice(capacity=1 << 12, key_bytes=16, value_bytes=256, page_bytes=4096)),
        100_000,
    ),
}
"""Engines with keys, values and pages of the presets of these names, and how many operations each runs. An operation of
WIDE takes 17 times as many cycles as one of PAPER, so that a tenth of them takes longer."""

NOP, GET, PUT, DELETE = Kind
KINDS = (PUT, PUT, PUT, PUT, PUT, GET, GET, GET, DELETE, NOP)
"""So many more PUTs than DELETEs that the map gets full."""


@pytest.mark.long
@pytest.mark.parametrize("name", RUNS)
def test_a_long_run_equals_the_reference(name):
    config, count = RUNS[name]
    params, rng, seen = config.params, random.Random(SEED), Observer()
    begun = time.perf_counter()
    engine, reference = TimedEngine(config, SEED), create(params, secrets=fixed_formats(SEED), observer=seen)
    observer, cycle = engine.run.bench.observer, engine.run.bench.cycle
    script = operations(rng, count, params, params.capacity * 5 // 4, kinds=KINDS)
    ready, full, touched = time.perf_counter(), 0, []
    for first in range(0, count, CHUNK):
        part = script[first : first + CHUNK]
        observer.clear()
        seen.clear()
        wanted, replies = reference.execute(part), engine.fill(part)
        assert [reply.response for reply in replies] == wanted
        assert [reply.sequence for reply in replies] == list(range(first, first + len(part)))
        assert replies[-1].live == len(reference)
        assert replies[-1].overruns == 0, f"in operations {first} to {first + len(part)}"
        full += sum(reply.response.status == Status.FULL for reply in replies)
        trace, wanted_trace = engine.trace(), seen.trace()
        for column in ("operation", "address", "length", "write"):
            assert np.array_equal(getattr(trace, column), getattr(wanted_trace, column)), column
        touched.append(replace(trace, operation=trace.operation + first))
    assert engine.pages == bytes(reference.host.data)
    assert full
    columns = {c: np.concatenate([getattr(t, c) for t in touched]) for c in ("operation", "address", "length", "write")}
    found = audit(Trace(**columns, operations=count, submitted=Submitted(operations=count)), params)
    assert found.passed, found.summary()
    took = time.perf_counter() - ready
    cycles = (engine.run.bench.cycle - cycle) / count
    print(
        f"{name}: {count:,} operations in {took:.0f} s, {count / took:,.0f} a second, {cycles:.2f} cycles each; "
        f"{ready - begun:.0f} s to get ready"
    )


CLIENTS = 12
MILLION = 1_000_000


@pytest.mark.long
def test_a_million_operations_of_many_clients_equal_the_device_model():
    """Every byte of rings and pages, and what is told to whom; a client in twelve is new in each part."""
    twin = Twin(SEED, config=ROOMY, ring_lines=1024)
    names = twin.names[:] = [twin.rng.randbytes(twin.params.key_bytes) for _ in range(twin.params.capacity)]
    clients, begun = [twin.opened(credential=OWNER)], time.perf_counter()
    for first in range(0, MILLION, CHUNK):
        credential = twin.rng.choice([OWNER, drawn(twin.rng, twin.params)])
        clients.append(twin.opened(credential=credential))
        if len(clients) > CLIENTS:
            twin.close(clients.pop(twin.rng.randrange(1, len(clients))))
        twin.send(clients, min(CHUNK, MILLION - first), kinds=KINDS, keys=len(names))
        twin.rest()
        twin.forget()
        twin.tuples.clear()
    took = time.perf_counter() - begun
    print(f"{MILLION:,} operations in {took:.0f} s, {MILLION / took:,.0f} a second")
