"""The synchronous client, connected to a model behind a small relay: what it answers, and how it fails."""

# Long: every way to use the client, and every way in which it may fail, share one small relay.
import threading
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import omap
from host.client.conversation import Conversation
from omap.errors import (
    FullError,
    InputError,
    MapChangedError,
    RollbackError,
    SessionError,
    UnknownFateError,
)
from omap.operations import Kind, Operation, Response, Status
from omap.presets import preset
from omap.wire import LEAST_RING_LINES, LINE_BYTES, RecordCodec, RecordType, Refusal, read_header, refusal
from tests.support.host.clients import at_most, columns, key, listed, number_from, puts
from tests.support.host.rogue import CLIENT, trickle
from tests.support.oracle import expected

TINY = preset("TINY")


def connect(relay, **options):
    return omap.connect(relay.url, **{"client": CLIENT, "timeout": 5} | options)


operations = st.lists(
    st.one_of(
        st.just(Operation(Kind.NOP)),
        st.builds(Operation, st.just(Kind.GET), st.integers(0, 15).map(key)),
        st.builds(Operation, st.just(Kind.PUT), st.integers(0, 15).map(key), st.binary(min_size=4, max_size=4)),
        st.builds(Operation, st.just(Kind.DELETE), st.integers(0, 15).map(key)),
    ),
    max_size=40,
)


@settings(max_examples=25)
@given(
    batches=st.lists(operations, max_size=4),
    window=st.none() | st.integers(1, 40),
    limit=st.integers(1, 60),
    most=st.sampled_from([1, 2, 7, 255]),
    arrays=st.booleans(),
)
def test_answers_are_those_of_a_dict_whatever_window_limits_and_form(shared, batches, window, limit, most, arrays):
    shared.in_thread(shared.format)
    oracle = {}
    with (
        patch.object(Conversation, "room", at_most(most)),
        connect(shared, window=window, record_limit=limit) as client,
    ):
        for batch in batches:
            wanted = [expected(oracle, TINY.capacity, operation) for operation in batch]
            assert (listed(client.execute_arrays(*columns(batch))) if arrays else client.execute(batch)) == wanted
        assert len(client) == len(oracle)


def test_it_takes_whatever_holds_bytes(relay):
    keys, values = np.array([b"one!", b"two!"], "S4"), np.array([b"1234", b"5678"], "S4")
    with connect(relay) as client:
        assert client.put(bytearray(b"key!"), memoryview(b"abcd")) is None
        assert client.get(np.bytes_(b"key!")) == b"abcd"
        assert client.get(b"none", b"default") == b"default"
        assert client.put_many(keys, values) == 2
        assert client.get_many(keys)[0].tobytes() == b"12345678"
        assert bytearray(b"two!") in client
        with pytest.raises(InputError, match=r"operation 0: it must be an Operation, .* not a tuple of 2"):
            client.execute([("GET", b"key!")])


def test_it_is_a_map(relay):
    with connect(relay) as client:
        assert isinstance(client, omap.ObliviousMap)
        assert client.params == TINY
        assert client.put(key(1), b"data") is None
        assert client.put(key(1), b"more") == b"data"
        assert client[key(1)] == b"more"
        assert key(2) not in client
        client[key(2)] = b"next"
        assert len(client) == 2
        del client[key(1)]
        with pytest.raises(KeyError, match="not in the map"):
            client[key(1)]
        assert client.delete(key(1)) is None
        assert client.execute([]) == []
        assert client
        with pytest.raises(InputError, match="operation 1: a key must be 4 bytes, not 5 bytes"):
            client.execute([Operation(Kind.NOP), Operation(Kind.GET, b"12345")])
        with pytest.raises(InputError, match="its host does"):
            client.format()


def test_arrays_go_in_and_out_and_progress_is_told(relay):
    told = []
    with connect(relay, window=5) as client:
        keys = np.arange(40, dtype=np.uint8).reshape(10, 4)
        values = keys[::-1].copy()
        assert client.put_many(keys, values, progress=lambda done, total: told.append((done, total))) == 10
        assert told == sorted(told)
        assert told[-1] == (10, 10)
        assert client.put_many([bytes(keys[0])], [b"zero"]) == 0
        found_values, found = client.get_many([bytes(keys[0]), b"none", bytes(keys[9])])
        assert found.tolist() == [True, False, True]
        assert found_values.tobytes() == b"zero" + bytes(4) + values[9].tobytes()
        assert client.get_many(np.zeros((0, 4), np.uint8))[0].shape == (0, 4)
        with pytest.raises(InputError, match=r"keys must be an \(n, 4\) array"):
            client.put_many(np.zeros((2, 5), np.uint8), values)
        with pytest.raises(InputError, match="2 keys came with 1 values"):
            client.put_many([key(1), key(2)], [key(1)])


