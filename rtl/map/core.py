# amaranth: UnusedElaboratable=no
"""The map without its rings: commands in, replies out, pages in host memory, everything else in HBM."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.crypto import MAP_ID_BYTES
from rtl.config import EngineConfig
from rtl.constants import BLOCK_BITS
from rtl.map.admission import Admission
from rtl.map.format import Format
from rtl.map.map_memory import FROM_BINS, TO_BINS, MapMemory
from rtl.map.merging import Merging
from rtl.map.pages import Pages
from rtl.map.position_map import PositionMap
from rtl.map.scan import Scan
from rtl.map.sealing import Sealing
from rtl.map.waiting import WaitingBins
from rtl.memory.hbm import HBM_AXI
from rtl.rings.record import command_layout, reply_layout
from rtl.stream.ways import choose, route

PROGRESS = ("admitted", "located", "read", "arrived", "started", "merged", "sealed", "written", "replied")
"""Bits of :attr:`Core.progress`: each turns over when an operation passes this point."""


class Core(wiring.Component):
    """The whole map. Must equal :class:`omap.map.OneChoiceMap` on the same secrets and operations.

    Operations are admitted in order, one each ``interval`` cycles, and replied to in order. In between they overlap;
    each structure changes its state at one point, in the order of operations (docs/decisions/0006).

    This block only connects others: an operation passes :class:`~rtl.map.admission.Admission`, its page
    :class:`~rtl.map.pages.Pages` and :class:`~rtl.map.sealing.Sealing`, and both meet in
    :class:`~rtl.map.merging.Merging`.

    Parameters
    ----------
    config : EngineConfig
        The engine.

    Members
    -------
    i_command : In(stream of command_layout)
        Operations.
    o_reply : Out(stream of reply_layout)
        One for each; held back for reasons of the response ring alone.
    base : In(64)
        Bus address of page 0.
    format : In(1)
        Empties the map under fresh secrets; give it when ``idle``.
    i_secrets : In(stream.Signature(128))
        Words of fresh secrets, taken at a format: see :class:`rtl.map.secrets.FormatSecrets`.
    formatted : Out(1)
        A map is there. Falls with ``format``.
    map_id : Out(128)
        Its id.
    o_read, i_data, o_write, o_lines, i_written
        The page client of HostPort, see :class:`rtl.map.pages.Pages`.
    m_axi_hbm : Out(AxiSignature).array(n)
        Pseudo-channels, as :attr:`EngineConfig.channels` has them.
    page_fault, exhausted, bus_fault : Out(1)
        A page failed authentication; a structure ran out or lost a tuple, or a page was not touched for a whole epoch;
        HBM failed. They stay.
    idle : Out(1)
        No operation is under way, no page, no scan and no drop.
    erase : In(1)
        Clears all secrets and all state; HBM transfers under way end properly.
    scan : In(1)
        For one cycle when ``idle``: all slots leave, and commands wait until then. This and the next two exist with
        the option ``journal`` alone.
    o_slot : Out(stream of command_layout)
        All slots, see :class:`rtl.map.scan.Scan`.
    drop : In(1)
        For one cycle when ``idle``: a fixed time later map and secrets are forgotten. A format may follow.
    progress : Out(len(PROGRESS))
        For simulation: stages that operations have passed, see :data:`PROGRESS`. No board connects it.

    Countermeasures
    ---------------
    EVENT.TIME.PACED
        Pages are read, written and replied to at fixed offsets.
    FORMAT.TIME.FIXED
        A format begins a fixed time after the last page was written, whatever still goes on in HBM.
    PAGE.MISS.DUMMY
        An absent key touches the dummy drawn for it, and everything else happens as for a hit.
    ENGINE.STATE.ERASE
        ``erase`` clears the registers of all blocks but those that drive HBM ports.
    ENGINE.DROP.ERASE
        ``drop`` erases secrets, keys and state of the map, when HBM is at rest.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        params = config.params
        self.position_map = PositionMap(
            params, interval=4, line_entries=config.line_entries, transit_entries=config.transit_entries
        )
        self.bins = WaitingBins(params, entries=config.bin_entries)
        self.admission = Admission(config, self.position_map, self.bins)
        self.sealing = Sealing(config)
        self.merging = Merging(config, self.position_map, self.bins)
        self.formatter = Format(params, drops=config.journal)
        self.pages = Pages(config)
        self.memory = MapMemory(config, self.position_map, self.bins)
        self.scanner = Scan(config, self.bins) if config.journal else None
        pages = self.pages.signature.members
        of_journal = {"scan": In(1), "o_slot": Out(stream.Signature(command_layout(params))), "drop": In(1)}
        super().__init__(
            {
                "i_command": In(stream.Signature(command_layout(params))),
                "o_reply": Out(stream.Signature(reply_layout(params))),
                "base": In(64),
                "format": In(1),
                "i_secrets": In(stream.Signature(BLOCK_BITS)),
                "formatted": Out(1),
                "map_id": Out(8 * MAP_ID_BYTES),
                **{name: pages[name] for name in ("o_read", "i_data", "o_write", "o_lines", "i_written")},
                "m_axi_hbm": Out(HBM_AXI).array(sum(config.channels.values())),
                "page_fault": Out(1),
                "exhausted": Out(1),
                "bus_fault": Out(1),
                "idle": Out(1),
                "erase": In(1),
                "progress": Out(len(PROGRESS)),
                **(of_journal if config.journal else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inner = Module()  # all that an erasure resets
        for name in ("position_map", "bins", "admission", "sealing", "merging", "formatter", "pages"):
            inner.submodules[name] = getattr(self, name)
        if self.scanner is not None:
            inner.submodules.scanner = self.scanner
            self._scan(inner, self.scanner)
        m.submodules.memory = self.memory  # outside: what drives an HBM port is never reset
        self._operations(inner)
        self._pages(inner)
        self._state(inner)
        self._memory(m)
        self._progress(m)
        # SEC_CM: ENGINE.STATE.ERASE -- all registers; blocks with memories that hold keys wipe those by themselves
        m.submodules.inner = ResetInserter(self.erase)(inner)
        return m

    def _operations(self, m: Module) -> None:
        """Connect what operations pass: admission, position map, bins, merge."""
        admission, merging, bins = self.admission, self.merging, self.bins
        self._commands(m)
        connect(m, admission.o_lookup, self.position_map.i_operation)
        connect(m, self.position_map.o_located, admission.i_located)
        connect(m, admission.o_touch, bins.i_touch)
        connect(m, admission.o_command, merging.i_command)
        connect(m, admission.o_finding, merging.i_finding)
        for name in ("bin", "waiting"):
            connect(m, getattr(bins, f"o_{name}"), getattr(merging, f"i_{name}"))
        for name in ("verdict", "occupancy", "append"):
            connect(m, getattr(merging, f"o_{name}"), getattr(bins, f"i_{name}"))
        connect(m, merging.o_reply, flipped(self.o_reply))
        m.d.comb += [
            admission.replied.eq(self.o_reply.valid & self.o_reply.ready),
            merging.started.eq(self.pages.started),
            merging.late.eq(
                Cat(block.late for block in (admission, self.pages, self.formatter, self.scanner) if block is not None)
            ),
        ]

    def _commands(self, m: Module) -> None:
        """Connect commands with the admission; they wait while a scan goes on."""
        command = self.admission.i_command
        if self.scanner is None:
            connect(m, flipped(self.i_command), command)
            return
        waits = self.scanner.busy | self.scan
        m.d.comb += [
            command.p.eq(self.i_command.p),
            command.valid.eq(self.i_command.valid & ~waits),
            self.i_command.ready.eq(command.ready & ~waits),
        ]

    def _scan(self, m: Module, scanner: Scan) -> None:
        """Connect what the scan does not borrow."""
        connect(m, scanner.o_slot, flipped(self.o_slot))
        m.d.comb += [
            scanner.scan.eq(self.scan),
            scanner.base.eq(self.base),
            scanner.quiet.eq(self.bins.quiet),
            scanner.fault.eq(self.sealing.fault),
            self.sealing.opens_only.eq(scanner.borrows),
            self.formatter.drop.eq(self.drop),
        ]

    def _share(self, m: Module, name: str, owner: stream.Interface, other: stream.Interface) -> None:
        """Connect a stream. A scan borrows it while it goes on, if the scan has one of this name."""
        if self.scanner is None or name not in self.scanner.signature.members:
            connect(m, owner, other)
        elif name.startswith("o_"):
            choose(m, self.scanner.borrows, owner, getattr(self.scanner, name), other)
        else:
            route(m, self.scanner.borrows, other, owner, getattr(self.scanner, name))

    def _pages(self, m: Module) -> None:
        """Connect what pages pass: format, the way to and from host memory, opening, merge, sealing."""
        pages, sealing = self.pages, self.sealing
        connect(m, self.admission.o_read, self.formatter.i_page)
        connect(m, self.formatter.o_page, pages.i_page)
        connect(m, self.formatter.o_blank, sealing.i_blank)
        self._share(m, "o_page", self.admission.o_page, sealing.i_page)
        self._share(m, "o_version", self.bins.o_version, sealing.i_version)
        self._share(m, "o_sealed", pages.o_sealed, sealing.i_sealed)
        self._share(m, "i_text", self.merging.i_text, sealing.o_text)
        connect(m, self.merging.o_text, sealing.i_text)
        connect(m, sealing.o_sealed, pages.i_sealed)
        for name in ("o_read", "o_write", "o_lines", "i_data", "i_written"):
            self._share(m, name, getattr(pages, name), flipped(getattr(self, name)))
        m.d.comb += [pages.base.eq(self.base), sealing.blank.eq(self.formatter.blank)]

    def _state(self, m: Module) -> None:
        """Connect format and erasure with everything that has state, and tell how the map is."""
        formatter, admission, sealing, merging = self.formatter, self.admission, self.sealing, self.merging
        position_map, bins, pages, memory = self.position_map, self.bins, self.pages, self.memory
        connect(m, flipped(self.i_secrets), formatter.i_secrets)
        connect(m, formatter.o_page_secret, sealing.i_secret)
        connect(m, formatter.o_draw_seed, admission.i_seed)
        connect(m, formatter.o_hash_key, position_map.i_key)
        erase, idle = Signal(), Signal()
        m.d.comb += [erase.eq(self.erase), idle.eq(admission.idle & pages.idle)]
        if self.scanner is not None:
            # SEC_CM: ENGINE.DROP.ERASE -- all that a fault erases but the registers of blocks that are at rest
            m.d.comb += erase.eq(self.erase | formatter.forget)
            m.d.comb += idle.eq(admission.idle & pages.idle & ~self.scanner.busy & ~formatter.dropping)
        m.d.comb += [
            formatter.format.eq(self.format),
            formatter.quiet.eq(position_map.quiet & bins.quiet & memory.quiet & pages.idle),
            formatter.pages_idle.eq(pages.idle),
            formatter.filling.eq(memory.filling),
            *(block.clear.eq(formatter.clear) for block in (position_map, bins, memory)),
            *(block.erase.eq(erase) for block in (position_map, bins, sealing, merging)),
            # What these two hold a format forgets as an erasure does.
            admission.erase.eq(formatter.clear | erase),
            memory.clear_free.eq(formatter.clear | erase),
            memory.order.eq(admission.spare),
            *(block.restart.eq(self.format) for block in (admission, merging)),
            *(block.formatted.eq(formatter.formatted) for block in (admission, merging, self)),
            self.map_id.eq(formatter.map_id),
            sealing.map_id.eq(formatter.map_id),
            self.page_fault.eq(sealing.fault),
            self.exhausted.eq(merging.lost | bins.exhausted | sealing.exhausted | memory.exhausted),
            self.bus_fault.eq(memory.error),
            self.idle.eq(idle),
        ]

    def _memory(self, m: Module) -> None:
        """Connect position map and bins with HBM."""
        memory, position_map, bins = self.memory, self.position_map, self.bins
        for t in range(len(position_map.buffers)):
            for name in ("fetch", "flush"):
                connect(m, getattr(position_map, f"o_{name}")[t], getattr(memory, f"i_{name}")[t])
            for name in ("fetched", "flushed"):
                connect(m, getattr(memory, f"o_{name}")[t], getattr(position_map, f"i_{name}")[t])
        for name in FROM_BINS:
            self._share(m, f"o_{name}", getattr(bins, f"o_{name}"), getattr(memory, f"i_{name}"))
        for name in TO_BINS:
            self._share(m, f"i_{name}", getattr(bins, f"i_{name}"), getattr(memory, f"o_{name}"))
        for index in range(len(self.m_axi_hbm)):
            connect(m, memory.m_axi_hbm[index], flipped(self.m_axi_hbm[index]))

    def _progress(self, m: Module) -> None:
        pages = self.pages
        passed = {
            "admitted": self.admission.admitted,
            "located": self.admission.located,
            "read": pages.o_read.valid & pages.o_read.ready,
            "arrived": pages.o_arrived,
            "started": pages.started,
            "merged": self.merging.merged,
            "sealed": pages.i_sealed.valid & pages.i_sealed.ready & pages.i_sealed.p.last,
            "written": pages.i_written.valid,
            "replied": self.o_reply.valid & self.o_reply.ready,
        }
        marks = Signal(len(PROGRESS))
        m.d.sync += marks.eq(marks ^ Cat(passed[name] for name in PROGRESS))
        m.d.comb += self.progress.eq(marks)
