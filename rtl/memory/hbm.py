"""HBM as its ports see it: items of one size, the bursts they become, and the account of those under way.

An item is read and written in bursts as long as alignment allows: the largest power of two that divides its size, and
at most what AXI3 carries. A burst so aligned lies within 4 KB. Every burst has an AXI ID of its own, its place in a
ring. HBM may answer in any order and mix the beats of bursts; items are handed on in the order of the requests.

Both ports, :mod:`rtl.memory.read_port` and :mod:`rtl.memory.write_port`, go on when whoever asked has vanished. Nothing
resets them. They offer an address only when a place is kept for its answer and all its data is at hand. They take every
answer in the cycle in which it comes.
"""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out

from rtl.constants import CHANNEL_BITS, PSEUDO_CHANNELS
from rtl.stream.axi import AxiSignature
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import require, require_one_of, require_whole

ADDRESS_BITS = 34
WIDTHS = {"addr_width": ADDRESS_BITS, "data_width": 256, "id_width": 6, "version": 3}
HBM_AXI = AxiSignature(**WIDTHS)
"""An AXI3 port of HBM (AMD PG276)."""

BEAT_BYTES = HBM_AXI.beat_bytes

QUEUE = 16
"""Items that wait at a port, so that one busy channel does not hold up the others."""

TIMEOUT = 4096
"""Cycles after which an answer is overdue: ten times what the slowest HBM takes under load."""


@dataclass(frozen=True)
class Items:
    """Items of one size, as the ports of all their channels see them, and how they are cut into bursts.

    Parameters
    ----------
    item_bytes : int
        Bytes of an item, a multiple of 32; item ``n`` lies at ``n * item_bytes`` of its channel.
    item_bits, note_bits : int
        Width of an item's number, and of the note that comes back with the answer.
    timeout : int
        Cycles without an answer that are an error.
    channel_bits : int
        Address bits within a pseudo-channel.

    Raises
    ------
    ParamsError
        If the size is not whole beats, or a number is out of range.
    """

    item_bytes: int
    item_bits: int
    note_bits: int
    timeout: int = TIMEOUT
    channel_bits: int = CHANNEL_BITS

    def __post_init__(self) -> None:
        require_whole("item_bytes", self.item_bytes, BEAT_BYTES, 1 << 16)
        require(
            self.item_bytes % BEAT_BYTES == 0,
            f"item_bytes is {self.item_bytes}; HBM has beats of {BEAT_BYTES} bytes",
        )
        require_whole("timeout", self.timeout, 2, 1 << 24)
        require_whole("channel_bits", self.channel_bits, 12, ADDRESS_BITS - 5)

    @property
    def burst_bytes(self) -> int:
        """Bytes of one burst."""
        return min(self.item_bytes & -self.item_bytes, BEAT_BYTES * HBM_AXI.max_burst)

    @property
    def burst_bits(self) -> int:
        """Bits of one burst."""
        return 8 * self.burst_bytes

    @property
    def beats(self) -> int:
        """Beats of one burst."""
        return self.burst_bytes // BEAT_BYTES

    @property
    def each(self) -> int:
        """Bursts of one item."""
        return self.item_bytes // self.burst_bytes

    @property
    def number_bits(self) -> int:
        """Width of a burst's number in its channel."""
        return self.channel_bits - (self.burst_bytes - 1).bit_length()

    def address(self, number: Value, channel: int) -> Value:
        """Return the address of a channel's burst ``number``."""
        within = Const(0, self.channel_bits - self.number_bits)
        return Cat(within, number, Const(channel, ADDRESS_BITS - self.channel_bits))


def check_port(channel: int, outstanding: int) -> None:
    """Refuse a port of a channel that no card has, or with a number of bursts under way that no ring has."""
    require_whole("channel", channel, 0, PSEUDO_CHANNELS - 1)
    require_one_of("outstanding", outstanding, (2, 4, 8, 16, 32, 64))


class BurstFront:
    """The front of a port: items wait, and the one at work gives one burst after the other.

    The statements go into the module of the port. The port drives :attr:`launch`, only while :attr:`able`, and
    :attr:`retire`.

    Parameters
    ----------
    m : Module
        The port's module.
    i : stream.Interface
        The port's items: ``item`` and ``note``, and ``data`` if it writes.
    items : Items
        What they are.
    outstanding : int
        Bursts that can be under way.

    Attributes
    ----------
    able : Value
        There is a burst to launch, and a place for it.
    launch, retire : Signal
        A burst is launched at place :attr:`newest`; the burst at place :attr:`oldest` is done with.
    number : Signal
        Number of the burst to launch.
    last : Value
        It is the last one of its item.
    item : dict of str to Signal
        What came with the item at work, but for its number; ``data`` is shifted down to the burst to launch.
    newest, oldest : Signal
        Places in the ring of bursts under way, which are their AXI IDs.
    any : Value
        A burst is under way.
    idle : Value
        None is, nor is there an item.
    """

    def __init__(self, m: Module, i: stream.Interface, items: Items, outstanding: int) -> None:
        m.submodules.queue = queue = Fifo(shape=i.p.shape(), depth=QUEUE)
        wiring.connect(m, wiring.flipped(i), queue.i)
        self.number = Signal(items.number_bits)
        self.item = {name: Signal(field.shape, name=name) for name, field in i.p.shape() if name != "item"}
        self.launch, self.retire = Signal(name="launch"), Signal(name="retire")
        places = range(outstanding)
        self.newest, self.oldest = Signal(places, name="newest"), Signal(places, name="oldest")
        busy = Signal()
        remaining = Signal(range(items.each))  # bursts of the item after this one
        used = Signal(range(outstanding + 1))
        self.able = busy & (used != outstanding)
        self.last = remaining == 0
        self.any = used != 0
        self.idle = (queue.level == 0) & ~busy & (used == 0)
        m.d.comb += queue.o.ready.eq(~busy | (self.launch & self.last))
        m.d.sync += [
            used.eq(used + self.launch - self.retire),
            self.newest.eq(self.newest + self.launch),
            self.oldest.eq(self.oldest + self.retire),
        ]
        with m.If(queue.o.ready):
            m.d.sync += [
                busy.eq(queue.o.valid),
                self.number.eq(queue.o.p.item * items.each),
                remaining.eq(items.each - 1),
                *(kept.eq(queue.o.p[name]) for name, kept in self.item.items()),
            ]
        with m.Elif(self.launch):
            m.d.sync += [self.number.eq(self.number + 1), remaining.eq(remaining - 1)]
            if "data" in self.item:
                m.d.sync += self.item["data"].eq(self.item["data"] >> items.burst_bits)


def overdue(m: Module, unanswered: Value, answer: Value, timeout: int) -> Value:
    """Return whether, with something unanswered, no answer came for ``timeout`` cycles."""
    waited = Signal(range(timeout + 1))
    late = Signal()
    m.d.sync += [
        waited.eq(Mux(answer | (unanswered == 0), 0, waited + (waited != timeout))),
        late.eq(waited == timeout),
    ]
    return late


def join(m: Module, axi: wiring.PureInterface, *ports: wiring.Component) -> None:
    """Connect the ports of a channel, one that reads and one that writes, with its AXI port."""
    for port in ports:
        for name, member in port.m_axi.signature.members.items():
            ours, theirs = getattr(port.m_axi, name), getattr(axi, name)
            m.d.comb += theirs.eq(ours) if member.flow is Out else ours.eq(theirs)
