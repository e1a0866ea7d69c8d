"""Write ``session.json``: keys, confirmations and records of sessions from fixed secrets, and records that must fail.

Run ``python tests/vectors/generate_session.py``; ``verify_session.py`` checks the file with code that shares nothing
with :mod:`omap.session`. Bad cases name the error that the receiver must raise, or the refusal that it must answer.
"""

import hashlib
import json
import random
import sys
from pathlib import Path

from omap.operations import Kind, Operation, Response, Status
from omap.presets import preset
from omap.session import ClientSession, DeviceSessions
from omap.wire import CLOSE, HEADER, Header, RecordType, Reply, read_header

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
}


def drawn(text):
    """Return 16 or 32 bytes that follow from a text."""
    return hashlib.sha256(f"omap session vectors: {text}".encode()).digest()


def make_session(params, root_key, device, map_id, nonce, replaces=0):
    """Open a session with a fixed client nonce; return the client's end and the four records."""
    client = ClientSession(params, root_key, replaces=replaces)
    client._nonce = nonce
    records = [client.hello()]
    records.append(device.hello(records[-1], map_id))
    records.append(client.confirm(records[-1]))
    records.append(device.confirm(records[-1]))
    client.opened(records[-1])
    return client, records


def operations(params, rng, count):
    """Return operations of every kind, the end of the session among them."""
    made = [Operation(Kind.NOP)]
    for kind in [Kind.PUT, Kind.GET, Kind.DELETE] * count:
        value = rng.randbytes(params.value_bytes) if kind is Kind.PUT else b""
        made.append(Operation(kind, rng.randbytes(params.key_bytes), value))
    return [*made, Operation(CLOSE)]


def reply_to(params, rng, number):
    """Return some answer."""
    found = rng.random() < 0.5
    status = Status.OK if found else rng.choice([Status.OK, Status.NOT_FOUND, Status.FULL])
    previous = rng.randbytes(params.value_bytes) if found else None
    return Reply(Response(status, previous), number + rng.randrange(1 << 40), rng.randrange(1 << 33), rng.randrange(9))


def flipped(record, bit):
    """Return a record with one bit changed."""
    changed = bytearray(record)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def vectors(name):
    """Return the vectors of a preset."""
    params, rng = preset(name), random.Random(name)
    root_key, map_id = drawn(f"{name} root key"), drawn(f"{name} map id")[:16]
    nonces = iter(drawn(f"{name} device nonce {number}")[:16] for number in range(9))
    device = DeviceSessions(params, root_key, nonce=lambda: next(nonces))
    other, _ = make_session(params, root_key, device, map_id, drawn(f"{name} other client")[:16])
    client, handshake = make_session(
        params, root_key, device, map_id, drawn(f"{name} client")[:16], replaces=other.session
    )
    spare, _ = make_session(params, root_key, device, map_id, drawn(f"{name} third client")[:16])

    commands, responses, exchanges = [], [], []
    foreign = spare.seal(Operation(Kind.NOP))
    device.open(foreign, read_header(foreign))
    foreign_answer = device.seal(read_header(foreign), Reply(Response(Status.OK), 0, 0, 0))
    for number, operation in enumerate(operations(params, rng, 3)):
        record = client.seal(operation)
        header = read_header(record)
        device.open(record, header)
        reply = reply_to(params, rng, number)
        answer = device.seal(header, reply)
        commands.append(record)
        responses.append(answer)
        kind, key, value = operation
        exchanges.append(
            {
                "operation": ["CLOSE" if kind == CLOSE else kind.name, key.hex(), value.hex()],
                "command": record.hex(),
                "reply": {
                    "status": reply.response.status.name,
                    "previous": None if reply.response.previous is None else reply.response.previous.hex(),
                    "operation": reply.sequence,
                    "live": reply.live,
                    "overruns": reply.overruns,
                },
                "response": answer.hex(),
            }
        )

    size, at = client.codec.record_bytes, 4
    bits = [8 * HEADER.size, 8 * size - 1, 8, 16 + 3]
    bad = []

    def case(receiver, flag, record, outcome):
        bad.append({"to": receiver, "flag": flag, "next": at, "record": record.hex(), "outcome": outcome})

    def relabelled(record, mine):
        return mine[: HEADER.size] + record[HEADER.size :]

    for bit in bits:
        # the session index picks the session of a command: in a command it must be right to get as far as the tag
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
    stranger = (
        Header(RecordType.DATA, client.session_index, 0, client.session + 99, at).pack() + commands[at][HEADER.size :]
    )
    case("device", "stranger", stranger, "UNKNOWN_SESSION")
    replaced = other.seal(Operation(Kind.NOP))
    case("device", "stranger", replaced, "UNKNOWN_SESSION")

    bad_handshakes = []
    for step, bit, flag, outcome in [
        (1, 8 * (HEADER.size + 3), "flip", "WrongKeyError"),  # device nonce
        (1, 8 * (HEADER.size + 20), "flip", "WrongKeyError"),  # map id
        (1, 8 * (HEADER.size + 40), "flip", "WrongKeyError"),  # confirmation
        (1, 8 * 7, "flip", "WrongKeyError"),  # session
        (2, 8 * (HEADER.size + 3), "flip", "WRONG_KEY"),  # confirmation
        (2, 8 * (HEADER.size + 19), "flip", "WRONG_KEY"),  # replaced session
    ]:
        bad_handshakes.append(
            {"step": step, "flag": flag, "record": flipped(handshake[step], bit).hex(), "outcome": outcome}
        )
    wrong = DeviceSessions(params, drawn(f"{name} wrong root key"), nonce=lambda: drawn(f"{name} device nonce 1")[:16])
    wrong._last_session = client.session - 1
    bad_handshakes.append(
        {"step": 1, "flag": "key", "record": wrong.hello(handshake[0], map_id).hex(), "outcome": "WrongKeyError"}
    )

    keys = client_keys(root_key, handshake, params, map_id)
    return {
        "preset": name,
        "parameters": params.to_dict(),
        "record_bytes": size,
        "root_key": root_key.hex(),
        "client_nonce": handshake[0][16:32].hex(),
        "device_nonce": handshake[1][16:32].hex(),
        "map_id": map_id.hex(),
        "session": client.session,
        "session_index": client.session_index,
        "replaces": other.session,
        "keys": {part: getattr(keys, part).hex() for part in ("command", "response", "confirmation")},
        "handshake": [record.hex() for record in handshake],
        "exchanges": exchanges,
        "bad_records": bad,
        "bad_handshakes": bad_handshakes,
    }


def client_keys(root_key, handshake, params, map_id):
    """Return the keys of a session."""
    from omap.session import session_keys

    session = read_header(handshake[1]).session
    return session_keys(root_key, handshake[0][16:32], handshake[1][16:32], params.digest, map_id, session)


def document():
    """Return the whole file."""
    return {
        "description": "sessions from fixed secrets: handshake, sealed commands and responses, and what must fail; "
        "'next' is the sequence number that the receiver expects",
        "flags": NOTES,
        "sessions": [vectors(name) for name in PRESETS],
    }


def write(folder=HERE):
    """Write the file below ``folder``."""
    text = json.dumps(document(), indent=1)
    (folder / "session.json").write_text(text + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
