"""Sessions and records: everything arrives once, and whatever is altered, repeated or forged is noticed."""

import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from omap.errors import AlteredError, LostError, ReplayedError, SessionError, WrongKeyError
from omap.kdf import cmac, derive
from omap.operations import Kind, Operation, Response, Status
from omap.params import TAG_BYTES
from omap.presets import preset
from omap.session import RECORD_LIMIT, ClientSession, DeviceSessions, session_keys
from omap.wire import (
    CLOSE,
    HEADER,
    PENDING_HANDSHAKES,
    SESSIONS,
    Direction,
    Header,
    RecordCodec,
    RecordType,
    Refusal,
    Reply,
    read_header,
)

PARAMS = preset("SMALL")
KEY = bytes(range(32))
MAP_ID = b"map id, 16 bytes"


def opened(device=None, key=KEY, replaces=0, params=PARAMS):
    device = device or DeviceSessions(PARAMS, KEY)
    client = ClientSession(params, key, replaces=replaces)
    client.opened(device.confirm(client.confirm(device.hello(client.hello(), MAP_ID))))
    return client, device


def send(client, device, operation):
    record = client.seal(operation)
    return record, device.open(record, read_header(record))


def answer(device, record, reply):
    return device.seal(read_header(record), reply)


names = st.binary(min_size=8, max_size=8)
operations = st.one_of(
    st.just(Operation(Kind.NOP)),
    st.builds(Operation, st.just(Kind.GET), names),
    st.builds(Operation, st.just(Kind.PUT), names, names),
    st.builds(Operation, st.just(Kind.DELETE), names),
)
replies = st.builds(
    Reply,
    st.builds(Response, st.sampled_from(Status), st.none() | names),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
)


@pytest.mark.sec_cm("COMMAND.OP.UNIFORM")
@given(steps=st.lists(st.tuples(operations, replies), max_size=8))
def test_commands_and_replies_arrive_and_all_records_have_one_size(steps):
    client, device = opened()
    for operation, reply in steps:
        record, command = send(client, device, operation)
        kind, key, value = command
        assert kind == operation.kind
        assert kind == Kind.NOP or key == operation.key
        assert kind != Kind.PUT or value == operation.value
        back = answer(device, record, reply)
        assert client.open(back) == reply
        assert len(record) == len(back) == client.codec.record_bytes
        header, returned = read_header(record), read_header(back)
        assert (header.type, header.session_index, header.code, header.session) == (
            3,
            client.session_index,
            0,
            client.session,
        )
        assert returned == header


def test_set_up_uses_records_of_the_same_size():
    device, client = DeviceSessions(PARAMS, KEY), ClientSession(PARAMS, KEY)
    records = [client.hello()]
    records.append(device.hello(records[-1], MAP_ID))
    records.append(client.confirm(records[-1]))
    records.append(device.confirm(records[-1]))
    assert {len(record) for record in records} == {RecordCodec(PARAMS).record_bytes}
    assert client.map_id == MAP_ID


@pytest.mark.sec_cm("RECORD.NONCE.UNIQUE")
def test_no_key_stream_is_used_twice():
    client, _ = opened()
    nop = Operation(Kind.NOP)
    ciphertexts = [client.seal(nop)[HEADER.size : -TAG_BYTES] for _ in range(3)]
    assert len(set(ciphertexts)) == 3  # the plaintexts are equal
    # the same key in both directions would still give different streams
    keys = session_keys(KEY, bytes(16), bytes(16), bytes(32), bytes(16), 1)
    assert len({keys.command, keys.response, keys.confirmation}) == 3
    assert Direction.COMMAND != Direction.RESPONSE


# -- attacks ------------------------------------------------------------------------------------------------------


@pytest.mark.sec_cm("SESSION.KEY.CONFIRM")
def test_another_root_key_opens_nothing():
    device = DeviceSessions(PARAMS, bytes(32))
    client = ClientSession(PARAMS, KEY)
    hello = device.hello(client.hello(), MAP_ID)
    with pytest.raises(WrongKeyError, match="check the key file"):
        client.confirm(hello)
    # a client that does not check is refused by the device
    forged = Header(RecordType.CONFIRM, 0, 0, read_header(hello).session, 0).pack() + bytes(48)
    refusal = device.confirm(forged.ljust(64, b"\0"))
    assert read_header(refusal).type == RecordType.REFUSED
    assert read_header(refusal).code == Refusal.WRONG_KEY
    with pytest.raises(WrongKeyError):
        client.opened(refusal)


