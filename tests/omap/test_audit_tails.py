"""Tail probabilities: exact where they say so, bounds elsewhere, checked against complete enumerations."""

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.audit import tails


def exact_binomial(trials, chance):
    return [math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(trials + 1)]


def poisson_binomial(chances):
    """Return P(k hits) for independent trials with these chances."""
    law = [Fraction(1)]
    for chance in chances:
        law = [
            (law[k] * (1 - chance) if k < len(law) else 0) + (law[k - 1] * chance if k else 0)
            for k in range(len(law) + 1)
        ]
    return law


def assert_valid(probability_of, law):
    """P(p <= x) <= x for every x, ``law`` giving the probability of each outcome."""
    outcomes = sorted((probability_of(outcome), float(chance)) for outcome, chance in law.items())
    total = 0.0
    for place, (p, chance) in enumerate(outcomes):
        total += chance
        if place + 1 == len(outcomes) or outcomes[place + 1][0] > p:
            assert total <= p * (1 + 1e-9) + 1e-15


@settings(max_examples=100)
@given(trials=st.integers(0, 60), chance=st.fractions(0, 1, max_denominator=1000))
def test_binomial_tails_are_exact(trials, chance):
    law = exact_binomial(trials, chance)
    for count in range(trials + 1):
        assert tails.binomial_upper(count, trials, float(chance)) == pytest.approx(float(sum(law[count:])), rel=1e-9)
        assert tails.binomial_lower(count, trials, float(chance)) == pytest.approx(
            float(sum(law[: count + 1])), rel=1e-9, abs=1e-300
        )
        one = tails.binomial_among(np.array([count]), np.array([trials]), float(chance))
        assert one == tails.binomial(count, trials, float(chance))
    assert_valid(lambda count: tails.binomial(count, trials, float(chance)), dict(enumerate(law)))


def test_the_least_probable_of_several_counts():
    counts, trials = np.array([50, 52, 9, 45]), np.array([100, 100, 100, 99])
    assert tails.binomial_among(counts, trials, 0.5) == pytest.approx(4 * tails.binomial(9, 100, 0.5))
    assert tails.binomial_among(counts[:2], trials[:2], 0.5) == 1.0
    assert tails.binomial_among(counts[:0], trials[:0], 0.5) == 1.0


def test_binomial_tails_are_exact_far_out():
    # P(Binomial(10^6, 10^-6) >= 20), from its terms, each by the one before
    term = math.exp(10**6 * math.log1p(-1e-6))
    upper = 0.0
    for k in range(40):
        upper += term if k >= 20 else 0.0
        term *= (10**6 - k) / (k + 1) * 1e-6 / (1 - 1e-6)
    assert tails.binomial_upper(20, 10**6, 1e-6) == pytest.approx(upper, rel=1e-9)
    assert tails.binomial_lower(0, 10**6, 1e-4) == pytest.approx(math.exp(10**6 * math.log1p(-1e-4)), rel=1e-9)
    assert tails.binomial(10**6, 10**6, 0.5) == 0.0  # below the smallest float, and no error
    assert tails.binomial(0, 10**6, 0.5) == 0.0


@settings(max_examples=60)
@given(chances=st.lists(st.fractions(0, 1, max_denominator=50), max_size=10))
def test_mixed_binomial_and_bennett_bound_unequal_trials(chances):
    law = poisson_binomial(chances)
    mean = float(sum(chances))
    variance = float(sum(chance * (1 - chance) for chance in chances))
    assert_valid(lambda count: tails.mixed_binomial(count, len(chances), mean), dict(enumerate(law)))
    possible = {count: chance for count, chance in enumerate(law) if chance}
    assert_valid(lambda count: tails.bennett(count, mean, variance + 1e-12), possible)


def test_bennett_is_not_idle():
    assert tails.bennett(1000 + 8 * 30, 1000, 900) < 1e-12
    assert tails.bennett(1000 - 8 * 30, 1000, 900) < 1e-12
    assert 1e-9 < tails.bennett(1000 + 5 * 30, 1000, 900) < 1e-3
    assert tails.bennett(5, 1e-3, 1e-3) == pytest.approx(2 * (math.e / 5 * 1e-3) ** 5, rel=1e-2)
    assert tails.bennett(3, 2, 0) == 0.0
    assert tails.bennett(2, 2, 0) == 1.0


