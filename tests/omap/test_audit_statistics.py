"""Statistics: no false alarm on sound draws, and every check fails on some departure made for it."""

import itertools
from collections import defaultdict

import numpy as np
import pytest

from omap.audit import FALSE_ALARM, audit, statistics
from tests.support.leakage.departures import departures
from tests.support.leakage.synthetic import draw, params, seen, touches, trace


def sound(shape, operations, seed):
    operation, page = draw(shape, operations, np.random.default_rng(seed))
    return trace(operation, page, operations)


def all_runs(shape, operations):
    """Yield the touches of every possible run; all are equally likely."""
    if shape.rule == "one_choice":
        for page in itertools.product(range(shape.pages), repeat=operations):
            yield touches(np.arange(operations), np.array(page), operations)
    else:
        pairs = list(itertools.permutations(range(shape.bins), 2))
        for run in itertools.product(pairs, repeat=operations):
            one, other = np.array(run).T
            yield touches(*seen(shape, one, other), operations)


@pytest.mark.parametrize(
    ("shape", "operations"),
    [
        (params("one_choice", pages=1), 3),
        (params("one_choice", pages=2), 8),
        (params("one_choice", pages=3), 6),
        (params("two_choice", pages=1, hbm_bins=1), 8),
        (params("two_choice", pages=2, hbm_bins=0), 8),
        (params("two_choice", pages=2, hbm_bins=1), 3),
        (params("two_choice", pages=1, hbm_bins=3), 2),
        (params("two_choice", pages=4, hbm_bins=1), 2),
        pytest.param(params("one_choice", pages=3), 8, marks=pytest.mark.long),
        pytest.param(params("two_choice", pages=2, hbm_bins=1), 5, marks=pytest.mark.long),
        pytest.param(params("two_choice", pages=3, hbm_bins=1), 3, marks=pytest.mark.long),
    ],
    ids=lambda value: f"{value.rule}-{value.pages}-{value.hbm_bins}" if hasattr(value, "rule") else str(value),
)
def test_no_probability_is_too_small_over_all_possible_runs(shape, operations):
    """P(p <= x) <= x for every check and every x, by enumeration: the false-alarm rate is a bound, not a hope."""
    found = defaultdict(list)
    runs = 0
    for run in all_runs(shape, operations):
        runs += 1
        for place, count in enumerate(statistics.counts(run, shape)):
            found[place].append(count.p_value)
    names = [count.name for count in statistics.counts(run, shape)]
    for place, name in enumerate(names):
        p = np.sort(found[place])
        assert len(p) == runs, "which checks there are depends on the draws"
        share = np.searchsorted(p, p * (1 + 1e-9), side="right") / len(p)
        assert (share <= p * (1 + 1e-9)).all(), name


@pytest.mark.parametrize(
    ("shape", "operations"),
    [
        (params("one_choice", pages=3), 60),
        (params("one_choice", pages=191), 2000),
        (params("one_choice", pages=100_000), 1500),
        (params("two_choice", pages=5, hbm_bins=1), 80),
        (params("two_choice", pages=153, hbm_bins=38), 1000),
    ],
    ids=lambda value: f"{value.rule}-{value.pages}" if hasattr(value, "rule") else str(value),
)
def test_probabilities_of_sound_traces_are_those_stated(shape, operations):
    runs = 150
    found = defaultdict(list)
    for seed in range(runs):
        run = touches(*draw(shape, operations, np.random.default_rng(seed)), operations)
        for count in statistics.counts(run, shape):
            found[count.name].append(count.p_value)
    p = np.array(list(found.values()))
    assert p.shape[1] == runs
    assert (p <= 1).all()
    assert (p > 0).all()
    for level in (0.5, 0.1, 0.02):
        spread = 5 * np.sqrt(runs * level * (1 - level))
        assert ((p <= level).sum(axis=1) <= runs * level + spread).all()
        assert (p <= level).mean() <= level
    assert (p <= 0.5).mean() > 0.01  # not so careful that nothing could ever be seen
    assert p.min() > 1e-3 / p.size


