"""The compiled load processes equal the maps, and no workload waits longer than the bounds say."""

import json
import math
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from omap import sizing
from omap.cli import main
from omap.errors import InputError, OmapError
from omap.hazmat.fixed import fixed_secrets
from omap.map import create
from omap.memory import DeviceMemory
from omap.operations import Kind, Operation
from omap.params import DESCRIPTOR_BYTES, Params, Rule
from omap.position_map import PositionMap
from omap.sizing import theorem
from omap.sizing.bounds import WORKLOADS, LoadProcess, Shape, simulate
from omap.sizing.buckets import TRANSIT_BITS_AN_ENTRY
from omap.sizing.transit import TransitProcess, simulate_transit

N = 1 << 16


def one_choice(load, slots, capacity=N):
    return Shape(rule=Rule.ONE_CHOICE, capacity=capacity, pages=math.ceil(capacity / load), page_slots=slots)


def two_choice(capacity=N):
    bins = capacity // 8
    hbm_bins = int(0.2 * bins)
    slots = math.floor(sizing.most_load(capacity, 8))
    return Shape(rule=Rule.TWO_CHOICE, capacity=capacity, pages=bins - hbm_bins, hbm_bins=hbm_bins, page_slots=slots)


# -- the simulation is the map ----------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    rule=st.sampled_from([Rule.ONE_CHOICE, Rule.TWO_CHOICE]),
    pages=st.integers(2, 5),
    hbm_bins=st.integers(0, 2),
    page_bytes=st.sampled_from([64, 128]),
    descriptor_bytes=st.sampled_from(DESCRIPTOR_BYTES),
    seed=st.integers(0, 2**32),
    steps=st.lists(st.tuples(st.sampled_from(Kind), st.integers(0, 39)), max_size=200),
)
def test_counts_equal_those_of_the_reference_map(rule, pages, hbm_bins, page_bytes, descriptor_bytes, seed, steps):
    params = Params(
        capacity=30, key_bytes=4, value_bytes=8, rule=rule, page_bytes=page_bytes, pages=pages,
        hbm_bins=hbm_bins if rule is Rule.TWO_CHOICE else 0, descriptor_bytes=descriptor_bytes, waiting_slots=30,
        further_lines=30, bucket_bytes=64, buckets=20,
    )  # fmt: skip
    model = create(params, secrets=fixed_secrets(seed))
    filling = [(Kind.PUT, number) for number in range(30)]  # so that most keys are live, and the map is full
    steps = filling + steps
    draws = np.array([[*dummy, *fresh] for dummy, fresh in model._draws(0, len(steps))], np.int32)
    process = LoadProcess(Shape.of(params), keys=40)
    kinds, keys = (np.array(column) for column in zip(*steps, strict=True))
    total, series = process.run((kinds.astype(np.int8), keys.astype(np.int32)), draws, every=True)
    waited = 0
    for (kind, number), (waiting, resident, lines) in zip(steps, series.tolist(), strict=True):
        model.execute([Operation(kind, bytes([0, 0, 0, number]), bytes(8))])
        assert model.waiting.free_slots.taken == waiting + resident
        assert model.waiting.free_lines.taken == lines
        waited += waiting
    assert total == waited
    assert [model.waiting.load(number).load() for number in range(params.bins)] == process.loads.tolist()
    assert process.counter("LIVE") == len(model)
    most = process.counter("MOST_TOGETHER"), process.counter("MOST_LINES"), process.counter("MOST_WAITING")
    assert most == ((series[:, 0] + series[:, 1]).max(), series[:, 2].max(), series[:, 0].max())


