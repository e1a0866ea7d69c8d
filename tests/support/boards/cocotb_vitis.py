"""cocotb tests of the kernel, driven as XRT does, between models from elsewhere; ``test_shell.py`` runs them."""

import random
from types import SimpleNamespace

import cocotb
from cocotb.task import bridge, resume
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from boards.u55c_vitis import top
from host.device.xrt import XrtTransport
from omap.regmap import BY_NAME, IDENTITY, hbm_pointer
from tests.support.boards.shell import CHANNELS, Shell, shell_verilog
from tests.support.boards.shell_use import (
    ENDED,
    LAYOUT,
    START,
    BusTransport,
    Registers,
    Use,
    at_rest,
    host_time,
    resume_until,
    stays_ended,
)

ADDRESSES = 0x20_0000_0000, 0x23_FFFF_0000
"""Where the buffer lies, before and after the reset: in HOST[0], which begins at the first of these."""

ARGUMENTS = BY_NAME["BUFFER_LOW"].offset, BY_NAME["RING_LINES"].offset, BY_NAME["REQUEST"].offset


def verilog():
    """Return what is simulated."""
    return shell_verilog()


class Kernel:
    """A kernel as ``pyxrt`` shows it, with the real one's ports behind it.

    A start is what XRT's driver makes of it (xocl, ``cu_hls.c``): no interrupts; every word of the arguments from the
    first to the last, those of HBM's banks among them, whether they were set or not; then the start bit. The state is
    CTRL, polled until it says once that the kernel has ended. Read in XRT's source, unverified on a card.
    """

    def __init__(self, registers):
        self.registers, self.completed = registers, False

    def group_id(self, argument):
        return argument

    def __call__(self, buffer, ring_lines, request):
        words = dict(zip(ARGUMENTS, (buffer.address & 0xFFFF_FFFF, ring_lines, request), strict=True))
        words[BY_NAME["BUFFER_HIGH"].offset] = buffer.address >> 32
        for name in ("GIER", "IER"):
            self.registers.write(name, 0)
        for offset in range(ARGUMENTS[0], hbm_pointer(CHANNELS - 1) + 8, 4):
            self.registers.store(offset, words.get(offset, random.getrandbits(32)))
        self.registers.write("CTRL", START)
        return SimpleNamespace(state=self.state)

    def state(self):
        if not self.completed:
            control = self.registers.read("CTRL")
            assert control in (START, ENDED)
            self.completed = control == ENDED
        return SimpleNamespace(name="ERT_CMD_STATE_COMPLETED" if self.completed else "???")


def opened(shell, kernel, address):
    """Return the transport of users, which has allocated its buffer and started the kernel."""

    def buffer(card, size, flags, group):
        memory = shell.allocate(size, address)
        return SimpleNamespace(address=address, map=lambda: memory, sync=lambda *_: None)

    buffer.flags = SimpleNamespace(host_only=2)
    pyxrt = SimpleNamespace(bo=buffer, xclBOSyncDirection=SimpleNamespace(XCL_BO_SYNC_BO_TO_DEVICE=0))
    return XrtTransport(LAYOUT, pyxrt, None, kernel)


def life(shell, master, registers, rng):
    """Two lives of a kernel: the first ends by a reset, in flight; the second by a stop."""
    with host_time(shell):
        use = Use(shell, opened(shell, Kernel(registers), ADDRESSES[0]), rng)
        use.format()  # by the counter REQUESTS
        session = use.session(40)
        use.compare()
        use.leave_in_flight(session)
        resume(shell.wait)(rng.randrange(100, 400))
        resume(shell.restart)()
        assert registers.read("RING_LINES") == 0

        shell.pause(master)
        shell.litter()
        kernel = Kernel(registers)
        transport = opened(shell, kernel, ADDRESSES[1])
        use = Use(shell, BusTransport(registers, transport.buffer), rng)
        use.format()  # by the register
        use.session(24)
        use.compare()
        transport.close()
        resume_until(kernel.state, lambda state: state.name == "ERT_CMD_STATE_COMPLETED")
        at_rest(registers)
        stays_ended(shell, registers, transport.buffer)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def the_kernel_lives_as_xrt_drives_it(dut):
    """Start, format, operations, reset, second start, operations, stop."""
    shell = Shell(dut)
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, top.CONTROL), **shell.ends)

    async def load(offset):
        answer = await master.read(offset, 4)
        assert answer.resp == AxiResp.OKAY
        return int.from_bytes(answer.data, "little")

    async def store(offset, value):
        answer = await master.write(offset, value.to_bytes(4, "little"))
        assert answer.resp == AxiResp.OKAY

    shell.litter()
    await shell.restart()
    assert await load(BY_NAME["IDENTITY"].offset) == IDENTITY  # asked for in the first cycle that it may be
    await bridge(life)(shell, master, Registers(load, store), random.Random(random.getrandbits(32)))
    cocotb.log.info("%d cycles", shell.cycle)
