"""Where a client keeps what it remembers from run to run, if nobody says where."""

from __future__ import annotations

import os
from pathlib import Path

from host.client.address import Address
from omap.credentials import ClientKey
from omap.errors import InputError
from omap.kdf import WITNESS


def state_folder() -> Path | None:
    """Return the folder for what omap remembers for this user; None if the user has no home directory.

    The folder is ``omap`` in ``$XDG_STATE_HOME``, or in ``~/.local/state`` if that variable holds no absolute path.
    """
    given, home = os.environ.get("XDG_STATE_HOME", ""), os.environ.get("HOME", "")
    if os.path.isabs(given):
        return Path(given) / "omap"
    if os.path.isabs(home) and os.path.isdir(home):
        return Path(home) / ".local" / "state" / "omap"
    return None


def witness_file(where: Address, client: ClientKey) -> Path | None:
    """Return the file that remembers the map at an address for a client, and make its folder; None without a home.

    The name has a tag that is derived from the key, so that a new key at the same address begins anew.

    Parameters
    ----------
    where : Address
        Where the relay is.
    client : ClientKey
        Who the client is. The tag does not show its key.

    Raises
    ------
    InputError
        If the folder can't be made.

    Reveals
        To whoever can list the folder: which relays the user has used, and which of them as the same client.
    """
    folder = state_folder()
    if folder is None:
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the folder {folder} for witness files can't be made: {error.strerror}; name a file of your own "
            "(--witness FILE), or go without (--no-witness)"
        ) from None
    tag = WITNESS.derive(client.key).hex()
    return folder / f"{where.label}-{tag}.witness"
