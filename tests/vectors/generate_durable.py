"""Write ``durable.json``: journals and snapshots of maps from fixed secrets, and what a restore makes of them.

Run ``python tests/vectors/generate_durable.py``; ``verify_durable.py`` checks the file with code that shares nothing
with ``omap``. A restore is a list of records by name. A bad one names the record that is refused, and the refusal.
"""

import hashlib
import json
import random
import sys
from pathlib import Path

import numpy as np

from omap import sizing
from omap.columns import Answers, Columns
from omap.journal import Journal
from omap.lineage import NO_ANCESTORS
from omap.operations import Kind, Status
from omap.presets import preset
from omap.restore import Restore
from omap.snapshot import snapshot
from omap.source import END, Source
from omap.wire import HEADER, RecordCodec, Refusal, read_header

HERE = Path(__file__).parent
PARAMS = {
    "TINY": preset("TINY"),
    "long": sizing.one_choice(capacity=40, key_bytes=8, value_bytes=64, page_bytes=640, descriptor_bytes=64),
}
"""Maps of the file; a snapshot of the second has several SNAPSHOT records."""

FLAGS = {
    "flip": "one bit is not what was sealed",
    "cut": "a record is missing",
    "repeat": "a record comes twice",
    "exchange": "a record of another map, or of another snapshot",
    "time": "a journal that does not go on where what is before it ends",
    "end": "the end comes before it may",
    "key": "sealed under another root key",
    "parameters": "for a map with other parameters",
}


def drawn(text):
    """Return 32 bytes that follow from a text."""
    return hashlib.sha256(f"omap durable vectors: {text}".encode()).digest()


def drawn_columns(params, rng, count):
    """Return operations and answers to them, as a map might give them. All kinds and outcomes occur."""
    raw = np.frombuffer(rng.randbytes(count * params.tuple_bytes), np.uint8).reshape(count, -1)
    kinds = np.array([rng.choice(list(Kind)) for _ in range(count)], np.uint8)
    named = (kinds != Kind.NOP)[:, None]
    columns = Columns(kinds, raw[:, : params.key_bytes] * named, raw[:, params.key_bytes :] * named)
    outcomes = {Kind.NOP: [Status.OK], Kind.PUT: [Status.OK, Status.FULL]}
    statuses = [rng.choice(outcomes.get(kind, [Status.OK, Status.NOT_FOUND])) for kind in kinds.tolist()]
    found = np.zeros(count, bool)
    return columns, Answers(np.array(statuses, np.uint8), found, np.zeros((count, params.value_bytes), np.uint8))


def drawn_slots(params, rng):
    """Return all slots of a map, some of them used; the tuple of the first is all zeros."""
    used = np.array([True, *(rng.random() < 0.4 for _ in range(params.slots - 1))])
    raw = np.frombuffer(rng.randbytes(params.slots * params.tuple_bytes), np.uint8).reshape(params.slots, -1)
    raw = raw * used[:, None]
    raw[0] = 0
    return Columns(used * np.uint8(Kind.PUT), raw[:, : params.key_bytes], raw[:, params.key_bytes :])


def written(columns):
    """Return operations as the file has them."""
    return [
        [Kind(kind).name, key.tobytes().hex(), value.tobytes().hex()] for kind, key, value in zip(*columns, strict=True)
    ]


def flipped(record, bit):
    """Return a record with one bit changed."""
    changed = bytearray(record)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


