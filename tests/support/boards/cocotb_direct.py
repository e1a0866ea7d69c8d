"""cocotb tests of the whole card without a shell, on a model of the PCIe block from elsewhere."""

import random

import cocotb
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, RisingEdge

from boards.u55c_direct import top
from omap.regmap import BY_NAME, IDENTITY
from tests.support.boards.pcie_card import HBM_RESET, card_verilog
from tests.support.boards.shell import JUNK, Surroundings
from tests.support.boards.shell_use import (
    LAYOUT,
    BusTransport,
    Registers,
    Use,
    ended,
    host_time,
    resume_until,
    start,
    stays_ended,
)
from tests.support.boards.top_run import CLEARED_BYTES, SETTINGS_EVERY
from tests.support.designs.pcie_model import Slot


def verilog():
    """Return what is simulated."""
    return card_verilog()


class Card(Surroundings):
    """The card in a slot, with HBM that has not come up."""

    def __init__(self, dut):
        dut.hbm_up.value = 0
        super().__init__(dut, dut.clk, getattr(dut, HBM_RESET), top.hbm_port)
        self.slot = Slot(dut)
        self.litter()

    @property
    def cleared(self):
        """For each HBM channel whether its beginning was zeroed, and nothing more."""
        return [
            region.mem.read(0, 2 * CLEARED_BYTES) == bytes(CLEARED_BYTES) + JUNK * CLEARED_BYTES
            for region in self.hbm_space
        ]

    async def load(self, offset):
        """Read a word of the BAR."""
        return int.from_bytes(await self.slot.bar.read(offset, 4), "little")

    async def store(self, offset, value):
        """Write a word of the BAR."""
        await self.slot.bar.write(offset, value.to_bytes(4, "little"))

    async def plug(self):
        """Have the host find the card and let it ask for memory."""
        await self.slot.start()
        await ClockCycles(self.clock, 2 * SETTINGS_EVERY)

    async def reset_function(self):
        """Reset the function as PG213 describes it, because the model does not; and give it what a host restores."""
        self.dut.reset_asked.value = 1
        await RisingEdge(self.dut.reset_done)
        self.words.clear()
        await self.slot.device.clear_master()
        self.dut.reset_asked.value = 0
        await self.slot.device.set_master()
        await ClockCycles(self.clock, 20)

    def opened(self, registers):
        """Wait as a driver does until the registers can be read, and return a transport to the started card."""
        resume_until(lambda: registers.read("IDENTITY"), lambda value: value == IDENTITY)
        assert all(self.cleared)
        assert registers.read("RING_LINES") == 0
        address, buffer = self.slot.host.alloc_region(LAYOUT.size)
        buffer = memoryview(buffer)
        buffer[: LAYOUT.commands] = bytes(LAYOUT.commands)
        start(registers, address)
        return BusTransport(registers, buffer)


def life(card, operations, rng):
    """Two lives of a card: the first ends by a reset of the function, in flight; the second by a stop."""
    registers = Registers(card.load, card.store)
    with host_time(card):
        use = Use(card, card.opened(registers), rng)
        use.format()
        session = use.session(operations)
        use.compare()
        use.leave_in_flight(session)
        resume(card.wait)(rng.randrange(100, 1000))
        card.litter()
        resume(card.reset_function)()
        assert registers.read("IDENTITY") == 0

        card.slot.pause()
        use = Use(card, card.opened(registers), rng)
        use.format()
        use.session(24)
        use.compare()
        use.driver.stop()
        ended(registers)
        stays_ended(card, registers, use.transport.buffer)


async def lives(dut, operations):
    """Have a card live: HBM comes up late and is zeroed; start, format, operations, reset, and all that again."""
    card = Card(dut)
    await card.plug()
    for _ in range(5):
        assert await card.load(BY_NAME["IDENTITY"].offset) == 0
    assert not any(card.cleared)
    dut.hbm_up.value = 1
    await bridge(life)(card, operations, random.Random(random.getrandbits(32)))
    assert card.slot.host.order != sorted(card.slot.host.order)
    cocotb.log.info("%d cycles", card.cycle)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def the_card_lives_as_its_host_drives_it(dut):
    """As below, but short."""
    await lives(dut, 40)


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def a_thousand_operations_and_a_reset_in_flight(dut):
    """On the way of every TLP to and from the host: what the card writes is what the model says, to the byte."""
    await lives(dut, 1000)
