"""The records that a device would seal, without one: a dict stands for the map. And what a restore gives of them.

Opening and ordering records is :class:`omap.restore.Restore`'s work here as in a device, with the same keys.
"""

import random

import numpy as np

from host.data.folder import DataFolder
from omap.columns import Answers, Columns
from omap.device_rings import Fetched
from omap.journal import Journal
from omap.lineage import NO_ANCESTORS
from omap.operations import Kind
from omap.presets import preset
from omap.restore import Restore
from omap.snapshot import snapshot
from omap.source import Source
from omap.wire import RecordCodec, RecordType, read_header
from tests.support.sessions import ROOT_KEY

PARAMS = preset("TINY")
CODEC = RecordCodec(PARAMS)
SEED = 78


class Dict:
    """Runs operations as a map does, and counts them."""

    def __init__(self):
        self.table, self.operations = {}, 0

    def execute_arrays(self, kinds, keys, values):
        for kind, key, value in zip(kinds.tolist(), keys, values, strict=True):
            assert kind != Kind.DELETE or key.tobytes() in self.table, "a journal holds effects"
            run(self.table, (kind, key.tobytes(), value.tobytes()))
        self.operations += len(kinds)
        return ok(len(kinds))


def ok(count):
    return Answers(np.zeros(count, np.uint8), np.zeros(count, bool), np.zeros((count, PARAMS.value_bytes), np.uint8))


def run(table, operation):
    kind, key, value = operation
    if kind == Kind.PUT:
        table[key] = value
    elif kind == Kind.DELETE:
        table.pop(key, None)


class Life:
    """A map from its format or restore on.

    Parameters
    ----------
    rng : random.Random
        Draws operations, and ids.
    log : list of (kind, key, value), optional
        All operations that it was restored from.
    lineage : Lineage
        Its ancestors.

    Attributes
    ----------
    log : list of (kind, key, value)
        All operations ever, by number.
    beginning : bytes
        SOURCE and START.
    """

    def __init__(self, rng, log=(), lineage=NO_ANCESTORS):
        self.rng, self.log, self.map_id = rng, list(log), rng.randbytes(16)
        self.table = table_of(log)
        self.journal = Journal(CODEC, ROOT_KEY, self.map_id, lineage)
        self.beginning = b"".join(self.journal.begin())

    def operation(self):
        """Run a new operation, and return what it changed."""
        kind, key = self.rng.choice((Kind.PUT, Kind.PUT, Kind.PUT, Kind.DELETE, Kind.NOP)), bytes(4)
        if kind != Kind.NOP:
            key = bytes([0, 0, 0, self.rng.randrange(PARAMS.capacity)])
        if kind == Kind.DELETE and key not in self.table:
            kind, key = Kind.NOP, bytes(4)
        value = len(self.log).to_bytes(4, "big") if kind == Kind.PUT else bytes(4)  # the number tells when it was put
        run(self.table, (kind, key, value))
        return int(kind), key, value

    def records(self, *counts):
        """Run new operations, and return the records that journal them."""
        first = len(self.log)
        for _ in range(sum(counts)):
            self.log.append(self.operation())
        columns = as_columns(self.log[first:])
        return b"".join(self.journal.records(counts, columns, ok(sum(counts)), first))

    def snapshot(self):
        """Return the records of a snapshot."""
        source = Source(
            self.map_id, self.rng.randbytes(16), PARAMS.digest, len(self.log), self.journal.next, CODEC.chunks
        )
        slots = [(int(Kind.PUT), key, value) for key, value in self.table.items()]
        slots += [(int(Kind.NOP), bytes(4), bytes(4))] * (PARAMS.slots - len(slots))
        self.rng.shuffle(slots)
        return list(snapshot(CODEC, ROOT_KEY, source, [as_columns(slots)], self.journal.lineage))


def as_columns(operations):
    kinds, keys, values = zip(*operations, strict=True)
    return Columns(
        np.array(kinds, np.uint8),
        np.frombuffer(b"".join(keys), np.uint8).reshape(-1, PARAMS.key_bytes),
        np.frombuffer(b"".join(values), np.uint8).reshape(-1, PARAMS.value_bytes),
    )


def table_of(log):
    table = {}
    for operation in log:
        run(table, operation)
    return table


def restored(records):
    """Return the restore that took all records, and the map that came of it."""
    restore, map_, records = Restore(CODEC, ROOT_KEY), Dict(), list(records)
    answers = restore.run(map_, [Fetched(read_header(record), record, True) for record in records])
    types = [read_header(answer).type for answer in answers]
    assert RecordType.REFUSED not in types, [read_header(answer) for answer in answers]
    assert restore.complete
    return restore, map_


# -- data folders ---------------------------------------------------------------------------------------------------


def begun(path, life, **options):
    """Return a data folder in which a map has begun its life."""
    folder = DataFolder.open(path, PARAMS, **options)
    folder.begin_map(life.beginning)
    return folder


def take_snapshot(folder, life):
    source, *rest = life.snapshot()
    writer = folder.snapshot_writer(source)
    for record in rest:
        writer.add(record)
    writer.finish()


def a_backup(folder, file):
    """Write a backup of a map with one operation, by way of a data folder."""
    life = Life(random.Random(SEED))
    made = begun(folder, life)
    made.append(life.records(1))
    made.backup_to(file)
    made.close()
    return file
