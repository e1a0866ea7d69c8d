"""Records as bits: the layouts of :mod:`omap.wire`, for the blocks that read and write them."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Mux, Value, ValueLike
from amaranth.lib.data import StructLayout, View

from omap.bodies import FOUND, MOST_TOLD
from omap.credentials import CREDENTIAL_BYTES, MOST_PREFIX_BYTES, NAME_BYTES
from omap.operations import Kind
from omap.params import Params
from omap.wire import HEADER, PREAMBLE_BYTES, SESSIONS, SOURCE_LINES, Direction, RecordCodec
from rtl.constants import BLOCK_BITS, BLOCK_BYTES, LINE_BYTES
from rtl.stream.interfaces import NONCE_BITS, swap_bytes

SESSION_INDEX = range(SESSIONS)
"""Shape of a session index: which of the device's places a session has."""

SESSION_INDEX_BITS = (SESSIONS - 1).bit_length()

SESSION_BITS = 32
"""Bits of a session number."""

LINE_BEATS = LINE_BYTES // BLOCK_BYTES
"""Beats of a line."""

SOURCE_FIELD_BYTES = SOURCE_LINES * LINE_BYTES - HEADER.size
"""Bytes of the fields of a SOURCE: additional data of each record of its snapshot, behind the header."""

SOURCE_FIELD_BEATS = SOURCE_FIELD_BYTES // BLOCK_BYTES
"""Beats of these fields."""

NUMBER_BITS = 64
"""Bits of the number of an operation, or of a record of a journal."""

RECORD_BEAT = StructLayout({"data": BLOCK_BITS, "last": 1, "malformed": 1})
"""A beat of a command record. ``last`` marks its last beat, and ``malformed`` every beat of one that is malformed."""

HEADER_FIELDS = StructLayout(
    {"type": 8, "session_index": 8, "lines": 8, "count": 8, "session": SESSION_BITS, "sequence": 64}
)
"""The clear part of a record, as numbers. In a beat each field has its bytes in the opposite order."""

CREDENTIAL_FIELDS = StructLayout(
    {"rights": 8, "prefix_bytes": 8, "prefix": 8 * MOST_PREFIX_BYTES, "name": 8 * NAME_BYTES}
)
"""A credential as its bytes lie: see :mod:`omap.credentials`."""

RIGHTS = StructLayout(
    {"read": 1, "write": 1, "prefix_bytes": range(MOST_PREFIX_BYTES + 1), "prefix": 8 * MOST_PREFIX_BYTES}
)
"""What a session may do: read, write; how many bytes of a key must be those of ``prefix``, whose byte 0 is lowest."""

FOUND_BIT = FOUND.bit_length() - 1
"""Bit of a response's item that says whether there was a value. Below it is the status."""

TOLD_BITS = MOST_TOLD.bit_length()
"""Bits of overruns and of live keys in a response. Larger numbers count as the largest that they can say."""

TURN_BITS = 32
"""Bits of a sequence number that was found below :data:`omap.session.RECORD_LIMIT`."""

assert HEADER_FIELDS.size == 8 * HEADER.size == 8 * BLOCK_BYTES
assert CREDENTIAL_FIELDS.size == 8 * CREDENTIAL_BYTES


