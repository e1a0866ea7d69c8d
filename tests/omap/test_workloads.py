"""Workloads are what their names say, repeat for the same seed, and fit the map they are made for."""

from collections import Counter
from dataclasses import replace

import pytest

from omap.errors import InputError
from omap.interface import check_batch
from omap.map import create
from omap.operations import Kind, Status
from omap.presets import preset
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


@pytest.mark.parametrize("name", WORKLOADS)
def test_no_insert_is_refused_and_only_misses_miss(name):
    made = workload(name, SMALL, 3000)
    map_ = create(SMALL)
    map_.bulk_load(made.keys, made.values)
    statuses = Counter(response.status for response in map_.execute(made.operations))
    assert statuses == {Status.NOT_FOUND if name == "misses" else Status.OK: 3000}


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


def test_bad_arguments():
    with pytest.raises(InputError, match="no workload is called 'hamster'; choose one of hammer, sweep"):
        workload("hamster", TINY, 10)
    with pytest.raises(InputError, match="operations is -1"):
        workload("hammer", TINY, -1)
