"""The device's table of sessions: who may open one, who is closed for whom, and handshakes that are pending."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omap.credentials import Credential, Right
from omap.errors import SessionError
from omap.operations import Kind, Operation
from omap.presets import preset
from omap.session import ClientSession
from omap.sessions import SHARE, DeviceSessions
from omap.wire import HEADER, PENDING_HANDSHAKES, SESSIONS, RecordType, Refusal, read_header, refusal
from tests.support.sessions import MAP_ID, ROOT_KEY, holder, opened, pair, receive

PARAMS = preset("SMALL")
NOP = Operation(Kind.NOP)


def lives(client, device):
    """Return whether the device runs a further record of a session."""
    return receive(device, client.seal([NOP])) is not Refusal.UNKNOWN_SESSION


@pytest.mark.sec_cm("SESSION.OLD.FENCED")
def test_commands_of_a_replaced_session_never_run():
    old, device = pair()
    held_back = old.seal([Operation(Kind.PUT, b"8 bytes!", b"too late")])
    opened(device, replaces=old.session)
    assert receive(device, held_back) is Refusal.UNKNOWN_SESSION


@pytest.mark.sec_cm("SESSION.OLD.OWN")
@given(one=st.integers(0, 5), other=st.integers(0, 5))
def test_a_client_replaces_no_session_of_another(one, other):
    clients = [
        holder(b"alice"), holder(b"bob"), holder(), holder(b"alice", Right.READ),
        holder(b"alice", prefix=b"a"), holder(b"alice", prefix=b"b"),
    ]  # fmt: skip
    device = DeviceSessions(PARAMS, ROOT_KEY)
    old = opened(device, clients[one])
    new = opened(device, clients[other], replaces=old.session)
    assert lives(old, device) == (one != other)
    assert lives(new, device)


def test_the_replaced_session_is_part_of_the_confirmation():
    old, device = pair()
    client = ClientSession(PARAMS, holder())
    record = bytearray(client.confirm(device.hello(client.hello(), MAP_ID)))
    record[HEADER.size + 16 : HEADER.size + 20] = old.session.to_bytes(4, "big")
    assert read_header(device.confirm(bytes(record))).count == Refusal.WRONG_KEY
    assert lives(old, device)


def test_sessions_do_not_disturb_each_other_and_the_longest_unused_gives_way():
    device = DeviceSessions(PARAMS, ROOT_KEY)
    clients = [opened(device, holder(bytes([number + 1]))) for number in range(SESSIONS)]
    assert [client.session_index for client in clients] == list(range(SESSIONS))
    assert all(lives(client, device) for client in clients)
    newest = opened(device, holder(b"newest"))
    assert newest.session_index == 0
    assert all(lives(client, device) for client in [*clients[1:], newest])
    assert not lives(clients[0], device)


@pytest.mark.sec_cm("SESSION.SHARE.BOUNDED")
def test_whoever_opens_ever_more_sessions_closes_its_own():
    device, greedy = DeviceSessions(PARAMS, ROOT_KEY), holder(b"greedy")
    others = [opened(device, holder(bytes([number + 1]))) for number in range(SESSIONS - SHARE)]
    for _ in range(3 * SESSIONS):
        last = opened(device, greedy)
    assert all(lives(client, device) for client in [*others, last])


@given(steps=st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=80))
def test_the_table_is_what_the_rule_says(steps):
    """Of drawn clients, some use their last session and some open another one."""
    device, table, ends = DeviceSessions(PARAMS, ROOT_KEY), [None] * SESSIONS, {}
    for clock, (name, opens) in enumerate(steps):
        if opens or name not in ends:
            mine = [place for place in range(SESSIONS) if table[place] and table[place][0] == name]
            if None in table:
                place = table.index(None)
            else:
                candidates = mine if len(mine) >= 4 else range(SESSIONS)
                place = min(candidates, key=lambda at: table[at][1])
            ends[name] = opened(device, holder(bytes([name + 1])))
            assert ends[name].session_index == place
            table[place] = [name, clock, ends[name].session]
        else:
            client = ends[name]
            here = table[client.session_index]
            open_ = here[2] == client.session
            assert lives(client, device) == open_
            if open_:
                here[1] = clock


def test_a_closed_session_is_gone():
    client, device = pair()
    record = client.seal([NOP])
    receive(device, record)
    device.close(read_header(record))
    record = client.seal([NOP])
    assert receive(device, record) is Refusal.UNKNOWN_SESSION
    with pytest.raises(SessionError, match="open no longer"):
        client.open(refusal(read_header(record), Refusal.UNKNOWN_SESSION))


# -- credentials --------------------------------------------------------------------------------------------------


packed = st.one_of(
    st.binary(min_size=32, max_size=32),
    st.builds(
        lambda rights, length, prefix, name: (bytes([rights, length]) + prefix.ljust(8, b"\0") + name).ljust(32, b"\0"),
        st.integers(0, 5),
        st.integers(0, 10),
        st.binary(max_size=8),
        st.binary(max_size=22),
    ),
)


@pytest.mark.sec_cm("SESSION.CREDENTIAL.CHECKED")
@pytest.mark.parametrize("name", ["TINY", "SMALL", "WIDE"])
@given(credential=packed)
def test_a_credential_that_nobody_can_have_is_refused_before_a_key_is_derived(name, credential):
    params = preset(name)
    device = DeviceSessions(params, ROOT_KEY)
    client = ClientSession(params, holder())
    hello = client.hello()
    answer = device.hello(hello[:32] + credential + hello[64:], MAP_ID)
    rights, length, prefix = credential[0], credential[1], credential[2:10]
    allowed = rights in (1, 2, 3) and length <= min(8, params.key_bytes) and not any(prefix[length:])
    if allowed:
        assert read_header(answer)[:3] == (RecordType.HELLO, 0, 2)
        return
    assert answer == refusal(read_header(hello), Refusal.CREDENTIAL)
    assert not any(device._pending)
    assert device._last_session == 0
    with pytest.raises(SessionError, match="provision the client anew"):
        client.confirm(answer)


def test_session_numbers_begin_again_after_the_last():
    """Whoever sends HELLOs for days must not stop the device."""
    device = DeviceSessions(PARAMS, ROOT_KEY)
    device._last_session = 2**32 - 2
    for session in (2**32 - 1, 0, 1):
        client = ClientSession(PARAMS, holder())
        client.opened(device.confirm(client.confirm(device.hello(client.hello(), MAP_ID))))
        assert client.session == session


# -- pending handshakes -------------------------------------------------------------------------------------------


def hello_of_another(device):
    return device.hello(ClientSession(PARAMS, holder()).hello(), MAP_ID)


@given(order=st.permutations(range(PENDING_HANDSHAKES)))
def test_sixteen_handshakes_are_pending_and_end_in_any_order(order):
    device = DeviceSessions(PARAMS, ROOT_KEY)
    clients = [ClientSession(PARAMS, holder(bytes([number + 1]))) for number in range(PENDING_HANDSHAKES)]
    confirms = [client.confirm(device.hello(client.hello(), MAP_ID)) for client in clients]
    for number in order:
        clients[number].opened(device.confirm(confirms[number]))
    assert all(lives(client, device) for client in clients)


@given(others=st.integers(0, 3 * PENDING_HANDSHAKES))
def test_the_sixteenth_hello_after_it_drops_a_handshake(others):
    device, client = DeviceSessions(PARAMS, ROOT_KEY), ClientSession(PARAMS, holder())
    confirm = client.confirm(device.hello(client.hello(), MAP_ID))
    for _ in range(others):
        hello_of_another(device)
    if others < PENDING_HANDSHAKES:
        client.opened(device.confirm(confirm))
    with pytest.raises(SessionError, match="too many other sessions .* try again"):
        client.opened(device.confirm(confirm))  # once only


def test_a_wrong_confirmation_leaves_its_handshake_pending():
    device, client = DeviceSessions(PARAMS, ROOT_KEY), ClientSession(PARAMS, holder())
    confirm = client.confirm(device.hello(client.hello(), MAP_ID))
    altered = confirm[: HEADER.size] + bytes(16) + confirm[HEADER.size + 16 :]
    assert read_header(device.confirm(altered)).count == Refusal.WRONG_KEY
    client.opened(device.confirm(confirm))


def test_each_pending_handshake_keeps_its_own_credential():
    device = DeviceSessions(PARAMS, ROOT_KEY)
    one, other = (ClientSession(PARAMS, holder(name)) for name in (b"alice", b"bob"))
    confirms = [client.confirm(device.hello(client.hello(), MAP_ID)) for client in (one, other)]
    for client, confirm in zip((other, one), reversed(confirms), strict=True):
        client.opened(device.confirm(confirm))
    for client, name in ((one, b"alice"), (other, b"bob")):
        header = read_header(client.seal([NOP]))
        assert device.credential(header) == Credential(name=name)
