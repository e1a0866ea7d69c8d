"""The client's end of an open session, without the connection: bytes in, bytes out. Both clients use it.

A conversation seals operations, opens answers, and compares every answer with what was known before. Two kinds of error
can come. If only tampering explains what came, a :class:`~omap.errors.TamperedError` says what was tampered with, and
the client refuses all further work. If a crash explains it as well, or if a relay merely claims it, the connection is
broken (:class:`Broken`): the client tells its caller that the fate of operations is unknown, and may open a new
session, which ends the old one.
"""

from __future__ import annotations

from collections.abc import Sequence

from host.client.witness import Witness
from omap.bodies import Reply
from omap.operations import Operation, Response
from omap.session import RECORD_LIMIT, ClientSession, refused
from omap.wire import RecordType, read_header


class Broken(Exception):  # noqa: N818 - not an error that anybody sees
    """The connection is of no use any more. The text says why."""


class Conversation:
    """An open session: seals operations and opens their answers.

    Parameters
    ----------
    session : ClientSession
        The session, set up.
    witness : Witness
        What is known of the map.
    limit : int
        Records that the session may carry.
    """

    def __init__(self, session: ClientSession, witness: Witness, limit: int = RECORD_LIMIT) -> None:
        self.session = session
        self.witness = witness
        self.last: Reply | None = None
        self._limit = min(limit, RECORD_LIMIT)
        self._record_bytes = session.codec.record_bytes
        self._rest = b""

    @property
    def in_flight(self) -> int:
        """Operations that were sealed and are not answered yet."""
        return self.session.sent - self.session.received

    @property
    def remaining(self) -> int:
        """Operations that the session may still carry."""
        return self._limit - self.session.sent

    @property
    def exhausted(self) -> bool:
        """Whether a new session is needed: this one may carry no more records, and all are answered."""
        return self.session.received >= self._limit

    def seal(self, operations: Sequence[Operation]) -> bytes:
        """Return the records of some operations, of which there may be at most :attr:`remaining`."""
        seal = self.session.seal
        return b"".join([seal(operation) for operation in operations])

    def feed(self, data: bytes, responses: list[Response]) -> None:
        """Take bytes that came, and append the response in every whole record to ``responses``.

        Raises
        ------
        TamperedError
            If a record is not the next answer. The answers before it are in ``responses``.
        Broken
            If the peer says that it refused a command.
        """
        size, open_, witness = self._record_bytes, self.session.open, self.witness
        data = self._rest + data if self._rest else data
        end = len(data) - len(data) % size
        self._rest = data[end:]
        for at in range(0, end, size):
            record = data[at : at + size]
            if record[0] == RecordType.REFUSED:
                # SEC_CM: CLIENT.REFUSAL.DOUBTED -- anybody can write a refusal, so it proves nothing about what ran
                raise Broken(f"the peer says, without proof: {refused(read_header(record))}")
            reply = open_(record)
            witness.note(reply.sequence)
            self.last = reply
            responses.append(reply.response)
