"""A client of a simulated device in the same process: a session, and operations in records of any sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from host.device.driver import Driver
from host.records import split
from omap.bodies import Reply, responses
from omap.credentials import Credential, provision
from omap.operations import Operation, Response
from omap.session import ClientSession
from sim.device.map_bench import Reply as OperationReply

OWNER = Credential()
"""Who may do everything."""


def open_session(
    driver: Driver, root_key: bytes, *, credential: Credential = OWNER, nonce: bytes | None = None
) -> ClientSession:
    """Open a session with a device.

    Parameters
    ----------
    driver : Driver
        The device.
    root_key : bytes
        The device's.
    credential : Credential
        Who the client is.
    nonce : bytes, optional
        The client's, where a test gives it.
    """
    session = ClientSession(driver.params, provision(root_key, credential))
    if nonce is not None:
        session._nonce = nonce
    answer = driver.exchange(session.hello())
    session.opened(driver.exchange(session.confirm(answer)))
    return session


def seal_all(session: ClientSession, operations: Sequence[Operation], sizes: Iterable[int] = ()) -> Iterator[bytes]:
    """Yield the records of operations: of these sizes, then full ones; the last takes what is left."""
    left, given = iter(operations), iter(sizes)
    while part := list(islice(left, next(given, session.codec.most_operations))):
        yield session.seal(part)


def open_all(session: ClientSession, answers: bytes) -> list[Reply]:
    """Return what the answers to the next records of a session say; none may be a refusal."""
    return [session.open(record) for record in split(answers)]


def operation_replies(session: ClientSession, replies: Iterable[Reply]) -> list[OperationReply]:
    """Return what is known of each operation of some records; live keys and overruns are as of its record's end."""
    return [
        OperationReply(response, reply.sequence + place, reply.live, reply.overruns)
        for reply in replies
        for place, response in enumerate(responses(session.codec, reply))
    ]


def responses_of(session: ClientSession, replies: Iterable[Reply]) -> list[Response]:
    """Return the response to each operation of some records."""
    return [response for reply in replies for response in responses(session.codec, reply)]
