"""Workloads that audits, demonstrations and tests run: which keys are used, how often, and in which order.

An oblivious map must look the same under all of them. No single workload shows every fault. A repeated key shows
whether keys get fresh pages. A sweep shows what depends on how full pages are. Misses and fresh keys show what follows
from an absent key. NOPs, refused PUTs and keys that come back show what somebody took a short cut for.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, count, cycle, islice, repeat
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from omap.errors import InputError
from omap.interface import ObliviousMap
from omap.operations import Kind, Operation
from omap.params import Params
from omap.trace import Submitted

BATCH = 1024
"""Operations in one call of ``execute``."""

ZIPF = 0.99
"""Exponent of the zipf workload, which YCSB made customary."""


@dataclass(frozen=True)
class Workload:
    """Keys to load first, and operations to run after that.

    Attributes
    ----------
    name : str
        One of :data:`WORKLOADS`.
    keys : (n, key_bytes) uint8 array
        Keys for a bulk load before the first operation.
    values : (n, value_bytes) uint8 array
        Values of these keys.
    operations : list of Operation
        In the order in which they are to run.
    """

    name: str
    keys: npt.NDArray[np.uint8]
    values: npt.NDArray[np.uint8]
    operations: list[Operation]


class _Maker:
    """Makes keys and values from numbers, and the random choices of one workload."""

    def __init__(self, params: Params, seed: int) -> None:
        self.params = params
        self.loaded = params.capacity
        """Keys with numbers below this one are in the map at the start."""
        self.random = random.Random(f"omap workload {seed}")

    def key(self, number: int) -> bytes:
        """Return the key with a number; different numbers below 2^32 have different keys."""
        return (number * 0x9E3779B1 % (1 << 32)).to_bytes(4, "big") + bytes(self.params.key_bytes - 4)

    def get(self, number: int) -> Operation:
        return Operation(Kind.GET, self.key(number))

    def put(self, number: int) -> Operation:
        return Operation(Kind.PUT, self.key(number), self.random.randbytes(self.params.value_bytes))

    def delete(self, number: int) -> Operation:
        return Operation(Kind.DELETE, self.key(number))

    def use(self, number: int) -> Operation:
        """Return a read, or one time in four an overwrite."""
        return self.put(number) if self.random.random() < 0.25 else self.get(number)

    def absent(self) -> int:
        """Return the number of one of eight keys that were not loaded."""
        return self.loaded + self.random.randrange(8)


def _hammer(make: _Maker) -> Iterator[Operation]:
    """One key over and over, mostly read."""
    while True:
        yield make.use(0)


def _sweep(make: _Maker) -> Iterator[Operation]:
    """Every key in turn, round after round."""
    for number in cycle(range(make.loaded)):
        yield make.use(number)


def _uniform(make: _Maker) -> Iterator[Operation]:
    """Every key as likely as any other."""
    while True:
        yield make.use(make.random.randrange(make.loaded))


def _zipf(make: _Maker) -> Iterator[Operation]:
    """The k-th key with a chance in proportion to k^-0.99."""
    weights = list(accumulate((number + 1) ** -ZIPF for number in range(make.loaded)))
    while True:
        yield make.use(bisect(weights, make.random.random() * weights[-1]))


def _misses(make: _Maker) -> Iterator[Operation]:
    """Keys that are absent, always the same eight; one of them is asked for half of the time."""
    while True:
        number = make.loaded + max(0, make.random.randrange(-8, 8))
        yield make.delete(number) if make.random.random() < 0.25 else make.get(number)


def _insert_then_read(make: _Maker) -> Iterator[Operation]:
    """A new key is inserted and read at once; when the map is full, the oldest of these keys is deleted first."""
    room = make.params.capacity - make.loaded
    for number in count():
        if number >= room:
            yield make.delete(make.loaded + number - room)
        yield make.put(make.loaded + number)
        yield make.get(make.loaded + number)


def _churn(make: _Maker) -> Iterator[Operation]:
    """A full map in which a random key is deleted and a new one inserted, with a read now and then."""
    live = list(range(make.loaded))
    for number in count(make.loaded):
        place = make.random.randrange(len(live))
        yield make.delete(live[place])
        live[place] = number
        yield make.put(number)
        if number % 2:
            yield make.get(make.random.choice(live))


def _ping_pong(make: _Maker) -> Iterator[Operation]:
    """Eight keys in turn."""
    for number in cycle(range(min(8, make.loaded))):
        yield make.use(number)


def _idle(make: _Maker) -> Iterator[Operation]:
    """One to three NOPs, then one key, or one time in four a key that is absent."""
    while True:
        yield from repeat(Operation(Kind.NOP), make.random.randint(1, 3))
        yield make.get(make.absent()) if make.random.random() < 0.25 else make.use(0)


def _between(make: _Maker) -> Iterator[Operation]:
    """One key over and over, and an absent key after each time."""
    while True:
        yield make.use(0)
        yield make.get(make.absent())


def _refused(make: _Maker) -> Iterator[Operation]:
    """New keys for a full map, which refuses them, and one key of the map after each; now and then a NOP follows."""
    while True:
        yield make.put(make.absent())
        yield make.use(0)
        if make.random.random() < 0.25:
            yield Operation(Kind.NOP)


def _come_back(make: _Maker) -> Iterator[Operation]:
    """Four keys are deleted in turn, looked for, inserted again and read, over and over."""
    numbers = range(min(4, make.loaded))
    while True:
        for what in (make.delete, make.get, make.put, make.use):
            yield from map(what, numbers)


def _mixed(make: _Maker) -> Iterator[Operation]:
    """Every kind of operation on four keys and four more, of which a full map has room for four at a time."""
    few = min(4, make.loaded)
    numbers = [*range(few), *range(make.loaded, make.loaded + few)]
    while True:
        number = make.random.choice(numbers)
        yield make.random.choice((Operation(Kind.NOP), make.get(number), make.put(number), make.delete(number)))


WORKLOADS: MappingProxyType[str, Callable[[_Maker], Iterator[Operation]]] = MappingProxyType(
    {
        "hammer": _hammer,
        "sweep": _sweep,
        "uniform": _uniform,
        "zipf": _zipf,
        "misses": _misses,
        "insert_then_read": _insert_then_read,
        "churn": _churn,
        "ping_pong": _ping_pong,
        "idle": _idle,
        "between": _between,
        "refused": _refused,
        "come_back": _come_back,
        "mixed": _mixed,
    }
)
"""Generator of each workload, by name."""


def workload(name: str, params: Params, operations: int, *, seed: int = 0) -> Workload:
    """Return a workload for a map with ``params``. The same arguments give the same workload.

    Parameters
    ----------
    name : str
        One of :data:`WORKLOADS`.
    params : Params
        Gives the sizes of keys and values, and how many keys to load: ``capacity``, or half of it for the workload
        ``insert_then_read``.
    operations : int
        Operations to run after the load, 0 or more.
    seed : int
        Seed of the choices of the workload. The map never sees it.

    Raises
    ------
    InputError
        If there is no such workload, or ``operations`` is negative.
    """
    if name not in WORKLOADS:
        raise InputError(f"no workload is called {name!r}; choose one of {', '.join(WORKLOADS)}")
    if operations < 0:
        raise InputError(f"operations is {operations}; it must be 0 or more")
    make = _Maker(params, seed)
    if name == "insert_then_read":
        make.loaded = params.capacity // 2
    numbers = np.arange(make.loaded, dtype=np.uint64)
    keys = np.zeros((make.loaded, params.key_bytes), np.uint8)
    keys[:, :4] = (numbers * np.uint64(0x9E3779B1)).astype(np.uint32).astype(">u4").view(np.uint8).reshape(-1, 4)
    values = np.random.default_rng(seed).integers(0, 256, (make.loaded, params.value_bytes), np.uint8)
    return Workload(name, keys, values, list(islice(WORKLOADS[name](make), operations)))


def load_and_run(workload: Workload, into: ObliviousMap) -> Submitted:
    """Bulk load the keys of ``workload`` into a fresh map, then run its operations in batches.

    Returns
    -------
    Submitted
        What was submitted since the map was made, its first format included. Responses are ignored.

    Reveals
        As :meth:`~omap.interface.ObliviousMap.bulk_load` and :meth:`~omap.interface.ObliviousMap.execute`.
    """
    into.bulk_load(workload.keys, workload.values)
    for first in range(0, len(workload.operations), BATCH):
        into.execute(workload.operations[first : first + BATCH])
    each, besides = into.load_operations
    return Submitted(
        operations=len(workload.operations) + each * len(workload.keys) + besides,
        formats=1,
        bulk_loads=0 if each else 1,
    )
