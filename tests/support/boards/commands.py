"""``omap board`` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from omap.cli import main
from tests.support.rtl.engines import TIGHT


def run(*arguments, answers: str | None = None) -> Result:
    """Run a command of ``omap board``; ``answers`` is what its user types."""
    return CliRunner().invoke(main, ["board", *map(str, arguments)], input=answers)


def built(tmp_path: Path, target: str, *options: object) -> Path:
    """Build a folder without running anything and return it."""
    out = tmp_path / target
    params = tmp_path / "params.json"
    params.write_text(json.dumps(TIGHT.params.to_dict()))
    result = run("build", target, "--params", params, "--out", out, "--no-run", *options)
    assert result.exit_code == 0, result.output
    return out
