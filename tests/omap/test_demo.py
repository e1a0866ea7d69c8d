import json
import random
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from omap import backends, cli
from omap import map as reference
from omap.demo import pictures, scenarios, table
from omap.errors import InputError
from omap.operations import Kind, Operation, Response, Status
from omap.params import Rule
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
    assert results["table"]["records"] > 20_000
    plain, *maps = results["maps"]
    assert [entry["name"] for entry in maps] == ["one_choice", "two_choice"]
    assert not any(workload["audit"]["passed"] for workload in plain["workloads"])
    for entry in maps:
        assert all(workload["audit"]["passed"] for workload in entry["workloads"])
        assert entry["wrong_answers"] == 0
        assert entry["answers"] == 3 * 2000 + results["table"]["records"]
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
    assert "'rtl' can't be loaded: No module named 'amaranth'; pip install '.[rtl,sim,host]'" in str(caught.value)


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


# -- tables -------------------------------------------------------------------------------------------------------

BAD = [
    ("code,name\nA,1\nB,2\nA,3\n", "row 4 has the same key as row 2 in column 'code'"),
    ("code,name\nA,1\n,2\n", "row 3 has nothing in column 'code'"),
    ("code,name\nA,1\nB\n", "row 3 should have 2 fields like the header, not 1"),
    ("code,name\nA,1,2\n", "row 2 should have 2 fields like the header, not 3"),
    ("id,name\nA,1\n", "has no column 'code': choose --key from id, name"),
    ("code,code\nA,1\n", "names a column twice (code)"),
    ("code,name\n", "no records below its header"),
    ("", "is empty"),
    ('code,name\nA,"1\n2"\nB,2\nA,3\n', "row 5 has the same key as row 2"),
    ('code,name\nA,"1\n', "near row 2"),
    ("code,name\nA,1\n\n\nA,2\n", "row 5 has the same key as row 2"),
    (f"code,name\nA,1\nB,{'x' * 5000}\n", "row 3 takes 5010 bytes as a value and at most 4096 fit"),
    (b"code,name\nA,\xff\xfe\n", "is not UTF-8 (byte 12)"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_bad_tables_are_refused_with_row_and_remedy(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        table.read_csv(path, "code")
    assert message in str(caught.value)
    assert "xxx" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="can't be read: No such file"):
        table.read_csv(tmp_path / "absent.csv", "code")


def test_spreadsheet_exports_with_a_byte_order_mark_are_read(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes('\ufeffcode,name\r\nA,"x, y"\r\nB,ü\r\n'.encode())
    read = table.read_csv(path, "code")
    assert read.records == [("A", "x, y"), ("B", "ü")]
    assert read.keys == [b"A\0\0\0", b"B\0\0\0"]


fields = st.text() | st.floats(allow_nan=False, allow_infinity=False) | st.integers()


@given(st.lists(fields, max_size=8), st.integers(0, 40))
def test_a_record_survives_its_encoding(record, padding):
    assert table.decode_record(table.encode_record(record) + bytes(padding)) == tuple(record)


@given(st.lists(st.text(min_size=1, max_size=24), min_size=1, max_size=40, unique=True))
def test_keys_are_distinct_and_of_one_size(names):
    keys, hashed = table.encode_keys(names)
    assert len(set(keys)) == len(names)
    assert {len(key) for key in keys} in ({4}, {8}, {16})
    assert hashed == any(len(name.encode()) > 16 or "\0" in name for name in names)


def test_the_hash_of_long_keys_has_a_fresh_secret_key():
    assert table.encode_keys(["x" * 17])[0] != table.encode_keys(["x" * 17])[0]


# -- scenarios and the check of answers -----------------------------------------------------------------------------


def make(count):
    records = [(str(number),) for number in range(count)]
    return table.make_table(title="test", noun="row", columns=["k"], key_column="k", records=records, rows=range(count))


@given(st.integers(1, 400), st.integers(100, 3000), st.integers())
def test_scenarios_are_as_long_as_asked_and_stay_in_the_table(count, operations, seed):
    rows = make(count)
    for scenario in scenarios.scenarios(rows, operations, seed):
        assert len(scenario.operations) == operations
        for kind, key, value in scenario.operations:
            assert len(key) == rows.key_bytes
            assert kind != Kind.PUT or rows.values[rows.keys.index(key)] == value
        if scenario.period:
            shifted = scenario.operations[scenario.period :]
            assert all(a == b for a, b in zip(scenario.operations, shifted, strict=False))


def test_absent_keys_are_absent():
    rows = make(200)
    assert not set(scenarios.absent_keys(rows, 500, random.Random(1))) & set(rows.keys)


def test_the_source_notices_every_kind_of_wrong_answer():
    rows = make(3)
    key, other = rows.keys[0], rows.values[1]
    get, put, delete = Operation(Kind.GET, key), Operation(Kind.PUT, key, rows.values[0]), Operation(Kind.DELETE, key)
    there, gone = Response(Status.OK, rows.values[0]), Response(Status.NOT_FOUND)
    assert scenarios.Source(rows).wrong([get, put, delete, get, delete], [there, there, there, gone, gone]) == 0
    assert scenarios.Source(rows).wrong([delete, put, get], [there, Response(Status.OK), there]) == 0
    for answer in (gone, Response(Status.OK, other), Response(Status.OK), Response(Status.FULL, rows.values[0])):
        assert scenarios.Source(rows).wrong([get], [answer]) == 1
    for answer in (there, Response(Status.OK), Response(Status.NOT_FOUND, rows.values[0])):
        assert scenarios.Source(rows).wrong([delete, get], [there, answer]) == 1


# -- pictures -----------------------------------------------------------------------------------------------------


def draw(pages, at, total=64, operations=10, period=0):
    return pictures.picture(
        np.array(pages), np.array(at), total=total, operations=operations, period=period, role="plain", title="a < b"
    )


def path(svg, name):
    return next(element.get("d") for element in ET.fromstring(svg).iter() if element.get("class") == name)


def test_every_touch_is_a_dot_inside_the_frame():
    dots = re.findall(r"M([\d.]+) ([\d.]+)h0", path(draw([0, 63, 31], [0, 5, 9]), "dots"))
    assert len(dots) == 3
    assert all(pictures._LEFT < float(x) < pictures._RIGHT for x, _ in dots)
    assert all(pictures._TOP < float(y) < pictures._BOTTOM for _, y in dots)
    assert float(dots[0][1]) > float(dots[2][1]) > float(dots[1][1]), "page 0 is at the bottom"


def test_of_a_long_workload_the_first_operations_are_drawn_and_it_says_so():
    many = 3 * pictures.MOST_DOTS
    svg = draw(np.arange(many) % 64, np.arange(many), operations=many)
    assert path(svg, "dots").count("M") == pictures.MOST_DOTS
    assert f"first {pictures.MOST_DOTS:,} operations" in svg
    assert f"{many // pictures.BANDS:,}" in svg or "touches" in svg


def test_rounds_are_marked():
    assert path(draw([1], [0], operations=10, period=3), "rounds").count("M") == 3
    assert path(draw([1], [0], operations=10), "rounds") == ""


def test_a_workload_that_touches_nothing_is_an_empty_picture():
    assert path(draw([], []), "dots") == ""


def test_the_standalone_picture_is_one_well_formed_file(demo, small_csv, tmp_path):
    out = tmp_path / "picture.svg"
    demo("--keys-csv", small_csv, "--key", "code", "--operations", 200, "--picture", out)
    root = ET.parse(out).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(root.findall("{http://www.w3.org/2000/svg}svg")) == 2


def test_sizes_follow_the_rule():
    from omap.demo.contestants import sized

    rows = make(500)
    for rule in (Rule.ONE_CHOICE, Rule.TWO_CHOICE):
        params = sized(rows, rule)
        assert (params.rule, params.key_bytes, params.value_bytes) == (rule, rows.key_bytes, rows.value_bytes)
        assert params.capacity >= len(rows)