class Map:
    """A map of the file: its journal, and the number of its next operation."""

    def __init__(self, case, name, lineage=NO_ANCESTORS, first=0):
        self.case, self.name, self.operation = case, name, first
        self.map_id = drawn(f"{case.name} {name}")[:16]
        self.journal = Journal(case.codec, case.root_key, self.map_id, lineage)
        for part, record in zip(("source", "0"), self.journal.begin(), strict=True):
            case.add(f"{name} {part}", record)

    def run(self, *counts):
        """Journal some records."""
        rng, journal = self.case.rng, self.journal
        for count in counts:
            columns, answers = drawn_columns(self.case.params, rng, count)
            number = journal.next
            (record,) = journal.records([count], columns, answers, self.operation)
            self.case.add(f"{self.name} {number}", record)
            self.case.journalled.append(
                {
                    "record": f"{self.name} {number}",
                    "operation": self.operation,
                    "ran": written(columns),
                    "statuses": [Status(status).name for status in answers.statuses],
                }
            )
            self.operation += count

    def export(self, name):
        """Make a snapshot and return the names of its records."""
        case, export_id = self.case, drawn(f"{self.case.name} {name}")[:16]
        source = Source(
            self.map_id, export_id, case.params.digest, self.operation, self.journal.next, case.codec.chunks
        )
        slots = drawn_slots(case.params, case.rng)
        pieces = [Columns(*(part[first : first + 7] for part in slots)) for first in range(0, case.params.slots, 7)]
        records = list(snapshot(case.codec, case.root_key, source, pieces, self.journal.lineage))
        names = [f"{name} {number}" for number in range(len(records))]
        for one, record in zip(names, records, strict=True):
            case.add(one, record)
        case.snapshots.append({"records": names, "export_id": export_id.hex(), "slots": written(slots)})
        return names


