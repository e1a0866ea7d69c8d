"""``omap get``, ``omap put``, ``omap delete``: one operation each."""

from __future__ import annotations

import click

from host.client.sync import Client
from host.commands.options import Where, connection, echo_json, shown, typed_bytes
from omap.cells import Cells
from omap.errors import InputError

RAW_HELP = "Keys and values must be exactly as long as the map's; omap.cells is not used."
EPILOG = (
    "KEY is text, or 0x and hexadecimal digits. A key that is no longer than the map's keys is padded with zeros. A "
    "longer key needs a map with 16-byte keys, which stores a keyed hash of it. A value is stored with its length in "
    "front, as the Redis proxy and omap.cells do."
)


class Names:
    """Turns what was typed into keys and values, and back.

    Parameters
    ----------
    client : Client
        Has the parameters and the root key.
    name : bytes
        The key that was typed.
    raw : bool
        Whether keys and values go into the map as they were typed.
    """

    def __init__(self, client: Client, name: bytes, raw: bool) -> None:
        self._cells = None if raw else Cells(client.params, client.settings.root_key)
        self._name = name
        self.key = name if self._cells is None else self._cells.key(name)

    def pack(self, value: bytes) -> bytes:
        """Return what the map stores for a value."""
        return value if self._cells is None else self._cells.pack(self._name, value)

    def unpack(self, cell: bytes) -> bytes:
        """Return the value that the map stores."""
        try:
            return cell if self._cells is None else self._cells.unpack(self._name, cell)
        except InputError as error:
            raise InputError(f"{error} (--raw)") from None


def _tell(ctx: click.Context, as_json: bool, found: bytes | None) -> None:
    if as_json:
        echo_json(found=found is not None, value=None if found is None else shown(found))
    elif found is not None:
        click.echo(shown(found))
    else:
        click.echo("omap: the key is not in the map", err=True)
    if found is None:
        ctx.exit(1)


@click.command(epilog=EPILOG)
@click.argument("key")
@connection
@click.option("--raw", is_flag=True, help=RAW_HELP)
@click.pass_context
def get(
    ctx: click.Context,
    key: str,
    where: Where,
    as_json: bool,
    raw: bool,
) -> None:
    """Print the value of KEY. Exit code 1: KEY is not in the map."""
    name = typed_bytes(key)
    with where.connect() as client:
        names = Names(client, name, raw)
        cell = client.get(names.key)
        value = None if cell is None else names.unpack(cell)
    _tell(ctx, as_json, value)


@click.command(epilog=EPILOG)
@click.argument("key")
@click.argument("value")
@connection
@click.option("--raw", is_flag=True, help=RAW_HELP)
def put(key: str, value: str, where: Where, as_json: bool, raw: bool) -> None:
    """Set KEY to VALUE, text or 0x and hexadecimal digits too."""
    name, content = typed_bytes(key), typed_bytes(value)
    with where.connect() as client:
        names = Names(client, name, raw)
        before = client.put(names.key, names.pack(content))
    if as_json:
        echo_json(new=before is None)
    else:
        click.echo("inserted" if before is None else "overwritten")


@click.command(epilog=EPILOG)
@click.argument("key")
@connection
@click.option("--raw", is_flag=True, help=RAW_HELP)
@click.pass_context
def delete(
    ctx: click.Context,
    key: str,
    where: Where,
    as_json: bool,
    raw: bool,
) -> None:
    """Remove KEY and print its value. Exit code 1: KEY was not in the map."""
    name = typed_bytes(key)
    with where.connect() as client:
        names = Names(client, name, raw)
        cell = client.delete(names.key)
        value = None if cell is None else names.unpack(cell)
    _tell(ctx, as_json, value)
