# amaranth: UnusedElaboratable=no
"""The map without its rings: commands in, replies out, pages in host memory, everything else in HBM."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.crypto import MAP_ID_BYTES, VERSION_BITS
from omap.operations import Kind, Status
from rtl.config import EngineConfig
from rtl.constants import BLOCK_BITS
from rtl.crypto.drbg import Drbg
from rtl.crypto.gcm import GcmOpen, GcmSeal
from rtl.map.pacer import Pacer
from rtl.map.page import PageMerge
from rtl.map.pages import Pages
from rtl.map.position_map import PositionMap
from rtl.map.secrets import FormatSecrets
from rtl.map.waiting import Use, WaitingBins
from rtl.memory.free_list import FreeLists
from rtl.memory.hbm import HBM_AXI
from rtl.memory.line_channels import LineChannels
from rtl.memory.slot_channels import SlotChannels
from rtl.rings.record import command_layout, reply_layout
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import swap_bytes

FIRST_VERSION = 1
"""Version under which a format seals."""

PAGE_NONCE_BITS = 32
BOOT_BITS = 16

SETTLE = 1024
"""Cycles from the last page's write to a format: twice what a move and slow writes of HBM take."""

PROGRESS = ("admitted", "located", "read", "arrived", "started", "merged", "sealed", "written", "replied")
"""Bits of :attr:`Core.progress`: each turns over when an operation passes this point."""


