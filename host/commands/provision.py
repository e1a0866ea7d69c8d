"""``omap provision``: a root key in a file."""

from __future__ import annotations

from pathlib import Path

import click

from host.commands.options import KEY_FILE_VARIABLE, echo_json
from host.keyfile import write_key_file


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(file: Path, as_json: bool) -> None:
    """Write a fresh root key to FILE, which its owner alone can read. FILE must not exist.

    Clients and the device need the same key. The relay's machine must not have it, unless a model stands for the card
    there.
    """
    write_key_file(file)
    if as_json:
        echo_json(key_file=str(file))
    else:
        click.echo(f"{file} holds a new root key: give it with --key-file, or set {KEY_FILE_VARIABLE}")
