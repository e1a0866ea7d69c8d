"""Sessions: from a client's key at both ends to records that only these ends can write, each once and in order.

Set-up takes two records each way:

====================  =================================================================
client: ``HELLO``     body ``client nonce (16) || credential (32)``, zeros
device: ``HELLO``     body ``device nonce (16) || map id (16) || confirmation (16)``, zeros;
                      the header names the session
client: ``CONFIRM``   body ``confirmation (16) || replaced session (32 bits) || zeros (96) ||
                      known map id (16)``
device: ``CONFIRM``   body ``confirmation (16) || kept (64 bits)``, zeros: the session is open, at
                      the session index in the header
====================  =================================================================

The device derives the client key from its root key and the credential (:mod:`omap.credentials`). Both ends derive
``command key || response key || confirmation key``, 32 bytes each, by the KDF of :mod:`omap.kdf` from the client key
and the context ``client nonce || device nonce || digest of the parameters || map id || session (32 bits)``, as
:data:`omap.kdf.SESSION` says. A confirmation is a CMAC under the confirmation key. In the answer to HELLO it is over
``1 (8 bits) || zeros (120)``, in CONFIRM over ``2 (8) || zeros (88) || replaced session (32) || known map id (128)``,
and in the answer to CONFIRM over ``3 (8) || zeros (56) || kept (64)``. It proves that the other end holds the same
client key and means the same map, parameters and nonces. Nobody but the device and the holders of this credential can
make it, so that no client can pass as the device towards another, or claim other rights than its own.

The known map id is of the map that the client saw last; zeros, if it saw none. If that map is an ancestor of the
device's map (:mod:`omap.lineage`), ``kept`` says how many of its operations the device's map holds, and else it is all
ones.

When a session opens, the device closes the session that it replaces for ever, if both have one credential. So a command
of a lost connection that somebody held back can't run later. If all places are taken, the longest unused session of the
same credential is closed if it has :data:`omap.sessions.SHARE` of them, and else the longest unused of all.

Sixteen handshakes may be pending. A HELLO drops none but the sixteenth before it, so that clients that open sessions at
the same time do not disturb each other.

Record n of a session has sequence number n in either direction, so response n answers command n. If a record of an open
session does not authenticate, or comes out of its turn, somebody has tampered with it. The device then ends this
session, and nothing else: it erases the key of commands at once and the key of responses when all records before are
answered, and refuses this record and all later ones. A record is opened whole or not at all, so that nothing of it runs
before its tag is found right. Whoever sits on the network path of one client can't harm others. A record of no open
session proves nothing about its sender, so the device only refuses it.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import constant_time
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from omap.bodies import Reply, pack_columns, pack_operations, read_reply
from omap.columns import Columns
from omap.credentials import ClientKey
from omap.errors import AlteredError, LostError, ReplayedError, SessionError, WrongKeyError
from omap.kdf import NONCE, SESSION, cmac
from omap.lineage import NO_ANCESTOR, NO_MAP
from omap.operations import Operation
from omap.params import Params
from omap.wire import (
    HEADER,
    HELLO_LINES,
    LINE_BYTES,
    Direction,
    Header,
    RecordCodec,
    RecordType,
    Refusal,
    read_header,
)

NONCE_BYTES = NONCE.length
ROOT_KEY_BYTES = 32
RECORD_LIMIT = 1 << 32
"""Most records of a session in each direction, far below the limits of GCM (SP 800-38D, section 8). After them the
client opens a new session."""

DEVICE_ROLE, CLIENT_ROLE, LINEAGE_ROLE = 1, 2, 3
"""What a confirmation says about who made it, and for what."""

CONFIRMATION_BYTES = 16

SESSION_NUMBER = struct.Struct(">I")
"""A session number in a context."""

CONFIRM_FIELDS = struct.Struct(">I12x16s")
"""Replaced session and known map id, in a CONFIRM."""

KEPT = struct.Struct(">Q")
"""Operations of the known map that are kept, in the answer to a CONFIRM."""

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

    def confirm_device(self) -> bytes:
        """Return the 16-byte confirmation of the answer to HELLO."""
        return cmac(self.confirmation, bytes([DEVICE_ROLE]) + bytes(15))

    def confirm_client(self, replaced: int = 0, known: bytes = NO_MAP) -> bytes:
        """Return the 16-byte confirmation of CONFIRM, with the session that it replaces and the map that is known."""
        return cmac(self.confirmation, bytes([CLIENT_ROLE]) + bytes(11) + SESSION_NUMBER.pack(replaced) + known)

    def confirm_kept(self, kept: int) -> bytes:
        """Return the 16-byte confirmation of the answer to CONFIRM, with what is kept of the known map."""
        return cmac(self.confirmation, bytes([LINEAGE_ROLE]) + bytes(7) + KEPT.pack(kept))


def session_keys(
    client_key: bytes, client_nonce: bytes, device_nonce: bytes, digest: bytes, map_id: bytes, session: int
) -> SessionKeys:
    """Derive the keys of a session, as the module describes.

    Parameters
    ----------
    client_key : bytes
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
    keys = SESSION.derive(client_key, client_nonce, device_nonce, digest, map_id, SESSION_NUMBER.pack(session))
    return SessionKeys(keys[:32], keys[32:64], keys[64:])


