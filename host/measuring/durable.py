"""``python -m host.measuring.durable``: what keeping a map on disk costs, and how long a snapshot and a restore take.

Servers with and without a data folder, and a Redis server that syncs each write, take turns on one disk, so that a busy
machine slows all. The report shows medians.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from host.client.conversation import Conversation
from host.client.settings import Settings
from host.client.sync import Client
from host.keyfile import write_root_file
from host.measuring.processes import running
from host.measuring.proxy import redis_server
from host.measuring.road import PRESET, verdict
from host.measuring.workload import Workload
from host.relay.control import ask
from omap.commands.numbers import SIZE
from omap.credentials import ClientKey, Credential, provision
from omap.presets import preset
from omap.wire import RecordCodec

UNDER_WAY = 50
"""Operations that wait for the disk at once, each in a record of its own."""

TURNS = 3

CALL_RECORDS = 400
"""Full records in one call."""

WANTED = {"one": 0.5, "many": 0.7, "restore": 30.0}
"""Operations a second beside those of redis-server, and beside those without a data folder; seconds of a restore."""

REDIS = ("--appendonly", "yes", "--appendfsync", "always")


class OneEach(Client):
    """A client whose records have one operation each."""

    def _converse(self, conversation: Conversation) -> Conversation:
        room = conversation.room
        conversation.room = lambda: min(1, room())  # type: ignore[method-assign]
        return super()._converse(conversation)


def run(folder: Path, operations: int, keys: int) -> dict[str, Any]:
    """Measure everything on the disk of a folder, and return the figures."""
    root_file = folder / "root.key"
    owner = provision(write_root_file(root_file), Credential())
    figures: dict[str, Any] = {"load": os.getloadavg()[0], "sync": sync_seconds(folder)}
    with (
        serving(root_file) as bare,
        serving(root_file, "--data-dir", folder / "data") as kept,
        redis_server(folder, *REDIS) as redis,
    ):
        figures["one"] = one_each(kept, owner, operations, redis)
        figures["many"] = full_records(bare, kept, owner)
    figures["recovery"] = recovery(root_file, folder / "large", owner, keys)
    return figures


@contextlib.contextmanager
def serving(root_file: Path, *options: object) -> Iterator[str]:
    """Run ``omap serve`` until the end of the block, and yield its address."""
    with running("serve", "--preset", PRESET, "--key-file", root_file, "--port", 0, *options) as (served, _):
        yield served["address"]


def sync_seconds(folder: Path) -> float:
    """Return how long a sync of one small write takes on the disk of a folder."""
    took = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(bytes(256))
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - start)
    return statistics.median(took)


def one_each(address: str, owner: ClientKey, operations: int, redis: list[str]) -> dict[str, float]:
    """Return PUTs a second, each in a record of its own, beside the SETs of a Redis server that syncs each."""
    workload, turns = Workload(preset(PRESET), operations, 1), []
    keys, values = workload.columns.keys, workload.values[np.arange(operations) % len(workload.values)]
    with OneEach(Settings.from_url(address, client=owner, window=UNDER_WAY)) as client:
        for _ in range(TURNS):
            start = time.perf_counter()
            client.put_many(keys, values)
            ours = operations / (time.perf_counter() - start)
            turns.append((ours, redis_sets(redis, operations)))
    return _medians(turns)


def redis_sets(where: list[str], requests: int) -> float:
    """Return SETs a second of a Redis server, as ``redis-benchmark`` counts them."""
    command = ["redis-benchmark", *where, "-c", str(UNDER_WAY), "-P", "1", "-n", str(requests), "-t", "set", "--csv"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.replace('"', "").split(",") for line in said.splitlines()]
    return next(float(row[1]) for row in rows if row[0] == "SET")


def full_records(bare: str, kept: str, owner: ClientKey) -> dict[str, float]:
    """Return operations a second in full records with a data folder, beside those without."""
    workload, turns = Workload(preset(PRESET), CALL_RECORDS * RecordCodec(preset(PRESET)).most_operations, 1), []
    with Client(Settings.from_url(kept, client=owner)) as one, Client(Settings.from_url(bare, client=owner)) as other:
        for client in (one, other):
            client.put_many(workload.keys, workload.values)
        for _ in range(TURNS):
            turns.append(tuple(workload.arrays(client.execute_arrays, workload.operations) for client in (one, other)))
    return _medians(turns)


def _medians(turns: Sequence[tuple[float, ...]]) -> dict[str, float]:
    return {
        "ours": statistics.median(ours for ours, _ in turns),
        "theirs": statistics.median(theirs for _, theirs in turns),
        "ratio": statistics.median(ours / theirs for ours, theirs in turns),
    }


def recovery(root_file: Path, data: Path, owner: ClientKey, keys: int) -> dict[str, float]:
    """Return seconds of a snapshot of so many keys, of the pause that it makes, and of a restart that restores it."""
    params = preset(PRESET)
    names = np.zeros((keys, params.key_bytes), np.uint8)
    names[:, :4] = np.arange(keys, dtype=">u4").view(np.uint8).reshape(keys, 4)
    with serving(root_file, "--data-dir", data, "--snapshot-after", "1TiB") as address:
        with Client(Settings.from_url(address, client=owner)) as client:
            load = _timed(lambda: client.put_many(names, np.resize(names, (keys, params.value_bytes))))
        taken = ask(data, do="snapshot")
        assert taken is not None
    start = time.perf_counter()
    with serving(root_file, "--data-dir", data) as address:
        restart = time.perf_counter() - start
        with Client(Settings.from_url(address, client=owner)) as client:
            client.ping()
            assert len(client) == keys
    return {"keys": keys, "load": load, "restart": restart, **taken}


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def report(figures: dict[str, Any]) -> str:
    """Return the figures as text."""
    one, many, recovered = figures["one"], figures["many"], figures["recovery"]
    return "\n".join(
        [
            f"{PRESET}, compiled model, sync always; a sync of this disk takes {1e3 * figures['sync']:.2f} ms; "
            f"{os.cpu_count()} processors, load {figures['load']:.1f}; medians of {TURNS}",
            f"  {UNDER_WAY} operations under way, one each  {one['ours']:>9,.0f} operations/s, redis-server "
            f"(appendfsync always) {one['theirs']:,.0f}, ratio {one['ratio']:.2f} "
            f"({verdict(one['ratio'] >= WANTED['one'])} {WANTED['one']})",
            f"  full records                      {many['ours']:>9,.0f} operations/s, without a data folder "
            f"{many['theirs']:,.0f}, ratio {many['ratio']:.2f} ({verdict(many['ratio'] >= WANTED['many'])} "
            f"{WANTED['many']})",
            f"  snapshot of {recovered['keys']:,} keys        {recovered['seconds']:.2f} s for "
            f"{recovered['bytes']:,} bytes; the map paused for {recovered['pause']:.2f} s",
            f"  restart that restores it          {recovered['restart']:.1f} s "
            f"({verdict(recovered['restart'] <= WANTED['restore'])} {WANTED['restore']:.0f} s)",
        ]
    )


@click.command()
@click.option("--operations", default=20_000, show_default=True, type=SIZE, help="Operations of one each.")
@click.option("--keys", default=1_000_000, show_default=True, type=SIZE, help="Keys of the snapshot and the restore.")
@click.option("--folder", type=click.Path(path_type=Path, exists=True, file_okay=False), help="On the disk to measure.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(operations: int, keys: int, folder: Path | None, as_json: bool) -> None:
    """Time a map that is kept on disk. Wall-clock time: let nothing else run."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        figures = run(Path(name), operations, keys)
    click.echo(json.dumps(figures, indent=2) if as_json else report(figures))


if __name__ == "__main__":
    main()
