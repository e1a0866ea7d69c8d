"""Reads the files of a data folder, or a backup, as the records of a restore.

The newest snapshot and the segments of journals after it count; files before it are left over. The segments follow
each other by their numbers: those of one map without a gap, then those of the map that was made from it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import BinaryIO, NamedTuple

from host.data.chain import Chain, Phase
from host.data.damage import Damage, damaged
from host.data.files import Layer, telling
from host.data.frames import PARAMS_BYTES, FileHead, FileKind, FrameReader
from host.records import split
from omap.source import END
from omap.wire import RecordCodec

JOURNAL, SNAPSHOT = ".journal", ".snapshot"


class Place(NamedTuple):
    """A file in a data folder. Files are numbered in the order in which they were begun."""

    number: int
    suffix: str

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"{self.number:08}{self.suffix}"


def places(names: Sequence[str]) -> list[Place]:
    """Return what of the names in a folder are journals and snapshots, by number."""
    found = [Place(int(number), suffix) for number, suffix in map(os.path.splitext, names) if number.isdecimal()]
    return sorted(place for place in found if place.suffix in (JOURNAL, SNAPSHOT) and place.name in names)


def in_force(found: Sequence[Place]) -> list[Place]:
    """Return the newest snapshot, if there is one, and the segments after it."""
    first = max((place.number for place in found if place.suffix == SNAPSHOT), default=-1)
    return [place for place in found if place.number >= first]


class Part(NamedTuple):
    """A file to be read.

    Parameters
    ----------
    path : str
        Where it is.
    journal : bool
        Whether it is a segment of a journal, and not a base.
    size : int, optional
        Bytes of it to read; all by default.
    """

    path: str
    journal: bool = False
    size: int | None = None


class Reading:
    """Reads files as the records of a restore, without END, and checks all that the files themselves show.

    All files are opened at once, and what was opened stays readable if somebody drops it.

    Parameters
    ----------
    layer : Layer
        Where they are.
    parts : sequence of Part
        The files, in order.
    codec : RecordCodec
        Sizes of the records.

    Attributes
    ----------
    chain : Chain
        What was read so far.
    cut_bytes : int
        Bytes at the ends of journals that were left out, because a crash tore them.
    snapshot_time : float
        When the snapshot was taken, in seconds since 1970; 0 if there is none.
    lines, sizes : dict of str to int
        Lines of records of each file that was read, and its bytes.

    Raises
    ------
    DataError
        If a file can't be opened.
    """

    def __init__(self, layer: Layer, parts: Sequence[Part], codec: RecordCodec) -> None:
        self.chain, self.cut_bytes, self.snapshot_time = Chain(codec), 0, 0.0
        self.lines: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self._codec = codec
        self._files: list[tuple[Part, BinaryIO]] = []
        with ExitStack() as stack:
            for part in parts:
                with telling(part.path, "read", "nothing was changed"):
                    self._files.append((part, stack.enter_context(closing(layer.reader(part.path)))))
            self._open = stack.pop_all()

    def close(self) -> None:
        """Close the files."""
        self._open.close()

    def __iter__(self) -> Iterator[bytes]:
        """Yield whole records, some at a time.

        Raises
        ------
        DamagedError
            If the files are not what was written.
        InputError
            If they are of another version.
        DataError
            If they can't be read.
        """
        torn = ""
        for part, file in self._files:
            with telling(part.path, "read", "nothing was changed"):
                reader, before = FrameReader(file, part.path, part.size), self.chain.lines
                if reader.head is not None and reader.head.params != self._codec.params.digest[:PARAMS_BYTES]:
                    raise damaged(part.path, Damage.FOREIGN, "it is of a map with other parameters")
                if reader.head is not None and (reader.head.kind == FileKind.JOURNAL) != part.journal:
                    raise damaged(part.path, Damage.FOREIGN, "it is a file of another kind")
                yield from self._segment(reader, torn) if part.journal else self._base(reader)
                self.lines[part.path], self.sizes[part.path] = self.chain.lines - before, reader.size
                self.cut_bytes += reader.left
                if reader.left and reader.head is not None:
                    torn = part.path

    def single(self) -> Iterator[bytes]:
        """Yield each record. Raises as :meth:`__iter__`."""
        for records in self:
            yield from split(records)

    def _base(self, reader: FrameReader) -> Iterator[bytes]:
        """Read a snapshot or a backup, which is there as a whole or not at all."""
        if reader.head is None:
            raise damaged(reader.path, Damage.CUT, "it is shorter than its header")
        ended = False
        for records in reader.frames():
            if ended:
                raise damaged(reader.path, Damage.REPEATED, "records come behind its end")
            ended = records == END
            if not ended:
                self.chain.take(records, reader.path)
                yield records
        if reader.left:
            raise damaged(reader.path, Damage.ALTERED, f"bytes from {reader.end} on do not fit their checksum")
        if not ended or self.chain.phase is not Phase.JOURNAL:
            raise damaged(reader.path, Damage.CUT, "its last records are not there")
        self.snapshot_time = reader.head.time / 1000

    def _segment(self, reader: FrameReader, torn: str) -> Iterator[bytes]:
        head, chain, begun = reader.head, self.chain, False
        for records in reader.frames():
            assert head is not None
            if not begun:
                begun = True
                self._follow(head, reader.path, torn)
            chain.take(records, reader.path)
            if head.map_id != chain.map_id:
                raise damaged(reader.path, Damage.FOREIGN, "its records are of another map than its header says")
            yield records
        reader.refuse_damage()

    def _follow(self, head: FileHead, path: str, torn: str) -> None:
        """Refuse a segment that does not go on where the one before ended."""
        chain, there = self.chain, (head.first, head.operation)
        expected = (chain.next if head.map_id == chain.map_id else 0), chain.operation
        if torn and there > expected:
            raise damaged(torn, Damage.ALTERED, f"bytes at its end do not fit their checksum, and {path} follows them")
        if not chain.maps and head.first:
            raise damaged(path, Damage.MISSING, f"it begins with record {head.first}, and nothing is before it")
        if head.map_id != chain.map_id and head.first:
            raise damaged(path, Damage.FOREIGN, "it is of another map than what is before it, and does not begin one")
        if there != expected:
            raise damaged(
                path,
                Damage.MISSING if there > expected else Damage.REPEATED,
                f"it begins with record {there[0]} and operation {there[1]}, and only {expected[0]} and {expected[1]} "
                "can follow what is before it",
            )
