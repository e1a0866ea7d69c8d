"""CSV files whose rows have a key: read whole, and refused with the number of the row that is wrong.

A row has the number of the line that it starts on in an editor. The header is line 1.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omap.errors import InputError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
"""What usually stands between fields, with its name."""


@dataclass(frozen=True)
class Rows:
    """What a CSV file holds below its header.

    Attributes
    ----------
    columns : tuple of str
        Names of the fields.
    fields : list of tuple of str
        The fields of each row.
    lines : list of int
        Number of the line that each row starts on.
    """

    columns: tuple[str, ...]
    fields: list[tuple[str, ...]] = field(repr=False)
    lines: list[int] = field(repr=False)

    def column(self, name: str) -> list[str]:
        """Return the fields of a column."""
        place = self.columns.index(name)
        return [fields[place] for fields in self.fields]


def read_rows(path: Path, delimiter: str = ",", **wanted: str | None) -> Rows:
    """Return the rows of a CSV file with a header line; blank lines are skipped.

    Parameters
    ----------
    path : Path
        The file, in UTF-8.
    delimiter : str
        The sign between fields.
    **wanted : str or None
        Columns that must be there, by the name of the option that names each.

    Raises
    ------
    InputError
        If the file can't be read, is not UTF-8 or not CSV, lacks a column, or has no rows.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True, delimiter=delimiter)
            header = next(reader, [])
            _check_header(path, header, delimiter, wanted)
            fields, lines = [], []
            for line, row in _numbered(reader):
                if len(row) != len(header):
                    raise InputError(
                        f"row {line} should have {len(header)} fields like the header, not {len(row)}: "
                        f"add or remove delimiters ({_called(delimiter)}), or quote fields that contain it"
                    )
                fields.append(tuple(row))
                lines.append(line)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not UTF-8 (byte {error.start}): save it as UTF-8 first") from None
    except csv.Error as error:
        raise InputError(
            f"{path.name}, near row {reader.line_num}: {error}: look for a quotation mark that opens a field and is "
            "not closed, or is closed before the field ends; within a quoted field write it twice"
        ) from None
    if not fields:
        raise InputError(f"{path.name} has no rows below its header of {len(header)} columns: give one with some")
    return Rows(tuple(header), fields, lines)


def check_keys(keys: Sequence[bytes | str], lines: Sequence[int], column: str, columns: Sequence[str]) -> None:
    """Refuse keys that are empty or repeated. The message names rows, never a key.

    Raises
    ------
    InputError
        If a key is empty, or two are the same.
    """
    first: dict[bytes | str, int] = {}
    for key, line in zip(keys, lines, strict=True):
        if not key:
            raise InputError(f"row {line} has nothing in column {column!r}: every row needs a key")
        if key in first:
            raise InputError(
                f"row {line} has the same key as row {first[key]} in column {column!r}: "
                f"keys must be unique; remove one, or use another column ({listed(columns)})"
            )
        first[key] = line


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return names for a message: not too many."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _check_header(path: Path, header: list[str], delimiter: str, wanted: dict[str, str | None]) -> None:
    if not header:
        raise InputError(f"{path.name} is empty: its first line must name the columns")
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise InputError(f"{path.name} names a column twice ({listed(repeated)}): give each its own name")
    for option, name in wanted.items():
        if name is not None and name not in header:
            other = next((sign for sign in DELIMITERS if sign != delimiter and sign in header[0]), None)
            hint = f", or give --delimiter {_typed(other)}" if other and len(header) == 1 else ""
            raise InputError(f"{path.name} has no column {name!r}: choose --{option} from {listed(header)}{hint}")


def _typed(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else repr(delimiter)


def _called(delimiter: str) -> str:
    return DELIMITERS.get(delimiter, repr(delimiter))


def _numbered(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of the line that it starts on; skip blank lines."""
    start = reader.line_num + 1  # type: ignore[attr-defined]
    for row in reader:
        if row:
            yield start, row
        start = reader.line_num + 1  # type: ignore[attr-defined]
