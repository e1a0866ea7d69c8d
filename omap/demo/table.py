"""The table that the demo loads, real airports or the user's own CSV file, as keys and values of fixed size.

The value of a row is its length and all its fields as JSON, padded to the same size for all rows. The key is one
of these fields, so that every answer can be checked, even if long keys are hashed.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import cast

from omap.cells import IMAGE_BYTES, LENGTH_BYTES, image, unpack_value
from omap.csvfile import check_keys, read_rows
from omap.errors import InputError
from omap.params import KEY_SIZES, MAX_VALUE_BYTES

Field = str | float | int
"""One field of a row of the table."""

MAX_KEY_BYTES = IMAGE_BYTES
"""Bytes of the longest key that is stored as it is. The client hashes longer keys."""


@dataclass(frozen=True)
class Table:
    """A table that is ready to be loaded.

    Attributes
    ----------
    title : str
        What the table lists, and its source.
    noun : str
        Word for one row.
    columns : tuple of str
        Names of the fields.
    key_column : str
        The column that holds the keys.
    rows : list of tuples
        The rows of the source; each is a tuple of its fields.
    keys, values : list of bytes
        Keys and values for the map, in the order of ``rows``.
    hashed : bool
        Whether the keys are images under a keyed pseudo-random function, because some names do not fit a key.
    hot : int
        Place of the row that one workload asks for over and over.
    hot_label : str
        Name of that row in a report. It is never a key of the user's own table, because reports travel.
    """

    title: str
    noun: str
    columns: tuple[str, ...]
    key_column: str
    rows: list[tuple[Field, ...]] = field(repr=False)
    keys: list[bytes] = field(repr=False)
    values: list[bytes] = field(repr=False)
    hashed: bool
    hot: int = 0
    hot_label: str = "the first row"

    @property
    def key_bytes(self) -> int:
        """Bytes of every key."""
        return len(self.keys[0])

    @property
    def value_bytes(self) -> int:
        """Bytes of every value."""
        return len(self.values[0])

    def __len__(self) -> int:
        return len(self.rows)


def encode_row(row: Sequence[Field]) -> bytes:
    """Return the length of a row and its JSON, without padding.

    Raises
    ------
    InputError
        If they do not fit a value.
    """
    text = json.dumps(list(row), ensure_ascii=False, separators=(",", ":")).encode()
    if LENGTH_BYTES + len(text) > MAX_VALUE_BYTES:
        raise InputError(
            f"takes {LENGTH_BYTES + len(text)} bytes as a value and at most {MAX_VALUE_BYTES} fit: "
            "leave out columns that are not needed"
        )
    return len(text).to_bytes(LENGTH_BYTES, "big") + text


def decode_row(value: bytes) -> tuple[Field, ...]:
    """Return the row in a value, which may be padded."""
    return tuple(json.loads(unpack_value(value)))


def encode_keys(names: Sequence[str]) -> tuple[list[bytes], bool]:
    """Return keys of one size for ``names``, and whether the names had to be hashed.

    Names of up to 16 bytes are padded with zeros to 4, 8 or 16 bytes. If a name is longer, or holds a zero, all keys
    are 16-byte images of names under a pseudo-random function (HMAC-SHA-256, truncated) with a fresh secret key. So
    whoever chooses the names can't aim at collisions.
    """
    raw = [name.encode() for name in names]
    longest = max(map(len, raw))
    if longest <= MAX_KEY_BYTES and not any(0 in key for key in raw):
        size = next(size for size in KEY_SIZES if longest <= size)
        return [key.ljust(size, b"\0") for key in raw], False
    secret = secrets.token_bytes(32)
    return [image(secret, key) for key in raw], True


def make_table(
    *,
    title: str,
    noun: str,
    columns: Sequence[str],
    key_column: str,
    rows: Sequence[tuple[Field, ...]],
    lines: Sequence[int],
) -> Table:
    """Encode rows; ``lines`` are the numbers that they have in the source, for messages.

    Raises
    ------
    InputError
        If there are no rows, a key is empty or repeated, or a row does not fit a value. The message names the row,
        never the key.
    """
    column = list(columns).index(key_column)
    names = [str(row[column]) for row in rows]
    check_keys(names, lines, key_column, columns)
    values = []
    for row, line in zip(rows, lines, strict=True):
        try:
            values.append(encode_row(row))
        except InputError as error:
            raise InputError(f"row {line} {error}") from None
    keys, hashed = encode_keys(names)
    size = -(-max(map(len, values)) // 8) * 8
    return Table(
        title=title,
        noun=noun,
        columns=tuple(columns),
        key_column=key_column,
        rows=list(rows),
        keys=keys,
        values=[value.ljust(size, b"\0") for value in values],
        hashed=hashed,
    )


def airports() -> Table:
    """Return the airports of the ``airportsdata`` package, keyed by their ICAO code."""
    import airportsdata  # here, because only the extra `demo` installs it

    source = airportsdata.load()
    rows: list[tuple[Field, ...]] = [tuple(cast(dict[str, Field], row).values()) for row in source.values()]
    hot = list(source).index("EGLL")
    table = make_table(
        title=f"airports of the world (package airportsdata {metadata.version('airportsdata')})",
        noun="airport",
        columns=list(next(iter(source.values()))),
        key_column="icao",
        rows=rows,
        lines=range(1, len(rows) + 1),
    )
    return replace(table, hot=hot, hot_label="London Heathrow Airport (EGLL)")


def read_csv(path: Path, key_column: str, delimiter: str = ",") -> Table:
    """Return the table in a CSV file with a header line.

    Raises
    ------
    InputError
        If :func:`omap.csvfile.read_rows` refuses the file, or :func:`make_table` a row.
    """
    rows = read_rows(path, delimiter, key=key_column)
    return make_table(
        title=path.name, noun="row", columns=rows.columns, key_column=key_column, rows=rows.fields, lines=rows.lines
    )
