"""Where a client keeps what it remembers from run to run, if nobody says where."""

from __future__ import annotations

import os
import re
from pathlib import Path

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


def witness_file(host: str, port: int, root_key: bytes) -> Path | None:
    """Return the file that remembers the map at an address under a key, and make its folder; None without a home.

    The name has a tag that is derived from the key, so that a new key at the same address begins anew.

    Parameters
    ----------
    host : str
        Name or address of the relay's machine.
    port : int
        The relay's TCP port.
    root_key : bytes
        32 secret bytes. The tag does not show them.

    Raises
    ------
    InputError
        If the folder can't be made.

    Reveals
        To whoever can list the folder: which relays the user has used, and which of them under the same key.
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
    tag = WITNESS.derive(root_key).hex()
    return folder / f"{re.sub('[^a-z0-9.-]', '_', host.lower())}-{port}-{tag}.witness"
