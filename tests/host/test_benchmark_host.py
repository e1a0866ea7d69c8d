"""The benchmark runs and reports. No test compares speeds."""

import subprocess

import pytest
from click import ClickException

from host import benchmark
from omap.presets import preset


def test_all_of_it(monkeypatch):
    monkeypatch.setattr(benchmark, "ROUNDS", 1)
    monkeypatch.setattr(benchmark.shutil, "which", lambda name: None)  # redis-benchmark is for the next test
    figures = benchmark.run(preset("SMALL"), 400, 1)
    assert figures["bare"] > 0
    assert figures["ratio"] == pytest.approx(figures["client"] / figures["bare"])
    assert sum(figures["shares"].values()) == pytest.approx(1)
    text = benchmark.report(figures)
    assert "500 of 1,000 keys of 8 bytes, values of 8" in text
    assert "redis-benchmark is not installed" in text
    figures["proxy"] = {"set": 4000.0, "get": 6000.0}
    assert "SET         4,000 requests/s, 50 connections, pipeline 16 (misses 5,000)" in benchmark.report(figures)
    assert "GET         6,000 requests/s, 50 connections, pipeline 16 (reaches 5,000)" in benchmark.report(figures)


def test_figures_of_redis_benchmark(monkeypatch):
    said = '"test","rps","avg_latency_ms"\n"SET","1234.5","1"\n"GET","2345.5","1"\n'
    monkeypatch.setattr(benchmark.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, said, ""))
    assert benchmark.redis_benchmark("127.0.0.1", 1, 10, 10) == {"set": 1234.5, "get": 2345.5}
    monkeypatch.setattr(benchmark.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", "refused"))
    with pytest.raises(ClickException, match="redis-benchmark gave no figures: refused"):
        benchmark.redis_benchmark("127.0.0.1", 1, 10, 10)


def test_a_command_that_does_not_start_says_why(tmp_path):
    with pytest.raises(ClickException, match=r"`omap serve` did not start: omap: .*can't be read"):
        benchmark.running("serve", "--preset", "TINY", "--key-file", tmp_path / "absent", "--port", 0).__enter__()
