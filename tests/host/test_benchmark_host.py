"""The benchmark runs and reports. No test compares speeds."""

import re
import subprocess

import pytest
from click import ClickException

from host import benchmark
from omap.fast.map import FastMap
from omap.map import OneChoiceMap
from omap.presets import preset
from omap.sizing import one_choice


def test_all_of_it(monkeypatch):
    monkeypatch.setattr(benchmark, "ROUNDS", 1)
    monkeypatch.setattr(benchmark.shutil, "which", lambda name: None)  # the proxy is for the next test
    figures = benchmark.run(preset("SMALL"), 400, 1)
    assert figures["bare"] > 0
    assert figures["ratio"] == pytest.approx(figures["client"] / figures["bare"])
    assert sum(figures["shares"].values()) == pytest.approx(1)
    text = benchmark.report(figures)
    assert "500 of 1,000 keys of 8 bytes, values of 8" in text
    assert "not measured: install redis-server and redis-tools" in text
    assert re.search(r"bare model, one thread +[\d,]+ operations/s, the reference\n", text)


@pytest.mark.parametrize(("model", "kind"), [("fast", FastMap), ("reference", OneChoiceMap)])
def test_the_bare_model_is_what_a_model_runs(monkeypatch, model, kind):
    monkeypatch.setenv("OMAP_MODEL", model)
    bare = benchmark.Workload(preset("SMALL"), 10, 1).bare()
    assert isinstance(bare, kind)
    assert isinstance(bare, FastMap) == (model == "fast")


def test_the_proxy_is_measured_beside_a_redis_server(monkeypatch):
    for name, value in {"ROUNDS": 1, "REDIS_TURNS": 1, "REDIS_SHARE": 1, "CONNECTIONS": 3}.items():
        monkeypatch.setattr(benchmark, name, value)
    params = one_choice(capacity=500, key_bytes=16, value_bytes=192, page_bytes=1024)
    figures = benchmark.run(params, 100, 1)
    assert list(figures["proxy"]) == ["16", "1"]
    for rates in figures["proxy"].values():
        assert list(rates) == ["set", "get", "incr", "mset"]
        for rate in rates.values():
            assert rate["ratio"] == pytest.approx(rate["proxy"] / rate["redis"])
    text = benchmark.report(figures)
    assert "redis-benchmark -t set,get,incr,mset -c 3 -d 32 -r 125 -n 100 (redis-server: 100)" in text
    for rates in figures["proxy"].values():
        rates["set"] = {"proxy": 4000.0, "redis": 800000.0, "ratio": 0.005}
    text = benchmark.report(figures)
    assert "-P 16  SET   proxy     4,000 requests/s, redis-server   800,000, ratio 0.005" in text
    assert "SET and GET at pipeline 16: misses 5,000 requests/s" in text


def test_redis_benchmark_that_fails_says_why(monkeypatch):
    monkeypatch.setattr(benchmark.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", "refused"))
    with pytest.raises(ClickException, match="redis-benchmark gave no figures: refused"):
        benchmark.redis_benchmark(["-p", "1"], 10, 10, 1)


def test_a_command_that_does_not_start_says_why(tmp_path):
    with pytest.raises(ClickException, match=r"`omap serve` did not start: omap: .*can't be read"):
        benchmark.running("serve", "--preset", "TINY", "--key-file", tmp_path / "absent", "--port", 0).__enter__()
