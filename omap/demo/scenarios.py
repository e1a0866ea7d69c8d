"""Three ways to query a table, and a check that every answer agrees with the table."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from omap.demo.table import Table, decode_row
from omap.operations import Kind, Operation, Response, Status

STRETCH = 250
"""Rows in the part of the table that is swept again and again. Several rounds fit in a picture."""

SMALL_SET = 32
"""Number of live keys in the mixed workload; it has as many absent keys."""


@dataclass(frozen=True)
class Scenario:
    """A workload and what a report says about it.

    Attributes
    ----------
    name : str
        Short name, for tables and JSON.
    title, story : str
        Heading and one sentence, for the report.
    operations : list of Operation
        Operations in the order in which they run.
    period : int
        Number of operations after which the workload repeats itself; 0 if it never does, or always.
    """

    name: str
    title: str
    story: str
    operations: list[Operation]
    period: int = 0


def absent_keys(table: Table, count: int, draw: random.Random) -> list[bytes]:
    """Return ``count`` keys that no row has."""
    taken = set(table.keys)
    found: list[bytes] = []
    while len(found) < count:
        key = draw.randbytes(table.key_bytes)
        if key not in taken:
            taken.add(key)
            found.append(key)
    return found


def scenarios(table: Table, operations: int, seed: int) -> list[Scenario]:
    """Return the three workloads that the demo runs, ``operations`` long each.

    Parameters
    ----------
    table : Table
        Where the keys come from.
    operations : int
        Operations in each workload.
    seed : int
        Seed of the choices in the mixed workload. It has no influence on the map.
    """
    draw = random.Random(seed)
    stretch = table.keys[: min(STRETCH, operations // 4)]
    sweep = [Operation(Kind.GET, stretch[i % len(stretch)]) for i in range(operations)]

    places = draw.sample(range(len(table)), min(SMALL_SET, len(table)))
    strangers = absent_keys(table, SMALL_SET, draw)
    mixed = []
    for _ in range(operations):
        place = draw.choice(places)
        key, value = table.keys[place], table.values[place]
        mixed.append(
            draw.choice(
                [
                    Operation(Kind.GET, key),
                    Operation(Kind.DELETE, key),
                    Operation(Kind.PUT, key, value),
                    Operation(Kind.GET, draw.choice(strangers)),
                    Operation(Kind.DELETE, draw.choice(strangers)),
                ]
            )
        )
    noun = table.noun
    return [
        Scenario(
            "hammer",
            f"One {noun}, over and over",
            f"{operations:,} times the same question: {table.hot_label}.",
            [Operation(Kind.GET, table.keys[table.hot])] * operations,
        ),
        Scenario(
            "sweep",
            "A sweep, round after round",
            f"The first {len(stretch):,} {noun}s of the table, one after another, and again from the start.",
            sweep,
            period=len(stretch),
        ),
        Scenario(
            "mixed",
            "Misses and deletes, mixed",
            f"{len(places)} {noun}s are read, deleted and put back at random; "
            f"{len(strangers)} keys that do not exist are asked for and deleted.",
            mixed,
        ),
    ]


class Source:
    """The table in the state that it should have after the operations so far, to check answers with.

    Parameters
    ----------
    table : Table
        The table. At first all its keys are live.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._place = {key: place for place, key in enumerate(table.keys)}
        self._live = set(table.keys)

    def wrong(self, operations: Sequence[Operation], responses: Sequence[Response]) -> int:
        """Return how many responses are wrong, and apply the operations to the table."""
        return sum(not self._agrees(*pair) for pair in zip(operations, responses, strict=True))

    def _agrees(self, operation: Operation, response: Response) -> bool:
        key, live = operation.key, operation.key in self._live
        if operation.kind is Kind.PUT:
            self._live.add(key)
        elif operation.kind is Kind.DELETE:
            self._live.discard(key)
        if not live:
            status = Status.OK if operation.kind is Kind.PUT else Status.NOT_FOUND
            return response == Response(status)
        if response.status is not Status.OK or response.previous is None:
            return False
        return decode_row(response.previous) == self._table.rows[self._place[key]]
