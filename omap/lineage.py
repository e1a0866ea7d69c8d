"""Which maps a restored map comes from, and the START records that say so.

A format makes a map without ancestors. A restore makes a map whose *parent* is the map that was restored, up to some
operation: its first ``kept`` operations, as clients number them. The operations of the new map are numbered on from
there. A device remembers the last :data:`omap.wire.MOST_ANCESTORS` ancestors of its map. So a client that knows an
ancestor is told how much of it the new map holds.

START is record 0 of the journal of a map, and stands at the end of each of its snapshots. It seals ``digest (32) || map
id (16) || parent (16) || kept (64 bits) || zeros (64)``, then ``map id (16) || kept (64) || zeros (64)`` for each
ancestor, the parent first, and zeros up to the end of its lines. Without a parent these two fields are zeros.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from omap.crypto import MAP_ID_BYTES
from omap.params import TAG_BYTES
from omap.wire import ANCESTOR_BYTES, HEADER, LINE_BYTES, MOST_ANCESTORS, START_BYTES, start_lines

NO_MAP = bytes(MAP_ID_BYTES)
"""In the place of a map id: there is none."""

NO_ANCESTOR = (1 << 64) - 1
"""In the place of the operations kept: the map is no ancestor."""

_START = struct.Struct(">32s16s16sQ8x")
_ANCESTOR = struct.Struct(">16sQ8x")
assert (_START.size, _ANCESTOR.size) == (START_BYTES, ANCESTOR_BYTES)


class Ancestor(NamedTuple):
    """A map that was restored, and how many of its operations, as clients number them, are in the map that came of
    it."""

    map_id: bytes
    kept: int


@dataclass(frozen=True)
class Lineage:
    """The ancestors of a map.

    Parameters
    ----------
    ancestors : tuple of Ancestor
        The parent, its parent, and so on; none if the map was formatted.
    """

    ancestors: tuple[Ancestor, ...] = ()

    @property
    def parent(self) -> Ancestor:
        """The parent; :data:`NO_MAP` and 0 if there is none."""
        return self.ancestors[0] if self.ancestors else Ancestor(NO_MAP, 0)

    def child(self, map_id: bytes, kept: int) -> Lineage:
        """Return the lineage of a map that ``kept`` operations of the map ``map_id`` with this lineage come to."""
        return Lineage((Ancestor(map_id, kept), *self.ancestors)[:MOST_ANCESTORS])

    def kept(self, map_id: bytes) -> int:
        """Return how many operations of an ancestor are kept; :data:`NO_ANCESTOR` if the map is none."""
        return dict(reversed(self.ancestors)).get(map_id, NO_ANCESTOR)


NO_ANCESTORS = Lineage()
"""Lineage of a map that was formatted."""


class Start(NamedTuple):
    """What a START seals."""

    digest: bytes
    map_id: bytes
    parent: Ancestor
    lineage: Lineage


def start_text(digest: bytes, map_id: bytes, lineage: Lineage) -> bytes:
    """Return what the START of a map seals."""
    text = _START.pack(digest, map_id, *lineage.parent) + b"".join(_ANCESTOR.pack(*one) for one in lineage.ancestors)
    return text.ljust(start_lines(len(lineage.ancestors)) * LINE_BYTES - HEADER.size - TAG_BYTES, b"\0")


def read_start(text: bytes, count: int) -> Start:
    """Return what a START with ``count`` ancestors seals."""
    digest, map_id, parent, kept = _START.unpack_from(text)
    ancestors = _ANCESTOR.iter_unpack(text[START_BYTES : START_BYTES + count * ANCESTOR_BYTES])
    return Start(digest, map_id, Ancestor(parent, kept), Lineage(tuple(Ancestor(*one) for one in ancestors)))