@settings(max_examples=40)
@given(
    key_bytes=st.sampled_from([4, 8]),
    buckets=st.integers(1, 4),
    transit=st.integers(1, 40),
    steps=st.integers(1, 5),
    seed=st.integers(0, 2**32),
)
def test_moves_equal_those_of_the_reference_position_map(key_bytes, buckets, transit, steps, seed):
    params = Params(
        capacity=1, key_bytes=key_bytes, value_bytes=4, page_bytes=64, pages=1, waiting_slots=1, further_lines=0,
        bucket_bytes=64, buckets=buckets, relocation_steps=steps, transit_entries=transit,
    )  # fmt: skip
    model = PositionMap(params, bytes(16), DeviceMemory())
    random = np.random.default_rng(seed)
    universe = params.entries + 8  # nearly full, and over it
    names = [int(number).to_bytes(key_bytes, "big") for number in range(universe)]
    candidates = np.array([model.candidates(name) for name in names], np.int32) - [0, buckets]
    keys = random.integers(universe, size=300, dtype=np.int32)
    kinds = random.choice(np.array([Kind.PUT, Kind.PUT, Kind.PUT, Kind.GET, Kind.DELETE, Kind.NOP], np.int8), size=300)
    process = TransitProcess(buckets, params.bucket_entries, universe, transit_entries=transit, steps=steps)
    lengths = process.run((kinds, keys), candidates[keys], every=True)
    for kind, key, length in zip(kinds.tolist(), keys.tolist(), lengths.tolist(), strict=True):
        words = model.begin(None if kind == Kind.NOP else names[key], model.candidates(names[key]))
        if kind == Kind.PUT:
            words = (1,) if words or model.has_room() else None
        model.finish(None if kind == Kind.DELETE else words)
        assert len(model.transit) == length
    assert [(int.from_bytes(entry[4:], "big"), table) for entry, table in model.transit] == process.transit
    table = model._table()
    stored = np.where(
        table[:, :, 3] >> 7, table[:, :, 4:].astype(object).dot([256**i for i in range(key_bytes)][::-1]), -1
    )
    assert stored.tolist() == process.held.tolist()


def test_draws_are_distinct_pairs():
    shape = Shape(rule=Rule.TWO_CHOICE, capacity=10, pages=2, hbm_bins=1, page_slots=4)
    draws = shape.draw(np.random.default_rng(1), 9000).reshape(-1, 2)
    pairs, counts = np.unique(draws, axis=0, return_counts=True)
    assert pairs.tolist() == [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]]
    assert counts.min() > 2700


# -- agreement with theorem and figures -------------------------------------------------------------------------


@pytest.mark.parametrize(("load", "slots", "share"), [(11.25, 15, 10.21), (6, 8, 19.31), (8, 8, 21.36)])
def test_a_sweep_waits_as_much_as_the_theorem_says(load, slots, share):
    seen = simulate(one_choice(load, slots), "sweep", 20 * N)
    assert 100 * seen.mean_waiting / N == pytest.approx(share, abs=0.1)  # 5 standard deviations of the mean at least
    assert theorem.mean_share(load, slots) * N == pytest.approx(seen.mean_waiting, rel=0.01)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_no_workload_is_above_the_bounds(workload):
    shape = one_choice(6, 8)
    law = theorem.waiting_law(N, shape.pages, 8)
    slots = theorem.provision(law, np.arange(len(law)), shape.pages, sizing.INSTANT_BITS)
    lines = theorem.provision(law, sizing.line_costs(len(law), 64), shape.pages, sizing.INSTANT_BITS)
    seen = simulate(shape, workload, 5 * N)
    assert seen.mean_waiting < 1.005 * theorem.mean_share(6, 8) * N
    assert 0 < seen.most_waiting <= slots
    assert seen.most_lines <= lines
    assert seen.most_resident == seen.mean_resident == 0

    seen = simulate(two_choice(), workload, 5 * N)
    hbm, queue = sizing.two_choice_bounds(N, 8, two_choice().hbm_bins, two_choice().pages)
    assert seen.most_load <= sizing.most_load(N, 8)
    assert 0.98 * hbm * (13_107 / 14_856) < seen.most_resident <= hbm
    assert seen.most_waiting <= queue
    assert seen.most_together <= hbm + queue


def test_two_choice_has_the_known_means():
    """At N = 2^20 the buffer holds 52.9 k tuples and the HBM bins 209.7 k; both are shares of N, whatever N."""
    seen = simulate(two_choice(), "uniform", 40 * N)
    assert seen.mean_waiting / N == pytest.approx(52.9 / 1048.576, rel=0.01)
    assert seen.mean_resident / N == pytest.approx(209.7 / 1048.576, rel=0.01)


@pytest.mark.parametrize(("over", "share"), [(1.1, 11.6), (1.2, 14.0), (1.33, 18.6)])
def test_more_keys_than_planned_degrade_gracefully(over, share):
    seen = simulate(one_choice(11.25 * over, 15, int(N * over)), "sweep", 20 * N)
    assert 100 * seen.mean_waiting / N == pytest.approx(share, abs=0.15)


