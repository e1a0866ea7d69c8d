# amaranth: UnusedElaboratable=no
"""What the host sees of a snapshot and of a restore, and when, does not depend on what the map holds."""

from itertools import pairwise

import pytest

from host.device.restoring import restore
from host.records import split
from omap.operations import Kind, Operation
from omap.regmap import Request
from omap.source import END
from omap.wire import RecordType, read_header
from tests.support.rtl.engines import JOURNALLED, KEPT
from tests.support.rtl.hosts import HOSTS
from tests.support.rtl.timed_engine import SETTLE, STEP, TimedEngine, difference

NOP, GET, PUT, DELETE = Kind

SAME_PAGES = {"nothing": NOP, "misses": GET, "deletes of what is not there": DELETE, "inserts": PUT}
"""What touches the pages drawn for absent keys, the same whatever the keys."""


def export(engine):
    """Have a snapshot and return its records."""
    driver, run = engine.driver, engine.run
    driver.take_journal()
    driver.ask_export()
    run.until(lambda: run.read("REQUEST") != Request.EXPORT, limit=400_000, cycles=STEP)
    run.step(SETTLE)
    engine.look()
    return split(driver.take_journal())


def played(config, kind, host):
    """Return an engine that ran operations of one kind, wrote a snapshot, and was restored from it and ran more."""
    params = config.params
    engine = TimedEngine(config, 3, host=HOSTS[host], inside=True)
    data = bytes(params.value_bytes) if kind == PUT else b""
    names = [number.to_bytes(params.key_bytes, "big") if kind else b"" for number in range(1, 81)]
    assert {reply.overruns for reply in engine.send([Operation(kind, name, data) for name in names])} == {0}
    engine.run.bench.observer.clear()
    records = export(engine)
    assert sum(read_header(record).type == RecordType.SNAPSHOT for record in records) == engine.session.codec.chunks
    restore(engine.driver, [*records, END])
    engine.run.step(SETTLE)
    engine.look()
    return engine


@pytest.mark.sec_cm("SCAN.TIME.FIXED")
@pytest.mark.sec_cm("SCAN.SLOTS.ALL")
@pytest.mark.sec_cm("RESTORES.ITEMS.ALL")
@pytest.mark.parametrize("host", ["usual", "0 ns"])
@pytest.mark.parametrize("config", [JOURNALLED, pytest.param(KEPT, marks=pytest.mark.long)], ids=["TIGHT", "PAPER"])
def test_what_a_map_holds_shows_neither_in_a_snapshot_nor_in_a_restore(config, host):
    engines = [played(config, kind, host) for kind in SAME_PAGES.values()]
    for one, other in pairwise(engines):
        assert one.trace().address.tolist() == other.trace().address.tolist()
        assert difference(one, other) == ""
    assert len({engine.stages["cycle"].tobytes() for engine in engines}) > 1  # else the above would say nothing
