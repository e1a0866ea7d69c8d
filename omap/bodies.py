"""What a ``DATA`` record seals: operations and their answers, as lists or as arrays.

====================  ==================================================================================
body of a command     ``zeros (16) || item || item || ... || zeros``, an item is ``kind (8 bits) || key || value``
body of a response    ``number of the first operation (64 bits) || overruns (32) || live keys (32) || item || ... ||
                      zeros``, an item is ``status (bits 0 to 3) and found (bit 7) || value``
====================  ==================================================================================

Integers are big-endian. Each item ends in zeros up to its size, :attr:`omap.wire.RecordCodec.item_bytes`. Overruns and
live keys saturate. The number is the one of the record's first operation; the others follow it without a gap. Overruns
and live keys are as of the record's last operation.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from omap.columns import Answers, Columns, copy_rows
from omap.operations import Kind, Operation, Response, Status
from omap.wire import CLOSE, PREAMBLE_BYTES, RecordCodec

PREAMBLE = struct.Struct(">QII")
"""Before the items of a response: number of the first operation, overruns, live keys."""

PREAMBLE_FIELDS = np.dtype([("sequence", ">u8"), ("overruns", ">u4"), ("live", ">u4")])
"""The same for arrays."""
assert PREAMBLE_FIELDS.itemsize == PREAMBLE.size

MOST_TOLD = (1 << 32) - 1
"""Overruns and live keys that a response can tell; more count as so many."""

FOUND = 0x80
"""Bit of a response's item that says whether there was a value."""

STATUS_MASK = 0x0F

_NOP, _PUT = Kind.NOP, Kind.PUT  # an enum is slow to look into
_ZEROS = bytes(PREAMBLE_BYTES)
_KINDS = tuple(bytes([kind]) for kind in range(CLOSE + 1))
_STATUSES = tuple(Status)
_WITHOUT_VALUE = tuple(Response(status) for status in Status)


class Reply(NamedTuple):
    """What a response record says.

    Parameters
    ----------
    sequence : int
        Number of the record's first operation. A format starts at 0; a restored map goes on where its parent was.
    overruns : int
        Events so far that departed later than their fixed offset; 0 in the model, which has no time.
    live : int
        Live keys after the record's last operation.
    count : int
        Operations of the record.
    text : bytes
        The body, from which :func:`responses` and :func:`answers` read the answers.
    """

    sequence: int
    overruns: int
    live: int
    count: int  # type: ignore[assignment]  # nobody counts the fields of a reply
    text: bytes


# -- commands -----------------------------------------------------------------------------------------------------


def operation_items(codec: RecordCodec, operations: Sequence[Operation]) -> bytes:
    """Return the items of operations that fit the map, one after the other."""
    room = codec.item_bytes - 1
    put, nop = _PUT, _NOP
    parts = []
    for kind, key, value in operations:
        parts.append(_KINDS[kind])
        if kind == put:
            parts.append((key + value).ljust(room, b"\0"))
        else:  # key and value of a NOP, and the value of a GET or a DELETE, never leave the client
            parts.append((key if kind != nop and kind != CLOSE else b"").ljust(room, b"\0"))
    return b"".join(parts)


def column_items(codec: RecordCodec, columns: Columns) -> memoryview:
    """Return the items of operations in arrays. Key and value must be zeros where the kind does not use them."""
    items = np.zeros((len(columns.kinds), codec.item_bytes), np.uint8)
    key_end = 1 + codec.params.key_bytes
    items[:, 0] = columns.kinds
    copy_rows(items[:, 1:key_end], columns.keys)
    copy_rows(items[:, key_end : 1 + codec.params.tuple_bytes], columns.values)
    return items.reshape(-1).data


def command_text(codec: RecordCodec, items: Iterable[bytes | memoryview], count: int) -> bytes:
    """Return the body of a command record that has ``count`` items, in one piece or several."""
    return b"".join((_ZEROS, *items)).ljust(codec.text_bytes(count), b"\0")


def pack_operations(codec: RecordCodec, operations: Sequence[Operation]) -> bytes:
    """Return the body of a command record; the operations must fit the map and one record."""
    return command_text(codec, [operation_items(codec, operations)], len(operations))


def pack_columns(codec: RecordCodec, columns: Columns) -> bytes:
    """Return the body of a command record. Key and value must be zeros where the kind does not use them."""
    return command_text(codec, [column_items(codec, columns)], len(columns.kinds))


def command_items(codec: RecordCodec, text: bytes, count: int) -> bytes:
    """Return the items in the body of a command record, one after the other."""
    return text[PREAMBLE_BYTES : PREAMBLE_BYTES + count * codec.item_bytes]


