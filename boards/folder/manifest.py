"""``manifest.json`` of a build folder: what it was made from, what it claims, and the digest of every file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from boards.folder.registers import listed
from boards.targets import TARGETS, Target
from omap.cli import DISTRIBUTION
from omap.errors import InputError, ParamsError
from omap.params import Params
from omap.regmap import identity
from rtl.synth.generate import TOOLS

NAME = "manifest.json"
KIND = "omap board build"
VERSION = 1
"""Of the manifest's shape."""


def digest(content: bytes) -> str:
    """Return the digest by which a manifest knows a file."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Plan:
    """What a build folder is made from, and nothing else: the same plan gives the same bytes.

    Parameters
    ----------
    target : Target
        Which board, in which way.
    params : Params
        The map.
    attested : bool
        Whether the user says that the card is fused to boot this bitstream alone.
    plain : bool
        Whether the bitstream is left unencrypted, where it could be encrypted.

    Raises
    ------
    ParamsError
        If the target can't be like that, or has no room for the map's pages.
    """

    target: Target
    params: Params
    attested: bool = False
    plain: bool = False

    def __post_init__(self) -> None:
        if not self.target.hbm_private and (self.attested or self.plain):
            raise ParamsError(
                f"{self.target.name} is neither attested nor encrypted: its host loads the program; leave --attested "
                "and --plain out, or take a direct target"
            )
        if self.attested and self.plain:
            raise ParamsError("an attested card boots encrypted bitstreams alone: leave --attested or --plain out")
        self.target.check(self.params)

    @property
    def encrypted(self) -> bool:
        """Whether the scripts encrypt the bitstream."""
        return self.target.hbm_private and not self.plain

    @property
    def options(self) -> tuple[str, ...]:
        """The options of ``omap board build`` that say the same, beside the map's."""
        return (*(["--attested"] if self.attested else []), *(["--plain"] if self.plain else []))

    @property
    def claims(self) -> dict[str, bool]:
        """What register MODE will say."""
        return {"hbm_private": self.target.hbm_private, "attested": self.attested, "hardware": True}

    def facts(self) -> dict[str, Any]:
        """Return the manifest without files and tools: all that follows from the plan alone."""
        config = self.target.config(self.params)
        engine = {field.name: getattr(config, field.name) for field in fields(config) if field.name != "params"}
        return {
            "kind": KIND,
            "version": VERSION,
            "target": self.target.name,
            "board": self.target.board,
            "top": self.target.module,
            "params": self.params.to_dict(),
            "digest": self.params.digest.hex(),
            "engine": engine,
            "claims": self.claims,
            "encrypted": self.encrypted,
            "identity": identity(self.params, **self.claims),
            "registers": listed(),
        }

    def manifest(self, files: Mapping[str, bytes]) -> bytes:
        """Return the manifest of a folder with these files, beside the manifest itself and secrets."""
        tools = {name: metadata.version(name) for name in (DISTRIBUTION, *TOOLS)}
        described = {name: {"sha256": digest(files[name])} for name in sorted(files)}
        return (json.dumps(self.facts() | {"tools": tools, "files": described}, indent=1) + "\n").encode()


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


def plan_of(manifest: Mapping[str, Any]) -> Plan:
    """Return the plan that a manifest tells of.

    Raises
    ------
    InputError
        If it names no target of ours.
    ParamsError
        If its parameters are none, or not those of its digest.
    """
    target = TARGETS.get(str(manifest.get("target")))
    if target is None:
        raise InputError(f"the manifest's target is {manifest.get('target')!r}; there are {', '.join(TARGETS)}")
    params = Params.from_dict(manifest.get("params") or {})
    if params.digest.hex() != manifest.get("digest"):
        raise ParamsError(
            f"the manifest's parameters have the digest {params.digest.hex()}, it says {manifest.get('digest')}"
        )
    claims = manifest.get("claims")
    attested = isinstance(claims, dict) and claims.get("attested") is True
    return Plan(target, params, attested, plain=target.hbm_private and manifest.get("encrypted") is False)
