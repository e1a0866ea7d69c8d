# amaranth: UnusedElaboratable=no
"""Zeroes the HBM that the engine uses, before the engine sees it.

HBM may keep its contents when the card is given another design: nobody promises that it forgets (unverified on a card).
So all of it is overwritten before this design starts to work. The engine's ports are connected when every byte is
overwritten, and not before.
"""

from __future__ import annotations

from functools import reduce
from operator import and_, or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.constants import PSEUDO_CHANNELS
from rtl.memory.hbm import HBM_AXI, TIMEOUT
from rtl.stream.axi import BURST_INCR, RESP_OKAY
from rtl.stream.interfaces import require, require_whole

BEATS = HBM_AXI.max_burst
BURST_BYTES = BEATS * HBM_AXI.beat_bytes
OUTSTANDING = 8
"""Bursts under way in a channel: 128 cycles of data, twice what an idle HBM takes to answer."""

__all__ = ["Clear", "ClearChannel"]


class ClearChannel(wiring.Component):
    """One channel of :class:`Clear`.

    Parameters
    ----------
    channel : int
        Its number, from 0.
    channel_bytes, stride : int
        As for :class:`Clear`.
    timeout : int
        Cycles without an answer that are an error.

    Members
    -------
    i_axi : In(HBM_AXI)
        From the engine; not served until ``release``.
    m_axi : Out(HBM_AXI)
        To HBM.
    start : In(1)
        Begin. After the first cycle in which it is 1, it is ignored.
    release : In(1)
        Connect both ports from the next cycle on. It must stay.
    cleared : Out(1)
        The whole channel is zero. Stays.
    error : Out(1)
        HBM reported an error, or an answer is overdue. Stays.
    """

    def __init__(self, *, channel: int, channel_bytes: int, stride: int = 0, timeout: int = TIMEOUT) -> None:
        require_whole("channel", channel, 0, PSEUDO_CHANNELS - 1)
        require_whole("channel_bytes", channel_bytes, BURST_BYTES, 1 << HBM_AXI.addr_width)
        require(channel_bytes.bit_count() == 1, f"channel_bytes is {channel_bytes}; it must be a power of two")
        stride = stride or channel_bytes
        require(
            stride.bit_count() == 1 and stride >= channel_bytes,
            f"stride is {stride}; it must be a power of two no less than channel_bytes, {channel_bytes}",
        )
        require(
            (channel + 1) * stride <= 1 << HBM_AXI.addr_width,
            f"channel {channel} of {stride} bytes lies beyond the {HBM_AXI.addr_width} bits of an address",
        )
        require_whole("timeout", timeout, 2, 1 << 24)
        self.channel, self.channel_bytes, self.stride, self.timeout = channel, channel_bytes, stride, timeout
        super().__init__(
            {
                "i_axi": In(HBM_AXI),
                "m_axi": Out(HBM_AXI),
                "start": In(1),
                "release": In(1),
                "cleared": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        own = HBM_AXI.create()
        self._write(m, own)
        # SEC_CM: HBM.START.CLEARED -- the engine's port leads nowhere before; then it does so for good
        released = Signal()
        m.d.sync += released.eq(self.release)
        for name, member in HBM_AXI.members.items():
            engine, hbm, ours = (getattr(axi, name) for axi in (self.i_axi, self.m_axi, own))
            if member.flow is Out:
                m.d.comb += hbm.eq(Mux(released, engine, ours))
            else:
                m.d.comb += ours.eq(hbm)
                gated = name.endswith(("valid", "ready"))
                m.d.comb += engine.eq(hbm & released if gated else hbm)
        return m

    def _write(self, m: Module, axi: wiring.PureInterface) -> None:
        """Write zeros, burst by burst, all under one ID. In which order HBM takes them does not matter."""
        begun, to_send, unanswered = Signal(), Signal(), Signal(range(OUTSTANDING + 1))
        offset_bits = BURST_BYTES.bit_length() - 1
        number = Signal(self.channel_bytes.bit_length() - 1 - offset_bits)
        beats_remaining = Signal(range(BEATS), init=BEATS - 1)
        launch, answered = Signal(), Signal()
        line_free = ~axi.wvalid | (axi.wready & axi.wlast)
        gap = self.stride.bit_length() - self.channel_bytes.bit_length()
        target = Cat(Const(0, offset_bits), number, Const(0, gap), Const(self.channel, HBM_AXI.addr_width))
        m.d.comb += [
            launch.eq(to_send & (unanswered != OUTSTANDING) & (~axi.awvalid | axi.awready) & line_free),
            answered.eq(axi.bvalid & ~self.cleared),
            axi.awlen.eq(BEATS - 1),
            axi.awsize.eq(HBM_AXI.full_size),
            axi.awburst.eq(BURST_INCR),
            axi.wstrb.eq(~0),
            axi.wlast.eq(beats_remaining == 0),
            axi.bready.eq(1),
        ]
        m.d.sync += unanswered.eq(unanswered + launch - answered)
        with m.If(self.start & ~begun):
            m.d.sync += [begun.eq(1), to_send.eq(1)]
        with m.If(launch):
            m.d.sync += [
                axi.awvalid.eq(1),
                axi.awaddr.eq(target[: HBM_AXI.addr_width]),
                axi.wvalid.eq(1),
                number.eq(number + 1),
            ]
            m.d.sync += to_send.eq(~number.all() if len(number) else 0)
        with m.Else():
            with m.If(axi.awready):
                m.d.sync += axi.awvalid.eq(0)
            with m.If(axi.wready & axi.wlast):
                m.d.sync += axi.wvalid.eq(0)
        with m.If(axi.wvalid & axi.wready):
            m.d.sync += beats_remaining.eq(beats_remaining - 1)  # from 0 to the first of the next burst

        waited = Signal(range(self.timeout + 1))
        late = waited == self.timeout
        m.d.sync += waited.eq(Mux(answered | (unanswered == 0), 0, waited + ~late))
        with m.If(late | (answered & (axi.bresp != RESP_OKAY))):
            m.d.sync += self.error.eq(1)
        with m.If(begun & ~to_send & (unanswered == 0)):
            m.d.sync += self.cleared.eq(1)


class Clear(wiring.Component):
    """Writes zeros over every channel that the engine uses, then connects engine and HBM for good.

    Until then the engine's ports take nothing and answer nothing. All channels are written at once, a beat of 32 bytes
    a cycle each: 512 MiB take 2**24 cycles, 67 ms at 250 MHz, and what HBM itself adds for refreshes. After an error
    the ports are never connected; only a reset begins anew. The engine's ports and those of HBM
    must be reset together.

    Parameters
    ----------
    channels : int
        Channels that the engine uses.
    channel_bytes : int
        Bytes of each, a power of two of at least 512; channel ``k`` lies at address ``k * stride``.
    first : int
        Number of the first of them.
    stride : int
        Bytes from one channel to the next, a power of two. Default: ``channel_bytes``. More if only the beginning of
        each is zeroed, as in simulations.
    timeout : int
        Cycles without an answer that are an error.

    Members
    -------
    i_axi : In(HBM_AXI).array(channels)
        From the engine.
    m_axi : Out(HBM_AXI).array(channels)
        To HBM.
    start : In(1)
        HBM is up. After the first cycle in which it is 1, it is ignored.
    done : Out(1)
        Everything was zeroed and the ports are connected. Stays.
    error : Out(1)
        HBM reported an error, or an answer is overdue. Stays.

    Countermeasures
    ---------------
    HBM.START.CLEARED
        The engine reaches HBM only when every byte of its channels was overwritten with zeros.
    """

    def __init__(
        self, channels: int, channel_bytes: int, first: int = 0, stride: int = 0, timeout: int = TIMEOUT
    ) -> None:
        require_whole("channels", channels, 1, PSEUDO_CHANNELS)
        require_whole("first", first, 0, PSEUDO_CHANNELS - channels)
        self.parts = [
            ClearChannel(channel=first + place, channel_bytes=channel_bytes, stride=stride, timeout=timeout)
            for place in range(channels)
        ]
        super().__init__(
            {
                "i_axi": In(HBM_AXI).array(channels),
                "m_axi": Out(HBM_AXI).array(channels),
                "start": In(1),
                "done": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        failed = reduce(or_, (part.error for part in self.parts))
        cleared = reduce(and_, (part.cleared for part in self.parts))
        m.d.sync += [self.error.eq(failed), self.done.eq(cleared & ~failed)]
        for place, part in enumerate(self.parts):
            m.submodules[f"channel_{place}"] = part
            connect(m, flipped(self.i_axi[place]), part.i_axi)
            connect(m, part.m_axi, flipped(self.m_axi[place]))
            m.d.comb += [part.start.eq(self.start), part.release.eq(self.done)]
        return m
