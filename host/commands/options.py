"""What the subcommands that use a map have in common: where it is, and how keys and values are typed and shown."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from host.client.settings import DEFAULT_URL, Settings
from host.client.sync import Client
from omap.errors import InputError

KEY_FILE_VARIABLE = "OMAP_KEY_FILE"


@dataclass(frozen=True)
class Where:
    """What the options of :func:`connection` say.

    Parameters
    ----------
    url : str
        Address of the relay.
    options : dict
        Options of :func:`omap.connect`.
    """

    url: str
    options: dict[str, Any]

    def settings(self, **more: Any) -> Settings:
        """Return the settings of a client, with further options."""
        return Settings.from_url(self.url, **self.options, **more)

    def connect(self) -> Client:
        """Return a connected client."""
        return Client(self.settings())


def connection(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how to connect; the command gets them as ``where``, and ``as_json``."""

    @functools.wraps(command)
    def wrapped(
        *arguments: Any,
        url: str,
        key_file: Path,
        witness: Path | None,
        timeout: float,
        tls_ca: Path | None,
        **further: Any,
    ) -> Any:
        options = {"key_file": key_file, "witness": witness, "timeout": timeout, "tls": tls_ca}
        return command(*arguments, where=Where(url, options), **further)

    options = (
        click.option("--url", default=DEFAULT_URL, show_default=True, help="Where the relay is."),
        click.option(
            "--key-file",
            type=click.Path(path_type=Path),
            envvar=KEY_FILE_VARIABLE,
            show_envvar=True,
            required=True,
            help="The root key, as `omap provision` wrote it.",
        ),
        click.option(
            "--witness",
            type=click.Path(path_type=Path),
            help="A file that remembers the map from run to run: an earlier state or another map is noticed.",
        ),
        click.option("--timeout", type=float, default=30.0, show_default=True, help="Seconds to wait for an answer."),
        click.option("--tls-ca", type=click.Path(path_type=Path), help="Speak TLS; certificates to trust (PEM)."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    )
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def typed_bytes(text: str) -> bytes:
    """Return what somebody typed: the bytes of ``0x`` and hexadecimal digits, else those of the text in UTF-8.

    Raises
    ------
    InputError
        If something that starts with 0x is not hexadecimal.
    """
    if not text.startswith("0x"):
        return text.encode()
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        raise InputError(
            "what starts with 0x must go on with pairs of hexadecimal digits; to mean text that starts with 0x, "
            "write its bytes in hexadecimal"
        ) from None


def shown(value: bytes) -> str:
    """Return bytes as text that :func:`typed_bytes` reads back: as they are if printable, else 0x and digits."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "0x" + value.hex()
    return text if text.isprintable() and not text.startswith("0x") else "0x" + value.hex()


def echo_json(**facts: object) -> None:
    """Print facts as JSON."""
    click.echo(json.dumps(facts, indent=2))