def unpack_columns(codec: RecordCodec, items: bytes) -> Columns:
    """Return the operations in items. A kind that does not exist reads as NOP; CLOSE stays."""
    rows = np.frombuffer(items, np.uint8).reshape(-1, codec.item_bytes)
    key_end = 1 + codec.params.key_bytes
    kinds = rows[:, 0].copy()
    if (unknown := kinds > CLOSE).any():
        kinds[unknown] = np.uint8(_NOP)
    keys = np.empty((len(rows), codec.params.key_bytes), np.uint8)
    values = np.empty((len(rows), codec.params.value_bytes), np.uint8)
    copy_rows(keys, rows[:, 1:key_end])
    copy_rows(values, rows[:, key_end : 1 + codec.params.tuple_bytes])
    return Columns(kinds, keys, values)


def texts(codec: RecordCodec, count: int, preambles: npt.NDArray[np.void], items: bytes | memoryview) -> list[bytes]:
    """Return the bodies of records that have ``count`` operations each.

    Parameters
    ----------
    codec : RecordCodec
        Sizes of the records.
    count : int
        Operations of each record.
    preambles : (n,) array of structures of 16 bytes
        What stands before the items of each record.
    items : bytes-like
        The items of all records, one after the other.
    """
    size = codec.text_bytes(count)
    rows = np.zeros((len(preambles), size), np.uint8)
    rows[:, :PREAMBLE_BYTES] = preambles.view((np.uint8, PREAMBLE_BYTES))
    rows[:, PREAMBLE_BYTES : PREAMBLE_BYTES + count * codec.item_bytes] = np.frombuffer(items, np.uint8).reshape(
        len(preambles), -1
    )
    found: list[bytes] = rows.view(f"V{size}").ravel().tolist()
    return found


# -- responses ----------------------------------------------------------------------------------------------------


def pack_answers(codec: RecordCodec, answers: Answers) -> bytes:
    """Return the items of answers, one after the other, to be cut into records."""
    items = np.zeros((len(answers.statuses), codec.item_bytes), np.uint8)
    items[:, 0] = answers.statuses | (answers.found.view(np.uint8) * np.uint8(FOUND))
    copy_rows(items[:, 1 : 1 + codec.params.value_bytes], answers.values)
    return items.tobytes()


def reply_text(codec: RecordCodec, reply: Reply) -> bytes:
    """Return the body of a response record, whose items are the ``text`` of ``reply``."""
    preamble = PREAMBLE.pack(reply.sequence, min(reply.overruns, MOST_TOLD), min(reply.live, MOST_TOLD))
    return (preamble + reply.text).ljust(codec.text_bytes(reply.count), b"\0")


def reply_texts(
    codec: RecordCodec, count: int, first: int, live: npt.NDArray[np.int64], items: bytes | memoryview
) -> list[bytes]:
    """Return the bodies of response records that follow each other, without overruns.

    Parameters
    ----------
    codec : RecordCodec
        Sizes of the records.
    count : int
        Operations of each record.
    first : int
        Number of the first operation.
    live : (n,) int64 array
        Live keys after each record.
    items : bytes-like
        The items of all records, one after the other.
    """
    preambles = np.zeros(len(live), PREAMBLE_FIELDS)
    preambles["sequence"] = first + count * np.arange(len(live), dtype=np.uint64)
    preambles["live"] = np.minimum(live, MOST_TOLD)
    return texts(codec, count, preambles, items)


def read_reply(text: bytes, count: int) -> Reply:
    """Return what the body of a response record says."""
    sequence, overruns, live = PREAMBLE.unpack_from(text)
    return Reply(sequence, overruns, live, count, text)


def reply_items(codec: RecordCodec, reply: Reply) -> memoryview:
    """Return the items of a response record, one after the other."""
    return memoryview(reply.text)[PREAMBLE_BYTES : PREAMBLE_BYTES + reply.count * codec.item_bytes]


def read_responses(codec: RecordCodec, items: bytes | memoryview) -> list[Response]:
    """Return one response for each item."""
    text, size, value_bytes = bytes(items), codec.item_bytes, codec.params.value_bytes
    make, statuses, without_value = tuple.__new__, _STATUSES, _WITHOUT_VALUE
    at, result = 1, []
    for head in text[::size]:
        if head & FOUND:
            result.append(make(Response, (statuses[head & STATUS_MASK], text[at : at + value_bytes])))
        else:
            result.append(without_value[head])
        at += size
    return result


def read_answers(codec: RecordCodec, items: bytes | memoryview) -> Answers:
    """Return items as arrays, which refer to the same bytes."""
    rows = np.frombuffer(items, np.uint8).reshape(-1, codec.item_bytes)
    heads = rows[:, 0]
    return Answers(heads & np.uint8(STATUS_MASK), heads >= FOUND, rows[:, 1 : 1 + codec.params.value_bytes])


def responses(codec: RecordCodec, reply: Reply) -> list[Response]:
    """Return one response for each operation of a record."""
    return read_responses(codec, reply_items(codec, reply))


def answers(codec: RecordCodec, reply: Reply) -> Answers:
    """Return the answers of a record as arrays; they refer to the bytes of the record."""
    return read_answers(codec, reply_items(codec, reply))
