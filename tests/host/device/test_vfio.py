"""The VFIO transport and its preflight, with a stand-in for the machine. No card is touched."""

from types import SimpleNamespace

import pytest

from host.device import vfio
from host.device.driver import Driver
from host.device.transport import MAP_LOST, open_transport
from host.device.vfio_system import System
from host.keyfile import read_root_file
from omap.errors import DeviceError, InputError
from omap.regmap import MIRROR, State
from omap.wire import LEAST_RING_LINES, LINE_BYTES
from tests.support.host.clients import DriverClient, mixed
from tests.support.host.fake_sysfs import ADDRESS
from tests.support.host.fake_vfio import BUS_MASTER, INTEL, BusError, FakeVfio

HUGE, SMALL_PAGE = 1 << 21, 4096


@pytest.fixture
def open_fake(params, key_file, tmp_path, monkeypatch):
    """Return a function that opens the transport on a machine with given properties; closed at the end."""
    monkeypatch.setattr(vfio, "_SHOW_SECONDS", 0.2)
    monkeypatch.setattr(vfio, "_WAKE_SECONDS", 0.05)
    entered = []

    def open_(params=params, ring_lines=LEAST_RING_LINES, device=None, **properties):
        folder = tmp_path / f"machine-{len(entered)}"
        machine = FakeVfio(folder, params, read_root_file(key_file), **properties).__enter__()
        entered.append(machine)
        transport = open_transport("vfio", params, ring_lines=ring_lines, device=device, system=machine)
        entered.append(transport)
        transport.machine = machine
        return transport

    open_.machines = entered
    yield open_
    for thing in reversed(entered):
        thing.__exit__(None, None, None)


# -- what it does ---------------------------------------------------------------------------------------------------


def test_things_happen_in_an_order_that_keeps_the_machine_safe(open_fake, params, key_file):
    transport = open_fake()
    machine = transport.machine
    assert machine.log == ["reset", "map", "bus master on", "start"]
    machine.card.registers.write("MODE", 0b101)
    with Driver(transport, params) as driver:
        driver.start()
        assert len(DriverClient(driver, read_root_file(key_file)).run(mixed(params, 1, 30))) == 30
        said = {name for name, is_so in driver.mode.items() if is_so}
        assert said == {"hbm_private", "hardware"}  # as the board says
    device = machine.card.device
    assert device.state is State.STOPPED
    assert device._root_key == b""
    assert machine.log[4:6] == ["bus master off", "unmap"]
    assert machine.log.index("free") > 5
    assert machine.log[-3:] == ["close device", "close group", "close container"]
    assert machine.clean
    assert len(transport.buffer) == 0


def test_the_fake_notices_a_card_that_uses_the_bus_when_it_must_not(open_fake):
    transport = open_fake()
    machine = transport.machine
    with machine.lock:
        machine.command &= ~BUS_MASTER
        machine.step()
    assert machine.faults == ["the card has used the bus without being its master"]
    machine.faults.clear()
    with machine.lock:
        machine.command |= BUS_MASTER
        machine.card.running = True
        bus, memory = machine.mapped.popitem()
        machine.step()
        machine.mapped[bus] = memory
    assert machine.faults == [f"the IOMMU has refused {transport.layout.size} bytes at {bus:#x}"]
    machine.faults.clear()
    machine.card.running, machine.command = False, 0
    with pytest.raises(BusError):
        transport.read("STATUS")
    machine.command = 6


def test_a_card_that_does_not_stop_loses_the_bus(open_fake, monkeypatch, caplog):
    monkeypatch.setattr(vfio, "_STOP_SECONDS", 0.05)
    transport = open_fake()
    machine = transport.machine
    with machine.lock:
        machine.card.step = lambda: 0
    transport.close()
    assert f"{ADDRESS} did not stop; the bus is taken from it" in caplog.text
    assert machine.clean
    assert not machine.command & BUS_MASTER


def test_it_opens_again_after_a_close(open_fake, params, key_file):
    transport = open_fake()
    machine = transport.machine
    transport.close()
    with Driver(open_transport("vfio", params, ring_lines=LEAST_RING_LINES, system=machine), params) as driver:
        driver.start()
        assert len(DriverClient(driver, read_root_file(key_file)).run(mixed(params, 1, 30))) == 30
    assert machine.clean


def test_a_card_left_running_is_reset_and_its_loss_told(open_fake, params, caplog):
    transport = open_fake(flaws={"left running"})
    assert f"{ADDRESS} was running: its driver has died; {MAP_LOST}" in caplog.text
    with Driver(transport, params) as driver:
        assert driver.state is State.IDLE
    assert transport.machine.log[0] == "reset"


def test_a_card_that_zeroes_its_memory_is_waited_for(open_fake, caplog):
    transport = open_fake(slow=20)
    assert transport.machine.opening == 0
    assert transport.read("STATUS") == State.IDLE
    assert not caplog.records