@pytest.mark.parametrize("window", [5, None])
def test_arrays_of_many_records_are_what_single_operations_are(relay, window):
    told = []
    with connect(relay, window=window) as client:
        keys = np.arange(4 * 700, dtype=np.uint32).astype(np.uint8).reshape(700, 4)[:, ::-1] % 3  # many of them equal
        values = np.arange(4 * 700, dtype=np.uint32).astype(np.uint8).reshape(700, 4)
        distinct = {row.tobytes(): value.tobytes() for row, value in zip(keys, values, strict=True)}
        assert client.put_many(keys, values, progress=lambda done, total: told.append(done)) == len(distinct) <= 12
        assert told[-1] == 700
        found_values, found = client.get_many(keys)
        assert found.all()
        assert [value.tobytes() for value in found_values] == [distinct[row.tobytes()] for row in keys]
        assert client.delete_many(keys) == len(distinct)
        assert client.delete_many(keys) == len(client) == 0
        for kinds in ([4], [-1], [1.5], [[1]], [1, 1]):
            with pytest.raises(InputError, match="kinds"):
                client.execute_arrays(kinds, [key(1)], [key(1)])
        assert client.ping().sequence == 4 * 700 + 1  # what was refused was not sent


def test_arrays_whose_fate_is_unknown_count_operations(relay):
    relay.response = lambda connection, number, record: [record] if connection or number < 2 + 1 else relay.cut() or []
    keys = np.zeros((600, 4), np.uint8)
    with connect(relay) as client:
        with pytest.raises(UnknownFateError, match="of 600 operations 253 were answered") as caught:
            client.put_many(keys, keys)
        error = caught.value
        assert (error.answered, list(error.responses)) == (253, [])
        assert error.in_doubt in (253, 347)
        assert error.answered + error.in_doubt + error.not_sent == 600
        assert client.ping().sequence >= 253


def test_bulk_work_that_finds_no_room_runs_to_its_end(relay):
    """A host that counts operations does not learn that the map is full."""
    with connect(relay, window=4) as client:
        with pytest.raises(FullError, match="no room for 188 new keys of 200 keys; the others .* capacity is 12"):
            client.put_many([key(n) for n in range(200)], [key(n) for n in range(200)])
        assert len(client) == 12
        assert client.ping().sequence == 200 + 1
        with pytest.raises(FullError, match="no room for a new key"):
            client.put(b"more", b"more")


def test_bulk_load_refuses_what_a_map_refuses(relay):
    with connect(relay) as client:
        client.bulk_load([key(1), key(2)], [b"aaaa", b"bbbb"])
        assert client.get(key(2)) == b"bbbb"
        with pytest.raises(InputError, match="1 of the keys are in the map already"):
            client.bulk_load([key(2), key(3)], [b"aaaa", b"bbbb"])
        with pytest.raises(InputError, match="repeated"):
            client.bulk_load([key(3), key(3)], [b"aaaa", b"bbbb"])
        with pytest.raises(FullError, match="11 new keys need more room than there is: 2 of 12 are live"):
            client.bulk_load([key(n) for n in range(3, 14)], [bytes(4)] * 11)
        assert len(client) == 2


def test_threads_share_a_client(relay):
    wrong = []
    with connect(relay) as client:

        def work(number):
            for step in range(40):
                client.put(key(number), key(step))
                if client.get(key(number)) != key(step):
                    wrong.append((number, step))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(client) == 4
    assert not wrong


def test_a_session_gives_way_to_the_next_before_its_limit(relay, singles):
    with connect(relay, record_limit=10) as client:
        client.execute(puts(95))
        assert [client.get(key(number)) for number in range(8)] == [key(88 + n if n < 7 else 87) for n in range(8)]
        assert client.ping().sequence == 95 + 8
    sessions = {read_header(record).session for record in relay.commands if record[0] == RecordType.DATA}
    assert len(sessions) == 11
    for session in sessions:
        assert sum((record[0], read_header(record).session) == (3, session) for record in relay.commands) <= 10


