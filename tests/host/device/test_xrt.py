"""The XRT transport and its preflight, with a stand-in for pyxrt. No card is touched."""

import importlib
import subprocess
import sys

import numpy as np
import pytest

from host.device import hold, preflight, xrt
from host.device.driver import Driver
from host.device.transport import MAP_LOST, open_transport
from host.keyfile import read_root_file
from omap.errors import DeviceError, InputError
from omap.regmap import Fault, State
from omap.wire import LEAST_RING_LINES, LINE_BYTES
from tests.support.host.clients import DriverClient, mixed
from tests.support.host.fake_pyxrt import BusError, FakeXrt


@pytest.fixture
def open_fake(params, key_file, tmp_path, monkeypatch):
    """Return a function that opens the transport on a fake with given properties; closed at the end."""
    monkeypatch.setattr(xrt, "_SHOW_SECONDS", 0.2)
    monkeypatch.delenv(xrt.EMULATION_VARIABLE, raising=False)
    entered = []

    def open_(params=params, ring_lines=LEAST_RING_LINES, device="0", fake=None, uuid=b"one", **properties):
        if fake is None:
            fake = FakeXrt(params, read_root_file(key_file), **properties).__enter__()
            entered.append(fake)
        xclbin = fake.xclbin(tmp_path, uuid)
        transport = open_transport("xrt", params, ring_lines=ring_lines, xclbin=xclbin, device=device)
        entered.append(transport)
        transport.fake = fake
        return transport

    yield open_
    for thing in reversed(entered):
        thing.__exit__(None, None, None)


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("device", ["0", 0, "0000:3b:00.1"])
def test_both_generations_of_the_interface(open_fake, generation, device, params, key_file):
    transport = open_fake(generation=generation, device=device)
    (arguments,) = transport.fake.calls
    assert [type(value).__name__ for value in arguments.values()] == ["Bo", "int", "int"]
    assert (arguments[1], arguments[2]) == (LEAST_RING_LINES, 0)
    with Driver(transport, params) as driver:
        driver.start()
        assert len(DriverClient(driver, read_root_file(key_file)).run(mixed(params, 1, 30))) == 30
    assert transport.fake.device.state is State.STOPPED
    assert transport.fake.device._root_key == b""


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """A kernel that shows the card, so that it can be held."""
    monkeypatch.setattr(hold, "PCI_DEVICES", tmp_path)
    (tmp_path / "0000:3b:00.1").mkdir()
    (tmp_path / "0000:3b:00.1" / "vendor").write_text("0x10ee\n")


def test_a_card_has_one_driver_at_a_time(open_fake, shown):
    first = open_fake()
    with pytest.raises(DeviceError, match=r"another process drives the card 0000:3b:00\.1: end it first"):
        open_fake(fake=first.fake)
    assert first.read("IDENTITY")
    first.close()
    with pytest.raises(DeviceError, match="has stopped it"):  # it is free, and needs a reset
        open_fake(fake=first.fake)
    open_fake(fake=first.fake, uuid=b"two")  # an opening that failed holds nothing


def test_a_card_is_free_when_its_driver_was_killed(shown, tmp_path):
    code = "import sys, time; from host.device import hold; from pathlib import Path\n"
    code += "hold.PCI_DEVICES = Path(sys.argv[1])\nwith hold.held('0000:3b:00.1'): print(); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.read(1)
        with pytest.raises(DeviceError, match="another process drives"), hold.held("0000:3b:00.1"):
            pass
        holder.kill()
    with hold.held("0000:3b:00.1"), hold.held(""), hold.held("0000:ff:1f.7"):  # the latter are not shown
        pass


def test_only_requests_can_be_written_one_at_a_time(open_fake):
    transport = open_fake()
    transport.fake.stop.set()
    transport.fake.threads[0].join()
    with pytest.raises(DeviceError, match="RING_LINES can't be written: XRT gives no access to registers"):
        transport.write("RING_LINES", 16)
    transport.write("REQUEST", 1)
    assert transport.read("REQUEST") == 1
    with pytest.raises(DeviceError, match="still serving an earlier request"):
        transport.write("REQUEST", 1)
    transport.fake.device.step()
    assert transport.read("REQUEST") == 0
    transport.fake.stop.clear()
    transport.fake.threads.clear()
    transport.fake.dead = True