def test_a_card_without_reset_works_once(open_fake, params, caplog):
    transport = open_fake(flaws={"no reset"})
    assert transport.machine.log == ["map", "bus master on", "start"]
    assert not caplog.records


def test_a_request_waits_for_the_one_before(open_fake):
    transport = open_fake()
    machine = transport.machine
    with machine.lock:
        transport.write("REQUEST", 1)
        with pytest.raises(DeviceError, match="still serving an earlier request"):
            transport.write("REQUEST", 2)
        machine.card.step()
        assert transport.read("REQUEST") == 0


def test_a_register_of_ones_is_no_lost_card(open_fake):
    transport = open_fake()
    with transport.machine.lock:
        transport.machine.card.registers.write("DIGEST_3", 0xFFFFFFFF)
    assert transport.read("DIGEST_3") == 0xFFFFFFFF


def test_a_card_that_is_lost_later_is_noticed(open_fake, params):
    transport = open_fake()
    with Driver(transport, params) as driver:
        driver.start()
        transport.machine.dead = True
        with pytest.raises(DeviceError, match=rf"is gone: every read gives ones.*{MAP_LOST}"):
            driver.exchange(bytes(LINE_BYTES))
        with pytest.raises(DeviceError, match="is gone"):
            transport.write("REQUEST", 1)
    assert transport.machine.clean


# -- memory ---------------------------------------------------------------------------------------------------------


def bus_address(transport):
    """Return where the card was told that its buffer is, which must be where the IOMMU has it."""
    registers = transport.machine.card.registers
    address = registers.read("BUFFER_HIGH") << 32 | registers.read("BUFFER_LOW")
    assert [address] == list(transport.machine.mapped)
    assert transport.machine.mapped[address].view[MIRROR + 0x40] == 0x50
    return address


def test_huge_pages_lie_on_superpages_of_the_bus(open_fake, caplog):
    transport = open_fake()
    assert bus_address(transport) % HUGE == 0
    assert transport.machine.live[0].page == HUGE
    assert not caplog.records


def test_small_pages_are_used_with_a_warning_and_in_step_with_superpages(open_fake, caplog):
    transport = open_fake(pages={})
    memory = transport.machine.live[0]
    assert memory.page == SMALL_PAGE
    assert bus_address(transport) % HUGE == memory.address % HUGE != 0
    assert "there are 0 free huge pages of 2 MB, rings and pages take 1: small pages are used" in caplog.text
    assert "echo 1 | sudo tee " in caplog.text


def test_pages_of_a_gigabyte_are_for_buffers_of_a_gigabyte(open_fake, monkeypatch):
    transport = open_fake()
    asked = []
    monkeypatch.setattr(transport.machine, "allocate", lambda size, page: asked.append((size, page)))
    for size, page in [(1 << 20, HUGE), ((1 << 30) - 1, HUGE), (1 << 30, 1 << 30), (3 << 30, 1 << 30)]:
        monkeypatch.setattr(transport, "layout", SimpleNamespace(size=size))
        transport._allocate()
        assert asked[-1] == (size, page)


@pytest.mark.parametrize(
    ("ranges", "address"),
    [
        (INTEL, 1 << 32),
        (None, 1 << 32),
        (((0, 0xFEDFFFFF),), HUGE),
        (((0x123000, 0xFEDFFFFF),), HUGE),
        (((0, HUGE), (1 << 33, (1 << 34) - 1)), 1 << 33),
        (((0x2_0012_3000, (1 << 34) - 1),), 0x2_0020_0000),
    ],
)
def test_the_buffer_is_where_the_iommu_translates(open_fake, ranges, address):
    assert bus_address(open_fake(ranges=ranges)) == address


def test_an_iommu_without_room_is_named(open_fake):
    with pytest.raises(DeviceError, match=r"no 2097152 bytes of bus addresses are free.*has 0x0 to 0x1fffff, and"):
        open_fake(ranges=((0, HUGE - 1),))
    assert open_fake.machines[0].clean


