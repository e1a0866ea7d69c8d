"""What a client's credential allows, through client, relay and device; and what a client that wants more can try."""

import asyncio
from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import omap
from omap.bodies import responses
from omap.credentials import ALL_RIGHTS, ClientKey, Credential, Right
from omap.errors import AlteredError, DeniedError, FullError, InputError, SessionError, UnknownFateError, WrongKeyError
from omap.operations import Kind, Operation, Response, Status
from omap.presets import preset
from omap.session import ClientSession
from omap.sessions import DeviceSessions
from omap.wire import RecordType, read_header
from tests.support.host.clients import columns, key, listed
from tests.support.host.keys import client_of
from tests.support.host.rogue import KEY

TINY = preset("TINY")
ALICE, BOB = client_of(KEY, name=b"alice"), client_of(KEY, name=b"bob")
READER, WRITER = client_of(KEY, Right.READ), client_of(KEY, Right.WRITE)
MINE, OTHERS = key(0x01000000), key(0x02000000)
SMALL = client_of(KEY, prefix=b"\1")
DENIED = Response(Status.DENIED)


def connect(relay, client, **options):
    return omap.connect(relay.url, client=client, timeout=5, **options)


def may(credential, operation):
    right = Right.READ if operation.kind == Kind.GET else Right.WRITE
    return operation.kind == Kind.NOP or (right in credential.rights and operation.key.startswith(credential.prefix))


# -- what is allowed ---------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(
    rights=st.sampled_from([Right.READ, Right.WRITE, ALL_RIGHTS]),
    prefix=st.sampled_from([b"", b"\0", b"\1"]),
    batch=st.lists(
        st.builds(Operation, st.sampled_from(Kind), st.sampled_from([key(0), key(1), MINE]), st.just(b"data")),
        max_size=30,
    ),
    arrays=st.booleans(),
)
def test_each_client_is_told_what_it_may_be_told_and_no_more(shared, rights, prefix, batch, arrays):
    shared.in_thread(shared.format)
    client, oracle = client_of(KEY, rights, prefix), {}
    with connect(shared, client) as table, connect(shared, ALICE) as owner:
        came = listed(table.execute_arrays(*columns(batch))) if arrays else table.execute(batch)
        for operation, response in zip(batch, came, strict=True):
            if not may(client.credential, operation):
                assert response == DENIED
                continue
            known = None if operation.kind == Kind.NOP else oracle.get(operation.key)
            if operation.kind == Kind.PUT:
                oracle[operation.key] = operation.value
            elif operation.kind == Kind.DELETE:
                oracle.pop(operation.key, None)
            if Right.READ not in rights:
                assert response == Response(Status.OK)
            else:
                missed = operation.kind in (Kind.GET, Kind.DELETE) and known is None
                assert response == Response(Status.NOT_FOUND if missed else Status.OK, known)
        assert len(table) == (len(oracle) if client.credential.sees_map else 0)
        assert {name: owner.get(name) for name in (key(0), key(1), MINE)} == {
            name: oracle.get(name) for name in (key(0), key(1), MINE)
        }


def test_what_is_not_allowed_is_an_error_that_changes_nothing(relay):
    with ExitStack() as stack:
        owner, reader, writer, small = (
            stack.enter_context(connect(relay, client)) for client in (ALICE, READER, WRITER, SMALL)
        )
        owner.put(MINE, b"mine")
        owner.put(OTHERS, b"them")
        for table, kind, work in [
            (reader, "PUT", lambda: reader.put(MINE, b"evil")),
            (reader, "DELETE", lambda: reader.delete(MINE)),
            (writer, "GET", lambda: writer.get(MINE)),
            (writer, "GET", lambda: MINE in writer),
            (small, "GET", lambda: small.get(OTHERS)),
            (small, "PUT", lambda: small.put(OTHERS, b"evil")),
            (small, "DELETE", lambda: small.delete(OTHERS)),
        ]:
            with pytest.raises(DeniedError, match=f"^the credential of this client does not allow {kind} of this key"):
                work()
            assert table.execute([Operation(Kind.NOP)]) == [Response(Status.OK)]
        assert reader.get(OTHERS) == b"them"
        assert writer.put(MINE, b"late") is None  # not told that there was a value
        writer[OTHERS] = b"them"
        del writer[OTHERS]  # nor whether there was none
        assert OTHERS not in owner
        owner.put(OTHERS, b"them")
        assert small.get(MINE) == b"late"
        assert (owner.get(MINE), owner.get(OTHERS), len(owner)) == (b"late", b"them", 2)