@pytest.mark.parametrize("value", [0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
def test_every_32_bit_argument_is_a_c_int(value):
    assert -(1 << 31) <= xrt.scalar(value) < 1 << 31
    assert xrt.scalar(value) % (1 << 32) == value


@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_what_pyxrt_would_leave_out_is_refused(value):
    with pytest.raises(InputError, match="is no 32-bit argument: pass 64-bit numbers in two"):
        xrt.scalar(value)


def test_64_bit_arguments_are_split():
    low, high = xrt.halves(0xFEDC_BA98_8765_4321)
    assert (low % (1 << 32), high % (1 << 32)) == (0x8765_4321, 0xFEDC_BA98)


def test_the_fake_leaves_out_what_the_real_one_does_and_then_falls(params):
    """So that the tests above would notice if an argument were passed wrongly."""
    fake = FakeXrt(params, bytes(32))
    kernel = fake.module().kernel.__call__
    for value in (1 << 31, 1.0, np.int64(8), "8"):
        with pytest.raises(BusError):
            kernel(None, value)
    assert fake.calls == [{}] * 4


# -- what people run into -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flaw", "match"),
    [
        ("no device", r"XRT finds no card 0 \(Could not open.*xrt-smi examine.*xocl"),
        ("offline", r"card 0 is offline: `xrt-smi reset"),
        ("bad xclbin", r"is no xclbin that XRT understands \(Invalid xclbin\)"),
        ("no kernel", r"has no kernel omap_kernel, only vadd: it is another program"),
        ("platform", r"built for the platform xilinx_u280_gen3x16_xdma_3; this card runs xilinx_u55c_gen3x16_xdma_3"),
        ("no host bank", r"does not use host memory: link it with sp=omap_1.m_axi_host:HOST\[0\]"),
        ("no hbm", r"does not use HBM: link it with sp=omap_1.m_axi_hbm00:HBM\[0\]"),
        (
            "hbm moved",
            r"has HBM\[2\] at 0x30000000, and the kernel looks for it at 0x40000000: .*m_axi_hbm02:HBM\[2\]",
        ),
        ("busy", r"did not load .*busy\): another program uses the card"),
        (
            "refused",
            r"did not load .*Invalid argument\): it must be built for .*xilinx_u55c_gen3x16_xdma_base_3; `dmesg`",
        ),
        ("no buffer", r"gave no host memory for \d+ bytes \(.*not permitted\).*HOST\[0\].*configure --host-mem"),
        ("silent", r"has written nothing into host memory: .*is m_axi_host linked to HOST\[0\]"),
        ("dies", r"the kernel is not running any more, XRT says ERROR: see `dmesg`"),
    ],
)
@pytest.mark.parametrize("generation", [1, 2])
def test_each_complaint_has_a_remedy(open_fake, generation, flaw, match):
    flaws = {flaw} if flaw != "dies" else {"dies", "silent"}
    with pytest.raises(DeviceError, match=match):
        open_fake(generation=generation, flaws=flaws)


def test_where_banks_lie_is_not_asked_of_an_older_xrt(open_fake):
    assert open_fake(flaws={"hbm moved", "old mems"}).read("STATUS") == State.IDLE


def test_a_kernel_that_dies_later_is_noticed(open_fake, params):
    transport = open_fake()
    with Driver(transport, params) as driver:
        driver.start()
        transport.fake.dead = True
        with pytest.raises(DeviceError, match=rf"not running any more.*{MAP_LOST}"):
            driver.exchange(bytes(LINE_BYTES))


@pytest.mark.parametrize("emulated", [False, True])
def test_an_emulator_may_take_longer_than_a_card(open_fake, params, monkeypatch, emulated):
    if not emulated:
        with pytest.raises(DeviceError, match="has written nothing into host memory"):
            open_fake(flaws={"late"})
        return
    monkeypatch.setenv(xrt.EMULATION_VARIABLE, "hw_emu")
    with Driver(open_fake(flaws={"late"}), params, timeout=7.0) as driver:
        assert driver.timeout == 7.0 * driver.transport.patience > 1000.0
        driver.start()


def serve_once(transport, params):
    with Driver(transport, params) as driver:
        driver.start()
        driver.check()
    assert transport.fake.card.device.state is State.STOPPED


RESET = r"`xrt-smi reset -d 0000:3b:00\.1`"


@pytest.mark.parametrize("generation", [1, 2])
def test_a_program_that_was_served_before_needs_a_reset(open_fake, params, generation):
    transport = open_fake(generation=generation)
    serve_once(transport, params)
    for _ in range(2):
        with pytest.raises(DeviceError, match=rf"an earlier run has stopped it, and XRT does not load again.*{RESET}"):
            open_fake(fake=transport.fake)
    transport.fake.reset()
    serve_once(open_fake(fake=transport.fake), params)


def test_another_program_needs_no_reset(open_fake, params):
    transport = open_fake()
    serve_once(transport, params)
    serve_once(open_fake(fake=transport.fake, uuid=b"two"), params)
    serve_once(open_fake(fake=transport.fake), params)


@pytest.mark.parametrize("fault", [False, True])
def test_a_kernel_that_runs_for_a_process_that_is_gone_needs_a_reset(open_fake, params, fault):
    """The process crashed, or its device latched a fault, after which a kernel does not stop."""
    abandoned = open_fake()
    if fault:
        with abandoned.fake.still():
            abandoned.fake.device._set_state(State.FAULT, Fault.PAGE_TAG)
        abandoned.close()
    with pytest.raises(DeviceError, match=rf"may still be running for an earlier process, then {RESET}"):
        open_fake(fake=abandoned.fake)
    assert abandoned.fake.card.running
    abandoned.fake.reset()
    serve_once(open_fake(fake=abandoned.fake), params)


def test_a_kernel_that_ends_while_it_is_being_stopped_is_not_waited_for(open_fake, monkeypatch):
    transport = open_fake()
    fake, naps = transport.fake, []
    fake.stop.set()
    fake.threads[0].join()

    def nap(seconds):
        naps.append(seconds)
        fake.dead = True
        assert len(naps) < 10

    monkeypatch.setattr(xrt.time, "sleep", nap)
    transport.close()
    assert len(naps) == 1


@pytest.mark.parametrize(
    ("host_memory", "enough"),
    [(0, False), (4096, False), ("0 Byte", False), ("4 KB", False), (1 << 30, True), ("4 GB", True), (None, True)],
)
def test_host_memory_must_be_enabled_and_large_enough(open_fake, host_memory, enough):
    if enough:
        open_fake(host_memory=host_memory)
        return
    have = "no host memory is enabled" if host_memory in (0, "0 Byte") else "4096 bytes of host memory are enabled"
    with pytest.raises(DeviceError, match=rf"rings and pages take \d+ bytes, and {have}: .*configure --host-mem"):
        open_fake(host_memory=host_memory)


def test_over_a_gigabyte_takes_huge_pages(params, tmp_path, monkeypatch):
    pages = tmp_path / "nr_hugepages"
    monkeypatch.setattr(preflight, "_HUGE_PAGES", pages)
    module = FakeXrt(params, bytes(32), host_memory=1 << 30).module()
    card = module.device(0)
    size = 3 << 30
    pages.write_text("1\n")
    with pytest.raises(DeviceError, match=r"huge pages of 1 GB, of which there are 1: boot with .*hugepages=\d+`"):
        preflight.check_host_memory(module, card, size)
    pages.write_text("16\n")
    with pytest.raises(DeviceError) as refusal:
        preflight.check_host_memory(module, card, size)
    assert "huge" not in str(refusal.value)
    with pytest.raises(DeviceError, match=r"a kernel reaches 17179869184: plan a smaller map"):
        preflight.check_host_memory(module, card, (16 << 30) + 1)


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ('{"shared_host_mem_size_bytes": "0x100000"}', 1 << 20),
        ('{"shared_host_mem_size_bytes": 4096}', 4096),
        ('{"shared_host_mem_size_bytes": "many"}', None),
        ("[]", None),
        ("NA", None),
        ("{}", None),
    ],
)
def test_what_xrt_says_of_host_memory(said, count):
    assert preflight._enabled_bytes(said) == count


def test_without_xrt_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyxrt", None)
    monkeypatch.delenv("XILINX_XRT", raising=False)
    with pytest.raises(DeviceError, match=r"can't be loaded.*install XRT.*source /opt/xilinx/xrt/setup.sh"):
        preflight.find_pyxrt()
    monkeypatch.setenv("XILINX_XRT", "/opt/xilinx/xrt")
    with pytest.raises(DeviceError, match=r"XILINX_XRT is /opt/xilinx/xrt, so its pyxrt is for another Python"):
        preflight.find_pyxrt()


def test_a_card_takes_no_key_and_needs_a_program(params, key_file, tmp_path):
    with pytest.raises(InputError, match="a card holds its own root key"):
        open_transport("xrt", params, key_file=key_file)
    with pytest.raises(InputError, match="give --xclbin"):
        open_transport("xrt", params)
    with FakeXrt(params, bytes(32)), pytest.raises(DeviceError, match=r"the xclbin .*none can't be read"):
        open_transport("xrt", params, xclbin=tmp_path / "none")


def test_importing_the_transport_does_not_need_xrt():
    assert "pyxrt" not in sys.modules
    importlib.reload(xrt)
