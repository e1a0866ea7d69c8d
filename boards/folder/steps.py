"""What the steps of all targets share: where they write, how they call Vivado, and what to say without a root key.

Steps are data (:class:`boards.target.Step`). README, Makefile and ``omap board`` are made from the same steps, so that
they say and do the same. Nothing here was tried with the vendor's tools: unverified on a card.
"""

from __future__ import annotations

from boards.folder import disk as folders

# SEC_CM: BUILD.OUT.OWNER -- whatever the umask, and whoever made the folder
PREPARE = f"install -d -m 700 {folders.OUT}"
"""Comes before the first step; the tools write there, and what they write may hold the root key."""

DEVICE = "BDF"
"""Stands for the card's PCIe address where none is given."""

DATA = "../data"
"""The data folder, as seen from the build folder: beside it, because a build folder holds what was built alone."""


def vivado(script: str, name: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a Tcl script."""
    logs = ("-nojournal", "-log", f"{folders.OUT}/{name}.vivado.log", "-tempDir", folders.OUT)
    return ("vivado", "-mode", "batch", *logs, "-source", script, *(("-tclargs", *arguments) if arguments else ()))


def device_option(device: str | None) -> tuple[str, ...]:
    """Return the option that names a card to a program."""
    return ("--device", device or DEVICE)


def data_option(journal: bool) -> tuple[str, ...]:
    """Return the option by which ``omap serve`` keeps the map of a card with a journal."""
    return ("--data-dir", DATA) if journal else ()


def no_key() -> str:
    """Return what to say where the root key is missing."""
    return (
        f"{folders.SECRET} is missing, the root key as a constant: "
        "run `omap board build` again with --key-file, into the same folder"
    )
