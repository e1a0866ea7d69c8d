"""Tables on terminals of any width lose no figure."""

import io
import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from omap.cli import main
from omap.commands.progress import WIDE, progress
from omap.commands.tables import least_width, show

WORDS = st.text("abcdefgh0123456789,.", min_size=1, max_size=9)


def printed(table, width):
    file = io.StringIO()
    show(table, Console(file=file, width=width))
    return file.getvalue()


@given(
    rows=st.lists(st.lists(WORDS, min_size=4, max_size=4), min_size=1, max_size=4),
    width=st.integers(20, 100),
    no_wrap=st.booleans(),
)
def test_every_word_is_there_at_every_width(rows, width, no_wrap):
    table = Table(title="title", caption="caption")
    for heading in ("", "one", "two", "three"):
        table.add_column(heading, no_wrap=no_wrap)
    for row in rows:
        table.add_row(*row)
    shown = printed(table, width)
    assert "…" not in shown
    words = shown.replace("│", " ").split()
    for row in rows:
        for word in row:
            assert word in words
    assert max(map(len, shown.splitlines())) <= width


def test_a_table_that_fits_is_a_table():
    table = Table()
    for heading in ("name", "figure"):
        table.add_column(heading)
    table.add_row("one", "1")
    assert "┃ name ┃ figure ┃" in printed(table, least_width(table))
    listed = printed(table, least_width(table) - 1)
    assert listed.split() == ["name:", "one", "figure:", "1"]
    assert listed.endswith("\n\n")  # what follows stands apart


@pytest.fixture
def narrow():
    return CliRunner(env={"COLUMNS": "40"})


def test_a_narrow_demo_shows_its_verdicts(narrow, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("id,name\n" + "".join(f"{row},name {row}\n" for row in range(40)))
    options = ["--keys-csv", str(table), "--key", "id", "--operations", "300", "--out", str(tmp_path / "report.html")]
    shown = narrow.invoke(main, ["demo", *options]).stdout
    assert "…" not in shown
    assert [shown.count(f"{name}: {verdict}") for name in ("hammer", "mixed") for verdict in ("leaks", "random")] == [
        1, 2, 1, 2,
    ]  # fmt: skip


def test_a_narrow_plan_shows_its_figures(narrow):
    options = ["--capacity", "100e6", "--board", "u55c"]
    facts = json.loads(narrow.invoke(main, ["plan", *options, "--json"]).stdout)
    shown = narrow.invoke(main, ["plan", *options]).stdout
    assert "…" not in shown
    assert f"count: {2 * facts['params']['buckets']:,}\n" in shown
    assert f"count: {facts['params']['waiting_slots']:,}\n" in shown


@pytest.mark.parametrize("width", [30, 40, WIDE - 1, WIDE, 120])
def test_progress_shows_no_figure_in_part(width):
    file = io.StringIO()
    with progress(Console(file=file, width=width)) as bars:
        bars.add_task("Published rule (BOLT): querying", total=34_000, completed=17_000)
    shown = file.getvalue()
    assert "…" not in shown
    assert ("17000/34000" if width >= WIDE else "50%") in shown
    assert {"Published", "rule", "(BOLT):", "querying"} <= set(shown.split())


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_table_of_a_command_is_cut(width):
    run = CliRunner(env={"COLUMNS": str(width)})
    for arguments in (
        ("audit", "--preset", "tiny", "--workload", "hammer", "--operations", "200", "-v"),
        ("bounds", "--keys", "1000", "--accesses", "1000", "--rule", "two_choice", "--workload", "sweep"),
    ):
        assert "…" not in run.invoke(main, arguments).stdout