def test_answers_are_not_lost_with_the_session_after_them(relay, singles):
    """A relay that goes with the last record of a session takes nothing with it that was answered."""
    with connect(relay, record_limit=4) as client:
        relay.response = lambda connection, number, record: [record[: None if number < 2 + 4 else 16]]
        rows = [key(number) for number in range(4)]
        assert client.put_many(rows, rows) == 4
        with pytest.raises(UnknownFateError) as caught:
            client.get_many(rows)
        assert (caught.value.answered, caught.value.in_doubt, caught.value.not_sent) == (0, 0, 4)
        values, found = client.get_many(rows)
        assert found.all()
        assert [row.tobytes() for row in values] == rows


def test_closing_frees_the_session_and_refuses_work(relay):
    client = connect(relay)
    client.put(key(1), b"data")
    client.close()
    client.close()
    with pytest.raises(SessionError, match="was closed"):
        client.get(key(1))
    assert relay.in_thread(lambda: [entry is None for entry in relay.device._sessions._table]) == [True] * 16


@pytest.mark.parametrize(("window", "fewest"), [(7, 15), (1, 100), (None, 1)])
def test_records_hold_what_waits_and_fits_the_window(relay, window, fewest):
    """However large a batch is, no more is in flight than the window allows."""
    flying = []
    with connect(relay, window=window) as client:
        talk = client._talk
        talk.seal, seal = lambda items, count: flying.append(talk.in_flight + count) or seal(items, count), talk.seal
        client.execute(puts(100))
        counts = [read_header(record).count for record in relay.commands[2:]]
        assert max(flying) <= (window or 100)
    assert sum(counts) == 100
    assert len(counts) >= fewest
    assert counts[0] == (window or 100)
    for record in relay.commands[2:] + relay.answers[2:]:
        assert len(record) == LINE_BYTES * RecordCodec(TINY).lines(read_header(record).count)


def test_no_more_lines_are_in_flight_than_a_ring_has(relay):
    """A ring of 128 lines has room for two full records of 64 lines."""
    most = []
    keys = np.arange(4 * 3000, dtype=np.uint32).astype(np.uint8).reshape(3000, 4)
    with connect(relay) as client:
        talk = client._talk
        talk.seal, seal = lambda items, count: (seal(items, count), most.append(talk._lines))[0], talk.seal
        _, found = client.get_many(keys)
        assert not found.any()
    assert max(most) == LEAST_RING_LINES
    assert max(read_header(record).count for record in relay.commands) == RecordCodec(TINY).most_operations


def test_an_interrupted_call_does_not_confuse_the_next(relay):
    class Stop(BaseException):
        pass

    def stop(done, total):
        raise Stop

    with connect(relay, window=4) as client:
        with pytest.raises(Stop):
            client.put_many([key(n) for n in range(8)], [key(n) for n in range(8)], progress=stop)
        assert client.get(key(0)) == key(0)
        assert client.get(b"none") is None


# -- faults ---------------------------------------------------------------------------------------------------------


def test_a_cut_connection_leaves_a_count_of_what_is_in_doubt_and_the_next_call_goes_on(relay, singles):
    def cut_at_10(connection, number, record):
        if (connection, number) == (0, 2 + 10):
            relay.cut()
            return []
        return [record]

    relay.response = cut_at_10
    with connect(relay, window=16) as client:
        with pytest.raises(UnknownFateError) as caught:
            client.execute(puts(64))
        error = caught.value
        assert error.answered == len(error.responses) == 10
        assert error.responses[9] == Response(Status.OK, key(1))
        assert error.answered + error.in_doubt + error.not_sent == 64
        assert 1 <= error.in_doubt <= 16
        assert f"10 were answered, {error.in_doubt} are in doubt" in str(error)
        ran = client.ping().sequence
        assert 10 <= ran <= error.answered + error.in_doubt  # nothing was sent a second time
        assert relay.connections == 2


def test_the_old_session_is_shut_out_when_the_new_one_is_open(relay):
    held = []

    def hold(connection, number, record):
        if connection == 0 and number >= 2:
            held.append(record)
            relay.cut()
            return []
        return [record]

    relay.command = hold
    with connect(relay) as client:
        with pytest.raises(UnknownFateError, match="the peer hung up|the connection broke"):
            client.put(key(1), b"late")
        assert client.get(key(1)) is None
        answers = relay.in_thread(lambda: [relay.exchange(record) for record in held])
        assert [read_header(answer).count for (answer,) in answers] == [Refusal.UNKNOWN_SESSION] * len(held)
        assert client.get(key(1)) is None


def test_silence_is_an_unknown_fate(relay, singles):
    relay.response = lambda connection, number, record: [record] if connection or number < 2 + 3 else []
    with connect(relay, timeout=0.3) as client:
        with pytest.raises(UnknownFateError, match=r"no answer came for 0\.3 s; of 5 operations 3 were answered"):
            client.execute(puts(5))
        assert client.ping().sequence >= 5


