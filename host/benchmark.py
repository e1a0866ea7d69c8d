"""``python -m host.benchmark``: operations a second through relay and proxy on the model, compared with the bare model.

Relay, device and proxy run in processes of their own, as ``omap serve`` and ``omap proxy`` start them. The bare model
and the client take turns, and so do the proxy and a real Redis server, so that a busy machine slows both. The report
shows medians.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from host.client.settings import Settings
from host.client.sync import Client
from host.commands.serve import MapOptions
from host.device.driver import Driver
from host.keyfile import write_client_file, write_root_file
from host.model.choice import FAST, REFERENCE, choose, maker
from host.model.model import ModelTransport
from omap.credentials import Credential, provision
from omap.operations import Kind, Operation, Response, Status
from omap.params import Params
from omap.reference import ReferenceMap
from omap.session import ClientSession, DeviceSessions
from omap.wire import RecordCodec, Reply, read_header

BATCH = 10_000
"""Operations in one call of ``execute``."""

ROUNDS = 5
"""Turns of bare model and client."""

MAPS = {FAST: "compiled", REFERENCE: "the reference"}
"""What runs the map, by the name of the model."""

WANTED_RATIO = 0.6
"""Share of the bare model's operations a second that the client shall reach in batches."""

WANTED_PROXY = 5000
"""Operations a second that ``redis-benchmark`` shall reach."""

CONNECTIONS, PIPELINES, VALUE_BYTES = 50, (16, 1), 32
"""Options of ``redis-benchmark``: ``-c``, ``-P``, ``-d``."""

REDIS_COMMANDS = ("set", "get", "incr", "mset")
"""What ``redis-benchmark`` sends, its option ``-t``. Its MSET sets ten keys."""

REDIS_PROGRAMS = ("redis-benchmark", "redis-server")

REDIS_TURNS = 3
"""Turns of the proxy and of ``redis-server``."""

REDIS_SHARE = 10
"""So many times more requests go to ``redis-server``, which would be done before it could be timed."""


