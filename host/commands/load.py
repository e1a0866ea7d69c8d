"""``omap load``: a CSV file into a map, one record a key."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from host.commands.options import Where, connection, echo_json
from omap.cells import Cells
from omap.errors import InputError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", "key_column", required=True, help="The column that holds the keys.")
@click.option("--value", "value_column", help="Store this column as text.  [default: JSON of all but the key]")
@connection
def command(
    file: Path,
    key_column: str,
    value_column: str | None,
    where: Where,
    as_json: bool,
) -> None:
    """Store every record of FILE, a CSV file with a header line.

    A key that is there already is overwritten. All records are checked before the first is sent. Read them with
    `omap get`, or through the Redis proxy.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from omap.demo.table import read_csv

    table = read_csv(file, key_column)
    if value_column is not None and value_column not in table.columns:
        raise InputError(f"{file.name} has no column {value_column!r}: choose --value from {', '.join(table.columns)}")
    column = table.columns.index(key_column)
    with where.connect() as client:
        cells = Cells(client.params, client.settings.root_key)
        keys, values = [], []
        for number, record in enumerate(table.records, 1):
            fields = dict(zip(table.columns, record, strict=True))
            name = str(record[column]).encode()
            del fields[key_column]
            text = (
                str(dict(zip(table.columns, record, strict=True))[value_column])
                if value_column is not None
                else json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
            )
            try:
                keys.append(cells.key(name))
                values.append(cells.pack(name, text.encode()))
            except InputError as error:
                raise InputError(f"record {number} of {file.name}: {error}") from None
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        start = time.monotonic()
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("storing", total=len(keys))
            new = client.put_many(keys, values, progress=lambda done, _: bar.update(task, completed=done))
        seconds = time.monotonic() - start
        live = len(client)
    if as_json:
        echo_json(records=len(keys), new=new, live_keys=live, seconds=round(seconds, 3))
    else:
        click.echo(f"{len(keys)} records stored, {new} of them new; {live} keys are live")
