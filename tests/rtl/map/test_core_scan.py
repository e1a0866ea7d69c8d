# amaranth: UnusedElaboratable=no
"""A scan of the core yields the slots that the reference exports, in the same times, and changes nothing."""

import random
from functools import cache

import numpy as np
import pytest

from omap.hazmat.fixed import fixed_secrets
from omap.map import create
from omap.operations import Operation, Status
from omap.trace import Observer
from sim.bench.compiled import Design
from sim.device.map_bench import CoreRun
from sim.models.observer import EventKind
from sim.models.timing import HbmTiming, HostTiming
from tests.support.designs.core_on_host import CoreOnHost
from tests.support.rtl.engines import DELETE, PUT, SCANNED, operations

pytestmark = pytest.mark.long

PARAMS = SCANNED.params
IN_PAGES = PARAMS.pages * PARAMS.page_slots


@cache
def design():
    return Design(CoreOnHost(SCANNED))


class Pair:
    """A core and the reference on the same secrets."""

    def __init__(self, seed, **timing):
        self.observer = Observer()
        self.reference = create(PARAMS, secrets=fixed_secrets(seed), observer=self.observer)
        self.run = CoreRun(design().bench(seed=seed), SCANNED, **timing)
        self.run.format(fixed_secrets(seed)())
        self.clear()

    def execute(self, script):
        """Run operations on both; they must say the same."""
        replies = self.run.execute(script)
        assert [reply.response for reply in replies] == self.reference.execute(script)
        assert replies[-1].live == len(self.reference)
        return replies

    def scan(self):
        """Scan both: page slots are equal in order, waiting slots as a whole. Return how many tuples wait."""
        self.compare()
        rows = [rows_of(columns) for columns in self.reference.export()]
        expected, found = np.concatenate(rows), rows_of(self.run.scan())
        assert found[:IN_PAGES].tolist() == expected[:IN_PAGES].tolist()
        waiting = found[IN_PAGES : PARAMS.slots].tolist()
        assert sorted(waiting) == sorted(expected[IN_PAGES:].tolist())
        assert not found[PARAMS.slots :].any()
        self.run.settle()
        observer = self.run.bench.observer
        assert not len(observer.events(port="m_axi_host", kinds={EventKind.WRITE}))
        events = observer.events(port="m_axi_host", kinds={EventKind.READ})
        starts = [self.run.base + page * PARAMS.page_bytes for page in range(PARAMS.pages)]
        assert events["address"].tolist() == starts
        assert (events["length"] == PARAMS.page_bytes).all()
        self.clear()
        return int(np.count_nonzero(found[IN_PAGES:, 0]))

    def compare(self):
        """What the host holds must be equal, and what it saw since the last time."""
        self.run.settle()
        run = self.run
        assert run.pages() == bytes(self.reference.host.data)
        trace = run.bench.observer.trace(
            port="m_axi_host", base=run.base, page_bytes=PARAMS.page_bytes, pages=PARAMS.pages
        )
        expected = self.observer.trace()
        assert trace.address.tolist() == expected.address.tolist()
        assert trace.write.tolist() == expected.write.tolist()
        self.clear()

    def clear(self):
        self.observer.clear()
        self.run.bench.observer.clear()


def rows_of(columns):
    """Return kind, key and value of each slot as a row."""
    return np.concatenate([columns.kinds[:, None], columns.keys, columns.values], axis=1)


@pytest.mark.sec_cm("SCAN.SLOTS.ALL")
@pytest.mark.parametrize("seed", range(2))
def test_a_scan_equals_the_export_and_changes_nothing(seed):
    slow = HbmTiming(hit_ns=138, closed_ns=138) if seed else HbmTiming()
    pair, rng = Pair(seed, host=HostTiming(reorder=True), hbm=slow), random.Random(seed)
    assert pair.scan() == 0
    pair.execute(operations(rng, 40, PARAMS, 90))
    pair.compare()
    assert pair.scan() > 0
    assert pair.scan() > 0
    replies = pair.execute(operations(rng, 150, PARAMS, 90))
    assert pair.scan() > 0
    replies = pair.execute(operations(rng, 50, PARAMS, 90))
    assert replies[-1].overruns == 0
    pair.compare()