@pytest.mark.long
def test_two_thousand_sound_traces_raise_no_alarm_and_a_loose_threshold_raises_few():
    """At a false-alarm probability of 5 %, at most 5 % of sound traces fail."""
    alarms = 0
    for seed in range(2000):
        shape = params("one_choice", pages=191) if seed % 2 else params("two_choice", pages=100, hbm_bins=25)
        found = sound(shape, 1000, seed)
        assert audit(found, shape).passed
        alarms += not audit(found, shape, false_alarm=0.05).passed
    assert alarms <= 2000 * 0.05 + 5 * np.sqrt(2000 * 0.05)


@pytest.mark.parametrize("operations", [0, 1, 2, 17, 50])
@pytest.mark.parametrize("pages", [1, 2, 3, 10**6])
@pytest.mark.parametrize("rule", ["one_choice", "two_choice"])
def test_tiny_traces_of_tiny_and_large_maps_pass(rule, pages, operations):
    shape = params(rule, pages=pages, hbm_bins=1 if rule == "two_choice" else 0)
    assert audit(sound(shape, operations, 3), shape).passed


def test_a_million_operations_on_a_million_pages():
    shape = params("one_choice", pages=10**6)
    run = touches(*draw(shape, 10**6, np.random.default_rng(5)), 10**6)
    assert min(count.p_value for count in statistics.counts(run, shape)) > 1e-5
    again = run.page.copy()
    again[500_000:] = np.where(np.arange(500_000) % 1000 == 0, again[:500_000], again[500_000:])
    again = touches(run.operation, again, 10**6)
    worst = min(statistics.counts(again, shape), key=lambda count: count.p_value)
    assert worst.name == "most frequent distance of touches from the last of their page"
    assert "500000 operations before" in worst.statistic
    assert worst.p_value < 1e-200


def test_every_check_fails_on_some_departure():
    """And every departure fails some check: none of them is idle."""
    failed, names, unseen = defaultdict(set), {}, []
    for departure, shape, operations, (operation, page) in departures(np.random.default_rng(11)):
        run = touches(operation, page, operations)
        found = list(statistics.counts(run, shape))
        names.setdefault(shape, [count.name for count in found])
        hits = {count.name for count in found if count.p_value < FALSE_ALARM / len(found)}
        failed[shape].update(hits)
        if not hits:
            unseen.append(departure)
    assert not unseen
    for shape, checks in names.items():
        if shape.pages < 1000:
            assert set(checks) == failed[shape]


def test_the_report_says_what_failed_and_what_it_means():
    shape = params("one_choice", pages=191)
    page = np.random.default_rng(1).integers(0, 191, 3000)
    page[1::2] = page[::2]
    report = audit(trace(np.arange(3000), page, 3000), shape)
    text = report.summary()
    assert text.startswith("FAIL: the trace shows more than public parameters (3,000 operations, 6,000 events")
    assert "\nExpected: an operation reads and writes back one of 191 pages, drawn uniformly.\n" in text
    assert "touches minus different pages" in {finding.statistic for finding in report.findings}
    assert "repeat of pages at lag 1 (p at most 1e-300): touches of the same page" in text
    assert "repetition of keys shows" in text
    assert f"{len(report.failures)} of" not in text
    assert report.failures[0].p_value == min(finding.p_value for finding in report.findings)
    told = report.to_dict()
    assert told["passed"] is False
    assert {finding["verdict"] for finding in told["findings"]} == {"pass", "fail"}
    assert told["false_alarm"] == FALSE_ALARM
    statistical = [finding for finding in report.findings if finding.threshold < 0.5]
    assert statistical[0].threshold == pytest.approx(FALSE_ALARM / len(statistical))


def test_a_passing_report_says_how_sure_it_is():
    shape = params("one_choice", pages=10_000)
    report = audit(sound(shape, 200, 1), shape)
    assert report.summary().startswith("PASS: the trace is what public parameters alone produce (200 operations")
    assert "fails with a probability of at most 9.3e-10, all checks together" in report.summary()
    assert "\nAn operation reads and writes back one of 10,000 pages, drawn uniformly.\n" in report.summary()
    assert "Note: 200 operations are few for 10,000 pages" in report.summary()
    assert not audit(sound(shape, 3000, 1), shape).notes
