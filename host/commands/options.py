"""What the subcommands that use a map have in common: where it is, and how keys and values are typed and shown."""

from __future__ import annotations

import functools
import json
import string
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from host.client.address import DEFAULT_URL
from omap.commands.numbers import Real, Whole
from omap.errors import InputError

if TYPE_CHECKING:
    from host.client.settings import Settings
    from host.client.sync import Client

HEX = click.option("--hex", "as_hex", is_flag=True, help="Keys and values are hexadecimal digits, not text.")
"""The option of a command that takes or prints keys or values."""

KEY_FILE_VARIABLE = "OMAP_KEY_FILE"
"""Names the file of a client."""

ROOT_FILE_VARIABLE = "OMAP_ROOT_FILE"
"""Names the root file of a device."""

PORT = Whole(0, 65535, what="port")
"""The type of a TCP port; 0 is any."""

TIME = Real(above=0)
"""The type of a time in seconds."""

Command = Callable[..., Any]
"""The function of a command, or what makes one of another."""


def gathered(
    name: str, kind: type[Any], *options: Callable[..., Any]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds options to a command, which gets them as one argument.

    Parameters
    ----------
    name : str
        Name of the argument.
    kind : dataclass
        What the argument is made of: it has a field for each option.
    *options : callable
        What ``click.option`` returns.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapped(*arguments: Any, **given: Any) -> Any:
            own = {field.name: given.pop(field.name) for field in fields(kind)}
            return command(*arguments, **{name: kind(**own)}, **given)

        for option in reversed(options):
            wrapped = option(wrapped)
        return wrapped

    return decorate


@dataclass(frozen=True)
class Where:
    """Where a map is, as the options of :func:`connection` say.

    Parameters
    ----------
    url : str
        Address of the relay.
    key_file : Path
        File of the client.
    witness : Path or None
        File that remembers the map from run to run; None for the file that belongs to this address and key.
    no_witness : bool
        Whether to go without.
    accept : str or None
        Map that may take the place of the one that is remembered.
    timeout : float
        Seconds to wait for an answer.
    tls_ca : Path or None
        Certificates to trust; None for a connection without TLS.
    """

    url: str
    key_file: Path
    witness: Path | None
    no_witness: bool
    accept: str | None
    timeout: float
    tls_ca: Path | None

    def settings(self) -> Settings:
        """Return the settings of a client.

        Raises
        ------
        InputError
            If options contradict each other, or one can't be used.
        """
        # here, because `omap serve` loads this module and must load no code that derives keys (RELAY.KEY.ABSENT)
        from host.client.settings import Settings
        from host.client.witness import ANY

        if self.no_witness and self.witness is not None:
            raise InputError("--witness and --no-witness exclude each other: give one of them")
        if self.no_witness and self.accept not in (None, ANY):
            raise InputError("with --no-witness no map is remembered, so that there is none to accept: leave one out")
        return Settings.from_url(
            self.url,
            key_file=self.key_file,
            witness=None if self.no_witness else self.witness or True,
            accept=self.accept,
            timeout=self.timeout,
            tls=self.tls_ca,
        )

    def connect(self) -> Client:
        """Return a connected client."""
        from host.client.sync import Client

        return Client(self.settings())


def connection(command: Command) -> Command:
    """Add the options that say how to connect. The command gets them as ``where``, and ``as_json``."""
    command = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
    return gathered(
        "where",
        Where,
        click.option("--url", default=DEFAULT_URL, show_default=True, help="Where the relay is."),
        click.option(
            "--key-file",
            type=click.Path(path_type=Path),
            envvar=KEY_FILE_VARIABLE,
            show_envvar=True,
            required=True,
            help="The key of this client, as `omap provision --client` wrote it.",
        ),
        click.option(
            "--witness",
            type=click.Path(path_type=Path),
            help="A file that remembers the map from run to run: an earlier state or another map is noticed.  "
            "[default: one for this address and key in ~/.local/state/omap]",
        ),
        click.option("--no-witness", is_flag=True, help="Remember nothing: an emptied map looks like an empty one."),
        click.option(
            "--accept",
            metavar="ID",
            help="Take this map in place of the one that is remembered, as its refusal names it; `any` for every map.",
        ),
        click.option("--timeout", type=TIME, default=30.0, show_default=True, help="Seconds to wait for an answer."),
        click.option("--tls-ca", type=click.Path(path_type=Path), help="Speak TLS; certificates to trust (PEM)."),
    )(command)


def typed_bytes(text: str, as_hex: bool, what: str) -> bytes:
    """Return what somebody typed as bytes: text in UTF-8, or hexadecimal digits, which 0x may stand before.

    Parameters
    ----------
    text : str
        What was typed.
    as_hex : bool
        Whether it is hexadecimal digits.
    what : str
        What it is, for messages: ``key`` or ``value``.

    Raises
    ------
    InputError
        If it is not hexadecimal and should be.
    """
    if not as_hex:
        return text.encode("utf-8", "surrogateescape")  # bytes that are no UTF-8 stay as they were typed
    digits = text.removeprefix("0x")
    if len(digits) % 2 and set(digits) <= set(string.hexdigits):
        raise InputError(
            f"--hex takes pairs of hexadecimal digits, and the {what} has {len(digits)}, which is odd: write 0 before "
            "a digit that stands alone, or leave out --hex to mean text"
        )
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise InputError(
            f"--hex takes pairs of hexadecimal digits, and the {what} holds characters that are none: mend it, or "
            "leave out --hex to mean text"
        ) from None


def echo_value(value: bytes, as_hex: bool) -> None:
    """Print a value: its bytes as they are and nothing else; to a terminal what can do no harm there; or in hex."""
    if as_hex:
        click.echo(value.hex())
    elif sys.stdout.isatty():
        text = value.decode(errors="backslashreplace")
        click.echo("".join(sign if sign.isprintable() or sign in "\n\t" else ascii(sign)[1:-1] for sign in text))
    else:
        click.echo(value, nl=False)


def json_value(value: bytes | None) -> dict[str, str | None]:
    """Return a value for JSON: its text, or null if it is no UTF-8; and always its bytes, in hex."""
    if value is None:
        return {"value": None, "hex": None}
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return {"value": None, "hex": value.hex()}
    return {"value": text, "hex": value.hex()}


def echo_json(**facts: object) -> None:
    """Print facts as JSON."""
    click.echo(json.dumps(facts, indent=2))