def test_the_proven_tail_is_above_the_seen_one():
    """Few pages, so that rare sums are seen: no frequency may exceed its bound."""
    pages, slots, capacity, accesses = 60, 4, 200, 400_000
    shape = Shape(rule=Rule.ONE_CHOICE, capacity=capacity, pages=pages, page_slots=slots, line_indices=(4, 7))
    process, random = LoadProcess(shape), np.random.default_rng(3)
    every = np.arange(accesses)
    kinds = np.where(every < capacity, Kind.PUT, Kind.GET).astype(np.int8)
    sweep = kinds, (every % capacity).astype(np.int32)
    _, series = process.run(sweep, shape.draw(random, accesses), every=True)
    law = theorem.waiting_law(capacity, pages, slots)
    for column, costs in ((0, np.arange(len(law))), (2, sizing.line_costs(len(law), 32))):
        rare = 0
        for size in range(capacity + 1):
            frequency = (series[:, column] > size).mean()
            bound = 2.0 ** -theorem.tail_bits(law, costs, pages, size)
            assert frequency <= bound
            rare += 0 < bound < 0.5 and frequency > 1e-4
        assert rare >= 3  # the comparison was not empty


# -- the transit queue ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [2, 3, 4, 5, 6, 8, 10, 16])
def test_the_tail_of_the_queue_is_as_steep_as_the_sizing_says(entries):
    seen = simulate_transit(entries, 1 << 14, 400_000)
    assert seen.refused == 0
    assert seen.bits >= TRANSIT_BITS_AN_ENTRY
    assert seen.longest <= 8