# -- what people run into -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flaw", "match"),
    [
        ("no device", r"no cards 10ee:\w+ are on the bus; load the bitstream"),
        ("second card", r"2 cards 10ee:\w+ are on the bus: 0000:3b:00.0, 0000:af:00.0; choose one with --device"),
        ("no iommu", r"behind no IOMMU: switch it on in the firmware.*intel_iommu=on or amd_iommu=on"),
        ("not bound", r"has no driver, not vfio-pci: `sudo modprobe vfio-pci; echo vfio-pci \| .*driver_override"),
        (
            "other driver",
            r"has xdma, not vfio-pci: .*driver_override; echo \S+ \| sudo tee \S+/driver/unbind; .*probe`",
        ),
        ("shared", r"shares its IOMMU group 42 with 0000:3b:00.1 \(nvme\): bind these to vfio-pci.*ACS"),
        ("no permission", r"may not use \S+/dev/vfio/42: `sudo chown \$USER"),
        ("no vfio", r"dev/vfio/vfio can't be opened \(No such file.*`sudo modprobe vfio-pci`"),
        ("busy", r"dev/vfio/42 can't be opened \(Device or resource busy\): another program drives the card"),
        ("old api", r"VFIO has version 1 of its interface, this driver uses 0"),
        ("no type1", r"no IOMMU of type 1, version 2: `sudo modprobe vfio_iommu_type1`"),
        ("not viable", r"the IOMMU group 42 is not viable: .*iommu_groups/42/devices"),
        ("unsafe", r"can't put 0000:3b:00.0 behind the IOMMU \(Operation not permitted\): .*interrupt remapping"),
        ("no descriptor", r"VFIO does not open 0000:3b:00.0 \(Input/output error\): `dmesg`"),
        ("not pci", r"is no PCI device for VFIO"),
        ("wrong ids", r"is 0001:0002, not 10ee:\w+: check the address"),
        ("small bar", r"BAR 0 of 0000:3b:00.0 has 1024 bytes .*registers take 4096 bytes"),
        ("reset fails", r"was not reset \(Resource temporarily unavailable\): load its bitstream again"),
        ("wrong identity", r"no oblivious map: its identity is 0x12345678, not 0x4f4d4150"),
        ("all ones", r"0000:3b:00.0 is gone: every read gives ones, so it has fallen off the bus"),
        ("lost at reset", r"0000:3b:00.0 is gone: every read gives ones"),
        ("never ready", r"0000:3b:00.0 is not ready after 0.05 s: does HBM have its clock"),
        ("hbm fails", r"has failed before it was ready: its HBM could not be zeroed"),
        ("memory limit", r"rings and pages take \d+ bytes, and this process may lock 4096: raise `ulimit -l`"),
        ("map refused", r"takes no mapping of 2097152 bytes at 0x100000000 \(Cannot allocate memory\): .*`ulimit -l`"),
        ("silent", r"was started and has written nothing into host memory: `dmesg` .*DMAR"),
        ("dies", r"0000:3b:00.0 is gone: every read gives ones"),
    ],
)
def test_each_complaint_has_a_remedy_and_leaves_nothing_behind(open_fake, flaw, match):
    with pytest.raises(DeviceError, match=match):
        open_fake(flaws={flaw})
    (machine,) = open_fake.machines
    assert machine.clean
    assert not machine.command & BUS_MASTER
    if flaw not in ("silent", "dies"):
        assert "bus master on" not in machine.log


def test_without_any_memory_it_says_so(open_fake):
    with pytest.raises(DeviceError, match=r"there is no memory for \d+ bytes \(Cannot allocate memory\)"):
        open_fake(flaws={"no memory"}, pages={})
    assert open_fake.machines[0].clean


def test_a_card_that_runs_and_cannot_be_reset_is_refused(open_fake):
    with pytest.raises(DeviceError, match=rf"runs for a driver that has died and can't be reset.*{MAP_LOST}"):
        open_fake(flaws={"left running", "no reset"})
    assert open_fake.machines[0].clean


@pytest.mark.parametrize(
    ("flaw", "says"),
    [
        ("narrow link", f"the link of {ADDRESS} runs at 8 GT/s with 8 lanes, not 8 with 16: use a PCIe slot"),
        ("neighbour", f"{ADDRESS} is in one IOMMU group with 0000:3b:00.1: they reach each other past the IOMMU"),
    ],
)
def test_what_is_slow_or_unwise_is_a_warning(open_fake, caplog, flaw, says):
    open_fake(flaws={flaw})
    (record,) = caplog.records
    assert says in record.getMessage()
    assert record.levelname == "WARNING"


@pytest.mark.parametrize("device", [ADDRESS, "3b:00.0", ADDRESS.upper()])
def test_a_card_is_named_by_its_address(open_fake, device):
    assert open_fake(device=device, flaws={"second card"}).read("STATUS") == State.IDLE


def test_what_is_no_address_or_not_there_is_refused(open_fake):
    for wrong in ("0", "3b:00", "0000:3b:00.0/..", "card"):
        with pytest.raises(InputError, match="is no PCIe address: write it as `lspci -D` does"):
            open_fake(device=wrong)
    with pytest.raises(DeviceError, match=r"there is no PCIe device 0000:04:00.0: .*pci/rescan"):
        open_fake(device="04:00.0")


def test_a_card_takes_no_key(params, key_file):
    with pytest.raises(InputError, match="a card holds its own root key"):
        open_transport("vfio", params, key_file=key_file)


def test_on_a_machine_without_a_card_it_says_what_is_missing(params, tmp_path):
    system = System()
    system.sysfs, system.device_files = tmp_path / "sys", tmp_path / "dev"
    with pytest.raises(DeviceError, match="no cards 10ee"):
        open_transport("vfio", params, system=system)