class Core(wiring.Component):
    """The whole map. Must equal :class:`omap.map.OneChoiceMap` on the same secrets and operations.

    Operations are admitted in order, one each ``interval`` cycles, and replied to in order. In between they overlap;
    state changes at one in-order point a structure (docs/decisions/0006).

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
    i_entropy : In(stream.Signature(128))
        Fresh random words, taken at a format: see :class:`rtl.map.secrets.FormatSecrets`.
    formatted : Out(1)
        A map is there. Falls with ``format``.
    map_id : Out(128)
        Its id.
    o_read, i_data, o_write, o_lines, i_written
        The page client of HostPort, see :class:`rtl.map.pages.Pages`.
    m_axi_hbm : Out(AxiSignature).array(n)
        Pseudo-channels, as :attr:`EngineConfig.channels` has them.
    page_fault, exhausted, bus_fault : Out(1)
        A page failed authentication; a structure ran out, or lost a tuple; HBM failed. They stay.
    idle : Out(1)
        No operation is under way, and no page.
    erase : In(1)
        Clears all secrets and all state; HBM transfers under way end properly.
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
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        params = config.params
        self.pages = Pages(config)
        pages = self.pages.signature.members
        super().__init__(
            {
                "i_command": In(stream.Signature(command_layout(params))),
                "o_reply": Out(stream.Signature(reply_layout(params))),
                "base": In(64),
                "format": In(1),
                "i_entropy": In(stream.Signature(BLOCK_BITS)),
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
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inner = Module()
        config, params = self.config, self.config.params
        self._passed: dict[str, Value] = {}

        self.position_map = inner.submodules.position_map = PositionMap(
            params, interval=4, line_entries=config.line_entries, transit_entries=config.transit_entries
        )
        self.bins = inner.submodules.bins = WaitingBins(params, entries=config.bin_entries)
        self.merge = inner.submodules.merge = PageMerge(params, lanes=config.lanes)
        self.drbg = inner.submodules.drbg = Drbg(pages=params.pages)
        gcm = {"sealed_bytes": params.page_bytes, "aad_bytes": MAP_ID_BYTES, "lanes": config.lanes}
        self.opener = inner.submodules.opener = GcmOpen(**gcm)
        self.sealer = inner.submodules.sealer = GcmSeal(**gcm)
        inner.submodules.pages = self.pages
        self.free = m.submodules.free_lists = FreeLists(
            params,
            first_channel=config.first_channel["free lists"],
            layout=config.layouts["free lists"],
            timeout=config.timeout,
            channel_bits=config.channel_bits,
        )
        self.secrets = inner.submodules.secrets = FormatSecrets()

        self._locate(inner, *self._admit(inner))
        self._open(inner)
        self._merge(inner)
        self._format(inner)
        self._connect_pages(inner)
        self._connect_memory(m, inner)
        m.d.comb += [
            self.position_map.erase.eq(self.erase),
            self.bins.erase.eq(self.erase),
            self.merge.erase.eq(self.erase),
            self.opener.erase.eq(self.erase),
            self.sealer.erase.eq(self.erase),
        ]
        marks = Signal(len(PROGRESS))
        m.d.sync += marks.eq(marks ^ Cat(self._passed[name] for name in PROGRESS))
        m.d.comb += self.progress.eq(marks)
        # SEC_CM: ENGINE.STATE.ERASE -- all registers; blocks with memories that hold keys wipe those by themselves
        m.submodules.inner = ResetInserter(self.erase)(inner)
        return m

    # -- admission and lookup -----------------------------------------------------------------------------------

    def _admit(self, m: Module) -> tuple[Fifo, Pacer]:
        """Admit a command each interval; it draws its pages and gets the time base of its page's read."""
        config, depth = self.config, self.config.in_flight
        m.submodules.lookups = lookups = Fifo(shape=self.position_map.operation_shape, depth=depth, ram_style="block")
        m.submodules.fresh = fresh = Fifo(shape=range(config.params.pages), depth=depth)
        m.submodules.contexts = self._contexts = Fifo(
            shape=self.i_command.payload.shape(), depth=depth, ram_style="block"
        )
        m.submodules.read_pacer = read_pacer = Pacer(
            shape=range(config.params.pages),
            offset=config.lookup_cycles,
            depth=depth,
            insecure_unpaced=config.insecure_unpaced,
        )
        draws, command = self.drbg.o_draw, self.i_command
        gap, under_way = Signal(range(config.interval)), Signal(range(depth + 1))
        may, admit, replied, gone = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            replied.eq(self.o_reply.valid & self.o_reply.ready),
            self.i_command.ready.eq(may & draws.valid),
            admit.eq(command.valid & command.ready),
            draws.ready.eq(may & command.valid),
            lookups.i.valid.eq(admit),
            lookups.i.p.kind.eq(command.p.kind),
            lookups.i.p.key.eq(command.p.key),
            lookups.i.p.fresh.eq(draws.p.next),
            lookups.i.p.dummy.eq(draws.p.dummy),
            fresh.i.valid.eq(admit),
            # SEC_CM: PAGE.ADDR.FRESH -- the draw of this operation, whatever it is
            fresh.i.p.eq(draws.p.next),
            self._contexts.i.valid.eq(admit),
            self._contexts.i.p.eq(command.p),
            read_pacer.start.eq(admit),
        ]
        following, spacing = Signal.like(under_way), Signal.like(gap)
        m.d.comb += [
            following.eq(under_way + admit - gone),
            spacing.eq(Mux(admit, config.interval - 1, Mux(gap == 0, 0, gap - 1))),
        ]
        m.d.sync += [
            under_way.eq(following),
            gap.eq(spacing),
            gone.eq(replied),  # counted a cycle later, for a shorter path
            may.eq(self.formatted & (following != depth) & (spacing == 0)),
        ]
        connect(m, lookups.o, self.position_map.i_operation)

        index = Signal(64)
        m.d.comb += [self.drbg.i_index.valid.eq(self.formatted), self.drbg.i_index.p.eq(index)]
        with m.If(self.format):
            m.d.sync += index.eq(0)
        with m.Elif(self.drbg.i_index.valid & self.drbg.i_index.ready):
            m.d.sync += index.eq(index + 1)
        self._passed |= {"admitted": admit, "replied": replied}
        self._under_way = under_way
        return fresh, read_pacer

    def _locate(self, m: Module, fresh: Fifo, read_pacer: Pacer) -> None:
        """Announce the bins of an operation whose page is known, and let the page be read at its time."""
        depth, params = self.config.in_flight, self.config.params
        located = self.position_map.o_located
        touch_shape = StructLayout({"page": range(params.pages), "fresh": range(params.pages)})
        m.submodules.touches = touches = Fifo(shape=touch_shape, depth=depth)
        m.submodules.findings = self._findings = Fifo(
            shape=StructLayout({"hit": 1, "keep": 1, "full": 1, "page": range(params.pages)}), depth=depth
        )
        m.submodules.nonces = self._nonces = Fifo(shape=range(params.pages), depth=depth)
        move = Signal()
        m.d.comb += [
            move.eq(located.valid & fresh.o.valid),  # nothing else ever fills up: no more operations are under way
            located.ready.eq(move),
            fresh.o.ready.eq(move),
            touches.i.valid.eq(move),
            # SEC_CM: PAGE.MISS.DUMMY -- the position map answers a miss with the page drawn for it
            touches.i.p.page.eq(located.p.page),
            touches.i.p.fresh.eq(fresh.o.p),
            self._findings.i.valid.eq(move),
            self._findings.i.p.eq(located.p),
            self._nonces.i.valid.eq(move),
            self._nonces.i.p.eq(located.p.page),
            read_pacer.i.valid.eq(move),
            read_pacer.i.p.eq(located.p.page),
        ]
        appending = Signal()  # the page's bin has been announced, the fresh one follows
        bins = self.bins.i_touch
        m.d.comb += [
            bins.valid.eq(touches.o.valid),
            bins.p.bin.eq(Mux(appending, touches.o.p.fresh, touches.o.p.page)),
            bins.p.use.eq(Mux(appending, Use.APPEND, Use.TOUCH)),
            touches.o.ready.eq(appending & bins.ready),
        ]
        with m.If(bins.valid & bins.ready):
            m.d.sync += appending.eq(~appending)
        self._read_pacer = read_pacer
        self._passed["located"] = move

    # -- opening, merging, sealing ------------------------------------------------------------------------------

    def _open(self, m: Module) -> None:
        """Ask for the keystreams of a page as soon as its version is known, while the page is on its way."""
        depth, params = self.config.in_flight, self.config.params
        shape = StructLayout({"page": range(params.pages), "version": VERSION_BITS})
        version = self.bins.o_version
        m.submodules.opens = opens = Fifo(shape=shape, depth=depth)
        m.submodules.seals = self._seals = Fifo(shape=shape, depth=depth)
        move = Signal()
        m.d.comb += [
            move.eq(version.valid & self._nonces.o.valid),
            version.ready.eq(self._nonces.o.valid),
            self._nonces.o.ready.eq(version.valid),
            self.opener.i_request.valid.eq(opens.o.valid),
            # SEC_CM: PAGE.VERSION.FRESH -- the version comes from HBM: an earlier page does not authenticate
            self.opener.i_request.p.nonce.eq(page_nonce(opens.o.p.page, opens.o.p.version)),
            opens.o.ready.eq(self.opener.i_request.ready),
        ]
        for fifo in (opens, self._seals):
            m.d.comb += [
                fifo.i.valid.eq(move),
                fifo.i.p.page.eq(self._nonces.o.p),
                fifo.i.p.version.eq(version.p),
            ]

    def _merge(self, m: Module) -> None:
        """Merge pages as they are opened; each result ends the uses of its two bins and becomes a reply."""
        params, depth = self.config.params, self.config.in_flight
        job, result, bin_ = self.merge.i_job, self.merge.o_result, self.bins.o_bin
        context, finding = self._contexts.o, self._findings.o
        pending_shape = StructLayout({"command": context.payload.shape(), "finding": finding.payload.shape()})
        m.submodules.pending = pending = Fifo(shape=pending_shape, depth=4)
        there = context.valid & finding.valid & bin_.valid & pending.i.ready
        begin = Signal()
        m.d.comb += [
            job.valid.eq(there),
            begin.eq(job.valid & job.ready),
            job.p.take.eq(finding.p.hit),
            job.p.key.eq(context.p.key),
            job.p.occupancy.eq(bin_.p.occupancy),
            context.ready.eq(begin),
            finding.ready.eq(begin),
            bin_.ready.eq(begin),
            pending.i.valid.eq(begin),
            pending.i.p.command.eq(context.p),
            pending.i.p.finding.eq(finding.p),
            self.merge.i_text.valid.eq(self.opener.o_text.valid),
            self.merge.i_text.p.data.eq(self.opener.o_text.p.data),
            self.merge.i_text.p.last.eq(self.opener.o_text.p.last),
            self.opener.o_text.ready.eq(self.merge.i_text.ready),
        ]
        connect(m, self.bins.o_waiting, self.merge.i_waiting)
        connect(m, self.merge.o_verdict, self.bins.i_verdict)

        m.submodules.appends = appends = Fifo(shape=self.bins.i_append.payload.shape(), depth=4)
        m.submodules.replies = replies = Pacer(
            shape=self.o_reply.payload.shape(),
            offset=self.config.reply_cycles,
            depth=depth,
            insecure_unpaced=self.config.insecure_unpaced,
        )
        connect(m, appends.o, self.bins.i_append)
        command, found = pending.o.p.command, pending.o.p.finding
        end, is_put, live = Signal(), Signal(), Signal(range(params.capacity + 1))
        live_now, operation, overruns = Signal.like(live), Signal(64), Signal(32)
        m.d.comb += [
            self.bins.i_occupancy.valid.eq(result.valid & pending.o.valid & appends.i.ready),
            self.bins.i_occupancy.p.eq(result.p.occupancy),
            end.eq(self.bins.i_occupancy.valid & self.bins.i_occupancy.ready),
            result.ready.eq(end),
            pending.o.ready.eq(end),
            appends.i.valid.eq(end),
            appends.i.p.present.eq(found.keep),
            is_put.eq(command.kind == Kind.PUT),
            appends.i.p.entry.eq(Cat(command.key, Mux(is_put, command.value, result.p.value))),
            live_now.eq(live + (found.keep & ~found.hit) - (found.hit & ~found.keep)),
            replies.start.eq(self.pages.started),
            replies.i.valid.eq(end),
            replies.i.p.status.eq(
                Mux(
                    found.hit | (command.kind == Kind.NOP),
                    Status.OK,
                    Mux(is_put, Mux(found.full, Status.FULL, Status.OK), Status.NOT_FOUND),
                )
            ),
            replies.i.p.found.eq(found.hit),
            replies.i.p.value.eq(result.p.value),
            replies.i.p.overruns.eq(overruns),
            replies.i.p.operation.eq(operation),
            replies.i.p.live.eq(live_now),
        ]
        connect(m, replies.o, flipped(self.o_reply))
        with m.If(end):
            m.d.sync += [live.eq(live_now), operation.eq(operation + 1)]
        with m.If(self.format):
            m.d.sync += [live.eq(0), operation.eq(0)]
        with m.If(~self.formatted):
            m.d.sync += overruns.eq(0)
        with m.Else():
            # SEC_CM: OVERRUN.COUNT.SEALED -- counted here, and told in sealed replies alone
            m.d.sync += overruns.eq(overruns + self.pages.late + replies.late + self._read_pacer.late)

        lost = Signal()  # a live key was neither in its page nor waiting
        with m.If(end & found.hit & ~result.p.found):
            m.d.sync += lost.eq(1)
        m.d.comb += [
            self.page_fault.eq(self.opener.fault),
            self.exhausted.eq(lost | self.bins.exhausted | self.free.exhausted),
        ]
        self._passed["merged"] = end

    # -- format -------------------------------------------------------------------------------------------------

    def _format(self, m: Module) -> None:
        """Take fresh secrets, forget all state, and seal every page empty."""
        params, secrets = self.config.params, self.secrets
        requested, blanks = Signal(range(params.pages + 1)), Signal(range(params.pages + 1))
        blank = Signal()  # pages are sealed empty
        self._clear, quiet, filled = Signal(), Signal(), Signal()
        self._filling = Signal()
        m.d.comb += [
            quiet.eq(self.position_map.quiet & self.bins.quiet & self.free.quiet & self.pages.idle),
            filled.eq(~self._filling),
            self.position_map.clear.eq(self._clear),
            self.bins.clear.eq(self._clear),
            self.free.clear.eq(self._clear | self.erase),
            self.map_id.eq(secrets.map_id),
        ]
        connect(m, flipped(self.i_entropy), secrets.i_entropy)
        connect(m, secrets.o_draw_seed, self.drbg.i_seed)
        connect(m, secrets.o_hash_key, self.position_map.i_key)
        m.d.comb += [
            secrets.o_page_key.ready.eq(self.opener.i_key.ready & self.sealer.i_key.ready),
            *(
                statement
                for block in (self.opener, self.sealer)
                for statement in (
                    block.i_key.valid.eq(secrets.o_page_key.valid & secrets.o_page_key.ready),
                    block.i_key.p.key.eq(secrets.o_page_key.p),
                    block.i_key.p.aad.eq(secrets.map_id),
                )
            ),
            self.drbg.erase.eq(self._clear | self.erase),
        ]
        settled = Signal(range(SETTLE + 1))
        with m.FSM(name="format"):
            with m.State("IDLE"):
                m.d.sync += settled.eq(0)
                with m.If(self.format):
                    m.d.sync += self.formatted.eq(0)
                    m.next = "QUIET"
            with m.State("QUIET"):
                # SEC_CM: FORMAT.TIME.FIXED -- by then all that entries in transit and late writes may need is over
                with m.If(settled != SETTLE):
                    m.d.sync += settled.eq(settled + 1)
                with m.Elif(quiet):
                    m.d.comb += self._clear.eq(1)
                    m.next = "SECRETS"
            with m.State("SECRETS"):
                m.d.comb += secrets.load.eq(1)
                m.d.sync += [requested.eq(0), blanks.eq(0)]
                with m.If(secrets.done):
                    m.next = "PAGES"
            with m.State("PAGES"):
                m.d.comb += blank.eq(1)
                with m.If((requested == params.pages) & (blanks == params.pages) & self.pages.idle & filled):
                    m.d.sync += self.formatted.eq(1)
                    m.next = "IDLE"

        seal, text, merged = self.sealer.i_request, self.sealer.i_text, self.merge.o_text
        wants_seal, wants_blank = requested != params.pages, blanks != params.pages
        page = self.pages.i_page
        seals = self._seals.o
        sealed_page = Mux(blank, requested, seals.p.page)
        version = Mux(blank, FIRST_VERSION, (seals.p.version + 1)[:VERSION_BITS])
        m.d.comb += [
            seal.valid.eq(Mux(blank, wants_seal, seals.valid)),
            seal.p.nonce.eq(page_nonce(sealed_page, version)),
            seals.ready.eq(seal.ready & ~blank),
            text.valid.eq(blank | merged.valid),
            text.p.eq(Mux(blank, 0, merged.p.data)),
            merged.ready.eq(text.ready & ~blank),
            page.valid.eq(Mux(blank, wants_blank, self._read_pacer.o.valid)),
            page.p.page.eq(Mux(blank, blanks, self._read_pacer.o.p)),
            page.p.blank.eq(blank),
            self._read_pacer.o.ready.eq(page.ready & ~blank),
        ]
        with m.If(blank & wants_seal & seal.ready):
            m.d.sync += requested.eq(requested + 1)
        with m.If(blank & wants_blank & page.ready):
            m.d.sync += blanks.eq(blanks + 1)
        m.d.comb += self.idle.eq((self._under_way == 0) & self.pages.idle)

    def _connect_pages(self, m: Module) -> None:
        pages = self.pages
        m.d.comb += pages.base.eq(self.base)
        connect(m, pages.o_sealed, self.opener.i_sealed)
        connect(m, self.sealer.o_sealed, pages.i_sealed)
        for name in ("o_read", "o_write", "o_lines"):
            connect(m, getattr(pages, name), flipped(getattr(self, name)))
        for name in ("i_data", "i_written"):
            connect(m, flipped(getattr(self, name)), getattr(pages, name))
        self._passed |= {
            "read": pages.o_read.valid & pages.o_read.ready,
            "arrived": pages.o_arrived,
            "started": pages.started,
            "sealed": pages.i_sealed.valid & pages.i_sealed.ready & pages.i_sealed.p.last,
            "written": pages.i_written.valid,
        }

    # -- HBM ----------------------------------------------------------------------------------------------------

    def _connect_memory(self, m: Module, inner: Module) -> None:
        """Put the structures on their channels. What drives an HBM port is never reset."""
        config, params = self.config, self.config.params
        errors, filling = [], []

        def lines(name: str, **sizes: Any) -> LineChannels:
            label = name.replace(" ", "_")
            m.submodules[label] = block = LineChannels(
                layout=config.layouts[name],
                first_channel=config.first_channel[name],
                timeout=config.timeout,
                channel_bits=config.channel_bits,
                **sizes,
            )
            place(name, block)
            m.d.comb += block.fill.eq(self._clear)
            filling.append(block.filling)
            return block

        def place(name: str, block: Any) -> None:
            for k in range(config.channels[name]):
                connect(m, block.m_axi[k], flipped(self.m_axi_hbm[config.first_channel[name] + k]))
            errors.append(block.error)

        tables = self.position_map
        for t, buffer in enumerate(tables.buffers):
            block = lines(
                f"table {t}",
                id_bits=buffer.id_bits,
                address_bits=buffer.address_bits,
                initial=0,
                initial_lines=params.buckets,
            )
            connect(m, tables.o_fetch[t], block.i_fetch)
            connect(m, block.o_fetched, tables.i_fetched[t])
            connect(m, tables.o_flush[t], block.i_flush)
            connect(m, block.o_flushed, tables.i_flushed[t])
        bins = self.bins
        block = lines(
            "descriptors",
            id_bits=bins.id_bits,
            address_bits=bins.line_bits,
            initial=FIRST_VERSION,
            initial_lines=params.bins,
        )
        connect(m, bins.o_line_fetch, block.i_fetch)
        connect(m, block.o_fetched, bins.i_line_fetched)
        connect(m, bins.o_line_flush, block.i_flush)
        connect(m, block.o_flushed, bins.i_line_flushed)
        m.submodules.slots = slots = SlotChannels(
            layout=config.layouts["slots"],
            entry_bytes=params.tuple_bytes,
            first_channel=config.first_channel["slots"],
            timeout=config.timeout,
            channel_bits=config.channel_bits,
        )
        place("slots", slots)
        connect(m, bins.o_slot_fetch, slots.i_fetch)
        connect(m, slots.o_fetched, bins.i_slot_fetched)
        connect(m, bins.o_slot_write, slots.i_write)
        connect(m, slots.o_written, bins.i_slot_written)
        place("free lists", self.free)
        connect(inner, self.free.o_slot, bins.i_free_slot)
        connect(inner, bins.o_freed_slot, self.free.i_slot)
        connect(inner, self.free.o_line, bins.i_free_line)
        connect(inner, bins.o_freed_line, self.free.i_line)
        m.d.comb += [self.bus_fault.eq(Cat(errors).any()), self._filling.eq(Cat(filling).any())]


def page_nonce(page: Value, version: Value) -> Value:
    """Return the nonce of a page, as :class:`omap.crypto.PageCodec` makes it; the boot counter is 0."""
    # SEC_CM: PAGE.NONCE.UNIQUE -- page and version are in every nonce, so none repeats under one key
    fields = ((page, PAGE_NONCE_BITS), (Const(0, BOOT_BITS), BOOT_BITS), (version, VERSION_BITS))
    return Cat(swap_bytes((value | Const(0, width))[:width]) for value, width in fields)
