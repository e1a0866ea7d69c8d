# amaranth: UnusedElaboratable=no
"""Format: fresh secrets, empty state, and every page sealed empty."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.params import Params
from rtl.map.pages import page_layout
from rtl.map.secrets import FormatSecrets

SETTLE = 1024
"""Cycles from the last page's write to a format: twice what a move and slow writes of HBM take."""


class Format(wiring.Component):
    """Empties the map when it is told to; pages that operations touch pass through it.

    Parameters
    ----------
    params : Params
        The map.
    drops : bool
        Whether there are ``drop`` and what belongs to it.

    Members
    -------
    format : In(1)
        Begins; given when no operation and no page is under way.
    drop : In(1)
        Ends the map; given as ``format`` is.
    dropping : Out(1)
        From the cycle after ``drop`` until the map is forgotten.
    forget : Out(1)
        For one cycle: map and secrets are to be forgotten, as for ``clear``, but nothing comes after them.
    formatted : Out(1)
        A map is there. Falls with ``format``.
    i_secrets : In(stream.Signature(128))
        Words of fresh secrets, see :class:`rtl.map.secrets.FormatSecrets`.
    o_page_secret, o_draw_seed, o_hash_key : Out(stream)
        The secrets of the new map, see the same.
    map_id : Out(128)
        Its id.
    quiet : In(1)
        Nothing is under way, in HBM neither.
    clear : Out(1)
        For one cycle: whatever is known of the map is to be forgotten, on chip and in HBM.
    filling : In(1)
        HBM is being overwritten.
    pages_idle : In(1)
        No page is under way.
    i_page : In(stream.Signature(range(pages)))
        Pages that operations touch.
    o_page : Out(stream of page_layout)
        Pages to touch: those of ``i_page`` or, during a format, each page once, ``blank``.
    blank : Out(1)
        Pages are being sealed empty.
    o_blank : Out(stream.Signature(range(pages)))
        Pages to seal empty, see :class:`rtl.map.sealing.Sealing`.
    late : Out(1)
        For one cycle when the map is there, if the format had to wait for HBM longer than its fixed time.

    Countermeasures
    ---------------
    FORMAT.TIME.FIXED
        A format begins a fixed time after the last page was written, whatever still goes on in HBM.
    """

    def __init__(self, params: Params, *, drops: bool = False) -> None:
        self.params, self.drops = params, drops
        self.secrets = FormatSecrets()
        handed = self.secrets.signature.members
        super().__init__(
            {
                "format": In(1),
                "formatted": Out(1),
                **{
                    name: handed[name] for name in ("i_secrets", "o_page_secret", "o_draw_seed", "o_hash_key", "map_id")
                },
                "quiet": In(1),
                "clear": Out(1),
                "filling": In(1),
                "pages_idle": In(1),
                "i_page": In(stream.Signature(range(params.pages))),
                "o_page": Out(stream.Signature(page_layout(params))),
                "blank": Out(1),
                "o_blank": Out(stream.Signature(range(params.pages))),
                "late": Out(1),
                **({"drop": In(1), "dropping": Out(1), "forget": Out(1)} if drops else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.secrets = secrets = self.secrets
        connect(m, flipped(self.i_secrets), secrets.i_secrets)
        for name in ("o_page_secret", "o_draw_seed", "o_hash_key"):
            connect(m, getattr(secrets, name), flipped(getattr(self, name)))
        m.d.comb += self.map_id.eq(secrets.map_id)

        begins = Signal()  # the secrets are being gathered; every page comes after that
        sealed, written = self._blank_pages(m, begins)
        settled, waited = Signal(range(SETTLE + 1)), Signal()
        m.d.comb += self.late.eq(waited & self.formatted)
        with m.If(self.late):
            m.d.sync += waited.eq(0)
        with m.FSM(name="format"):
            with m.State("IDLE"):
                m.d.sync += settled.eq(0)
                with m.If(self.format):
                    m.d.sync += self.formatted.eq(0)
                    m.next = "QUIET"
                if self.drops:
                    with m.Elif(self.drop):
                        m.d.sync += [self.formatted.eq(0), self.dropping.eq(1)]
                        m.next = "DROP"
            with m.State("QUIET"):
                # SEC_CM: FORMAT.TIME.FIXED -- by then all that entries in transit and late writes may need is over
                with m.If(settled != SETTLE):
                    m.d.sync += settled.eq(settled + 1)
                with m.Elif(self.quiet):
                    m.d.comb += self.clear.eq(1)
                    m.next = "SECRETS"
                with m.Else():
                    m.d.sync += waited.eq(1)
            with m.State("SECRETS"):
                m.d.comb += [secrets.load.eq(1), begins.eq(1)]
                with m.If(secrets.done):
                    m.next = "PAGES"
            with m.State("PAGES"):
                m.d.comb += self.blank.eq(1)
                with m.If(sealed & written & self.pages_idle & ~self.filling):
                    m.d.sync += self.formatted.eq(1)
                    m.next = "IDLE"
            if self.drops:
                with m.State("DROP"):
                    # Not before HBM is at rest: what is forgotten must not be needed for an answer that still comes.
                    with m.If(settled != SETTLE):
                        m.d.sync += settled.eq(settled + 1)
                    with m.Elif(self.quiet):
                        m.d.comb += self.forget.eq(1)
                        m.d.sync += self.dropping.eq(0)
                        m.next = "IDLE"
        return m

    def _blank_pages(self, m: Module, begins: Signal) -> tuple[Signal, Signal]:
        """Offer every page once for sealing and once for writing; return whether all were taken, for either."""
        pages, ends = self.params.pages, []
        for name, flow in (("seal", self.o_blank), ("write", self.o_page)):
            number = Signal(range(pages + 1), name=f"{name}_number")
            end = Signal(name=f"{name}_end")
            m.d.comb += end.eq(number == pages)
            with m.If(begins):
                m.d.sync += number.eq(0)
            with m.Elif(self.blank & ~end & flow.ready):
                m.d.sync += number.eq(number + 1)
            ends.append((number, end))
        (seal_number, sealed), (write_number, written) = ends
        m.d.comb += [
            self.o_blank.valid.eq(self.blank & ~sealed),
            self.o_blank.p.eq(seal_number),
            self.o_page.valid.eq(Mux(self.blank, ~written, self.i_page.valid)),
            self.o_page.p.page.eq(Mux(self.blank, write_number, self.i_page.p)),
            self.o_page.p.blank.eq(self.blank),
            self.i_page.ready.eq(self.o_page.ready & ~self.blank),
        ]
        return sealed, written
