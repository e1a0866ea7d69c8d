"""Removals of the countermeasures of ``omap``."""

from tests.support.mutations.removal import Removal

REMOVALS = [
    Removal("PAGE.ADDR.FRESH", "omap/reference.py", "return draw[1]", "return found or draw[1]"),
    Removal(
        "PAGE.MISS.DUMMY",
        "omap/map.py",
        "return draw[0] if found is None else found",
        "return (sum(key) % self.params.bins,) * len(draw[0]) if found is None else found",
    ),
    Removal("PAGE.TOUCH.ALWAYS", "omap/map.py", "if page_number >= 0:", "if page_number >= 0 and value is None:"),
    Removal("BINS.BOTH.TOUCHED", "omap/map.py", "for number in bins:", "for number in sorted(bins):"),
    Removal(
        "BINS.BOTH.TOUCHED",
        "omap/map.py",
        "previous = value if previous is None else previous\n",
        "previous = value\n            if value is not None:\n                break\n",
    ),
    Removal(
        "PAGE.MEM.ENCRYPT",
        "omap/crypto.py",
        "return self.aead.encrypt(self._nonce(page, version), plaintext, self._map_id)",
        "return bytes(plaintext) + bytes(16)",
    ),
    Removal("PAGE.NONCE.UNIQUE", "omap/crypto.py", "(page << 64 | version)", "(page << 64)"),
    Removal("PAGE.NONCE.UNIQUE", "omap/crypto.py", "(page << 64 | version)", "version"),
    Removal(
        "PAGE.NONCE.UNIQUE", "omap/crypto.py", 'nonces["version"] = pages, versions', 'nonces["version"] = pages, 0'
    ),
    Removal(
        "PAGE.MEM.ENCRYPT",
        "omap/crypto.py",
        "ciphers[number].encrypt(nonce, plaintext, self._map_id)",
        "plaintext + bytes(16)",
    ),
    Removal("PAGE.VERSION.FRESH", "omap/reference.py", "return self.sequence\n", "return 0\n"),
    Removal("PAGE.KEY.EPOCH", "omap/crypto.py", "number = epoch(version, self._epoch_bits)", "number = 0"),
    Removal("POSMAP.WORK.FIXED", "omap/position_map.py", "self._write(0, self._read(0))", "pass"),
    Removal(
        "FAULT.KEY.ERASE", "omap/reference.py", "del self._codec, self._drbg, self.position_map, self.waiting", "pass"
    ),
    Removal("FRESH.VALUE.KEYED", "omap/fresh.py", "value.derive(self._root_key,", "value.derive(bytes(32),"),
    Removal("FRESH.VALUE.UNIQUE", "omap/fresh.py", "self._counter += 1", "pass"),
    Removal("FRESH.VALUE.UNIQUE", "omap/fresh.py", "context = self._device_id,", "context = NO_DEVICE_ID,"),
    Removal("ERROR.TEXT.CLEAN", "omap/crypto.py", "page_secret: bytes = field(repr=False)", "page_secret: bytes"),
    Removal("ERROR.TEXT.CLEAN", "omap/session.py", "command: bytes = field(repr=False)", "command: bytes"),
    Removal(
        "COMMAND.OP.UNIFORM",
        "omap/wire.py",
        'return (COMMAND_FIELDS.pack(kind) + key + value).ljust(self.plaintext_bytes, b"\\0")',
        "return COMMAND_FIELDS.pack(kind) + key + value",
    ),
    Removal("RECORD.NONCE.UNIQUE", "omap/session.py", "(direction << 64 | sequence)", "(direction << 64)"),
    Removal("RECORD.SEQ.STRICT", "omap/session.py", "if came < expected:", "if False:", error="AlteredError"),
    Removal("RECORD.SEQ.STRICT", "omap/session.py", "if came > expected:", "if False:", error="AlteredError"),
    Removal("RECORD.SEQ.STRICT", "omap/session.py", "if header.sequence != entry.next:", "if False:"),
    Removal(
        "SESSION.KEY.CONFIRM",
        "omap/session.py",
        "if not constant_time.bytes_eq(keys.confirm(_DEVICE_ROLE), confirmation):",
        "if False:",
    ),
    Removal(
        "SESSION.KEY.CONFIRM",
        "omap/session.py",
        "if not constant_time.bytes_eq(keys.confirm(_CLIENT_ROLE, replaced), body[:16]):",
        "if False:",
    ),
    Removal("SESSION.OLD.FENCED", "omap/session.py", "self._table[index] = None", "pass"),
    Removal(
        "SESSION.FORMAT.ENDS",
        "omap/device.py",
        "self._sessions = DeviceSessions(self.params, self._root_key, nonce=self._fresh.nonce)",
        "pass",
    ),
    Removal(
        "SESSION.TAMPER.ENDS",
        "omap/session.py",
        "entry.command = None\n            return Refusal.OUT_OF_TURN",
        "return Refusal.OUT_OF_TURN",
    ),
    Removal(
        "SESSION.TAMPER.ENDS",
        "omap/session.py",
        "entry.command = None\n            return Refusal.ALTERED",
        "return Refusal.ALTERED",
    ),
    Removal("SESSION.TAMPER.ENDS", "omap/device.py", "if command in ENDS_SESSION:", "if False:"),
    Removal(
        "DEVICE.FAULT.LATCH",
        "omap/device.py",
        "self._erase()\n        self._set_state(State.FAULT, fault)",
        "self._set_state(State.FAULT, fault)",
    ),
]
