"""How far an engine can fall behind: the bound holds in simulated queues, and says when there is none."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.errors import ParamsError
from omap.presets import preset
from omap.sizing import backlog, one_choice
from omap.sizing.backlog import (
    LATE_BITS,
    Lists,
    mean_of,
    moments,
    moments_together,
    most_behind,
    most_poisson,
    one_of,
    repeated,
)
from omap.sizing.hbm import HbmLimits
from omap.sizing.theorem import waiting_law

PAPER = Lists(preset("PAPER"))
NOTHING = np.zeros_like(backlog.TILTS)
OPERATIONS = 400_000


def delays(own, work, interval):
    """Return what each operation needs in a queue with one server: its own, its work, and what was left before it."""
    behind, found = 0.0, np.empty(len(work))
    for at, (mine, more) in enumerate(zip(own, work, strict=True)):
        behind = max(0.0, behind + more - interval)
        found[at] = behind + mine
    return found


@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), use=st.integers(2, 5), slope=st.sampled_from([0, 1, 3]), bits=st.integers(4, 10))
def test_a_simulated_queue_stays_within_the_bound(seed, use, slope, bits):
    random, law = np.random.default_rng(seed), PAPER.law
    counts = random.choice(len(law), p=law / law.sum(), size=OPERATIONS)
    costs = np.arange(len(law))
    bound = most_behind(moments(law, slope * costs), [moments(law, use + costs)], 9, bits)
    over = (delays(slope * counts, use + counts, 9) > bound).mean()
    # what is drawn spreads: six deviations of so many draws, which come in clumps, since one delay causes the next
    assert over <= 2.0**-bits + 6 * np.sqrt(2.0**-bits / OPERATIONS)


@pytest.mark.parametrize(("mean", "bits"), [(0.5, 4), (5, 10), (5, 122), (12.5, 122)])
def test_poissons_law_exceeds_the_number_as_rarely_as_was_asked_for(mean, bits):
    most = most_poisson(mean, bits)
    terms = [math.exp(-mean + n * math.log(mean) - math.lgamma(n + 1)) for n in range(most, most + 400)]
    assert sum(terms[1:]) <= 2.0**-bits < 8 * sum(terms)


def test_the_mean_of_a_cost_is_found_in_its_moments():
    costs = 2 + np.arange(len(PAPER.law))
    assert mean_of(moments(PAPER.law, costs)) == pytest.approx(float(PAPER.law @ costs), rel=1e-3)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_numbers_that_are_large_together_bound_whatever_dependence_there_is(seed):
    """Draws of both laws, paired in any order, and sorted: the sorted ones are the worst, and are what is counted."""
    random = np.random.default_rng(seed)
    drawn = [random.integers(0, most, size=60) for most in (4, 9)]
    costs = [np.cumsum(random.uniform(0, 3, size=most)) for most in (4, 9)]
    laws = [np.bincount(one, minlength=most) / 60 for one, most in zip(drawn, (4, 9), strict=True)]
    found = moments_together(laws, costs)

    def paired(*orders):
        total = sum(cost[order] for cost, order in zip(costs, orders, strict=True))
        return np.log(np.exp(np.outer(backlog.TILTS, total)).mean(axis=1))

    assert found == pytest.approx(paired(*map(np.sort, drawn)))
    assert (found >= paired(*drawn) - 1e-9).all()


def test_the_bound_is_near_what_happens():
    """Of a bound that says too much no test above would tell."""
    random, law = np.random.default_rng(3), PAPER.law
    counts = random.choice(len(law), p=law / law.sum(), size=OPERATIONS)
    found = np.quantile(delays(0 * counts, 4 + counts, 9), 1 - 2.0**-10)
    bound = most_behind(NOTHING, [moments(law, 4 + np.arange(len(law)))], 9, 10)
    assert found <= bound <= 2 * found + 8


def test_channels_share_accesses_as_drawn():
    random = np.random.default_rng(4)
    bound = most_behind(NOTHING, [4 * one_of(4, 3.375)], 9, 10)
    work = 3.375 * random.binomial(4, 1 / 4, size=OPERATIONS)
    assert (delays(0 * work, work, 9) > bound).mean() <= 2.0**-10
    law = PAPER.law
    as_one = repeated(law, np.arange(len(law)), one_of(1, 2.0))
    assert np.allclose(as_one, moments(law, 2.0 * np.arange(len(law))))


def test_more_bits_need_more_and_more_work_than_time_has_no_bound():
    law = PAPER.law
    work = moments(law, 4 + np.arange(len(law)))
    found = [most_behind(NOTHING, [work], 9, bits) for bits in (10, 40, LATE_BITS)]
    assert found == sorted(found)
    with pytest.raises(ParamsError, match="interval is 5: operations bring more work, on average, than can be done"):
        most_behind(NOTHING, [work], 5)


@pytest.mark.parametrize("name", ["PAPER", "STANDARD", "WIDE"])
def test_lists_have_the_law_of_the_theorem_and_what_stays_is_what_finds_no_slot(name):
    params = preset(name)
    lists = Lists(params)
    assert np.array_equal(lists.law, waiting_law(params.capacity, params.pages, params.page_slots))
    load = -params.capacity * math.log1p(-1 / params.pages)
    random = np.random.default_rng(5)
    stays = np.maximum(random.poisson(load, 2_000_000) - params.page_slots, 0)
    assert lists.left_law.sum() == pytest.approx(1)
    assert lists.left_law @ np.arange(len(lists.left_law)) == pytest.approx(stays.mean(), rel=0.05)


def lists_of(params, keys, seed):
    """Return how many tuples wait for the page of each operation, whose keys are given, on a full map."""
    random = np.random.default_rng(seed)
    home, fresh = random.integers(params.pages, size=params.capacity), random.integers(params.pages, size=len(keys))
    load = np.bincount(home, minlength=params.pages)
    inside, found = np.minimum(load, params.page_slots), np.empty(len(keys), np.int64)
    for at, (key, drawn) in enumerate(zip(keys, fresh, strict=True)):
        page = home[key]
        found[at] = load[page] - inside[page]
        load[page] -= 1
        inside[page] = min(load[page], params.page_slots)
        home[key] = drawn
        load[drawn] += 1
    return found


def test_a_hit_may_find_one_tuple_more_than_a_fresh_draw():
    """A client sweeps over all keys, and goes back over the last ones: these were used a short time before."""
    params, back, rounds = one_choice(capacity=2048, key_bytes=4, value_bytes=8, page_bytes=128), 16, 100
    lists, sweep = Lists(params), np.arange(params.capacity)
    keys = np.tile(np.concatenate([sweep, sweep[: -back - 1 : -1]]), rounds)
    found = lists_of(params, keys, 7).reshape(rounds, -1)[10:, -back:].ravel()
    for length in range(1, 12):
        share, fresh, touched = ((found >= length).mean(), lists.law[length:].sum(), lists.touched_law[length:].sum())
        spread = np.sqrt(touched / len(found))
        assert share <= touched + 6 * spread
        assert length > 3 or share > fresh + 6 * spread
    assert lists.touched_law.sum() == pytest.approx(1)


def test_lists_of_a_small_map_are_no_longer_than_its_keys():
    params = one_choice(capacity=12, key_bytes=4, value_bytes=4, page_bytes=64, descriptor_bytes=32)
    lists = Lists(params)
    assert len(lists.law) <= len(lists.touched_law) <= 13
    assert lists.law.sum() == pytest.approx(1)
    first, each = params.line_indices
    assert lists.further(13).tolist() == [max(0, -(-(k - first) // each)) for k in range(13)]


def test_limits_of_hbm_must_be_positive():
    for wrong in (float("inf"), float("nan"), -1):
        with pytest.raises(ParamsError, match=f"clock_mhz is {wrong}; it must be positive and finite"):
            HbmLimits(clock_mhz=wrong)
    with pytest.raises(ParamsError, match="refresh_ns is 0; it must be positive"):
        HbmLimits(refresh_ns=0)
    assert HbmLimits().access_cycles(64) == pytest.approx(3.375)
    assert HbmLimits().access_cycles(288) == pytest.approx(9 * 32 / 14.375 / 4)
