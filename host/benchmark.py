"""``python -m host.benchmark``: operations a second through relay and proxy on the model, compared with the bare model.

Relay, device and proxy run in processes of their own, as ``omap serve`` and ``omap proxy`` start them. The bare model
and the client take turns, and so do the proxy and a real Redis server, so that a busy machine slows both. The report
shows medians.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from host.client.settings import Settings
from host.client.sync import Client
from host.commands.planned import MapOptions
from host.keyfile import write_client_file, write_root_file
from host.measuring import proxy, road
from host.measuring.processes import processor_seconds, running
from host.measuring.shares import shares
from host.measuring.workload import Workload
from host.model.choice import FAST, REFERENCE, choose
from omap.credentials import ClientKey, Credential, provision
from omap.params import Params

BATCH = 10_000
"""Operations in one call of ``execute_arrays``."""

ROUNDS = 5
"""Turns of bare model and client."""

MAPS = {FAST: "compiled", REFERENCE: "the reference"}
"""What runs the map, by the name of the model."""

WANTED_RATIO = 0.6
"""Share of the bare model's operations a second that the client shall reach in batches."""


def run(params: Params, operations: int, seed: int) -> dict[str, Any]:
    """Measure everything and return the figures."""
    workload = Workload(params, operations, seed)
    figures: dict[str, Any] = {"operations": operations, "keys": len(workload.keys), "params": params.to_dict()}
    figures["model"] = choose(None, params)
    figures["shares"] = shares(workload)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root_file, key_file, parameters = (folder / name for name in ("root.key", "client.key", "params.json"))
        owner = provision(write_root_file(root_file), Credential())
        write_client_file(key_file, owner)
        parameters.write_text(json.dumps(params.to_dict()))
        figures["road"] = road.road(root_file, owner, seed)
        with running("serve", "--params", parameters, "--key-file", root_file, "--port", 0) as (served, pid):
            figures |= turns(workload, served["address"], owner, pid)
            figures["proxy"] = proxy.measured(served["address"], key_file, folder, operations, params.capacity // 5)
    return figures


def turns(workload: Workload, address: str, owner: ClientKey, pid: int) -> dict[str, Any]:
    """Return figures of the bare model in this process and of a client at a server, in turns."""
    store, pairs = workload.bare(), []
    spent = dict.fromkeys(("bare", "client", "relay", "model"), 0.0)
    with Client(Settings.from_url(address, client=owner)) as client:
        client.put_many(workload.keys, workload.values)
        for _ in range(ROUNDS):
            start = time.process_time()
            bare = workload.arrays(store.execute_arrays, BATCH)
            spent["bare"] += time.process_time() - start
            start, before = time.process_time(), processor_seconds(pid)
            pairs.append((bare, workload.arrays(client.execute_arrays, BATCH)))
            after = processor_seconds(pid)
            spent["client"] += time.process_time() - start
            spent["relay"] += after[0] - before[0]
            spent["model"] += after[1] - before[1]
    return {
        "bare": statistics.median(bare for bare, _ in pairs),
        "client": statistics.median(through for _, through in pairs),
        "ratio": statistics.median(through / bare for bare, through in pairs),
        "microseconds": {name: 1e6 * seconds / (ROUNDS * workload.operations) for name, seconds in spent.items()},
        "load": os.getloadavg()[0],
    }


def report(figures: dict[str, Any]) -> str:
    """Return the figures as text."""
    params, shares_ = figures["params"], figures["shares"]
    lines = [
        f"{figures['keys']:,} of {params['capacity']:,} keys of {params['key_bytes']} bytes, values of "
        f"{params['value_bytes']}; half GET, half PUT; arrays of {BATCH:,}; medians of {ROUNDS}; "
        f"{os.cpu_count()} processors, load {figures['load']:.1f}",
        f"  bare model, one thread         {figures['bare']:>9,.0f} operations/s, {MAPS[figures['model']]}",
        f"  client, relay, model process   {figures['client']:>9,.0f} operations/s, {figures['ratio']:.0%} of it "
        f"({road.verdict(figures['ratio'] >= WANTED_RATIO)} {WANTED_RATIO:.0%})",
        "  processor us an operation      "
        + ", ".join(f"{name} {each:.2f}" for name, each in figures["microseconds"].items())
        + f"; with a processor for each: {_bound(figures['microseconds']):.0%} of bare",
        "  of all work in one process     "
        + ", ".join(f"{shares_[part]:.0%} {part}" for part in ("crypto", "rings", "map"))
        + "  (crypto of records alone; the crypto of pages counts as the map's)",
    ]
    return "\n".join([*lines, *road.told(figures["road"]), *proxy.told(figures["proxy"])])


def _bound(each: dict[str, float]) -> float:
    """Return the speed that the busiest process allows, as a multiple of the bare model's."""
    return each["bare"] / max(each[name] for name in ("client", "relay", "model"))


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
