# amaranth: UnusedElaboratable=no
"""What opened records of a restore say: items that go on to be commands, and the START of a map."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from omap.params import Params
from omap.wire import RecordType
from rtl.constants import BLOCK_BITS
from rtl.rings.lineage import ANCESTOR
from rtl.rings.record import HEADER_FIELDS, NUMBER_BITS, SOURCE_FIELD_BEATS, digest_of, read_header
from rtl.rings.record_commands import TEXT_BEAT
from rtl.rings.source_start import BEFORE_ANCESTORS
from rtl.stream.interfaces import swap_bytes


class RestoreTexts(wiring.Component):
    """Takes the texts of a restore as :class:`omap.restore.Restore` does once they are open.

    Texts of JOURNAL and SNAPSHOT records go on, a beat a cycle. Each goes on whole, because whoever unpacks it is told
    by ``runs`` whether its items run: they do if the tag was right, a JOURNAL goes on with the number that is due, and
    no record before it was refused. The text of a START stays here and is read.

    Parameters
    ----------
    params : Params
        The map.

    Members
    -------
    i_text : In(stream.Signature(TEXT_BEAT))
        Opened records; those of a snapshot with the fields of their SOURCE behind the header.
    o_text : Out(stream.Signature(TEXT_BEAT))
        JOURNAL and SNAPSHOT records without these fields.
    runs : Out(1)
        The record whose second beat was taken last may run, so far as its text says. If its tag was wrong this says
        nothing of its text.
    announced : In(1)
        That record was announced: its items run, or it is refused.
    failed : In(1)
        A record was refused for good.
    start : In(1)
        A START is the one record under way.
    of_snapshot : In(1)
        What is under way belongs to a snapshot, else to a journal.
    source_id : In(128)
        Id of the map that its SOURCE names.
    source_operation : In(64)
        Number of the next operation that its SOURCE names.
    o_ancestor : Out(stream.Signature(ANCESTOR))
        Ancestors of the map, the parent first.
    started : Out(1)
        The START is read, for a cycle.
    altered, fits : Out(1), Out(1)
        With ``started``: its tag was wrong; it was right, and the map is the one that goes on here.
    map_id : Out(128)
        Id of the map that is restored.
    operation : Out(64)
        Number of its next operation, as clients see it.

    Countermeasures
    ---------------
    RESTORES.ITEMS.ALL
        Each item is one operation, whatever it is.
    RESTORES.ORDER.STRICT
        A journal goes on with the operation that is due.
    RESTORES.CHAIN.MATCHED
        A later map goes on exactly where its parent was restored up to.
    RESTORES.FAIL.ENDS
        Nothing runs behind a record that was refused.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        super().__init__(
            {
                "i_text": In(stream.Signature(TEXT_BEAT)),
                "o_text": Out(stream.Signature(TEXT_BEAT)),
                "runs": Out(1),
                "announced": In(1),
                "failed": In(1),
                "start": In(1),
                "of_snapshot": In(1),
                "source_id": In(BLOCK_BITS),
                "source_operation": In(NUMBER_BITS),
                "o_ancestor": Out(stream.Signature(ANCESTOR)),
                "started": Out(1),
                "altered": Out(1),
                "fits": Out(1),
                "map_id": Out(BLOCK_BITS),
                "operation": Out(NUMBER_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        text, first = self.i_text, Signal(init=1)
        header, head = read_header(text.p.data), Signal(HEADER_FIELDS)
        extra = Signal(range(SOURCE_FIELD_BEATS + 1))  # beats of a SOURCE's fields that are still to come
        taken, passes = Signal(), Signal()
        start = stream.Signature(TEXT_BEAT).create()
        m.d.comb += [
            passes.eq(text.valid & (extra == 0)),
            # SEC_CM: RESTORES.ITEMS.ALL -- whatever the items are, so that the count follows from the lengths
            self.o_text.valid.eq(passes & ~self.start),
            self.o_text.p.eq(text.p),
            start.valid.eq(passes & self.start),
            start.p.eq(text.p),
            text.ready.eq((extra != 0) | Mux(self.start, start.ready, self.o_text.ready)),
            taken.eq(text.valid & text.ready),
        ]
        with m.If(taken):
            m.d.sync += first.eq(text.p.last)
            with m.If(first):
                m.d.sync += [head.eq(header), extra.eq(Mux(self.of_snapshot, SOURCE_FIELD_BEATS, 0))]
            with m.Elif(extra != 0):
                m.d.sync += extra.eq(extra - 1)
        self._check_number(m, first=first, passes=taken & (extra == 0) & ~self.start, head=head)
        self._read_start(m, start, head)
        return m

    def _check_number(self, m: Module, *, first: Signal, passes: Signal, head: Signal) -> None:
        """Say whether a record may run when its second beat has passed: the one with the number of an operation."""
        second = Signal()
        number, journal, fault, stopped, goes_on = (
            Signal(NUMBER_BITS),
            *(Signal(name=name) for name in ("journal", "fault", "stopped", "goes_on")),
        )
        with m.If(passes):
            m.d.sync += second.eq(first)
            with m.If(second):
                m.d.sync += [
                    number.eq(swap_bytes(self.i_text.p.data[:NUMBER_BITS])),
                    journal.eq(head.type == RecordType.JOURNAL),
                    fault.eq(self.i_text.p.fault),
                ]
        m.d.comb += [
            # SEC_CM: RESTORES.ORDER.STRICT -- a journal goes on with the operation that is due
            goes_on.eq(~journal | (number == self.operation)),
            # SEC_CM: RESTORES.FAIL.ENDS -- what is under way behind a record that was refused has opened all the same
            self.runs.eq((fault | goes_on) & ~stopped & ~self.failed),
        ]
        with m.If(self.announced):
            m.d.sync += stopped.eq(stopped | fault | ~goes_on)
            with m.If(journal):
                m.d.sync += self.operation.eq(self.operation + head.count)

    def _read_start(self, m: Module, text: stream.Interface, head: Signal) -> None:
        """Read a START, a beat every second cycle: one comes, then it is looked at."""
        data, there, last, fault = Signal(BLOCK_BITS), Signal(), Signal(), Signal()
        place, good, parent = Signal(range(BEFORE_ANCESTORS + 2)), Signal(), Signal(BLOCK_BITS)
        left = Signal(8)  # ancestors that are still to come
        digest = digest_of(self.params)
        kept, looked = swap_bytes(data[:NUMBER_BITS]), Signal()
        wanted = Signal()  # this beat says what it must, if it must say something
        m.d.comb += [
            text.ready.eq(~there),
            wanted.eq(1),
            looked.eq(there & (~self.o_ancestor.valid | self.o_ancestor.ready)),
            self.o_ancestor.p.map_id.eq(parent),
            self.o_ancestor.p.kept.eq(kept),
            self.started.eq(looked & last),
            self.altered.eq(fault),
            self.fits.eq(good & wanted & ~fault),
        ]
        with m.If(text.valid & text.ready):
            m.d.sync += [data.eq(text.p.data), last.eq(text.p.last), fault.eq(text.p.fault), there.eq(1)]
        with m.If(looked):
            m.d.sync += [there.eq(0), place.eq(place + 1), good.eq(good & wanted)]
        with m.Switch(place):
            with m.Case(0):  # the header
                with m.If(looked):
                    m.d.sync += [good.eq(1), left.eq(head.count)]
            for beat in range(2):
                with m.Case(1 + beat):
                    m.d.comb += wanted.eq(data == digest.word_select(beat, BLOCK_BITS))
            with m.Case(3):
                m.d.comb += wanted.eq(data == self.source_id)
            # SEC_CM: RESTORES.CHAIN.MATCHED -- a map goes on where its parent was restored up to, and nowhere else
            with m.Case(4):
                m.d.comb += wanted.eq(self.of_snapshot | (data == self.map_id))
            with m.Case(5):
                m.d.comb += wanted.eq(self.of_snapshot | (kept == self.operation))
            with m.Case(BEFORE_ANCESTORS):
                with m.If(looked):
                    m.d.sync += parent.eq(data)
            with m.Default():
                m.d.comb += self.o_ancestor.valid.eq(there & (left != 0))
                with m.If(looked):
                    m.d.sync += [place.eq(BEFORE_ANCESTORS), left.eq(left - (left != 0))]
        with m.If(self.started):
            m.d.sync += place.eq(0)
            with m.If(self.fits):
                m.d.sync += self.map_id.eq(self.source_id)
                with m.If(self.of_snapshot):
                    m.d.sync += self.operation.eq(self.source_operation)
