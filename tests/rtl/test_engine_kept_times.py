# amaranth: UnusedElaboratable=no
"""What the host sees of a snapshot and of a restore, and when, does not depend on what the map holds."""

from itertools import pairwise

import pytest

from host.device.restoring import restore
from host.records import split
from omap import sizing
from omap.operations import Kind, Operation
from omap.regmap import Request
from omap.source import END
from omap.wire import RecordType, read_header
from rtl.config import EngineConfig
from tests.support.rtl.engines import JOURNALLED, KEPT
from tests.support.rtl.hosts import HOSTS
from tests.support.rtl.timed_engine import SETTLE, STEP, TimedEngine, difference

NOP, GET, PUT, DELETE = Kind

SAME_PAGES = {"nothing": NOP, "misses": GET, "deletes of what is not there": DELETE, "inserts": PUT}
"""What touches the pages drawn for absent keys, the same whatever the keys."""


SHIPPED = {
    "PAPER": KEPT,
    "STANDARD": EngineConfig(
        params=sizing.one_choice(capacity=1 << 10, key_bytes=8, value_bytes=64, page_bytes=640), journal=True
    ),
    "WIDE": EngineConfig(
        params=sizing.one_choice(capacity=1 << 9, key_bytes=16, value_bytes=256, page_bytes=4096), journal=True
    ),
}
"""Keys, values, pages and descriptors of the presets of these names, with a journal."""

EACH = [
    *(pytest.param(JOURNALLED, host, id=f"TIGHT-{host}") for host in ("usual", "0 ns")),
    *(
        pytest.param(config, host, id=f"{name}-{host}", marks=pytest.mark.long)
        for name, config in {"TIGHT": JOURNALLED, **SHIPPED}.items()
        for host in HOSTS
        if (name, host) not in (("TIGHT", "usual"), ("TIGHT", "0 ns"))
    ),
]
"""Engines and hosts."""


def export(engine):
    """Have a snapshot and return its records."""
    driver, run, records = engine.driver, engine.run, bytearray()
    driver.take_journal()
    driver.ask_export()

    def ended():
        records.extend(driver.take_journal())
        return run.read("REQUEST") != Request.EXPORT

    run.until(ended, limit=2_000_000, cycles=STEP)
    run.step(SETTLE)
    engine.look()
    return split(bytes(records) + driver.take_journal())


def played(config, kind, host):
    """Return an engine that ran operations of one kind, wrote a snapshot, and was restored from it and ran more."""
    params = config.params
    engine = TimedEngine(config, 3, host=HOSTS[host], inside=True)
    if host == "one page held":
        engine.hold_pages(first=50, every=70, count=20)
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
@pytest.mark.parametrize(("config", "host"), EACH)
def test_what_a_map_holds_shows_neither_in_a_snapshot_nor_in_a_restore(config, host):
    engines = [played(config, kind, host) for kind in SAME_PAGES.values()]
    for one, other in pairwise(engines):
        assert one.trace().address.tolist() == other.trace().address.tolist()
        assert difference(one, other) == ""
    assert len({engine.stages["cycle"].tobytes() for engine in engines}) > 1  # else the above would say nothing