def record_request(params: Params, *, more: bool = False) -> StructLayout:
    """Return what announces a record to be opened or sealed; its beats are all, header and tag among them.

    With ``more`` it may be one of a snapshot, which has the fields of its SOURCE behind its header.
    """
    beats = range(sealed_bytes(params, more=more) // BLOCK_BYTES + 1)
    return StructLayout(
        {"key_index": SESSION_INDEX, "nonce": NONCE_BITS, "beats": beats} | ({"more": 1} if more else {})
    )


def sealed_bytes(params: Params, *, more: bool = False) -> int:
    """Return the most bytes of a record that is opened or sealed, as :func:`record_request` says."""
    return RecordCodec(params).most_lines * LINE_BYTES + (SOURCE_FIELD_BYTES if more else 0)


def digest_of(params: Params) -> Value:
    """Return the digest of a map's parameters as its bytes lie."""
    return Const(int.from_bytes(params.digest, "little"), 8 * len(params.digest))


def command_layout(params: Params) -> StructLayout:
    """Return what an opened command says: kind, key and value."""
    return StructLayout({"kind": 2, "key": 8 * params.key_bytes, "value": 8 * params.value_bytes})


def reply_layout(params: Params) -> StructLayout:
    """Return what a reply to a command says."""
    return StructLayout(
        {"status": 2, "found": 1, "value": 8 * params.value_bytes, "overruns": 32, "operation": 64, "live": 64}
    )


def _swap_fields(beat: ValueLike) -> Value:
    fields = View(HEADER_FIELDS, Value.cast(beat))
    return Cat(swap_bytes(fields[name]) for name, _ in HEADER_FIELDS)


def read_header(beat: ValueLike) -> View:
    """Return the header in a record's first beat, as numbers."""
    return View(HEADER_FIELDS, _swap_fields(beat))


def header_beat(
    *,
    type: ValueLike,
    session_index: ValueLike,
    lines: ValueLike,
    count: ValueLike,
    session: ValueLike,
    sequence: ValueLike,
) -> Value:
    """Return a record's first beat."""
    values = {
        "type": type,
        "session_index": session_index,
        "lines": lines,
        "count": count,
        "session": session,
        "sequence": sequence,
    }
    return _swap_fields(Cat(_resized(values[name], field.shape) for name, field in HEADER_FIELDS))


def record_nonce(direction: Direction, sequence: ValueLike) -> Value:
    """Return the nonce of a DATA record, ``direction (32) || sequence (64)``."""
    nonce = Cat(swap_bytes(Const(direction, 32)), swap_bytes(_resized(sequence, 64)))
    assert len(nonce) == NONCE_BITS
    return nonce


def journal_nonce(type: ValueLike, number: ValueLike) -> Value:
    """Return the nonce of a record of a journal, ``type (32) || number (64)``."""
    nonce = Cat(swap_bytes(_resized(type, 32)), swap_bytes(_resized(number, 64)))
    assert len(nonce) == NONCE_BITS
    return nonce


def read_kind(item: Value) -> Value:
    """Return the byte of a command's item that says its kind."""
    return item[:8]


def read_command(params: Params, item: Value) -> dict[str, Value]:
    """Return the fields of :func:`command_layout` in a command's item. A kind that does not exist reads as NOP."""
    key = 8
    value = key + 8 * params.key_bytes
    kind = read_kind(item)
    return {
        "kind": Mux(kind[2:] == 0, kind[:2], Kind.NOP),  # CLOSE as well
        "key": item[key:value],
        "value": item[value : value + 8 * params.value_bytes],
    }


def reply_item(params: Params, *, status: ValueLike, found: ValueLike, value: ValueLike) -> Value:
    """Return the item that says what became of an operation."""
    item = Cat(_resized(status, FOUND_BIT), Value.cast(found)[0], Mux(found, value, 0))
    return _resized(item, 8 * RecordCodec(params).item_bytes)


def effect_item(params: Params, *, kind: ValueLike, key: ValueLike, value: ValueLike) -> Value:
    """Return the item of a journal that says what an operation changed."""
    item = Cat(_resized(kind, 8), _resized(key, 8 * params.key_bytes), _resized(value, 8 * params.value_bytes))
    return _resized(item, 8 * RecordCodec(params).item_bytes)


def reply_preamble(*, operation: ValueLike, overruns: ValueLike, live: ValueLike) -> Value:
    """Return the beat before the items of a response: the number of its first operation, overruns and live keys."""
    preamble = Cat(swap_bytes(_resized(operation, 64)), *(swap_bytes(_saturated(count)) for count in (overruns, live)))
    assert len(preamble) == 8 * PREAMBLE_BYTES == BLOCK_BITS
    return preamble


def _saturated(count: ValueLike) -> Value:
    count = Value.cast(count)
    if len(count) <= TOLD_BITS:
        return _resized(count, TOLD_BITS)
    return Mux(count[TOLD_BITS:].any(), MOST_TOLD, count[:TOLD_BITS])


def _resized(value: ValueLike, width: int) -> Value:
    value = Value.cast(value)
    return value[:width] if len(value) >= width else Cat(value, Const(0, width - len(value)))
