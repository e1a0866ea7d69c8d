# amaranth: UnusedElaboratable=no
"""The card without a shell, with nothing but a count in the place of its engine: when that leaves its reset."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from boards.gateware.core import BoardCore
from boards.u55c_direct.top import DirectCard
from tests.support.rtl.engines import TIGHT

CHANNELS = range(sum(TIGHT.channels.values()))
CYCLES = 400
"""More than it takes to clear all channels here, and less than the time after which a channel counts as dead."""


@pytest.mark.sec_cm("BOARD.HBM.CLEARED")
@pytest.mark.parametrize("answers", ["none", "errors", "good"])
def test_the_engine_stays_in_reset_until_all_of_hbm_was_overwritten(monkeypatch, answers):
    """One channel does not answer, or answers with errors, or is as good as the others."""
    count = Signal(16)

    def counting(self, platform):
        m = Module()
        m.d.sync += count.eq(count + 1)
        return m

    monkeypatch.setattr(BoardCore, "elaborate", counting)
    card = DirectCard(TIGHT, channel_bytes=1 << 12)
    seen = []

    async def bench(ctx):
        async def cycle():
            ctx.set(card.clk, 1)
            await ctx.delay(1e-6)
            ctx.set(card.clk, 0)
            await ctx.delay(1e-6)

        ctx.set(card.rst_n, 1)
        for channel in CHANNELS:
            ctx.set(getattr(card, f"AXI_{channel:02}_AWREADY"), 1)
            ctx.set(getattr(card, f"AXI_{channel:02}_WREADY"), 1)
        for _ in range(50):
            await cycle()
        seen.append(ctx.get(count))
        ctx.set(card.hbm_up, 1)
        owed = dict.fromkeys(CHANNELS, 0)
        for _ in range(CYCLES):
            for channel in CHANNELS:
                answer = owed[channel] > 0 and not (answers == "none" and channel == 3)
                ctx.set(getattr(card, f"AXI_{channel:02}_BVALID"), answer)
                ctx.set(getattr(card, f"AXI_{channel:02}_BRESP"), 2 if answers == "errors" and channel == 3 else 0)
                last = getattr(card, f"AXI_{channel:02}_WVALID"), getattr(card, f"AXI_{channel:02}_WLAST")
                owed[channel] += all(map(ctx.get, last)) - answer
            await cycle()
        seen.append(ctx.get(count))

    simulator = Simulator(card)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen[0] == 0
    assert (seen[1] > 0) == (answers == "good")
