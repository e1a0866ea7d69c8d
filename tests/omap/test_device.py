"""The device model behind its rings and registers: sessions, wrapping, nonsense of the host, refusals, faults."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap import map as reference
from omap.bodies import responses
from omap.device import DeviceModel, RegisterFile
from omap.errors import InputError
from omap.operations import Kind, Operation, Status
from omap.presets import preset
from omap.regmap import BY_NAME, MIRROR, REGISTER_BYTES, REGISTERS, Fault, Request, State
from omap.session import ClientSession
from omap.wire import (
    CLOSE,
    HEADER,
    BufferLayout,
    Counter,
    Header,
    RecordCodec,
    RecordType,
    Refusal,
    read_counter,
    read_header,
    refusal,
    write_counter,
)
from tests.support.omap_maps import compiled
from tests.support.oracle import expected
from tests.support.ring_host import RingHost
from tests.support.sessions import holder

PARAMS = preset("TINY")
NOP = Operation(Kind.NOP)
MOST = RecordCodec(PARAMS).most_operations


def key(number):
    return bytes([0, 0, 0, number])


def mixed(seed, count):
    rng = random.Random(seed)
    return [Operation(Kind(rng.randrange(4)), key(rng.randrange(16)), rng.randbytes(4)) for _ in range(count)]


@pytest.mark.parametrize("create", [reference.create, compiled], ids=["reference", "compiled"])
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(1, 12), min_size=8, max_size=8))
def test_two_clients_on_one_ring_see_one_map(seed, cuts, create):
    host = RingHost(create=create)
    clients, oracle, rng, count = [host.connect(), host.connect(holder(b"bob"))], {}, random.Random(seed), 0
    for cut in cuts:
        records = [(rng.choice(clients), mixed(seed + cut + number, rng.randint(1, 5))) for number in range(cut)]
        answers = host.exchange(*[client.seal(batch) for client, batch in records])
        for (client, batch), answer in zip(records, answers, strict=True):
            wanted = [expected(oracle, PARAMS.capacity, operation) for operation in batch]
            reply = client.open(answer)
            assert responses(client.codec, reply) == wanted
            assert (reply.sequence, reply.live, reply.overruns) == (count, len(oracle), 0)
            count += len(batch)


def test_identity_is_readable_and_mirrored_in_the_buffer():
    host = RingHost()
    registers = host.device.registers
    assert registers.read("IDENTITY") == 0x4F4D4150
    assert BY_NAME["VERSION"].field("wire", registers.read("VERSION")) == 2
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
    host = RingHost()
    client = host.connect()
    before = host.counter(Counter.RESPONSES_WRITTEN)
    lines = client.codec.lines(MOST)
    batch = [Operation(Kind.PUT, key(n % 16), bytes(4)) for n in range(MOST)]
    whole = 128 // lines
    for _ in range(2 * whole):
        host.put(client.seal(batch))
        host.device.step()
    assert host.counter(Counter.RESPONSES_WRITTEN) == before + whole * lines
    for _ in range(whole):
        assert client.open(host.take()).count == MOST
    host.device.step(limit=whole * MOST)
    for _ in range(whole):
        assert client.open(host.take()).live == PARAMS.capacity
    assert host.counter(Counter.COMMANDS_FETCHED) == before + 2 * whole * lines


def test_a_record_waits_until_all_its_lines_are_there():
    host = RingHost()
    client = host.connect()
    host.put(client.seal([NOP]))
    record = client.seal([Operation(Kind.PUT, key(n), bytes(4)) for n in range(9)])
    assert len(record) > 128
    for at in range(0, len(record), 64):
        host.put(record[at : at + 64])
        host.device.step()
        assert host.device._map.sequence == (1 if at + 64 < len(record) else 10)
    assert [client.open(host.take()).sequence for _ in range(2)] == [0, 1]


def test_a_step_takes_so_many_operations_and_whole_records():
    host = RingHost()
    client = host.connect()
    for _ in range(6):
        host.put(client.seal([NOP] * 5))
    for limit, done in ((1, 5), (5, 10), (6, 20), (100, 30)):
        host.device.step(limit)
        assert host.device._map.sequence == done


@settings(max_examples=30)
@given(written=st.integers(0, 2**64 - 1), taken=st.integers(0, 2**64 - 1), settled=st.integers(0, 2**64 - 1))
def test_counters_full_of_nonsense_do_no_harm(written, taken, settled):
    host = RingHost()
    write_counter(host.buffer, Counter.COMMANDS_WRITTEN, written)
    write_counter(host.buffer, Counter.RESPONSES_TAKEN, taken)
    write_counter(host.buffer, Counter.COMMANDS_SETTLED, settled)
    for _ in range(3):
        host.device.step()
    assert host.device.state is State.READY
    assert host.counter(Counter.COMMANDS_FETCHED) <= 3 * 128


def test_refusals_do_not_latch():
    host = RingHost()
    client = host.connect()
    stranger = Header(RecordType.DATA, 3, 1, 1, 99, 0).pack().ljust(64, b"\0")
    unknown = Header(77, 0, 3, 0, 0, 0).pack().ljust(64, b"\0")
    confirm = Header(RecordType.CONFIRM, 0, 1, 0, 55, 0).pack().ljust(64, b"\0")
    record = client.seal([NOP])
    answers = host.exchange(stranger, unknown, record, confirm)
    headers = [read_header(answer) for answer in answers]
    assert [header.type for header in headers] == [4, 4, 3, 4]
    assert [header.count for header in headers] == [
        Refusal.UNKNOWN_SESSION, Refusal.MALFORMED, 1, Refusal.NO_HANDSHAKE
    ]  # fmt: skip
    assert responses(client.codec, client.open(answers[2]))[0].status is Status.OK
    assert host.device.state is State.READY


@pytest.mark.parametrize("count", [1, 2, 20])
def test_a_refusal_of_a_longer_record_has_one_line_and_leaves_room(count):
    """Lines that refusals save are room for later responses, as often as the ring wraps."""
    host = RingHost()
    client, lines = host.connect(), RecordCodec(PARAMS).lines(count)
    stranger = Header(RecordType.DATA, 3, lines, count, 99, 0).pack().ljust(64 * lines, b"\7")
    for number in range(2 * 128 // lines + 3):
        host.put(stranger)
        host.put(client.seal([Operation(Kind.PUT, key(number % 16), bytes(4))]))
        host.device.step()
        assert read_header(host.take())[:4] == (RecordType.REFUSED, 3, 1, Refusal.UNKNOWN_SESSION)
        assert client.open(host.take()).sequence == number
    assert host.device.rings._saved == host.counter(Counter.COMMANDS_FETCHED) - host.counter(Counter.RESPONSES_WRITTEN)


def test_close_runs_as_any_operation_and_ends_the_session_after_its_record():
    host = RingHost()
    client, other = host.connect(), host.connect(holder(b"bob"))
    first = [Operation(Kind.PUT, key(1), bytes(4)), Operation(CLOSE, key(1)), Operation(Kind.PUT, key(2), bytes(4))]
    records = [client.seal(first), client.seal([NOP]), other.seal([NOP])]
    answers = host.exchange(*records)
    reply = client.open(answers[0])
    assert responses(client.codec, reply) == [(Status.OK, None)] * 3
    assert (reply.sequence, reply.live) == (0, 2)
    assert answers[1] == refusal(read_header(records[1]), Refusal.UNKNOWN_SESSION)
    assert other.open(answers[2]).sequence == 3


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
            head = read_header(records[2])._replace(
                session_index=other.session_index, session=other.session, sequence=0
            )
            return head.pack() + records[2][HEADER.size :], Refusal.ALTERED


@pytest.mark.sec_cm("SESSION.TAMPER.ENDS")
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("attack", ["flip", "repeat", "drop", "splice"])
def test_a_bad_record_ends_its_session_and_nothing_else(attack, together):
    """Records before it are answered, it and those after it are refused; other sessions and the map go on."""
    host = RingHost()
    client, other, third = host.connect(), host.connect(), host.connect(holder(b"bob"))
    batches = [[Operation(Kind.PUT, key(2 * n + more), b"data") for more in range(2)] for n in range(5)]
    records = [client.seal(batch) for batch in batches]
    bad, code = bad_record(attack, records, other)
    victim = other if attack == "splice" else client
    later = [victim.seal([Operation(Kind.DELETE, key(0))]), *(records[2:] if victim is client else ())]
    bystander = [third.seal([Operation(Kind.GET, key(1))]) for _ in range(3)]
    sent = [*records[:2], bystander[0], bad, bystander[1], *later, bystander[2]]
    answers = host.exchange(*sent) if together else [host.exchange(record)[0] for record in sent]
    assert [client.open(answer).live for answer in answers[:2]] == [2, 4]
    for place in (2, 4, -1):
        assert responses(third.codec, third.open(answers[place]))[0].previous == b"data"
    told = [read_header(answer) for answer in (answers[3], *answers[5:-1])]
    assert [header.count for header in told] == [code] + [Refusal.UNKNOWN_SESSION] * len(later)
    assert {(header.type, header.lines) for header in told} == {(RecordType.REFUSED, 1)}
    names = ("session_index", "session", "sequence")
    for header, record in zip(told, (bad, *later), strict=True):
        assert [getattr(header, name) for name in names] == [getattr(read_header(record), name) for name in names]
    assert host.device.state is State.READY
    assert Fault(host.device.registers.read("FAULT")) is Fault.NONE
    assert host.device._sessions._table[victim.session_index] is None  # both keys are gone, and its place is free
    again = host.connect(replaces=victim.session)
    assert again.session_index == victim.session_index
    assert host.run(again, Operation(Kind.GET, key(0)))[0].live == 4


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), bit=st.integers(0, 8 * 128 - 1), before=st.integers(0, 4))
def test_no_flipped_bit_of_a_command_harms_another_client(seed, bit, before):
    """Even one that makes the record malformed: each of its lines is then refused for itself, or waits for more."""
    host, rng = RingHost(), random.Random(seed)
    client, other = host.connect(), host.connect(holder(b"bob"))
    record = bytearray(client.seal([Operation(Kind.DELETE, key(1))] * 4))
    assert len(record) == 128
    record[bit // 8] ^= 1 << bit % 8
    for _ in range(before):
        host.put(other.seal([Operation(Kind.PUT, key(1), rng.randbytes(4))]))
    host.put(bytes(record))
    while host.device.step():
        pass
    for _ in range(before):
        other.open(host.take())
    while host.counter(Counter.RESPONSES_TAKEN) < host.counter(Counter.RESPONSES_WRITTEN):
        refused = read_header(host.take())
        assert (refused.type, refused.lines) == (RecordType.REFUSED, 1)
    _, (told,) = host.run(other, Operation(Kind.GET, key(1)))
    assert told.status is (Status.OK if before else Status.NOT_FOUND)
    assert host.device.state is State.READY


@pytest.mark.sec_cm("DEVICE.FAULT.LATCH")
@pytest.mark.parametrize("attack", ["page", "pages of old"])
def test_attacks_on_pages_latch_a_fault_and_later_answers_stay_away(attack):
    host = RingHost()
    client, other = host.connect(), host.connect()
    old = bytes(host.buffer[host.layout.pages :])
    records = [client.seal([Operation(Kind.PUT, key(n), b"data")]) for n in range(4)]
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
        host.put(client.seal([Operation(Kind.GET, key(0))]))
        host.device.step()
    assert host.fault is Fault.PAGE_TAG
    assert host.device._map is None
    assert host.device._sessions is None
    before = read_counter(host.buffer, Counter.RESPONSES_WRITTEN)
    host.put(other.seal([NOP]))
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
    host = RingHost()
    client, other = host.connect(), ClientSession(PARAMS, holder())
    hello = other.hello()
    follows = {"HELLO": hello, "CONFIRM": other.confirm(host.exchange(hello)[0])}
    for number in range(host.layout.pages, host.layout.size):
        host.buffer[number] ^= 1
    host.put(client.seal([Operation(Kind.GET, key(1))]))
    host.put(follows[last] if last in follows else client.seal([Operation(CLOSE)]))
    host.device.step()
    assert host.fault is Fault.PAGE_TAG


@pytest.mark.sec_cm("SESSION.FORMAT.ENDS")
def test_a_format_behind_the_clients_back_ends_its_session():
    host = RingHost()
    client = host.connect()
    first = client.map_id
    client.open(host.exchange(client.seal([Operation(Kind.PUT, key(1), b"data")]))[0])
    host.request(Request.FORMAT)
    record = client.seal([Operation(Kind.GET, key(1))])
    assert host.exchange(record) == [refusal(read_header(record), Refusal.UNKNOWN_SESSION)]
    assert host.connect().map_id != first


def test_stop_erases():
    host = RingHost()
    client = host.connect()
    host.request(Request.STOP)
    assert host.device.state is State.STOPPED
    host.put(client.seal([NOP]))
    assert host.device.step() == 0


def test_what_is_erased_stays_away():
    host = RingHost()
    host.request(Request.STOP)
    host.request(Request.FORMAT)
    assert host.device.state is State.STOPPED
    assert host.device._map is None


def test_a_request_in_the_control_block_does_as_the_register_does():
    host = RingHost()
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
    lines = [at // 64 for at, _ in taken]
    assert MIRROR % 64 == 0
    assert lines.count(MIRROR // 64) == 1
    theirs = {int(counter) // 64 for counter in Counter if counter.name.endswith(("FETCHED", "RESPONSES_WRITTEN"))}
    ours = {int(counter) // 64 for counter in Counter if counter.name.endswith(("COMMANDS_WRITTEN", "TAKEN"))}
    assert len(theirs) == len(ours) == 1  # a line has one writer
    assert theirs != ours


def test_a_root_key_has_one_size():
    with pytest.raises(InputError, match="a root key has 32 bytes, not 16"):
        DeviceModel(PARAMS, bytes(16), bytearray(BufferLayout(PARAMS, 128).size), ring_lines=128)


@pytest.mark.sec_cm("DEVICE.FAULT.LATCH")
def test_whatever_stops_a_batch_latches_a_fault(monkeypatch):
    host = RingHost()
    client = host.connect()
    host.put(client.seal([NOP]))
    monkeypatch.setattr(host.device._map, "execute_arrays", lambda *_: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        host.device.step()
    assert host.fault is Fault.INTERNAL
    assert host.device._sessions is None
