"""``omap get``, ``omap put``, ``omap delete``: one operation each, after one that reads the register of databases."""

from __future__ import annotations

import time
from dataclasses import dataclass

import click

from host.client.sync import Client
from host.commands.options import HEX, Where, connection, echo_json, echo_value, gathered, json_value, typed_bytes
from omap.cells import PLAIN, Cells, Stamp
from omap.databases import Register, has_register, register_key
from omap.errors import DeniedError, InputError

RAW_HELP = "Keys and values must be exactly as long as the map's; omap.cells is not used."
EPILOG = (
    "KEY and VALUE are text, also if they start with 0x; --hex makes them hexadecimal digits. After --, a text "
    "may start with a dash. A key that is no longer than the map's keys is padded with zeros. A longer key needs a map "
    "with 16-byte keys, which stores a keyed hash of it. A value is stored with its length in front, as the Redis "
    "proxy and omap.cells do."
)


def read_generation(client: Client, otherwise: str) -> int:
    """Return the generation of database 0, which the Redis proxy raises to empty it.

    Parameters
    ----------
    client : Client
        Reads it.
    otherwise : str
        What to do if the client may not read.

    Reveals
        One operation, on a map that has a register.

    Raises
    ------
    DeniedError
        If the client may not read.
    """
    if not has_register(client.params):
        return 0
    try:
        cell = client.get(register_key(client.params, client.settings.client))
    except DeniedError:
        raise DeniedError(
            "this client may not read, and so can't know how often its database was emptied, which is stored with each "
            f"value: {otherwise}"
        ) from None
    return Register.read(client.params, cell).generations[0]


class Names:
    """Turns what was typed into keys and values, and back.

    Parameters
    ----------
    client : Client
        Has the parameters and the key of names.
    name : bytes
        The key that was typed.
    raw : bool
        Whether keys and values go into the map as they were typed.
    command : str
        What is done with them, for messages.
    """

    def __init__(self, client: Client, name: bytes, raw: bool, command: str) -> None:
        self._cells = None if raw else Cells(client.params, client.settings.client)
        self._name = name
        otherwise = f"use a client that may read, or `omap {command} --raw`"
        self._stamp = PLAIN if raw else Stamp(generation=read_generation(client, otherwise))
        self.key = name if self._cells is None else self._cells.key(name)

    def pack(self, value: bytes) -> bytes:
        """Return what the map stores for a value."""
        return value if self._cells is None else self._cells.pack(self._name, value, self._stamp)

    def unpack(self, cell: bytes | None) -> bytes | None:
        """Return the value that the map stores, or None if there is none, or it is expired or stale."""
        if cell is None or self._cells is None:
            return cell
        try:
            value, stamp = self._cells.open(self._name, cell)
        except InputError as error:
            raise InputError(f"{error} (--raw)") from None
        return None if stamp.is_absent(int(time.time() * 1000), self._stamp.generation) else value

    def is_new(self, before: bytes | None) -> bool:
        """Return whether a key had no value, given what the map held for it."""
        try:
            return self.unpack(before) is None
        except InputError:
            return False


@dataclass(frozen=True)
class Form:
    """How keys and values are typed, as the options say.

    Parameters
    ----------
    raw : bool
        Whether they go into the map as they were typed.
    as_hex : bool
        Whether they are hexadecimal digits.
    """

    raw: bool
    as_hex: bool

    def names(self, client: Client, key: str, command: str) -> Names:
        """Return what turns the key that was typed for a command, and its values, into those of the map."""
        return Names(client, typed_bytes(key, self.as_hex, "key"), self.raw, command)


FORM = gathered("form", Form, HEX, click.option("--raw", is_flag=True, help=RAW_HELP))


@click.command(epilog=EPILOG)
@click.argument("key")
@connection
@FORM
@click.pass_context
def get(ctx: click.Context, key: str, where: Where, as_json: bool, form: Form) -> None:
    """Print the value of KEY: its bytes as they were stored, and no newline. Exit code 1: KEY is not in the map.

    A terminal gets a newline too, and escapes in place of control characters.
    """
    with where.connect() as client:
        if not client.may_read:
            raise DeniedError("this client may not read: use a client that may")
        names = form.names(client, key, "get")
        value = names.unpack(client.get(names.key))
    _tell(ctx, as_json, form, value)


@click.command(epilog=EPILOG)
@click.argument("key")
@click.argument("value")
@connection
@FORM
def put(key: str, value: str, where: Where, as_json: bool, form: Form) -> None:
    """Set KEY to VALUE, and print whether KEY was in the map, if the client may read."""
    content = typed_bytes(value, form.as_hex, "value")
    with where.connect() as client:
        names = form.names(client, key, "put")
        before = client.put(names.key, names.pack(content))
        new = names.is_new(before) if client.may_read else None
    if as_json:
        echo_json(new=new)
    else:
        click.echo("stored" if new is None else "inserted" if new else "overwritten")


@click.command(epilog=EPILOG)
@click.argument("key")
@connection
@FORM
@click.pass_context
def delete(ctx: click.Context, key: str, where: Where, as_json: bool, form: Form) -> None:
    """Remove KEY and print its value, as `omap get` does. Exit code 1: KEY was not in the map.

    A client that may not read is told neither.
    """
    with where.connect() as client:
        names = form.names(client, key, "delete")
        value = names.unpack(client.delete(names.key))
        told = client.may_read
    if told:
        _tell(ctx, as_json, form, value)
    elif as_json:
        echo_json(found=None, **json_value(None))
    else:
        click.echo("removed, if it was there")


def _tell(ctx: click.Context, as_json: bool, form: Form, found: bytes | None) -> None:
    if as_json:
        echo_json(found=found is not None, **json_value(found))
    elif found is not None:
        echo_value(found, form.as_hex)
    else:
        click.echo("omap: the key is not in the map", err=True)
    if found is None:
        ctx.exit(1)
