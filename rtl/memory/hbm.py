"""One port of HBM, for items of one size: reads and writes with room kept for every answer.

An item is read and written in bursts as long as alignment allows: the largest power of two that divides its size, and
at most what AXI3 carries. A burst so aligned lies within 4 KB. Every burst has an AXI ID of its own, its place in a
ring; HBM may answer in any order and mix the beats of bursts, what is handed on has the order of the requests.

Both ports here work on after whoever asked has vanished: nothing resets them, they offer an address only with a place
kept for its answer (and all its data at hand), and take every answer in the cycle in which it comes.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.constants import CHANNEL_BITS, PSEUDO_CHANNELS
from rtl.stream.axi import BURST_INCR, RESP_OKAY, AxiReadSignature, AxiSignature, AxiWriteSignature
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import require, require_one_of, require_whole
from rtl.stream.pick import one_hot

ADDRESS_BITS = 34
WIDTHS = {"addr_width": ADDRESS_BITS, "data_width": 256, "id_width": 6, "version": 3}
HBM_AXI = AxiSignature(**WIDTHS)
"""An AXI3 port of HBM (AMD PG276)."""

BEAT_BYTES = HBM_AXI.beat_bytes

QUEUE = 16
"""Items that wait at a port, so that one busy channel does not hold up the others."""

SIEVE = 64
"""Kinds of addresses that are told apart among the writes under way."""

TIMEOUT = 4096
"""Cycles after which an answer is overdue: ten times what the slowest HBM takes under load."""


class Bursts:
    """How items of one size are cut into bursts.

    Parameters
    ----------
    item_bytes : int
        A multiple of 32.
    channel_bits : int
        Address bits within a pseudo-channel.

    Attributes
    ----------
    bytes, beats : int
        Of one burst.
    each : int
        Bursts of one item.
    """

    def __init__(self, item_bytes: int, channel_bits: int = CHANNEL_BITS) -> None:
        require_whole("item_bytes", item_bytes, BEAT_BYTES, 1 << 16)
        require(item_bytes % BEAT_BYTES == 0, f"item_bytes is {item_bytes}; HBM has beats of {BEAT_BYTES} bytes")
        self.bytes = min(item_bytes & -item_bytes, BEAT_BYTES * HBM_AXI.max_burst)
        self.beats = self.bytes // BEAT_BYTES
        self.each = item_bytes // self.bytes
        self.bits = 8 * self.bytes
        require_whole("channel_bits", channel_bits, 12, ADDRESS_BITS - 5)
        self.channel_bits, self.number_bits = channel_bits, channel_bits - (self.bytes - 1).bit_length()

    def address(self, number: Value, channel: int) -> Value:
        """Return the address of a channel's burst ``number``."""
        within = Const(0, self.channel_bits - self.number_bits)
        return Cat(within, number, Const(channel, ADDRESS_BITS - self.channel_bits))


def _check(channel: int, outstanding: int, timeout: int) -> None:
    require_whole("channel", channel, 0, PSEUDO_CHANNELS - 1)
    require_one_of("outstanding", outstanding, (2, 4, 8, 16, 32, 64))
    require_whole("timeout", timeout, 2, 1 << 24)


def _overdue(m: Module, unanswered: Value, answer: Value, timeout: int) -> Value:
    """Return whether, with something unanswered, no answer came for ``timeout`` cycles."""
    waited = Signal(range(timeout + 1))
    overdue = Signal()
    m.d.sync += [
        waited.eq(Mux(answer | (unanswered == 0), 0, waited + (waited != timeout))),
        overdue.eq(waited == timeout),
    ]
    return overdue


