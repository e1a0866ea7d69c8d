"""Check ``session.json`` without our code: AES from ``cryptography`` for one block, the rest written out here.

CMAC (NIST SP 800-38B), the counter-mode KDF (SP 800-108r1, 4.1) and GCM (SP 800-38D) are done block by block, so that
not even the library's modes are shared with ``omap``. Run ``python tests/vectors/verify_session.py [FILE]``;
exits 1 where the file disagrees.
"""

import hashlib
import json
import struct
import sys
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

HEADER = struct.Struct(">BBBBIQ")
HELLO, CONFIRM, DATA, REFUSED = 1, 2, 3, 4
KINDS = {"NOP": 0, "GET": 1, "PUT": 2, "DELETE": 3, "CLOSE": 4}
NAMES = {number: name for name, number in KINDS.items()}
STATUSES = {"OK": 0, "NOT_FOUND": 1, "FULL": 2, "DENIED": 3}
MALFORMED, CREDENTIAL = 4, 9
LINE = 64
READ, WRITE = 1, 2
NO_ANCESTOR = (1 << 64) - 1


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
        self.sizes = Sizes(case["parameters"])
        self.number, self.session_index, self.replaces = case["session"], case["session_index"], case["replaces"]
        self.root_key, self.map_id = bytes.fromhex(case["root_key"]), bytes.fromhex(case["map_id"])
        self.credential, self.client_nonce = bytes.fromhex(case["credential"]), bytes.fromhex(case["client_nonce"])
        canonical = json.dumps(case["parameters"], sort_keys=True, separators=(",", ":")).encode()
        self.digest = hashlib.sha256(canonical).digest()
        self.client_key = kdf(self.root_key, b"omap client 2", self.credential, 32)
        self.names_key = kdf(self.root_key, b"omap names 2", self.credential[1:10], 32)
        self.set_keys(bytes.fromhex(case["device_nonce"]), self.map_id, self.number)

    def set_keys(self, device_nonce, map_id, number):
        context = self.client_nonce + device_nonce + self.digest + map_id + number.to_bytes(4, "big")
        keys = kdf(self.client_key, b"omap session 2", context, 96)
        self.keys = {"command": keys[:32], "response": keys[32:64], "confirmation": keys[64:]}

    def confirmation(self, role, number=0, known=b""):
        return cmac(self.keys["confirmation"], bytes([role]) + number.to_bytes(15, "big") + known)

    def clear(self, kind, session_index, number, body):
        lines = 2 if kind == HELLO else 1
        return (HEADER.pack(kind, session_index, lines, 0, number, 0) + body).ljust(lines * LINE, b"\0")

    def record(self, direction, sequence, count, text):
        head = HEADER.pack(DATA, self.session_index, self.sizes.lines(count), count, self.number, sequence)
        nonce = (0 if direction == "command" else 1).to_bytes(4, "big") + sequence.to_bytes(8, "big")
        ciphertext, tag = gcm(self.keys[direction], nonce, text, head, opening=False)
        return head + ciphertext + tag

    def outcome(self, receiver, expected, record):
        """Return what the receiver makes of a record; None if it is good."""
        kind, session_index, _, _, number, sequence = HEADER.unpack_from(record)
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


