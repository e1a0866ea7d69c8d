"""cocotb tests of the card without a shell, between models from elsewhere; ``test_shell.py`` runs them."""

import itertools
import random

import cocotb
from cocotb.task import bridge, resume
from cocotbext.axi import AxiBus, AxiMaster, AxiResp

from boards.u55c_direct import top
from boards.u55c_direct.vendor import BAR_AXI
from omap.regmap import BY_NAME, IDENTITY
from tests.support.boards.shell import JUNK, Shell, shell_verilog
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
from tests.support.boards.top_run import CLEARED_BYTES

TARGET = "u55c_direct"
BAR = 0x38_4000_0000
ADDRESSES = 0x1_0000_0000, 0xFF_FFC0_0000
"""Where the buffer lies, before and after the reset: wherever the IOMMU was told."""

WORD_SIZE = 2
"""AxSIZE of a word."""


def verilog():
    """Return what is simulated."""
    return shell_verilog(TARGET)


def cleared(shell):
    """Return for each HBM channel whether its beginning was zeroed, and nothing more."""
    return [
        region.mem.read(0, 2 * CLEARED_BYTES) == bytes(CLEARED_BYTES) + JUNK * CLEARED_BYTES
        for region in shell.hbm_space
    ]


def opened(shell, registers, address):
    """Wait as a driver does until the registers can be read, and return a transport to the started card."""
    resume_until(lambda: registers.read("IDENTITY"), lambda value: value == IDENTITY)
    assert all(cleared(shell))
    assert registers.read("RING_LINES") == 0
    buffer = shell.allocate(LAYOUT.size, address)
    buffer[: LAYOUT.commands] = bytes(LAYOUT.commands)
    start(registers, address)
    return BusTransport(registers, buffer)


def life(shell, master, registers, rng):
    """Two lives of a card: the first ends by a reset of the bridge, in flight; the second by a stop."""
    with host_time(shell):
        use = Use(shell, opened(shell, registers, ADDRESSES[0]), rng)
        use.format()
        session = use.session(40)
        use.compare()
        use.leave_in_flight(session)
        resume(shell.wait)(rng.randrange(100, 400))
        shell.litter()
        resume(shell.restart)()
        assert registers.read("IDENTITY") == 0

        shell.pause(master)
        use = Use(shell, opened(shell, registers, ADDRESSES[1]), rng)
        use.format()
        use.session(24)
        use.compare()
        use.driver.stop()
        ended(registers)
        stays_ended(shell, registers, use.transport.buffer)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def the_card_lives_as_its_host_drives_it(dut):
    """HBM comes up late and is zeroed; start, format, operations, reset, second start, operations, stop."""
    shell = Shell(dut, TARGET)
    master = AxiMaster(AxiBus.from_prefix(dut, top.BAR), **shell.ends)
    names = itertools.cycle(range(1 << BAR_AXI.id_width))

    async def load(offset):
        answer = await master.read(BAR + offset, 4, size=WORD_SIZE, arid=next(names))
        assert answer.resp == AxiResp.OKAY
        return int.from_bytes(answer.data, "little")

    async def store(offset, value):
        answer = await master.write(BAR + offset, value.to_bytes(4, "little"), size=WORD_SIZE, awid=next(names))
        assert answer.resp == AxiResp.OKAY

    shell.litter()
    await shell.restart()
    for _ in range(20):  # the first one in the first cycle that it may be
        assert await load(BY_NAME["IDENTITY"].offset) == 0
        await shell.wait(50)
    assert not any(cleared(shell))
    dut.hbm_up.value = 1
    await shell.wait(20)
    assert await load(BY_NAME["IDENTITY"].offset) == 0
    await bridge(life)(shell, master, Registers(load, store), random.Random(random.getrandbits(32)))
    cocotb.log.info("%d cycles", shell.cycle)
