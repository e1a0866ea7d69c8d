"""Progress bars on standard error, for terminals of any width."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

WIDE = 80
"""Columns of a terminal that has room for bar, counts and time beside a description."""


def progress(console: Console | None = None) -> Progress:
    """Return progress bars that show no figure in part: a narrow terminal gets a percentage alone.

    Parameters
    ----------
    console : Console, optional
        Where to; standard error unless told otherwise.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    console = console or Console(stderr=True)
    name = TextColumn("{task.description}", table_column=Column(no_wrap=False, overflow="fold"))
    if console.width < WIDE:
        return Progress(name, TaskProgressColumn(), console=console)
    return Progress(name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console)
