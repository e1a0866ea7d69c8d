"""``omap audit`` and trace files."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from omap.audit import audit, load_trace, save_trace
from omap.cli import main
from omap.errors import InputError, OmapError, ParamsError
from omap.params import Rule
from omap.trace import FORMAT, Submitted
from omap.workloads import WORKLOADS
from tests.support.leakage.synthetic import draw, params, trace

SHAPE = params("two_choice", pages=40, hbm_bins=10)
SEEN = trace(*draw(SHAPE, 200, np.random.default_rng(3)), 200)


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(main, ["audit", *map(str, arguments)])


def test_a_trace_is_read_back_as_it_was_written(tmp_path):
    path = tmp_path / "seen"  # and not seen.npz
    save_trace(path, SEEN, SHAPE)
    loaded, shape = load_trace(path)
    assert shape == SHAPE
    assert (loaded.operations, loaded.submitted) == (200, Submitted(operations=200))
    for column in ("operation", "address", "length", "write"):
        assert (getattr(loaded, column) == getattr(SEEN, column)).all()
        assert getattr(loaded, column).dtype == getattr(SEEN, column).dtype
    assert audit(loaded, shape).to_dict() == audit(SEEN, SHAPE).to_dict()
    save_trace(path, replace(SEEN, submitted=None), SHAPE)
    assert load_trace(path)[0].submitted is None


def test_no_number_of_a_file_is_cut_to_fewer_bits(tmp_path):
    """A length of 2^32 + 128 is no length of 128, and fails."""
    path, seen = tmp_path / "seen", replace(SEEN, length=SEEN.length.copy())
    seen.length[7] += np.uint64(1 << 32)
    save_trace(path, seen, SHAPE)
    loaded, shape = load_trace(path)
    assert loaded.length[7] == (1 << 32) + 128
    (failed,) = audit(loaded, shape).failures
    assert "of 4294967424 bytes at" in failed.detail


def test_files_that_are_no_traces(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*omap audit --save FILE. writes one"):
        load_trace(tmp_path / "none")
    path = tmp_path / "file"
    good = dict(format="omap-trace-2", params=json.dumps(SHAPE.to_dict()), operations=200, operation=SEEN.operation)
    good |= dict(address=SEEN.address, length=SEEN.length, write=SEEN.write, submitted='{"operations": 200}')
    with open(path, "wb") as file:
        np.savez(file, **good)
    assert audit(*load_trace(path)).passed
    for content in (b"", b"text", bytes(range(256)), b"PK\x03\x04 but no archive"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is no trace, or it is damaged: expected an .npz file"):
            load_trace(path)
    for change, error, text in [
        ({"format": "omap-trace-9"}, InputError, "has format 'omap-trace-9'; this version reads 'omap-trace-2'"),
        ({"params": "{"}, InputError, "is no trace"),
        ({"params": "{}"}, ParamsError, "not a parameter set"),
        ({"address": None}, InputError, "is no trace"),
        ({"address": np.array(["far"] * len(SEEN))}, InputError, "is no trace"),
        ({"operations": np.array([1, 2])}, InputError, "is no trace"),
        ({"operations": 200.5}, InputError, "is no trace"),
        ({"submitted": "{}"}, InputError, "is no trace"),
        ({"submitted": '{"operations": 1.5}'}, InputError, "is no trace"),
        ({"submitted": '{"operations": 200, "resets": 1}'}, InputError, "is no trace"),
        ({"submitted": None}, InputError, "is no trace"),
        ({"length": SEEN.length + 0.5}, InputError, "is no trace"),
        ({"address": SEEN.address.astype(np.float64)}, InputError, "is no trace"),
        ({"address": SEEN.address.astype(np.int64) - 1000}, InputError, "is no trace"),
        ({"operation": SEEN.operation.astype(np.uint64) + np.uint64(1 << 63)}, InputError, "is no trace"),
        ({"write": SEEN.write.astype(np.uint8)}, InputError, "is no trace"),
    ]:
        columns = {name: value for name, value in (good | change).items() if value is not None}
        with open(path, "wb") as file:
            np.savez(file, **columns)
        with pytest.raises(error, match=text):
            load_trace(path)


def test_damaged_files_raise_no_errors_but_ours(tmp_path):
    """Whatever byte is changed; what still loads is another trace, or the same."""
    path = tmp_path / "file"
    save_trace(path, SEEN, SHAPE)
    whole = path.read_bytes()
    refused = 0
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            load_trace(path)
        except OmapError:
            refused += 1
    assert refused > len(whole) // 14


def test_a_trace_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(InputError, match="can't be written: the folder .* does not exist"):
        save_trace(tmp_path / "no" / "file", SEEN, SHAPE)


@pytest.mark.parametrize("rule", Rule)
def test_all_workloads_pass(run, rule):
    result = run("--rule", rule, "--operations", 400)
    assert result.exit_code == 0, result.output
    assert result.output.count("  PASS  ") == len(WORKLOADS) + 1
    assert re.search(r"^all together +PASS  \d+ checks", result.output, re.MULTILINE)
    assert "fails with a probability of at most 9.3e-10" in result.output
    assert "\nAn operation " in result.output


def test_the_plain_table_fails(run):
    result = run("--plain", "--workload", "hammer", "--operations", 200)
    assert result.exit_code == 1
    assert result.output.startswith("FAIL: the trace shows more than public parameters (200 operations")
    assert "A page comes again because its key came again" in result.output
    expected = "Expected: an operation reads and writes back one of 191 pages"
    assert expected in result.output
    assert expected in run("--plain", "--workload", "hammer", "--workload", "sweep", "--operations", 200).output


def test_saving_auditing_and_listing(run, tmp_path):
    path = tmp_path / "hammer.npz"
    result = run("--workload", "hammer", "--operations", 300, "--preset", "tiny", "--save", path)
    assert result.exit_code == 0
    assert result.output.startswith("PASS: the trace is what public parameters alone produce (300 operations")
    seen, shape = load_trace(path)
    assert (seen.operation == FORMAT).sum() == shape.pages
    again = run(path, "-v")
    assert again.exit_code == 0
    assert result.output in again.output
    assert "busiest page" in again.output
    seen.write[-1] = False
    save_trace(path, seen, shape)
    failed = run(path)
    assert failed.exit_code == 1
    assert "operation 299: expected a read and then a write of the same page" in failed.output
    assert "impossible in a sound trace" in failed.output


def test_json(run):
    result = run("--workload", "sweep", "--workload", "misses", "--operations", 250, "--json", "--false-alarm", 1e-6)
    told = json.loads(result.output)
    assert result.exit_code == 0
    assert told["passed"] is True
    assert told["params"]["rule"] == "one_choice"
    assert [one["trace"] for one in told["audits"]] == ["sweep", "misses", "all together"]
    assert [one["operations"] for one in told["audits"]] == [250, 250, 500]
    assert told["audits"][0]["false_alarm"] == 1e-6
    assert {finding["verdict"] for one in told["audits"] for finding in one["findings"]} == {"pass"}
    failed = json.loads(run("--plain", "--workload", "hammer", "--operations", 250, "--json").output)
    assert failed["passed"] is False


def test_bad_arguments(run, tmp_path):
    path = tmp_path / "t.npz"
    save_trace(path, SEEN, SHAPE)
    for arguments, text in [
        (["--save", "x.npz"], "--save writes one trace"),
        (["--save", tmp_path / "no" / "x", "--workload", "hammer"], "no does not exist"),
        (["--workload", "hammer", path], "TRACE is audited as it is: leave out --workload"),
        (["--rule", "two_choice", "--preset", "tiny", path], "leave out --rule and --preset"),
        (["--plain", "--rule", "two_choice"], "--plain has no placement rule: leave out --rule two_choice"),
        ([tmp_path / "none"], "there is no file"),
        (["--backend", "abacus"], "no back end is called 'abacus'"),
        (["--workload", "hamster"], "'hamster' is not one of"),
        (["--operations", "-5"], "'-5' is no size; write it like"),
        (["--false-alarm", "0"], "0 came; it must be more than 0"),
    ]:
        result = run(*arguments)
        assert result.exit_code == 2, text
        assert text in result.output
