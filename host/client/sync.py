"""The synchronous client: a map behind a relay, used as any other map. Threads may share one.

The client seals and sends many operations in pieces, and takes answers in between, so that client, relay and device
work at the same time.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from host.client.conversation import Broken, Conversation
from host.client.opening import new_session, opening
from host.client.paced import PacedClient
from host.client.settings import Settings
from host.client.sockets import connect, drive
from host.client.trouble import dead, latches
from host.client.witness import SAVE_SECONDS, Witness
from host.client.work import Batch, DeleteRows, GetRows, Mixed, Plain, PutRows, Work
from host.framing import Greeting
from omap.bodies import Reply
from omap.columns import Answers
from omap.connections import Progress, RemoteMap
from omap.errors import MapChangedError, OmapError, SessionError, TamperedError
from omap.operations import Operation, Response
from omap.rows import Rows
from omap.wire import CLOSE, RecordCodec

PIECE_BYTES = 1 << 16
"""Bytes of records from which on what was sealed is sent: sixteen full ones."""

READ_BYTES = 1 << 17
"""Most bytes taken from the socket at once."""

CLOSE_SECONDS = 2.0
"""How long closing waits for the device to forget the session."""

_EITHER = select.POLLIN | select.POLLOUT
_WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Client(RemoteMap):
    """A map behind a relay. Make one with :func:`omap.connect`.

    After a broken connection the next call opens a new session, which ends the old one: an operation in doubt has run
    by then, or never will. After the client has noticed tampering, every call raises. Another map than the known one is
    refused, and nothing is sent to it; the next call tries again.

    Parameters
    ----------
    settings : Settings
        Where and how; without a ``rate``, which is for :class:`host.client.paced.PacedClient`.

    Reveals
        That a client is connected, and when; how many operations it sends, and when.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.greeting: Greeting
        self.witness = Witness(settings.witness_file, settings.accept)
        self._newest: Conversation
        self._codec: RecordCodec
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._poll: select.poll
        self._pending: Callable[[], int]
        self._events = 0
        self._talk: Conversation | None = None
        self._replaces = 0
        self._dead: TamperedError | None = None
        self._closed = False
        self._saved = time.monotonic()
        self._open()

    # -- use ----------------------------------------------------------------------------------------------------

    @property
    def most_operations(self) -> int:
        """Most operations of a record. Batches of so many, or of multiples, take the least of the link."""
        return self._codec.most_operations

    @property
    def may_read(self) -> bool:
        """Whether the client is told what keys held."""
        return self.settings.client.credential.reads

    def execute(self, batch: Sequence[Operation]) -> list[Response]:
        """Run operations in order.

        Reveals
            How many operations are sent, and when.

        Raises
        ------
        InputError
            If an operation is malformed; nothing was sent.
        UnknownFateError
            If the connection broke or no answer came in time; its attributes say how many operations were answered.
        TamperedError
            If an answer was altered, replayed, lost or rolled back; the error holds the answers before it.
        DeviceError, SessionError
            If no connection could be made; nothing was sent.
        """
        work = Batch(self._codec, batch)
        self._run(work)
        return work.kept

    def execute_arrays(self, kinds: npt.ArrayLike, keys: Rows, values: Rows) -> Answers:
        """Run operations that come as arrays. See :meth:`omap.interface.ObliviousMap.execute_arrays`.

        Reveals
            How many operations are sent, and when.

        Raises
        ------
        InputError
            For arrays of the wrong shape or type, or a kind that does not exist; nothing was sent.
        UnknownFateError, TamperedError, DeviceError, SessionError
            As :meth:`execute`; the errors hold no answers.
        """
        work = Mixed(self._codec, kinds, keys, values)
        self._run(work)
        return work.kept

    def put_many(self, keys: Rows, values: Rows, *, progress: Progress | None = None) -> int:
        """Set many keys, and return how many were new. See :meth:`omap.connections.RemoteMap.put_many`.

        Reveals
            How many operations are sent, and when.
        """
        work = PutRows(self._codec, keys, values, progress)
        self._run(work)
        return work.result()

    def delete_many(self, keys: Rows, *, progress: Progress | None = None) -> int:
        """Remove many keys, and return how many were there. See :meth:`omap.connections.RemoteMap.delete_many`.

        Reveals
            How many operations are sent, and when.
        """
        work = DeleteRows(self._codec, keys, progress)
        self._run(work)
        return work.result()

    def get_many(
        self, keys: Rows, *, progress: Progress | None = None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Get the values of many keys. See :meth:`omap.connections.RemoteMap.get_many`.

        Reveals
            How many operations are sent, and when.
        """
        work = GetRows(self._codec, keys, progress)
        self._run(work)
        return work.result()

    def ping(self) -> Reply:
        """Run a NOP and return its answer: live keys, number of the operation, overruns.

        Reveals
            That one operation is sent, and when.
        """
        self._run(Plain(self._codec))
        assert self._newest.last is not None
        return self._newest.last

    def __len__(self) -> int:
        """Return the number of live keys. Over a connection this takes one operation, a NOP.

        Reveals
            That one operation is sent, and when.
        """
        return self.ping().live

    def close(self) -> None:
        """End the session and hang up. A closed client refuses work.

        Reveals
            That the client ends its session, and when.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._talk is not None and self._talk.remaining:
                with contextlib.suppress(OmapError, Broken, OSError):
                    self._exchange(Plain(self._codec, kind=CLOSE), min(CLOSE_SECONDS, self.settings.timeout))
            self._hang_up()
        self.witness.save()

    # -- one piece of work --------------------------------------------------------------------------------------

    def _run(self, work: Work) -> None:
        with self._lock:
            if self._dead is not None:
                raise dead(self._dead)
            if self._closed:
                raise SessionError("the client was closed: connect anew")
            if work.done:
                return
            if self._talk is None:
                self._open()
            try:
                self._exchange(work, self.settings.timeout)
            except MapChangedError as error:
                self._hang_up()
                work.note_fate(error)
                raise
            except TamperedError as error:
                # SEC_CM: CLIENT.FAULT.LATCH -- after tampering nothing is believed any more
                self._dead = error
                self._hang_up()
                work.note_fate(error)
                raise
            except Broken as why:
                self._hang_up()
                raise work.unknown(str(why)) from None
            except (OSError, EOFError, OmapError) as error:
                self._hang_up()
                raise work.unknown(f"the connection broke ({error or type(error).__name__})") from None
            except BaseException:  # interrupted between a command and its answer
                self._hang_up()
                raise
            if self.witness.path is not None and time.monotonic() - self._saved > SAVE_SECONDS:
                self._saved = time.monotonic()
                with contextlib.suppress(OmapError):  # close() tries again, and raises
                    self.witness.save()

    def _exchange(self, work: Work, patience: float) -> None:
        """Send and receive until all of the work is answered. No answer for ``patience`` seconds is an error."""
        settings, talk, sock = self.settings, self._talk, self._socket
        assert talk is not None
        assert sock is not None
        outgoing: bytes | memoryview = b""
        end = time.monotonic() + patience
        while work.answered < work.wanted:
            if talk.exhausted:  # and not sooner, so that no answer is lost if no other session can be opened
                talk = self._converse(drive(sock, new_session(settings, self.greeting, self.witness, self._replaces)))
                end = time.monotonic() + patience
            if not outgoing and work.sent < work.wanted:
                outgoing = _sealed(talk, work)
            if outgoing:
                try:
                    count = sock.send(outgoing)
                    outgoing = memoryview(outgoing)[count:] if count < len(outgoing) else b""
                except _WAIT:
                    pass
            if outgoing or work.sent >= work.wanted or talk.crowded or not talk.room():
                self._wait(_EITHER if outgoing else select.POLLIN, end, patience)
            try:
                count = sock.recv_into(self._buffer)
            except _WAIT:
                continue
            if not count:
                raise Broken("the peer hung up")
            answers: list[memoryview] = []
            try:
                talk.feed(self._buffer[:count], answers)
            finally:
                if answers:
                    self._newest = talk
                    work.take(answers[0] if len(answers) == 1 else b"".join(answers))
                    end = time.monotonic() + patience  # whole answers count, or a byte at a time would be enough

    def _wait(self, events: int, end: float, patience: float) -> None:
        """Wait until the socket can be read, or written if the events say so, but not beyond ``end``."""
        if self._pending():
            return  # what was received and deciphered already does not show in a poll
        if events != self._events:
            assert self._socket is not None
            self._poll.register(self._socket, events)
            self._events = events
        if not self._poll.poll(max(0.0, 1000 * (end - time.monotonic()))):
            raise Broken(f"no answer came for {patience:g} s")

    # -- connection ---------------------------------------------------------------------------------------------

    def _open(self) -> None:
        settings = self.settings
        sock = connect(settings)
        try:
            opened = drive(sock, opening(settings, getattr(self, "greeting", None), self.witness, self._replaces))
        except BaseException as error:
            sock.close()
            if latches(error):
                self._dead = error
            raise
        self.greeting, self.params = opened.greeting, opened.greeting.params
        self._codec = opened.conversation.codec
        self._socket, self._poll, self._events = sock, select.poll(), 0
        self._pending = sock.pending if isinstance(sock, ssl.SSLSocket) else bool
        self._converse(opened.conversation)

    def _converse(self, conversation: Conversation) -> Conversation:
        self._talk = conversation
        self._replaces = conversation.session.session
        return conversation

    def _hang_up(self) -> None:
        self._talk = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _sealed(talk: Conversation, work: Work) -> bytes:
    """Return the next records, a few at a time; none while enough is in flight."""
    records: list[bytes] = []
    if talk.crowded:
        return b""
    size, most = 0, talk.in_flight + talk.half
    while size < PIECE_BYTES and talk.in_flight < most and (unsent := work.unsent) and (room := talk.room()):
        count = min(unsent, room)
        records.append(talk.seal([work.next(count)], count))
        size += len(records[-1])
    return records[0] if len(records) == 1 else b"".join(records)


def open_url(url: str, **options: Any) -> RemoteMap:
    """Connect to the relay at ``omap://host:port`` or ``omap+unix:///path``. What :func:`omap.connect` calls.

    Parameters
    ----------
    url : str
        The address.
    **options
        ``key_file`` or ``client``, and those of :class:`~host.client.settings.Settings`.

    Reveals
        That a client connected, and when.

    Raises
    ------
    InputError
        Malformed address or option, unusable key or witness file.
    DeviceError
        Nothing, or no relay, answers there.
    WrongKeyError
        The device holds another root key.
    MapChangedError
        The map is not the one in the witness file, nor the one that ``accept`` names.
    SessionError
        The session was refused.
    """
    settings = Settings.from_url(url, **options)
    return Client(settings) if settings.rate is None else PacedClient(settings)
