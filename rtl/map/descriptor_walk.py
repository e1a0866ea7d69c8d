# amaranth: UnusedElaboratable=no
"""Reads the descriptors of some pages with all their further lines, and tells which waiting slots they name."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout, View
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.map.bin_shapes import HEAD, BinShapes
from rtl.stream.fifo import Fifo

LINE_CYCLES = 2
"""Cycles that a line takes, beside one for each waiting slot that it names."""

STEP_CYCLES = 10
"""From a line to the further line that it links to, without HBM's latency and without what others take."""


class DescriptorWalk(wiring.Component):
    """Asks for the first lines of some pages at once, and for a further line as soon as the line before it is here.

    Parameters
    ----------
    shapes : BinShapes
        Widths.
    most : int
        Most pages at once.

    Members
    -------
    begin : In(1)
        For one cycle: descriptors of pages ``first`` to ``first + count - 1`` are read. Those before are forgotten.
    first : In(range(pages))
        See ``begin``; stays.
    count : In(range(most + 1))
        See ``begin``; stays.
    o_line_fetch, i_line_fetched : streams
        Lines of descriptors, as :class:`rtl.map.waiting.WaitingBins` has them.
    mark : Out(1)
        A descriptor names the waiting slot ``slot``.
    slot : Out(range(waiting_slots))
        See ``mark``.
    done : Out(1)
        All descriptors are here, with all that they name.
    go : In(1)
        For one cycle when ``done``: tell what follows.
    o_page : Out(stream.Signature(range(pages)))
        Each page.
    o_version : Out(stream.Signature(48))
        For each page, the low bits of the version under which it was sealed last.
    o_occupancy : Out(stream.Signature(page_slots))
        For each page, the used page slots.
    """

    def __init__(self, shapes: BinShapes, *, most: int) -> None:
        self.shapes, self.most = shapes, most
        pages, row = range(shapes.params.pages), shapes.row
        super().__init__(
            {
                "begin": In(1),
                "first": In(pages),
                "count": In(range(most + 1)),
                "o_line_fetch": Out(stream.Signature(shapes.address)),
                "i_line_fetched": In(stream.Signature(shapes.line)),
                "mark": Out(1),
                "slot": Out(shapes.slot_bits),
                "done": Out(1),
                "go": In(1),
                "o_page": Out(stream.Signature(pages)),
                "o_version": Out(stream.Signature(row["version"].shape)),
                "o_occupancy": Out(stream.Signature(row["occupancy"].shape)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._tell(m)
        self._walk(m)
        return m

    def _tell(self, m: Module) -> None:
        """Keep versions and occupancies as they come, and offer them in the order of their pages."""
        style = {"ram_style": "distributed"}
        shape = StructLayout({name: self.shapes.row[name].shape for name in ("version", "occupancy")})
        m.submodules.rows = rows = Memory(shape=shape, depth=max(2, self.most), init=[], attrs=style)
        self._keep = rows.write_port()
        for flow, name in ((self.o_page, ""), (self.o_version, "version"), (self.o_occupancy, "occupancy")):
            left, at = Signal(range(self.most + 1)), Signal(range(max(2, self.most)))
            m.d.comb += flow.valid.eq(left != 0)
            if name:
                row = rows.read_port(domain="comb")
                m.d.comb += [row.addr.eq(at), flow.p.eq(row.data[name])]
            else:
                m.d.comb += flow.p.eq(self.first + at)
            with m.If(self.go):
                m.d.sync += [left.eq(self.count), at.eq(0)]
            with m.Elif(flow.valid & flow.ready):
                m.d.sync += [left.eq(left - 1), at.eq(at + 1)]

    def _walk(self, m: Module) -> None:
        """Ask for lines and take them."""
        shapes, params = self.shapes, self.shapes.params
        first_indices, further_indices = params.line_indices
        count = shapes.count
        asked, to_ask, to_come = (Signal(range(self.most + 1), name=name) for name in ("asked", "to_ask", "to_come"))
        follows = Signal()
        id_, link = Signal(shapes.id_bits), Signal(shapes.further_bits)
        m.submodules.fetches = fetches = Fifo(shape=shapes.address, depth=self.most)
        connect(m, fetches.o, flipped(self.o_line_fetch))
        fetch = fetches.i
        m.d.comb += [
            self.done.eq(to_come == 0),
            fetch.valid.eq(follows | (to_ask != 0)),
            fetch.p.address.eq(Mux(follows, params.bins + link, self.first + asked)),
            fetch.p.id.eq(Mux(follows, id_, asked)),
        ]

        # What is still to come of each list, and whether a further line comes next.
        rests = Array(Signal(count, name=f"rest_{k}") for k in range(self.most))
        further = Signal(self.most)
        arrived = self.i_line_fetched.p
        head = View(HEAD, arrived.data[: HEAD.size])
        is_further, named = Signal(), Signal(count)
        indices, in_line, rest = Signal(len(arrived.data) - 32), Signal(range(further_indices + 1)), Signal(count)
        most = Signal(range(further_indices + 1))
        m.d.comb += [
            is_further.eq(further.bit_select(arrived.id, 1)),
            named.eq(Mux(is_further, rests[arrived.id], head.count)),
            most.eq(Mux(is_further, further_indices, first_indices)),
            self._keep.addr.eq(arrived.id),
            self._keep.data.version.eq(head.version),
            self._keep.data.occupancy.eq(head.occupancy),
            self.slot.eq(indices),
        ]
        with m.FSM(name="walk"):
            with m.State("LINE"):
                m.d.comb += self.i_line_fetched.ready.eq(1)
                m.d.sync += [
                    id_.eq(arrived.id),
                    indices.eq(Mux(is_further, arrived.data >> 32, arrived.data >> HEAD.size)),
                    link.eq(Mux(is_further, arrived.data[:32], head.link)),
                    in_line.eq(Mux(named > most, most, named)),
                    rest.eq(Mux(named > most, named - most, 0)),
                ]
                with m.If(self.i_line_fetched.valid):
                    m.d.comb += self._keep.en.eq(~is_further)
                    with m.If(named > most):
                        m.next = "FOLLOW"
                    with m.Elif(named != 0):
                        m.next = "INDICES"
                    with m.Else():
                        m.d.sync += to_come.eq(to_come - 1)
            with m.State("FOLLOW"):
                m.d.comb += follows.eq(1)
                with m.If(fetch.ready):
                    m.d.sync += [further.bit_select(id_, 1).eq(1), rests[id_].eq(rest)]
                    m.next = "INDICES"
            with m.State("INDICES"):
                m.d.comb += self.mark.eq(1)
                m.d.sync += [indices.eq(indices >> 32), in_line.eq(in_line - 1)]
                with m.If(in_line == 1):
                    m.d.sync += to_come.eq(to_come - (rest == 0))
                    m.next = "LINE"
        with m.If(fetch.valid & fetch.ready & ~follows):
            m.d.sync += [asked.eq(asked + 1), to_ask.eq(to_ask - 1)]
        with m.If(self.begin):
            m.d.sync += [asked.eq(0), to_ask.eq(self.count), to_come.eq(self.count), further.eq(0)]
