"""Maps whose host keeps what the device seals, to restore them from."""

import random
from typing import Any

from omap.lineage import Ancestor
from omap.operations import Kind, Operation
from omap.presets import preset
from omap.session import ClientSession
from omap.wire import MOST_ANCESTORS
from tests.support.drawn import drawn_operations, name
from tests.support.journal_host import JournalHost
from tests.support.oracle import expected
from tests.support.sessions import holder

PARAMS = preset("TINY")
KEYS = 20
LOOK = [Operation(Kind.GET, name(PARAMS, number)) for number in range(KEYS)]
"""Asks for all keys that these maps may hold."""


class Kept:
    """A device model, what its host keeps on disk, and a dict that says what the map must hold.

    Attributes
    ----------
    before : list of bytes
        What restores the map as it was when its journal began, or when the last snapshot was made.
    mark : int
        Records of the journal that are in ``before``.
    """

    def __init__(self, seed: int, **options: Any) -> None:
        self.rng, self.options = random.Random(seed), options
        self.host, self.operation = JournalHost(**options), 0
        self.oracle: dict[bytes, bytes] = {}
        self.client = self.host.connect()
        self.ancestors: list[Ancestor] = []
        self.before: list[bytes] = []
        self.mark = 0

    def run(self, count: int) -> None:
        """Run drawn operations."""
        batch = drawn_operations(PARAMS, self.rng, count, KEYS)
        reply, answers = self.host.run(self.client, *batch)
        assert reply.sequence == self.operation
        assert answers == [expected(self.oracle, PARAMS.capacity, operation) for operation in batch]
        assert reply.live == len(self.oracle)
        self.operation += count

    def export(self) -> None:
        """Take a snapshot, after which the journal before it is not needed any more."""
        self.before, self.mark = self.host.export(), len(self.host.journal)

    def records(self) -> list[bytes]:
        """Return all that a restore takes."""
        return [*self.before, *self.host.journal[self.mark :]]

    def restore(self, *, anew: bool) -> None:
        """Restore in the same device, or in one that was started anew with the same root key."""
        records, known = self.records(), self.host.map_id
        self.ancestors.insert(0, Ancestor(known, self.operation))
        if anew:
            self.host = JournalHost(**self.options)
        self.host.restore(records)
        assert self.host.map_id not in (known, *(one.map_id for one in self.ancestors))
        # a further map of the chain: its parent's records stay, until there is a snapshot
        self.before, self.mark = records, 0
        self.client = ClientSession(PARAMS, holder())
        (answer,) = self.host.exchange(self.client.hello())
        chosen = self.rng.choice(self.ancestors[:MOST_ANCESTORS])
        self.client.opened(self.host.exchange(self.client.confirm(answer, chosen.map_id))[0])
        assert self.client.kept == chosen.kept
        self.look()

    def look(self) -> None:
        """Demand that the map holds what it must, and that the numbers of operations go on."""
        reply, answers = self.host.run(self.client, *LOOK)
        assert answers == [expected(self.oracle, PARAMS.capacity, operation) for operation in LOOK]
        assert reply.sequence == self.operation
        self.operation += len(LOOK)


Material = tuple[JournalHost, list[list[bytes]], list[int]]


def materials(seed: int) -> list[Material]:
    """Return two maps: their hosts, two snapshots of each, and how many records its journal had at each of them."""
    rng = random.Random(seed)
    found: list[Material] = []
    for _ in range(2):
        host = JournalHost()
        client = host.connect()
        snapshots, marks = [], []
        for _ in range(2):
            for _ in range(2):
                host.run(client, *drawn_operations(PARAMS, rng, rng.randint(1, 6), KEYS))
            snapshots.append(host.export())
            marks.append(len(host.journal))
        for _ in range(2):
            host.run(client, *drawn_operations(PARAMS, rng, rng.randint(1, 6), KEYS))
        found.append((host, snapshots, marks))
    return found
