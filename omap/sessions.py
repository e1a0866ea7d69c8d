"""The device's end of all sessions: which are open, under which credential, and which handshakes are pending.

:mod:`omap.session` describes what goes over the wire.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import constant_time
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from omap.credentials import CREDENTIAL_BYTES, Credential, derive_client_key
from omap.errors import InputError
from omap.lineage import NO_ANCESTORS, Lineage
from omap.params import Params
from omap.session import (
    CONFIRM_FIELDS,
    CONFIRMATION_BYTES,
    KEPT,
    NONCE_BYTES,
    RECORD_LIMIT,
    SESSION_NUMBER,
    SessionKeys,
    record_nonce,
    session_keys,
)
from omap.wire import (
    HEADER,
    HELLO_LINES,
    LINE_BYTES,
    PENDING_HANDSHAKES,
    SEQUENCE,
    SEQUENCE_AT,
    SESSIONS,
    Direction,
    Header,
    RecordCodec,
    RecordType,
    Refusal,
    read_header,
    refusal,
)

SHARE = 4
"""Sessions of one credential from which on a further one closes one of its own, when all places are taken."""

# plain numbers: enumerations cost a microsecond a record
_COMMAND, _RESPONSE = int(Direction.COMMAND), int(Direction.RESPONSE)
_HEAD = HEADER.size


@dataclass
class _Open:
    session: int
    credential: bytes
    command: AESGCM | None
    response: AESGCM
    rights: Credential
    next: int = 0
    used: int = 0


@dataclass(frozen=True)
class _Pending:
    session: int
    credential: bytes
    keys: SessionKeys


class DeviceSessions:
    """The device's end: a table of open sessions, and one of pending handshakes.

    Parameters
    ----------
    params : Params
        Parameters of the map.
    root_key : bytes
        32 secret bytes.
    nonce : callable, optional
        Source of 16-byte nonces. Use anything but the default only in tests.
    lineage : Lineage, optional
        Ancestors of the map.

    Reveals
        Session numbers, session indices, credentials and nonces, which are in the clear; and which records are refused,
        and why.
    """

    def __init__(
        self,
        params: Params,
        root_key: bytes,
        *,
        nonce: Callable[[], bytes] = lambda: secrets.token_bytes(NONCE_BYTES),
        lineage: Lineage = NO_ANCESTORS,
    ) -> None:
        self.codec = RecordCodec(params)
        self._root_key = root_key
        self._new_nonce = nonce
        self._lineage = lineage
        self._table: list[_Open | None] = [None] * SESSIONS
        self._pending: list[_Pending | None] = [None] * PENDING_HANDSHAKES
        self._last_session = 0
        self._clock = 0

    def hello(self, record: bytes, map_id: bytes) -> bytes:
        """Return the answer to a HELLO, and forget the handshake that is pending for the sixteenth session before."""
        body = record[HEADER.size :]
        client_nonce, credential = body[:NONCE_BYTES], body[NONCE_BYTES : NONCE_BYTES + CREDENTIAL_BYTES]
        params = self.codec.params
        try:
            # SEC_CM: SESSION.CREDENTIAL.CHECKED -- rights that are not defined, and prefixes that can't be compared
            Credential.unpack(credential).check(params)
        except InputError:
            return refusal(read_header(record), Refusal.CREDENTIAL)
        nonce = self._new_nonce()
        session = self._last_session = (self._last_session + 1) % (1 << 8 * SESSION_NUMBER.size)
        client_key = derive_client_key(self._root_key, credential)
        keys = session_keys(client_key, client_nonce, nonce, params.digest, map_id, session)
        self._pending[session % PENDING_HANDSHAKES] = _Pending(session, credential, keys)
        header = Header(RecordType.HELLO, 0, HELLO_LINES, 0, session, 0).pack()
        return (header + nonce + map_id + keys.confirm_device()).ljust(HELLO_LINES * LINE_BYTES, b"\0")

    def confirm(self, record: bytes) -> bytes:
        """Return the answer to a CONFIRM, and open the session if the client holds the key of its credential.

        The session that it replaces is closed, if it has the same credential. If no place is free, another session is
        closed too, as the module says.
        """
        header = read_header(record)
        place = header.session % PENDING_HANDSHAKES
        pending = self._pending[place]
        if pending is None or pending.session != header.session:
            return refusal(header, Refusal.NO_HANDSHAKE)
        keys, credential = pending.keys, pending.credential
        body = record[HEADER.size :]
        replaced, known = CONFIRM_FIELDS.unpack_from(body, CONFIRMATION_BYTES)
        # SEC_CM: SESSION.KEY.CONFIRM -- no session is opened for a client that does not hold the key
        if not constant_time.bytes_eq(keys.confirm_client(replaced, known), body[:CONFIRMATION_BYTES]):
            return refusal(header, Refusal.WRONG_KEY)
        self._pending[place] = None
        for index, old in enumerate(self._table):
            # SEC_CM: SESSION.OLD.OWN -- a client ends no session of another
            if old is not None and old.session == replaced and old.credential == credential:
                # SEC_CM: SESSION.OLD.FENCED -- commands of the replaced session that were held back can't run later
                self._table[index] = None
        index = self._place(credential)
        self._table[index] = _Open(
            pending.session,
            credential,
            AESGCM(keys.command),
            AESGCM(keys.response),
            Credential.unpack(credential),
            used=self._tick(),
        )
        kept = self._lineage.kept(known)
        # SEC_CM: SESSION.LINEAGE.PROVEN -- the host can't say for the device how much of an ancestor is there
        answer = keys.confirm_kept(kept) + KEPT.pack(kept)
        header = Header(RecordType.CONFIRM, index, 1, 0, pending.session, 0)
        return (header.pack() + answer).ljust(LINE_BYTES, b"\0")

    def _place(self, credential: bytes) -> int:
        """Return the lowest free session index, or the one whose session is to be closed."""
        own = [index for index, entry in enumerate(self._table) if entry and entry.credential == credential]
        full = None not in self._table
        # SEC_CM: SESSION.SHARE.BOUNDED -- a client that opens ever more sessions closes its own, not those of others
        return min(own if full and len(own) >= SHARE else range(SESSIONS), key=self._last_use)

    def open(self, record: bytes, header: Header) -> bytes | Refusal:
        """Return the body of a command record, or why it is refused.

        If the session is open and this is not its next record, the refusal is one of :data:`omap.wire.ENDS_SESSION`.
        Nothing that comes later is opened in this session. Once all records before are answered, call :meth:`close`.
        """
        texts, why = self.open_run(record, header, 1)
        return texts[0] if why is None else why

    def open_run(self, data: bytes | memoryview, header: Header, records: int) -> tuple[list[bytes], Refusal | None]:
        """Return the bodies of command records up to one that is refused, and why that is; see :meth:`open`.

        Parameters
        ----------
        data : bytes-like
            The records, one after the other.
        header : Header
            The header of the first. Those that follow differ from it in their sequence alone.
        records : int
            How many there are.
        """
        entry = self._table[header.session_index % SESSIONS]
        if entry is None or entry.session != header.session or header.session_index >= SESSIONS:
            return [], Refusal.UNKNOWN_SESSION
        if entry.command is None:
            return [], Refusal.UNKNOWN_SESSION
        texts: list[bytes] = []
        size, decrypt = header.lines * LINE_BYTES, entry.command.decrypt
        for at in (number * size for number in range(records)):  # a header may claim no line at all
            (sequence,) = SEQUENCE.unpack_from(data, at + SEQUENCE_AT)
            if sequence >= RECORD_LIMIT:
                return texts, Refusal.REKEY
            # SEC_CM: RECORD.SEQ.STRICT -- each record is opened once, in order, with none missing
            if sequence != entry.next:
                # SEC_CM: SESSION.TAMPER.ENDS -- without its key no record of this session runs, whatever comes
                entry.command = None
                return texts, Refusal.OUT_OF_TURN
            try:
                body = data[at + _HEAD : at + size]
                texts.append(decrypt(record_nonce(_COMMAND, sequence), body, data[at : at + _HEAD]))
            except InvalidTag:
                entry.command = None
                return texts, Refusal.ALTERED
            entry.next += 1
            entry.used = self._tick()
        return texts, None

    def credential(self, header: Header) -> Credential:
        """Return the credential of the open session whose record has ``header``."""
        entry = self._table[header.session_index]
        assert entry is not None
        return entry.rights

    def seal(self, header: Header, *texts: bytes) -> bytes:
        """Return response records with these bodies.

        They answer the command with ``header`` and those that follow it, which differ in their sequence alone.
        """
        entry = self._table[header.session_index]
        assert entry is not None
        assert entry.session == header.session
        start, encrypt, parts = HEADER.pack(*header)[:SEQUENCE_AT], entry.response.encrypt, []
        for sequence, text in enumerate(texts, header.sequence):
            head = start + SEQUENCE.pack(sequence)
            parts += [head, encrypt(record_nonce(_RESPONSE, sequence), text, head)]
        return b"".join(parts)

    def close(self, header: Header) -> None:
        """Forget an open session and its keys."""
        self._table[header.session_index] = None

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    def _last_use(self, index: int) -> int:
        entry = self._table[index]
        return -1 if entry is None else entry.used
