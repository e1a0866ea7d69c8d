"""Subcommands of ``omap`` in processes of their own, and the processor time that these take."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click


@contextlib.contextmanager
def running(*arguments: object) -> Iterator[tuple[dict[str, Any], int]]:
    """Run a subcommand of ``omap`` until the end of the block. Yields what it printed, and its process id."""
    command = [sys.executable, "-m", "omap.cli", *map(str, arguments), "--json"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        try:
            said, facts = "", None
            for line in process.stdout:  # JSON on one line or several
                said += line
                with contextlib.suppress(ValueError):
                    facts = json.loads(said)
                    break
            if facts is None:
                process.wait()
                errors.seek(0)
                raise click.ClickException(f"`omap {arguments[0]}` did not start: {errors.read().decode().strip()}")
            yield facts, process.pid
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()


def processor_seconds(pid: int) -> tuple[float, float]:
    """Return the processor seconds of a process and of its children; zeros if ``/proc`` does not tell."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0, 0.0
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own, sum(sum(processor_seconds(int(child))) for child in children)
