"""cocotb tests of the BAR adapter, between a master and a memory that nobody here wrote; ``test_bar.py`` runs them."""

import itertools
import random

import cocotb
from cocotb.triggers import Combine
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteRam, AxiMaster, AxiResp

from boards.gateware.bar import BarAdapter
from sim.bench.cocotb_bench import CocotbBench

BASE = 0x38_4000_0000
SIZE = 4096


def component(**_parameters):
    return BarAdapter()


async def start(dut):
    await CocotbBench.start(dut, component())
    master = AxiMaster(AxiBus.from_prefix(dut, "s_axi_"), dut.clk, dut.rst)
    registers = AxiLiteRam(AxiLiteBus.from_prefix(dut, "m_axi_"), dut.clk, dut.rst, size=SIZE)
    return master, registers


def pause(*interfaces):
    for interface in interfaces:
        for channel in interface:
            drawn = random.Random(random.getrandbits(32))
            channel.set_pause_generator(drawn.random() < 0.5 for _ in itertools.count())


@cocotb.test()
@cocotb.parametrize(busy=[False, True])
async def words_go_where_they_should(dut, busy):
    """Words written through the adapter are in the memory, and are read back."""
    master, registers = await start(dut)
    if busy:
        ours, theirs = master.write_if, registers.write_if
        pause((ours.aw_channel, ours.w_channel, ours.b_channel))
        pause((theirs.aw_channel, theirs.w_channel, theirs.b_channel))
        pause((master.read_if.ar_channel, master.read_if.r_channel))
        pause((registers.read_if.ar_channel, registers.read_if.r_channel))
    expected = bytearray(SIZE)
    for _ in range(100):
        at, value = random.randrange(0, SIZE, 4), random.randbytes(4)
        answer = await master.write(BASE + at, value, size=2)
        assert answer.resp == AxiResp.OKAY
        expected[at : at + 4] = value
        assert registers.read(0, SIZE) == expected
    for at in random.sample(range(0, SIZE, 4), 100):
        answer = await master.read(BASE + at, 4, size=2)
        assert (answer.resp, answer.data) == (AxiResp.OKAY, expected[at : at + 4])


@cocotb.test()
async def reads_and_writes_at_once(dut):
    """Many accesses under way at once, all IDs of the bus among them."""
    master, registers = await start(dut)
    registers.write(0, bytes(range(256)) * (SIZE // 512))
    below, above = random.sample(range(0, SIZE // 2, 4), 64), random.sample(range(SIZE // 2, SIZE, 4), 64)

    async def read(at, name):
        answer = await master.read(BASE + at, 4, size=2, arid=name)
        assert answer.data == registers.read(at, 4)

    async def write(at, name):
        await master.write(BASE + at, at.to_bytes(4, "big"), size=2, awid=name)
        assert registers.read(at, 4) == at.to_bytes(4, "big")

    tasks = [cocotb.start_soon(read(at, n % 16)) for n, at in enumerate(below)]
    tasks += [cocotb.start_soon(write(at, n % 16)) for n, at in enumerate(above)]
    await Combine(*tasks)


@cocotb.test()
async def all_else_is_refused(dut):
    """Wider and narrower beats, and bursts, touch nothing; a word is served after each."""
    master, registers = await start(dut)
    expected = bytearray(random.randbytes(SIZE))
    registers.write(0, bytes(expected))
    for size, length in ((0, 1), (1, 2), (3, 8), (6, 8), (6, 64), (2, 8), (2, 64), (6, 1024), (6, 2048)):
        at = random.randrange(0, SIZE // 2, 64)
        answer = await master.read(BASE + at, length, size=size)
        assert (answer.resp, answer.data) == (AxiResp.SLVERR, bytes(length))
        answer = await master.write(BASE + at, random.randbytes(length), size=size)
        assert answer.resp == AxiResp.SLVERR
        assert registers.read(0, SIZE) == expected
        await master.write(BASE + at, length.to_bytes(4, "big"), size=2)
        expected[at : at + 4] = length.to_bytes(4, "big")