def test_bulk_work_that_is_not_allowed_runs_to_its_end(relay):
    """A host that counts operations does not learn that some were denied."""
    keys = np.array([MINE, OTHERS, MINE, OTHERS], "S4")
    with connect(relay, READER) as reader, connect(relay, SMALL, window=1) as small:
        before = reader.ping().sequence
        with pytest.raises(DeniedError, match="does not allow 4 of 4 operations, each a PUT"):
            reader.put_many(keys, keys)
        with pytest.raises(DeniedError, match="does not allow 2 of 4 operations, each a PUT; the others ran"):
            small.put_many(keys, keys)
        assert reader.get_many(keys)[1].tolist() == [True, False, True, False]
        with pytest.raises(DeniedError, match="does not allow 2 of 4 operations, each a GET"):
            small.get_many(keys)
        with pytest.raises(DeniedError, match="does not allow 2 of 4 operations, each a DELETE"):
            small.delete_many(keys)
        assert not reader.get_many(keys)[1].any()
        assert reader.ping().sequence - before == 6 * 4 + 1
        with pytest.raises(DeniedError):
            reader.bulk_load(keys[:2], keys[:2])


def test_the_asyncio_client_raises_the_same(relay):
    async def run():
        async with await omap.connect_async(relay.url, client=READER, timeout=5) as reader:
            for work in (reader.put(MINE, b"evil"), reader.delete(MINE), reader.put_many([MINE], [MINE])):
                with pytest.raises(DeniedError):
                    await work
            with pytest.raises(DeniedError):
                await reader.delete_many([MINE])
            assert await reader.execute([Operation(Kind.PUT, MINE, b"evil"), Operation(Kind.NOP)]) == [
                DENIED,
                Response(Status.OK),
            ]
            assert listed(await reader.execute_arrays([2, 1], [MINE, MINE], [MINE, MINE])) == [
                DENIED,
                Response(Status.NOT_FOUND),
            ]
            assert await reader.get(MINE) is None

    asyncio.run(run())


def test_a_writer_is_told_that_the_map_is_full(relay):
    with connect(relay, WRITER) as writer:
        assert writer.put_many([key(number) for number in range(12)], [key(0)] * 12) == 12
        with pytest.raises(FullError):
            writer.put(MINE, b"more")
        assert writer.delete_many([key(0), key(99)]) == 0  # not told which of them were there
        writer.put(MINE, b"more")


def test_a_prefix_that_is_longer_than_a_key_is_refused_before_anything_is_sent(relay):
    with pytest.raises(InputError, match="the prefix has 5 bytes and keys of this map have 4"):
        connect(relay, client_of(KEY, prefix=b"12345"))
    assert relay.commands == []


# -- who wants more ----------------------------------------------------------------------------------------------------


def handshake(relay, client, said=None):
    """Open a session by hand, with another credential in HELLO than the client's, if one is given."""
    session = ClientSession(TINY, client)
    hello = session.hello()
    if said is not None:
        mine = client.credential.pack()
        assert hello.count(mine) == 1
        hello = hello.replace(mine, said.pack())
    (answer,) = relay.in_thread(lambda: relay.exchange(hello))
    (answer,) = relay.in_thread(lambda: relay.exchange(session.confirm(answer)))
    session.opened(answer)
    return session


def widened(client, credential):
    """Return a client that says it has another credential than its own key is for."""
    return ClientKey(credential, client.key, client.names_key)


WIDER = [
    (READER, Credential()),
    (READER, Credential(Right.WRITE)),
    (WRITER, Credential()),
    (SMALL, Credential()),
    (SMALL, Credential(prefix=b"\2")),
    (client_of(KEY, Right.READ, b"\1"), Credential(ALL_RIGHTS, b"\1")),
    (ALICE, BOB.credential),
]


@pytest.mark.sec_cm("SESSION.KEY.OWN")
@pytest.mark.parametrize(("client", "credential"), WIDER)
def test_no_client_can_claim_another_credential_than_its_own(relay, client, credential):
    with pytest.raises(WrongKeyError):
        connect(relay, widened(client, credential))
    with pytest.raises(WrongKeyError):  # nor by a HELLO that was changed on the way
        handshake(relay, client, credential)
    assert relay.in_thread(lambda: [entry for entry in relay.device._sessions._table if entry]) == []
    connect(relay, client).close()


def replayed(relay, root):
    """Return a session of Bob, derived anew from what passed, as if ``root`` were the root key."""
    hello, answer = relay.commands[0], relay.answers[0]
    device = DeviceSessions(TINY, root, nonce=lambda: answer[16:32])
    device._last_session = read_header(answer).session - 1
    session = ClientSession(TINY, client_of(root, name=b"bob"))
    session._nonce = hello[16:32]
    session.opened(device.confirm(session.confirm(device.hello(session.hello(), answer[32:48]))))
    return session