@pytest.mark.sec_cm("SCAN.SLOTS.ALL")
def test_a_full_map_and_tuples_of_zeros():
    pair, keys = Pair(7), range(PARAMS.capacity)
    puts = [Operation(PUT, k.to_bytes(PARAMS.key_bytes, "big"), bytes(PARAMS.value_bytes)) for k in keys]
    assert pair.execute(puts)[-1].response.status is Status.OK
    assert pair.scan() > 0
    full = Operation(PUT, b"\xff" * PARAMS.key_bytes, bytes(PARAMS.value_bytes))
    assert pair.execute([full])[0].response.status is Status.FULL
    pair.execute([Operation(DELETE, puts[k].key, b"") for k in keys if k % 2])
    pair.scan()
    pair.compare()


def test_commands_wait_for_the_end_of_a_scan():
    """Commands that come meanwhile wait for the last slot, and see the map as it was."""
    pair, rng = Pair(3), random.Random(3)
    pair.execute(operations(rng, 60, PARAMS, 90))
    pair.run.settle()
    slots, script = pair.run.begin_scan(), operations(rng, 20, PARAMS, 90)
    pair.run.push(script)
    pair.run.bench.run_until(limit=50_000, transfers={"o_slot": slots})
    assert not pair.run.take()
    expected = np.concatenate([rows_of(columns) for columns in pair.reference.export()])
    assert rows_of(pair.run.slots())[:IN_PAGES].tolist() == expected[:IN_PAGES].tolist()
    pair.run.bench.run_until(limit=50_000, transfers={"o_reply": len(script)})
    assert [reply.response for reply in pair.run.take()] == pair.reference.execute(script)


@pytest.mark.sec_cm("PAGE.VERSION.FRESH")
@pytest.mark.parametrize("replay", [False, True])
def test_no_slot_leaves_of_an_altered_page_or_of_an_earlier_one(replay):
    pair, page = Pair(4), 5
    place = slice(page * PARAMS.page_bytes, (page + 1) * PARAMS.page_bytes)
    earlier = pair.run.memory.data[place].copy()
    pair.execute(operations(random.Random(4), 60, PARAMS, 90))
    pair.run.settle()
    assert (pair.run.memory.data[place] != earlier).any()
    if replay:
        pair.run.memory.data[place] = earlier
    else:
        pair.run.memory.data[place.start] ^= 1
    pair.run.begin_scan()
    pair.run.bench.run_until(limit=50_000, values={"page_fault": 1})
    pair.run.bench.run(20_000)
    assert pair.run.bench.get("page_fault")
    expected = np.concatenate([rows_of(columns) for columns in pair.reference.export()])
    found = rows_of(pair.run.slots())
    assert len(found) <= page * PARAMS.page_slots
    assert found.tolist() == expected[: len(found)].tolist()


def test_a_format_follows_a_drop():
    """A map that was dropped right after its last reply leaves nothing behind."""
    pair, script = Pair(5), operations(random.Random(5), 100, PARAMS, 90)
    pair.execute(script)
    pair.run.drop()
    assert not pair.run.bench.get("formatted")
    pair.reference = create(PARAMS, secrets=fixed_secrets("again"), observer=pair.observer)
    pair.run.format(fixed_secrets("again")())
    pair.clear()
    pair.execute(script)
    pair.scan()
    pair.compare()


@pytest.mark.sec_cm("ENGINE.DROP.ERASE")
def test_a_dropped_map_opens_no_page_any_more():
    """A scan without a map is no use of the core; it shows that no page key is left."""
    pair = Pair(6)
    pair.execute(operations(random.Random(6), 30, PARAMS, 90))
    pair.run.drop()
    pair.run.begin_scan()
    pair.run.bench.run(50_000)
    assert len(pair.run.slots().kinds) == 0
