"""The offsets of an engine: they cover what its blocks take, which is measured here, and HBM is what the model says."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from omap.errors import ParamsError
from omap.operations import Kind, Operation
from omap.presets import preset
from omap.sizing import one_choice
from omap.sizing.backlog import TILTS, Lists, moments, moments_together, repeated
from omap.sizing.channels import LEAST_INTERVAL, total
from omap.sizing.hbm import HbmLimits
from rtl import offsets
from rtl.config import MOST_BINS, MOST_IN_FLIGHT, SLOW_HOST, EngineConfig
from rtl.constants import RING_IDS
from rtl.engine import ENGINE_PROGRESS
from rtl.map.format import SETTLE
from rtl.work import Work
from sim.device.map_bench import stage_cycles
from sim.models.timing import HbmTiming
from tests.support.rtl.engines import ROOMY, TIGHT
from tests.support.rtl.hosts import HOSTS
from tests.support.rtl.timed_engine import TimedEngine

SHIPPING = [EngineConfig(params=preset(name)) for name in ("PAPER", "STANDARD", "WIDE", "U55C")]
ALONE = 4000
"""Cycles after which nothing of an operation is under way."""


def test_hbm_keeps_to_the_limits_in_the_model():
    timing, limits = HbmTiming(), HbmLimits()
    assert limits.latency_ns == max(timing.hit_ns, timing.closed_ns, timing.conflict_ns)
    for name in ("spacing_ns", "beat_ns", "refresh_ns", "refresh_every_ns", "clock_mhz"):
        assert getattr(limits, name) == getattr(timing, name), name


@pytest.mark.parametrize("config", SHIPPING)
def test_every_offset_of_a_map_that_ships_covers_a_refresh_on_every_way(config):
    limits = HbmLimits()
    wait = limits.cycles(limits.latency_ns + limits.refresh_ns)
    assert config.late_bits == 122
    assert config.lookup_cycles > offsets.LOCATE + wait
    assert config.turnaround_cycles + config.reply_cycles > offsets.TUPLES + 2 * wait
    assert config.reply_cycles > offsets.OPENING + 2 * config.page_beats
    assert config.merge_cycles > config.reply_cycles + config.page_beats
    assert config.bin_entries > 2 * config.in_flight
    assert config.page_entries * config.interval > config.turnaround_cycles + config.merge_cycles
    work = Work(config.params, config.lanes, config.layouts)
    assert offsets.offsets(work, interval=config.interval).flush < SETTLE


def bits_of_longer(config, cycles, own, server, operations, interval, beyond=None):
    """Return -log2 of the bound on being late by a server alone, through windows of so many operations or more.

    ``beyond`` is what each operation more than so many brings.
    """
    behind = cycles - offsets.located(Work(config.params, config.lanes, config.layouts)) - 1
    growth, last = (work - TILTS * interval for work in (server, server if beyond is None else beyond))
    with np.errstate(invalid="ignore", divide="ignore"):
        longer = np.where(last < 0, operations * growth - np.log(-np.expm1(np.minimum(last, 0))), np.inf)
    return np.max(TILTS * behind - own - longer) / math.log(2)


def slack(config, work):
    """Return the cycles that an operation has for its list and for waiting, from admission to the reply."""
    known = offsets.TUPLES + work.line_beats("descriptors") + offsets.LEAVING + work.assembling + offsets.TAKE_CYCLES
    return config.lookup_cycles + config.turnaround_cycles + config.reply_cycles - known


@pytest.mark.parametrize("config", SHIPPING)
def test_channels_are_not_busy_from_one_refresh_to_the_next(config):
    """Offsets count one refresh of the position map and of the descriptors. In longer windows all others count."""
    work, limits = Work(config.params, config.lanes, config.layouts), HbmLimits()
    interval = float(config.interval) * (1 - limits.refresh_share)
    operations = math.floor(limits.cycles(limits.refresh_every_ns - limits.refresh_ns) / config.interval)
    access = math.ceil(work.latency + work.refresh)
    for own, cycles, server in (
        (0 * TILTS, config.lookup_cycles - access, work.tables),
        (work.list_cycles, slack(config, work) - 3 * access, work.tables),
        (work.list_cycles, slack(config, work) - 3 * access, work.descriptors),
    ):
        assert bits_of_longer(config, cycles, own, server, operations, interval) > config.late_bits + 5


@pytest.mark.parametrize("config", SHIPPING)
def test_windows_with_fetch_and_touch_of_one_page_are_not_busy(config):
    """Tuples that stay after a touch are of a page whose tuples were fetched a turnaround before.

    Let D be the operations of a turnaround. A window of n > D operations has both times of n - D pages. Of D pages it
    has the fetch alone, and of D others the touch alone.
    """
    work, lists = Work(config.params, config.lanes, config.layouts), Lists(config.params)
    law, left = lists.touched_law, lists.left_law
    fetched = np.arange(len(law)) * np.where(lists.further(len(law)) > 0, 2, 1)
    both = moments_together((law, left), (fetched, np.arange(len(left)))) + TILTS  # most stay where most wait
    operations = math.floor(config.turnaround_cycles / config.interval)
    cycles = slack(config, work) - math.ceil(3 * (work.latency + work.refresh))
    found = bits_of_longer(config, cycles, work.list_cycles, work.filling, operations, float(config.interval), both)
    assert found > config.late_bits + 5


def test_a_list_that_is_fetched_for_an_append_and_for_a_touch_is_counted_for_both():
    """A client touches each page some time after the append to it: both find one list, the long ones as well."""
    work = Work(ROOMY.params, ROOMY.lanes, ROOMY.layouts)
    law = Lists(ROOMY.params).touched_law
    tuples = np.arange(len(law)) * np.where(Lists(ROOMY.params).further(len(law)) > 0, 2, 1)
    assert (work.fetching > moments(law, tuples)).all()
    assert (work.slots > repeated(law, tuples, work.channel("slots"))).all()


@pytest.mark.parametrize("config", [*SHIPPING, TIGHT, EngineConfig(params=TIGHT.params, late_bits=20)])
def test_a_page_with_the_longest_list_may_be_touched_over_and_over(config):
    """A touch that follows finds what the one before left, which may be as long if no key of the page is asked for."""
    law = Lists(config.params).touched_law
    longest = int(np.argmax(law[::-1].cumsum()[::-1] <= 2.0**-config.late_bits))
    start = usable = 0
    for _ in range(100):
        merged = max(start, usable) + offsets.OPENING + 2 * config.page_beats + longest
        assert merged + offsets.LEAVING <= start + config.reply_cycles
        usable = merged + config.page_beats + offsets.SEALING
        start += config.follow_cycles


def test_no_more_operations_are_in_flight_than_there_is_room_for_their_bins():
    params = one_choice(capacity=12_000, key_bytes=4, value_bytes=4, page_bytes=64, descriptor_bytes=32)
    config = EngineConfig(params=params)
    work = Work(params, 1, config.layouts)
    written = max(offsets.offsets(work, interval=config.interval).flush, offsets.joined(work, interval=config.interval))
    away = (written - config.announce_cycles) / config.interval
    assert 2 * config.in_flight + 2 * away <= config.bin_entries <= MOST_BINS
    with pytest.raises(ParamsError, match="bin_entries is .*; it must be a whole number from 2 to 512"):
        EngineConfig(params=params, bin_entries=513)


def test_an_engine_at_the_pace_of_the_link_is_not_limited_by_what_it_holds():
    """By Little's law, with a host whose reads take 300 cycles."""
    config = EngineConfig(params=preset("PAPER"))
    trip = config.lookup_cycles + max(config.turnaround_cycles, SLOW_HOST) + config.reply_cycles
    assert trip / config.interval < 1.02 * config.in_flight  # there are no more bins
    assert config.in_flight <= MOST_IN_FLIGHT
    # Pages that follow make those behind them wait for as long.
    held = max(config.turnaround_cycles, SLOW_HOST) + config.follow_cycles + config.merge_cycles
    assert held / config.interval < config.page_entries
    assert SLOW_HOST / config.interval < config.page_ids <= config.host_ids - RING_IDS
    assert 2 * config.in_flight < config.bin_entries <= MOST_BINS
    assert config.transit_entries >= 64
    assert total(config.layouts) <= 25


