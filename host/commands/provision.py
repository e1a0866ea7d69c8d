"""``omap provision``: a root key in a file, or what a client holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from host.commands.options import KEY_FILE_VARIABLE, ROOT_FILE_VARIABLE, echo_json, gathered
from host.keyfile import read_root_file, write_client_file, write_root_file
from omap.credentials import Credential, Right, provision
from omap.errors import InputError

RIGHTS = {right.name.lower(): right for right in Right if right.name}


@dataclass(frozen=True)
class Client:
    """Who a client is and what it may do, as the options say.

    Parameters
    ----------
    client : str or None
        Its name; None for a root key.
    rights : str or None
        Words of what it may do, with commas between them; None for all.
    prefix : str or None
        What its keys begin with, in hexadecimal digits; None for nothing.
    root : Path or None
        Root file of the device.
    """

    client: str | None
    rights: str | None
    prefix: str | None
    root: Path | None

    def credential(self) -> Credential:
        """Return its credential.

        Raises
        ------
        InputError
            If a part is none that a credential can have.
        """
        words = [word.strip() for word in (",".join(RIGHTS) if self.rights is None else self.rights).split(",")]
        if unknown := [word for word in words if word not in RIGHTS]:
            raise InputError(f"{unknown[0]!r} is no right: --rights takes {', '.join(RIGHTS)}, a comma between them")
        rights = Right(0)
        for word in words:
            rights |= RIGHTS[word]
        try:
            prefix = bytes.fromhex((self.prefix or "").removeprefix("0x"))
        except ValueError:
            raise InputError(f"--prefix takes pairs of hexadecimal digits, not {self.prefix!r}") from None
        return Credential(rights, prefix, (self.client or "").encode("utf-8", "surrogateescape"))

    def check_alone(self) -> None:
        """Refuse options of a client where a root key is made, and a client without a name or a root file.

        Raises
        ------
        InputError
            Says which option is missing or too many.
        """
        given = [f"--{name}" for name in ("rights", "prefix") if getattr(self, name) is not None]
        if click.get_current_context().get_parameter_source("root") is ParameterSource.COMMANDLINE:
            given.append("--root")  # as a variable it is there for all commands
        if self.client is None and given:
            raise InputError(f"{given[0]} is for a client: name it with --client, or leave {given[0]} out")
        if self.client == "":
            raise InputError("the name of the client is empty, as that of another may be: give --client a name")
        if self.client is not None and self.root is None:
            raise InputError("the key of a client is derived from a root key: give its file with --root")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@gathered(
    "wanted",
    Client,
    click.option("--client", metavar="NAME", help="Write what the client of this name holds, not a root key."),
    click.option("--rights", help=f"What the client may do, of {','.join(RIGHTS)}.  [default: {','.join(RIGHTS)}]"),
    click.option("--prefix", metavar="HEX", help="The client reaches only keys that begin with these bytes."),
    click.option(
        "--root",
        type=click.Path(path_type=Path),
        envvar=ROOT_FILE_VARIABLE,
        show_envvar=True,
        help="The root file that the device has.",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(file: Path, wanted: Client, as_json: bool) -> None:
    """Write a key to FILE, which its owner alone can read. FILE must not exist.

    Without --client it is a fresh root key, for the device alone: the card, or the model that stands for one. With
    --client it is the key of a client, which is derived from a root key. Each client gets a file of its own. The device
    needs no list of clients.
    """
    wanted.check_alone()
    if wanted.client is None:
        write_root_file(file)
        if as_json:
            echo_json(key_file=str(file))
        else:
            click.echo(f"{file} holds a new root key: give it to `omap serve`, and make a key for each client from it")
        return
    credential = wanted.credential()
    assert wanted.root is not None
    write_client_file(file, provision(read_root_file(wanted.root), credential))
    rights = [name for name, right in RIGHTS.items() if right in credential.rights]
    if as_json:
        echo_json(key_file=str(file), client=wanted.client, rights=rights, prefix=credential.prefix.hex())
    else:
        reach = f" keys that begin with {credential.prefix.hex()}" if credential.prefix else ""
        click.echo(
            f"{file} holds the key of a client that may {' and '.join(rights)}{reach}: give it with --key-file, or set "
            f"{KEY_FILE_VARIABLE}"
        )