class ReadPort(wiring.Component):
    """Reads items of one channel, in order, burst by burst.

    Parameters
    ----------
    item_bytes : int
        Bytes of an item, a multiple of 32; item ``n`` lies at ``n * item_bytes`` of the channel.
    item_bits, note_bits : int
        Width of an item's number, and of what comes back with each of its bursts.
    channel : int
        Pseudo-channel, 0 to 31.
    outstanding : int
        Bursts under way, a power of two from 2 to 64.
    timeout : int
        Cycles without an answer that are an error.
    channel_bits : int
        Address bits within a pseudo-channel.

    Members
    -------
    i : In(stream.Signature({"item", "note"}))
        Items to read.
    o : Out(stream.Signature({"note", "data"}))
        Their bursts, in order.
    m_axi : Out(AxiReadSignature)
        The channel.
    idle : Out(1)
        Nothing is under way.
    error : Out(1)
        HBM reported an error, gave an answer that nobody asked for, or owes one for too long. Stays.
    """

    def __init__(
        self,
        *,
        item_bytes: int,
        item_bits: int,
        note_bits: int,
        channel: int,
        outstanding: int = 32,
        timeout: int = TIMEOUT,
        channel_bits: int = CHANNEL_BITS,
    ) -> None:
        _check(channel, outstanding, timeout)
        self.bursts = Bursts(item_bytes, channel_bits)
        self.channel, self.outstanding, self.timeout = channel, outstanding, timeout
        self.item_shape = StructLayout({"item": item_bits, "note": note_bits})
        super().__init__(
            {
                "i": In(stream.Signature(self.item_shape)),
                "o": Out(stream.Signature(StructLayout({"note": note_bits, "data": self.bursts.bits}))),
                "m_axi": Out(AxiReadSignature(**WIDTHS)),
                "idle": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bursts, axi, n = self.bursts, self.m_axi, self.outstanding
        tag_bits = (n - 1).bit_length()
        m.submodules.queue = queue = Fifo(shape=self.item_shape, depth=QUEUE)
        wiring.connect(m, wiring.flipped(self.i), queue.i)

        # Ask: the item at work gives one burst after the other.
        busy, number, remaining = Signal(), Signal(bursts.number_bits), Signal(range(bursts.each))
        note = Signal(self.item_shape["note"].shape)
        used, launch, retire = Signal(range(n + 1)), Signal(), Signal()
        newest, oldest = Signal(tag_bits), Signal(tag_bits)
        m.d.comb += [
            launch.eq(busy & (used != n) & (~axi.arvalid | axi.arready)),
            queue.o.ready.eq(~busy | (launch & (remaining == 0))),
            axi.arlen.eq(bursts.beats - 1),
            axi.arsize.eq(HBM_AXI.full_size),
            axi.arburst.eq(BURST_INCR),
        ]
        m.d.sync += [used.eq(used + launch - retire), newest.eq(newest + launch), oldest.eq(oldest + retire)]
        with m.If(queue.o.ready):
            m.d.sync += [
                busy.eq(queue.o.valid),
                number.eq(queue.o.p.item * bursts.each),
                remaining.eq(bursts.each - 1),
                note.eq(queue.o.p.note),
            ]
        with m.Elif(launch):
            m.d.sync += [number.eq(number + 1), remaining.eq(remaining - 1)]
        with m.If(launch):
            m.d.sync += [axi.arvalid.eq(1), axi.araddr.eq(bursts.address(number, self.channel)), axi.arid.eq(newest)]
        with m.Elif(axi.arready):
            m.d.sync += axi.arvalid.eq(0)

        # Collect: each beat goes to its place, for which there is room since its burst was asked for.
        beat, came, beat_valid, stray = Signal(HBM_AXI.layout("r")), Signal(), Signal(), Signal()
        asked, arrived = Signal(n), Signal(n)
        m.d.comb += [
            axi.rready.eq(1),
            beat_valid.eq(came & asked.bit_select(beat.id, 1)),
            stray.eq(came & ~beat_valid),
        ]
        m.d.sync += [came.eq(axi.rvalid), *(beat[name].eq(getattr(axi, "r" + name)) for name in ("id", "data"))]
        tag = beat.id[:tag_bits]
        lines = [
            Memory(shape=HBM_AXI.data_width, depth=n, init=[], attrs={"ram_style": "distributed"})
            for _ in range(bursts.beats)
        ]
        last = Signal()
        if bursts.beats == 1:
            places = [beat_valid]
            m.d.comb += last.eq(beat_valid)
        else:
            counts = Memory(shape=range(bursts.beats), depth=n, init=[], attrs={"ram_style": "distributed"})
            m.submodules.counts = counts
            kept, next_count = counts.read_port(domain="comb"), counts.write_port()
            begun, count = Signal(n), Signal(range(bursts.beats))  # a reset in mid-burst leaves the memory as it is
            m.d.comb += [
                kept.addr.eq(tag),
                count.eq(Mux(begun.bit_select(tag, 1), kept.data, 0)),
                next_count.addr.eq(tag),
                next_count.en.eq(beat_valid),
                next_count.data.eq(count + 1),
                last.eq(beat_valid & (count == bursts.beats - 1)),
            ]
            m.d.sync += begun.eq((begun | one_hot(tag, n, beat_valid)) & ~one_hot(tag, n, last))
            places = [beat_valid & (count == place) for place in range(bursts.beats)]
        for place, line in enumerate(lines):
            m.submodules[f"line_{place}"] = line
            write, read = line.write_port(), line.read_port(domain="comb")
            m.d.comb += [write.addr.eq(tag), write.data.eq(beat.data), write.en.eq(places[place])]
            m.d.comb += read.addr.eq(oldest)
            m.d.comb += self.o.p.data[256 * place : 256 * (place + 1)].eq(read.data)
        if len(note):
            notes = Memory(shape=len(note), depth=n, init=[], attrs={"ram_style": "distributed"})
            m.submodules.notes = notes
            keep, recall = notes.write_port(), notes.read_port(domain="comb")
            m.d.comb += [
                keep.addr.eq(newest),
                keep.data.eq(note),
                keep.en.eq(launch),
                recall.addr.eq(oldest),
                self.o.p.note.eq(recall.data),
            ]

        whole = one_hot(tag, n, last)
        m.d.comb += [
            self.o.valid.eq(arrived.bit_select(oldest, 1)),
            retire.eq(self.o.valid & self.o.ready),
            self.idle.eq((queue.level == 0) & ~busy & (used == 0)),
        ]
        m.d.sync += [
            asked.eq((asked & ~whole) | one_hot(newest, n, launch)),
            arrived.eq((arrived & ~one_hot(oldest, n, retire)) | whole),
        ]
        late = _overdue(m, asked, axi.rvalid, self.timeout)
        with m.If(late | stray | (axi.rvalid & (axi.rresp != RESP_OKAY))):
            m.d.sync += self.error.eq(1)
        return m


class WritePort(wiring.Component):
    """Writes items of one channel.

    No burst is offered while an earlier one to the same address is under way: AXI promises no order under different
    IDs, and a slot may be freed, taken and written again while its first write is on its way. What is compared are the
    last bits of the burst's number, so that one in :data:`SIEVE` is held up without need.

    Parameters
    ----------
    item_bytes, item_bits, note_bits, channel, outstanding, timeout, channel_bits
        As :class:`ReadPort`; the note comes back once for each item.
    initial : int
        What is written for an item that is marked ``initial``.

    Members
    -------
    i : In(stream.Signature({"item", "note", "initial", "data"}))
        Items to write; ``data`` does not matter where ``initial`` is set.
    o : Out(stream.Signature({"note"}))
        Items that have arrived, in order; none for initial ones.
    m_axi : Out(AxiWriteSignature)
        The channel.
    idle : Out(1)
        Nothing is under way.
    error : Out(1)
        As :class:`ReadPort`.
    """

    def __init__(
        self,
        *,
        item_bytes: int,
        item_bits: int,
        note_bits: int,
        channel: int,
        outstanding: int = 16,
        timeout: int = TIMEOUT,
        channel_bits: int = CHANNEL_BITS,
        initial: int = 0,
    ) -> None:
        _check(channel, outstanding, timeout)
        require(0 <= initial < 1 << 8 * item_bytes, f"initial does not fit an item of {item_bytes} bytes")
        self.bursts = Bursts(item_bytes, channel_bits)
        require(initial == 0 or self.bursts.each == 1, "initial needs items of one burst")
        self.channel, self.outstanding, self.timeout, self.initial = channel, outstanding, timeout, initial
        self.item_shape = StructLayout(
            {"item": item_bits, "note": note_bits, "initial": 1, "data": 8 * item_bytes},
        )
        super().__init__(
            {
                "i": In(stream.Signature(self.item_shape)),
                "o": Out(stream.Signature(StructLayout({"note": note_bits}))),
                "m_axi": Out(AxiWriteSignature(**WIDTHS)),
                "idle": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bursts, axi, n = self.bursts, self.m_axi, self.outstanding
        tag_bits = (n - 1).bit_length()
        m.submodules.queue = queue = Fifo(shape=self.item_shape, depth=QUEUE)
        wiring.connect(m, wiring.flipped(self.i), queue.i)

        # The item at work gives one burst after the other, its data shifted down to the next.
        busy, number, remaining = Signal(), Signal(bursts.number_bits), Signal(range(bursts.each))
        note, initial, data = (Signal(self.item_shape[name].shape) for name in ("note", "initial", "data"))
        used, launch, retire = Signal(range(n + 1)), Signal(), Signal()
        newest, oldest = Signal(tag_bits), Signal(tag_bits)
        pending = Signal(n)  # not answered yet
        written = Signal(SIEVE)  # what is not answered yet, by the last bits of its number
        sieve_bits = min(bursts.number_bits, (SIEVE - 1).bit_length())
        clash, line_free = Signal(), Signal()
        m.d.comb += [
            clash.eq(written.bit_select(number[:sieve_bits], 1)),
            line_free.eq(~axi.wvalid | (axi.wready & axi.wlast)),
            launch.eq(busy & ~clash & (used != n) & (~axi.awvalid | axi.awready) & line_free),
            queue.o.ready.eq(~busy | (launch & (remaining == 0))),
            axi.awlen.eq(bursts.beats - 1),
            axi.awsize.eq(HBM_AXI.full_size),
            axi.awburst.eq(BURST_INCR),
        ]
        m.d.sync += [used.eq(used + launch - retire), newest.eq(newest + launch), oldest.eq(oldest + retire)]
        with m.If(queue.o.ready):
            m.d.sync += [
                busy.eq(queue.o.valid),
                number.eq(queue.o.p.item * bursts.each),
                remaining.eq(bursts.each - 1),
                *(kept.eq(queue.o.p[name]) for kept, name in ((note, "note"), (initial, "initial"))),
                data.eq(queue.o.p.data),
            ]
        with m.Elif(launch):
            m.d.sync += [number.eq(number + 1), remaining.eq(remaining - 1), data.eq(data >> bursts.bits)]

        # Offer: address and first beat together.
        line, beats_remaining = Signal(bursts.bits), Signal(range(bursts.beats))
        m.d.comb += [axi.wdata.eq(line), axi.wstrb.eq(~0), axi.wlast.eq(beats_remaining == 0)]
        with m.If(launch):
            m.d.sync += [
                *(axi.awvalid.eq(1), axi.awaddr.eq(bursts.address(number, self.channel)), axi.awid.eq(newest)),
                *(axi.wvalid.eq(1), line.eq(Mux(initial, self.initial, data)), beats_remaining.eq(bursts.beats - 1)),
            ]
        with m.Else():
            with m.If(axi.awready):
                m.d.sync += axi.awvalid.eq(0)
            with m.If(axi.wready):
                m.d.sync += [axi.wvalid.eq(~axi.wlast & axi.wvalid), line.eq(line >> HBM_AXI.data_width)]
                m.d.sync += beats_remaining.eq(beats_remaining - 1)

        # Report: the oldest first, once it is answered.
        fate = StructLayout({"note": len(note), "report": 1})
        fates = Memory(shape=fate, depth=n, init=[], attrs={"ram_style": "distributed"})
        m.submodules.fates = fates
        keep, recall = fates.write_port(), fates.read_port(domain="comb")
        targets = Memory(shape=sieve_bits, depth=n, init=[], attrs={"ram_style": "distributed"})
        m.submodules.targets = targets
        target, answered = targets.write_port(), targets.read_port(domain="comb")
        answer, came, answer_valid, stray = Signal(HBM_AXI.layout("b")["id"].shape), Signal(), Signal(), Signal()
        settled = Signal()
        m.d.comb += [
            axi.bready.eq(1),
            *(keep.addr.eq(newest), keep.en.eq(launch), recall.addr.eq(oldest)),
            *(keep.data.note.eq(note), keep.data.report.eq(~initial & (remaining == 0))),
            *(target.addr.eq(newest), target.en.eq(launch), target.data.eq(number)),
            answered.addr.eq(answer),
            *(answer_valid.eq(came & pending.bit_select(answer, 1)), stray.eq(came & ~answer_valid)),
            settled.eq((used != 0) & ~pending.bit_select(oldest, 1)),
            self.o.valid.eq(settled & recall.data.report),
            self.o.p.note.eq(recall.data.note),
            retire.eq(settled & (self.o.ready | ~recall.data.report)),
            self.idle.eq((queue.level == 0) & ~busy & (used == 0)),
        ]
        m.d.sync += [
            *(came.eq(axi.bvalid), answer.eq(axi.bid)),
            pending.eq((pending & ~one_hot(answer, n, answer_valid)) | one_hot(newest, n, launch)),
            written.eq(
                (written & ~one_hot(answered.data, SIEVE, answer_valid)) | one_hot(number[:sieve_bits], SIEVE, launch)
            ),
        ]
        late = _overdue(m, pending, axi.bvalid, self.timeout)
        with m.If(late | stray | (axi.bvalid & (axi.bresp != RESP_OKAY))):
            m.d.sync += self.error.eq(1)
        return m


class Merge(wiring.Component):
    """Passes on the items of several streams, each in its turn, out of a register.

    Parameters
    ----------
    shape : shape-like
        Shape of the payload.
    ways : int
        Streams, at least 1.

    Members
    -------
    i : In(stream.Signature(shape)).array(ways)
        Items in.
    o : Out(stream.Signature(shape))
        Items out. Latency 1.
    """

    def __init__(self, *, shape: object, ways: int) -> None:
        require_whole("ways", ways, 1, PSEUDO_CHANNELS)
        self.shape, self.ways = shape, ways
        super().__init__(
            {"i": In(stream.Signature(shape)).array(ways), "o": Out(stream.Signature(shape))},
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        wanted, later, granted, free = Signal(self.ways), Signal(self.ways), Signal(self.ways), Signal()
        m.d.comb += [
            wanted.eq(Cat(way.valid for way in self.i)),
            free.eq(~self.o.valid | self.o.ready),
        ]
        for mask in (wanted, wanted & later):  # those after the last one granted go first
            with m.If(mask.any()):
                m.d.comb += granted.eq(Cat(mask[k] & ~mask[:k].any() for k in range(self.ways)))
        with m.If(free):
            m.d.sync += self.o.valid.eq(wanted.any())
            with m.If(wanted.any()):
                m.d.sync += later.eq(Cat(granted[:k].any() for k in range(self.ways)))
        for k, way in enumerate(self.i):
            m.d.comb += way.ready.eq(free & granted[k])
            with m.If(free & granted[k]):
                m.d.sync += self.o.p.eq(way.p)
        return m


def join(m: Module, axi: wiring.PureInterface, read: ReadPort, write: WritePort) -> None:
    """Connect both ports of a channel with its AXI port."""
    for port in (read, write):
        for name, member in port.m_axi.signature.members.items():
            ours, theirs = getattr(port.m_axi, name), getattr(axi, name)
            m.d.comb += theirs.eq(ours) if member.flow is Out else ours.eq(theirs)