@given(at=st.integers(16, 63), bit=st.integers(0, 7))
def test_an_altered_hello_is_noticed(at, bit):
    device, client = DeviceSessions(PARAMS, KEY), ClientSession(PARAMS, KEY)
    hello = bytearray(device.hello(client.hello(), MAP_ID))
    hello[at] ^= 1 << bit
    with pytest.raises(WrongKeyError):
        client.confirm(bytes(hello))


def test_a_relay_that_lies_about_the_parameters_is_noticed():
    with pytest.raises(WrongKeyError, match="other parameters"):
        opened(params=preset("TINY"))


@given(operation=operations, data=st.data())
def test_any_flipped_bit_of_a_command_is_noticed(operation, data):
    client, device = opened()
    record = bytearray(client.seal(operation))
    bit = data.draw(st.integers(0, 8 * len(record) - 1))
    record[bit // 8] ^= 1 << bit % 8
    header = read_header(record)
    if header.type != RecordType.DATA or (header.session_index, header.session) != (
        client.session_index,
        client.session,
    ):
        # it does not belong to an open session any more: refused, which attacks nobody
        assert header.type != RecordType.DATA or device.open(bytes(record), header) == Refusal.UNKNOWN_SESSION
        return
    if header.sequence >= RECORD_LIMIT:
        wanted = Refusal.REKEY
    else:
        wanted = Refusal.OUT_OF_TURN if header.sequence else Refusal.ALTERED
    assert device.open(bytes(record), header) is wanted


@given(reply=replies, data=st.data())
def test_any_flipped_bit_of_a_response_is_noticed(reply, data):
    client, device = opened()
    record, _ = send(client, device, Operation(Kind.NOP))
    back = bytearray(answer(device, record, reply))
    bit = data.draw(st.integers(0, 8 * len(back) - 1))
    back[bit // 8] ^= 1 << bit % 8
    with pytest.raises((AlteredError, LostError, SessionError)):
        client.open(bytes(back))


@pytest.mark.sec_cm("RECORD.SEQ.STRICT")
def test_repeats_gaps_and_exchanges_are_told_apart():
    for turns in ([0, 1, 1], [0, 0], [0, 2], [1]):
        client, device = opened()
        records = [client.seal(Operation(Kind.NOP)) for _ in range(3)]
        told = [device.open(records[turn], read_header(records[turn])) for turn in turns]
        assert told[-1] is Refusal.OUT_OF_TURN
        assert not any(isinstance(one, Refusal) for one in told[:-1])

    client, device = opened()
    records = [client.seal(Operation(Kind.NOP)) for _ in range(3)]
    for record in records:
        device.open(record, read_header(record))
    reply = Reply(Response(Status.OK), 0, 0, 0)
    answers = [answer(device, record, reply) for record in records]
    client.open(answers[0])
    with pytest.raises(ReplayedError, match="response 0 came again"):
        client.open(answers[0])
    with pytest.raises(LostError, match="response 2 came before response 1"):
        client.open(answers[2])
    other, _ = opened(device)
    with pytest.raises(AlteredError, match="it was exchanged"):
        other.open(answers[1])
    relabelled = Header(RecordType.DATA, other.session_index, 0, other.session, 0).pack() + answers[0][HEADER.size :]
    with pytest.raises(AlteredError, match="failed authentication"):
        other.open(relabelled)


def test_a_command_reflected_as_a_response_is_noticed():
    client, _ = opened()
    with pytest.raises(AlteredError):
        client.open(client.seal(Operation(Kind.NOP)))


@pytest.mark.sec_cm("SESSION.TAMPER.ENDS")
@pytest.mark.parametrize("attack", ["flip", "drop"])
def test_a_bad_record_ends_its_session_and_no_other(attack):
    client, device = opened()
    other, _ = opened(device)
    before, bad, after = (client.seal(Operation(Kind.NOP)) for _ in range(3))
    assert device.open(before, read_header(before))[0] == Kind.NOP
    if attack == "flip":
        altered = bad[:-1] + bytes([bad[-1] ^ 1])
        assert device.open(altered, read_header(altered)) is Refusal.ALTERED
    else:
        assert device.open(after, read_header(after)) is Refusal.OUT_OF_TURN
    for record in (bad, after):  # even the right one, which comes too late
        assert device.open(record, read_header(record)) is Refusal.UNKNOWN_SESSION
    # the record before it is still answered
    reply = Reply(Response(Status.OK), 7, 1, 0)
    assert client.open(answer(device, before, reply)) == reply
    device.close(read_header(bad))
    assert send(other, device, Operation(Kind.NOP))[1] == (0, bytes(8), bytes(8))
    newer, _ = opened(device, replaces=client.session)
    assert newer.session_index == client.session_index
    assert send(newer, device, Operation(Kind.NOP))[1] == (0, bytes(8), bytes(8))


@pytest.mark.parametrize(
    ("code", "says"), [(Refusal.ALTERED, "was altered"), (Refusal.OUT_OF_TURN, "repeated, dropped")]
)
def test_the_client_learns_why_its_session_ended(code, says):
    client, device = opened()
    record = client.seal(Operation(Kind.NOP))
    with pytest.raises(SessionError, match=f"{says} .* ended the session; open a new one"):
        client.open(device.refuse(read_header(record), code))


# -- the table of sessions ----------------------------------------------------------------------------------------


@pytest.mark.sec_cm("SESSION.OLD.FENCED")
def test_commands_of_a_replaced_session_never_run():
    old, device = opened()
    held_back = old.seal(Operation(Kind.PUT, b"8 bytes!", b"too late"))
    opened(device, replaces=old.session)
    assert device.open(held_back, read_header(held_back)) is Refusal.UNKNOWN_SESSION


def test_the_replaced_session_is_part_of_the_confirmation():
    old, device = opened()
    client = ClientSession(PARAMS, KEY, replaces=0)
    record = bytearray(client.confirm(device.hello(client.hello(), MAP_ID)))
    record[HEADER.size + 16 : HEADER.size + 20] = old.session.to_bytes(4, "big")
    assert read_header(device.confirm(bytes(record))).code == Refusal.WRONG_KEY


def test_sessions_do_not_disturb_each_other_and_the_longest_unused_gives_way():
    _, device = opened()
    clients = [opened(device)[0] for _ in range(SESSIONS - 1)]
    for client in clients:
        assert send(client, device, Operation(Kind.NOP))[1] == (0, bytes(8), bytes(8))
    newest, _ = opened(device)
    for client in [*clients, newest]:
        assert send(client, device, Operation(Kind.NOP))[1] == (0, bytes(8), bytes(8))
    opened(device)
    assert send(clients[0], device, Operation(Kind.NOP))[1] is Refusal.UNKNOWN_SESSION


def test_a_closed_session_is_gone():
    client, device = opened()
    record, command = send(client, device, Operation(CLOSE))
    assert command[0] == CLOSE
    assert client.open(answer(device, record, Reply(Response(Status.OK), 0, 0, 0))).live == 0
    device.close(read_header(record))
    record, refusal = send(client, device, Operation(Kind.NOP))
    assert refusal is Refusal.UNKNOWN_SESSION
    with pytest.raises(SessionError, match="open no longer"):
        client.open(device.refuse(read_header(record), refusal))


def hello_of_another(device):
    return device.hello(ClientSession(PARAMS, KEY).hello(), MAP_ID)


@given(order=st.permutations(range(PENDING_HANDSHAKES)))
def test_sixteen_handshakes_are_pending_and_end_in_any_order(order):
    device, clients = DeviceSessions(PARAMS, KEY), [ClientSession(PARAMS, KEY) for _ in range(PENDING_HANDSHAKES)]
    confirms = [client.confirm(device.hello(client.hello(), MAP_ID)) for client in clients]
    for number in order:
        clients[number].opened(device.confirm(confirms[number]))
    for client in clients:
        assert send(client, device, Operation(Kind.NOP))[1] == (0, bytes(8), bytes(8))


@given(others=st.integers(0, 3 * PENDING_HANDSHAKES))
def test_the_sixteenth_hello_after_it_drops_a_handshake(others):
    device, client = DeviceSessions(PARAMS, KEY), ClientSession(PARAMS, KEY)
    confirm = client.confirm(device.hello(client.hello(), MAP_ID))
    for _ in range(others):
        hello_of_another(device)
    if others < PENDING_HANDSHAKES:
        client.opened(device.confirm(confirm))
    with pytest.raises(SessionError, match="too many other sessions .* try again"):
        client.opened(device.confirm(confirm))  # once only


def test_a_wrong_confirmation_leaves_its_handshake_pending():
    device, client = DeviceSessions(PARAMS, KEY), ClientSession(PARAMS, KEY)
    confirm = client.confirm(device.hello(client.hello(), MAP_ID))
    altered = confirm[: HEADER.size] + bytes(16) + confirm[HEADER.size + 16 :]
    assert read_header(device.confirm(altered)).code == Refusal.WRONG_KEY
    client.opened(device.confirm(confirm))


def test_sessions_end_before_their_nonces_do(monkeypatch):
    client, device = opened()
    monkeypatch.setattr("omap.session.RECORD_LIMIT", 2)
    send(client, device, Operation(Kind.NOP))
    send(client, device, Operation(Kind.NOP))
    with pytest.raises(SessionError, match="has carried 2 records; open a new one"):
        client.seal(Operation(Kind.NOP))
    header = Header(RecordType.DATA, client.session_index, 0, client.session, 2)
    assert device.open(bytes(64), header) is Refusal.REKEY


@pytest.mark.sec_cm("ERROR.TEXT.CLEAN")
def test_session_keys_do_not_show():
    keys = session_keys(KEY, bytes(16), bytes(16), bytes(32), bytes(16), 1)
    assert repr(keys) == "SessionKeys()"


# -- derivation ---------------------------------------------------------------------------------------------------


def test_cmac_published():
    # NIST SP 800-38B appendix D.3, AES-256: empty, 16, 40 and 64 bytes of the common message
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    message = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    for length, tag in [
        (0, "028962f61b7bf89efc6b551f4667d983"),
        (16, "28a7023f452e8f82bd4bf28d8c37c35c"),
        (40, "aaf3d8f1de5640c232f5b169b9c911e6"),
        (64, "e1992190549f6ed5696a2c056c315410"),
    ]:
        assert cmac(key, message[:length]).hex() == tag


@given(key=st.binary(min_size=32, max_size=32), label=st.binary(max_size=20), context=st.binary(max_size=90))
def test_kdf_is_the_counter_mode_of_sp_800_108(key, label, context):
    fixed = label + b"\0" + context + (8 * 96).to_bytes(4, "big")
    blocks = [cmac(key, number.to_bytes(4, "big") + fixed) for number in range(1, 7)]
    assert derive(key, label, context, 96) == b"".join(blocks)


def test_session_keys_from_first_principles():
    client, device, digest, map_id = b"c" * 16, b"d" * 16, hashlib.sha256(b"p").digest(), b"m" * 16
    fixed = b"omap session 1\0" + client + device + digest + map_id + (7).to_bytes(4, "big") + (768).to_bytes(4, "big")
    blocks = b"".join(cmac(KEY, number.to_bytes(4, "big") + fixed) for number in range(1, 7))
    keys = session_keys(KEY, client, device, digest, map_id, 7)
    assert keys.command + keys.response + keys.confirmation == blocks
    # CMAC of one whole block by hand: the subkey is the doubled encryption of zero (SP 800-38B section 6.1)
    aes = Cipher(algorithms.AES256(keys.confirmation), modes.ECB()).encryptor()
    doubled = int.from_bytes(aes.update(bytes(16)), "big") << 1
    if doubled >> 128:
        doubled = doubled & (1 << 128) - 1 ^ 0x87
    block = int.from_bytes(bytes([2]) + bytes(11) + (9).to_bytes(4, "big"), "big") ^ doubled
    assert keys.confirm(2, 9) == aes.update(block.to_bytes(16, "big"))
