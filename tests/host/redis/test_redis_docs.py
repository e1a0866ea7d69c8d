"""docs/use/redis.md says what the code does."""

import re
from pathlib import Path

from host.redis.commands import COMMANDS
from host.redis.requests import ARGUMENTS_LIMIT, BULK_LIMIT, REQUEST_LIMIT
from host.redis.rounds import IN_DOUBT, NOT_RUN

DOCUMENT = Path(__file__).parents[3] / "docs" / "use" / "redis.md"


def table():
    by_operations = {}
    for name, entry in sorted(COMMANDS.items()):
        by_operations.setdefault(entry.operations, []).append(f"`{name.upper()}`")
    lines = ["| map operations | commands |", "|---|---|"]
    return "\n".join(lines + [f"| {told} | {', '.join(by_operations[told])} |" for told in sorted(by_operations)])


def test_the_table_of_commands(request):
    text = DOCUMENT.read_text("utf-8")
    found = re.search(r"(<!-- commands\b[^>]*-->\n)(.*?)(<!-- end -->)", text, re.DOTALL)
    wanted = table() + "\n"
    if request.config.getoption("--regenerate"):
        DOCUMENT.write_text(text[: found.start(2)] + wanted + text[found.end(2) :], encoding="utf-8")
        return
    assert found[2] == wanted, "docs/use/redis.md is out of date: run pytest tests/host/redis --regenerate"


def test_limits_and_texts():
    text = " ".join(DOCUMENT.read_text("utf-8").split())
    assert f"at most {ARGUMENTS_LIMIT:,} arguments of at most {BULK_LIMIT >> 20} MiB, {REQUEST_LIMIT >> 20} MiB" in text
    for told, answer in (
        (IN_DOUBT, "ERR omap: unknown fate:"),
        (NOT_RUN, "ERR omap: the connection to the map broke before"),
    ):
        assert told.startswith(answer)
        assert f"`{answer} ...`" in text
