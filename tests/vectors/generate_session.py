"""Write ``session.json``: keys, confirmations and records of sessions from fixed secrets, and records that must fail.

Run ``python tests/vectors/generate_session.py``; ``verify_session.py`` checks the file with code that shares nothing
with ``omap``. Bad cases name the error that the receiver must raise, or the refusal that it must answer.
The cases under ``rights`` show what a device runs instead of an operation that is not allowed, and what it tells of it.
"""

import hashlib
import json
import random
import sys
from pathlib import Path

import numpy as np

from omap import sizing
from omap.batch import CommandBatch
from omap.bodies import Reply, pack_answers, reply_text
from omap.columns import Answers
from omap.credentials import Credential, provision
from omap.interface import as_rows
from omap.lineage import NO_MAP, Ancestor, Lineage
from omap.operations import Kind, Operation, Status
from omap.session import ClientSession, session_keys
from omap.sessions import DeviceSessions
from omap.wire import CLOSE, HEADER, Header, RecordType, Refusal, read_header, refusal

HERE = Path(__file__).parent
PRESETS = ("TINY", "SMALL", "WIDE")
NOTES = {
    "flip": "one bit is not what was sealed",
    "replay": "a record that came before",
    "gap": "a record whose predecessor is missing",
    "session": "a record of another session, as it is",
    "relabel": "a record of another session under the header of this one",
    "direction": "a record that was sealed for the other direction",
    "truncated": "the end is missing, zeros in its place",
    "key": "made under another root key",
    "stranger": "a record of a session that is not open",
    "credential": "rights or a prefix that no client can have",
    "other": "a credential whose key the client does not hold",
    "lines": "a header whose lines do not fit its type and count",
}
RIGHTS = {
    "TINY": [(3, b""), (1, b""), (2, b""), (3, b"a"), (2, b"ab"), (1, b"abcd")],
    "SMALL": [(3, b""), (1, b"ab"), (2, b"abcdefgh")],
    "WIDE": [(3, b"\0"), (1, b"a"), (2, b"")],
}
"""Credentials of each preset: rights and prefix. The first is the one under which records are exchanged."""


def drawn(text):
    """Return 16 or 32 bytes that follow from a text."""
    return hashlib.sha256(f"omap session vectors: {text}".encode()).digest()


# Many: what is fixed of both ends.
def make_session(params, client, device, map_id, nonce, replaces=0, known=NO_MAP):
    """Open a session with a fixed client nonce; return the client's end and the four records."""
    session = ClientSession(params, client, replaces=replaces)
    session._nonce = nonce
    records = [session.hello()]
    records.append(device.hello(records[-1], map_id))
    records.append(session.confirm(records[-1], known))
    records.append(device.confirm(records[-1]))
    session.opened(records[-1])
    return session, records


def drawn_operation(params, rng, kind, prefix=b""):
    """Return an operation with a drawn key and value, as far as its kind has them."""
    key = (prefix + rng.randbytes(params.key_bytes))[: params.key_bytes] if kind not in (Kind.NOP, CLOSE) else b""
    return Operation(kind, key, rng.randbytes(params.value_bytes) if kind == Kind.PUT else b"")