@dataclass
class Workload:
    """Parameters and operations that all measurements share.

    Parameters
    ----------
    params : Params
        The map's parameters.
    operations : int
        Operations in each measurement.
    seed : int
        Of keys and operations.
    """

    params: Params
    operations: int
    seed: int

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        params = self.params
        count = min(params.capacity // 2, 50_000)
        self.keys = [number.to_bytes(4, "big") + rng.randbytes(params.key_bytes - 4) for number in range(count)]
        self.values = [rng.randbytes(params.value_bytes) for _ in range(count)]
        self.mix = []
        for _ in range(self.operations):  # half reads, half writes
            key = rng.choice(self.keys)
            put = rng.random() < 0.5
            self.mix.append(Operation(Kind.PUT, key, rng.choice(self.values)) if put else Operation(Kind.GET, key))

    def batches(self, execute: Callable[[list[Operation]], object], size: int = BATCH) -> float:
        """Run the mix and return operations a second."""
        start = time.perf_counter()
        for first in range(0, len(self.mix), size):
            execute(self.mix[first : first + size])
        return len(self.mix) / (time.perf_counter() - start)

    def bare(self) -> ReferenceMap:
        """Return a filled map in this process, compiled or the reference as the model's is."""
        store = maker(choose(None, self.params))(self.params)
        store.bulk_load(self.keys, self.values)
        return store


def shares(workload: Workload) -> dict[str, float]:
    """Return which part of one process' time the crypto of records, the rings and the map take.

    The crypto of pages counts as the map's. Client, driver and device run in this process in batches of 256. After
    each batch its operations run on a bare map, and as many records are sealed and opened with no map between. The
    remaining time belongs to rings and copying.
    """
    key, batch = bytes(32), 256
    spent = {"all": 0.0, "map": 0.0, "crypto": 0.0}

    def timed(what: str, work: Callable[[list[Operation]], object], operations: list[Operation]) -> None:
        start = time.process_time()
        work(operations)
        spent[what] += time.process_time() - start

    records, store = Records(workload.params), workload.bare()
    with ModelTransport(workload.params, key, ring_entries=1024, stepped=True) as transport:
        driver = Driver(transport, workload.params)
        driver.start()
        session = ClientSession(workload.params, key)
        session.opened(driver.exchange(session.confirm(driver.exchange(session.hello()))))
        size = RecordCodec(workload.params).record_bytes

        def execute(operations: list[Operation]) -> None:
            driver.put(b"".join([session.seal(operation) for operation in operations]))
            transport.step()
            answers = driver.take()
            for at in range(0, len(answers), size):
                session.open(answers[at : at + size])

        fill = [Operation(Kind.PUT, key, value) for key, value in zip(workload.keys, workload.values, strict=True)]
        for first in range(0, len(fill), batch):
            execute(fill[first : first + batch])
        for first in range(0, len(workload.mix), batch):
            operations = workload.mix[first : first + batch]
            timed("all", execute, operations)
            timed("map", store.execute, operations)
            timed("crypto", records.exchange, operations)
        driver.close()
    parts = {name: spent[name] / spent["all"] for name in ("crypto", "map")}
    return parts | {"rings": 1 - sum(parts.values())}


class Records:
    """Both ends of a session, without a map between them.

    Parameters
    ----------
    params : Params
        The map's parameters.
    """

    def __init__(self, params: Params) -> None:
        self._device, self._client = DeviceSessions(params, bytes(32)), ClientSession(params, bytes(32))
        hello = self._device.hello(self._client.hello(), bytes(16))
        self._client.opened(self._device.confirm(self._client.confirm(hello)))
        self._reply = Reply(Response(Status.OK, bytes(params.value_bytes)), 0, 0, 0)

    def exchange(self, operations: list[Operation]) -> None:
        """Seal and open a command and a response for every operation."""
        for operation in operations:
            record = self._client.seal(operation)
            header = read_header(record)
            self._device.open(record, header)
            self._client.open(self._device.seal(header, self._reply))


# -- processes ----------------------------------------------------------------------------------------------------


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


# -- the proxy, and a Redis server beside it ----------------------------------------------------------------------


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
def redis_server(folder: Path) -> Iterator[list[str]]:
    """Run ``redis-server`` at a free port until the end of the block. Yields how ``redis-benchmark`` finds it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    line = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
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
        turns = [
            (
                redis_benchmark(proxy, requests, keys, pipeline),
                redis_benchmark(server, REDIS_SHARE * requests, keys, pipeline),
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


# -- all of it ----------------------------------------------------------------------------------------------------


def run(params: Params, operations: int, seed: int) -> dict[str, Any]:
    """Measure everything and return the figures."""
    workload = Workload(params, operations, seed)
    figures: dict[str, Any] = {"operations": operations, "keys": len(workload.keys), "params": params.to_dict()}
    figures["model"] = choose(None, params)
    figures["shares"] = shares(workload)
    with tempfile.TemporaryDirectory() as folder:
        root_file, key_file, parameters = (Path(folder) / name for name in ("root.key", "client.key", "params.json"))
        owner = provision(write_root_file(root_file), Credential())
        write_client_file(key_file, owner)
        parameters.write_text(json.dumps(params.to_dict()))
        with running("serve", "--params", parameters, "--key-file", root_file, "--port", 0) as (served, pid):
            settings = Settings.from_url(served["address"], client=owner)
            store = workload.bare()
            with Client(settings) as client:
                client.put_many(workload.keys, workload.values)
                spent = dict.fromkeys(("bare", "client", "relay", "model"), 0.0)
                pairs = []
                for _ in range(ROUNDS):
                    start = time.process_time()
                    bare = workload.batches(store.execute)
                    spent["bare"] += time.process_time() - start
                    start, before = time.process_time(), processor_seconds(pid)
                    pairs.append((bare, workload.batches(client.execute)))
                    after = processor_seconds(pid)
                    spent["client"] += time.process_time() - start
                    spent["relay"] += after[0] - before[0]
                    spent["model"] += after[1] - before[1]
            figures["bare"] = statistics.median(bare for bare, _ in pairs)
            figures["client"] = statistics.median(through for _, through in pairs)
            figures["ratio"] = statistics.median(through / bare for bare, through in pairs)
            figures["microseconds"] = {name: 1e6 * t / (ROUNDS * operations) for name, t in spent.items()}
            figures["load"] = os.getloadavg()[0]
            figures["proxy"] = None
            if all(shutil.which(name) for name in REDIS_PROGRAMS):
                said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
                figures["redis_server"] = said.split()[2].removeprefix("v=")
                where = ["--url", served["address"], "--key-file", key_file, "--port", 0, "--idle-timeout", 0]
                with running("proxy", *where) as (spoken, _), redis_server(Path(folder)) as server:
                    host, _, port = spoken["address"].removeprefix("redis://").rpartition(":")
                    keys = params.capacity // 4
                    figures["proxy"] = beside(["-h", host, "-p", port], server, operations, keys)
    return figures


def report(figures: dict[str, Any]) -> str:
    """Return the figures as text."""
    params, shares_ = figures["params"], figures["shares"]
    lines = [
        f"{figures['keys']:,} of {params['capacity']:,} keys of {params['key_bytes']} bytes, values of "
        f"{params['value_bytes']}; half GET, half PUT; batches of {BATCH:,}; medians of {ROUNDS}; "
        f"{os.cpu_count()} processors, load {figures['load']:.1f}",
        f"  bare model, one thread         {figures['bare']:>9,.0f} operations/s, {MAPS[figures['model']]}",
        f"  client, relay, model process   {figures['client']:>9,.0f} operations/s, {figures['ratio']:.0%} of it "
        f"({_verdict(figures['ratio'] >= WANTED_RATIO)} {WANTED_RATIO:.0%})",
        "  processor us an operation      "
        + ", ".join(f"{name} {each:.1f}" for name, each in figures["microseconds"].items())
        + f"; with a processor for each: {_bound(figures['microseconds']):.0%} of bare",
        "  of all work in one process     "
        + ", ".join(f"{shares_[part]:.0%} {part}" for part in ("crypto", "rings", "map"))
        + "  (crypto of records alone; the crypto of pages counts as the map's)",
    ]
    if figures["proxy"] is None:
        lines.append("  proxy                          not measured: install redis-server and redis-tools")
        return "\n".join(lines)
    version = figures["redis_server"]
    lines.append(
        f"  proxy beside redis-server {version}, medians of {REDIS_TURNS}: redis-benchmark "
        f"-t {','.join(REDIS_COMMANDS)} -c {CONNECTIONS} -d {VALUE_BYTES} -r {params['capacity'] // 4} "
        f"-n {figures['operations']} (redis-server: {REDIS_SHARE * figures['operations']})"
    )
    for pipeline, rates in figures["proxy"].items():
        for name, rate in rates.items():
            lines.append(
                f"  -P {pipeline:<3} {name.upper():<5} proxy {rate['proxy']:>9,.0f} requests/s, redis-server "
                f"{rate['redis']:>9,.0f}, ratio {rate['ratio']:.3f}"
            )
    wanted = figures["proxy"][str(PIPELINES[0])]
    slowest = min(wanted["set"]["proxy"], wanted["get"]["proxy"])
    lines.append(
        f"  SET and GET at pipeline {PIPELINES[0]}: {_verdict(slowest >= WANTED_PROXY)} {WANTED_PROXY:,} requests/s"
    )
    return "\n".join(lines)


def _bound(each: dict[str, float]) -> float:
    """Return the speed that the busiest process allows, as a multiple of the bare model's."""
    return each["bare"] / max(each[name] for name in ("client", "relay", "model"))


def _verdict(good: bool) -> str:
    return "reaches" if good else "misses"


@click.command()
@click.option("--preset", help="Parameters of the map.  [default: those of `omap serve`]")
@click.option("--operations", default=20_000, show_default=True, help="Operations in each measurement.")
@click.option("--seed", default=1, show_default=True, help="Of keys and operations; the map draws its own.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(preset: str | None, operations: int, seed: int, as_json: bool) -> None:
    """Time the host side on the model: client, relay, proxy. Wall-clock time: let nothing else run."""
    figures = run(MapOptions(preset=preset).params(), operations, seed)
    click.echo(json.dumps(figures, indent=2) if as_json else report(figures))


if __name__ == "__main__":
    main()
