"""The rings in host memory: commands come out of one, responses go into the other, no processor in between."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.params import Params
from omap.regmap import REGISTER_BYTES, identity
from omap.wire import CONTROL_BYTES
from rtl.constants import LINE_BITS, LINE_BYTES, RING_ACCESS_LINES, RING_IDS
from rtl.memory.bursts import ADDRESS_BITS, access
from rtl.rings.counter_polls import BUSY, CounterPolls
from rtl.rings.early_reads import EarlyReads, early_lines
from rtl.rings.record import RECORD_BEAT
from rtl.rings.request_polls import RequestPolls
from rtl.rings.ring_commands import COUNTER_BITS, LINE_SHIFT, RING_BITS, CommandFetch, line_read
from rtl.rings.ring_writer import RingWriter
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import page_beat, require_one_of, require_whole

ID_BITS = (RING_IDS - 1).bit_length()
POLL_ID, EARLY_ID, REQUEST_ID = 1, 4, RING_IDS - 1

BUFFERED_LINES = 512
"""Lines of commands that are here or on their way at most."""

STRAGGLE = 12
"""Cycles by which an early read may come later than the one after the counters should."""

UNANSWERED = 256
"""Records that can be between this block and their response."""


class RingPort(wiring.Component):
    """Moves records between the rings of the shared buffer and the engine. Must do as :class:`omap.device.DeviceModel`.

    It reads the host's counters over and over, several reads under way, fetches the lines that are new, in order, and
    hands a record on when all its lines are here. A response is written as soon as it is whole, several short ones in
    one access if there was a write just before. RESPONSES_WRITTEN follows at once if no other response is there and the
    counters were not written in the last ``counter_cycles``, and after 64 lines at the latest. All times depend on
    handshakes and on what the host may see.

    Parameters
    ----------
    params : Params
        The map.
    max_lines : int
        Longest access of the host port, at least 4 lines.
    access_lines : int
        Most lines of one access to a ring, a power of two; fewer if ``max_lines`` is shorter.
    poll_cycles : int
        Cycles from one read of the counters to the next while no record is here; more while records are, see
        :class:`rtl.rings.counter_polls.CounterPolls`.
    request_cycles : int
        Cycles from one read of REQUESTS to the next.
    gather_cycles : int
        Cycles from one write of responses to the next, unless they fill a packet.
    counter_cycles : int
        Cycles from one write of the device's counters to the next, unless 64 lines are untold.
    journal : bool
        There is a journal, which goes into a ring of its own.
    early : bool
        The next record is read together with the counters while nothing is under way, if a record of one operation is
        short enough (:class:`rtl.rings.early_reads.EarlyReads`). Whoever takes records says whether it was right.
    hbm_private, attested, hardware : bool
        What register MODE says.

    Members
    -------
    run : In(1)
        The kernel was started: REQUESTS is read.
    serve : In(1)
        The map is ready: commands are fetched.
    base : In(64)
        Bus address of the shared buffer, a multiple of 4096; still while ``run`` is high, and 4 cycles before.
    ring_lines : In(17)
        Lines of each ring, a power of two from 128 to 65536; still likewise.
    o_record : Out(stream.Signature(RECORD_BEAT))
        Commands, each without a pause of this block's making.
    i_record : In(stream.Signature(page_beat(1)))
        Responses, one for each command, in order.
    i_journal : In(stream.Signature(page_beat(1)))
        Records of the journal, if there is one; each for a command before the last beat of its response.
    journal_room, journal_fits : Out(1)
        If there is a journal: the longest record has room in its ring, and the records of all commands that are here
        have. Both know of a record 8 cycles after its last beat.
    journal_told : Out(1)
        If there is a journal: the host has all of it that came here, and the counter that says so.
    restore, failed : In(1)
        If there is a journal: commands are the records of a restore, and it has failed; see
        :class:`rtl.rings.framing.Framing`.
    early : Out(1)
        If records are read early: the record that leaves or has just left was. It may be old or torn.
    sure, again : In(1)
        If records are read early: it is right; or it is not, and is to be read again. One of them, once for each.
    i_mirror : In(stream.Signature({"state": 4, "fault": 4}))
        A request to write a copy of the registers to the buffer, with this STATUS and FAULT.
    o_request : Out(stream.Signature(8))
        A request that the host has put into the buffer.
    i_request_done : In(stream.Signature(0))
        It was served.
    o_read, i_data, o_write, o_lines, i_written
        The ring client of :class:`rtl.memory.host_port.HostPort`.
    idle : Out(1)
        No record is here or on its way, and the host has seen the latest counters.

    Countermeasures
    ---------------
    RING.COUNTERS.BOUND
        However the host sets its counters, the responses to all commands under way fit the ring.
    JOURNALS.ROOM.RESERVED
        A command is fetched if the journal ring has room for its record, so that no record waits for the host.
    """

    # Many: each is a number or a fact that the engine's configuration has on its own. All but
    # two have a default.
    def __init__(
        self,
        params: Params,
        *,
        max_lines: int,
        access_lines: int = RING_ACCESS_LINES,
        poll_cycles: int = 20,
        request_cycles: int = 256,
        gather_cycles: int = 32,
        counter_cycles: int = 64,
        journal: bool = False,
        early: bool = False,
        hbm_private: bool = False,
        attested: bool = False,
        hardware: bool = False,
    ) -> None:
        require_whole("max_lines", max_lines, REGISTER_BYTES // LINE_BYTES, 1024)
        require_one_of("access_lines", access_lines, (1, 2, 4, 8, 16, 32, 64))
        for name, cycles in (("poll_cycles", poll_cycles), ("request_cycles", request_cycles)):
            require_whole(name, cycles, 2, 1 << 16)
        for name, cycles in (("gather_cycles", gather_cycles), ("counter_cycles", counter_cycles)):
            require_whole(name, cycles, 1, 1 << 16)
        self.params, self.journal = params, journal
        self.early_lines = early_lines(params) if early else 0
        self.access_lines = min(access_lines, 1 << max_lines.bit_length() - 1)
        self.poll_cycles, self.request_cycles = poll_cycles, request_cycles
        self.gather_cycles, self.counter_cycles = gather_cycles, counter_cycles
        self.identity = identity(params, hbm_private=hbm_private, attested=attested, hardware=hardware, journal=journal)
        self.request = access(max_lines, ID_BITS)
        line = line_read(self.request)
        ports = {
            "i_journal": In(stream.Signature(page_beat(1))),
            "journal_room": Out(1),
            "journal_fits": Out(1),
            "journal_told": Out(1),
            "restore": In(1),
            "failed": In(1),
        }
        super().__init__(
            (ports if journal else {})
            | ({"early": Out(1), "sure": In(1), "again": In(1)} if early else {})
            | {
                "run": In(1),
                "serve": In(1),
                "base": In(ADDRESS_BITS),
                "ring_lines": In(RING_BITS),
                "o_record": Out(stream.Signature(RECORD_BEAT)),
                "i_record": In(stream.Signature(page_beat(1))),
                "i_mirror": In(stream.Signature(StructLayout({"state": 4, "fault": 4}))),
                "o_request": Out(stream.Signature(8)),
                "i_request_done": In(stream.Signature(0)),
                "o_read": Out(stream.Signature(self.request)),
                "i_data": In(stream.Signature(line, always_ready=True)),
                "o_write": Out(stream.Signature(self.request)),
                "o_lines": Out(stream.Signature(LINE_BITS)),
                "i_written": In(stream.Signature(ID_BITS, always_ready=True)),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        connect, flipped = wiring.connect, wiring.flipped
        m.submodules.polls = polls = CounterPolls(
            request=self.request, first_id=POLL_ID, ids=EARLY_ID - POLL_ID, every=self.poll_cycles, journal=self.journal
        )
        m.submodules.fetch = fetch = CommandFetch(
            self.params,
            request=self.request,
            most=self.access_lines,
            depth=BUFFERED_LINES,
            journal=self.journal,
            early=self.early_lines,
        )
        m.submodules.requests = requests = RequestPolls(
            request=self.request, read_id=REQUEST_ID, every=self.request_cycles
        )
        m.submodules.writer = writer = RingWriter(
            self.params,
            request=self.request,
            most=self.access_lines,
            gather_cycles=self.gather_cycles,
            counter_cycles=self.counter_cycles,
            identity=self.identity,
            journal=self.journal,
        )
        for outer, inner in (
            (self.o_record, fetch.o_record),
            (self.o_request, requests.o_request),
            (self.o_write, writer.o_write),
            (self.o_lines, writer.o_lines),
        ):
            connect(m, inner, flipped(outer))
        for outer, inner in (
            (self.i_record, writer.i_record),
            (self.i_mirror, writer.i_mirror),
            (self.i_request_done, requests.i_request_done),
        ):
            connect(m, flipped(outer), inner)
        connect(m, requests.o_done, writer.i_done)

        # Where the rings lie: constant while anything uses it.
        commands_base, responses_base = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        m.d.sync += [
            commands_base.eq(self.base + CONTROL_BYTES),
            responses_base.eq(commands_base + (self.ring_lines << LINE_SHIFT)),
        ]
        m.submodules.unanswered = unanswered = Fifo(shape=fetch.o_lines.p.shape(), depth=UNANSWERED)
        connect(m, fetch.o_lines, unanswered.i)
        open_lines = Signal(COUNTER_BITS)  # asked for, and without a whole response
        answered = Signal.like(unanswered.o.p)
        forgotten = self.again if self.early_lines else Const(0)
        m.d.comb += [
            unanswered.o.ready.eq(writer.whole | forgotten),
            answered.eq(Mux(writer.whole & unanswered.o.valid, unanswered.o.p, 0)),
        ]
        m.d.sync += [
            open_lines.eq(open_lines + fetch.new - answered),
            polls.few.eq(open_lines != 0),
            polls.busy.eq(open_lines >= BUSY),
        ]
        m.d.sync += fetch.saved.eq(Mux(writer.whole & unanswered.o.valid, unanswered.o.p - writer.whole_lines, 0))
        m.d.comb += [
            polls.plenty.eq(fetch.plenty),
            polls.base.eq(self.base),
            polls.responses.eq(writer.responses),
            requests.run.eq(self.run),
            requests.base.eq(self.base),
            fetch.serve.eq(self.run & self.serve),
            fetch.base.eq(commands_base),
            fetch.ring_lines.eq(self.ring_lines),
            fetch.commands_written.eq(polls.commands_written),
            fetch.responses_taken.eq(polls.responses_taken),
            writer.serve.eq(fetch.serve),
            writer.base.eq(self.base),
            writer.responses_base.eq(responses_base),
            writer.ring_lines.eq(self.ring_lines),
            writer.fetched.eq(fetch.fetched),
        ]
        writes = Signal(range(1 << 10))  # under way
        m.d.sync += writes.eq(writes + (self.o_write.valid & self.o_write.ready) - self.i_written.valid)
        if self.journal:
            connect(m, flipped(self.i_journal), writer.i_journal)
            journal_base = Signal(ADDRESS_BITS)
            m.d.sync += [
                journal_base.eq(responses_base + (self.ring_lines << LINE_SHIFT)),
                fetch.answered.eq(answered),
                fetch.journal_lines.eq(Mux(writer.journal_whole, writer.journal_lines, 0)),
            ]
            m.d.comb += [
                writer.journal_base.eq(journal_base),
                polls.journal.eq(writer.journal_written),
                # what begins a journal, or a snapshot, waits for the host
                polls.run.eq(self.run & (self.serve | ~fetch.journal_room | ~fetch.journal_fits)),
                fetch.journal_taken.eq(polls.journal_taken),
                self.journal_room.eq(fetch.journal_room),
                self.journal_fits.eq(fetch.journal_fits),
                self.journal_told.eq(writer.journal_told & (writes == 0)),
                fetch.restore.eq(self.restore),
                fetch.failed.eq(self.failed),
            ]
        else:
            m.d.comb += polls.run.eq(self.run & self.serve)
        readers = [fetch, polls, requests]
        if self.early_lines:
            readers.insert(2, self._early(m, polls, fetch, unanswered))
        for reader in readers:
            m.d.comb += [reader.i_data.valid.eq(self.i_data.valid), reader.i_data.p.eq(self.i_data.p)]
        self._reads(m, [reader.o_read for reader in readers])
        m.d.comb += self.idle.eq(fetch.idle & writer.idle & (writes == 0))
        return m

    def _early(self, m: Module, polls: CounterPolls, fetch: CommandFetch, unanswered: Fifo) -> EarlyReads:
        """Read the next record early while none is under way."""
        m.submodules.early = early = EarlyReads(
            self.params,
            request=self.request,
            first_id=EARLY_ID,
            ids=REQUEST_ID - EARLY_ID,
            patience=self.poll_cycles + STRAGGLE,
        )
        wiring.connect(m, early.o_line, fetch.i_early)
        restores = self.restore if self.journal else Const(0)
        m.d.comb += [
            early.open_.eq(fetch.serve & fetch.idle & fetch.fits & ~unanswered.o.valid & ~restores),
            early.asked.eq(polls.o_read.valid & polls.o_read.ready),
            early.address.eq(fetch.o_read.p.address),
            *(getattr(early, name).eq(getattr(fetch, name)) for name in ("some", "counted", "moved")),
            *(getattr(fetch, name).eq(getattr(early, name)) for name in ("begins", "hold")),
            fetch.sure.eq(self.sure),
            *(block.again.eq(self.again) for block in (early, fetch)),
            self.early.eq(fetch.early),
        ]
        return early

    def _reads(self, m: Module, sources: list[stream.Interface]) -> None:
        """Offer one read after the other; those named first go first. None of them is offered in every cycle."""
        free, below = Signal(), Value.cast(Const(1, 1))
        m.d.comb += free.eq(~self.o_read.valid | self.o_read.ready)
        with m.If(free):
            m.d.sync += self.o_read.valid.eq(0)
        for source in sources:
            turn = Signal()
            m.d.comb += [turn.eq(source.valid & below), source.ready.eq(free & below)]
            with m.If(free & turn):
                m.d.sync += [self.o_read.valid.eq(1), self.o_read.p.eq(source.p)]
            below = below & ~source.valid