def batches(codec, rng, prefix):
    """Return records of several counts: each kind alone, as many as one line and two lines hold, and the most."""
    counts = [1] * 4 + [max(1, (64 * lines - 48) // codec.item_bytes) for lines in (1, 2, 7)] + [codec.most_operations]
    kinds = [[kind] for kind in Kind] + [[rng.choice(list(Kind)) for _ in range(count)] for count in counts[4:]]
    made = [[drawn_operation(codec.params, rng, kind, prefix) for kind in record] for record in kinds]
    return [*made, [drawn_operation(codec.params, rng, kind, prefix) for kind in (Kind.PUT, CLOSE, Kind.GET)]]


def drawn_answers(params, rng, count):
    """Return some answers."""
    found = [rng.random() < 0.5 for _ in range(count)]
    statuses = [Status.OK if one else rng.choice([Status.OK, Status.NOT_FOUND, Status.FULL]) for one in found]
    values = [rng.randbytes(params.value_bytes) if one else bytes(params.value_bytes) for one in found]
    return Answers(np.array(statuses, np.uint8), np.array(found), as_rows("values", params.value_bytes, values))


def written(operations):
    """Return operations as the file has them."""
    return [["CLOSE" if kind == CLOSE else Kind(kind).name, key.hex(), value.hex()] for kind, key, value in operations]


def told(answers):
    """Return answers as the file has them: status, and the value if there was one."""
    return [
        [Status(status).name, value.tobytes().hex() if found else None]
        for status, found, value in zip(*answers, strict=True)
    ]


def flipped(record, bit):
    """Return a record with one bit changed."""
    changed = bytearray(record)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# Written out, not taken from presets: a better sizing must not change what was once published.
SHAPES = {
    "TINY": {"capacity": 12, "key_bytes": 4, "value_bytes": 4, "page_bytes": 64, "descriptor_bytes": 32},
    "SMALL": {"capacity": 1000, "key_bytes": 8, "value_bytes": 8, "page_bytes": 128, "descriptor_bytes": 64},
    "WIDE": {"capacity": 1 << 20, "key_bytes": 16, "value_bytes": 256, "page_bytes": 4096, "descriptor_bytes": 64},
}


def vectors(name):
    """Return the vectors of a preset."""
    params, rng = sizing.one_choice(**SHAPES[name]), random.Random(name)
    root_key, map_id = drawn(f"{name} root key"), drawn(f"{name} map id")[:16]
    nonces = iter(drawn(f"{name} device nonce {number}")[:16] for number in range(9))
    lineage = Lineage(tuple(Ancestor(drawn(f"{name} ancestor {number}")[:16], 999 - number) for number in range(3)))
    known = {"TINY": lineage.ancestors[1].map_id, "SMALL": NO_MAP, "WIDE": map_id}[name]
    device = DeviceSessions(params, root_key, nonce=lambda: next(nonces), lineage=lineage)
    rights, prefix = RIGHTS[name][0]
    holder = provision(root_key, Credential(rights, prefix, b"first client"))
    other, _ = make_session(params, holder, device, map_id, drawn(f"{name} other client")[:16])
    client, handshake = make_session(params, holder, device, map_id, drawn(f"{name} client")[:16], other.session, known)
    third = provision(root_key, Credential(rights, prefix, b"third client"))
    spare, _ = make_session(params, third, device, map_id, drawn(f"{name} third client")[:16])

    codec = client.codec
    commands, responses, exchanges = [], [], []
    foreign = spare.seal([Operation(Kind.NOP)])
    device.open(foreign, read_header(foreign))
    foreign_answer = device.seal(read_header(foreign), bytes(codec.text_bytes(1)))
    for batch in batches(codec, rng, prefix):
        record = client.seal(batch)
        header = read_header(record)
        device.open(record, header)
        answers = drawn_answers(params, rng, len(batch))
        numbers = rng.randrange(1 << 40), rng.randrange(9), rng.randrange(1 << 33)
        answer = device.seal(header, reply_text(codec, Reply(*numbers, len(batch), pack_answers(codec, answers))))
        commands.append(record)
        responses.append(answer)
        exchanges.append(
            {
                "operations": written(batch),
                "command": record.hex(),
                "reply": {
                    "operation": numbers[0],
                    "overruns": numbers[1],
                    "live": min(numbers[2], (1 << 32) - 1),
                    "answers": told(answers),
                },
                "response": answer.hex(),
            }
        )

    keys = session_keys(holder.key, handshake[0][16:32], handshake[1][16:32], params.digest, map_id, client.session)
    return {
        "preset": name,
        "parameters": params.to_dict(),
        "item_bytes": codec.item_bytes,
        "most_operations": codec.most_operations,
        "root_key": root_key.hex(),
        "credential": holder.credential.pack().hex(),
        "client_key": holder.key.hex(),
        "names_key": holder.names_key.hex(),
        "client_nonce": handshake[0][16:32].hex(),
        "device_nonce": handshake[1][16:32].hex(),
        "map_id": map_id.hex(),
        "session": client.session,
        "session_index": client.session_index,
        "replaces": other.session,
        "ancestors": [[one.map_id.hex(), one.kept] for one in lineage.ancestors],
        "known": known.hex(),
        "kept": client.kept,
        "keys": {part: getattr(keys, part).hex() for part in ("command", "response", "confirmation")},
        "handshake": [record.hex() for record in handshake],
        "exchanges": exchanges,
        "bad_records": bad_records(client, commands, responses, foreign, foreign_answer, other),
        "bad_handshakes": bad_handshakes(name, params, root_key, map_id, client.session, handshake),
        "refused_credentials": refused_credentials(params, root_key, map_id, handshake[0]),
        "malformed": malformed(codec, rng),
        "rights": [enforced(codec, rng, Credential(*one)) for one in RIGHTS[name]],
    }


# Many: all that was exchanged, of which the records are made that must fail.
def bad_records(client, commands, responses, foreign, foreign_answer, other):
    """Return records that the receiver of the fifth exchange must refuse."""
    at, bad = 4, []
    size = len(commands[at])

    def case(receiver, flag, record, outcome):
        bad.append({"to": receiver, "flag": flag, "next": at, "record": record.hex(), "outcome": outcome})

    def relabelled(record, mine):
        return mine[: HEADER.size] + record[HEADER.size :].ljust(size - HEADER.size, b"\0")[: size - HEADER.size]

    # the session index picks the session of a command: in a command it must be right to get as far as the tag
    for bit in (8 * HEADER.size, 8 * size - 1, 8):
        if bit != 8:
            case("device", "flip", flipped(commands[at], bit), "ALTERED")
        case("client", "flip", flipped(responses[at], bit), "AlteredError")
    case("device", "truncated", commands[at][: size // 2].ljust(size, b"\0"), "ALTERED")
    case("client", "truncated", responses[at][: size // 2].ljust(size, b"\0"), "AlteredError")
    case("device", "replay", commands[at - 1], "OUT_OF_TURN")
    case("client", "replay", responses[at - 1], "ReplayedError")
    case("device", "gap", commands[at + 1], "OUT_OF_TURN")
    case("client", "gap", responses[at + 1], "LostError")
    case("client", "session", foreign_answer, "AlteredError")
    case("device", "relabel", relabelled(foreign, commands[at]), "ALTERED")
    case("client", "relabel", relabelled(foreign_answer, responses[at]), "AlteredError")
    case("device", "direction", responses[at], "ALTERED")
    case("client", "direction", commands[at], "AlteredError")
    header = read_header(commands[at])._replace(session=client.session + 99)
    case("device", "stranger", header.pack() + commands[at][HEADER.size :], "UNKNOWN_SESSION")
    case("device", "stranger", other.seal([Operation(Kind.NOP)]), "UNKNOWN_SESSION")
    return bad


# Many: what both ends of a handshake know.
def bad_handshakes(name, params, root_key, map_id, session, handshake):
    """Return changed records of a handshake, after which no session is open."""
    bad = []
    for step, bit, flag, outcome in [
        (1, 8 * (HEADER.size + 3), "flip", "WrongKeyError"),  # device nonce
        (1, 8 * (HEADER.size + 20), "flip", "WrongKeyError"),  # map id
        (1, 8 * (HEADER.size + 40), "flip", "WrongKeyError"),  # confirmation
        (1, 8 * 7, "flip", "WrongKeyError"),  # session
        (2, 8 * (HEADER.size + 3), "flip", "WRONG_KEY"),  # confirmation
        (2, 8 * (HEADER.size + 19), "flip", "WRONG_KEY"),  # replaced session
        (2, 8 * (HEADER.size + 40), "flip", "WRONG_KEY"),  # known map
        (3, 8 * (HEADER.size + 3), "flip", "AlteredError"),  # confirmation
        (3, 8 * (HEADER.size + 23), "flip", "AlteredError"),  # kept
    ]:
        bad.append({"step": step, "flag": flag, "record": flipped(handshake[step], bit).hex(), "outcome": outcome})
    other = Credential(name=b"of another").pack()
    hello = handshake[0][: HEADER.size + 16] + other + handshake[0][HEADER.size + 48 :]
    for flag, key, asked in [
        ("key", drawn(f"{name} wrong root key"), handshake[0]),
        ("other", root_key, hello),
    ]:
        wrong = DeviceSessions(params, key, nonce=lambda: drawn(f"{name} device nonce 1")[:16])
        wrong._last_session = session - 1
        answer = wrong.hello(asked, map_id)
        bad.append({"step": 1, "flag": flag, "record": answer.hex(), "outcome": "WrongKeyError"})
    return bad


def refused_credentials(params, root_key, map_id, hello):
    """Return HELLOs with credentials that nobody can have, and the answer to each."""
    longest = min(8, params.key_bytes)
    cases = []
    for head in (
        bytes([0, 0]),
        bytes([4, 0]),
        bytes([3, longest + 1]) + b"abcdefgh",
        bytes([3, 9]) + b"abcdefgh",
        bytes([3, 2]) + b"abc",
        bytes([1, 0]) + b"\0\0\0\0\0\0\0\1",
    ):
        asked = hello[: HEADER.size + 16] + head.ljust(10, b"\0") + b"name".ljust(22, b"\0") + hello[HEADER.size + 48 :]
        answer = DeviceSessions(params, root_key).hello(asked, map_id)
        assert read_header(answer).count == Refusal.CREDENTIAL
        cases.append({"flag": "credential", "record": asked.hex(), "answer": answer.hex()})
    return cases


def malformed(codec, rng):
    """Return headers that do not fit, and the answer to each, which a device gives for one line."""
    most = codec.most_operations
    cases = []
    for type_, lines, count in [
        (RecordType.HELLO, 1, 0),
        (RecordType.HELLO, 2, 1),
        (RecordType.CONFIRM, 2, 0),
        (RecordType.DATA, 1, 0),
        (RecordType.DATA, codec.lines(most), most + 1),
        (RecordType.DATA, codec.lines(most) + 1, most),
        (RecordType.DATA, codec.lines(1) + 1, 1),
        (RecordType.REFUSED, 1, 4),
        (0, 1, 0),
        (200, 2, 0),
    ]:
        header = Header(type_, rng.randrange(16), lines, count % 256, rng.randrange(1 << 32), rng.randrange(1 << 64))
        assert codec.command_lines(*header[:1], *header[2:4]) == 0
        answer = refusal(header, Refusal.MALFORMED)
        cases.append({"flag": "lines", "header": header.pack().hex(), "answer": answer.hex()})
    return cases


def enforced(codec, rng, credential):
    """Return operations, what a device runs instead of them, and what it tells of drawn answers to that."""
    params, prefix = codec.params, credential.prefix
    near = [prefix, flipped(prefix, 8 * len(prefix) - 1) if prefix else b"", prefix[:-1] + b"x" if prefix else b""]
    kinds = [kind for kind in [*Kind, CLOSE] for _ in range(3)]
    batch = [drawn_operation(params, rng, kind, near[place % 3]) for place, kind in enumerate(kinds)]
    batch = batch[: codec.most_operations]
    text = bytearray(codec.text_bytes(len(batch)))
    for place, (kind, key, value) in enumerate(batch):  # of a client that keeps to no rule
        at = 16 + place * codec.item_bytes
        item = bytes([kind]) + (key or b"\7" * params.key_bytes) + (value or b"\7" * params.value_bytes)
        text[at : at + len(item)] = item
    text[-1] = 7
    work = CommandBatch(codec)
    work.add(Header(RecordType.DATA, 0, codec.lines(len(batch)), len(batch), 1, 0), credential, bytes(text))
    columns = work.columns()
    answers = drawn_answers(params, rng, len(batch))
    idle = columns.kinds == Kind.NOP
    answers = Answers(
        np.where(idle, Status.OK, answers.statuses).astype(np.uint8),
        answers.found & ~idle,
        answers.values * ~idle[:, None],
    )
    live = np.arange(100, 100 + len(batch))
    (reply,) = work.replies(answers, 7, live)
    return {
        "credential": credential.pack().hex(),
        "command": bytes(text).hex(),
        "count": len(batch),
        "run": [
            [Kind(kind).name, key.tobytes().hex(), value.tobytes().hex()]
            for kind, key, value in zip(*columns, strict=True)
        ],
        "answers": told(answers),
        "first": 7,
        "live": int(live[-1]),
        "response": reply.hex(),
    }


def document():
    """Return the whole file."""
    return {
        "description": "sessions from fixed secrets: handshake, sealed commands and responses, and what must fail; "
        "'next' is the sequence number that the receiver expects. 'rights' has bodies of records before sealing",
        "flags": NOTES,
        "sessions": [vectors(name) for name in PRESETS],
    }


def write(folder=HERE):
    """Write the file below ``folder``."""
    text = json.dumps(document(), indent=1)
    (folder / "session.json").write_text(text + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
