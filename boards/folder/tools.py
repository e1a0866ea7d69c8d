"""Runs the vendor's tools in a build folder, if this machine has them; otherwise says what to run elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from boards.folder import disk as folders
from boards.folder import steps
from boards.target import Step
from omap.errors import InputError, OmapError

OLDER = {"xrt-smi": "xbutil"}
"""Programs and what they were called before."""


class ToolError(OmapError):
    """One of the vendor's tools failed, or did not make what it should."""


def missing(wanted: Iterable[Step]) -> list[str]:
    """Return the programs of some steps that are not on PATH, each once."""
    programs = dict.fromkeys(step.command[0] for step in wanted if not step.root)
    return [program for program in programs if _find(program) is None]


def run(folder: Path, number: int, step: Step, echo: Callable[[str], object], environment: Mapping[str, str]) -> None:
    """Run a step in a folder; what it prints goes to ``echo``, line by line, and to a file.

    Parameters
    ----------
    folder : Path
        The build folder.
    number : int
        Of the step, for the file's name.
    step : Step
        What to run.
    echo : callable
        Takes a line.
    environment : mapping
        Variables that the tool gets beside those of this process.

    Raises
    ------
    InputError
        If the root key is missing, which the step needs.
    ToolError
        If the tool is missing, fails, or ends well without having made its files.
    """
    if step.key and not (folder / folders.SECRET).exists():
        raise InputError(f"{folder}: {steps.no_key()}")
    program = _find(step.command[0])
    if program is None:
        raise ToolError(f"{step.command[0]} is not on PATH: source the settings of its installation in this shell")
    out = folder / folders.OUT
    # SEC_CM: BUILD.OUT.OWNER -- it may have been there
    out.mkdir(mode=0o700, exist_ok=True)
    out.chmod(0o700)
    log = out / f"{number}-{Path(step.command[0]).name}.log"
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            [program, *step.command[1:]],
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            file.flush()
            echo(line.rstrip("\n"))
    if process.returncode:
        raise ToolError(f"`{step.shown}` failed with exit code {process.returncode}: what it said is in {log}")
    absent = [name for name in step.makes if not (folder / name).exists()]
    if absent:
        raise ToolError(f"`{step.shown}` ended without an error, but made no {', '.join(absent)}: see {log}")


def _find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(OLDER.get(program, program))
