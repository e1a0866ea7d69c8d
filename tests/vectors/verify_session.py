"""Check ``session.json`` without our code: AES from ``cryptography`` for one block, the rest written out here.

CMAC (NIST SP 800-38B), the counter-mode KDF (SP 800-108r1, 4.1) and GCM (SP 800-38D) are done block by block, so that
not even the library's modes are shared with :mod:`omap.session`. Run ``python tests/vectors/verify_session.py [FILE]``;
exits 1 where the file disagrees.
"""

import hashlib
import json
import struct
import sys
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

HEADER = struct.Struct(">BBHIQ")
HELLO, CONFIRM, DATA, REFUSED = 1, 2, 3, 4
KINDS = {"NOP": 0, "GET": 1, "PUT": 2, "DELETE": 3, "CLOSE": 4}
STATUSES = {"OK": 0, "NOT_FOUND": 1, "FULL": 2}
UNKNOWN_SESSION, WRONG_KEY = 1, 3


def block_cipher(key):
    return Cipher(algorithms.AES256(key), modes.ECB()).encryptor().update


def double(number):
    """Multiply by x in the field of CMAC."""
    number <<= 1
    return number & (1 << 128) - 1 ^ 0x87 if number >> 128 else number


def cmac(key, message):
    encrypt = block_cipher(key)
    subkey = double(int.from_bytes(encrypt(bytes(16)), "big"))
    blocks = [message[at : at + 16] for at in range(0, len(message), 16)] or [b""]
    if len(blocks[-1]) < 16:
        subkey = double(subkey)
        blocks[-1] = (blocks[-1] + b"\x80").ljust(16, b"\0")
    state = 0
    for block in blocks[:-1]:
        state = int.from_bytes(encrypt((state ^ int.from_bytes(block, "big")).to_bytes(16, "big")), "big")
    last = state ^ int.from_bytes(blocks[-1], "big") ^ subkey
    return encrypt(last.to_bytes(16, "big"))


