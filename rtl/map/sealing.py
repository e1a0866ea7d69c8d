# amaranth: UnusedElaboratable=no
"""Opening and sealing of pages: nonce and key of each page, and where its plaintext comes from."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.crypto import MAP_ID_BYTES
from omap.versions import KEPT_BITS
from rtl.config import EngineConfig
from rtl.crypto.gcm import GcmOpen, GcmSeal
from rtl.map.epoch_keys import KEYS, EpochKeys
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import in_bits, page_beat, require, swap_bytes

PAGE_NONCE_BITS = 32
VERSION_BITS = 64

AHEAD = 64
"""More operations than are under way in opener and sealer: a keystream of 32 beats runs ahead in each."""


class Sealing(wiring.Component):
    """Opens each page under its version, and seals it under the operation's. Must equal :class:`omap.crypto.PageCodec`.

    Both keystreams of a page run ahead while the page is still on its way: the one to seal it from when the page is
    known, because its version is the operation's index plus 1; the one to open it from when the bins have told the
    version of its last touch. During a format, empty pages are sealed under version 0 instead.

    The page keys of epochs e - 1, e and e + 1 are loaded during epoch e, so that no page waits for its key.

    Parameters
    ----------
    config : EngineConfig
        The engine.

    Members
    -------
    i_secret : In(stream.Signature(256))
        Page secret of a new map. Keys of the map before are erased, and the next page has version 1.
    map_id : In(128)
        Id of the map, which is authenticated with each page.
    i_page : In(stream.Signature(range(pages)))
        Pages to open and to seal, in the order of operations.
    i_version : In(stream.Signature(48))
        The low bits of the version under which the touch before it seals each.
    i_sealed : In(stream.Signature(128 * lanes))
        What was read from host memory, page after page.
    o_text : Out(stream.Signature(page_beat(lanes)))
        Verified plaintext.
    i_text : In(stream.Signature(page_beat(lanes)))
        Plaintext to seal; ``last`` is ignored.
    o_sealed : Out(stream.Signature(page_beat(lanes)))
        What is to be written to host memory.
    opens_only : In(1)
        Pages of ``i_page`` are opened and not sealed, and take no version. Only with the option ``journal``.
    blank : In(1)
        A format is sealing pages: ``i_blank`` counts, ``i_page`` and ``i_text`` wait.
    i_blank : In(stream.Signature(range(pages)))
        Pages to seal empty.
    fault : Out(1)
        A page failed authentication. Stays until ``erase``.
    exhausted : Out(1)
        A page was not touched for a whole epoch; nothing is opened any more. Stays until ``erase``.
    erase : In(1)
        Erases the secret and all keys, and drops all pages.

    Raises
    ------
    ParamsError
        If epochs are too short for the next key to be ready in time.

    Countermeasures
    ---------------
    PAGE.VERSION.FRESH
        A page opens under the version of its last touch, so that an earlier page does not authenticate.
    PAGE.NONCE.UNIQUE
        Page and version are in every nonce; see :func:`page_nonce`.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        pages, lanes = range(config.params.pages), config.lanes
        gcm = {"sealed_bytes": config.params.page_bytes, "aad_bytes": MAP_ID_BYTES, "keys": KEYS, "lanes": lanes}
        self.opener, self.sealer, self.keys = GcmOpen(**gcm), GcmSeal(**gcm), EpochKeys()
        least = AHEAD + config.most_within(self.keys.kdf.latency + self.sealer.load_cycles)
        require(
            1 << config.params.epoch_bits >= least,
            f"epoch_bits is {config.params.epoch_bits}; the next page key of this engine takes an epoch of {least} "
            f"operations: make it {(least - 1).bit_length()} or more",
        )
        super().__init__(
            {
                "i_secret": self.keys.signature.members["i_secret"],
                "map_id": In(8 * MAP_ID_BYTES),
                "i_page": In(stream.Signature(pages)),
                "i_version": In(stream.Signature(KEPT_BITS)),
                "i_sealed": self.opener.signature.members["i_sealed"],
                "o_text": Out(stream.Signature(page_beat(lanes))),
                "i_text": In(stream.Signature(page_beat(lanes))),
                "o_sealed": self.sealer.signature.members["o_sealed"],
                **({"opens_only": In(1)} if config.journal else {}),
                "blank": In(1),
                "i_blank": In(stream.Signature(pages)),
                "fault": Out(1),
                "exhausted": Out(1),
                "erase": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        opener, sealer, keys = self.opener, self.sealer, self.keys
        m.submodules.opener, m.submodules.sealer, m.submodules.keys = opener, sealer, keys
        connect(m, flipped(self.i_secret), keys.i_secret)
        m.d.comb += [
            keys.map_id.eq(self.map_id),
            keys.erase.eq(self.erase),
            keys.o_key.ready.eq(opener.i_key.ready & sealer.i_key.ready),
        ]
        for block in (opener, sealer):
            m.d.comb += [
                block.i_key.valid.eq(keys.o_key.valid & keys.o_key.ready),
                block.i_key.p.key_index.eq(keys.o_key.p.key_index),
                block.i_key.p.key.eq(keys.o_key.p.key),
                block.i_key.p.aad.eq(self.map_id),
                block.erase.eq(self.erase | keys.renewed),
            ]
        opens, seals = self._pages(m)
        m.d.comb += [
            opener.i_request.valid.eq(opens.o.valid),
            # SEC_CM: PAGE.VERSION.FRESH -- the version comes from the bins: an earlier page does not authenticate
            opener.i_request.p.nonce.eq(page_nonce(opens.o.p.page, opens.o.p.version)),
            opener.i_request.p.key_index.eq(self._key_index(opens.o.p.version)),
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

    def _key_index(self, version: Value) -> Value:
        """Return where the page key of a version's epoch lies."""
        return (version >> self.config.params.epoch_bits)[: (KEYS - 1).bit_length()]

    def _pages(self, m: Module) -> tuple[Fifo, Fifo]:
        """Return pages to open with their versions, as the bins tell these, and pages to seal."""
        params, depth = self.config.params, self.config.in_flight
        shape = StructLayout({"page": range(params.pages), "version": VERSION_BITS})
        m.submodules.awaited = awaited = Fifo(shape=range(params.pages), depth=depth)
        m.submodules.opens = opens = Fifo(shape=shape, depth=depth)
        m.submodules.seals = seals = Fifo(shape=range(params.pages), depth=depth)
        m.d.comb += self.i_page.ready.eq(awaited.i.ready & seals.i.ready)
        for queue in (awaited, seals):
            m.d.comb += [queue.i.valid.eq(self.i_page.valid & self.i_page.ready), queue.i.p.eq(self.i_page.p)]

        present, moves, step = Signal(VERSION_BITS, init=1), Signal(), Const(1)
        before: Value = present
        if self.config.journal:  # what is only opened belongs to the operation before, and no version is used up
            m.d.comb += seals.i.valid.eq(self.i_page.valid & self.i_page.ready & ~self.opens_only)
            step, before = ~self.opens_only, (present - self.opens_only)[:VERSION_BITS]
        version, fresh = whole_version(self.i_version.p, before, params.epoch_bits)
        m.d.comb += [
            moves.eq(self.i_version.valid & awaited.o.valid & ~self.exhausted),
            self.i_version.ready.eq(awaited.o.valid & ~self.exhausted),
            awaited.o.ready.eq(moves),
            opens.i.valid.eq(moves & fresh),  # never full: no more operations are under way than it has room for
            opens.i.p.page.eq(awaited.o.p),
            opens.i.p.version.eq(version),
        ]
        with m.If(moves):
            m.d.sync += [present.eq(present + step), self.exhausted.eq(~fresh)]
        with m.If(self.keys.renewed):
            m.d.sync += present.eq(1)
        return opens, seals

    def _seal(self, m: Module, seals: Fifo) -> None:
        """Seal what was merged, each page under its operation's version, or empty pages."""
        request, text, blank = self.sealer.i_request, self.sealer.i_text, self.blank
        k, present, moves = self.config.params.epoch_bits, Signal(VERSION_BITS, init=1), Signal()
        page, version = Mux(blank, self.i_blank.p, seals.o.p), Mux(blank, 0, present)
        m.d.comb += [
            request.valid.eq(Mux(blank, self.i_blank.valid, seals.o.valid)),
            request.p.nonce.eq(page_nonce(page, version)),
            request.p.key_index.eq(self._key_index(version)),
            self.i_blank.ready.eq(request.ready & blank),
            seals.o.ready.eq(request.ready & ~blank),
            moves.eq(seals.o.valid & seals.o.ready),
            text.valid.eq(blank | self.i_text.valid),
            text.p.eq(Mux(blank, 0, self.i_text.p.data)),
            self.i_text.ready.eq(text.ready & ~blank),
        ]
        with m.If(moves):
            m.d.sync += present.eq(present + 1)
        with m.If(self.keys.renewed):
            m.d.sync += present.eq(1)
        # The key that is replaced then belongs to an epoch of which no page is under way any more: see `AHEAD`.
        m.d.sync += self.keys.begun.eq(moves & (present[:k] == 0))


def whole_version(kept: Value, present: Value, epoch_bits: int) -> tuple[Value, Value]:
    """Return the version of which HBM kept the low bits, and whether it is of the present epoch or of the one before.

    It is the last version with these bits that is not above ``present``, see :func:`omap.versions.whole`.
    """
    low, high = present[:KEPT_BITS], present[KEPT_BITS:]
    above = kept > low
    epoch, former = low[epoch_bits:], (low[epoch_bits:] - 1)[: KEPT_BITS - epoch_bits]
    fresh = ((kept[epoch_bits:] == epoch) & ~above) | (kept[epoch_bits:] == former)
    return Cat(kept, Mux(above, high - 1, high)[: VERSION_BITS - KEPT_BITS]), fresh


def page_nonce(page: Value, version: Value) -> Value:
    """Return the nonce of a page, as :class:`omap.crypto.PageCipher` makes it."""
    # SEC_CM: PAGE.NONCE.UNIQUE -- page and version are in every nonce, so none repeats under one key
    fields = ((page, PAGE_NONCE_BITS), (version, VERSION_BITS))
    return Cat(swap_bytes(in_bits(value, width)) for value, width in fields)
