"""Every page is reached from docs/README.md, and every link, path, name and command on a page leads somewhere."""

import re
import shlex
from importlib import metadata
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parents[2]
START = ROOT / "docs" / "README.md"
FOLDERS = ("docs", "examples", "boards", "rtl")
PAGES = sorted(
    [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md")]
    + [ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")]
)
TOPS = ("omap", "rtl", "sim", "host", "boards", "docs", "tests", "examples")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):.*?##", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def prose(path):
    """Return a page without its listings."""
    return FENCE.sub("", path.read_text("utf-8"))


def anchors(path):
    """Return the anchors of a page's headings, as GitHub makes them."""
    found = []
    for heading in re.findall(r"^#{1,6} (.+)$", prose(path), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", heading).strip().lower()
        found.append(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found


def links(path):
    """Yield (file, anchor) for each link of a page that leads to a file of ours."""
    for link in LINK.findall(prose(path)):
        if "://" not in link:
            target, _, anchor = link.partition("#")
            yield (path.parent / target).resolve() if target else path, anchor


def reached():
    """Return the pages that links lead to from the first one, step by step."""
    found, ahead = {START}, [START]
    while ahead:
        for target, _ in links(ahead.pop()):
            if target.suffix == ".md" and target.exists() and target not in found:
                found.add(target)
                ahead.append(target)
    return found


def test_every_page_is_reached_from_the_first():
    assert not {str(path.relative_to(ROOT)) for path in PAGES} - {str(path.relative_to(ROOT)) for path in reached()}


def test_the_readme_leads_to_the_first_page():
    assert START in {target for target, _ in links(ROOT / "README.md")}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target, anchor in links(page):
        assert target.exists(), target
        assert ROOT in target.parents, target
        if anchor:
            assert anchor in anchors(target), f"{target.name} has no heading #{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_are_there(page):
    if page.name == "CHANGELOG.md":
        return  # tells what was
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        if re.fullmatch(rf"({'|'.join(TOPS)})/[\w./-]*", code):
            assert (ROOT / code).exists(), code


def _commands(page):
    for _, language, text in FENCE.findall(page.read_text("utf-8")):
        if language == "sh":
            yield from (line.strip() for line in text.splitlines() if line.strip())
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        if re.match(r"(omap|make|pytest|python -m) [a-z.]", code):
            yield code


def check(line):
    """Check a line that a page tells to type: programs, subcommands, options and paths are there."""
    program, *arguments = shlex.split(line, comments=True) or [""]
    match program:
        case "omap":
            (entry_point,) = metadata.entry_points(group="omap.commands", name=arguments.pop(0))
            command = entry_point.load()
            while isinstance(command, click.Group) and arguments:
                command = command.commands[arguments.pop(0)]
            known = {"--help", *(name for param in command.params for name in (*param.opts, *param.secondary_opts))}
            assert {word for word in arguments if word.startswith("--")} <= known
        case "make":
            assert {word for word in arguments if "=" not in word} <= MAKE_TARGETS | {"hw_emu"}  # of a build folder
        case "pytest" | "python":
            for word in arguments:
                if re.match(rf"({'|'.join(TOPS)})/", word):
                    assert (ROOT / word).exists(), word


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_tells_to_type_is_there(page):
    for line in _commands(page):
        check(line)


def test_the_checks_notice(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `b` c\n\n[x](no.md#a-b-c) ![y](no.svg)\n\n```sh\nomap plan --capacity 1\n```\n`make tea`\n")
    assert anchors(page) == ["a-b-c"]
    assert [(target.name, anchor) for target, anchor in links(page)] == [("no.md", "a-b-c"), ("no.svg", "")]
    assert list(_commands(page)) == ["omap plan --capacity 1", "make tea"]
    check("omap plan --capacity 1")
    for wrong in ("omap plan --size 1", "omap steal", "make tea", "pytest tests/nowhere.py"):
        with pytest.raises((AssertionError, ValueError)):
            check(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_lines_are_short_enough_to_read(page):
    """Tables, listings, pictures and generated parts may be wider."""
    written = re.sub(r"^<!-- [^>]*-->\n.*?^<!-- end", "", prose(page), flags=re.MULTILINE | re.DOTALL)
    for line in written.splitlines():
        assert len(line) <= 120 or line.startswith(("|", "    ")) or " " not in line.strip(), line


CELL_END = re.compile(r"(?<!\\)\|")
"""What ends a cell of a table's row; a stroke within a cell is written with a backslash."""


def tables(text):
    """Yield the rows of each table, of which each is a list of cells."""
    for rows in re.findall(r"(?:^\|.*\n)+", text + "\n", re.MULTILINE):
        yield [CELL_END.split(row.strip())[1:-1] for row in rows.splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rows_of_a_table_have_as_many_cells_as_its_heading(page):
    for heading, *rows in tables(prose(page)):
        for row in rows:
            assert len(row) == len(heading), row


def test_a_row_that_lacks_a_cell_is_noticed():
    assert [[len(row) for row in rows] for rows in tables("x\n| a | b |\n|---|---|\n| 1 2 |\n\n| `a\\|b` |\n")] == [
        [2, 2, 1],
        [1],
    ]