def test_a_peer_that_answers_a_byte_at_a_time_gets_no_longer(relay):
    relay.response = lambda connection, number, record: (
        [record] if connection or number < 2 else trickle(relay, record) or []
    )
    with connect(relay, timeout=0.3) as client:
        with pytest.raises(UnknownFateError, match=r"no answer came for 0\.3 s; of 1 operations 0 were answered"):
            client.put(key(1), b"data")
        assert client.get(key(1)) == b"data"


@pytest.mark.sec_cm("CLIENT.REFUSAL.DOUBTED")
@pytest.mark.parametrize("code", [*Refusal, 99])
def test_a_refusal_proves_nothing(relay, code):
    def refuse(connection, number, record):  # although the device has run the command
        if connection == 0 and number == 2:
            return [refusal(read_header(record), code)]
        return [record]

    relay.response = refuse
    with connect(relay) as client:
        with pytest.raises(UnknownFateError, match="without proof: the device refused") as caught:
            client.put(key(1), b"data")
        assert caught.value.in_doubt == 1
        assert client.get(key(1)) == b"data"


@pytest.mark.sec_cm("CLIENT.FAULT.LATCH")
def test_after_tampering_the_client_is_dead_and_says_so(relay, singles):
    relay.response = lambda connection, number, record: [record[:-1] + bytes([record[-1] ^ (number == 4)])]
    with connect(relay) as client:
        with pytest.raises(omap.AlteredError, match="response 2 failed authentication") as caught:
            client.execute(puts(6))
        assert (caught.value.answered, len(caught.value.responses)) == (2, 2)
        assert caught.value.in_doubt == 4
        for _ in range(2):
            with pytest.raises(omap.AlteredError, match="dead since it noticed tampering: response 2 failed"):
                client.get(key(1))
    assert relay.connections == 1


@pytest.mark.sec_cm("CLIENT.OPERATION.RISES")
def test_a_device_that_repeats_numbers_is_noticed(relay):
    with connect(relay) as client:
        client.execute(puts(5))
        relay.in_thread(lambda: number_from(relay.device, 3))
        with pytest.raises(RollbackError, match="operation 3 after 4 had been seen: it is in an earlier state"):
            client.get(key(1))
        with pytest.raises(RollbackError, match="dead since"):
            client.get(key(1))


@pytest.mark.sec_cm("CLIENT.MAP.REMEMBERED")
def test_another_map_after_a_reconnection_is_noticed(relay):
    with connect(relay) as client:
        client.put(key(1), b"data")
        relay.in_thread(relay.format)
        with pytest.raises(UnknownFateError):
            client.get(key(1))
        with pytest.raises(MapChangedError, match="formatted, or another was put in its place"):
            client.get(key(1))


@pytest.mark.parametrize("limit", [2**32, 3])
def test_a_client_goes_on_when_the_known_map_is_back(relay, limit):
    """Nothing was sent to the other map, so that nothing needs to be accepted, and one idle session stays there."""
    with connect(relay, record_limit=limit) as client:
        client.put(key(1), b"data")
        client.put(key(1), b"more")
        first = relay.device, relay.buffer
        relay.in_thread(relay.restart_device)
        for number in range(3):
            with pytest.raises(UnknownFateError if number == 0 else MapChangedError):
                client.put(key(1), b"lost")
        other = relay.device
        relay.device, relay.buffer = first
        relay.in_thread(relay.cut)
        assert client.get(key(1)) == b"more"
        assert other._map.sequence == 0
        assert sum(one is not None for one in other._sessions._table) <= 1  # that asks what is kept of the known map


def test_another_map_at_a_change_of_sessions_is_no_tampering(relay, singles):
    """A batch that needs another session on the way finds another map there: it ends, and the client goes on."""
    with connect(relay, record_limit=4) as client:
        first = relay.device, relay.buffer

        def exchanged(connection, number, record):
            if number == 2 + 3:  # the last answer of the first session
                relay.restart_device()
            return [record]

        relay.response = exchanged
        with pytest.raises(MapChangedError) as caught:
            client.execute(puts(10))
        assert (caught.value.answered, caught.value.in_doubt, caught.value.not_sent) == (4, 0, 6)
        assert [answer.status for answer in caught.value.responses] == [Status.OK] * 4
        relay.response = lambda connection, number, record: [record]
        relay.device, relay.buffer = first
        relay.in_thread(relay.cut)
        assert client.get(key(3)) == key(3)
