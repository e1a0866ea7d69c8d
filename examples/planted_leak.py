"""An audit that finds a planted leak: a map that leaves a key where it is when the key is only read.

You learn what the audit takes (a trace and the public parameters), how to read its verdict, and why a GET must move
its key. The careless map answers every operation correctly; only the pages that the host sees differ.
Run it with `python examples/planted_leak.py`. The notebook planted_leak.ipynb goes through the same steps.
"""

import random

import omap
from omap.audit import Report, audit
from omap.map import OneChoiceMap
from omap.operations import Kind, Operation, Status

PARAMS = omap.preset("SMALL")
KEYS = [f"key {number:04}".encode() for number in range(200)]


class CarelessMap(OneChoiceMap):
    """Saves the work of moving a key that is only read."""

    def _placement(self, kind, key, found, draw):
        return found if found and kind == Kind.GET else super()._placement(kind, key, found, draw)


def audited(make) -> Report:
    """Fill a map, read keys at random, and audit what the host saw."""
    observer = omap.Observer()
    table = make(observer)
    table.bulk_load(KEYS, [bytes(PARAMS.value_bytes)] * len(KEYS))
    observer.clear()  # the audit looks at the reads alone
    draw = random.Random(1)
    responses = table.execute([Operation(Kind.GET, draw.choice(KEYS)) for _ in range(3000)])
    assert all(response.status == Status.OK for response in responses)  # both maps answer correctly
    return audit(observer.trace(omap.Submitted(operations=len(responses))), PARAMS)


def sound() -> Report:
    """Audit the map as it should be."""
    return audited(lambda observer: omap.create(PARAMS, observer=observer))


def careless() -> Report:
    """Audit the map with the planted leak."""
    return audited(lambda observer: CarelessMap(PARAMS, observer=observer))


if __name__ == "__main__":
    print("The map as it should be:", sound().summary(), sep="\n")
    print("\nThe careless map:", careless().summary(), sep="\n")