def kdf(key, label, context, length):
    fixed = label + b"\0" + context + (8 * length).to_bytes(4, "big")
    count = -(-length // 16)
    return b"".join(cmac(key, number.to_bytes(4, "big") + fixed) for number in range(1, count + 1))[:length]


def multiply(one, other):
    """Multiply in the field of GCM, bit 0 first."""
    product = 0
    for bit in range(127, -1, -1):
        if other >> bit & 1:
            product ^= one
        one = one >> 1 ^ (0xE1 << 120 if one & 1 else 0)
    return product


def gcm(key, nonce, text, additional, *, opening):
    """Return the output text and the tag of the ciphertext."""
    encrypt = block_cipher(key)
    blocks = -(-len(text) // 16)
    stream = b"".join(encrypt(nonce + number.to_bytes(4, "big")) for number in range(2, 2 + blocks))
    output = bytes(a ^ b for a, b in zip(text, stream, strict=False))
    ciphertext = text if opening else output
    subkey, state = int.from_bytes(encrypt(bytes(16)), "big"), 0
    padded = b"".join(part.ljust(-(-len(part) // 16) * 16, b"\0") for part in (additional, ciphertext))
    padded += (8 * len(additional)).to_bytes(8, "big") + (8 * len(ciphertext)).to_bytes(8, "big")
    for at in range(0, len(padded), 16):
        state = multiply(state ^ int.from_bytes(padded[at : at + 16], "big"), subkey)
    tag = state ^ int.from_bytes(encrypt(nonce + (1).to_bytes(4, "big")), "big")
    return output, tag.to_bytes(16, "big")


class Session:
    """What both ends of a session know."""

    def __init__(self, case):
        self.parameters = case["parameters"]
        self.size = case["record_bytes"]
        self.number, self.session_index, self.replaces = case["session"], case["session_index"], case["replaces"]
        self.root_key, self.map_id = bytes.fromhex(case["root_key"]), bytes.fromhex(case["map_id"])
        self.client_nonce = bytes.fromhex(case["client_nonce"])
        canonical = json.dumps(self.parameters, sort_keys=True, separators=(",", ":")).encode()
        self.digest = hashlib.sha256(canonical).digest()
        self.set_keys(bytes.fromhex(case["device_nonce"]), self.map_id, self.number)

    def set_keys(self, device_nonce, map_id, number):
        context = self.client_nonce + device_nonce + self.digest + map_id + number.to_bytes(4, "big")
        keys = kdf(self.root_key, b"omap session 1", context, 96)
        self.keys = {"command": keys[:32], "response": keys[32:64], "confirmation": keys[64:]}

    def confirmation(self, role, replaced=0):
        return cmac(self.keys["confirmation"], bytes([role]) + bytes(11) + replaced.to_bytes(4, "big"))

    def clear(self, kind, session_index, number, body):
        return (HEADER.pack(kind, session_index, 0, number, 0) + body).ljust(self.size, b"\0")

    def record(self, direction, sequence, plaintext):
        head = HEADER.pack(DATA, self.session_index, 0, self.number, sequence)
        padded = plaintext.ljust(self.size - HEADER.size - 16, b"\0")
        nonce = (0 if direction == "command" else 1).to_bytes(4, "big") + sequence.to_bytes(8, "big")
        ciphertext, tag = gcm(self.keys[direction], nonce, padded, head, opening=False)
        return head + ciphertext + tag

    def outcome(self, receiver, expected, record):
        """Return what the receiver makes of a record; None if it is good."""
        kind, session_index, _, number, sequence = HEADER.unpack_from(record)
        direction = "command" if receiver == "device" else "response"
        if receiver == "device" and (session_index, number) != (self.session_index, self.number):
            return "UNKNOWN_SESSION"
        if kind != DATA or number != self.number:
            return "AlteredError"
        if sequence != expected and receiver == "device":
            return "OUT_OF_TURN"
        if sequence != expected:
            return "ReplayedError" if sequence < expected else "LostError"
        nonce = (0 if direction == "command" else 1).to_bytes(4, "big") + sequence.to_bytes(8, "big")
        _, tag = gcm(self.keys[direction], nonce, record[HEADER.size : -16], record[: HEADER.size], opening=True)
        if tag == record[-16:]:
            return None
        return "ALTERED" if receiver == "device" else "AlteredError"


def record_bytes(parameters):
    command = 8 + parameters["key_bytes"] + parameters["value_bytes"]
    response = 24 + parameters["value_bytes"]
    return -(-(HEADER.size + max(command, response) + 16) // 64) * 64


def check_handshake(case, session):
    hello, answer, confirm, opened = (bytes.fromhex(record) for record in case["handshake"])
    assert hello == session.clear(HELLO, 0, 0, session.client_nonce), "hello"
    body = bytes.fromhex(case["device_nonce"]) + session.map_id + session.confirmation(1)
    assert answer == session.clear(HELLO, 0, session.number, body), "answer to hello"
    body = session.confirmation(2, session.replaces) + session.replaces.to_bytes(4, "big")
    assert confirm == session.clear(CONFIRM, 0, session.number, body), "confirm"
    assert opened == session.clear(CONFIRM, session.session_index, session.number, b""), "answer to confirm"


def check_bad_handshake(case, bad):
    session, record = Session(case), bytes.fromhex(bad["record"])
    number, body = HEADER.unpack_from(record)[3], record[HEADER.size :]
    if bad["step"] == 1:  # what the client makes of the device's answer
        session.set_keys(body[:16], body[16:32], number)
        assert session.confirmation(1) != body[32:48], "a bad answer confirms"
        assert bad["outcome"] == "WrongKeyError"
    else:  # what the device makes of the client's confirmation
        assert session.confirmation(2, int.from_bytes(body[16:20], "big")) != body[:16], "a bad confirmation confirms"
        assert bad["outcome"] == "WRONG_KEY"


def plaintext_of_command(kind, key, value):
    return bytes([KINDS[kind]]) + bytes(7) + bytes.fromhex(key) + bytes.fromhex(value)


def plaintext_of_reply(reply):
    previous = b"" if reply["previous"] is None else bytes.fromhex(reply["previous"])
    head = struct.pack(
        ">BB2xIQQ",
        STATUSES[reply["status"]],
        reply["previous"] is not None,
        reply["overruns"],
        reply["operation"],
        reply["live"],
    )
    return head + previous


def verify_session(case):
    """Raise AssertionError where a session of the file disagrees."""
    session = Session(case)
    assert case["record_bytes"] == record_bytes(case["parameters"]), "record bytes"
    for part, key in session.keys.items():
        assert case["keys"][part] == key.hex(), f"{part} key"
    check_handshake(case, session)
    for number, exchange in enumerate(case["exchanges"]):
        command = session.record("command", number, plaintext_of_command(*exchange["operation"]))
        assert command.hex() == exchange["command"], f"command {number}"
        response = session.record("response", number, plaintext_of_reply(exchange["reply"]))
        assert response.hex() == exchange["response"], f"response {number}"
    for number, bad in enumerate(case["bad_records"]):
        found = session.outcome(bad["to"], bad["next"], bytes.fromhex(bad["record"]))
        assert found == bad["outcome"], f"bad record {number}: {found} is not {bad['outcome']}"
    for bad in case["bad_handshakes"]:
        check_bad_handshake(case, bad)


def verify(path):
    """Raise AssertionError, naming the session, where the file disagrees."""
    document = json.loads(path.read_text())
    for case in document["sessions"]:
        try:
            verify_session(case)
        except AssertionError as error:
            raise AssertionError(f"{path.name}: {case['preset']}: {error}") from None


if __name__ == "__main__":
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "session.json"
    verify(file)
    print(f"{file.name}: agrees")
