# amaranth: UnusedElaboratable=no
"""A scan yields every slot once, in order, however the descriptors' chains lie; its times tell nothing of them."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.presets import preset
from omap.sizing.hbm import HbmLimits
from rtl.config import OFFSETS, EngineConfig
from rtl.map.bin_shapes import BinShapes
from rtl.map.scan_times import ScanTimes
from rtl.map.slot_marks import MARKS
from rtl.map.waiting import MOST_WAITING
from tests.support.rtl.engines import tight
from tests.support.rtl.scanned import Contents, ScanRun

SETTLE = 40
TIMES = dict.fromkeys(OFFSETS, 400) | {"interval": 200, "in_flight": 8, "bin_entries": 16}
FEW = EngineConfig(params=tight("TINY", capacity=70, pages=3), journal=True, **TIMES)
"""Three pages, and more waiting slots than are read at once."""
LANES = EngineConfig(params=tight("STANDARD", capacity=20, pages=3), lanes=4, journal=True, **TIMES)
"""Page slots that begin within a beat, of four lanes, and are longer than it."""


@pytest.fixture(autouse=True)
def short_settle(monkeypatch):
    for place in ("scan", "scan_times"):
        monkeypatch.setattr(f"rtl.map.{place}.SETTLE", SETTLE)


def drawn_lengths(rng, params):
    """Return how many tuples wait for each page; some chains are as long as there is room for."""
    lengths, room = [0] * params.pages, params.waiting_slots
    for page in rng.sample(range(params.pages), params.pages):
        lengths[page] = rng.choice([0, 0, min(1, room), rng.randint(0, room), room])
        room -= lengths[page]
    return lengths


@pytest.mark.sec_cm("SCAN.SLOTS.ALL")
def test_free_slots_leave_as_used_ones_do():
    """A free waiting slot still holds what was there before, and leaves as zeros."""
    contents = Contents(FEW.params, random.Random(8), lengths=[3, 0, 9], occupied=0.5)
    run = ScanRun(FEW, contents)
    assert run.run() == contents.expected(run.total)
    assert {used for used, _ in contents.waiting} == {used for used, _ in contents.page_slots} == {False, True}
    assert any(any(data) for data, (used, _) in zip(contents.slots, contents.waiting, strict=True) if not used)


@settings(max_examples=3)
@given(
    seed=st.integers(0, 2**32 - 1),
    at_once=st.sampled_from([1, 2]),
    config=st.sampled_from([FEW, LANES]),
    taken=st.sampled_from([1.0, 0.3]),
    slow=st.sampled_from([1, 20, 100]),
)
def test_every_slot_leaves_once(seed, at_once, config, taken, slow):
    rng = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rtl.map.scan_times.PAGES_AT_ONCE", at_once)
        contents = Contents(config.params, rng, lengths=drawn_lengths(rng, config.params), occupied=rng.random())
        run = ScanRun(
            config,
            contents,
            hbm=lambda: rng.randint(1, slow),
            host=lambda: rng.randint(1, 3 * slow),
            takes=lambda: rng.random() < taken,
            seed=seed,
        )
        assert run.run(2) == 2 * contents.expected(run.total)
    assert not run.late


def shapes(config):
    return BinShapes(config.params, config.bin_entries, min(MOST_WAITING, config.params.capacity))


@pytest.mark.sec_cm("SCAN.TIME.FIXED")
def test_times_do_not_depend_on_what_waits_and_where():
    """Nothing waits, or all for one page, or some for each; HBM is as fast or as slow as it may be."""
    slowest = int(HbmLimits().cycles(HbmLimits().latency_ns))
    seen = []
    for lengths, hbm, occupied in (([0, 0, 0], 1, 0.0), ([70, 0, 0], slowest, 1.0), ([8, 12, 4], slowest // 2, 0.5)):
        hosts = random.Random(6)
        contents = Contents(FEW.params, random.Random(5), lengths=lengths, occupied=occupied)
        run = ScanRun(FEW, contents, hbm=lambda: hbm, host=lambda: hosts.randint(1, 400))  # noqa: B023
        assert run.run(quiet=int(occupied * SETTLE / 2)) == contents.expected(run.total)
        assert not run.late
        seen.append(run.events)
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize(("quiet", "hbm", "late"), [(SETTLE + 9, 1, 1), (0, 2500, 3)])
def test_a_scan_waits_for_a_slow_hbm_and_says_so(quiet, hbm, late):
    """Once when bins are not there in time; once for each of the pages and of two lots of waiting slots."""
    contents = Contents(FEW.params, random.Random(1), lengths=[1] * FEW.params.pages)
    run = ScanRun(FEW, contents, hbm=lambda: hbm)
    assert run.run(quiet=quiet) == contents.expected(run.total)
    assert run.late == late


def test_a_slow_host_is_no_overrun():
    contents = Contents(FEW.params, random.Random(1), lengths=[1] * FEW.params.pages)
    run = ScanRun(FEW, contents, hbm=lambda: 2500, host=lambda: 4000)
    assert run.run() == contents.expected(run.total)
    assert run.late == -(-FEW.params.waiting_slots // MARKS)  # these do not wait for the host


@pytest.mark.parametrize("config", [FEW, LANES])
def test_the_whole_takes_about_as_long_as_said(config):
    contents = Contents(config.params, random.Random(1), lengths=[2] * config.params.pages)
    run = ScanRun(config, contents, host=lambda: 300)
    run.run()
    said = ScanTimes(config, shapes(config)).whole()
    assert 0.9 * said < run.cycle < 1.05 * said


@pytest.mark.parametrize("name", ["PAPER", "STANDARD", "WIDE"])
def test_a_map_that_ships_is_scanned_in_less_than_a_second(name):
    """At 250 MHz, if slots are taken as fast as they come."""
    config = EngineConfig(params=preset(name), journal=True)
    assert ScanTimes(config, shapes(config)).whole() < 250e6
    assert ScanTimes(config, shapes(config)).whole(host_cycles=25_000) > 250e6
    assert ScanTimes(config, shapes(config)).pages <= config.page_ids