class Case:
    """The vectors of one set of parameters."""

    def __init__(self, name):
        self.name, self.params, self.rng = name, PARAMS[name], random.Random(name)
        self.codec, self.root_key = RecordCodec(self.params), drawn(f"{name} root key")
        self.records, self.journalled, self.snapshots, self.restores = {}, [], [], []

    def add(self, name, record):
        assert name not in self.records
        self.records[name] = record
        return name

    def changed(self, name, bit):
        """Return the name of a record with one bit changed."""
        made = f"{name}, bit {bit}"
        return made if made in self.records else self.add(made, flipped(self.records[name], bit))

    def restore(self, names, flag=None):
        """Note what becomes of a restore from these records."""
        restore, items, wrong = Restore(self.codec, self.root_key), 0, None
        for place, name in enumerate(names):
            record = self.records[name]
            found = restore.take(read_header(record), record)
            if isinstance(found, Refusal):
                wrong = {"flag": flag, "record": place, "refusal": found.name}
                break
            items += len(found) // self.codec.item_bytes
        assert (wrong is None) == (flag is None), (names, wrong)
        came = {"records": list(names), "refused": wrong}
        if wrong is None:
            assert restore.complete
            lineage = [[one.map_id.hex(), one.kept] for one in restore.lineage.ancestors]
            came |= {"operations": items, "ancestors": lineage}
        self.restores.append(came)
        return restore

    def document(self):
        most = self.codec.most_operations
        self.add("end", END)
        one = Map(self, "one")
        one.run(1, 3, most)
        early = one.export("early snapshot")
        one.run(2)
        late = one.export("late snapshot")
        one.run(1, 5)
        journal = ["one source", *(f"one {number}" for number in range(7))]
        tail, later = ["one 4", "one 5", "one 6"], ["one 5", "one 6"]
        restored = self.restore([*early, *tail, "end"])
        two = Map(self, "two", restored.lineage, restored.operation)
        two.run(4, 1)
        chain = ["two source", "two 0", "two 1", "two 2"]
        middle = two.export("snapshot of two")
        self.restore([*journal, "end"])
        self.restore(["one source", "one 0", "end"])
        self.restore([*late, *later, "end"])
        self.restore([*late, "end"])
        restored = self.restore([*early, *tail, *chain, "end"])
        assert restored.lineage == self.restore([*middle, "end"]).lineage
        lineage = restored.lineage
        for number in range(20):  # more ancestors than are remembered
            lineage = lineage.child(drawn(f"{self.name} ancestor {number}")[:16], two.operation + number)
        three = Map(self, "three", lineage, two.operation + 19)
        last = three.export("snapshot of three")
        self.restore([*last, "end"])
        ages = Map(self, "ages")
        ages.journal.next = (1 << 32) - 1
        ages.run(1, 1)
        Map(self, "unrelated").run(1, 3, 2, 1)
        self.bad(early, late, middle, tail, chain)
        return {
            "name": self.name,
            "parameters": self.params.to_dict(),
            "root_key": self.root_key.hex(),
            "records": {name: record.hex() for name, record in self.records.items()},
            "journalled": self.journalled,
            "snapshots": self.snapshots,
            "restores": self.restores,
        }

    def bad(self, early, late, middle, tail, chain):
        """Note restores that must fail."""
        restore, changed = self.restore, self.changed
        body = 8 * HEADER.size
        for bit in (8, 24, 8 * 15, body, body + 8 * 16, body + 8 * 40, body + 8 * 71, body + 8 * 79, body + 8 * 83,
                    body + 8 * 111):  # fmt: skip
            restore([changed(early[0], bit), *early[1:], *tail, "end"], "flip")
        for place in (1, len(early) - 1):
            for bit in (8, 8 * 15, body, 8 * len(self.records[early[place]]) - 1):
                restore([*early[:place], changed(early[place], bit), *early[place + 1 :], "end"], "flip")
        for bit in (8, 8 * 15, body, body + 8 * 20):
            restore([*early, tail[0], changed(tail[1], bit), "end"], "flip")
        restore([changed("one source", body + 8 * 90), "one 0", "end"], "flip")
        restore(["one source", changed("one 0", body), "end"], "flip")
        restore([*early, *tail, changed("end", 8 * 4)], "flip")
        restore([early[0], *early[2:], *tail, "end"], "cut")
        restore([*early[:-1], *tail, "end"], "cut")
        restore([*early[1:], *tail, "end"], "cut")
        restore([*early, *tail[1:], "end"], "cut")
        restore(["one 0", "one 1", "end"], "cut")
        restore(["one source", "one 1", "end"], "cut")
        restore([*early, *tail[:-1], *chain, "end"], "cut")
        restore([*early, *tail, *chain[1:], "end"], "cut")
        restore([*chain, "end"], "cut")
        for place in range(len(early)):
            restore([*early[: place + 1], *early[place:], *tail, "end"], "repeat")
        restore([*early, tail[0], *tail, "end"], "repeat")
        restore([*early, *tail, *chain, *chain, "end"], "repeat")
        restore([*early, *tail, *middle, "end"], "repeat")
        restore([*early[:1], *late[1:], "end"], "exchange")
        restore([*early[:-1], late[-1], "end"], "exchange")
        restore([*early, "unrelated 4", "end"], "exchange")
        restore([*early[:1], *middle[1:], "end"], "exchange")
        restore(["one source", "unrelated 0", "end"], "exchange")
        restore([*early, *tail, "unrelated source", "unrelated 0", "end"], "exchange")
        restore([*early, "one 3", *tail, "end"], "time")
        restore([*late, *tail, "end"], "time")
        restore([*late, *tail[2:], "end"], "time")
        for names in ([], early[:1], early[:-1], early[:2], ["one source"], [*early, *tail, "two source"]):
            restore([*names, "end"], "end")
        other, params = drawn(f"{self.name} other root key"), PARAMS["long" if self.name == "TINY" else "TINY"]
        journal = Journal(self.codec, other, drawn(f"{self.name} one")[:16], NO_ANCESTORS)
        restore(["one source", self.add("start under another key", journal.begin()[1]), "end"], "key")
        map_id = drawn(f"{self.name} foreign")[:16]
        source = Source(map_id, bytes(16), params.digest, 0, 1, self.codec.chunks)
        restore([self.add("foreign snapshot", source.record()), "end"], "parameters")
        journal = Journal(RecordCodec(params), self.root_key, map_id, NO_ANCESTORS)
        begin = zip(("foreign source", "foreign start"), journal.begin(), strict=True)
        names = [self.add(name, record) for name, record in begin]
        restore([*names, "end"], "parameters")


def document():
    """Return all vectors."""
    return {"flags": FLAGS, "cases": [Case(name).document() for name in PARAMS]}


def write(folder=HERE):
    """Write the file below ``folder``."""
    (folder / "durable.json").write_text(json.dumps(document(), indent=1) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
