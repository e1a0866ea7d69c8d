"""The driver: which devices it refuses, how it fills rings, and that another driver can take over after a crash."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.device.driver import FAULT_TEXT, Driver
from host.model.model import ModelTransport
from host.relay.port import Limits
from omap.errors import DeviceError, DeviceFaultError, InputError
from omap.operations import Kind, Operation
from omap.presets import preset
from omap.regmap import BY_NAME, Fault, State
from omap.wire import Counter, Refusal, read_header, write_counter
from tests.support.host.clients import DriverClient, mixed
from tests.support.oracle import expected

PARAMS = preset("TINY")
KEY = bytes(range(32))


@pytest.fixture
def transport():
    with ModelTransport(PARAMS, KEY, ring_entries=8, stepped=True) as transport:
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
    with pytest.raises(DeviceError, match=r"speaks version 7 .* this driver version 1: load"):
        Driver(transport, PARAMS)


def test_other_parameters_are_refused(transport):
    small = preset("SMALL")
    with pytest.raises(DeviceError, match=rf"its digest is {PARAMS.digest.hex()}, not {small.digest.hex()}; give"):
        Driver(transport, small)


def test_another_ring_size_is_refused(transport):
    poke(transport, "RING_ENTRIES", 4)
    with pytest.raises(DeviceError, match=r"runs with 4 entries in each ring, not 8"):
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


@settings(max_examples=50)
@given(
    counter=st.sampled_from([Counter.COMMANDS_FETCHED, Counter.RESPONSES_WRITTEN]),
    value=st.one_of(st.integers(0, 1), st.integers(6, 40), st.integers(1 << 40, (1 << 64) - 1)),
)
def test_counters_that_make_no_sense_are_refused(counter, value):
    with ModelTransport(PARAMS, KEY, ring_entries=8, stepped=True) as transport:
        driver = started(transport)
        client = DriverClient(driver, KEY)
        driver.put(client.seal([Operation(Kind.NOP)] * 3))
        write_counter(transport.buffer, counter, value)
        with pytest.raises(DeviceError, match=rf"counters make no sense.*\b{value}\b.*restart the device"):
            driver.take()


# -- states ---------------------------------------------------------------------------------------------------------


def test_start_formats_what_never_was_and_nothing_else(transport):
    driver = Driver(transport, PARAMS)
    with pytest.raises(DeviceError, match="the device is idle, not ready: format it"):
        driver.check()
    driver.start()
    client = DriverClient(driver, KEY)
    client.run([Operation(Kind.PUT, bytes(4), b"data")])
    driver.start()
    assert client.run([Operation(Kind.GET, bytes(4))])[0].response.previous == b"data"
    driver.format()
    assert DriverClient(driver, KEY).run([Operation(Kind.GET, bytes(4))])[0].response.previous is None
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
    record = bytes(driver.record_bytes)
    with pytest.raises(DeviceError, match=r"has not answered for 0\.05 s"):
        driver.exchange(record)
    with pytest.raises(DeviceError, match="1 commands are in flight: take their answers first"):
        driver.exchange(record)
    with pytest.raises(DeviceError, match=r"1 commands were not answered within 0\.05 s"):
        driver.recover()
    with pytest.raises(DeviceError, match="has not finished to format in"):
        driver.format(timeout=0.01)


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault])
def test_a_fault_is_named(transport, fault):
    driver = started(transport)
    poke(transport, "STATUS", State.FAULT)
    poke(transport, "FAULT", fault)
    with pytest.raises(DeviceFaultError, match=rf"fault {fault.name} .*: {FAULT_TEXT[fault]}; its map is lost"):
        driver.check()
    assert driver.fault is fault


def test_a_fault_ends_waiting_but_not_before_the_answers_are_taken(transport):
    driver = started(transport)
    client = DriverClient(driver, KEY)
    records = client.seal([Operation(Kind.NOP)] * 2)
    size = driver.record_bytes
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
    size = driver.record_bytes
    answers = driver.exchange(records[:size] + records[2 * size :] + other.seal([Operation(Kind.NOP)]))
    assert len(client.open(answers[:size])) == 1
    assert read_header(answers[size:]).code == Refusal.OUT_OF_TURN
    assert len(other.open(answers[2 * size :])) == 1
    driver.check()


# -- rings ----------------------------------------------------------------------------------------------------------


def test_a_full_ring_takes_what_fits(transport):
    driver = started(transport)
    client = DriverClient(driver, KEY)
    records = client.seal([Operation(Kind.NOP)] * 11)
    size = driver.record_bytes
    assert driver.room == 8
    assert driver.put(records) == 8
    assert driver.put(records[8 * size :]) == 0
    assert (driver.room, driver.in_flight, driver.answered) == (0, 8, 0)
    transport.step()
    assert driver.put(records[8 * size :]) == 0  # answers not taken hold their places
    assert driver.answered == 8
    assert len(client.open(driver.take(limit=2))) == 2
    assert driver.put(memoryview(records)[8 * size :]) == 2
    assert driver.put(bytearray(records)[10 * size :]) == 0
    assert len(client.open(driver.take())) == 6
    assert driver.take() == b""
    assert driver.statistics.to_dict() == {
        "commands": 12,
        "responses": 10,
        "batches": 4,
        "ring_full": 5,
        "most_in_flight": 8,
        "inherited": 0,
    }


def test_records_come_whole(transport):
    driver = started(transport)
    with pytest.raises(InputError, match="65 bytes are no whole number of 64-byte records"):
        driver.put(bytes(65))
    assert driver.put(b"") == 0
    assert driver.in_flight == 0


class CrashError(Exception):
    pass


@settings(max_examples=60)
@given(data=st.data())
def test_nothing_is_lost_or_done_twice_when_drivers_crash(data):
    """Whatever a driver was at when it died, the next one hands out the answers to all that was submitted."""
    with ModelTransport(PARAMS, KEY, ring_entries=8, stepped=True) as transport:
        driver = started(transport)
        client = DriverClient(driver, KEY)
        oracle, submitted, answered = {}, [], 0
        for seed in range(data.draw(st.integers(1, 25), "steps")):
            action = data.draw(
                st.sampled_from(["put", "put", "step", "take", "crash", "crash in put", "crash in take"])
            )
            count = data.draw(st.integers(1, 9), "count")
            if action in ("put", "crash in put"):
                operations = mixed(PARAMS, seed, min(count, driver.room))
                records = client.seal(operations)
                if action == "put":
                    assert driver.put(records) == len(operations)
                else:  # the bytes are in the ring, but the counter does not say so: nothing was submitted
                    driver._rings._copy_in(memoryview(records), len(operations))
                    driver = Driver(transport, PARAMS)
                    assert driver.put(records) == len(operations)
                submitted += operations
            elif action == "step":
                transport.step(count)
            else:
                copy = b""
                if action == "take":
                    copy = driver.take(count)
                elif action == "crash in take":  # the answers are copied, but the counter does not say so
                    with pytest.MonkeyPatch.context() as patch:
                        patch.setattr(
                            driver._rings, "_counters", Stuck(driver._rings._counters, Counter.RESPONSES_TAKEN)
                        )
                        if driver.answered:
                            with pytest.raises(CrashError):
                                driver.take(count)
                if action != "take":
                    driver = Driver(transport, PARAMS)
                    assert driver.statistics.inherited == driver.in_flight == len(submitted) - answered
                for reply in client.open(copy):
                    assert reply.response == expected(oracle, PARAMS.capacity, submitted[answered])
                    answered += 1
        for reply in client.open(driver.recover()):
            assert reply.response == expected(oracle, PARAMS.capacity, submitted[answered])
            answered += 1
        assert answered == len(submitted)


class Stuck:
    """Counters of which one can't be written."""

    def __init__(self, counters, stuck):
        self.counters, self.stuck = counters, stuck

    def __getitem__(self, place):
        return self.counters[place]

    def __setitem__(self, place, value):
        if place == self.stuck >> 3:
            raise CrashError
        self.counters[place] = value


def test_limits_leave_room_for_several_clients():
    assert Limits().in_flight < 1024
    assert Limits().quantum <= Limits().in_flight
