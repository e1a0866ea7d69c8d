"""Sessions: from a root key at both ends to records that only these ends can write, each once and in order.

Set-up takes two records each way:

====================  ===================================================================
client: ``HELLO``     body ``client nonce (16)``, zeros
device: ``HELLO``     body ``device nonce (16) || map id (16) || confirmation (16)``, zeros;
                      the header names the session
client: ``CONFIRM``   body ``confirmation (16) || replaced session (32 bits)``, zeros
device: ``CONFIRM``   empty body: the session is open, at the session index in the header
====================  ===================================================================

Both derive ``command key || response key || confirmation key``, 32 bytes each, by the KDF of :mod:`omap.kdf` from the
root key and the context ``client nonce || device nonce || digest of the parameters || map id || session (32 bits)``, as
:data:`omap.kdf.SESSION` says. A confirmation is the CMAC, under the confirmation key, of one block ``role (8 bits) ||
zeros (88) || replaced session (32)``, with role 1 for the device and 2 for the client. It proves that the other end
holds the root key and means the same map, parameters and nonces. When a session opens, the device closes the session
that it replaces for ever. So a command of a lost connection that somebody held back can't run later.

Sixteen handshakes may be pending. A HELLO drops none but the sixteenth before it, so that clients that open sessions at
the same time do not disturb each other.

Record n of a session has sequence number n in either direction, so response n answers command n. If a record of an open
session does not authenticate, or comes out of its turn, somebody has tampered with it. The device then ends this
session, and nothing else: it erases the key of commands at once and the key of responses when all records before are
answered, and refuses this record and all later ones. Whoever sits on the network path of one client can't harm others.
A record of no open session proves nothing about its sender, so the device only refuses it.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import constant_time
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from omap.errors import AlteredError, LostError, ReplayedError, SessionError, WrongKeyError
from omap.kdf import NONCE, SESSION, cmac
from omap.operations import Operation
from omap.params import Params
from omap.wire import (
    HEADER,
    PENDING_HANDSHAKES,
    SESSIONS,
    Direction,
    Header,
    RecordCodec,
    RecordType,
    Refusal,
    Reply,
    read_header,
)

NONCE_BYTES = NONCE.length
ROOT_KEY_BYTES = 32
RECORD_LIMIT = 1 << 32
"""Most records of a session in each direction, far below the limits of GCM (SP 800-38D, section 8). After them the
client opens a new session."""

_DEVICE_ROLE, _CLIENT_ROLE = 1, 2
_SESSION = struct.Struct(">I")

# plain numbers: enumerations cost a microsecond a record
_COMMAND, _RESPONSE, _DATA, _REFUSED = map(
    int, (Direction.COMMAND, Direction.RESPONSE, RecordType.DATA, RecordType.REFUSED)
)
_HEAD = HEADER.size


@dataclass(frozen=True)
class SessionKeys:
    """Keys of one session. They never stand in a representation."""

    command: bytes = field(repr=False)
    response: bytes = field(repr=False)
    confirmation: bytes = field(repr=False)

    def confirm(self, role: int, replaced: int = 0) -> bytes:
        """Return the 16-byte confirmation of a role."""
        return cmac(self.confirmation, bytes([role]) + bytes(11) + _SESSION.pack(replaced))


def session_keys(
    root_key: bytes, client_nonce: bytes, device_nonce: bytes, digest: bytes, map_id: bytes, session: int
) -> SessionKeys:
    """Derive the keys of a session, as the module describes.

    Parameters
    ----------
    root_key : bytes
        32 secret bytes.
    client_nonce, device_nonce : bytes
        16 public bytes each.
    digest : bytes
        32 bytes, :attr:`omap.params.Params.digest`.
    map_id : bytes
        16 public bytes.
    session : int
        Session number, 32 bits.
    """
    keys = SESSION.derive(root_key, client_nonce, device_nonce, digest, map_id, _SESSION.pack(session))
    return SessionKeys(keys[:32], keys[32:64], keys[64:])


def _nonce(direction: int, sequence: int) -> bytes:
    # SEC_CM: RECORD.NONCE.UNIQUE -- direction and sequence number are in every nonce, so none repeats under one key
    return (direction << 64 | sequence).to_bytes(12, "big")


class ClientSession:
    """The client's end. It makes the records to send and checks the records that come back, without input or output.

    Send :meth:`hello` and give the answer to :meth:`confirm`. Send what :meth:`confirm` returns and give the answer to
    :meth:`opened`. Then :meth:`seal` commands and :meth:`open` responses.

    Parameters
    ----------
    params : Params
        Parameters of the map. The session keys depend on them, so that a relay can't lie about them unnoticed.
    root_key : bytes
        32 secret bytes, which the device holds too.
    replaces : int
        Number of the session that this one replaces, 0 for none.
    """

    def __init__(self, params: Params, root_key: bytes, *, replaces: int = 0) -> None:
        self.codec = RecordCodec(params)
        self.replaces = replaces
        self.session = 0
        self.map_id = b""
        self.sent = 0
        self.received = 0
        self._root_key = root_key
        self._nonce = secrets.token_bytes(NONCE_BYTES)

    def hello(self) -> bytes:
        """Return the first record. Reveals that a client opens a session, and a fresh random nonce."""
        return self._clear(RecordType.HELLO, self._nonce)

    def confirm(self, answer: bytes) -> bytes:
        """Check the device's answer to :meth:`hello` and return the second record.

        Reveals
            The number of the session that this one replaces.

        Raises
        ------
        WrongKeyError
            If the device does not hold the same root key, or means another map.
        SessionError
            If the device refused.
        AlteredError
            If the answer is a record of another type.
        """
        header = self._expect(answer, RecordType.HELLO)
        body = answer[HEADER.size :]
        device_nonce, self.map_id, confirmation = body[:16], body[16:32], body[32:48]
        params = self.codec.params
        keys = session_keys(self._root_key, self._nonce, device_nonce, params.digest, self.map_id, header.session)
        # SEC_CM: SESSION.KEY.CONFIRM -- no command is sent to a device that does not hold the root key
        if not constant_time.bytes_eq(keys.confirm(_DEVICE_ROLE), confirmation):
            raise WrongKeyError(
                "the device does not hold this root key, or has other parameters than it was said to have: "
                "check the key file and the address"
            )
        self.session = header.session
        self._command, self._response = AESGCM(keys.command), AESGCM(keys.response)
        return self._clear(RecordType.CONFIRM, keys.confirm(_CLIENT_ROLE, self.replaces) + _SESSION.pack(self.replaces))

    def opened(self, answer: bytes) -> None:
        """Check the device's answer to :meth:`confirm`.

        Raises
        ------
        SessionError
            If the device refused; WrongKeyError if it does not hold the same root key.
        AlteredError
            If the answer is a record of another type.
        """
        self.session_index = self._expect(answer, RecordType.CONFIRM).session_index

    def seal(self, operation: Operation) -> bytes:
        """Return the next command record.

        Reveals
            That there is one more command in this session. Its length is the same for every operation.

        Raises
        ------
        SessionError
            If the session has carried :data:`RECORD_LIMIT` records.
        """
        if self.sent >= RECORD_LIMIT:
            raise SessionError(f"the session has carried {RECORD_LIMIT} records; open a new one")
        # SEC_CM: COMMAND.OP.UNIFORM -- kind, key and value are sealed in records of one size
        header = HEADER.pack(_DATA, self.session_index, 0, self.session, self.sent)
        body = self._command.encrypt(_nonce(_COMMAND, self.sent), self.codec.pack_command(operation), header)
        self.sent += 1
        return header + body

    def open(self, record: bytes) -> Reply:
        """Return what the next response record says.

        Raises
        ------
        AlteredError, ReplayedError, LostError
            If the record is not the next that the device sealed for this session.
        SessionError
            If the device refused the command. A refusal is not authenticated.
        """
        type_, _, _, session, sequence = HEADER.unpack_from(record)
        if type_ == _REFUSED:
            raise refused(read_header(record))
        if type_ != _DATA or session != self.session:
            raise AlteredError(f"a response of type {type_} came for session {session}; it was exchanged")
        check_turn(sequence, self.received, "response")
        try:
            plaintext = self._response.decrypt(_nonce(_RESPONSE, self.received), record[_HEAD:], record[:_HEAD])
        except InvalidTag:
            raise AlteredError(
                f"response {self.received} failed authentication: it was altered between device and client"
            ) from None
        self.received += 1
        return self.codec.unpack_reply(plaintext)

    def _clear(self, type_: RecordType, body: bytes) -> bytes:
        header = Header(type_, 0, 0, self.session, 0).pack()
        return (header + body).ljust(self.codec.record_bytes, b"\0")

    def _expect(self, answer: bytes, type_: RecordType) -> Header:
        header = read_header(answer)
        if header.type == RecordType.REFUSED:
            raise refused(header)
        if header.type != type_:
            raise AlteredError(f"a record of type {header.type} came during set-up, not {type_.name}; it was exchanged")
        return header


def check_turn(came: int, expected: int, what: str) -> None:
    """Raise ReplayedError or LostError unless a record came in its turn."""
    # SEC_CM: RECORD.SEQ.STRICT -- each record is accepted once, in order, with none missing
    if came < expected:
        raise ReplayedError(f"{what} {came} came again; {what} {expected} is next")
    if came > expected:
        raise LostError(f"{what} {came} came before {what} {expected}, which is missing")


_REFUSALS = {
    Refusal.UNKNOWN_SESSION: "the session is open no longer: the device was restarted, or newer sessions replaced it",
    Refusal.NO_HANDSHAKE: "too many other sessions were being opened at the same time; try again",
    Refusal.WRONG_KEY: "the root key is not the device's: check the key file",
    Refusal.MALFORMED: "the record is none of this version",
    Refusal.REKEY: "the session has carried as many records as it may; open a new one",
    Refusal.FAULT: "it has latched a fault and erased its keys; read its fault register, then format it",
    Refusal.ALTERED: "a record was altered on its way to the device, which has ended the session; open a new one",
    Refusal.OUT_OF_TURN: "a record was repeated, dropped or reordered on its way to the device, which has ended the "
    "session; open a new one",
}


def refused(header: Header) -> SessionError:
    """Return the error for a ``REFUSED`` header."""
    try:
        reason = _REFUSALS[Refusal(header.code)]
    except ValueError:
        reason = f"no reason is known for its code {header.code}"
    kind = WrongKeyError if header.code == Refusal.WRONG_KEY else SessionError
    return kind(f"the device refused: {reason}")


@dataclass
class _Open:
    session: int
    command: AESGCM | None
    response: AESGCM
    next: int = 0
    used: int = 0


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

    Reveals
        Session numbers, session indices and nonces, which are in the clear; and which records are refused, and why.
    """

    def __init__(
        self,
        params: Params,
        root_key: bytes,
        *,
        nonce: Callable[[], bytes] = lambda: secrets.token_bytes(NONCE_BYTES),
    ) -> None:
        self.codec = RecordCodec(params)
        self._root_key = root_key
        self._new_nonce = nonce
        self._table: list[_Open | None] = [None] * SESSIONS
        self._pending: list[tuple[int, SessionKeys] | None] = [None] * PENDING_HANDSHAKES
        self._last_session = 0
        self._clock = 0

    def hello(self, record: bytes, map_id: bytes) -> bytes:
        """Return the answer to a HELLO, and forget the handshake that is pending for the sixteenth session before."""
        client_nonce, nonce = record[HEADER.size :][:NONCE_BYTES], self._new_nonce()
        self._last_session += 1
        session = self._last_session
        keys = session_keys(self._root_key, client_nonce, nonce, self.codec.params.digest, map_id, session)
        self._pending[session % PENDING_HANDSHAKES] = session, keys
        header = Header(RecordType.HELLO, 0, 0, session, 0).pack()
        return (header + nonce + map_id + keys.confirm(_DEVICE_ROLE)).ljust(self.codec.record_bytes, b"\0")

    def confirm(self, record: bytes) -> bytes:
        """Return the answer to a CONFIRM, and open the session if the client holds the root key.

        The session that it replaces is closed. If no place is free, the longest unused session is closed too.
        """
        header = read_header(record)
        place = header.session % PENDING_HANDSHAKES
        pending = self._pending[place]
        if pending is None or pending[0] != header.session:
            return self.refuse(header, Refusal.NO_HANDSHAKE)
        session, keys = pending
        body = record[HEADER.size :]
        (replaced,) = _SESSION.unpack_from(body, 16)
        # SEC_CM: SESSION.KEY.CONFIRM -- no session is opened for a client that does not hold the root key
        if not constant_time.bytes_eq(keys.confirm(_CLIENT_ROLE, replaced), body[:16]):
            return self.refuse(header, Refusal.WRONG_KEY)
        self._pending[place] = None
        for index, old in enumerate(self._table):
            if old is not None and old.session == replaced:
                # SEC_CM: SESSION.OLD.FENCED -- commands of the replaced session that were held back can't run later
                self._table[index] = None
        index = min(range(SESSIONS), key=self._last_use)
        self._table[index] = _Open(session, AESGCM(keys.command), AESGCM(keys.response), used=self._tick())
        return Header(RecordType.CONFIRM, index, 0, session, 0).pack().ljust(self.codec.record_bytes, b"\0")

    def open(self, record: bytes, header: Header) -> tuple[int, bytes, bytes] | Refusal:
        """Return kind, key and value of a command, or why it is refused.

        If the session is open and this is not its next record, the refusal is one of :data:`omap.wire.ENDS_SESSION`.
        Nothing that comes later is opened in this session. Once all records before are answered, call :meth:`close`.
        """
        entry = self._table[header.session_index % SESSIONS]
        if entry is None or entry.session != header.session or header.session_index >= SESSIONS:
            return Refusal.UNKNOWN_SESSION
        if entry.command is None:
            return Refusal.UNKNOWN_SESSION
        if header.sequence >= RECORD_LIMIT:
            return Refusal.REKEY
        # SEC_CM: RECORD.SEQ.STRICT -- each record is opened once, in order, with none missing
        if header.sequence != entry.next:
            # SEC_CM: SESSION.TAMPER.ENDS -- without its key no record of this session runs, whatever comes
            entry.command = None
            return Refusal.OUT_OF_TURN
        try:
            plaintext = entry.command.decrypt(_nonce(_COMMAND, entry.next), record[_HEAD:], record[:_HEAD])
        except InvalidTag:
            entry.command = None
            return Refusal.ALTERED
        entry.next += 1
        entry.used = self._tick()
        return self.codec.unpack_command(plaintext)

    def seal(self, header: Header, reply: Reply) -> bytes:
        """Return the response record that answers the command with ``header``."""
        entry = self._table[header.session_index]
        assert entry is not None
        assert entry.session == header.session
        head = HEADER.pack(_DATA, header.session_index, 0, header.session, header.sequence)
        return head + entry.response.encrypt(_nonce(_RESPONSE, header.sequence), self.codec.pack_reply(reply), head)

    def close(self, header: Header) -> None:
        """Forget an open session and its keys."""
        self._table[header.session_index] = None

    def refuse(self, header: Header, why: Refusal) -> bytes:
        """Return the ``REFUSED`` record that answers the command with ``header``."""
        head = Header(RecordType.REFUSED, header.session_index, why, header.session, header.sequence).pack()
        return head.ljust(self.codec.record_bytes, b"\0")

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    def _last_use(self, index: int) -> int:
        entry = self._table[index]
        return -1 if entry is None else entry.used
