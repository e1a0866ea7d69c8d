"""The commands of consecutive records as one batch: what each client may do, and the replies to each record.

Operations that a client's credential does not allow become NOPs here, after their record was opened and before anything
runs. Such an operation takes an index and draws as any other, so that the host can't tell it from one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from omap.bodies import command_items, pack_answers, reply_texts, unpack_columns
from omap.columns import Answers, Bytes, Columns
from omap.credentials import Credential, Right
from omap.operations import Kind, Status
from omap.wire import CLOSE, Header, RecordCodec

_NOP = int(Kind.NOP)  # an array takes microseconds to be compared with an enumeration


class Part(NamedTuple):
    """The operations of records of one session that follow each other, and of which each has as many operations.

    Parameters
    ----------
    header : Header
        Header of the first record.
    credential : Credential
        The credential of the session.
    records : int
        How many records there are.
    items : bytes
        Their items.
    """

    header: Header
    credential: Credential
    records: int
    items: bytes

    @property
    def operations(self) -> int:
        """Operations of all records."""
        return self.header.count * self.records


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

    def add(self, header: Header, credential: Credential, *texts: bytes) -> bool:
        """Add the commands of records up to one that ends its session. Return whether there is one.

        The last part says how many records were added.

        Parameters
        ----------
        header : Header
            Header of the first record. Those that follow differ from it in their sequence alone.
        credential : Credential
            The credential of the session.
        *texts : bytes
            The bodies of the records.
        """
        size, count = self.codec.item_bytes, header.count
        items = b"".join([command_items(self.codec, text, count) for text in texts])
        closing = items[::size].find(CLOSE)
        records = len(texts) if closing < 0 else closing // count + 1
        self.parts.append(Part(header, credential, records, items[: records * count * size]))
        return closing >= 0

    def take(self) -> CommandBatch:
        """Return all that is in this batch as another one, and empty this one."""
        taken = CommandBatch(self.codec)
        taken.parts, self.parts = self.parts, []
        return taken

    def columns(self) -> Columns:
        """Return all operations. What is not allowed is a NOP, and so is CLOSE; keys and values of NOPs are zeros."""
        columns = unpack_columns(self.codec, b"".join([part.items for part in self.parts]))
        kinds = columns.kinds
        if (closing := kinds == CLOSE).any():
            kinds[closing] = _NOP
        # SEC_CM: SESSION.RIGHTS.ENFORCED -- after the tag and before admission, whatever the client's software does
        denied = self._denied = self._find_denied(kinds, columns.keys)
        if denied is not None:
            kinds[denied] = _NOP
        idle = kinds == _NOP
        if not idle.any():
            return Columns(kinds, columns.keys, columns.values)
        shown = ~idle[:, None]
        return Columns(kinds, columns.keys * shown, columns.values * shown)

    def _find_denied(self, kinds: Bytes, keys: Bytes) -> npt.NDArray[np.bool_] | None:
        if all(part.credential.allows_all for part in self.parts):
            return None
        denied = np.zeros(len(kinds), bool)
        end = 0
        for part in self.parts:
            start, end = end, end + part.operations
            if not part.credential.allows_all:
                denied[start:end] = refused_by(part.credential, kinds[start:end], keys[start:end])
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
        items, size, end = pack_answers(self.codec, answers), self.codec.item_bytes, 0
        texts: list[bytes] = []
        for part in self.parts:
            count, start, end = part.header.count, end, end + part.operations
            told = live[start + count - 1 : end : count] * part.credential.sees_map
            texts += reply_texts(self.codec, count, first + start, told, items[start * size : end * size])
        return texts

    def _told(self, answers: Answers) -> Answers:
        """Return what the clients are told of the answers."""
        statuses, found, values = answers
        blind = [not part.credential.reads for part in self.parts]
        if any(blind):
            # SEC_CM: SESSION.PREVIOUS.HIDDEN -- who may not read learns neither values nor which keys are live
            hidden = np.repeat(blind, [part.operations for part in self.parts])
            missing = hidden & (statuses == int(Status.NOT_FOUND))
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
    right = np.where(kinds == int(Kind.GET), np.uint8(Right.READ), np.uint8(Right.WRITE))
    prefix = np.frombuffer(credential.prefix, np.uint8)
    wrong = (keys[:, : len(prefix)] != prefix).any(axis=1)
    return np.asarray((kinds != _NOP) & (((right & int(credential.rights)) == 0) | wrong))
