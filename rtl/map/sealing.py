# amaranth: UnusedElaboratable=no
"""Opening and sealing of pages: which nonce each page has, and where its plaintext comes from."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.crypto import MAP_ID_BYTES, VERSION_BITS
from rtl.config import EngineConfig
from rtl.constants import BLOCK_BITS
from rtl.crypto.gcm import GcmOpen, GcmSeal
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import page_beat, swap_bytes

FIRST_VERSION = 1
"""Version under which a format seals."""

PAGE_NONCE_BITS = 32
BOOT_BITS = 16


class Sealing(wiring.Component):
    """Opens each page under its version and seals it under the next one. Must equal :class:`omap.crypto.PageCodec`.

    The keystreams of a page are asked for as soon as its version is known, while the page is still on its way.
    During a format, empty pages are sealed under the first version instead.

    Parameters
    ----------
    config : EngineConfig
        The engine.

    Members
    -------
    i_key : In(stream.Signature(256))
        Key of all pages from now on.
    map_id : In(128)
        Id of the map, which is authenticated with each page; read together with the key.
    i_page, i_version : In(stream.Signature(range(pages) and 48))
        Pages to open and to seal, in order, and the version under which each was sealed last.
    i_sealed : In(stream.Signature(128 * lanes))
        What was read from host memory, page after page.
    o_text : Out(stream.Signature(page_beat(lanes)))
        Verified plaintext.
    i_text : In(stream.Signature(page_beat(lanes)))
        Plaintext to seal; ``last`` is ignored.
    o_sealed : Out(stream.Signature(page_beat(lanes)))
        What is to be written to host memory.
    blank : In(1)
        A format is sealing pages: ``i_blank`` counts, ``i_page`` and ``i_text`` wait.
    i_blank : In(stream.Signature(range(pages)))
        Pages to seal empty.
    fault : Out(1)
        A page failed authentication. Stays until ``erase``.
    erase : In(1)
        Erases the keys, and drops all pages.

    Countermeasures
    ---------------
    PAGE.VERSION.FRESH
        A page opens under the version that HBM has of it, so that an earlier page does not authenticate.
    PAGE.NONCE.UNIQUE
        Page and version are in every nonce; see :func:`page_nonce`.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        pages, lanes = range(config.params.pages), config.lanes
        gcm = {"sealed_bytes": config.params.page_bytes, "aad_bytes": MAP_ID_BYTES, "lanes": lanes}
        self.opener, self.sealer = GcmOpen(**gcm), GcmSeal(**gcm)
        super().__init__(
            {
                "i_key": In(stream.Signature(2 * BLOCK_BITS)),
                "map_id": In(8 * MAP_ID_BYTES),
                "i_page": In(stream.Signature(pages)),
                "i_version": In(stream.Signature(VERSION_BITS)),
                "i_sealed": self.opener.signature.members["i_sealed"],
                "o_text": Out(stream.Signature(page_beat(lanes))),
                "i_text": In(stream.Signature(page_beat(lanes))),
                "o_sealed": self.sealer.signature.members["o_sealed"],
                "blank": In(1),
                "i_blank": In(stream.Signature(pages)),
                "fault": Out(1),
                "erase": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        opener, sealer = self.opener, self.sealer
        m.submodules.opener, m.submodules.sealer = opener, sealer
        m.d.comb += self.i_key.ready.eq(opener.i_key.ready & sealer.i_key.ready)
        for block in (opener, sealer):
            m.d.comb += [
                block.i_key.valid.eq(self.i_key.valid & self.i_key.ready),
                block.i_key.p.key.eq(self.i_key.p),
                block.i_key.p.aad.eq(self.map_id),
                block.erase.eq(self.erase),
            ]
        opens, seals = self._versions(m)
        m.d.comb += [
            opener.i_request.valid.eq(opens.o.valid),
            # SEC_CM: PAGE.VERSION.FRESH -- the version comes from HBM: an earlier page does not authenticate
            opener.i_request.p.nonce.eq(page_nonce(opens.o.p.page, opens.o.p.version)),
            opens.o.ready.eq(opener.i_request.ready),
            self.o_text.valid.eq(opener.o_text.valid),
            self.o_text.p.data.eq(opener.o_text.p.data),
            self.o_text.p.last.eq(opener.o_text.p.last),
            opener.o_text.ready.eq(self.o_text.ready),
            self.fault.eq(opener.fault),
        ]
        connect(m, flipped(self.i_sealed), opener.i_sealed)
        self._seal(m, seals)
        connect(m, sealer.o_sealed, flipped(self.o_sealed))
        return m

    def _versions(self, m: Module) -> tuple[Fifo, Fifo]:
        """Return pages with the versions that they have, once for opening and once for sealing."""
        params, depth = self.config.params, self.config.in_flight
        shape = StructLayout({"page": range(params.pages), "version": VERSION_BITS})
        m.submodules.opens = opens = Fifo(shape=shape, depth=depth)
        m.submodules.seals = seals = Fifo(shape=shape, depth=depth)
        m.d.comb += [
            self.i_version.ready.eq(self.i_page.valid),
            self.i_page.ready.eq(self.i_version.valid),
        ]
        for queue in (opens, seals):  # never full: no more operations are under way than each has room for
            m.d.comb += [
                queue.i.valid.eq(self.i_version.valid & self.i_page.valid),
                queue.i.p.page.eq(self.i_page.p),
                queue.i.p.version.eq(self.i_version.p),
            ]
        return opens, seals

    def _seal(self, m: Module, seals: Fifo) -> None:
        """Seal what was merged, or empty pages."""
        request, text, blank = self.sealer.i_request, self.sealer.i_text, self.blank
        page = Mux(blank, self.i_blank.p, seals.o.p.page)
        version = Mux(blank, FIRST_VERSION, (seals.o.p.version + 1)[:VERSION_BITS])
        m.d.comb += [
            request.valid.eq(Mux(blank, self.i_blank.valid, seals.o.valid)),
            request.p.nonce.eq(page_nonce(page, version)),
            self.i_blank.ready.eq(request.ready & blank),
            seals.o.ready.eq(request.ready & ~blank),
            text.valid.eq(blank | self.i_text.valid),
            text.p.eq(Mux(blank, 0, self.i_text.p.data)),
            self.i_text.ready.eq(text.ready & ~blank),
        ]


def page_nonce(page: Value, version: Value) -> Value:
    """Return the nonce of a page, as :class:`omap.crypto.PageCodec` makes it; the boot counter is 0."""
    # SEC_CM: PAGE.NONCE.UNIQUE -- page and version are in every nonce, so none repeats under one key
    fields = ((page, PAGE_NONCE_BITS), (Const(0, BOOT_BITS), BOOT_BITS), (version, VERSION_BITS))
    return Cat(swap_bytes((value | Const(0, width))[:width]) for value, width in fields)
