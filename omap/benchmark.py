"""``python -m omap.benchmark``: operations and loaded keys a second of the reference, and the memory that it takes.

Where numba is installed, the same operations run in compiled code (:mod:`omap.fast`), in turn with the reference.
"""

from __future__ import annotations

import json
import random
import resource
import time
from collections.abc import Sequence
from importlib.util import find_spec

import click
import numpy as np

from omap.extras import how_to_install
from omap.interface import ObliviousMap
from omap.map import create
from omap.operations import Kind, Operation
from omap.presets import preset
from omap.sizing.plan import Plan

BATCH = 1000
"""Operations in one call of ``execute``."""


def run(name: str, operations: int, seed: int) -> dict[str, float]:
    """Fill a map with the preset ``name``, run mixed operations on it, and return rates and sizes by name."""
    params = preset(name)
    plan = Plan(params, "preset")
    rng = np.random.default_rng(seed)
    numbers = rng.permutation(params.capacity).astype("<u8")
    keys = np.zeros((params.capacity, params.key_bytes), np.uint8)
    keys[:, : min(params.key_bytes, 8)] = numbers.view(np.uint8).reshape(-1, 8)[:, : params.key_bytes]
    values = rng.integers(0, 256, (params.capacity, params.value_bytes), np.uint8)
    store = create(params)

    start = time.process_time()
    store.bulk_load(keys, values)
    loaded = time.process_time() - start

    draw = random.Random(seed)
    mix = []
    for _ in range(operations):  # half of them reads; deletes make room for PUTs of new keys
        kind = draw.choice((Kind.GET, Kind.GET, Kind.PUT, Kind.DELETE))
        row = draw.randrange(params.capacity)
        mix.append(Operation(kind, keys[row].tobytes(), values[row].tobytes() if kind is Kind.PUT else b""))
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    maps: list[ObliviousMap] = [store]
    if find_spec("numba") is not None:
        from omap.fast import map as fast

        fast.prepare()
        maps.append(fast.create(params))
        maps[1].bulk_load(keys, values)
    ran, *compiled = _times(maps, mix)

    fast_figures = {}
    if compiled:
        fast_figures["fast_operations_per_second"] = operations / compiled[0]
        fast_figures["fast_over_reference"] = ran / compiled[0]
    return {
        "keys": params.capacity,
        "operations": operations,
        "keys_loaded_per_second": params.capacity / loaded,
        "operations_per_second": operations / ran,
        **fast_figures,
        "resident_bytes": resident,
        "page_bytes_per_operation": 2 * plan.page_bytes_each_way,
        "page_bytes_over_paper": plan.ratio_to_paper,
    }


def _times(maps: Sequence[ObliviousMap], mix: Sequence[Operation]) -> list[float]:
    """Return the processor seconds that each map takes for operations, in batches in turn."""
    took = [0.0] * len(maps)
    for first in range(0, len(mix), BATCH):
        for number, store in enumerate(maps):
            start = time.process_time()
            store.execute(mix[first : first + BATCH])
            took[number] += time.process_time() - start
    return took


@click.command()
@click.option("--preset", "name", default="PAPER", show_default=True, help="Parameters of the map.")
@click.option("--operations", default=100_000, show_default=True, help="Operations to time.")
@click.option("--seed", default=1, show_default=True, help="Seed of keys and operations; the map draws its own.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(name: str, operations: int, seed: int, as_json: bool) -> None:
    """Time the reference and, where numba is installed, compiled code: one thread, CPU time."""
    result = run(name, operations, seed)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    fast = (
        f"  compiled    {result['fast_operations_per_second']:>12,.0f} operations/s, "
        f"{result['fast_over_reference']:.1f} times the reference\n"
        if "fast_over_reference" in result
        else f"  compiled    needs numba: {how_to_install('bounds')}\n"
    )
    click.echo(
        f"{name.upper()}, {result['keys']:,} keys, reference model (Python, one thread, CPU time)\n"
        f"  bulk_load   {result['keys_loaded_per_second']:>12,.0f} keys/s\n"
        f"  execute     {result['operations_per_second']:>12,.0f} operations/s\n"
        f"{fast}"
        f"  resident    {result['resident_bytes'] / 2**20:>12,.0f} MiB at most\n"
        f"  page bytes  {result['page_bytes_per_operation']:>12,.0f} an operation, read and write; "
        f"{result['page_bytes_over_paper']:.2f} of those of the published rule (BOLT)"
    )


if __name__ == "__main__":
    main()