class Sizes:
    """Sizes of items and records."""

    def __init__(self, parameters):
        self.key, self.value = parameters["key_bytes"], parameters["value_bytes"]
        self.item = 16 * -(-(1 + self.key + self.value) // 16)
        longest = max(64, self.lines(1))
        self.most = min(255, (longest * LINE - 48) // self.item)

    def lines(self, count):
        return -(-(48 + count * self.item) // LINE)

    def command_lines(self, kind, lines, count):
        """Return the lines of a command with this header, 0 if it is malformed."""
        if kind == HELLO:
            return 2 if (lines, count) == (2, 0) else 0
        if kind == CONFIRM:
            return 1 if (lines, count) == (1, 0) else 0
        return lines if kind == DATA and 1 <= count <= self.most and lines == self.lines(count) else 0

    def text(self, preamble, items):
        """Return the body of a record."""
        body = preamble + b"".join(item.ljust(self.item, b"\0") for item in items)
        return body.ljust(self.lines(len(items)) * LINE - 32, b"\0")

    def commands(self, operations):
        return self.text(
            bytes(16), [bytes([KINDS[kind]]) + bytes.fromhex(key + value) for kind, key, value in operations]
        )

    def replies(self, operation, overruns, live, answers):
        preamble = struct.pack(">QII", operation, overruns, live)
        items = [
            bytes([STATUSES[status] | (0 if value is None else 0x80)]) + bytes.fromhex(value or "")
            for status, value in answers
        ]
        return self.text(preamble, items)


def is_credential(sizes, packed):
    rights, length, prefix = packed[0], packed[1], packed[2:10]
    return rights in (1, 2, 3) and length <= min(8, sizes.key) and not any(prefix[length:])


def check_handshake(case, session):
    hello, answer, confirm, opened = (bytes.fromhex(record) for record in case["handshake"])
    assert is_credential(session.sizes, session.credential), "credential"
    assert hello == session.clear(HELLO, 0, 0, session.client_nonce + session.credential), "hello"
    body = bytes.fromhex(case["device_nonce"]) + session.map_id + session.confirmation(1)
    assert answer == session.clear(HELLO, 0, session.number, body), "answer to hello"
    known = bytes.fromhex(case["known"])
    body = session.confirmation(2, session.replaces, known) + session.replaces.to_bytes(4, "big") + bytes(12) + known
    assert confirm == session.clear(CONFIRM, 0, session.number, body), "confirm"
    kept = dict(case["ancestors"]).get(case["known"])
    assert kept == case["kept"], "kept"
    told = NO_ANCESTOR if kept is None else kept
    body = session.confirmation(3, told) + told.to_bytes(8, "big")
    assert opened == session.clear(CONFIRM, session.session_index, session.number, body), "answer to confirm"


def check_bad_handshake(case, bad):
    session, record = Session(case), bytes.fromhex(bad["record"])
    number, body = HEADER.unpack_from(record)[4], record[HEADER.size :]
    if bad["step"] == 1:  # what the client makes of the device's answer
        session.set_keys(body[:16], body[16:32], number)
        assert session.confirmation(1) != body[32:48], "a bad answer confirms"
        assert bad["outcome"] == "WrongKeyError"
    elif bad["step"] == 2:  # what the device makes of the client's confirmation
        confirmation = session.confirmation(2, int.from_bytes(body[16:20], "big"), body[32:48])
        assert confirmation != body[:16], "a bad confirmation confirms"
        assert bad["outcome"] == "WRONG_KEY"
    else:  # what the client makes of the device's confirmation
        assert session.confirmation(3, int.from_bytes(body[16:24], "big")) != body[:16], "a bad confirmation confirms"
        assert bad["outcome"] == "AlteredError"


def refusal(header, code):
    """Return the record of one line that refuses the command with a header."""
    _, session_index, _, _, number, sequence = HEADER.unpack_from(header)
    return HEADER.pack(REFUSED, session_index, 1, code, number, sequence).ljust(LINE, b"\0")


def check_refusals(case, sizes):
    for bad in case["refused_credentials"]:
        hello = bytes.fromhex(bad["record"])
        assert not is_credential(sizes, hello[32:64]), "a credential that is none"
        assert bytes.fromhex(bad["answer"]) == refusal(hello, CREDENTIAL), "refusal of a credential"
    for bad in case["malformed"]:
        header = bytes.fromhex(bad["header"])
        assert sizes.command_lines(header[0], header[2], header[3]) == 0, "malformed header"
        assert bytes.fromhex(bad["answer"]) == refusal(header, MALFORMED), "refusal of a header"


def check_rights(sizes, case):
    """What a device runs for a client, and what it tells the client of the answers."""
    credential, text = bytes.fromhex(case["credential"]), bytes.fromhex(case["command"])
    assert is_credential(sizes, credential), "credential"
    rights, prefix = credential[0], credential[2 : 2 + credential[1]]
    told = []
    for place, (run, (status, value)) in enumerate(zip(case["run"], case["answers"], strict=True)):
        item = text[16 + place * sizes.item : 16 + (place + 1) * sizes.item]
        kind, key = NAMES.get(item[0], "NOP"), item[1 : 1 + sizes.key]
        new = item[1 + sizes.key : 1 + sizes.key + sizes.value]
        idle = kind in ("NOP", "CLOSE")
        denied = not idle and not (rights & (READ if kind == "GET" else WRITE) and key.startswith(prefix))
        if idle or denied:
            kind, key, new = "NOP", bytes(sizes.key), bytes(sizes.value)
        assert run == [kind, key.hex(), new.hex()], f"operation {place} of credential {credential.hex()}"
        if denied:
            status, value = "DENIED", None
        elif not rights & READ:
            status, value = "FULL" if status == "FULL" else "OK", None
        told.append((status, value))
    live = case["live"] if rights & READ and not prefix else 0
    assert case["response"] == sizes.replies(case["first"], 0, live, told).hex(), f"credential {credential.hex()}"


def verify_session(case):
    """Raise AssertionError where a session of the file disagrees."""
    session = Session(case)
    sizes = session.sizes
    assert (case["item_bytes"], case["most_operations"]) == (sizes.item, sizes.most), "sizes"
    assert case["client_key"] == session.client_key.hex(), "client key"
    assert case["names_key"] == session.names_key.hex(), "names key"
    for part, key in session.keys.items():
        assert case["keys"][part] == key.hex(), f"{part} key"
    check_handshake(case, session)
    for number, exchange in enumerate(case["exchanges"]):
        operations, reply = exchange["operations"], exchange["reply"]
        command = session.record("command", number, len(operations), sizes.commands(operations))
        assert command.hex() == exchange["command"], f"command {number}"
        text = sizes.replies(reply["operation"], reply["overruns"], reply["live"], reply["answers"])
        response = session.record("response", number, len(reply["answers"]), text)
        assert response.hex() == exchange["response"], f"response {number}"
    for number, bad in enumerate(case["bad_records"]):
        found = session.outcome(bad["to"], bad["next"], bytes.fromhex(bad["record"]))
        assert found == bad["outcome"], f"bad record {number}: {found} is not {bad['outcome']}"
    for bad in case["bad_handshakes"]:
        check_bad_handshake(case, bad)
    check_refusals(case, sizes)
    for one in case["rights"]:
        check_rights(sizes, one)


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
