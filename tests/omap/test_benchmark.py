"""The benchmark of the model runs and reports; how fast anything is, is not tested."""

import json

from click.testing import CliRunner

from omap import benchmark


def test_it_runs_and_reports():
    result = CliRunner().invoke(benchmark.main, ["--preset", "SMALL", "--operations", "500", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["keys"] == 1000
    assert found["page_bytes_per_operation"] == 256
    assert all(value > 0 for value in found.values())
    assert {"fast_operations_per_second", "fast_over_reference"} < set(found)
    output = CliRunner().invoke(benchmark.main, ["--preset", "TINY", "--operations", "10"]).output
    assert "keys/s" in output
    assert "times the reference" in output


def test_without_numba_it_times_the_reference_alone(monkeypatch):
    monkeypatch.setattr(benchmark, "find_spec", lambda name: None)
    output = CliRunner().invoke(benchmark.main, ["--preset", "TINY", "--operations", "10"]).output
    assert "compiled    needs numba: run `pip install -e '.[bounds]'` in the project's folder" in output
