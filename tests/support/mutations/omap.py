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
    Removal("ERROR.TEXT.CLEAN", "omap/credentials.py", "    key: bytes = field(repr=False)", "    key: bytes"),
    Removal(
        "COMMAND.OP.UNIFORM",
        "omap/bodies.py",
        'parts.append((key if kind != nop and kind != CLOSE else b"").ljust(room, b"\\0"))',
        'parts.append(key if kind != nop and kind != CLOSE else b"")',
    ),
    Removal("RECORD.NONCE.UNIQUE", "omap/session.py", "(direction << 64 | sequence)", "(direction << 64)"),
    Removal("RECORD.SEQ.STRICT", "omap/session.py", "if came < expected:", "if False:", error="AlteredError"),
    Removal("RECORD.SEQ.STRICT", "omap/session.py", "if came > expected:", "if False:", error="AlteredError"),
    Removal("RECORD.SEQ.STRICT", "omap/sessions.py", "if sequence != entry.next:", "if False:"),
    Removal(
        "SESSION.KEY.CONFIRM",
        "omap/session.py",
        "if not constant_time.bytes_eq(keys.confirm_device(), confirmation):",
        "if False:",
    ),
    Removal(
        "SESSION.KEY.CONFIRM",
        "omap/sessions.py",
        "if not constant_time.bytes_eq(keys.confirm_client(replaced, known), body[:CONFIRMATION_BYTES]):",
        "if False:",
    ),
    Removal(
        "SESSION.OLD.FENCED",
        "omap/sessions.py",
        "self._table[index] = None\n        index =",
        "pass\n        index =",
    ),
    Removal("SESSION.OLD.OWN", "omap/sessions.py", " and old.credential == credential:", ":"),
    Removal("SESSION.SHARE.BOUNDED", "omap/sessions.py", "own if full and len(own) >= SHARE else range", "range"),
    Removal("SESSION.KEY.OWN", "omap/credentials.py", "CLIENT.derive(root_key, credential)", "root_key"),
    Removal(
        "SESSION.CREDENTIAL.CHECKED",
        "omap/sessions.py",
        "            return refusal(read_header(record), Refusal.CREDENTIAL)",
        "            pass",
    ),
    Removal(
        "SESSION.CREDENTIAL.CHECKED",
        "omap/sessions.py",
        "Credential.unpack(credential).check(params)",
        "Credential.unpack(credential)",
    ),
    Removal("SESSION.RIGHTS.ENFORCED", "omap/batch.py", "kinds[denied] = _NOP", "pass"),
    Removal(
        "SESSION.PREVIOUS.HIDDEN", "omap/batch.py", "found, values = found & ~hidden, values * ~hidden[:, None]", "pass"
    ),
    Removal(
        "SESSION.PREVIOUS.HIDDEN",
        "omap/batch.py",
        "statuses = np.where(missing, np.uint8(Status.OK), statuses)",
        "pass",
    ),
    Removal(
        "SESSION.TOLD.BOUNDED",
        "omap/batch.py",
        " * part.credential.sees_map",
        "",
    ),
    Removal(
        "SESSION.FORMAT.ENDS",
        "omap/device.py",
        "self._sessions = DeviceSessions(",
        "self._sessions = self._sessions or DeviceSessions(",
    ),
    Removal(
        "SESSION.TAMPER.ENDS",
        "omap/sessions.py",
        "entry.command = None\n                return texts, Refusal.OUT_OF_TURN",
        "return texts, Refusal.OUT_OF_TURN",
    ),
    Removal(
        "SESSION.TAMPER.ENDS",
        "omap/sessions.py",
        "entry.command = None\n                return texts, Refusal.ALTERED",
        "return texts, Refusal.ALTERED",
    ),
    Removal("SESSION.TAMPER.ENDS", "omap/device.py", "if why in ENDS_SESSION:", "if False:"),
    Removal(
        "DEVICE.FAULT.LATCH",
        "omap/device.py",
        "self._erase()\n        self._set_state(State.FAULT, fault)",
        "self._set_state(State.FAULT, fault)",
    ),
    Removal(
        "SESSION.LINEAGE.PROVEN",
        "omap/session.py",
        "if not constant_time.bytes_eq(self._keys.confirm_kept(kept), body[:CONFIRMATION_BYTES]):",
        "if False:",
    ),
    Removal(
        "SESSION.LINEAGE.PROVEN",
        "omap/session.py",
        "SESSION_NUMBER.pack(replaced) + known)",
        "SESSION_NUMBER.pack(replaced))",
    ),
    Removal("JOURNAL.EFFECTS.UNIFORM", "omap/journal.py", "& (answers.statuses == _OK)", "& True"),
    Removal("JOURNAL.EFFECTS.UNIFORM", "omap/journal.py", "changed = (puts", "changed = (kinds == Kind.GET) | (puts"),
    Removal("JOURNAL.NONCE.UNIQUE", "omap/journal.py", "(type_ << 64 | number)", "(type_ << 64)"),
    Removal("JOURNAL.BEFORE.RESPONSE", "omap/device.py", "self.rings.journal(journal)", "pass"),
    Removal(
        "SNAPSHOT.SLOTS.ALL", "omap/reference.py", "self._slots(used, tuples)", "self._slots(used[used], tuples[used])"
    ),
    Removal("SNAPSHOT.KEY.OWN", "omap/device.py", "export_id = self._fresh.export_id()", "export_id = bytes(16)"),
    Removal(
        "RESTORE.DRAWS.FRESH",
        "omap/device.py",
        "secrets=self._fresh.secrets)",
        "secrets=lambda one=self._fresh.secrets(): one)",
    ),
    Removal(
        "RESTORE.ITEMS.ALL",
        "omap/restore.py",
        "answers = map_.execute_arrays(*columns)",
        "answers = map_.execute_arrays(*(part[columns.kinds != Kind.NOP] for part in columns))",
    ),
    Removal("RESTORE.ORDER.STRICT", "omap/restore.py", "if header.sequence != self._next:", "if False:"),
    Removal("RESTORE.CHAIN.MATCHED", "omap/restore.py", "start.parent != (self.map_id, self.operation)", "False"),
    Removal("RESTORE.FAIL.ERASE", "omap/device.py", "if restore.failed and self._map is not None:", "if False:"),
    Removal("RESTORE.CLIENT.WAITS", "omap/restore.py", "if self.codec.command_lines(*what):", "if False:"),
]