@pytest.mark.parametrize("entries", [8, 16])
def test_bursts_leave_it_as_steep(entries):
    seen = simulate_transit(entries, 1 << 14, 2_500_000, burst=(1 << 14) // 20)
    assert seen.bits >= TRANSIT_BITS_AN_ENTRY


@pytest.mark.parametrize("keys", [40, 100, 1000])
def test_small_maps_have_as_steep_a_tail(keys):
    seen = simulate_transit(8, keys, 400_000)
    assert seen.longest <= 8
    assert math.isnan(seen.bits) or seen.bits >= TRANSIT_BITS_AN_ENTRY


def test_a_fuller_map_has_a_flatter_tail():
    seen = simulate_transit(8, 1 << 14, 2_000_000, load=0.95)
    assert seen.bits < TRANSIT_BITS_AN_ENTRY / 2
    assert seen.longest > 8
    slopes = np.diff(seen.tail[:8])  # the tail is geometric, as far as two million insertions show it
    assert slopes.min() > 0.85 * slopes.max()


def test_a_bulk_load_leaves_a_steep_tail_too():
    """Placed anyhow, as many keys leave two thirds of the buckets full, and a second entry in transit is common."""
    keys, seen = 1 << 14, np.zeros(129, np.int64)
    params = sizing.one_choice(capacity=keys, key_bytes=4, value_bytes=4, page_bytes=64)
    rows = np.arange(keys, dtype=">u4").view(np.uint8).reshape(keys, 4)
    for seed in range(20):
        random = np.random.default_rng(seed)
        model = PositionMap(params, random.bytes(16), DeviceMemory())
        model.insert_rows(rows, np.zeros((keys, 1), np.int64))
        process = TransitProcess(params.buckets, params.bucket_entries, keys, transit_entries=128, idle_steps=0)
        table = model._table()
        process.candidates[:] = model.candidates_rows(rows) - [0, params.buckets]
        process.held[:] = np.where(table[:, :, 3] >> 7, np.ascontiguousarray(table[:, :, 4:]).view(">u4")[:, :, 0], -1)
        process.used[:] = (process.held >= 0).sum(axis=1)
        churn = WORKLOADS["churn"](random, 0, keys // 8, keys)
        process.run(churn, random.integers(params.buckets, size=(keys // 8, 2), dtype=np.int32))
        seen += process.peaks
    assert seen[1:].sum() > 1000
    assert seen[2:].sum() < seen[1:].sum() * 2**-TRANSIT_BITS_AN_ENTRY


def test_a_queue_that_is_too_short_refuses():
    process = TransitProcess(1, 2, 10, transit_entries=1)
    kinds = np.full(6, Kind.PUT, np.int8)
    process.run((kinds, np.arange(6, dtype=np.int32)), np.zeros((6, 2), np.int32))
    assert process.refused == 1
    assert sorted([*process.held.ravel().tolist(), *(key for key, _ in process.transit)]) == [0, 1, 2, 3, 4]


# -- command line and bad input ---------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(main, ["bounds", *arguments])


def test_the_command_agrees_with_the_library():
    result = run("--keys", "2^12", "--accesses", "2e4", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["holds"]
    rows = {(row["rule"], row.get("load"), row.get("workload")): row for row in said["rows"]}
    assert len(rows) == len(WORKLOADS) + 1 + len(WORKLOADS) + 3
    seen = simulate(one_choice(6, 8, 4096), "sweep", 20_000)
    assert rows["one_choice", 6.0, "sweep"]["mean_waiting"] == seen.mean_waiting
    assert rows["two_choice", 8, "churn"]["most_load"] == simulate(two_choice(4096), "churn", 20_000).most_load
    assert rows["position_map", 0.89, None]["pairs"] == 20_000

    text = run("--keys", "2^12", "--accesses", "2e4").output
    for words in ("theorem, worst", "eviction buffer", "hammer", "bits an entry", "CPU time"):
        assert words in text


def test_a_figure_above_its_bound_is_an_error(monkeypatch):
    monkeypatch.setattr(sizing, "most_load", lambda capacity, load: 9.0)
    result = run("--keys", "2^12", "--accesses", "2e4", "--rule", "two_choice", "--workload", "uniform")
    assert result.exit_code == 1
    assert "a figure is above its bound" in result.output


def test_without_numba_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "omap.sizing.load_process", raising=False)
    monkeypatch.delattr("omap.sizing.load_process", raising=False)
    with pytest.raises(OmapError, match=r"needs numba: run `pip install -e '\.\[bounds\]'` in the project's folder"):
        simulate(one_choice(6, 8), "sweep", 10)
    result = run("--keys", "100", "--accesses", "10")
    assert result.exit_code == 2
    assert "pip install -e '.[bounds]'" in result.output


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate(one_choice(6, 8), "gallop", 10), "no workload is called 'gallop'; choose one of uniform"),
        (lambda: simulate(one_choice(6, 8), "sweep", 0), "accesses is 0; it must be at least 1"),
        (lambda: Shape(rule=Rule.RESIDENT, capacity=1, pages=1, page_slots=1), "a resident map has no load process"),
        (lambda: Shape(rule=Rule.TWO_CHOICE, capacity=1, pages=1, page_slots=1), "too few for two_choice"),
        (lambda: simulate_transit(8, 0, 10), "all must be at least 1"),
        (lambda: simulate_transit(8, 9, 10, burst=10), "a burst at most all keys"),
        (
            lambda: LoadProcess(one_choice(6, 8)).run((np.zeros(3, np.int8), np.zeros(3, np.int32)), np.zeros((2, 2))),
            r"draws must be \(3, 2\), not \(2, 2\)",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("option", ["--load", "--share"])
def test_what_is_no_number_is_refused(option):
    result = run(option, "nan", "--accesses", "10", "--keys", "100")
    assert result.exit_code == 2
    assert "is no number; write it like" in result.output


# -- the figures of the specification, in full ------------------------------------------------------------------


@pytest.mark.long
def test_a_million_keys_and_ten_million_accesses():
    result = run("--keys", "2^20", "--accesses", "1e7", "--json")
    assert result.exit_code == 0
    rows = {(row["rule"], row.get("load"), row.get("workload")): row for row in json.loads(result.stdout)["rows"]}
    assert rows["one_choice", 11.25, "sweep"]["mean_waiting"] / (1 << 20) == pytest.approx(0.1021, abs=0.0003)
    assert rows["one_choice", 6.0, "sweep"]["mean_waiting"] / (1 << 20) == pytest.approx(0.1925, abs=0.0012)
    uniform = rows["two_choice", 8, "uniform"]
    assert uniform["most_load"] == 12
    assert uniform["mean_queue"] == pytest.approx(52_900, rel=0.005)
    assert uniform["mean_hbm"] == pytest.approx(209_700, rel=0.005)
    assert rows["position_map", 0.89, None]["longest"] <= 8


@pytest.mark.parametrize("load", [float("nan"), float("inf"), 0, -0.5, 1.01])
def test_a_load_of_the_position_map_that_is_none_is_refused(load):
    with pytest.raises(InputError, match="it must be above 0 and at most 1"):
        simulate_transit(8, 100, 10, load=load)
