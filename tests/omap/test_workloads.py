"""Workloads are what their names say, repeat for the same seed, and fit the map they are made for."""

from collections import Counter
from dataclasses import replace
from itertools import groupby, pairwise, product

import pytest

from omap.errors import InputError
from omap.interface import check_batch
from omap.map import OneChoiceMap, create
from omap.operations import Kind, Status
from omap.presets import preset
from omap.trace import Submitted
from omap.workloads import BATCH, WORKLOADS, load_and_run, workload

SMALL, TINY = preset("SMALL"), preset("TINY")


def keys_of(name, operations=4000, params=SMALL):
    return [operation.key for operation in workload(name, params, operations).operations]


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("params", [SMALL, TINY, preset("WIDE")], ids=["SMALL", "TINY", "WIDE"])
def test_it_fits_the_map_and_repeats_for_the_same_seed(name, params):
    params = replace(params, capacity=min(params.capacity, 500))
    made = workload(name, params, 300, seed=4)
    check_batch(params, made.operations)
    assert len(made.operations) == 300
    assert made.keys.shape == (len(made.keys), params.key_bytes)
    assert made.values.shape == (len(made.keys), params.value_bytes)
    assert len({row.tobytes() for row in made.keys}) == len(made.keys)
    again = workload(name, params, 300, seed=4)
    assert made.operations == again.operations
    assert (made.keys == again.keys).all()
    assert (made.values == again.values).all()
    other = workload(name, params, 300, seed=5)
    assert made.operations != other.operations


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("operations", [0, 1, BATCH + 1])
def test_it_runs(name, operations):
    map_ = create(TINY)
    load_and_run(workload(name, TINY, operations), map_)
    assert map_.sequence == operations + (TINY.capacity // 2 if name == "insert_then_read" else TINY.capacity)


OUTCOMES = {
    "misses": {Status.NOT_FOUND},
    "idle": {Status.OK, Status.NOT_FOUND},
    "between": {Status.OK, Status.NOT_FOUND},
    "refused": {Status.OK, Status.FULL},
    "come_back": {Status.OK, Status.NOT_FOUND},
    "mixed": {Status.OK, Status.NOT_FOUND, Status.FULL},
}


@pytest.mark.parametrize("name", WORKLOADS)
def test_only_some_miss_and_only_some_are_refused(name):
    made = workload(name, SMALL, 3000)
    map_ = create(SMALL)
    map_.bulk_load(made.keys, made.values)
    responses = map_.execute(made.operations)
    assert {response.status for response in responses} == OUTCOMES.get(name, {Status.OK})
    refused = {op.kind for op, (status, _) in zip(made.operations, responses, strict=True) if status is Status.FULL}
    assert refused <= {Kind.PUT}


def test_keys_are_used_as_the_names_say():
    loaded = [row.tobytes() for row in workload("sweep", SMALL, 0).keys]
    assert set(keys_of("hammer")) == {loaded[0]}
    assert keys_of("sweep") == loaded * 4
    assert keys_of("ping_pong") == loaded[:8] * 500
    assert len(set(keys_of("uniform"))) > 950
    zipf = Counter(keys_of("zipf"))
    assert zipf.most_common(1)[0][0] == loaded[0]
    assert zipf[loaded[0]] > 10 * zipf[loaded[99]]
    misses = Counter(keys_of("misses"))
    assert not set(misses) & set(loaded)
    assert len(misses) == 8
    assert 0.5 < misses.most_common(1)[0][1] / 4000 < 0.65


def test_fresh_keys_are_read_at_once_and_make_room():
    made = workload("insert_then_read", TINY, 60)
    kinds = [operation.kind for operation in made.operations]
    assert len(made.keys) == 6
    assert kinds[:12] == [Kind.PUT, Kind.GET] * 6
    assert kinds[12:] == [Kind.DELETE, Kind.PUT, Kind.GET] * 16
    keys = [operation.key for operation in made.operations]
    assert keys[0:12:2] == keys[1:12:2]
    assert keys[12] == keys[0]


def test_churn_replaces_keys_in_a_full_map():
    made = workload("churn", SMALL, 5000)
    kinds = Counter(operation.kind for operation in made.operations)
    assert kinds[Kind.DELETE] == kinds[Kind.PUT] == 2000
    assert kinds[Kind.GET] == 1000
    new = {operation.key for operation in made.operations if operation.kind is Kind.PUT}
    assert len(new) == 2000
    assert not new & {row.tobytes() for row in made.keys}


def test_nops_stand_alone_and_in_rows():
    kinds = [operation.kind for operation in workload("idle", SMALL, 5000).operations]
    rows = {len(list(row)) for kind, row in groupby(kinds) if kind is Kind.NOP}
    assert rows == {1, 2, 3}
    for name in ("refused", "mixed"):
        assert Kind.NOP in {operation.kind for operation in workload(name, SMALL, 3000).operations}


def test_misses_stand_between_hits_of_one_key():
    made = workload("between", SMALL, 4000)
    loaded = {row.tobytes() for row in made.keys}
    keys = [operation.key for operation in made.operations]
    assert set(keys[::2]) == {made.keys[0].tobytes()}
    assert not set(keys[1::2]) & loaded


def test_new_keys_come_for_a_full_map():
    made = workload("refused", SMALL, 4000)
    assert len(made.keys) == SMALL.capacity
    loaded = {row.tobytes() for row in made.keys}
    new = [op.key for op in made.operations if op.kind is Kind.PUT and op.key not in loaded]
    assert len(new) > 1500
    assert len(set(new)) == 8


def test_deleted_keys_come_back():
    operations = workload("come_back", SMALL, 64).operations
    kinds = [operation.kind for operation in operations]
    assert kinds[:12] == [Kind.DELETE] * 4 + [Kind.GET] * 4 + [Kind.PUT] * 4
    assert all(operations[place].key == operations[place % 4].key for place in range(64))


def test_a_mixture_has_every_pair_of_kinds():
    kinds = [operation.kind for operation in workload("mixed", SMALL, 3000).operations]
    assert set(pairwise(kinds)) == set(product(Kind, Kind))


def test_what_was_submitted_is_counted():
    for params in (SMALL, TINY):
        run = workload("mixed", params, 30)
        assert load_and_run(run, create(params)) == Submitted(operations=30, formats=1, bulk_loads=1)

    class OneByOne(OneChoiceMap):
        load_operations = 2, 1

        def bulk_load(self, keys, values):
            """Load nothing: only what is counted matters here."""

    assert load_and_run(run, OneByOne(TINY)) == Submitted(operations=30 + 2 * TINY.capacity + 1, formats=1)


def test_bad_arguments():
    with pytest.raises(InputError, match="no workload is called 'hamster'; choose one of hammer, sweep"):
        workload("hamster", TINY, 10)
    with pytest.raises(InputError, match="operations is -1"):
        workload("hammer", TINY, -1)
