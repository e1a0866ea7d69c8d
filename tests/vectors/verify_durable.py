"""Check ``durable.json`` without our code: what journals and snapshots seal, and what a restore makes of them.

The primitives are those of ``verify_session.py``, which does CMAC, KDF and GCM block by block. Run ``python
tests/vectors/verify_durable.py [FILE]``; exits 1 where the file disagrees.
"""

import hashlib
import json
import struct
import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from verify_session import HEADER, KINDS, Sizes, gcm, kdf

JOURNAL, SNAPSHOT, START, SOURCE, END = 5, 6, 7, 8, 9
MALFORMED, ALTERED, OUT_OF_TURN, FAILED = "MALFORMED", "ALTERED", "OUT_OF_TURN", "RESTORE_FAILED"
MOST_ANCESTORS = 16
NOBODY = bytes(16)


class Case:
    """The records of one set of parameters."""

    def __init__(self, case):
        self.case, self.sizes = case, Sizes(case["parameters"])
        self.root_key = bytes.fromhex(case["root_key"])
        canonical = json.dumps(case["parameters"], sort_keys=True, separators=(",", ":")).encode()
        self.digest = hashlib.sha256(canonical).digest()
        self.records = {name: bytes.fromhex(record) for name, record in case["records"].items()}
        given = case["parameters"]
        slots = (given["page_bytes"] - 16) // (given["key_bytes"] + given["value_bytes"])
        self.slots = given["pages"] * slots + given["waiting_slots"]
        self.chunks = -(-self.slots // self.sizes.most)
        self.opened = cache(self.opened)

    def journal_key(self, map_id, number):
        return kdf(self.root_key, b"omap journal 1", map_id + (number >> 32).to_bytes(4, "big"), 32)

    def snapshot_key(self, fields):
        return kdf(self.root_key, b"omap snapshot 1", fields[:32], 32)

    def opened(self, key, record, more=b""):
        """Return what a record seals, or None."""
        kind, _, _, _, _, sequence = HEADER.unpack_from(record)
        nonce = kind.to_bytes(4, "big") + sequence.to_bytes(8, "big")
        head, body = record[: HEADER.size], record[HEADER.size : -16]
        text, tag = gcm(key, nonce, body, head + more, opening=True)
        return text if tag == record[-16:] else None

    def fits(self, kind, lines, count):
        """Return whether lines and count of a record may be so."""
        if kind == JOURNAL:
            return 1 <= count <= self.sizes.most and lines == self.sizes.lines(count)
        if kind == SNAPSHOT:
            return (lines, count) == (self.sizes.lines(self.sizes.most), self.sizes.most)
        if kind == START:
            return count <= MOST_ANCESTORS and lines == -(-(16 + 80 + 32 * count + 16) // 64)
        return count == 0 and lines == {SOURCE: 2, END: 1}.get(kind)

    def items(self, operations, count):
        """Return the items of a record."""
        made = b"".join(
            (bytes([KINDS[kind]]) + bytes.fromhex(key + value)).ljust(self.sizes.item, b"\0")
            for kind, key, value in operations
        )
        return made.ljust(count * self.sizes.item, b"\0")


def check_journalled(case, one):
    """Check a journal record: what was OK and changed something is there, and all else is zeros."""
    record = case.records[one["record"]]
    kind, index, lines, count, session, number = HEADER.unpack_from(record)
    assert (kind, index, session, count) == (JOURNAL, 0, 0, len(one["ran"])), "header"
    assert case.fits(kind, lines, count), "lines"
    assert len(record) == 64 * lines, "length"
    name, _, last = one["record"].rpartition(" ")
    assert number == int(last), "number"
    kept = [
        (kind, key, value if kind == "PUT" else "") if status == "OK" and kind in ("PUT", "DELETE") else ("NOP", "", "")
        for (kind, key, value), status in zip(one["ran"], one["statuses"], strict=True)
    ]
    text = one["operation"].to_bytes(8, "big") + bytes(8) + case.items(kept, count)
    map_id = case.records[f"{name} source"][16:32]
    opened = case.opened(case.journal_key(map_id, number), record)
    assert opened == text.ljust(64 * lines - 32, b"\0"), "what is sealed"


def check_snapshot(case, one):
    """Check the records of a snapshot."""
    source, *chunks, last = (case.records[name] for name in one["records"])
    fields = source[16:]
    assert source[:16] == HEADER.pack(SOURCE, 0, 2, 0, 0, 0), "header of SOURCE"
    assert fields[16:32].hex() == one["export_id"], "export id"
    assert fields[32:64] == case.digest, "digest"
    assert int.from_bytes(fields[80:84], "big") == len(chunks) == case.chunks, "number of chunks"
    assert len(source) == 128, "length of SOURCE"
    assert not any(fields[84:]), "zeros of SOURCE"
    assert len(one["slots"]) == case.slots, "slots"
    key, most = case.snapshot_key(fields), case.sizes.most
    lines = case.sizes.lines(most)
    for number, record in enumerate(chunks):
        assert record[:16] == HEADER.pack(SNAPSHOT, 0, lines, most, 0, number), "header of a chunk"
        text = bytes(16) + case.items(one["slots"][number * most : (number + 1) * most], most)
        assert case.opened(key, record, fields) == text.ljust(64 * lines - 32, b"\0"), "what a chunk seals"
    assert case.opened(key, last, fields) is not None, "START"
    assert HEADER.unpack_from(last)[0] == START, "type of START"
    assert HEADER.unpack_from(last)[-1] == len(chunks), "number of START"


def read_start(text, count):
    """Return digest, map id, parent, kept, and the ancestors."""
    ancestors = [struct.unpack_from(">16sQ", text, 80 + 32 * place) for place in range(count)]
    return text[:32], text[32:48], text[48:64], int.from_bytes(text[64:72], "big"), ancestors


class Restore:
    """What a device does with the records of a restore, as the documents say."""

    def __init__(self, case):
        self.case, self.phase = case, "begin"
        self.map_id, self.operation, self.ancestors, self.operations = NOBODY, 0, [], 0

    def take(self, record):
        """Return why a record is refused; None if it is taken."""
        kind, _, lines, count, _, number = HEADER.unpack_from(record)
        if not self.case.fits(kind, lines, count):
            return MALFORMED
        wanted = {
            "begin": (SOURCE,),
            "chunks": (SNAPSHOT,),
            "last": (START,),
            "first": (START,),
            "journal": (SOURCE, JOURNAL, END),
            "done": (),
        }
        if kind not in wanted[self.phase]:
            return OUT_OF_TURN
        if kind == SOURCE:
            return self.source(record)
        if kind == END:
            self.phase = "done"
            return None if record[:16] == HEADER.pack(END, 0, 1, 0, 0, 0) else MALFORMED
        if number != self.next:
            return OUT_OF_TURN
        if self.phase in ("chunks", "last"):
            text = self.case.opened(self.case.snapshot_key(self.fields), record, self.fields)
        else:
            text = self.case.opened(self.case.journal_key(self.fields[:16], number), record)
        if text is None:
            return ALTERED
        self.next += 1
        if kind == START:
            return self.start(text, count)
        if kind == SNAPSHOT and self.next == self.case.chunks:
            self.phase = "last"
        if kind == JOURNAL:
            if int.from_bytes(text[:8], "big") != self.operation:
                return FAILED
            self.operation += count
        self.operations += count
        return None

    def source(self, record):
        fields = self.fields = record[16:]
        chunks = int.from_bytes(fields[80:84], "big")
        if record[:16] != HEADER.pack(SOURCE, 0, 2, 0, 0, 0) or (not chunks and any(fields[16:])):
            return MALFORMED
        self.next = 0
        if not chunks:
            self.phase = "first"
            return None
        if self.phase != "begin":
            return OUT_OF_TURN
        if fields[32:64] != self.case.digest or chunks != self.case.chunks:
            return FAILED
        self.phase = "chunks"
        return None

    def start(self, text, count):
        digest, map_id, parent, kept, ancestors = read_start(text, count)
        assert (parent, kept) == (ancestors[0] if ancestors else (NOBODY, 0)), "the parent is the first ancestor"
        if self.phase == "first" and (parent, kept) != (self.map_id, self.operation):
            return FAILED
        if digest != self.case.digest or map_id != self.fields[:16]:
            return FAILED
        if self.phase == "last":
            self.operation, self.next = struct.unpack_from(">QQ", self.fields, 64)
        self.map_id, self.ancestors, self.phase = map_id, ancestors, "journal"
        return None


def check_restore(case, one):
    """Check what becomes of a restore."""
    restore, refused = Restore(case), one["refused"]
    for place, name in enumerate(one["records"]):
        why = restore.take(case.records[name])
        if why is not None:
            assert refused is not None, f"{name} is refused"
            assert (refused["record"], refused["refusal"]) == (place, why), "which record is refused, and why"
            return
    assert refused is None, "nothing is refused"
    ancestors = [[map_id.hex(), kept] for map_id, kept in restore.ancestors]
    ancestors = [[restore.map_id.hex(), restore.operation], *ancestors][:MOST_ANCESTORS]
    assert (restore.phase, restore.operations, ancestors) == ("done", one["operations"], one["ancestors"]), "the end"


def check(given):
    """Check all vectors of a set of parameters."""
    case = Case(given)
    for one in given["journalled"]:
        check_journalled(case, one)
    for one in given["snapshots"]:
        check_snapshot(case, one)
    for one in given["restores"]:
        check_restore(case, one)


def verify(path):
    """Check a file.

    Raises
    ------
    AssertionError
        Names the file, the parameters, and what is wrong.
    """
    for case in json.loads(Path(path).read_text())["cases"]:
        try:
            check(case)
        except AssertionError as error:
            raise AssertionError(f"{Path(path).name}: {case['name']}: {error}") from error


if __name__ == "__main__":
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "durable.json"
    try:
        verify(file)
    except AssertionError as error:
        sys.exit(str(error))
    print(f"{file.name}: agrees")
