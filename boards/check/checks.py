"""The checks of a build folder that need no vendor's tools: what it says, and that its parts fit each other.

Each reads the files that stand in the folder, not what a build would write now, and compares them with the one
description of each fact: registers with :mod:`omap.regmap`, ports with the target, and so on. What only a target knows
is asked of the target (:class:`boards.target.Target`).
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from boards.check import noise, probe, registers, verilog_ports
from boards.folder import disk as folders
from boards.folder import manifest
from boards.gateware import entropy, root_key
from boards.target import Plan, Target
from omap.errors import InputError, OmapError


@dataclass(frozen=True)
class Folder:
    """A build folder that is being checked.

    Parameters
    ----------
    path : Path
        Where it is.
    manifest : dict
        What its manifest says.
    targets : mapping
        Name to target, of those that there are.
    """

    path: Path
    manifest: dict[str, Any]
    targets: Mapping[str, Target]

    @cached_property
    def plan(self) -> Plan:
        """What the manifest says that it was made from."""
        return manifest.plan_of(self.manifest, self.targets)

    def text(self, name: str) -> str:
        """Return the text of a file.

        Raises
        ------
        InputError
            If it can't be read.
        """
        try:
            return (self.path / name).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{name} can't be read: {getattr(error, 'strerror', None) or 'it is no text'}") from None

    @property
    def top(self) -> str:
        """The Verilog of the top."""
        return self.text(f"{self.plan.target.module}.v")


@dataclass(frozen=True)
class Check:
    """One check: its name, what holds if it passes, and what finds the problems."""

    name: str
    promise: str
    problems: Callable[[Folder], Iterable[str]]


@dataclass(frozen=True)
class Result:
    """What a check found; no problems if it passed."""

    check: Check
    problems: tuple[str, ...]


def check(path: Path, targets: Mapping[str, Target]) -> Iterator[Result]:
    """Run every check on a build folder; yield each result when it is there.

    Parameters
    ----------
    path : Path
        The folder.
    targets : mapping
        Name to target, of those that there are.

    Raises
    ------
    InputError
        If it is no build folder.
    """
    folder = Folder(path, manifest.read(path), targets)
    for one in CHECKS:
        try:
            problems = tuple(one.problems(folder))
        except OmapError as error:  # the check can't be made, so it can't pass
            problems = (str(error),)
        yield Result(one, problems)


def _files(folder: Folder) -> Iterator[str]:
    known = folder.manifest["files"]
    for name, entry in known.items():
        try:
            content = (folder.path / name).read_bytes()
        except OSError as error:
            yield f"{name} can't be read: {error.strerror}"
            continue
        if not isinstance(entry, dict) or manifest.digest(content) != entry.get("sha256"):
            yield f"{name} is not the file that was built: build the folder again, or say why it was changed"
    for name in folders.others(folder.path, known):
        yield f"{name} is not in the manifest: no build made it"


def _claims(folder: Folder) -> Iterator[str]:
    for name, right in manifest.facts(folder.plan).items():
        said = folder.manifest.get(name)
        if isinstance(said, dict) and isinstance(right, dict):
            said, right = (
                {key: side.get(key) for key in said | right if said.get(key) != right.get(key)}
                for side in (said, right)
            )
        if said != right and name not in ("params", "digest", "registers"):
            yield f"the manifest says {name} = {said!r}; this target and map have {right!r}"


def _ports(folder: Folder) -> list[str]:
    target = folder.plan.target
    return verilog_ports.differences(verilog_ports.ports(folder.top, target.module), target.ports(folder.plan.params))


def _registers(folder: Folder) -> Iterator[str]:
    listed = folder.manifest.get("registers") or []
    found = {str(entry.get("name")): (int(entry.get("offset", -1)), str(entry.get("access"))) for entry in listed}
    yield from registers.differences("the manifest", found)
    yield from registers.differences("README.md", registers.read_table(folder.text("README.md")))
    yield from registers.driver_problems()


def _scripts(folder: Folder) -> list[str]:
    return folder.plan.target.script_problems(folder.path, folder.plan)


def _answers(folder: Folder) -> list[str]:
    return probe.problems(folder.top, folder.plan.identity)


def _paths(folder: Folder) -> list[str]:
    if not folder.plan.target.hbm_private:
        return []
    # SEC_CM: BUILD.HBM.PROVEN -- on the text that is built, not on what it was made from
    return folder.plan.target.path_problems(folder.top, folder.plan)


def _noise(folder: Folder) -> Iterator[str]:
    # SEC_CM: BUILD.NOISE.RINGS -- by nothing in the file itself, nor by anything beside it
    yield from noise.problems(folder.text(entropy.FILE))
    there = [name for name in (*folder.manifest["files"], folders.SECRET) if (folder.path / name).exists()]
    for name in there:
        if name != entropy.FILE and noise.SIMULATOR in folder.text(name):
            yield f"{name} names {noise.SIMULATOR}, which is for the simulator to set and turns the noise into none"


def _secret(folder: Folder) -> Iterator[str]:
    for name in sorted(path.name for path in folder.path.rglob("*.v")):
        if name == Path(folders.SECRET).name and not (folder.path / folders.SECRET).exists():
            yield f"{name} stands outside {folders.SECRET_FOLDER}/"
    for name in folder.manifest["files"]:
        if f"module {root_key.MODULE}(" in (folder.text(name) if name.endswith(".v") else ""):
            yield f"{name} holds a module {root_key.MODULE}: the root key belongs into {folders.SECRET} alone"
    path = folder.path / folders.SECRET
    if not path.exists():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        # SEC_CM: BUILD.KEY.OWNER -- a key that others can read is no secret
        yield f"{folders.SECRET} has mode {mode:04o}, so that others can use it: chmod 600, and think of a new key"
    yield from verilog_ports.differences(
        verilog_ports.ports(path.read_text("utf-8"), root_key.MODULE), {root_key.PORT: ("output", root_key.BITS)}
    )


CHECKS: tuple[Check, ...] = (
    Check("files", "every file is the one that was built, and there is no other", _files),
    Check("claims", "the manifest says what this target and this map are", _claims),
    Check("ports", "the top has the ports of the port table", _ports),
    Check(
        "scripts", "scripts and constraints run without the tools, and do what this target and this map need", _scripts
    ),
    Check("registers", "manifest, README and driver have the registers where they are", _registers),
    Check(
        "answers", "the registers in the Verilog read and write as described, for this map and these claims", _answers
    ),
    Check(
        "paths",
        "where HBM is said to be private, in the Verilog it meets register BAR and host memory nowhere but in the map",
        _paths,
    ),
    Check("noise", "what is synthesised takes its noise from ring oscillators, whatever macros are set", _noise),
    Check("secret", "the root key is in no file but its own, which its owner alone can read", _secret),
)
"""In the order in which they are made."""
