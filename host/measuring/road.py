"""The road to a map: processor time of client and relay, and how many operations a second they carry.

An open table stands in for the device (:mod:`host.model.table`), so that the time left is the time of the road. The
map is PAPER, whose records have up to 253 operations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from host.client.settings import Settings
from host.client.sync import Client
from host.measuring.processes import processor_seconds, running
from host.measuring.workload import Workload
from omap.credentials import ClientKey
from omap.presets import preset
from omap.wire import RecordCodec

PRESET = "PAPER"

LEAST_SECONDS = 2.0
"""A measurement repeats its work for so long, because the system counts processor time in hundredths of a second."""

CALL_RECORDS = 400
"""Full records in one call. As many as the rings hold are under way: 64 with rings of 4096 lines."""

LIST = 10_000
"""Operations in each list."""

BEFORE = {"client": 4.6, "relay": 1.3, "model": 71_000.0, "proxy": 0.06}
"""What was measured before records carried many operations: microseconds of processor time an operation of client and
relay, operations a second on the compiled model, and requests a second of the proxy beside those of redis-server."""

WANTED = {"rate": 3e6, "lists": 1.6, "model": 150_000.0}
"""Operations a second through client, relay and table; microseconds an operation of a client that runs lists;
operations a second of ``omap serve`` on the compiled model."""


def road(root_file: Path, owner: ClientKey, seed: int) -> dict[str, Any] | None:
    """Return figures of the road; None without numba, which the table and the compiled model need.

    Parameters
    ----------
    root_file : Path
        Root key file of the devices that are started.
    owner : ClientKey
        A client of it that may do everything.
    seed : int
        Of keys and operations.
    """
    if find_spec("numba") is None:
        return None
    most = RecordCodec(preset(PRESET)).most_operations
    workload = Workload(preset(PRESET), CALL_RECORDS * most, seed)
    figures: dict[str, Any] = {"record": most}
    with serving("table", root_file, owner, "--insecure") as (settings, pid):
        with Client(settings()) as client:
            client.put_many(workload.keys, workload.values)
            figures["many"] = timed(lambda: client.execute_arrays(*workload.columns), workload.operations, pid)
            figures["lists"] = timed(lambda: workload.lists(client.execute, LIST), workload.operations, pid)
        with Client(settings(window=most)) as client:
            figures["one"] = timed(lambda: client.execute_arrays(*workload.columns), workload.operations, pid)
    with serving("process", root_file, owner) as (settings, pid), Client(settings()) as client:
        client.put_many(workload.keys, workload.values)
        figures["model"] = timed(lambda: client.execute_arrays(*workload.columns), workload.operations, pid)
    return figures


@contextmanager
def serving(
    backend: str, root_file: Path, owner: ClientKey, *options: str
) -> Iterator[tuple[Callable[..., Settings], int]]:
    """Run ``omap serve`` until the end of the block. Yields what makes settings of a client, and the process' id."""
    where = ["--preset", PRESET, "--key-file", root_file, "--port", 0, "--backend", backend]
    with running("serve", *where, *options) as (served, pid):
        yield lambda **more: Settings.from_url(served["address"], client=owner, **more), pid


def timed(work: Callable[[], object], operations: int, pid: int) -> dict[str, float]:
    """Repeat work of so many operations and return operations a second, and processor time an operation, in us."""
    work()
    own, others, start, times = time.process_time(), processor_seconds(pid), time.perf_counter(), 0
    while time.perf_counter() - start < LEAST_SECONDS:
        work()
        times += 1
    passed, after = time.perf_counter() - start, processor_seconds(pid)
    spent = {"client": time.process_time() - own, "relay": after[0] - others[0], "device": after[1] - others[1]}
    each = {name: 1e6 * seconds / (times * operations) for name, seconds in spent.items()}
    return {"rate": times * operations / passed} | each


def told(figures: dict[str, Any] | None) -> list[str]:
    """Return the figures as lines of text."""
    if figures is None:
        return ["  the road                       not measured: install numba"]
    many, one, lists, model = (figures[name] for name in ("many", "one", "lists", "model"))
    lines = [f"  the road alone, {PRESET}, an open table in place of the map (before: one operation a record)"]
    for what, row in ((f"records of {figures['record']}, rings full", many), ("one such record under way", one)):
        each = ", ".join(
            f"{name} {row[name]:.3f} (before {BEFORE[name]}: {row[name] / BEFORE[name]:.3f})"
            for name in ("client", "relay")
        )
        lines.append(f"    {what:<30} {row['rate']:>11,.0f} operations/s; us an operation: {each}")
    lines += [
        f"    {'client, relay, table':<30} {many['rate']:>11,.0f} operations/s "
        f"({verdict(many['rate'] >= WANTED['rate'])} {WANTED['rate']:,.0f})",
        f"    {'execute on lists':<30} {lists['rate']:>11,.0f} operations/s; us an operation: client "
        f"{lists['client']:.3f} ({verdict(lists['client'] <= WANTED['lists'])} {WANTED['lists']})",
        f"    {'omap serve, compiled model':<30} {model['rate']:>11,.0f} operations/s "
        f"({verdict(model['rate'] >= WANTED['model'])} {WANTED['model']:,.0f}; before {BEFORE['model']:,.0f}: "
        f"{model['rate'] / BEFORE['model']:.1f} times); us an operation: "
        + ", ".join(f"{name} {model[name]:.2f}" for name in ("client", "relay", "device")),
    ]
    return lines


def verdict(good: bool) -> str:
    """Return whether something reaches what is wanted."""
    return "reaches" if good else "misses"
