"""cocotb tests of our end of PCIe on a foreign model of the hard block; ``tests/rtl/pcie/test_hard_block.py`` runs
them."""

import random

import cocotb
import pytest
from cocotb.triggers import ClockCycles, Combine, Event, RisingEdge, with_timeout
from cocotbext.axi import AxiResp

from rtl.pcie.restart import RESET_CYCLES
from tests.support.designs.pcie_flat import PATIENCE, PcieFlat
from tests.support.designs.pcie_model import LINE, RAM_BYTES, Bench

IDS, REGISTERS = 64, 4096


def component(**_parameters):
    return PcieFlat()


def place(area=RAM_BYTES, most=20):
    """Return place and size of an access, in bytes."""
    lines = random.choice([1, 2, random.randint(1, most)])
    return random.randrange(area // LINE - lines) * LINE, lines * LINE


async def check_memory(bench, expected, rounds, *, most=20):
    """Have each id write an area of its own and read it as soon as that is answered, all at once."""
    area = RAM_BYTES // IDS

    async def use(name):
        for _ in range(rounds):
            at, size = place(area, min(most, area // LINE - 1))
            at += name * area
            data = random.randbytes(size)
            expected[at : at + size] = data
            assert (await bench.master.write(bench.base + at, data, awid=name)).resp == AxiResp.OKAY
            answer = await bench.master.read(bench.base + at, size, arid=name)
            assert answer.resp == AxiResp.OKAY
            assert answer.data == data

    await Combine(*(cocotb.start_soon(use(name)) for name in range(IDS)))
    assert bytes(bench.ram) == bytes(expected)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def the_host_finds_the_card_and_its_registers(dut):
    """Words and bytes go through the BAR; accesses of other sizes touch nothing."""
    bench = Bench(dut)
    await bench.start()
    bench.pause()
    expected = bytearray(REGISTERS)
    for _ in range(30):
        at, value = random.randrange(0, REGISTERS, 4), random.randbytes(4)
        await bench.bar.write(at, value)
        expected[at : at + 4] = value
    for _ in range(10):
        at, value = random.randrange(REGISTERS), random.randbytes(1)
        await bench.bar.write(at, value)
        expected[at : at + 1] = value
    for at in random.sample(range(0, REGISTERS, 4), 20):
        assert await bench.bar.read(at, 4) == expected[at : at + 4]
    assert bench.registers.read(0, REGISTERS) == expected
    for size in (8, 16, 64, 128):
        await bench.bar.write(0, random.randbytes(size))
        with pytest.raises(Exception, match="Unsuccessful completion"):
            await bench.bar.read(0, size)
        assert await bench.bar.read(4, 4) == expected[4:8]
    assert bench.registers.read(0, REGISTERS) == expected


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(payload=[128, 512], extended=[True, False], busy=[False, True])
async def memory_is_read_as_it_was_written(dut, payload, extended, busy):
    """Whatever limits the host sets, and in whatever order and pieces it answers."""
    bench = Bench(dut, payload=payload, extended=extended)
    expected = bytearray(await bench.start(read_request=random.choice([0, 2, 5])))
    bench.host.boundary = random.choice([64, 128])
    if busy:
        bench.pause()
    await check_memory(bench, expected, 2 if busy else 4)
    assert bench.host.order != sorted(bench.host.order)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_root_port_with_little_room(dut):
    """Two requests of each kind at a time: requests wait for credits, and none is lost."""
    bench = Bench(dut, payload=128, credits=(2, 16, 2, 2, 64, 1024))
    expected = bytearray(await bench.start())
    bench.host.latest = 100
    await check_memory(bench, expected, 1, most=8)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(extended=[True, False])
async def many_reads_are_under_way(dut, extended):
    """256 with tags of 8 bits, 32 without; the model objects to tags that are not allowed, or in use."""
    bench = Bench(dut, extended=extended)
    ram = await bench.start()
    bench.host.held = Event()
    reads = [cocotb.start_soon(bench.master.read(bench.base + n * LINE, LINE, arid=n % IDS)) for n in range(400)]
    await ClockCycles(dut.clk, 3000)
    assert bench.host.under_way == (256 if extended else 32)
    bench.host.held.set()
    for n, read in enumerate(reads):
        assert (await read).data == ram[n * LINE : (n + 1) * LINE]


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(kind=["refuse", "abort", "poison", "nowhere"])
async def a_bad_answer_is_an_error_of_its_read_alone(dut, kind):
    """Unsupported request, completer abort, poisoned data, an address that is no memory."""
    bench = Bench(dut)
    ram = await bench.start()
    bad = 37
    address = {n: bench.base + n * 4 * LINE for n in range(64)}
    if kind == "nowhere":
        address[bad] = 0x7000_0000_0000
    else:
        bench.host.bad[address[bad]] = kind
    reads = {n: cocotb.start_soon(bench.master.read(address[n], 4 * LINE, arid=n)) for n in range(64)}
    for n, read in reads.items():
        answer = await read
        assert answer.resp == (AxiResp.SLVERR if n == bad else AxiResp.OKAY)
        if n != bad:
            assert answer.data == ram[n * 4 * LINE : (n + 1) * 4 * LINE]
    bench.host.bad.clear()
    await check_memory(bench, bytearray(ram), 1)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_read_that_is_never_answered_is_an_error_in_the_end(dut):
    """When the block gives it up; what is read afterwards fails without being asked for."""
    bench = Bench(dut)
    await bench.start()
    bench.host.bad[bench.base] = "lose"
    read = cocotb.start_soon(bench.master.read(bench.base, 4 * LINE))
    await ClockCycles(dut.clk, 2000)
    assert not read.done()
    (lost,) = bench.host.lost
    await bench.time_out(lost)
    assert (await read).resp == AxiResp.SLVERR
    asked = len(bench.host.order)
    assert (await bench.master.read(bench.base + 4096, 4 * LINE)).resp == AxiResp.SLVERR
    assert len(bench.host.order) == asked


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def without_leave_nothing_is_asked(dut):
    """The host takes bus mastering away: requests wait, the registers still answer."""
    bench = Bench(dut)
    ram = await bench.start()
    await bench.device.clear_master()
    await ClockCycles(dut.clk, 50)
    read = cocotb.start_soon(bench.master.read(bench.base, LINE))
    write = cocotb.start_soon(bench.master.write(bench.base + LINE, bytes(LINE)))
    await ClockCycles(dut.clk, 1000)
    assert not read.done()
    assert not write.done()
    await bench.bar.write(8, b"word")
    assert await bench.bar.read(8, 4) == b"word"
    await bench.device.set_master()
    assert (await read).data == ram[:LINE]
    assert (await write).resp == AxiResp.OKAY


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(answered=[True, False])
async def a_reset_of_the_function_leaves_nothing_behind(dut, answered):
    """The model has no such reset, so the bench drives its ports: in the middle of reads and writes."""
    bench = Bench(dut)
    expected = bytearray(await bench.start())
    if not answered:
        bench.host.held = Event()
    for n in range(200):
        at, size = place()
        if n % 2:
            cocotb.start_soon(bench.master.read(bench.base + at, size, arid=n % IDS))
        else:
            cocotb.start_soon(bench.master.write(bench.base + at, random.randbytes(size), awid=n % IDS))
    await ClockCycles(dut.clk, random.randint(50, 1500))
    dut.reset_asked.value = 1
    await with_timeout(RisingEdge(dut.axi_reset), 2000, "ns")
    seen = bench.host.under_way
    await with_timeout(RisingEdge(dut.reset_done), 4 * (PATIENCE + RESET_CYCLES + 100), "ns")
    assert bench.host.under_way <= seen
    await ClockCycles(dut.clk, 20)
    assert dut.axi_reset.value
    dut.reset_asked.value = 0
    if not answered:  # what the block does at such a reset, and at its own time-out
        bench.block.active_request = [None] * 256
        bench.host.held.set()
    await ClockCycles(dut.clk, 1000)
    assert not bench.host.under_way
    assert not dut.axi_reset.value
    expected = bytearray(bench.ram)
    await check_memory(bench, expected, 1)
    await bench.bar.write(16, b"live")
    assert await bench.bar.read(16, 4) == b"live"
