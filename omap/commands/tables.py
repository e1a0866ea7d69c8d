"""Tables for terminals of any width: where a table would lose figures, its rows stand below each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

ROOM = 3
"""Columns of the terminal that each column of a table takes beside its text."""


def show(table: Table, console: Console | None = None) -> None:
    """Print a table; if the console is too narrow for it, as a list that leaves nothing out."""
    from rich.console import Console

    console = console or Console()
    if least_width(table) <= console.width:
        console.print(table)
        return
    for line in _lines(table):
        console.print(line, overflow="fold")
    console.print()


def least_width(table: Table) -> int:
    """Return how many columns of a terminal a table needs, so that no word of it is cut."""
    width = ROOM
    for column in table.columns:
        cells = [_text(cell) for cell in ([column.header] if table.show_header else []) + list(column.cells)]
        words = [len(word) for cell in cells for word in ([cell.plain] if column.no_wrap else cell.plain.split())]
        width += max(words, default=0) + ROOM
    return width


def _lines(table: Table) -> Iterator[Text]:
    from rich.text import Text

    headings = [_text(column.header).plain if table.show_header else "" for column in table.columns]
    if table.title:
        yield _text(table.title, style="bold")
    for place, cells in enumerate(zip(*(column.cells for column in table.columns), strict=True)):
        name, *figures = (_text(cell) for cell in cells)
        style = table.rows[place].style or ""
        if headings[0]:
            name = Text(f"{headings[0]}: ") + name
        if len(figures) == 1 and not headings[1]:  # a list already
            yield name + Text(": ") + figures[0]
            continue
        yield Text.assemble(name, style=style)
        for heading, figure in zip(headings[1:], figures, strict=True):
            if figure.plain:
                yield Text.assemble(Text(f"  {heading}: " if heading else "  "), figure, style=style)
    if table.caption:
        yield _text(table.caption, style="dim")


def _text(cell: object, style: str = "") -> Text:
    from rich.text import Text

    return Text.from_markup(str(cell), style=style)
