"""The operations that all measurements of the host side share: half GET, half PUT, on keys that are there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from host.model.choice import choose, maker
from omap.columns import Columns
from omap.operations import Kind, Operation
from omap.params import Params
from omap.reference import ReferenceMap

MOST_KEYS = 50_000


@dataclass(frozen=True)
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

    @cached_property
    def keys(self) -> np.ndarray:
        """Keys that are in the map, at most half of its capacity, as an (n, key_bytes) array."""
        count, rng = min(self.params.capacity // 2, MOST_KEYS), np.random.default_rng(self.seed)
        keys = rng.integers(0, 256, (count, self.params.key_bytes), np.uint8)
        keys[:, :4] = np.arange(count, dtype=">u4").view(np.uint8).reshape(count, 4)
        return keys

    @cached_property
    def values(self) -> np.ndarray:
        """A value for each of them."""
        rng = np.random.default_rng(self.seed + 1)
        return rng.integers(0, 256, (len(self.keys), self.params.value_bytes), np.uint8)

    @cached_property
    def columns(self) -> Columns:
        """All operations as arrays."""
        rng = np.random.default_rng(self.seed + 2)
        kinds = rng.choice(np.array([Kind.GET, Kind.PUT], np.uint8), self.operations)
        keys, values = rng.integers(0, len(self.keys), (2, self.operations))
        return Columns(kinds, self.keys[keys], self.values[values] * (kinds == Kind.PUT)[:, None])

    @cached_property
    def mix(self) -> list[Operation]:
        """All operations as a list."""
        kinds = list(Kind)
        return [
            Operation(kinds[kind], key.tobytes(), value.tobytes() if kind == Kind.PUT else b"")
            for kind, key, value in zip(*self.columns, strict=True)
        ]

    def lists(self, execute: Callable[[list[Operation]], object], size: int) -> float:
        """Run all operations in lists of ``size`` and return operations a second."""
        mix, start = self.mix, time.perf_counter()
        for first in range(0, len(mix), size):
            execute(mix[first : first + size])
        return len(mix) / (time.perf_counter() - start)

    def arrays(self, execute_arrays: Callable[..., object], size: int) -> float:
        """Run all operations in arrays of ``size`` and return operations a second."""
        columns, start = self.columns, time.perf_counter()
        for first in range(0, self.operations, size):
            execute_arrays(*(part[first : first + size] for part in columns))
        return self.operations / (time.perf_counter() - start)

    def bare(self) -> ReferenceMap:
        """Return a filled map in this process, compiled or the reference as the model's is."""
        store = maker(choose(None, self.params))(self.params)
        store.bulk_load(self.keys, self.values)
        return store
