"""The proxy beside a real Redis server, as ``redis-benchmark`` times both in turns."""

from __future__ import annotations

import contextlib
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from host.measuring.processes import running
from host.measuring.road import BEFORE, verdict

WANTED_RATIO = 0.1
"""Part of the requests a second of ``redis-server`` that the proxy shall reach in pipelines of SET and of GET."""

CONNECTIONS, PIPELINES, VALUE_BYTES = 50, (16, 1), 32
"""Options of ``redis-benchmark``: ``-c``, ``-P``, ``-d``."""

REDIS_COMMANDS = ("set", "get", "incr", "mset")
"""What ``redis-benchmark`` sends, its option ``-t``. Its MSET sets ten keys."""

REDIS_PROGRAMS = ("redis-benchmark", "redis-server")

REDIS_TURNS = 3
"""Turns of the proxy and of ``redis-server``."""

REDIS_SHARE = 10
"""So many times more requests go to ``redis-server``, which would be done before it could be timed."""

PIPELINE_SHARE = 4
"""So many times more requests go out in pipelines, so that they last longer than it takes to connect."""


def measured(address: str, key_file: Path, folder: Path, requests: int, keys: int) -> dict[str, Any] | None:
    """Return what the proxy of a server reaches beside ``redis-server``; None without the programs of Redis.

    Parameters
    ----------
    address : str
        URL of the server.
    key_file : Path
        Key file of a client that may do everything.
    folder : Path
        For files of ``redis-server``.
    requests : int
        Requests of each kind.
    keys : int
        Keys that they are about.
    """
    if not all(shutil.which(name) for name in REDIS_PROGRAMS):
        return None
    said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    where = ["--url", address, "--key-file", key_file, "--port", 0, "--idle-timeout", 0]
    with running("proxy", *where) as (spoken, _), redis_server(folder) as server:
        host, _, port = spoken["address"].removeprefix("redis://").rpartition(":")
        rates = beside(["-h", host, "-p", port], server, requests, keys)
    return {"version": said.split()[2].removeprefix("v="), "requests": requests, "keys": keys, "rates": rates}


def redis_benchmark(where: list[str], requests: int, keys: int, pipeline: int) -> dict[str, float]:
    """Return requests a second of each command as ``redis-benchmark`` counts them."""
    command = ["redis-benchmark", *where, "-c", str(CONNECTIONS), "-P", str(pipeline), "-n", str(requests)]
    command += ["-r", str(keys), "-t", ",".join(REDIS_COMMANDS), "-d", str(VALUE_BYTES), "--csv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    rows = [line.replace('"', "").split(",") for line in done.stdout.splitlines()]
    told = {row[0].partition(" ")[0].lower(): float(row[1]) for row in rows if len(row) > 2 and row[0] != "test"}
    if set(told) != set(REDIS_COMMANDS):
        raise click.ClickException(f"redis-benchmark gave no figures: {(done.stderr or done.stdout).strip()}")
    return told


@contextlib.contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[list[str]]:
    """Run ``redis-server`` at a free port until the end of the block. Yields how ``redis-benchmark`` finds it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    line = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *options]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port))):
                break
            time.sleep(0.05)
        yield ["-h", "127.0.0.1", "-p", port]
    finally:
        process.terminate()
        process.wait()


def beside(proxy: list[str], server: list[str], requests: int, keys: int) -> dict[str, Any]:
    """Return requests a second through the proxy and of a Redis server, in turns, and their ratio, by pipeline."""
    found: dict[str, Any] = {}
    for pipeline in PIPELINES:
        count = requests if pipeline == 1 else PIPELINE_SHARE * requests
        turns = [
            (
                redis_benchmark(proxy, count, keys, pipeline),
                redis_benchmark(server, REDIS_SHARE * count, keys, pipeline),
            )
            for _ in range(REDIS_TURNS)
        ]
        found[str(pipeline)] = {
            name: {
                "proxy": statistics.median(ours[name] for ours, _ in turns),
                "redis": statistics.median(theirs[name] for _, theirs in turns),
                "ratio": statistics.median(ours[name] / theirs[name] for ours, theirs in turns),
            }
            for name in REDIS_COMMANDS
        }
    return found


def told(figures: dict[str, Any] | None) -> list[str]:
    """Return the figures as lines of text."""
    if figures is None:
        return ["  proxy                          not measured: install redis-server and redis-tools"]
    lines = [
        f"  proxy beside redis-server {figures['version']}, medians of {REDIS_TURNS}: redis-benchmark "
        f"-t {','.join(REDIS_COMMANDS)} -c {CONNECTIONS} -d {VALUE_BYTES} -r {figures['keys']} "
        f"-n {figures['requests']} (in pipelines {PIPELINE_SHARE} times as many, redis-server {REDIS_SHARE} times); "
        f"before: ratio {BEFORE['proxy']} in pipelines"
    ]
    for pipeline, rates in figures["rates"].items():
        for name, rate in rates.items():
            lines.append(
                f"  -P {pipeline:<3} {name.upper():<5} proxy {rate['proxy']:>9,.0f} requests/s, redis-server "
                f"{rate['redis']:>9,.0f}, ratio {rate['ratio']:.3f}"
            )
    wanted = figures["rates"][str(PIPELINES[0])]
    slowest = min(wanted["set"]["ratio"], wanted["get"]["ratio"])
    lines.append(
        f"  SET and GET at pipeline {PIPELINES[0]}: {verdict(slowest >= WANTED_RATIO)} {WANTED_RATIO} of redis-server"
    )
    return lines
