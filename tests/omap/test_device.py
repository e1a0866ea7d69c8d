"""The device model behind its rings and registers: sessions, wrapping, nonsense of the host, refusals, faults."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap import map as reference
from omap.device import DeviceModel, RegisterFile, read_counter, write_counter
from omap.errors import InputError
from omap.operations import Kind, Operation, Status
from omap.presets import preset
from omap.regmap import BY_NAME, MIRROR, REGISTER_BYTES, REGISTERS, Fault, Request, State
from omap.session import ClientSession
from omap.wire import CLOSE, HEADER, BufferLayout, Counter, Header, RecordType, Refusal, read_header
from tests.support.maps import compiled
from tests.support.oracle import expected

PARAMS = preset("TINY")
KEY = bytes(range(32))


class Host:
    """A host on the rings of a model in the same process."""

    def __init__(self, ring_entries=8, params=PARAMS, **options):
        self.layout = BufferLayout(params, ring_entries)
        self.buffer = bytearray(self.layout.size)
        self.device = DeviceModel(params, KEY, self.buffer, ring_entries=ring_entries, **options)
        self.request(Request.FORMAT)

    def request(self, request):
        self.device.registers.write("REQUEST", request)
        self.device.step()
        assert self.device.registers.read("REQUEST") == Request.NONE

    def put(self, record):
        number = read_counter(self.buffer, Counter.COMMANDS_WRITTEN)
        self.buffer[self.layout.entry(self.layout.commands, number)] = record
        write_counter(self.buffer, Counter.COMMANDS_WRITTEN, number + 1)

    def take(self):
        number = read_counter(self.buffer, Counter.RESPONSES_TAKEN)
        assert number < read_counter(self.buffer, Counter.RESPONSES_WRITTEN)
        write_counter(self.buffer, Counter.RESPONSES_TAKEN, number + 1)
        return bytes(self.buffer[self.layout.entry(self.layout.responses, number)])

    def exchange(self, *records):
        for record in records:
            self.put(record)
        self.device.step()
        return [self.take() for _ in records]

    def connect(self, replaces=0):
        client = ClientSession(self.layout.params, KEY, replaces=replaces)
        client.opened(self.exchange(client.confirm(self.exchange(client.hello())[0]))[0])
        return client

    @property
    def fault(self):
        assert self.device.state is State.FAULT
        return Fault(self.device.registers.read("FAULT"))


def key(number):
    return bytes([0, 0, 0, number])


def mixed(seed, count):
    rng = random.Random(seed)
    return [Operation(Kind(rng.randrange(4)), key(rng.randrange(16)), rng.randbytes(4)) for _ in range(count)]


@pytest.mark.parametrize("create", [reference.create, compiled], ids=["reference", "compiled"])
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(1, 8), min_size=8, max_size=8))
def test_two_clients_on_one_ring_see_one_map(seed, cuts, create):
    host = Host(create=create)
    clients, oracle, rng, count = [host.connect(), host.connect()], {}, random.Random(seed), 0
    for cut in cuts:
        batch = [(rng.choice(clients), operation) for operation in mixed(seed + cut, cut)]
        answers = host.exchange(*[client.seal(operation) for client, operation in batch])
        for (client, operation), answer in zip(batch, answers, strict=True):
            wanted = expected(oracle, PARAMS.capacity, operation)
            reply = client.open(answer)
            assert reply.response == wanted
            assert (reply.sequence, reply.live, reply.overruns) == (count, len(oracle), 0)
            count += 1


def test_identity_is_readable_and_mirrored_in_the_buffer():
    host = Host()
    registers = host.device.registers
    assert registers.read("IDENTITY") == 0x4F4D4150
    assert BY_NAME["VERSION"].field("wire", registers.read("VERSION")) == 1
    assert BY_NAME["VERSION"].field("sessions", registers.read("VERSION")) == 16
    assert BY_NAME["MODE"].field("hbm_private", registers.read("MODE")) == 0
    assert BY_NAME["STATUS"].field("state", registers.read("STATUS")) == State.READY
    digest = b"".join(registers.read(f"DIGEST_{word}").to_bytes(4, "big") for word in range(8))
    assert digest == PARAMS.digest
    mirror = RegisterFile(host.buffer[MIRROR : MIRROR + REGISTER_BYTES])
    for name in ("IDENTITY", "VERSION", "MODE", "STATUS", "FAULT", "DIGEST_7"):
        assert mirror.read(name) == registers.read(name)


def test_the_register_description_is_consistent():
    assert len({register.offset for register in REGISTERS}) == len({register.name for register in REGISTERS})
    for register in REGISTERS:
        assert register.offset % 4 == 0
        assert register.offset < REGISTER_BYTES
        taken = 0
        for field in register.fields:
            mask = (1 << field.width) - 1 << field.low
            assert 0 < mask < 1 << 32
            assert not taken & mask
            taken |= mask


def test_rings_wrap_and_the_device_never_runs_over_answers_not_taken():
    host = Host(ring_entries=4)
    client = host.connect()
    records = [client.seal(Operation(Kind.PUT, key(n), bytes(4))) for n in range(8)]
    for record in records[:4]:
        host.put(record)
    host.device.step()
    assert read_counter(host.buffer, Counter.RESPONSES_WRITTEN) == 6  # two of the set-up, four of these
    for record in records[4:8]:
        host.put(record)
    host.device.step()
    assert read_counter(host.buffer, Counter.RESPONSES_WRITTEN) == 6
    for _ in range(4):
        assert client.open(host.take()).response.status is Status.OK
    host.device.step()
    for _ in range(4):
        client.open(host.take())


@settings(max_examples=30)
@given(written=st.integers(0, 2**64 - 1), taken=st.integers(0, 2**64 - 1))
def test_counters_full_of_nonsense_do_no_harm(written, taken):
    host = Host()
    write_counter(host.buffer, Counter.COMMANDS_WRITTEN, written)
    write_counter(host.buffer, Counter.RESPONSES_TAKEN, taken)
    for _ in range(3):
        host.device.step()
    assert host.device.state is State.READY
    assert read_counter(host.buffer, Counter.COMMANDS_FETCHED) <= 24


def test_refusals_do_not_latch():
    host = Host()
    client = host.connect()
    stranger = Header(RecordType.DATA, 3, 0, 99, 0).pack().ljust(64, b"\0")
    unknown = Header(77, 0, 0, 0, 0).pack().ljust(64, b"\0")
    confirm = Header(RecordType.CONFIRM, 0, 0, 55, 0).pack().ljust(64, b"\0")
    record = client.seal(Operation(Kind.NOP))
    answers = host.exchange(stranger, unknown, record, confirm)
    assert [read_header(answer).type for answer in answers] == [4, 4, 3, 4]
    codes = [Refusal.UNKNOWN_SESSION, Refusal.MALFORMED, 0, Refusal.NO_HANDSHAKE]
    assert [read_header(answer).code for answer in answers] == codes
    assert client.open(answers[2]).response.status is Status.OK
    assert host.device.state is State.READY


def test_close_runs_as_any_operation_and_ends_the_session():
    host = Host()
    client = host.connect()
    batch = [Operation(Kind.PUT, key(1), bytes(4)), Operation(CLOSE), Operation(Kind.NOP)]
    records = [client.seal(operation) for operation in batch]
    answers = host.exchange(*records)
    assert [client.open(answer).sequence for answer in answers[:2]] == [0, 1]
    assert read_header(answers[2]).code == Refusal.UNKNOWN_SESSION


# -- attacks by the host ------------------------------------------------------------------------------------------


def bad_record(attack, records, other):
    """Return a record to put after the first two, and the code of its refusal."""
    match attack:
        case "flip":
            return records[2][:-1] + bytes([records[2][-1] ^ 1]), Refusal.ALTERED
        case "repeat":
            return records[0], Refusal.OUT_OF_TURN
        case "drop":
            return records[3], Refusal.OUT_OF_TURN
        case "splice":
            head = Header(RecordType.DATA, other.session_index, 0, other.session, 0).pack()
            return head + records[2][HEADER.size :], Refusal.ALTERED


@pytest.mark.sec_cm("SESSION.TAMPER.ENDS")
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("attack", ["flip", "repeat", "drop", "splice"])
def test_a_bad_record_ends_its_session_and_nothing_else(attack, together):
    """Records before it are answered, it and those after it are refused; other sessions and the map go on."""
    host = Host(ring_entries=16)
    client, other, third = host.connect(), host.connect(), host.connect()
    records = [client.seal(Operation(Kind.PUT, key(n), b"data")) for n in range(5)]
    bad, code = bad_record(attack, records, other)
    victim = other if attack == "splice" else client
    later = [victim.seal(Operation(Kind.DELETE, key(0))), *(records[2:] if victim is client else ())]
    bystander = [third.seal(Operation(Kind.GET, key(1))) for _ in range(3)]
    sent = [*records[:2], bystander[0], bad, bystander[1], *later, bystander[2]]
    answers = host.exchange(*sent) if together else [host.exchange(record)[0] for record in sent]
    assert [client.open(answer).live for answer in answers[:2]] == [1, 2]
    for place in (2, 4, -1):
        assert third.open(answers[place]).response.previous == b"data"
    told = [read_header(answer) for answer in (answers[3], *answers[5:-1])]
    assert [header.code for header in told] == [code] + [Refusal.UNKNOWN_SESSION] * len(later)
    sealed = [read_header(record) for record in (bad, *later)]
    assert [header._replace(code=0) for header in told] == [one._replace(type=RecordType.REFUSED) for one in sealed]
    assert host.device.state is State.READY
    assert Fault(host.device.registers.read("FAULT")) is Fault.NONE
    assert host.device._sessions._table[victim.session_index] is None  # both keys are gone, and its place is free
    again = host.connect(replaces=victim.session)
    assert again.session_index == victim.session_index
    assert again.open(host.exchange(again.seal(Operation(Kind.GET, key(0))))[0]).live == 2


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), bit=st.integers(0, 8 * 64 - 1), before=st.integers(0, 4))
def test_no_flipped_bit_of_a_command_harms_another_client(seed, bit, before):
    host, rng = Host(ring_entries=16), random.Random(seed)
    client, other = host.connect(), host.connect()
    record = bytearray(client.seal(Operation(Kind.DELETE, key(1))))
    record[bit // 8] ^= 1 << bit % 8
    sent = [other.seal(Operation(Kind.PUT, key(1), rng.randbytes(4))) for _ in range(before)]
    answers = host.exchange(*sent, bytes(record), other.seal(Operation(Kind.GET, key(1))))
    for answer in answers[:before]:
        other.open(answer)
    assert read_header(answers[before]).type != RecordType.DATA
    assert other.open(answers[-1]).response.status is (Status.OK if before else Status.NOT_FOUND)
    assert host.device.state is State.READY


@pytest.mark.sec_cm("DEVICE.FAULT.LATCH")
@pytest.mark.parametrize("attack", ["page", "pages of old"])
def test_attacks_on_pages_latch_a_fault_and_later_answers_stay_away(attack):
    host = Host()
    client, other = host.connect(), host.connect()
    old = bytes(host.buffer[host.layout.pages :])
    records = [client.seal(Operation(Kind.PUT, key(n), b"data")) for n in range(4)]
    assert [client.open(answer).live for answer in host.exchange(records[0])] == [1]
    pages = host.layout.pages
    for number in range(PARAMS.pages):
        place = slice(pages + number * 64, pages + number * 64 + 64)
        if attack == "page":
            host.buffer[place.start] ^= 4
        else:
            host.buffer[place] = old[number * 64 : number * 64 + 64]
    for record in records[1:]:
        host.put(record)
    host.device.step()
    for _ in range(20):
        if host.device.state is State.FAULT:
            break
        host.exchange(client.seal(Operation(Kind.GET, key(0))))
    assert host.fault is Fault.PAGE_TAG
    assert host.device._map is None
    assert host.device._sessions is None
    before = read_counter(host.buffer, Counter.RESPONSES_WRITTEN)
    host.put(other.seal(Operation(Kind.NOP)))
    assert host.device.step() == 0
    host.request(Request.FORMAT)
    host.request(Request.STOP)
    assert host.fault is Fault.PAGE_TAG
    assert read_counter(host.buffer, Counter.RESPONSES_WRITTEN) == before
    assert RegisterFile(host.buffer[MIRROR : MIRROR + REGISTER_BYTES]).read("FAULT") == Fault.PAGE_TAG


@pytest.mark.sec_cm("DEVICE.FAULT.LATCH")
@pytest.mark.parametrize("last", ["CLOSE", "HELLO", "CONFIRM"])
def test_a_bad_page_latches_whatever_follows_in_the_ring(last):
    """What ends a run of commands makes them run at once; the fault that they meet must not be lost in between."""
    host = Host()
    client, other = host.connect(), ClientSession(PARAMS, KEY)
    hello = other.hello()
    follows = {"HELLO": hello, "CONFIRM": other.confirm(host.exchange(hello)[0])}
    for number in range(host.layout.pages, host.layout.size):
        host.buffer[number] ^= 1
    host.put(client.seal(Operation(Kind.GET, key(1))))
    host.put(follows[last] if last in follows else client.seal(Operation(CLOSE)))
    host.device.step()
    assert host.fault is Fault.PAGE_TAG


@pytest.mark.sec_cm("SESSION.FORMAT.ENDS")
def test_a_format_behind_the_clients_back_ends_its_session():
    host = Host()
    client = host.connect()
    first = client.map_id
    client.open(host.exchange(client.seal(Operation(Kind.PUT, key(1), b"data")))[0])
    host.request(Request.FORMAT)
    answer = host.exchange(client.seal(Operation(Kind.GET, key(1))))[0]
    assert read_header(answer).code == Refusal.UNKNOWN_SESSION
    assert host.connect().map_id != first


def test_stop_erases():
    host = Host()
    client = host.connect()
    host.request(Request.STOP)
    assert host.device.state is State.STOPPED
    host.put(client.seal(Operation(Kind.NOP)))
    assert host.device.step() == 0


def test_what_is_erased_stays_away():
    host = Host()
    host.request(Request.STOP)
    host.request(Request.FORMAT)
    assert host.device.state is State.STOPPED
    assert host.device._map is None


def test_a_request_in_the_control_block_does_as_the_register_does():
    host = Host()
    client = host.connect()
    first = client.map_id
    for number, request in [(1, Request.FORMAT), (2, Request.FORMAT), (3, Request.NONE), (4, Request.STOP)]:
        write_counter(host.buffer, Counter.REQUESTS, number << 8 | request)
        assert host.device.step() > 0
        assert read_counter(host.buffer, Counter.REQUESTS_DONE) == number << 8 | request
        if request is not Request.STOP:
            assert host.device.step() == 0  # served once
            session = host.connect()
            assert session.map_id != first or request is Request.NONE
            first = session.map_id
    assert host.device.state is State.STOPPED


def test_words_of_the_control_block_do_not_overlap():
    taken = sorted([(int(counter), 8) for counter in Counter] + [(MIRROR, REGISTER_BYTES)])
    assert all(at + size <= following for (at, size), (following, _) in itertools.pairwise(taken))
    assert all(at // 64 != MIRROR // 64 and at % 64 == 0 for at, _ in taken if at != MIRROR)


def test_a_root_key_has_one_size():
    with pytest.raises(InputError, match="a root key has 32 bytes, not 16"):
        DeviceModel(PARAMS, bytes(16), bytearray(BufferLayout(PARAMS, 8).size), ring_entries=8)


@pytest.mark.sec_cm("DEVICE.FAULT.LATCH")
def test_whatever_stops_a_batch_latches_a_fault(monkeypatch):
    host = Host()
    client = host.connect()
    host.put(client.seal(Operation(Kind.NOP)))
    monkeypatch.setattr(host.device._map, "execute", lambda _: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        host.device.step()
    assert host.fault is Fault.INTERNAL
    assert host.device._sessions is None
