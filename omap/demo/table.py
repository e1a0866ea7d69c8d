"""The table that the demo loads, real airports or the user's own CSV file, as keys and values of fixed size.

The value of a record is its length and all its fields as JSON, padded to the same size for all records. The key is one
of these fields, so that every answer can be checked, even if long keys are hashed.
"""

from __future__ import annotations

import csv
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import cast

from omap.cells import IMAGE_BYTES, LENGTH_BYTES, image, unpack_value
from omap.errors import InputError
from omap.params import KEY_SIZES, MAX_VALUE_BYTES

Field = str | float | int
"""One field of a record of the table."""

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
        Word for one record.
    columns : tuple of str
        Names of the fields.
    key_column : str
        The column that holds the keys.
    records : list of tuples
        The records of the source; each is a tuple of its fields.
    keys, values : list of bytes
        Keys and values for the map, in the order of ``records``.
    hashed : bool
        Whether the keys are images under a keyed pseudo-random function, because some names do not fit a key.
    hot : int
        Place of the record that one workload asks for over and over.
    hot_label : str
        Name of that record in a report. It is never a key of the user's own table, because reports travel.
    """

    title: str
    noun: str
    columns: tuple[str, ...]
    key_column: str
    records: list[tuple[Field, ...]] = field(repr=False)
    keys: list[bytes] = field(repr=False)
    values: list[bytes] = field(repr=False)
    hashed: bool
    hot: int = 0
    hot_label: str = "the first record"

    @property
    def key_bytes(self) -> int:
        """Bytes of every key."""
        return len(self.keys[0])

    @property
    def value_bytes(self) -> int:
        """Bytes of every value."""
        return len(self.values[0])

    def __len__(self) -> int:
        return len(self.records)


def encode_record(record: Sequence[Field]) -> bytes:
    """Return the length of a record and its JSON, without padding.

    Raises
    ------
    InputError
        If they do not fit a value.
    """
    text = json.dumps(list(record), ensure_ascii=False, separators=(",", ":")).encode()
    if LENGTH_BYTES + len(text) > MAX_VALUE_BYTES:
        raise InputError(
            f"takes {LENGTH_BYTES + len(text)} bytes as a value and at most {MAX_VALUE_BYTES} fit: "
            "leave out columns that are not needed"
        )
    return len(text).to_bytes(LENGTH_BYTES, "big") + text


def decode_record(value: bytes) -> tuple[Field, ...]:
    """Return the record in a value, which may be padded."""
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
    records: Sequence[tuple[Field, ...]],
    rows: Sequence[int],
) -> Table:
    """Encode records; ``rows`` are the numbers of their rows in the source, for messages.

    Raises
    ------
    InputError
        If there are no records, a key is empty or repeated, or a record does not fit a value. The message names the
        row, never the key.
    """
    if not records:
        raise InputError(f"the table has no records below its header of {len(columns)} columns: give one with some")
    column = list(columns).index(key_column)
    names = [str(record[column]) for record in records]
    first: dict[str, int] = {}
    for name, row in zip(names, rows, strict=True):
        if not name:
            raise InputError(f"row {row} has nothing in column {key_column!r}: every record needs a key")
        if name in first:
            raise InputError(
                f"row {row} has the same key as row {first[name]} in column {key_column!r}: "
                f"keys must be unique; remove one, or use another column ({_listed(columns)})"
            )
        first[name] = row
    values = []
    for record, row in zip(records, rows, strict=True):
        try:
            values.append(encode_record(record))
        except InputError as error:
            raise InputError(f"row {row} {error}") from None
    keys, hashed = encode_keys(names)
    size = -(-max(map(len, values)) // 8) * 8
    return Table(
        title=title,
        noun=noun,
        columns=tuple(columns),
        key_column=key_column,
        records=list(records),
        keys=keys,
        values=[value.ljust(size, b"\0") for value in values],
        hashed=hashed,
    )


def airports() -> Table:
    """Return the airports of the ``airportsdata`` package, keyed by their ICAO code."""
    import airportsdata  # here, because only the extra `demo` installs it

    source = airportsdata.load()
    records: list[tuple[Field, ...]] = [tuple(cast(dict[str, Field], record).values()) for record in source.values()]
    hot = list(source).index("EGLL")
    table = make_table(
        title=f"airports of the world (package airportsdata {metadata.version('airportsdata')})",
        noun="airport",
        columns=list(next(iter(source.values()))),
        key_column="icao",
        records=records,
        rows=range(1, len(records) + 1),
    )
    return replace(table, hot=hot, hot_label="London Heathrow Airport (EGLL)")


def read_csv(path: Path, key_column: str) -> Table:
    """Return the table in a CSV file with a header line.

    Raises
    ------
    InputError
        If the file can't be read, is not UTF-8 or not CSV, lacks the column, or :func:`make_table` refuses a record.
        Rows have the line numbers of an editor, where the header is line 1.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            if not header:
                raise InputError(f"{path.name} is empty: its first line must name the columns")
            if repeated := sorted({name for name in header if header.count(name) > 1}):
                raise InputError(f"{path.name} names a column twice ({_listed(repeated)}): give each its own name")
            if key_column not in header:
                raise InputError(f"{path.name} has no column {key_column!r}: choose --key from {_listed(header)}")
            records, rows = [], []
            for row, record in _numbered(reader):
                if len(record) != len(header):
                    raise InputError(
                        f"row {row} should have {len(header)} fields like the header, not {len(record)}: "
                        "add or remove commas, or quote fields that contain them"
                    )
                records.append(tuple(record))
                rows.append(row)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not UTF-8 (byte {error.start}): save it as UTF-8 first") from None
    except csv.Error as error:
        raise InputError(f"{path.name}, near row {reader.line_num}: {error}") from None
    return make_table(title=path.name, noun="record", columns=header, key_column=key_column, records=records, rows=rows)


def _numbered(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the number of the line that it starts on; skip blank lines."""
    start = reader.line_num + 1  # type: ignore[attr-defined]
    for record in reader:
        if record:
            yield start, record
        start = reader.line_num + 1  # type: ignore[attr-defined]


def _listed(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
