"""Whole records, one after the other: where each begins.

A record's header says how many lines it has. Records that follow each other and have one length are found in one go, so
that the work does not grow with their operations.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import NamedTuple

from omap.errors import InputError
from omap.wire import HEADER, LINE_BYTES, Header, RecordCodec

WORD_BYTES = 4
"""Bytes of the first word of a header. Each field in it has one byte."""

TYPE_AT, LINES_AT, COUNT_AT = map(Header._fields.index, ("type", "lines", "count"))
"""Places of fields in the first word of a header."""

LOOK = 64
"""Most records that are looked at in one go, so that records of many lengths cost little more than others."""


class Run(NamedTuple):
    """Records of one length, one after the other."""

    lines: int
    records: int


def repeated(heads: list[int]) -> int:
    """Return how many of some numbers equal the first before another comes."""
    first = heads[0]
    if heads.count(first) == len(heads):
        return len(heads)
    return sum(1 for _ in itertools.takewhile(first.__eq__, heads))


def runs(codec: RecordCodec, commands: memoryview, room: int, *, restoring: bool = False) -> Iterator[Run]:
    """Find the records in whole lines of commands, as the device does: what is malformed counts as one line.

    Parameters
    ----------
    codec : RecordCodec
        Sizes of the records.
    commands : memoryview
        Whole records, one after the other.
    room : int
        Most lines to return. What lies behind them is not looked at.
    restoring : bool
        Whether the device is told to restore a map, so that it takes records of a journal and of a snapshot too.

    Raises
    ------
    InputError
        If the last record is cut short.
    """
    with commands.cast("B") as octets, octets.cast("I") as words:
        at, total, step = 0, len(octets) // LINE_BYTES, LINE_BYTES // WORD_BYTES
        while at < total:
            fields = words[at * step].to_bytes(WORD_BYTES, sys.byteorder)
            what = fields[TYPE_AT], fields[LINES_AT], fields[COUNT_AT]
            lines = codec.command_lines(*what) or (restoring and codec.restore_lines(*what)) or 1
            if at + lines > total:
                raise InputError(f"a record of {lines} lines is cut short after {total - at}: give whole records")
            fit = min(min(total - at, room) // lines, LOOK)
            if not fit:
                return
            records = repeated(words[at * step : (at + fit * lines) * step : lines * step].tolist())
            yield Run(lines, records)
            at, room = at + records * lines, room - records * lines


def split(records: bytes) -> list[bytes]:
    """Return each of some whole records.

    Raises
    ------
    InputError
        If the last record is cut short, or one says that it has no lines.
    """
    found, at = [], 0
    while at < len(records):
        lines = records[at + LINES_AT] if len(records) - at >= HEADER.size else 0
        end = at + lines * LINE_BYTES
        if not at < end <= len(records):
            raise InputError(f"a record of {lines} lines starts {len(records) - at} bytes before the end")
        found.append(records[at:end])
        at = end
    return found
