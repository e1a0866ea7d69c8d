"""``omap load``: a CSV file into a map, one key a row."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from host.client.sync import Client
from host.commands.keys import read_generation
from host.commands.options import HEX, Where, connection, echo_json, gathered, typed_bytes
from omap.cells import Cells, Stamp
from omap.commands.delimiter import DELIMITER
from omap.commands.progress import progress
from omap.csvfile import Rows, check_keys, read_rows
from omap.errors import DeniedError, FullError, InputError


@dataclass(frozen=True)
class Source:
    """Which columns of a CSV file are stored, and how, as the options say.

    Parameters
    ----------
    key : str
        Name of the column that holds the keys.
    value : str or None
        Name of the column that is stored; None for JSON of all columns but the key's.
    delimiter : str
        The sign between fields.
    as_hex : bool
        Whether both columns hold hexadecimal digits.
    """

    key: str
    value: str | None
    delimiter: str
    as_hex: bool

    def read(self, file: Path) -> Rows:
        """Return the rows of a file that has the columns."""
        if self.as_hex and self.value is None:
            raise InputError("--hex reads two columns as hexadecimal digits: name the other one with --value")
        return read_rows(file, self.delimiter, key=self.key, value=self.value)

    def contents(self, rows: Rows) -> list[tuple[bytes, bytes]]:
        """Return the keys and values in rows, as bytes."""
        names = list(self._bytes(rows, self.key, "key"))
        check_keys(names, rows.lines, self.key, rows.columns)
        if self.value is not None:
            values = list(self._bytes(rows, self.value, "value"))
        else:
            values = [self._rest(dict(zip(rows.columns, fields, strict=True))) for fields in rows.fields]
        return list(zip(names, values, strict=True))

    def _bytes(self, rows: Rows, column: str, what: str) -> Iterator[bytes]:
        for text, line in zip(rows.column(column), rows.lines, strict=True):
            try:
                yield typed_bytes(text, self.as_hex, what)
            except InputError as error:
                raise InputError(f"row {line}: {error}") from None

    def _rest(self, fields: dict[str, str]) -> bytes:
        del fields[self.key]
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@gathered(
    "source",
    Source,
    click.option("--key", required=True, help="The column that holds the keys."),
    click.option("--value", help="Store this column as it is.  [default: JSON of all but the key]"),
    DELIMITER,
    HEX,
)
@connection
def command(file: Path, source: Source, where: Where, as_json: bool) -> None:
    """Store every row of FILE, a CSV file with a header line.

    A key that is there already is overwritten. All rows are checked before the first is sent. Read them with `omap
    get`, or through the Redis proxy.
    """
    rows = source.read(file)
    contents = source.contents(rows)
    start = time.monotonic()
    with where.connect() as client:
        cells, stamp = (
            Cells(client.params, client.settings.client),
            Stamp(generation=read_generation(client, "use a client that may read")),
        )
        keys, values = [], []
        for (name, value), line in zip(contents, rows.lines, strict=True):
            try:
                keys.append(cells.key(name))
                values.append(cells.pack(name, value, stamp))
            except InputError as error:
                raise InputError(f"row {line}: {error}") from None
        credential = client.settings.client.credential
        try:
            stored = _store(client, keys, values)
        except (DeniedError, FullError):
            if credential.sees_map:
                len(client)  # or the host would see by the number of operations that some were refused
            raise
        new = stored if credential.reads else None
        live = len(client) if credential.sees_map else None
    if as_json:
        echo_json(rows=len(keys), new=new, live_keys=live, seconds=round(time.monotonic() - start, 3))
    else:
        text = "1 row stored" if len(keys) == 1 else f"{len(keys)} rows stored"
        text += "" if new is None else f", {new} of them new"
        click.echo(text + ("" if live is None else f"; the map has {live} key{'' if live == 1 else 's'}"))


def _store(client: Client, keys: list[bytes], values: list[bytes]) -> int:
    """Put everything, with a progress bar, and return how many keys were new."""
    with progress() as bar:
        task = bar.add_task("storing", total=len(keys))
        return client.put_many(keys, values, progress=lambda done, _: bar.update(task, completed=done))
