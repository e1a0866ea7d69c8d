"""The driver: which devices it refuses, what it makes of their states, and how a user waits for answers."""

import struct

import pytest

from host.device.driver import FAULT_TEXT, Driver
from host.device.transport import MAP_LOST
from host.model.model import ModelTransport
from host.relay.port import Limits
from omap.errors import DeviceError, DeviceFaultError
from omap.operations import Kind, Operation
from omap.presets import preset
from omap.regmap import BY_NAME, Fault, State
from omap.wire import LEAST_RING_LINES, LINE_BYTES, RING_LINES, Refusal, read_header
from tests.support.host.clients import DriverClient

PARAMS = preset("TINY")
KEY = bytes(range(32))
RING = LEAST_RING_LINES


@pytest.fixture
def transport():
    with ModelTransport(PARAMS, KEY, ring_lines=RING, stepped=True) as transport:
        yield transport


def started(transport):
    driver = Driver(transport, PARAMS)
    driver.start()
    return driver


def poke(transport, name, value):
    """Set a register that the host can't write."""
    struct.pack_into("<I", transport._memory, BY_NAME[name].offset, value)


# -- strangers ------------------------------------------------------------------------------------------------------


def test_another_identity_is_refused(transport):
    poke(transport, "IDENTITY", 0x12345678)
    with pytest.raises(DeviceError, match=r"its identity is 0x12345678, not 0x4f4d4150; check"):
        Driver(transport, PARAMS)


def test_another_version_is_refused(transport):
    poke(transport, "VERSION", 7 | 16 << 16)
    with pytest.raises(DeviceError, match=r"speaks version 7 .* this driver version 2: load"):
        Driver(transport, PARAMS)


def test_other_parameters_are_refused(transport):
    small = preset("SMALL")
    with pytest.raises(DeviceError, match=rf"its digest is {PARAMS.digest.hex()}, not {small.digest.hex()}; give"):
        Driver(transport, small)


def test_another_ring_size_is_refused(transport):
    poke(transport, "RING_LINES", 4)
    with pytest.raises(DeviceError, match=r"runs with 4 lines in each ring, not 128: give as many"):
        Driver(transport, PARAMS)


def test_a_buffer_that_is_too_small_is_refused(transport):
    transport.buffer = transport.buffer[:-1]
    with pytest.raises(DeviceError, match=rf"has {transport.layout.size - 1} bytes; .* need {transport.layout.size}"):
        Driver(transport, PARAMS)


def test_a_state_or_fault_it_does_not_know_is_named(transport):
    driver = started(transport)
    poke(transport, "STATUS", 9)
    with pytest.raises(DeviceError, match="in state 9, which this version does not know"):
        driver.check()
    poke(transport, "STATUS", State.FAULT)
    poke(transport, "FAULT", 99)
    with pytest.raises(DeviceError, match="reports fault 99, which this version does not know"):
        driver.check()


# -- states ---------------------------------------------------------------------------------------------------------


def test_start_formats_what_never_was_and_nothing_else(transport):
    driver = Driver(transport, PARAMS)
    with pytest.raises(DeviceError, match="the device is idle, not ready: format it"):
        driver.check()
    driver.start()
    client = DriverClient(driver, KEY)
    client.run([Operation(Kind.PUT, bytes(4), b"data")])
    driver.start()
    assert client.run([Operation(Kind.GET, bytes(4))])[0].previous == b"data"
    driver.format()
    assert DriverClient(driver, KEY).run([Operation(Kind.GET, bytes(4))])[0].previous is None
    driver.stop()
    assert driver.state is State.STOPPED
    for use in (driver.check, driver.start):
        with pytest.raises(DeviceError, match="the device is stopped, not ready: restart it"):
            use()


def test_start_waits_for_a_format_that_another_driver_asked_for(transport, monkeypatch):
    driver = Driver(transport, PARAMS)
    poke(transport, "STATUS", State.FORMATTING)
    with pytest.raises(DeviceError, match=r"has not finished to format in 0\.1 s"):
        driver.start(timeout=0.1)
    monkeypatch.setattr(transport, "wait", lambda *_: poke(transport, "STATUS", State.READY))
    driver.start()


def test_a_device_that_does_not_answer_is_given_up(transport, monkeypatch):
    driver = started(transport)
    driver.timeout = 0.05
    monkeypatch.setattr(transport, "wait", lambda *_: None)
    record = bytes(LINE_BYTES)
    with pytest.raises(DeviceError, match=r"has not answered for 0\.05 s"):
        driver.exchange(record)
    with pytest.raises(DeviceError, match="1 lines of commands are in flight: take their answers first"):
        driver.exchange(record)
    with pytest.raises(DeviceError, match=r"1 lines of commands were not answered within 0\.05 s"):
        driver.recover()
    with pytest.raises(DeviceError, match="has not finished to format in"):
        driver.format(timeout=0.01)


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault])
def test_a_fault_is_named(transport, fault):
    driver = started(transport)
    poke(transport, "STATUS", State.FAULT)
    poke(transport, "FAULT", fault)
    with pytest.raises(
        DeviceFaultError, match=rf"fault {fault.name} .*: {FAULT_TEXT[fault]}; restart the device; {MAP_LOST}"
    ):
        driver.check()
    assert driver.fault is fault


def test_a_fault_ends_waiting_but_not_before_the_answers_are_taken(transport):
    driver = started(transport)
    client = DriverClient(driver, KEY)
    records = client.seal([Operation(Kind.NOP)] * 2)
    size = LINE_BYTES
    driver.put(records[:size])
    assert driver.wait()
    for page in range(PARAMS.pages):
        transport.buffer[driver.layout.pages + page * PARAMS.page_bytes] ^= 1
    driver.put(records[size:])
    transport.step()
    assert driver.state is State.FAULT
    assert driver.wait()
    assert len(client.open(driver.take())) == 1
    with pytest.raises(DeviceFaultError, match="PAGE_TAG"):
        driver.wait()
    with pytest.raises(DeviceFaultError, match="PAGE_TAG"):
        driver.start()


def test_a_bad_record_ends_its_session_and_no_fault_is_reported(transport):
    driver = started(transport)
    client, other = DriverClient(driver, KEY), DriverClient(driver, KEY)
    records = client.seal([Operation(Kind.NOP)] * 3)
    size = LINE_BYTES
    answers = driver.exchange(records[:size] + records[2 * size :] + other.seal([Operation(Kind.NOP)]))
    assert len(client.open(answers[:size])) == 1
    assert read_header(answers[size:]).count == Refusal.OUT_OF_TURN
    assert len(other.open(answers[2 * size :])) == 1
    driver.check()


def test_limits_leave_room_for_several_clients():
    share = Limits().share(RING_LINES)
    assert Limits().quantum < share < RING_LINES
