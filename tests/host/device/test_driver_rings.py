"""The rings: whole records of many lengths, and that another driver can take over after a crash."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.device.driver import Driver
from host.model.model import ModelTransport
from host.records import Run, split
from omap.bodies import responses
from omap.errors import DeviceError, InputError
from omap.operations import Kind, Operation
from omap.presets import preset
from omap.wire import (
    HELLO_LINES,
    LEAST_RING_LINES,
    LINE_BYTES,
    Counter,
    Header,
    RecordCodec,
    RecordType,
    Refusal,
    read_counter,
    read_header,
    write_counter,
)
from tests.support.host.clients import DriverClient, mixed
from tests.support.oracle import expected

PARAMS = preset("TINY")
KEY = bytes(range(32))
RING = LEAST_RING_LINES
NOP = Operation(Kind.NOP)
CODEC = RecordCodec(PARAMS)
FULL = CODEC.most_operations


@pytest.fixture
def transport():
    with ModelTransport(PARAMS, KEY, ring_lines=RING, stepped=True) as transport:
        yield transport


def started(transport):
    driver = Driver(transport, PARAMS)
    driver.start()
    return driver


def stray(count):
    """Return a record of ``count`` operations in a session that is not open: it gets a refusal of one line."""
    lines = CODEC.lines(count)
    return Header(RecordType.DATA, 0, lines, count, 1 << 31, 0).pack().ljust(lines * LINE_BYTES, b"\0")


def read(transport, counter):
    return read_counter(transport.buffer, counter)


# -- putting and taking ---------------------------------------------------------------------------------------------


def test_a_full_ring_takes_what_fits(transport):
    driver = started(transport)
    client = DriverClient(driver, KEY)
    before = driver.statistics.to_dict()
    records = client.seal([NOP] * 4 * FULL, FULL)  # four records of 64 lines
    size = CODEC.most_lines * LINE_BYTES
    assert driver.room == RING == 2 * CODEC.most_lines
    assert driver.put(records) == 2 * size
    assert driver.put(records[2 * size :]) == 0
    assert (driver.room, driver.in_flight, driver.answered) == (0, RING, 0)
    assert driver.due == [Run(CODEC.most_lines, 2)]
    transport.step(1)
    assert driver.put(records[2 * size :]) == 0  # answers not taken hold their places
    assert driver.answered == CODEC.most_lines
    assert len(client.open(driver.take())) == FULL
    assert driver.put(memoryview(records)[2 * size :]) == size
    assert driver.put(bytearray(records)[3 * size :]) == 0
    transport.step()
    assert len(client.open(driver.take())) == 2 * FULL
    assert driver.take() == b""
    changed = {name: value - before[name] for name, value in driver.statistics.to_dict().items()}
    assert changed == {
        "commands": 3,
        "responses": 3,
        "batches": 2,
        "ring_full": 5,
        "most_in_flight": RING - HELLO_LINES,
        "inherited": 0,
    }


def test_a_record_that_does_not_fit_waits_whole_and_holds_back_those_behind_it(transport):
    driver = started(transport)
    client = DriverClient(driver, KEY)
    wide, narrow = client.seal([NOP] * FULL, FULL), client.seal([NOP] * 3)
    fill = client.seal([NOP] * (RING - 1))
    assert driver.put(fill) == len(fill)
    assert driver.put(wide + narrow) == 0
    assert read(transport, Counter.COMMANDS_WRITTEN) == driver._rings._written
    assert driver.put(narrow) == LINE_BYTES
    assert driver.room == 0


@pytest.mark.parametrize("lengths", [[1, 2, 6, 1, 253, 100], [2, 2, 2, 2, 1, 1], [253, 1, 253]])
def test_records_of_many_lengths_come_back_in_order_whatever_of_them_is_refused(transport, lengths):
    driver = started(transport)
    client = DriverClient(driver, KEY)
    parts = []
    for length in lengths:
        parts += [client.session.seal([NOP] * length), stray(length), bytes(LINE_BYTES)]
    answers = split(driver.exchange(b"".join(parts)))
    assert len(answers) == len(parts)
    for length, own, refused, malformed in zip(lengths, answers[::3], answers[1::3], answers[2::3], strict=True):
        assert client.session.open(own).count == length
        assert (read_header(refused).count, len(refused)) == (Refusal.UNKNOWN_SESSION, LINE_BYTES)
        assert (read_header(malformed).count, len(malformed)) == (Refusal.MALFORMED, LINE_BYTES)
    assert (driver.in_flight, driver.room, driver.due) == (0, RING, [])


def test_records_come_whole(transport):
    driver = started(transport)
    client = DriverClient(driver, KEY)
    record = client.seal([NOP] * 10, 10)
    with pytest.raises(InputError, match="65 bytes are no whole number of 64-byte lines"):
        driver.put(bytes(65))
    with pytest.raises(InputError, match=r"a record of 4 lines is cut short after 2: give whole records"):
        driver.put(bytes(LINE_BYTES) + record[: 2 * LINE_BYTES])
    assert driver.put(b"") == 0
    assert (driver.in_flight, driver.due) == (0, [])
    assert len(client.open(driver.exchange(record))) == 10


# -- what makes no sense --------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(
    counter=st.sampled_from([Counter.COMMANDS_FETCHED, Counter.RESPONSES_WRITTEN]),
    value=st.one_of(st.integers(0, 2), st.integers(8, 40), st.integers(1 << 40, (1 << 64) - 1)),
)
def test_counters_that_make_no_sense_are_refused(counter, value):
    with ModelTransport(PARAMS, KEY, ring_lines=RING, stepped=True) as transport:
        driver = started(transport)
        client = DriverClient(driver, KEY)  # three lines each way
        driver.put(client.seal([NOP] * 3))
        write_counter(transport.buffer, counter, value)
        with pytest.raises(DeviceError, match=rf"counters make no sense.*\b{value}\b.*restart the device"):
            driver.take()


@pytest.mark.parametrize("counter", [Counter.COMMANDS_WRITTEN, Counter.RESPONSES_TAKEN, Counter.COMMANDS_SETTLED])
@pytest.mark.parametrize("change", [-5, 1 << 20, 1 << 40])
def test_a_driver_does_not_go_on_from_counters_of_the_host_that_make_no_sense(transport, counter, change):
    driver = started(transport)
    client = DriverClient(driver, KEY)
    driver.put(client.seal([NOP] * 3))
    write_counter(transport.buffer, counter, read(transport, counter) + change & (1 << 64) - 1)
    before = bytes(transport.buffer[:4096])
    with pytest.raises(DeviceError, match=r"counters make no sense.*restart the device"):
        Driver(transport, PARAMS)
    assert transport.buffer[:4096] == before


@pytest.mark.parametrize("lines", [0, 1, 3, 255])
def test_an_answer_that_does_not_fit_its_command_is_refused(transport, lines):
    driver = started(transport)
    client = DriverClient(driver, KEY)
    driver.put(client.seal([NOP] * 4, 2))
    transport.step()
    at = driver.layout.responses + (driver._rings._taken % RING) * LINE_BYTES
    transport.buffer[at + 2] = lines
    with pytest.raises(DeviceError, match=rf"answers make no sense: one of {lines} lines answers a command of 2;"):
        driver.take()


def test_a_record_of_an_earlier_driver_that_is_cut_short_is_refused(transport):
    driver = started(transport)
    client = DriverClient(driver, KEY)
    driver.put(client.seal([NOP] * 4, 2))
    write_counter(transport.buffer, Counter.COMMANDS_WRITTEN, read(transport, Counter.COMMANDS_WRITTEN) - 1)
    with pytest.raises(DeviceError, match=r"command ring makes no sense: a record of 2 lines is cut short after 1:"):
        Driver(transport, PARAMS)


# -- crashes --------------------------------------------------------------------------------------------------------


class CrashError(Exception):
    pass


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


class Submitted:
    """Records that were submitted, in order, and what their answers must be."""

    def __init__(self, client):
        self.client = client
        self.oracle, self.due = {}, []

    def add(self, records, operations):
        self.due += zip(records, operations, strict=True)

    def check(self, answers):
        """Compare answers with the oldest records."""
        for answer in split(answers):
            _, operations = self.due.pop(0)
            if operations is None:
                assert read_header(answer).type == RecordType.REFUSED
                continue
            came = responses(CODEC, self.client.session.open(answer))
            assert came == [expected(self.oracle, PARAMS.capacity, operation) for operation in operations]

    @property
    def lines(self):
        return sum(len(record) for record, _ in self.due) // LINE_BYTES


ACTIONS = ["put", "put", "step", "take", "crash", "crash in put", "crash before settling", "crash before taking"]


@settings(max_examples=60)
@given(data=st.data())
def test_nothing_is_lost_or_done_twice_when_drivers_crash(data):
    """Whatever a driver was at when it died, the next one hands out the answers to all that was submitted."""
    with ModelTransport(PARAMS, KEY, ring_lines=RING, stepped=True) as transport:
        driver = started(transport)
        submitted = Submitted(DriverClient(driver, KEY))
        for seed in range(data.draw(st.integers(1, 25), "steps")):
            action = data.draw(st.sampled_from(ACTIONS))
            if action in ("put", "crash in put"):
                records, operations = drawn(data, submitted.client, seed, driver.room)
                if action == "crash in put":  # the bytes are in the ring, but the counter does not say so
                    driver._rings._copy_in(memoryview(b"".join(records)))
                    driver = Driver(transport, PARAMS)
                assert driver.put(b"".join(records)) == sum(map(len, records))
                submitted.add(records, operations)
            elif action == "step":
                transport.step(data.draw(st.integers(1, 100), "operations"))
            elif action == "take":
                submitted.check(driver.take())
            else:
                if action != "crash" and driver.answered:
                    submitted.check(crash_in_take(driver, transport, action))
                driver = Driver(transport, PARAMS)
                assert driver.statistics.inherited == driver.in_flight == submitted.lines
                assert driver.due == driver._rings.due
        submitted.check(driver.recover())
        assert not submitted.due
        assert driver.room == RING


def drawn(data, client, seed, room):
    """Return records that fit, and the operations of each; None for one that is refused."""
    records, operations = [], []
    for number in range(data.draw(st.integers(1, 5), "records")):
        count = data.draw(st.sampled_from([1, 1, 2, 5, 20, 60]), "count")
        if sum(map(len, records)) // LINE_BYTES + CODEC.lines(count) > room:
            break
        kind = data.draw(st.sampled_from(["own", "own", "own", "stray", "malformed"]))
        batch = mixed(PARAMS, seed * 10 + number, count) if kind == "own" else None
        operations.append(batch)
        records.append(client.session.seal(batch) if batch else stray(count) if kind == "stray" else bytes(LINE_BYTES))
    return records, operations


def crash_in_take(driver, transport, action):
    """Have a driver end within take(), and return what it has taken so that no other driver gets it."""
    rings = driver._rings
    answers = driver.layout.read_lines(transport.buffer, driver.layout.responses, rings._taken, driver.answered)
    settling = action == "crash before settling"
    stuck = Counter.COMMANDS_SETTLED if settling else Counter.RESPONSES_TAKEN
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rings, "_counters", Stuck(rings._counters, stuck))
        with pytest.raises(CrashError):
            driver.take()
    return b"" if settling else answers


def test_counts_go_on_beyond_32_bits(transport):
    """A driver takes over wherever the halves of COMMANDS_SETTLED stand."""
    driver = started(transport)
    ahead = (1 << 32) - 64
    for counter in (Counter.COMMANDS_WRITTEN, Counter.RESPONSES_TAKEN):
        write_counter(transport.buffer, counter, ahead)
    for counter in (Counter.COMMANDS_FETCHED, Counter.RESPONSES_WRITTEN):
        write_counter(transport.buffer, counter, ahead)
    write_counter(transport.buffer, Counter.COMMANDS_SETTLED, ahead << 32 | ahead)
    driver = Driver(transport, PARAMS)
    client = DriverClient(driver, KEY)
    for _ in range(4):
        driver.put(client.seal([NOP] * 40, 10))
        driver = Driver(transport, PARAMS)
        assert len(client.open(driver.recover())) == 40
    assert read(transport, Counter.RESPONSES_TAKEN) == ahead + 3 + 4 * 4 * CODEC.lines(10) > 1 << 32