def record_nonce(direction: int, sequence: int) -> bytes:
    """Return the 12-byte nonce of a DATA record."""
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
    client : ClientKey
        Who the client is, and its key, which the device derives too.
    replaces : int
        Number of the session that this one replaces, 0 for none.

    Raises
    ------
    InputError
        If no client of this map can have the credential.

    Attributes
    ----------
    map_id : bytes
        Id of the device's map, from :meth:`confirm` on.
    kept : int or None
        From :meth:`opened` on, how many operations of the known map the device's map holds. None, if the known map is
        the device's map, or is not among its ancestors.
    """

    def __init__(self, params: Params, client: ClientKey, *, replaces: int = 0) -> None:
        client.credential.check(params)
        self.codec = RecordCodec(params)
        self.replaces = replaces
        self.session = 0
        self.map_id = b""
        self.kept: int | None = None
        self.sent = 0
        self.received = 0
        self._client = client
        self._nonce = secrets.token_bytes(NONCE_BYTES)

    def hello(self) -> bytes:
        """Return the first record.

        Reveals
            That a client opens a session, its credential, and a fresh random nonce.
        """
        return self._clear(RecordType.HELLO, self._nonce + self._client.credential.pack(), HELLO_LINES)

    def confirm(self, answer: bytes, known: bytes = NO_MAP) -> bytes:
        """Check the device's answer to :meth:`hello` and return the second record.

        Parameters
        ----------
        answer : bytes
            What came.
        known : bytes
            Id of the map that the client saw last, to be told in :attr:`kept` how much of it is there.

        Reveals
            The number of the session that this one replaces, and the id of the known map.

        Raises
        ------
        WrongKeyError
            If the device derives another key for this client, or means another map.
        SessionError
            If the device refused.
        AlteredError
            If the answer is a record of another type.
        """
        header = self._expect(answer, RecordType.HELLO)
        body = answer[HEADER.size :]
        device_nonce, self.map_id, confirmation = body[:16], body[16:32], body[32:48]
        params = self.codec.params
        keys = session_keys(self._client.key, self._nonce, device_nonce, params.digest, self.map_id, header.session)
        # SEC_CM: SESSION.KEY.CONFIRM -- no command is sent to a device that does not hold the root key
        if not constant_time.bytes_eq(keys.confirm_device(), confirmation):
            raise WrongKeyError(
                "the device does not hold the root key that this client's key was derived from, or has other "
                "parameters than it was said to have: check the key file and the address"
            )
        self.session = header.session
        self._command, self._response = AESGCM(keys.command), AESGCM(keys.response)
        self._keys = keys
        confirmation = keys.confirm_client(self.replaces, known)
        return self._clear(RecordType.CONFIRM, confirmation + CONFIRM_FIELDS.pack(self.replaces, known))

    def opened(self, answer: bytes) -> None:
        """Check the device's answer to :meth:`confirm`, and keep in :attr:`kept` what it says of the known map.

        Raises
        ------
        SessionError
            If the device refused; WrongKeyError if it derives another key for this client.
        AlteredError
            If the answer is a record of another type, or was altered.
        """
        header, body = self._expect(answer, RecordType.CONFIRM), answer[HEADER.size :]
        (kept,) = KEPT.unpack_from(body, CONFIRMATION_BYTES)
        # SEC_CM: SESSION.LINEAGE.PROVEN -- who can't make the confirmation can't say that nothing is missing
        if not constant_time.bytes_eq(self._keys.confirm_kept(kept), body[:CONFIRMATION_BYTES]):
            raise AlteredError("the answer that opens the session failed authentication: it was altered on its way")
        self.session_index = header.session_index
        self.kept = None if kept == NO_ANCESTOR else kept

    def seal(self, operations: Sequence[Operation]) -> bytes:
        """Return the next command record, of 1 to :attr:`~omap.wire.RecordCodec.most_operations` operations.

        Reveals
            That there is one more record in this session, and of how many operations, whatever these are.

        Raises
        ------
        SessionError
            If the session has carried :data:`RECORD_LIMIT` records.
        """
        return self.seal_text(pack_operations(self.codec, operations), len(operations))

    def seal_columns(self, columns: Columns) -> bytes:
        """Return the next command record, as :meth:`seal` does. Key and value are zeros where a kind has none."""
        return self.seal_text(pack_columns(self.codec, columns), len(columns.kinds))

    def seal_text(self, text: bytes, count: int) -> bytes:
        """Return the next command record, as :meth:`seal` does, with a body of ``count`` operations."""
        if self.sent >= RECORD_LIMIT:
            raise SessionError(f"the session has carried {RECORD_LIMIT} records; open a new one")
        # SEC_CM: COMMAND.OP.UNIFORM -- kind, key and value are sealed in items of one size
        header = HEADER.pack(_DATA, self.session_index, self.codec.sizes[count], count, self.session, self.sent)
        body = self._command.encrypt(record_nonce(_COMMAND, self.sent), text, header)
        self.sent += 1
        return header + body

    def open(self, record: bytes | memoryview) -> Reply:
        """Return what the next response record says.

        Raises
        ------
        AlteredError, ReplayedError, LostError
            If the record is not the next that the device sealed for this session.
        SessionError
            If the device refused the command. A refusal is not authenticated.
        """
        type_, _, _, count, session, sequence = HEADER.unpack_from(record)
        if type_ == _REFUSED:
            raise refused(read_header(record))
        if type_ != _DATA or session != self.session:
            raise AlteredError(f"a response of type {type_} came for session {session}; it was exchanged")
        if sequence != self.received:
            check_turn(sequence, self.received, "response")
        try:
            plaintext = self._response.decrypt(record_nonce(_RESPONSE, self.received), record[_HEAD:], record[:_HEAD])
        except InvalidTag:
            raise AlteredError(
                f"response {self.received} failed authentication: it was altered between device and client"
            ) from None
        self.received += 1
        return read_reply(plaintext, count)

    def _clear(self, type_: RecordType, body: bytes, lines: int = 1) -> bytes:
        header = Header(type_, 0, lines, 0, self.session, 0).pack()
        return (header + body).ljust(lines * LINE_BYTES, b"\0")

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
    Refusal.WRONG_KEY: "the key was not derived from the device's root key: check the key file",
    Refusal.MALFORMED: "the record is none of this version",
    Refusal.REKEY: "the session has carried as many records as it may; open a new one",
    Refusal.FAULT: "it has latched a fault and erased its keys; read its fault register, then format it",
    Refusal.ALTERED: "a record was altered on its way to the device, which has ended the session; open a new one",
    Refusal.OUT_OF_TURN: "a record was repeated, dropped or reordered on its way to the device, which has ended the "
    "session; open a new one",
    Refusal.RESTORING: "it is restoring its map; try again when that is over",
    Refusal.RESTORE_FAILED: "its map could not be restored; see what the host of the device says",
    Refusal.CREDENTIAL: "the credential has rights or a prefix that no client of this map can have: provision the "
    "client anew",
}


def refused(header: Header) -> SessionError:
    """Return the error for a ``REFUSED`` header."""
    try:
        reason = _REFUSALS[Refusal(header.count)]
    except ValueError:
        reason = f"no reason is known for its code {header.count}"
    kind = WrongKeyError if header.count == Refusal.WRONG_KEY else SessionError
    return kind(f"the device refused: {reason}")
