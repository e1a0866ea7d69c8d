"""What hosts keep of drawn maps, to restore from it, and the reference that says what must come of that."""

import numpy as np

from omap.columns import Answers, Columns
from omap.device_rings import Fetched
from omap.journal import Journal
from omap.lineage import NO_ANCESTORS, Ancestor, Lineage
from omap.operations import Kind, Status
from omap.restore import Restore
from omap.snapshot import snapshot
from omap.source import Source
from omap.wire import LINE_BYTES, MOST_ANCESTORS, RecordType, read_header


def drawn_columns(params, rng, count):
    """Return operations as a journal or a snapshot holds them."""
    draw = np.random.default_rng(rng.getrandbits(64))
    kinds = draw.choice(np.array([Kind.NOP, Kind.PUT, Kind.PUT, Kind.DELETE], np.uint8), count)
    keys = draw.integers(0, 256, (count, params.key_bytes), np.uint8) * (kinds != Kind.NOP)[:, None]
    values = draw.integers(0, 256, (count, params.value_bytes), np.uint8) * (kinds == Kind.PUT)[:, None]
    return Columns(kinds, keys, values)


class History:
    """What a host kept of a chain of maps, one after the other: the first of a snapshot, or from its beginning on.

    Attributes
    ----------
    records : list of bytes
        All that a restore takes, without END.
    """

    def __init__(self, codec, root_key, rng, *, map_id=None):
        self.codec, self.root_key, self.rng, self.records = codec, root_key, rng, []
        self.map_id, self.operation, self.lineage = map_id or rng.randbytes(16), 0, NO_ANCESTORS
        self.first_id = self.map_id

    @property
    def params(self):
        return self.codec.params

    def format(self):
        """Begin with the journal of a map that was formatted."""
        return self._begin()

    def snapshot(self, *, lineage=None, journal=None):
        """Begin with a snapshot of a map of any age."""
        rng, params = self.rng, self.params
        ancestors = rng.choice([0, 1, rng.randint(2, MOST_ANCESTORS), MOST_ANCESTORS])
        self.lineage = lineage or Lineage(
            tuple(Ancestor(rng.randbytes(16), rng.getrandbits(rng.choice([8, 40]))) for _ in range(ancestors))
        )
        self.operation, journal = rng.getrandbits(rng.choice([8, 40])), journal or rng.randint(1, 1 << 20)
        source = Source(self.map_id, rng.randbytes(16), params.digest, self.operation, journal, self.codec.chunks)
        slots = [drawn_columns(params, rng, params.slots)]
        if short := self.codec.chunks * self.codec.most_operations - params.slots:
            slots.append(Columns(*(np.zeros((short, *column.shape[1:]), np.uint8) for column in slots[0])))
        self.records += snapshot(self.codec, self.root_key, source, slots, self.lineage)
        self._journal = Journal(self.codec, self.root_key, self.map_id, self.lineage)
        self._journal.next = journal
        return self

    def child(self):
        """Go on with a map that was restored from all so far."""
        self.lineage = self.lineage.child(self.map_id, self.operation)
        self.map_id = self.rng.randbytes(16)
        return self._begin()

    def _begin(self):
        self._journal = Journal(self.codec, self.root_key, self.map_id, self.lineage)
        self.records += self._journal.begin()
        return self

    def run(self, *counts):
        """Add records of the journal."""
        columns = drawn_columns(self.params, self.rng, sum(counts))
        answers = Answers(np.zeros(sum(counts), np.uint8), np.zeros(sum(counts), bool), columns.values)
        self.records += self._journal.records(counts, columns, answers, self.operation)
        self.operation += sum(counts)
        return self


def drawn_history(codec, root_key, rng, *, snapshots=True):
    """Return a history of up to three maps."""
    history = History(codec, root_key, rng)
    if snapshots and rng.random() < 0.6:
        history.snapshot()
    else:
        history.format()
    for place in range(rng.randint(1, 3)):
        if place:
            history.child()
        for _ in range(rng.randint(0, 4)):
            history.run(rng.choice([1, rng.randint(1, 5), rng.randint(1, codec.most_operations)]))
    return history


class NewMap:
    """In the place of the map that is filled: keeps the operations, and answers some of them with another status.

    Parameters
    ----------
    refused : mapping
        Status of the operations that are not OK, by their place.
    """

    def __init__(self, refused):
        self.refused, self.operations = refused, []

    def execute_arrays(self, kinds, keys, values):
        before = len(self.operations)
        self.operations += [
            (int(kind), key.tobytes(), value.tobytes()) for kind, key, value in zip(kinds, keys, values, strict=True)
        ]
        statuses = [self.refused.get(place, Status.OK) for place in range(before, len(self.operations))]
        return Answers(np.array(statuses, np.uint8), np.zeros(len(kinds), bool), values)


def law_of(codec, root_key, records, refused):
    """Return the reference after a restore, the records as it frames them, the answers to them, and the new map.

    As :meth:`omap.device.DeviceModel.step` does it: all lines that are there, but none behind an END that was taken.
    """
    law, new_map, data = Restore(codec, root_key), NewMap(refused), b"".join(records)
    fetched, answers, lot = [], [], []
    while data and not law.complete:
        header = read_header(data)
        lines = law.lines(header)
        size = LINE_BYTES * (lines or 1)
        whole = size <= len(data)
        if whole:
            lot.append(Fetched(header, data[:size], lines > 0))
            data = data[size:]
        if not whole or not data or header.type == RecordType.END:
            answers += law.run(new_map, lot)
            fetched, lot = fetched + lot, []
        if not whole:
            break
    return law, fetched, answers, new_map