def test_fewer_bits_shorten_the_offsets_and_a_given_one_stays():
    names = [field.name for field in fields(EngineConfig) if field.name.endswith("_cycles")]
    safe, fast = ROOMY, EngineConfig(params=ROOMY.params, late_bits=20)
    # the turnaround begins where the lookup ends, and covers what is left of a time that both share
    assert all(getattr(fast, name) <= getattr(safe, name) for name in names if name != "turnaround_cycles")
    assert fast.lookup_cycles + fast.turnaround_cycles < safe.lookup_cycles + safe.turnaround_cycles
    assert EngineConfig(params=ROOMY.params, turnaround_cycles=99).turnaround_cycles == 99
    with pytest.raises(ParamsError, match="turnaround_cycles is 2; it must be a whole number from 3 to 16384"):
        EngineConfig(params=ROOMY.params, turnaround_cycles=2)


def test_operations_are_no_more_than_the_engine_can_work_off():
    for params in (TIGHT.params, replace(TIGHT.params, pages=8)):
        config = EngineConfig(params=params)
        assert config.interval >= offsets.least_interval(params)
    assert offsets.least_interval(TIGHT.params) > LEAST_INTERVAL  # its lists are long


@pytest.mark.parametrize("load", [0.75, 1.0, 1.1])
@pytest.mark.parametrize("page_bytes", [128, 256, 320, 384])
def test_an_interval_by_default_has_room_for_long_lists_in_short_pages(page_bytes, load):
    """Of a high load, so many tuples wait that a merge often takes longer than its page has beats."""
    params = one_choice(capacity=1 << 20, key_bytes=4, value_bytes=8, page_bytes=page_bytes, page_load=load)
    for lanes in (1, 2, 4):
        config = EngineConfig(params=params, lanes=lanes)
        assert config.reply_cycles < 1000
        assert offsets.least_interval(params, lanes) == config.interval


