# amaranth: UnusedElaboratable=no
"""Admission and lookup: an operation gets its turn and its draws, then its page and its two bins are announced."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.config import EngineConfig
from rtl.constants import SPARE_BITS
from rtl.crypto.drbg import Drbg
from rtl.map.bin_shapes import Use
from rtl.map.pacer import Pacer
from rtl.map.position_map import PositionMap
from rtl.map.spacing import Spacing
from rtl.map.waiting import WaitingBins
from rtl.rings.record import command_layout
from rtl.stream.fifo import Fifo


class Admission(wiring.Component):
    """Admits operations in order, at most one each ``interval`` cycles, and tells every other block what they touch.

    An admitted operation takes the draws of its number and has its key looked up. When the position map has answered,
    both bins are announced, ``announce_cycles`` after admission at the earliest: so an operation whose lines are on
    chip takes no place of a bin sooner than others do. The page is read ``lookup_cycles`` after admission. At most
    ``in_flight`` operations are between admission and reply, and every queue here has room for all of them.

    Parameters
    ----------
    config : EngineConfig
        The engine.
    position_map : PositionMap
        Gives the shapes of the lookup's streams.
    bins : WaitingBins
        Gives the shape of an announcement.

    Members
    -------
    i_command : In(stream of command_layout)
        Operations.
    i_seed : In(stream.Signature(256, always_ready=True))
        Seed of the draws.
    formatted : In(1)
        A map is there; without one, nothing is admitted and nothing drawn.
    restart : In(1)
        The next operation has number 0.
    replied : In(1)
        A reply has left.
    o_lookup, i_located : streams
        Questions to the position map and its answers, see :class:`rtl.map.position_map.PositionMap`.
    o_touch : Out(stream)
        Bins that will be used, see :class:`rtl.map.waiting.WaitingBins`: first the bin of the page, for TOUCH, then
        the bin of the fresh page, for APPEND.
    o_command, o_finding : Out(stream)
        Each admitted operation, and what the position map answered; for the merge.
    o_page : Out(stream.Signature(range(pages)))
        The page that each operation touches; for the nonces.
    o_read : Out(stream.Signature(range(pages)))
        The same page, when it is time to read it.
    spare : Out(SPARE_BITS)
        Secret bits, see :class:`rtl.crypto.drbg.Drbg`.
    late : Out(1)
        A page was not known in time.
    admitted, located : Out(1)
        An operation was admitted; its page is known.
    idle : Out(1)
        No operation is between admission and reply.
    erase : In(1)
        Erases the seed and all draws.

    Countermeasures
    ---------------
    PAGE.ADDR.FRESH
        Every operation draws the page on which its key is placed.
    PAGE.MISS.DUMMY
        An absent key touches the dummy drawn for it.
    EVENT.TIME.PACED
        A page is read at a fixed offset from admission.
    """

    def __init__(self, config: EngineConfig, position_map: PositionMap, bins: WaitingBins) -> None:
        self.config = config
        params = config.params
        lookup, uses = position_map.signature.members, bins.signature.members
        self.drbg = Drbg(pages=params.pages)
        pages, paced = range(params.pages), {"depth": config.in_flight, "insecure_unpaced": config.insecure_unpaced}
        self.read_pacer = Pacer(shape=pages, offset=config.lookup_cycles, **paced)
        both = StructLayout({"page": pages, "fresh": pages})
        self.touch_pacer = Pacer(shape=both, offset=config.announce_cycles, **paced)
        super().__init__(
            {
                "i_command": In(stream.Signature(command_layout(params))),
                "i_seed": self.drbg.signature.members["i_seed"],
                "formatted": In(1),
                "restart": In(1),
                "replied": In(1),
                "o_lookup": lookup["i_operation"].flip(),
                "i_located": lookup["o_located"].flip(),
                "o_touch": uses["i_touch"].flip(),
                "o_command": Out(stream.Signature(command_layout(params))),
                "o_finding": lookup["o_located"],
                "o_page": Out(stream.Signature(range(params.pages))),
                "o_read": Out(stream.Signature(range(params.pages))),
                "spare": Out(SPARE_BITS),
                "late": Out(1),
                "admitted": Out(1),
                "located": Out(1),
                "idle": Out(1),
                "erase": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.drbg, m.submodules.read_pacer = self.drbg, self.read_pacer
        m.submodules.touch_pacer = self.touch_pacer  # it may be late: its time is the earliest, and no host sees it
        m.submodules.fresh = fresh = Fifo(shape=range(self.config.params.pages), depth=self.config.in_flight)
        self._number(m)
        self._admit(m, self._turn(m), fresh)
        self._locate(m, fresh)
        self._announce(m)
        connect(m, self.read_pacer.o, flipped(self.o_read))
        m.d.comb += [self.late.eq(self.read_pacer.late), self.spare.eq(self.drbg.spare)]
        return m

    def _number(self, m: Module) -> None:
        """Have the draws made for one number after the other, ahead of admission."""
        index = Signal(64)
        connect(m, flipped(self.i_seed), self.drbg.i_seed)
        m.d.comb += [
            self.drbg.i_index.valid.eq(self.formatted),
            self.drbg.i_index.p.eq(index),
            self.drbg.erase.eq(self.erase),
        ]
        with m.If(self.restart):
            m.d.sync += index.eq(0)
        with m.Elif(self.drbg.i_index.valid & self.drbg.i_index.ready):
            m.d.sync += index.eq(index + 1)

    def _turn(self, m: Module) -> Signal:
        """Return whether an operation may be admitted: the interval has passed, and not too many are in flight."""
        most = self.config.in_flight
        m.submodules.spacing = spacing = Spacing(self.config.interval)
        may, departed = Signal(), Signal()
        under_way = Signal(range(most + 1))
        following = Signal.like(under_way)
        m.d.comb += [
            following.eq(under_way + self.admitted - departed),
            spacing.event.eq(self.admitted),
            self.idle.eq(under_way == 0),
        ]
        m.d.sync += [
            under_way.eq(following),
            departed.eq(self.replied),  # counted a cycle later, for a shorter path
            may.eq(self.formatted & (following != most) & spacing.soon),
        ]
        return may

    def _admit(self, m: Module, may: Signal, fresh: Fifo) -> None:
        """Take an operation with its draws; ask for its page, and start the time of its read."""
        command, draws, depth = self.i_command, self.drbg.o_draw, self.config.in_flight
        m.submodules.lookups = lookups = Fifo(shape=self.o_lookup.p.shape(), depth=depth, ram_style="block")
        m.submodules.commands = commands = Fifo(shape=command.p.shape(), depth=depth, ram_style="block")
        m.d.comb += [
            command.ready.eq(may & draws.valid),
            self.admitted.eq(command.valid & command.ready),
            draws.ready.eq(may & command.valid),
            lookups.i.valid.eq(self.admitted),
            lookups.i.p.kind.eq(command.p.kind),
            lookups.i.p.key.eq(command.p.key),
            lookups.i.p.fresh.eq(draws.p.next),
            lookups.i.p.dummy.eq(draws.p.dummy),
            fresh.i.valid.eq(self.admitted),
            # SEC_CM: PAGE.ADDR.FRESH -- the draw of this operation, whatever it is
            fresh.i.p.eq(draws.p.next),
            commands.i.valid.eq(self.admitted),
            commands.i.p.eq(command.p),
            self.read_pacer.start.eq(self.admitted),
            self.touch_pacer.start.eq(self.admitted),
        ]
        connect(m, lookups.o, flipped(self.o_lookup))
        connect(m, commands.o, flipped(self.o_command))

    def _locate(self, m: Module, fresh: Fifo) -> None:
        """Hand an answer of the position map to all who wait for it."""
        located, pages, depth = self.i_located, range(self.config.params.pages), self.config.in_flight
        m.submodules.findings = findings = Fifo(shape=located.p.shape(), depth=depth)
        m.submodules.touched = touched = Fifo(shape=pages, depth=depth)
        m.d.comb += [
            self.located.eq(located.valid & fresh.o.valid),  # no queue ever fills up, so that none is asked for room
            located.ready.eq(self.located),
            fresh.o.ready.eq(self.located),
            self.touch_pacer.i.valid.eq(self.located),
            # SEC_CM: PAGE.MISS.DUMMY -- the position map answers a miss with the page drawn for it
            self.touch_pacer.i.p.page.eq(located.p.page),
            self.touch_pacer.i.p.fresh.eq(fresh.o.p),
            findings.i.valid.eq(self.located),
            findings.i.p.eq(located.p),
            touched.i.valid.eq(self.located),
            touched.i.p.eq(located.p.page),
            self.read_pacer.i.valid.eq(self.located),
            self.read_pacer.i.p.eq(located.p.page),
        ]
        connect(m, findings.o, flipped(self.o_finding))
        connect(m, touched.o, flipped(self.o_page))

    def _announce(self, m: Module) -> None:
        """Announce the bin of the page, then the bin of the fresh page."""
        touches = self.touch_pacer
        appending = Signal()  # the bin of the page has been announced
        m.d.comb += [
            self.o_touch.valid.eq(touches.o.valid),
            self.o_touch.p.bin.eq(Mux(appending, touches.o.p.fresh, touches.o.p.page)),
            self.o_touch.p.use.eq(Mux(appending, Use.APPEND, Use.TOUCH)),
            touches.o.ready.eq(appending & self.o_touch.ready),
        ]
        with m.If(self.o_touch.valid & self.o_touch.ready):
            m.d.sync += appending.eq(~appending)
