"""The commands of consecutive records as one batch: what each client may do, and the replies to each record.

Operations that a client's credential does not allow become NOPs here, after their record was opened and before anything
runs. Such an operation takes an index and draws as any other, so that the host can't tell it from one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from omap.bodies import Reply, command_items, pack_answers, reply_text, unpack_columns
from omap.columns import Answers, Bytes, Columns
from omap.credentials import Credential, Right
from omap.operations import Kind, Status
from omap.wire import CLOSE, Header, RecordCodec


class Part(NamedTuple):
    """The operations of one record.

    Parameters
    ----------
    header : Header
        Header of the record.
    credential : Credential
        The credential of its session.
    items : bytes
        Its items.
    """

    header: Header
    credential: Credential
    items: bytes


class CommandBatch:
    """Commands of records that were opened, in order.

    Parameters
    ----------
    codec : RecordCodec
        Sizes of the records.
    """

    def __init__(self, codec: RecordCodec) -> None:
        self.codec = codec
        self.parts: list[Part] = []
        self._denied: npt.NDArray[np.bool_] | None = None

    def add(self, header: Header, credential: Credential, text: bytes) -> bool:
        """Add the commands of a record with the body ``text``. Return whether the record ends its session."""
        items = command_items(self.codec, text, header.count)
        self.parts.append(Part(header, credential, items))
        return CLOSE in items[:: self.codec.item_bytes]

    def take(self) -> CommandBatch:
        """Return all that is in this batch as another one, and empty this one."""
        taken = CommandBatch(self.codec)
        taken.parts, self.parts = self.parts, []
        return taken

    def columns(self) -> Columns:
        """Return all operations. What is not allowed is a NOP, and so is CLOSE; keys and values of NOPs are zeros."""
        columns = unpack_columns(self.codec, b"".join([part.items for part in self.parts]))
        kinds = np.where(columns.kinds == CLOSE, np.uint8(Kind.NOP), columns.kinds)
        # SEC_CM: SESSION.RIGHTS.ENFORCED -- after the tag and before admission, whatever the client's software does
        denied = self._denied = self._find_denied(kinds, columns.keys)
        if denied is not None:
            kinds[denied] = Kind.NOP
        idle = kinds == Kind.NOP
        if not idle.any():
            return Columns(kinds, columns.keys, columns.values)
        shown = ~idle[:, None]
        return Columns(kinds, columns.keys * shown, columns.values * shown)

    def _find_denied(self, kinds: Bytes, keys: Bytes) -> npt.NDArray[np.bool_] | None:
        if all(part.credential.allows_all for part in self.parts):
            return None
        denied = np.zeros(len(kinds), bool)
        end = 0
        for header, credential, _ in self.parts:
            start, end = end, end + header.count
            if not credential.allows_all:
                denied[start:end] = refused_by(credential, kinds[start:end], keys[start:end])
        return denied

    def replies(self, answers: Answers, first: int, live: npt.NDArray[np.int64]) -> list[bytes]:
        """Return the body of the response to each record.

        Parameters
        ----------
        answers : Answers
            To the operations that :meth:`columns` has returned.
        first : int
            Number of the first of them.
        live : (n,) int64 array
            Live keys after each of them.
        """
        answers = self._told(answers)
        items, size, end, texts = pack_answers(self.codec, answers), self.codec.item_bytes, 0, []
        for header, credential, _ in self.parts:
            start, end = end, end + header.count
            told = int(live[end - 1]) if credential.sees_map else 0
            reply = Reply(first + start, 0, told, header.count, items[start * size : end * size])
            texts.append(reply_text(self.codec, reply))
        return texts

    def _told(self, answers: Answers) -> Answers:
        """Return what the clients are told of the answers."""
        statuses, found, values = answers
        blind = [not part.credential.reads for part in self.parts]
        if any(blind):
            # SEC_CM: SESSION.PREVIOUS.HIDDEN -- who may not read learns neither values nor which keys are live
            hidden = np.repeat(blind, [part.header.count for part in self.parts])
            missing = hidden & (statuses == Status.NOT_FOUND)
            statuses = np.where(missing, np.uint8(Status.OK), statuses)
            found, values = found & ~hidden, values * ~hidden[:, None]
        if self._denied is not None:
            statuses = np.where(self._denied, np.uint8(Status.DENIED), statuses)
        return Answers(statuses, found, values)


def refused_by(credential: Credential, kinds: Bytes, keys: Bytes) -> npt.NDArray[np.bool_]:
    """Return which operations a credential does not allow.

    Parameters
    ----------
    credential : Credential
        What its holder may do.
    kinds : (n,) uint8 array
        Kinds of operations.
    keys : (n, key_bytes) uint8 array
        Their keys.
    """
    right = np.where(kinds == Kind.GET, np.uint8(Right.READ), np.uint8(Right.WRITE))
    prefix = np.frombuffer(credential.prefix, np.uint8)
    wrong = (keys[:, : len(prefix)] != prefix).any(axis=1)
    return np.asarray((kinds != Kind.NOP) & (((right & int(credential.rights)) == 0) | wrong))