def test_channels_are_planned_for_the_pace_of_the_blocks():
    assert offsets.least_interval(preset("PAPER")) <= LEAST_INTERVAL


def one_at_a_time(hbm):
    """Return what each of 20 operations takes that comes alone: cycles by stage."""
    engine, found = TimedEngine(ROOMY, 3, hbm=hbm, host=HOSTS["0 ns"], inside=True), []
    size, data = ROOMY.params.key_bytes, bytes(ROOMY.params.value_bytes)
    engine.fill([Operation(Kind.PUT, number.to_bytes(size, "big"), data) for number in range(2000)])
    for number in range(20):
        bench = engine.run.bench
        bench.observer.clear()
        before = bench.get("progress")
        engine.fill([Operation(Kind.GET, (91 * number).to_bytes(size, "big"), b"")])
        engine.run.step(ALONE)
        stages = stage_cycles(engine.stages, ENGINE_PROGRESS, before=before)
        found.append({name: at[0] for name, at in stages.items()})
    return found


@pytest.fixture(scope="module")
def alone():
    """What operations take that come alone, to an HBM so slow that pages wait for it: its latency, cycles by stage."""
    found = []
    for nanoseconds in (2800.0, 3600.0):
        hbm = HbmTiming(hit_ns=nanoseconds, closed_ns=nanoseconds, conflict_ns=nanoseconds, refresh_every_ns=0)
        found += [(HbmTiming.clock_mhz * nanoseconds / 1000, stages) for stages in one_at_a_time(hbm)]
    return found


def least(found, late, early, latencies):
    return min(stages[late] - stages[early] - latencies * latency for latency, stages in found)


def test_constants_of_the_blocks_are_what_they_take(alone):
    """At most, and not many more: else offsets would be longer than they need to be."""
    work = Work(ROOMY.params, ROOMY.lanes, ROOMY.layouts)
    described = work.line_beats("descriptors")
    assert 0 <= offsets.located(work) - least(alone, "located", "admitted", 1) <= 4
    # A page for which nothing waits needs its descriptor, the others need tuples as well.
    listed = [one for one in alone if one[1]["merged"] - one[1]["located"] >= 2 * one[0]]
    empty = [one for one in alone if one not in listed]
    assert len(listed) > 10
    assert len(empty) > 1
    assert 0 <= offsets.TUPLES + described - least(listed, "merged", "located", 2) <= 4
    opening = offsets.OPENING + 2 * ROOMY.page_beats
    known = offsets.VERSION + described + offsets.KEYSTREAM + opening - least(empty, "merged", "located", 1)
    assert 0 <= known <= 14


def test_the_turnaround_starts_pages_when_the_host_answers_at_once(alone):
    starts = {stages["started"] - stages["read"] for _, stages in alone}
    assert starts == {ROOMY.turnaround_cycles}


def test_a_page_is_opened_merged_and_sealed_in_the_cycles_of_its_blocks():
    """An HBM without refreshes has told all before the page starts. The fewest cycles are those without a list."""
    stages = one_at_a_time(HbmTiming(refresh_every_ns=0))
    beats = ROOMY.page_beats
    assert 0 <= offsets.OPENING + 2 * beats - min(one["merged"] - one["started"] for one in stages) <= 2
    to_pacer = 2  # cycles from the last sealed beat of a page
    assert 0 <= offsets.SEALING + beats - to_pacer - max(one["sealed"] - one["merged"] for one in stages) <= 1
