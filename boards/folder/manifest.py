"""``manifest.json`` of a build folder: what it was made from, what it claims, and the digest of every file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from boards.folder.registers import listed
from boards.target import Plan, Target
from omap.cli import DISTRIBUTION
from omap.errors import InputError, ParamsError
from omap.params import Params
from rtl.synth.generate import TOOLS

NAME = "manifest.json"
KIND = "omap board build"
VERSION = 1
"""Of the manifest's shape."""


def digest(content: bytes) -> str:
    """Return the digest by which a manifest knows a file."""
    return hashlib.sha256(content).hexdigest()


def facts(plan: Plan) -> dict[str, Any]:
    """Return the manifest without files and tools: all that follows from the plan alone."""
    target = plan.target
    return {
        "kind": KIND,
        "version": VERSION,
        "target": target.name,
        "board": target.board,
        "top": target.module,
        "params": plan.params.to_dict(),
        "digest": plan.params.digest.hex(),
        "engine": plan.engine.to_dict(),
        "claims": plan.claims,
        "encrypted": plan.encrypted,
        "identity": plan.identity,
        "registers": listed(),
    }


def text(plan: Plan, files: Mapping[str, bytes]) -> str:
    """Return the manifest of a folder with these files, beside the manifest itself and secrets."""
    tools = {name: metadata.version(name) for name in (DISTRIBUTION, *TOOLS)}
    described = {name: {"sha256": digest(files[name])} for name in sorted(files)}
    return json.dumps(facts(plan) | {"tools": tools, "files": described}, indent=1) + "\n"


def read(folder: Path) -> dict[str, Any]:
    """Return the manifest of a build folder.

    Raises
    ------
    InputError
        If the folder holds none of ours.
    """
    path = folder / NAME
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{folder} is no build folder: it has no {NAME}; `omap board build` makes one") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}): build the folder again") from None
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise InputError(f"{path} is the manifest of something else, not of an `{KIND}`")
    if found.get("version") != VERSION or not isinstance(found.get("files"), dict):
        raise InputError(f"{path} has another shape than this version knows ({VERSION}): build the folder again")
    return found


def plan_of(manifest: Mapping[str, Any], targets: Mapping[str, Target]) -> Plan:
    """Return the plan that a manifest tells of.

    Parameters
    ----------
    manifest : mapping
        As :func:`read` returns it.
    targets : mapping
        Name to target, of those that there are.

    Raises
    ------
    InputError
        If it names no target of ours.
    ParamsError
        If its parameters are none, or not those of its digest.
    """
    target = targets.get(str(manifest.get("target")))
    if target is None:
        raise InputError(f"the manifest's target is {manifest.get('target')!r}; there are {', '.join(targets)}")
    params = Params.from_dict(manifest.get("params") or {})
    if params.digest.hex() != manifest.get("digest"):
        raise ParamsError(
            f"the manifest's parameters have the digest {params.digest.hex()}, it says {manifest.get('digest')}"
        )

    def true(part: str, name: str) -> bool:
        said = manifest.get(part)
        return isinstance(said, dict) and said.get(name) is True

    plain = target.fusable and manifest.get("encrypted") is False
    return Plan(target, params, true("claims", "attested"), plain, true("engine", "journal"))
