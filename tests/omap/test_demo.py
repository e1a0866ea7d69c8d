"""The demo: what its report and its terminal show, and what of a user table they never show."""

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from omap import backends, cli
from omap import map as reference
from omap.errors import InputError
from omap.operations import Response, Status
from omap.plain import PlainTable


@pytest.fixture
def demo(tmp_path):
    """Run the demo; return its result and the path of the report."""

    def run(*arguments):
        out = tmp_path / "report.html"
        return CliRunner().invoke(cli.main, ["demo", "--out", str(out), *map(str, arguments)]), out

    return run


def write_csv(path, rows, header="code,name"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def small_csv(tmp_path):
    return write_csv(tmp_path / "table.csv", [f"K{i:03},SECRET name {i}" for i in range(300)])


class Page(HTMLParser):
    """Collects what a test wants to know of a page, and that its tags are balanced."""

    VOID = ("meta", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


# -- the whole of it ----------------------------------------------------------------------------------------------


def test_the_airports_show_in_the_plain_table_and_not_in_the_maps(demo):
    result, out = demo("--json")
    assert result.exit_code == 0, result.output
    results = json.loads(result.stdout)
    assert results["table"]["rows"] > 20_000
    plain, *maps = results["maps"]
    assert [entry["name"] for entry in maps] == ["one_choice", "two_choice"]
    assert not any(workload["audit"]["passed"] for workload in plain["workloads"])
    for entry in maps:
        assert all(workload["audit"]["passed"] for workload in entry["workloads"])
        assert entry["wrong_answers"] == 0
        assert entry["answers"] == 3 * 2000 + results["table"]["rows"]
    one, two = maps
    assert one["bytes_per_operation"] == plain["bytes_per_operation"] == 2 * one["params"]["page_bytes"]
    assert one["bytes_per_operation"] < two["bytes_per_operation"]

    text = out.read_text("utf-8")
    page = Page(text)
    assert page.tags.count("svg") == 6
    assert "What the host saw when we asked for one airport 2,000 times" in text
    assert "London Heathrow" in text
    assert len(text) < 1_000_000


def test_the_page_needs_nothing_from_elsewhere(demo, small_csv):
    _, out = demo("--keys-csv", small_csv, "--key", "code", "--operations", 200)
    text = out.read_text("utf-8")
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not [entry for entry in page.attributes if entry[1] in ("src", "href", "srcset", "data")]
    assert not re.search(r"https?:|url\(|@import", text)
    assert {"prefers-color-scheme", "viewport"} <= set(re.findall(r"prefers-color-scheme|viewport", text))


def test_the_users_table_stays_out_of_what_is_written(demo, small_csv):
    result, out = demo("--keys-csv", small_csv, "--key", "code", "--operations", 200, "--json")
    assert result.exit_code == 0, result.output
    for text in (result.output, out.read_text("utf-8")):
        assert "SECRET" not in text
        assert not re.search(r"\bK\d{3}\b", text)


def test_the_terminal_shows_verdicts_and_where_the_report_is(demo, small_csv):
    result, out = demo("--keys-csv", small_csv, "--key", "code", "--operations", 200)
    assert f"Report: {out}" in result.stdout.replace("\n", " ")
    assert re.search(r"plain.*leaks.*leaks.*leaks", result.stdout)
    assert re.search(r"one_choice.*random.*random.*random", result.stdout)
    for told in ("plain: Encrypted hash table", "two_choice: Published rule", "hammer: One ", "mixed: Misses"):
        assert told in result.stdout


def test_long_keys_are_hashed_and_found_again(demo, tmp_path):
    rows = [f"a key of more than sixteen bytes {i},{i}" for i in range(200)]
    path = write_csv(tmp_path / "long.csv", rows)
    result, _ = demo("--keys-csv", path, "--key", "code", "--operations", 200, "--json")
    results = json.loads(result.stdout)
    assert results["table"]["hashed_keys"] is True
    assert results["table"]["key_bytes"] == 16
    assert [entry["wrong_answers"] for entry in results["maps"]] == [0, 0, 0]


class Clocked(reference.OneChoiceMap):
    """A map with a clock: ten cycles an operation."""

    clock_mhz = 200.0
    operations = cycles = 0
    notice = "takes its time"

    def execute(self, batch):
        self.operations += len(batch)
        self.cycles += 10 * len(batch)
        return super().execute(batch)


def test_where_there_is_a_clock_its_cycles_are_shown_everywhere(demo, small_csv, monkeypatch):
    monkeypatch.setattr(backends, "load", lambda name: Clocked)
    monkeypatch.setattr(Clocked, "bulk_load", None)  # hardware has none that is worth its name
    arguments = ("--keys-csv", small_csv, "--key", "code", "--operations", 200, "--backend", "rtl")
    result, out = demo(*arguments, "--json")
    assert result.exit_code == 0, result.output
    plain, one, _ = json.loads(result.stdout)["maps"]
    assert (one["cycles_per_operation"], one["assumed_clock_mhz"]) == (10, 200)
    assert [workload["cycles_per_operation"] for workload in one["workloads"]] == [10, 10, 10]
    assert plain["cycles_per_operation"] is plain["workloads"][0]["cycles_per_operation"] is None
    assert "Back end rtl: takes its time" in result.stderr

    text = out.read_text("utf-8")
    Page(text)
    assert re.search(r"Clock cycles an operation.*?<td>&ndash;</td><td>10.0</td><td>&ndash;</td>", text)
    assert "hammer 10.0, sweep 10.0, mixed 10.0. At an assumed 200 MHz the average comes to 20,000,000" in text
    assert "--backend rtl" in text

    shown = demo(*arguments)[0].stdout
    assert "Clock cycles an operation, in simulation" in shown
    assert re.search(r"one_choice( │ +10\.0){4} │ +20,000,000", shown)
    assert "this clock is assumed" in shown


def test_without_a_clock_nobody_speaks_of_cycles(demo, small_csv):
    result, out = demo("--keys-csv", small_csv, "--key", "code", "--operations", 200)
    assert "ycles" not in result.output
    assert "ycles" not in out.read_text("utf-8")
    assert "--backend" not in out.read_text("utf-8")


@pytest.mark.long
def test_a_small_table_on_the_accelerator_in_simulation(demo, tmp_path):
    path = write_csv(tmp_path / "small.csv", [f"{i},{i}" for i in range(600)])
    result, out = demo("--keys-csv", path, "--key", "code", "--operations", 1000, "--backend", "rtl", "--json")
    assert result.exit_code == 0, result.output
    plain, one, _ = json.loads(result.stdout)["maps"]
    assert (one["wrong_answers"], one["answers"]) == (0, 3600)
    assert all(workload["audit"]["passed"] for workload in one["workloads"])
    assert one["bytes_per_operation"] == plain["bytes_per_operation"]
    assert all(8 <= workload["cycles_per_operation"] < 100 for workload in one["workloads"])
    assert "Clock cycles an operation" in out.read_text("utf-8")


@pytest.mark.parametrize("count", [1, 2, 9])
def test_the_smallest_tables_run(demo, tmp_path, count):
    path = write_csv(tmp_path / "small.csv", [f"{i},{i}" for i in range(count)])
    result, _ = demo("--keys-csv", path, "--key", "code", "--operations", 100, "--json")
    assert result.exit_code == 0, result.output
    assert [entry["wrong_answers"] for entry in json.loads(result.stdout)["maps"]] == [0, 0, 0]


# -- it fails when it should --------------------------------------------------------------------------------------


def test_a_map_that_leaks_makes_the_demo_fail(demo, small_csv, monkeypatch):
    monkeypatch.setattr(backends, "load", lambda name: PlainTable)
    result, out = demo("--keys-csv", small_csv, "--key", "code", "--operations", 400)
    assert result.exit_code == 1
    assert "FAIL: the trace shows more" in result.stderr
    assert out.exists(), "the page that shows it is written all the same"


def test_a_map_that_answers_wrongly_makes_the_demo_fail(demo, small_csv, monkeypatch):
    class Forgetful(reference.OneChoiceMap):
        def execute(self, batch):
            return [Response(Status.NOT_FOUND) if at == 7 else r for at, r in enumerate(super().execute(batch))]

    monkeypatch.setattr(backends, "load", lambda name: Forgetful)
    result, _ = demo("--keys-csv", small_csv, "--key", "code", "--operations", 400)
    assert result.exit_code == 1
    assert re.search(r"Oblivious map: \d+ of 1500 answers wrong", result.stderr)


def test_unknown_back_ends_are_refused_with_those_there_are(demo):
    result, out = demo("--backend", "abacus")
    assert result.exit_code == 2
    assert "no back end is called 'abacus'; installed are" in result.stderr
    assert "reference" in result.stderr
    assert not out.exists()


def test_a_back_end_whose_packages_are_missing_is_refused_with_the_remedy(demo, monkeypatch):
    class Missing:
        def load(self):
            raise ModuleNotFoundError("No module named 'amaranth'", name="amaranth")

    monkeypatch.setattr(backends.metadata, "entry_points", lambda **_: [Missing()])
    with pytest.raises(InputError) as caught:
        backends.load("rtl")
    how = "run `pip install -e '.[rtl,sim,host]'` in the project's folder"
    assert f"'rtl' can't be loaded: No module named 'amaranth'; {how}" in str(caught.value)


def test_the_accelerator_is_registered_as_a_back_end():
    assert {"reference", "rtl"} <= set(backends.names())


def test_a_report_that_cannot_be_written_is_refused_before_the_work(demo, tmp_path):
    result, _ = demo("--out", tmp_path / "nowhere" / "report.html")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


@pytest.mark.parametrize("arguments", [("--key", "code"), ("--keys-csv", "table.csv")])
def test_file_and_column_go_together(demo, arguments):
    result, _ = demo(*arguments)
    assert result.exit_code == 2
    assert "--keys-csv and --key go together" in result.stderr


def test_the_standalone_picture_is_one_well_formed_file(demo, small_csv, tmp_path):
    out = tmp_path / "picture.svg"
    demo("--keys-csv", small_csv, "--key", "code", "--operations", 200, "--picture", out)
    root = ET.parse(out).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(root.findall("{http://www.w3.org/2000/svg}svg")) == 2
