"""Libraries of other languages: run as processes of their own, where their language and they themselves are there."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sim import cache

LIBRARIES = Path(__file__).parent / "libraries"
NODE_VERSION = 20
"""What ioredis and node-redis need at least."""


def node(script, port):
    """Run the steps of a library of Node's, installed as the lock file says."""
    modules = _node_modules()
    return _run(["node", LIBRARIES / "node" / script, port], NODE_PATH=str(modules))


def php(script, port, needed):
    """Run the steps of a library of PHP's that comes with the system; ``needed`` is code that only runs if it does."""
    if shutil.which("php") is None:
        pytest.skip("php is not installed: apt-get install php-cli php-redis php-nrk-predis")
    if subprocess.run(["php", "-r", needed], capture_output=True, check=False).returncode:
        pytest.skip(f"PHP does not have what {script} needs: apt-get install php-redis php-nrk-predis")
    return _run(["php", "-d", "display_errors=stderr", LIBRARIES / "php" / script, port])


def _run(line, **environment):
    run = subprocess.run(
        list(map(str, line)), env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr + run.stdout
    return json.loads(run.stdout)


def _node_modules():
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install nodejs npm")
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(re.match(r"v(\d+)", told)[1]) < NODE_VERSION:
        pytest.skip(f"this is Node {told.strip()}; the libraries need {NODE_VERSION} or newer")
    wanted = [(LIBRARIES / "node" / name).read_text("utf-8") for name in ("package.json", "package-lock.json")]
    return cache.cached(f"node-{cache.digest(*wanted)}", lambda folder: _install(folder, *wanted)) / "node_modules"


def _install(folder, package, lock):
    (folder / "package.json").write_text(package, "utf-8")
    (folder / "package-lock.json").write_text(lock, "utf-8")
    line = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    run = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    if run.returncode:
        pytest.skip(f"npm could not install the libraries: {run.stderr[-400:]}")
