"""What a build folder holds, made from its plan alone: no dates, no paths of this machine."""

from __future__ import annotations

from pathlib import Path

from boards.folder import disk as folders
from boards.folder import makefile, manifest, readme
from boards.gateware import entropy, root_key
from boards.target import Plan
from host.keyfile import read_root_file
from rtl.synth.verilog import to_verilog


def contents(plan: Plan) -> dict[str, bytes]:
    """Return every file of a build folder by name, the manifest among them, without the secret.

    Raises
    ------
    ParamsError
        If no card can hold the map, or the target can't be what the plan claims.
    """
    target = plan.target
    texts = {
        f"{target.module}.v": to_verilog(plan.top(), target.module),
        entropy.FILE: entropy.source_text(entropy.FILE),
        **target.scripts(plan),
        "Makefile": makefile.text(plan),
        "README.md": readme.text(plan),
    }
    files = {name: text.encode() for name, text in sorted(texts.items())}
    return files | {manifest.NAME: manifest.text(plan, files).encode()}


def build(plan: Plan, folder: Path, key_file: Path | None) -> list[str]:
    """Write the build folder of a plan; return what its user should know.

    Parameters
    ----------
    plan : Plan
        What to build.
    folder : Path
        Where to.
    key_file : Path or None
        The root key that the card will carry, as :mod:`host.keyfile` has it.

    Raises
    ------
    InputError
        If the key file or the folder won't do.
    ParamsError
        As :func:`contents`.
    """
    secret = None if key_file is None else root_key.verilog(read_root_file(key_file)).encode()
    folders.check(folder, secret)  # before the minutes that the Verilog takes
    return folders.write(folder, contents(plan), secret)
