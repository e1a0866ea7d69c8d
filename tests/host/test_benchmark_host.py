"""The benchmark runs and reports. No test compares speeds."""

import re
import subprocess

import numpy as np
import pytest
from click import ClickException

from host import benchmark
from host.keyfile import write_root_file
from host.measuring import proxy, road
from host.measuring.processes import running
from host.measuring.workload import Workload
from omap.credentials import Credential, provision
from omap.fast.map import FastMap
from omap.map import OneChoiceMap
from omap.operations import Kind
from omap.presets import preset
from omap.sizing import one_choice


def test_all_of_it(monkeypatch):
    monkeypatch.setattr(benchmark, "ROUNDS", 1)
    monkeypatch.setattr(road, "find_spec", lambda name: None)  # the road and the proxy are for the next tests
    monkeypatch.setattr(proxy.shutil, "which", lambda name: None)
    figures = benchmark.run(preset("SMALL"), 400, 1)
    assert figures["bare"] > 0
    assert figures["ratio"] == pytest.approx(figures["client"] / figures["bare"])
    assert sum(figures["shares"].values()) == pytest.approx(1)
    text = benchmark.report(figures)
    assert "500 of 1,000 keys of 8 bytes, values of 8" in text
    assert "the road                       not measured: install numba" in text
    assert "not measured: install redis-server and redis-tools" in text
    assert re.search(r"bare model, one thread +[\d,]+ operations/s, the reference\n", text)


@pytest.mark.parametrize(("model", "kind"), [("fast", FastMap), ("reference", OneChoiceMap)])
def test_the_bare_model_is_what_a_model_runs(monkeypatch, model, kind):
    monkeypatch.setenv("OMAP_MODEL", model)
    bare = Workload(preset("SMALL"), 10, 1).bare()
    assert isinstance(bare, kind)
    assert isinstance(bare, FastMap) == (model == "fast")


def test_a_workload_is_half_reads_and_the_same_as_lists_and_as_arrays():
    workload = Workload(preset("SMALL"), 400, 3)
    store, other = workload.bare(), workload.bare()
    answers, told = [], []
    workload.arrays(lambda *columns: answers.append(store.execute_arrays(*columns)), 150)
    workload.lists(lambda batch: told.extend(other.execute(batch)), 150)
    found = np.concatenate([answer.found for answer in answers])
    assert found.all()
    assert [one.previous for one in told] == [row.tobytes() for answer in answers for row in answer.values]
    assert 100 < sum(operation.kind == Kind.GET for operation in workload.mix) < 300
    assert Workload(preset("SMALL"), 400, 3).mix == workload.mix


def test_the_road_is_measured_with_a_table_in_place_of_the_map(monkeypatch, tmp_path):
    monkeypatch.setattr(road, "LEAST_SECONDS", 0.01)
    monkeypatch.setattr(road, "CALL_RECORDS", 3)
    monkeypatch.setattr(road, "PRESET", "SMALL")
    owner = provision(write_root_file(tmp_path / "root.key"), Credential())
    figures = road.road(tmp_path / "root.key", owner, 1)
    for name in ("many", "one", "lists", "model"):
        assert figures[name]["rate"] > 0
        assert list(figures[name]) == ["rate", "client", "relay", "device"]
    row = {"client": 0.46, "relay": 0.13, "device": 0.2}
    for name, rate in {"many": 4e6, "one": 1e6, "lists": 1e6, "model": 142_000}.items():
        figures[name] = {"rate": rate} | row
    text = "\n".join(road.told(figures))
    assert (
        "4,000,000 operations/s; us an operation: client 0.460 (before 4.6: 0.100), relay 0.130 (before 1.3: 0.100)"
        in text
    )
    assert "4,000,000 operations/s (reaches 3,000,000)" in text
    assert "client 0.460 (reaches 1.6)" in text
    assert "142,000 operations/s (misses 150,000; before 71,000: 2.0 times)" in text


def test_the_proxy_is_measured_beside_a_redis_server(monkeypatch):
    monkeypatch.setattr(benchmark, "ROUNDS", 1)
    monkeypatch.setattr(road, "find_spec", lambda name: None)
    for name, value in {"REDIS_TURNS": 1, "REDIS_SHARE": 1, "CONNECTIONS": 3}.items():
        monkeypatch.setattr(proxy, name, value)
    params = one_choice(capacity=500, key_bytes=16, value_bytes=192, page_bytes=1024)
    figures = benchmark.run(params, 100, 1)
    assert list(figures["proxy"]["rates"]) == ["16", "1"]
    for rates in figures["proxy"]["rates"].values():
        assert list(rates) == ["set", "get", "incr", "mset"]
        for rate in rates.values():
            assert rate["ratio"] == pytest.approx(rate["proxy"] / rate["redis"])
    text = benchmark.report(figures)
    assert "redis-benchmark -t set,get,incr,mset -c 3 -d 32 -r 100 -n 100 (in pipelines 4 times as many, " in text
    for rates in figures["proxy"]["rates"].values():
        rates["set"] = {"proxy": 4000.0, "redis": 800000.0, "ratio": 0.005}
    text = benchmark.report(figures)
    assert "-P 16  SET   proxy     4,000 requests/s, redis-server   800,000, ratio 0.005" in text
    assert "SET and GET at pipeline 16: misses 0.1 of redis-server" in text


def test_redis_benchmark_that_fails_says_why(monkeypatch):
    monkeypatch.setattr(proxy.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", "refused"))
    with pytest.raises(ClickException, match="redis-benchmark gave no figures: refused"):
        proxy.redis_benchmark(["-p", "1"], 10, 10, 1)


def test_a_command_that_does_not_start_says_why(tmp_path):
    with pytest.raises(ClickException, match=r"`omap serve` did not start: omap: .*can't be read"):
        running("serve", "--preset", "TINY", "--key-file", tmp_path / "absent", "--port", 0).__enter__()


@pytest.mark.long
def test_what_keeping_a_map_costs(tmp_path):
    from host.measuring import durable

    figures = durable.run(tmp_path, 200, 1000)
    assert figures["recovery"]["keys"] == 1000
    assert all(figures[name][each] > 0 for name in ("one", "many") for each in ("ours", "theirs", "ratio"))
    assert "operations under way, one each" in durable.report(figures)