@pytest.mark.parametrize(
    ("cells", "singles", "pairs"),
    [
        (cells, singles, pairs)
        for cells in (1, 2, 3, 4, 6)
        for singles, pairs in [(0, 0), (1, 0), (5, 0), (0, 3), (2, 2), (3, 1), (0, 1)]
        if cells > 1 or not pairs  # two distinct cells
    ],
)
def test_collision_moments_by_enumeration(cells, singles, pairs):
    draws = [[(one,) for one in range(cells)]] * singles + [list(itertools.permutations(range(cells), 2))] * pairs
    total = singles + 2 * pairs
    law = Counter(total - len(set(itertools.chain(*run))) for run in itertools.product(*draws))
    size = sum(law.values())
    mean = sum(count * times for count, times in law.items()) / size
    variance = sum(count**2 * times for count, times in law.items()) / size - mean**2
    got_mean, got_variance = tails.collision_moments(cells, singles, pairs)
    assert got_mean == pytest.approx(mean, abs=1e-12)
    assert got_variance == pytest.approx(variance, abs=1e-11)
    chances = {count: Fraction(times, size) for count, times in law.items()}
    assert_valid(lambda count: tails.bennett(count, got_mean, got_variance + 1e-9), chances)


def test_collision_moments_keep_their_digits_when_collisions_are_rare():
    mean, variance = tails.collision_moments(10**12, 1000, 0)
    assert mean == pytest.approx(math.comb(1000, 2) / 1e12, rel=1e-5)
    assert variance == pytest.approx(mean, rel=1e-4)


@settings(max_examples=12)
@given(weights=st.lists(st.integers(1, 5), min_size=2, max_size=3), draws=st.integers(1, 6), rows_given=st.booleans())
def test_evidence_of_unevenness_has_mean_one(weights, draws, rows_given):
    """The likelihood ratio is one: over all sequences of draws, weighted by their chances, its mean is 1."""
    chances = np.array(weights) / sum(weights)
    mean = 0.0
    for run in itertools.product(range(len(weights)), repeat=draws):
        counts = np.bincount(run, minlength=len(weights))[None, :]
        mean += math.exp(tails.unevenness(counts, chances, rows_given)) * float(np.prod(chances[list(run)]))
    assert mean == pytest.approx(1, rel=1e-9)


def test_evidence_of_unevenness_has_mean_one_when_rows_are_chosen_by_earlier_draws():
    chances = np.array([0.2, 0.3, 0.5])
    mean = 0.0
    for run in itertools.product(range(3), repeat=7):
        table = np.zeros((3, 3), np.int64)
        np.add.at(table, (run[:-1], run[1:]), 1)
        mean += math.exp(tails.unevenness(table, chances, rows_given=False)) * float(np.prod(chances[list(run)]))
    assert mean == pytest.approx(1, rel=1e-9)


def test_evidence_of_surprise_has_mean_one_when_chances_follow_from_the_past():
    """Draw balls of three colours; a hit is one of the last two colours, so its chance depends on what came before."""
    mean = 0.0
    for run in itertools.product(range(3), repeat=7):
        before = [len(set(run[max(place - 2, 0) : place])) for place in range(7)]
        hits = sum(colour in run[max(place - 2, 0) : place] for place, colour in enumerate(run))
        values, times = np.unique(before, return_counts=True)
        mean += math.exp(tails.surprise(hits, values / 3, times, 4.0)) / 3**7
    assert mean == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("counts", [[1000, 1000, 1000, 1000], [1300, 900, 900, 900], [4000, 0, 0, 0]])
def test_unevenness_sees_too_even_and_too_uneven(counts):
    assert tails.improbable(tails.unevenness([counts], np.full(4, 0.25), True)) < (1e-2 if counts[0] == 1000 else 1e-12)


def test_unevenness_of_many_even_cells_and_of_a_typical_draw():
    chances = np.full(64, 1 / 64)
    assert tails.improbable(tails.unevenness([[100] * 64], chances, True)) < 1e-12
    for seed in range(200):
        counts = np.random.default_rng(seed).multinomial(6400, chances)
        assert tails.improbable(tails.unevenness([counts], chances, True)) > 1e-4


def test_surprise_sees_too_many_too_few_and_none():
    chances, times = np.array([0.1, 0.3]), np.array([5000, 5000])  # 2000 give or take 39
    for hits in (1600, 2400, 0, 10_000):
        assert tails.improbable(tails.surprise(hits, chances, times, 2000.0)) < 1e-12
    for hits in (1920, 2000, 2080):
        assert tails.improbable(tails.surprise(hits, chances, times, 2000.0)) > 0.01
    rare = np.array([1e-8]), np.array([10_000])
    assert tails.improbable(tails.surprise(4, *rare, 1e-4)) < 1e-12
    assert tails.improbable(tails.surprise(0, *rare, 1e-4)) == 1.0
    assert tails.improbable(tails.surprise(1, np.array([0.0]), np.array([5]), 0.0)) < 1e-300


def test_improbable_never_leaves_the_unit_interval():
    assert tails.improbable(-math.inf) == 1.0
    assert tails.improbable(-3.0) == 1.0
    assert tails.improbable(math.log(4)) == pytest.approx(0.25)
    assert 0 < tails.improbable(math.inf) < 1e-300
