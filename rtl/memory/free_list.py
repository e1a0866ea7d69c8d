"""Free indices: some on chip, the others in HBM, sixteen a line, or never used yet."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from omap.params import Params
from omap.sizing.channels import FREE_LINE_BYTES, INDEX_BYTES, Layout, list_lines
from rtl.constants import CHANNEL_BITS, SPARE_BITS
from rtl.memory.hbm import HBM_AXI, TIMEOUT
from rtl.memory.line_channels import LineChannels
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import require_whole
from rtl.stream.merge import Merge

LINE_BYTES = FREE_LINE_BYTES
INDEX_BITS = 8 * INDEX_BYTES
LINE_INDICES = LINE_BYTES // INDEX_BYTES

OFFERED = 64
"""Indices kept of those to hand out."""

LOW = 40
"""Fewer to hand out than this are too few: a line more always has room. So many last longer, at one for each operation,
than it takes to see the last line written and to have it back, if HBM refreshes both times."""

GIVEN = 128
"""Indices kept of those given back: as many as come in a cycle each while HBM refreshes."""

HIGH = 24
"""Given indices from which a line goes to HBM, if no room remains for them on chip."""

MOST_FLUSHES = 15
"""Lines that are on their way to HBM at a time, at most."""

ORDERS = 8
"""Groups of fresh indices that have orders from different bits of one draw."""

LINE_CYCLES = 2 + LINE_INDICES
"""From the start of a line that goes to HBM to the start of the next one."""


class FreeList(wiring.Component):
    """Hands out indices 0 to ``size - 1``, each to one holder at a time, in whatever order.

    An index given back is handed out again when its turn comes. When there is no room for it on chip, sixteen go to HBM
    as a line, and the last line written is the first to come back. Never used indices come from a counter, so nothing
    in HBM needs an initial value. All this happens in the background: taking and giving go on, one of each a cycle,
    until what is on chip is used up. Lines go to HBM one behind the other, :data:`LINE_CYCLES` apart, because a client
    that deletes can have many more slots given back than taken. One line at a time comes back, when all that went has
    arrived, because an operation takes one index at most.

    The counter hands out indices in groups, each group in an order of its own. What lies where in HBM depends on the
    lowest bits of an index, so a client that knew the order could have many tuples in one channel. The first
    :data:`LOW` indices are on offer before there is a draw, and come in their order: they are too few for that.

    Parameters
    ----------
    size : int
        Indices, 1 to 2**32.
    first_line : int
        Line in HBM where the list begins.
    address_bits : int, optional
        Width of a line's number.
    id : int
        0 or 1, of all transfers.
    group : int
        Binary logarithm of the indices of a group.

    Members
    -------
    order : In(SPARE_BITS)
        Secret random bits; some of those that stand here when the counter begins a group give the order in it.
    o_free : Out(stream.Signature(index))
        Indices to take.
    i_freed : In(stream.Signature(index))
        Indices given back.
    o_fetch, i_fetched, o_flush, i_flushed
        Lines in HBM, as :class:`~rtl.memory.line_channels.LineChannels` has them.
    clear : In(1)
        One cycle of it makes all indices free. What is on offer at ``o_free`` is withdrawn; a line on its way arrives
        and is forgotten.
    empty : Out(1)
        Everything is taken.
    quiet : Out(1)
        No line is on its way.
    """

    def __init__(
        self, *, size: int, first_line: int = 0, address_bits: int | None = None, id: int = 0, group: int = 0
    ) -> None:
        require_whole("size", size, 1, 1 << INDEX_BITS)
        require_whole("group", group, 0, SPARE_BITS // ORDERS)
        require_whole("first_line", first_line, 0, 1 << INDEX_BITS)
        require_whole("id", id, 0, 1)
        least = max(1, (first_line + list_lines(size) - 1).bit_length())
        address_bits = least if address_bits is None else address_bits
        require_whole("address_bits", address_bits, least, 48)
        self.size, self.first_line, self.id, self.group = size, first_line, id, group
        self.index_bits = max(1, (size - 1).bit_length())
        fields = {"address": address_bits, "id": 1, "data": 8 * LINE_BYTES}

        def flow(*names: str) -> stream.Signature:
            return stream.Signature(StructLayout({name: fields[name] for name in names}))

        super().__init__(
            {
                "order": In(SPARE_BITS),
                "o_free": Out(stream.Signature(self.index_bits)),
                "i_freed": In(stream.Signature(self.index_bits)),
                "o_fetch": Out(flow("address", "id")),
                "i_fetched": In(flow("id", "data")),
                "o_flush": Out(flow("address", "id", "data")),
                "i_flushed": In(stream.Signature(1)),
                "clear": In(1),
                "empty": Out(1),
                "quiet": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        offered, given = (Fifo(shape=self.index_bits, depth=depth) for depth in (OFFERED, GIVEN))
        m.submodules.offered = ResetInserter(self.clear)(offered)
        m.submodules.given = ResetInserter(self.clear)(given)
        wiring.connect(m, offered.o, wiring.flipped(self.o_free))
        wiring.connect(m, wiring.flipped(self.i_freed), given.i)

        free = Signal(range(self.size + 1), init=self.size)
        take, give = self.o_free.valid & self.o_free.ready, self.i_freed.valid & self.i_freed.ready
        m.d.comb += self.empty.eq(free == 0)
        m.d.sync += free.eq(free + give - take)

        unused = Signal(range(self.size + 1))  # the lowest index never handed out
        top = Signal(self.o_fetch.p.address.shape(), init=self.first_line)  # the line to write next
        words = Signal(self.index_bits * LINE_INDICES)
        moved = Signal(range(LINE_INDICES))  # words of the line packed or unpacked
        forget = Signal()  # the line on its way does not count any more
        packing, unpacking, under_way, arrives = Signal(), Signal(), Signal(), Signal()
        reserved = Signal()  # a line comes back: its room stays free
        low, high, is_last = Signal(), Signal(), Signal()
        flushes = Signal(range(MOST_FLUSHES + 1))  # lines on their way to HBM, forgotten ones too
        none_on_its_way = flushes == 0
        m.d.sync += flushes.eq(flushes + (self.o_flush.valid & self.o_flush.ready) - self.i_flushed.valid)
        m.d.comb += [
            low.eq(offered.level < LOW),
            high.eq(given.level >= HIGH),
            is_last.eq(moved == LINE_INDICES - 1),
            self.o_fetch.p.address.eq(top),
            self.o_flush.p.address.eq(top),
            self.o_fetch.p.id.eq(self.id),
            self.o_flush.p.id.eq(self.id),
            self.o_flush.p.data.eq(
                Cat(
                    Cat(words.word_select(k, self.index_bits), Const(0, INDEX_BITS - self.index_bits))
                    for k in range(LINE_INDICES)
                )
            ),
            self.i_fetched.ready.eq(1),
            self.i_flushed.ready.eq(1),
        ]
        with m.FSM(name="line"):
            with m.State("IDLE"):
                m.d.comb += self.quiet.eq(none_on_its_way)
                with m.If(self.clear):
                    m.next = "IDLE"
                with m.Elif(high & ~offered.i.ready):
                    m.next = "PACK"
                with m.Elif(low & ~given.o.valid & (unused == self.size) & (top != self.first_line) & none_on_its_way):
                    m.d.sync += top.eq(top - 1)
                    m.next = "FETCH"
            with m.State("PACK"):
                m.d.comb += packing.eq(1)
                with m.If(self.clear):
                    m.next = "IDLE"
                with m.Elif(is_last):
                    m.next = "FLUSH"
            with m.State("FLUSH"):
                m.d.comb += [
                    under_way.eq(1),
                    self.o_flush.valid.eq(flushes != MOST_FLUSHES),
                    arrives.eq(self.o_flush.valid & self.o_flush.ready),
                ]
                with m.If(arrives):
                    m.d.sync += top.eq(top + 1)
                    m.next = "IDLE"
            with m.State("FETCH"):
                m.d.comb += [under_way.eq(1), reserved.eq(1), self.o_fetch.valid.eq(1)]
                with m.If(self.o_fetch.ready):
                    m.next = "FETCHED"
            with m.State("FETCHED"):
                m.d.comb += [under_way.eq(1), reserved.eq(1), arrives.eq(self.i_fetched.valid)]
                with m.If(arrives):
                    m.next = "UNPACK"
                    with m.If(forget | self.clear):
                        m.next = "IDLE"
            with m.State("UNPACK"):
                m.d.comb += unpacking.eq(1)
                with m.If(self.clear | is_last):
                    m.next = "IDLE"

        # What there is to hand out comes from a line, else from what was given back, else from the counter.
        recycle, fresh = Signal(), Signal()
        m.d.comb += [
            recycle.eq(given.o.valid & ~packing & ~unpacking & (low | ~reserved)),
            fresh.eq(~given.o.valid & ~packing & ~unpacking & low & (unused != self.size)),
            given.o.ready.eq(packing | (recycle & offered.i.ready)),
            offered.i.valid.eq(unpacking | recycle | fresh),
            offered.i.p.eq(
                Mux(unpacking, words[: self.index_bits], Mux(given.o.valid, given.o.p, self._fresh(m, unused)))
            ),
        ]
        m.d.sync += unused.eq(unused + fresh)
        with m.If(packing | unpacking):
            m.d.sync += [words.eq(Cat(words, given.o.p)[self.index_bits :]), moved.eq(moved + 1)]
        with m.Elif(self.i_fetched.valid):
            m.d.sync += words.eq(
                Cat(self.i_fetched.p.data.word_select(k, INDEX_BITS)[: self.index_bits] for k in range(LINE_INDICES))
            )
        with m.If(self.clear):
            m.d.sync += [free.eq(self.size), unused.eq(0), moved.eq(0), forget.eq(under_way)]
        with m.If((forget | self.clear) & (arrives | ~under_way)):  # until then, its address is on offer
            m.d.sync += [top.eq(self.first_line), forget.eq(0)]
        return m

    def _fresh(self, m: Module, unused: Value) -> Value:
        """Return the index for a number of the counter: whole groups have an order of their own."""
        order, kept = Signal(self.group), Signal(self.group)  # of this group; of the one that has begun
        begins, whole = unused[: self.group] == 0, unused[self.group :] < self.size >> self.group
        # Groups that are handed out while the bits stay have orders of their own.
        drawn = (
            self.order.word_select(unused[self.group :][: exact_log2(ORDERS)], self.group)
            if self.group
            else self.order[:0]
        )
        # SEC_CM: WAITING.PLACE.RANDOM -- where a tuple lies in HBM is nothing that a client can choose
        m.d.comb += order.eq(Mux(begins, drawn, kept))
        m.d.sync += kept.eq(order)
        return Cat(unused[: self.group] ^ Mux(whole, order, 0), unused[self.group :])[: self.index_bits]


class FreeLists(wiring.Component):
    """The free waiting slots and the free further lines of a map, in channels of HBM of their own.

    What drives the channels must not be reset while transfers are under way: to forget everything, use ``clear``.

    Parameters
    ----------
    params : Params
        Gives the sizes; there may be no further lines.
    first_channel : int
        The first pseudo-channel.
    layout : Layout, optional
        How the lines of both lie in their channels, those of the slots first; without it in one channel.
    timeout : int
        Cycles without an answer that are an error.
    channel_bits : int
        Address bits within a pseudo-channel.
    groups : tuple of int
        Binary logarithms of the groups in which slots and further lines are handed out: see :class:`FreeList`.

    Members
    -------
    order : In(SPARE_BITS)
        Secret random bits, see :class:`FreeList`.
    o_slot, i_slot : streams of slot numbers, out and in
        Waiting slots to take, and those given back.
    o_line, i_line : streams of line numbers, out and in
        Further lines to take, and those given back.
    m_axi : Out(AxiSignature).array(channels)
        HBM, 256-bit AXI3.
    clear : In(1)
        One cycle of it makes everything free; what is on offer is withdrawn.
    exhausted : Out(1)
        A taker was ready and everything was taken; stays until ``clear``. A taker is ready only when it needs an
        index, then at once, whether or not one is on offer.
    quiet : Out(1)
        No transfer is under way.
    error : Out(1)
        As :class:`~rtl.memory.read_port.ReadPort` has it. Stays.
    """

    def __init__(
        self,
        params: Params,
        first_channel: int,
        *,
        layout: Layout | None = None,
        timeout: int = TIMEOUT,
        channel_bits: int = CHANNEL_BITS,
        groups: tuple[int, int] = (0, 0),
    ) -> None:
        slots, further = params.waiting_slots, params.further_lines
        lines = list_lines(slots) + list_lines(further)
        self.channel = LineChannels(
            layout=layout or Layout(items=lines, item_bytes=LINE_BYTES),
            id_bits=1,
            first_channel=first_channel,
            timeout=timeout,
            channel_bits=channel_bits,
        )
        address_bits = len(self.channel.i_fetch.p.address)
        self.lists = [FreeList(size=slots, address_bits=address_bits, id=0, group=groups[0])]
        if further:
            self.lists.append(
                FreeList(size=further, first_line=list_lines(slots), address_bits=address_bits, id=1, group=groups[1]),
            )
        slot, line = self.lists[0].index_bits, max(1, (further - 1).bit_length())
        super().__init__(
            {
                "order": In(SPARE_BITS),
                "o_slot": Out(stream.Signature(slot)),
                "i_slot": In(stream.Signature(slot)),
                "o_line": Out(stream.Signature(line)),
                "i_line": In(stream.Signature(line)),
                "m_axi": Out(HBM_AXI).array(self.channel.channels),
                "clear": In(1),
                "exhausted": Out(1),
                "quiet": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        channel, ways = self.channel, len(self.lists)
        m.submodules.channel = channel
        m.submodules.fetch = fetch = Merge(shape=channel.i_fetch.p.shape(), ways=ways)
        m.submodules.flush = flush = Merge(shape=channel.i_flush.p.shape(), ways=ways)
        wiring.connect(m, fetch.o, channel.i_fetch)
        wiring.connect(m, flush.o, channel.i_flush)
        for inner, outer in zip(channel.m_axi, self.m_axi, strict=True):
            wiring.connect(m, inner, wiring.flipped(outer))
        m.d.comb += [channel.o_fetched.ready.eq(1), channel.o_flushed.ready.eq(1), self.error.eq(channel.error)]

        ends = [(self.o_slot, self.i_slot), (self.o_line, self.i_line)]
        missed = []
        for k, (indices, (taken, given)) in enumerate(zip(self.lists, ends, strict=False)):
            m.submodules[f"list_{k}"] = indices
            wiring.connect(m, indices.o_free, wiring.flipped(taken))
            wiring.connect(m, wiring.flipped(given), indices.i_freed)
            wiring.connect(m, indices.o_fetch, fetch.i[k])
            wiring.connect(m, indices.o_flush, flush.i[k])
            m.d.comb += [
                indices.clear.eq(self.clear),
                indices.order.eq(self.order),
                indices.i_fetched.valid.eq(channel.o_fetched.valid & (channel.o_fetched.p.id == k)),
                indices.i_fetched.p.eq(channel.o_fetched.p),
                indices.i_flushed.valid.eq(channel.o_flushed.valid & (channel.o_flushed.p == k)),
                indices.i_flushed.p.eq(channel.o_flushed.p),
            ]
            missed.append(taken.ready & indices.empty)
        if ways == 1:
            m.d.comb += self.i_line.ready.eq(1)
            missed.append(self.o_line.ready)
        with m.If(self.clear):
            m.d.sync += self.exhausted.eq(0)
        with m.Elif(Cat(missed).any()):
            m.d.sync += self.exhausted.eq(1)
        m.d.comb += self.quiet.eq(Cat(indices.quiet for indices in self.lists).all() & channel.quiet)
        return m