@pytest.mark.sec_cm("SESSION.KEY.OWN")
def test_a_client_that_hears_all_of_another_reads_nothing(relay):
    """Alice has her own file, and every byte of Bob's handshake and of his records."""
    with connect(relay, BOB) as table:
        table.put(MINE, b"text")
        assert table.get(MINE) == b"text"
    assert all(b"text" not in record for record in relay.commands + relay.answers)
    secret = replayed(relay, KEY)  # with the root key all of it can be read
    heard = [responses(secret.codec, secret.open(answer)) for answer in relay.answers[2:4]]
    assert heard == [[Response(Status.OK)], [Response(Status.OK, b"text")]]
    for known in (ALICE.key, ALICE.names_key):
        with pytest.raises(AlteredError):
            replayed(relay, known).open(relay.answers[2])
    spy = ClientSession(TINY, widened(ALICE, BOB.credential))
    spy._nonce = relay.commands[0][16:32]
    with pytest.raises(WrongKeyError):  # what she derives is not what the device has confirmed
        spy.confirm(relay.answers[0])


@pytest.mark.sec_cm("SESSION.KEY.OWN")
def test_a_client_can_not_pass_as_the_device_to_another(relay):
    """Mallory answers in the place of the relay, with a device that has her key in the place of the root key."""
    relay.key = ALICE.key
    relay.in_thread(relay.restart_device)
    with pytest.raises(WrongKeyError):
        connect(relay, BOB)
    with pytest.raises(WrongKeyError):
        connect(relay, ALICE)  # her key is no root key for herself either
    assert [record[0] for record in relay.commands] == [RecordType.HELLO] * 2


@pytest.mark.sec_cm("SESSION.KEY.OWN")
def test_records_of_one_client_are_worth_nothing_in_the_session_of_another(relay):
    """A record that Alice sealed is put under the header of Bob's session: nothing of it runs."""
    alice, bob = handshake(relay, ALICE), handshake(relay, BOB)
    forged = alice.seal([Operation(Kind.PUT, MINE, b"evil")])
    head = read_header(forged)._replace(session=bob.session, session_index=bob.session_index).pack()
    (answer,) = relay.in_thread(lambda: relay.exchange(head + forged[len(head) :]))
    assert read_header(answer).type == RecordType.REFUSED
    (answer,) = relay.in_thread(lambda: relay.exchange(forged))
    assert responses(alice.codec, alice.open(answer)) == [Response(Status.OK)]
    with connect(relay, BOB) as table:
        assert table.get(MINE) == b"evil"  # that was Alice, in her own session, once
        assert table.ping().sequence == 2


@pytest.mark.sec_cm("SESSION.OLD.OWN")
def test_a_client_ends_no_session_of_another_by_naming_it_as_its_own(relay):
    bob = handshake(relay, BOB)
    alice = ClientSession(TINY, ALICE, replaces=bob.session)
    (answer,) = relay.in_thread(lambda: relay.exchange(alice.hello()))
    relay.in_thread(lambda: relay.exchange(alice.confirm(answer)))
    (answer,) = relay.in_thread(lambda: relay.exchange(bob.seal([Operation(Kind.NOP)])))
    assert responses(bob.codec, bob.open(answer)) == [Response(Status.OK)]


def test_rights_do_not_depend_on_the_software_of_the_client(relay):
    """The device enforces them; whatever a client seals, it is told DENIED."""
    reader = handshake(relay, READER)
    for kind in (Kind.PUT, Kind.DELETE):
        record = reader.seal([Operation(kind, MINE, b"evil"), Operation(Kind.GET, MINE)])
        (answer,) = relay.in_thread(lambda record=record: relay.exchange(record))
        assert responses(reader.codec, reader.open(answer)) == [DENIED, Response(Status.NOT_FOUND)]


def test_a_refused_credential_is_told_as_such(relay):
    """Software that sends undefined rights is told so by the device, although its own checks were taken out."""
    said = bytes([7]) + READER.credential.pack()[1:]
    relay.command = lambda connection, number, record: [record.replace(READER.credential.pack(), said)]
    with pytest.raises(SessionError, match="the credential has rights or a prefix that no client of this map can have"):
        connect(relay, READER)


def test_a_writer_in_doubt_knows_what_was_answered(relay, singles):
    """The fates of operations are those of any client."""
    relay.response = lambda connection, number, record: [record] if connection or number < 4 else relay.cut() or []
    with connect(relay, WRITER) as writer:
        with pytest.raises(UnknownFateError) as caught:
            writer.execute([Operation(Kind.PUT, MINE, b"more")] * 5)
        assert list(caught.value.responses) == [Response(Status.OK)] * 2
        assert caught.value.answered + caught.value.in_doubt + caught.value.not_sent == 5
