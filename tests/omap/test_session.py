"""Sessions and records: everything arrives once, and whatever is altered, repeated or forged is noticed."""

import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from omap.bodies import answers, responses
from omap.columns import Answers
from omap.credentials import Credential
from omap.errors import AlteredError, InputError, LostError, ReplayedError, SessionError, WrongKeyError
from omap.kdf import cmac, derive
from omap.operations import Kind, Operation, Response, Status
from omap.params import TAG_BYTES
from omap.presets import preset
from omap.session import RECORD_LIMIT, ClientSession, session_keys
from omap.sessions import DeviceSessions
from omap.wire import HEADER, LINE_BYTES, Direction, Header, RecordType, Refusal, read_header, refusal
from tests.support.sessions import MAP_ID, holder, opened, pair, receive, reply

PARAMS = preset("SMALL")
KEY = bytes(range(32))
NOP = Operation(Kind.NOP)

names = st.binary(min_size=8, max_size=8)
operations = st.one_of(
    st.just(NOP),
    st.builds(Operation, st.just(Kind.GET), names),
    st.builds(Operation, st.just(Kind.PUT), names, names),
    st.builds(Operation, st.just(Kind.DELETE), names),
)
said = st.builds(Response, st.sampled_from(Status), st.none() | names)
steps = st.lists(st.tuples(operations, said), min_size=1, max_size=20)
numbers = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))


def columns_of(told):
    return Answers(
        np.array([one.status for one in told], np.uint8),
        np.array([one.previous is not None for one in told]),
        np.array([list(one.previous or bytes(8)) for one in told], np.uint8),
    )


def exchange(client, device, batch=(NOP,), told=None, numbers=(0, 0, 0)):
    """Return the command record of a batch, and the response record with these answers."""
    record = client.seal(batch)
    receive(device, record)
    return record, reply(device, record, columns_of(told or [Response(Status.OK)] * len(batch)), numbers)


def same(columns):
    return [part.tolist() for part in columns]


IDLE = [[0], [[0] * 8], [[0] * 8]]
"""A NOP as the device reads it."""


@pytest.mark.sec_cm("COMMAND.OP.UNIFORM")
@given(records=st.lists(st.tuples(steps, numbers), max_size=5))
def test_commands_and_replies_arrive_and_sizes_follow_from_counts(records):
    client, device = pair()
    for exchanged, told in records:
        batch = [operation for operation, _ in exchanged]
        record = client.seal(batch)
        columns = receive(device, record)
        for operation, kind, key, value in zip(batch, *columns, strict=True):
            assert kind == operation.kind
            assert key.tobytes() == (operation.key if kind else bytes(8))
            assert value.tobytes() == (operation.value if kind == Kind.PUT else bytes(8))
        wanted = [response for _, response in exchanged]
        back = reply(device, record, columns_of(wanted), told)
        came = client.open(back)
        assert (came.sequence, came.overruns, came.live, came.count) == (*told, len(batch))
        assert responses(client.codec, came) == wanted
        assert same(answers(client.codec, came)) == same(columns_of(wanted))
        lines = client.codec.lines(len(batch))
        assert len(record) == len(back) == LINE_BYTES * lines
        header = read_header(record)
        assert header[:5] == (RecordType.DATA, client.session_index, lines, len(batch), client.session)
        assert read_header(back) == header


@given(exchanged=steps)
def test_arrays_are_sealed_as_lists_are(exchanged):
    client, device = pair()
    other = opened(device)
    batch = [operation for operation, _ in exchanged]
    columns = receive(device, client.seal(batch))
    assert same(receive(device, other.seal_columns(columns))) == same(columns)


def test_set_up_takes_few_lines():
    device, client = DeviceSessions(PARAMS, KEY), ClientSession(PARAMS, holder())
    records = [client.hello()]
    records.append(device.hello(records[-1], MAP_ID))
    records.append(client.confirm(records[-1]))
    records.append(device.confirm(records[-1]))
    assert [len(record) for record in records] == [128, 128, 64, 64]
    assert [read_header(record).lines for record in records] == [2, 2, 1, 1]
    assert not any(records[0][64:])  # room for a key exchange to come
    assert not any(records[1][64:])
    assert client.map_id == MAP_ID


@pytest.mark.sec_cm("RECORD.NONCE.UNIQUE")
def test_no_key_stream_is_used_twice():
    client, _ = pair()
    ciphertexts = [client.seal([NOP])[HEADER.size : -TAG_BYTES] for _ in range(3)]
    assert len(set(ciphertexts)) == 3  # the plaintexts are equal
    # the same key in both directions would still give different streams
    keys = session_keys(KEY, bytes(16), bytes(16), bytes(32), bytes(16), 1)
    assert len({keys.command, keys.response, keys.confirmation}) == 3
    assert Direction.COMMAND != Direction.RESPONSE


# -- attacks ------------------------------------------------------------------------------------------------------


@pytest.mark.sec_cm("SESSION.KEY.CONFIRM")
def test_another_root_key_opens_nothing():
    device = DeviceSessions(PARAMS, bytes(32))
    client = ClientSession(PARAMS, holder())
    hello = device.hello(client.hello(), MAP_ID)
    with pytest.raises(WrongKeyError, match="check the key file"):
        client.confirm(hello)
    # a client that does not check is refused by the device
    forged = Header(RecordType.CONFIRM, 0, 1, 0, read_header(hello).session, 0).pack() + bytes(48)
    refused = device.confirm(forged)
    assert read_header(refused).type == RecordType.REFUSED
    assert read_header(refused).count == Refusal.WRONG_KEY
    with pytest.raises(WrongKeyError):
        client.opened(refused)


@pytest.mark.sec_cm("SESSION.KEY.OWN")
@given(mine=st.binary(max_size=21), theirs=st.binary(max_size=21))
def test_no_client_can_pose_as_the_device_or_as_another_client(mine, theirs):
    """Whoever holds a client's key can do what the device does with it, but for no other credential."""
    mine, theirs = b"a" + mine.rstrip(b"\0"), b"b" + theirs.rstrip(b"\0")
    one, other = holder(mine), holder(theirs)
    assert one.key != other.key
    victim, device = ClientSession(PARAMS, other), DeviceSessions(PARAMS, KEY)
    hello, nonce = victim.hello(), bytes(16)
    forged = session_keys(one.key, hello[16:32], nonce, PARAMS.digest, MAP_ID, 1)
    answer = Header(RecordType.HELLO, 0, 2, 0, 1, 0).pack() + nonce + MAP_ID + forged.confirm_device()
    with pytest.raises(WrongKeyError):
        victim.confirm(answer.ljust(128, b"\0"))
    # and under another's credential it confirms nothing
    poser = ClientSession(PARAMS, holder(mine))
    asked = poser.hello()
    asked = asked[:32] + other.credential.pack() + asked[64:]
    body = device.hello(asked, MAP_ID)[HEADER.size :]
    keys = session_keys(one.key, asked[16:32], body[:16], PARAMS.digest, MAP_ID, 1)
    confirm = Header(RecordType.CONFIRM, 0, 1, 0, 1, 0).pack() + keys.confirm_client() + bytes(32)
    assert read_header(device.confirm(confirm)).count == Refusal.WRONG_KEY


@pytest.mark.sec_cm("SESSION.KEY.OWN")
@given(at=st.integers(0, 31), bit=st.integers(0, 7))
def test_a_changed_credential_has_another_key(at, bit):
    """So nobody gives itself more rights, or lets another client work with fewer."""
    device, client = DeviceSessions(PARAMS, KEY), ClientSession(PARAMS, holder(b"alice"))
    hello = bytearray(client.hello())
    hello[HEADER.size + 16 + at] ^= 1 << bit
    with pytest.raises((WrongKeyError, SessionError)):
        client.confirm(device.hello(bytes(hello), MAP_ID))


@given(at=st.integers(16, 63), bit=st.integers(0, 7))
def test_an_altered_hello_is_noticed(at, bit):
    device, client = DeviceSessions(PARAMS, KEY), ClientSession(PARAMS, holder())
    hello = bytearray(device.hello(client.hello(), MAP_ID))
    hello[at] ^= 1 << bit
    with pytest.raises(WrongKeyError):
        client.confirm(bytes(hello))


def test_a_relay_that_lies_about_the_parameters_is_noticed():
    device, client = DeviceSessions(PARAMS, KEY), ClientSession(preset("TINY"), holder())
    with pytest.raises(WrongKeyError, match="other parameters"):
        client.confirm(device.hello(client.hello(), MAP_ID))


def test_a_record_that_claims_to_have_no_lines_is_an_altered_one():
    client, device = pair()
    record = client.seal([Operation(Kind.NOP)])
    assert device.open(record, read_header(record)._replace(lines=0)) is Refusal.ALTERED


@given(batch=st.lists(operations, min_size=1, max_size=6), data=st.data())
def test_any_flipped_bit_of_a_command_is_noticed(batch, data):
    client, device = pair()
    record = bytearray(client.seal(batch))
    bit = data.draw(st.integers(0, 8 * len(record) - 1))
    record[bit // 8] ^= 1 << bit % 8
    header = read_header(record)
    ours = (header.session_index, header.session) == (client.session_index, client.session)
    if header.type != RecordType.DATA or not ours:
        # it does not belong to an open session any more: refused, which attacks nobody
        assert header.type != RecordType.DATA or device.open(bytes(record), header) == Refusal.UNKNOWN_SESSION
        return
    if header.sequence >= RECORD_LIMIT:
        wanted = Refusal.REKEY
    else:
        wanted = Refusal.OUT_OF_TURN if header.sequence else Refusal.ALTERED
    assert device.open(bytes(record), header) is wanted


@given(exchanged=steps, data=st.data())
def test_any_flipped_bit_of_a_response_is_noticed(exchanged, data):
    client, device = pair()
    _, back = exchange(client, device, *zip(*exchanged, strict=True))
    changed = bytearray(back)
    bit = data.draw(st.integers(0, 8 * len(back) - 1))
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises((AlteredError, LostError, SessionError)):
        client.open(bytes(changed))


@pytest.mark.sec_cm("RECORD.SEQ.STRICT")
def test_repeats_gaps_and_exchanges_are_told_apart():
    for turns in ([0, 1, 1], [0, 0], [0, 2], [1]):
        client, device = pair()
        records = [client.seal([NOP]) for _ in range(3)]
        told = [receive(device, records[turn]) for turn in turns]
        assert told[-1] is Refusal.OUT_OF_TURN
        assert not any(isinstance(one, Refusal) for one in told[:-1])

    client, device = pair()
    came = [exchange(client, device)[1] for _ in range(3)]
    client.open(came[0])
    with pytest.raises(ReplayedError, match="response 0 came again"):
        client.open(came[0])
    with pytest.raises(LostError, match="response 2 came before response 1"):
        client.open(came[2])
    other = opened(device)
    with pytest.raises(AlteredError, match="it was exchanged"):
        other.open(came[1])
    relabelled = read_header(came[0])._replace(session_index=other.session_index, session=other.session)
    with pytest.raises(AlteredError, match="failed authentication"):
        other.open(relabelled.pack() + came[0][HEADER.size :])


def test_a_command_reflected_as_a_response_is_noticed():
    client, _ = pair()
    with pytest.raises(AlteredError):
        client.open(client.seal([NOP]))


@pytest.mark.sec_cm("SESSION.TAMPER.ENDS")
@pytest.mark.parametrize("attack", ["flip", "drop"])
def test_a_bad_record_ends_its_session_and_no_other(attack):
    client, device = pair()
    other = opened(device)
    before, bad, after = (client.seal([NOP]) for _ in range(3))
    assert same(receive(device, before)) == IDLE
    if attack == "flip":
        assert receive(device, bad[:-1] + bytes([bad[-1] ^ 1])) is Refusal.ALTERED
    else:
        assert receive(device, after) is Refusal.OUT_OF_TURN
    for record in (bad, after):  # even the right one, which comes too late
        assert receive(device, record) is Refusal.UNKNOWN_SESSION
    # the record before it is still answered
    assert client.open(reply(device, before, columns_of([Response(Status.OK)]), (7, 0, 1)))[:3] == (7, 0, 1)
    device.close(read_header(bad))
    assert same(receive(device, other.seal([NOP]))) == IDLE
    newer = opened(device, replaces=client.session)
    assert newer.session_index == client.session_index
    assert same(receive(device, newer.seal([NOP]))) == IDLE


@pytest.mark.parametrize(
    ("code", "says"), [(Refusal.ALTERED, "was altered"), (Refusal.OUT_OF_TURN, "repeated, dropped")]
)
def test_the_client_learns_why_its_session_ended(code, says):
    client, _ = pair()
    record = client.seal([NOP])
    with pytest.raises(SessionError, match=f"{says} .* ended the session; open a new one"):
        client.open(refusal(read_header(record), code))


@pytest.mark.parametrize("code", [*Refusal, 0, 77])
def test_every_refusal_has_a_reason(code):
    client, _ = pair()
    record = Header(RecordType.REFUSED, 0, 1, code, client.session, 0).pack().ljust(64, b"\0")
    with pytest.raises(SessionError, match="the device refused: ..........") as caught:
        client.open(record)
    assert ("no reason is known" in str(caught.value)) == (code not in set(Refusal))


def test_a_prefix_longer_than_a_key_is_refused_before_anything_is_sent():
    with pytest.raises(InputError, match="the prefix has 5 bytes and keys of this map have 4"):
        ClientSession(preset("TINY"), holder(prefix=b"five!"))


def test_sessions_end_before_their_nonces_do(monkeypatch):
    client, device = pair()
    for module in ("session", "sessions"):
        monkeypatch.setattr(f"omap.{module}.RECORD_LIMIT", 2)
    exchange(client, device)
    exchange(client, device)
    with pytest.raises(SessionError, match="has carried 2 records; open a new one"):
        client.seal([NOP])
    header = Header(RecordType.DATA, client.session_index, 1, 1, client.session, 2)
    assert device.open(header.pack().ljust(64, b"\0"), header) is Refusal.REKEY


@pytest.mark.sec_cm("ERROR.TEXT.CLEAN")
def test_keys_do_not_show():
    keys = session_keys(KEY, bytes(16), bytes(16), bytes(32), bytes(16), 1)
    assert repr(keys) == "SessionKeys()"
    client = holder(b"alice")
    assert repr(client) == f"ClientKey(credential={Credential(name=b'alice')!r})"


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
    fixed = b"omap session 2\0" + client + device + digest + map_id + (7).to_bytes(4, "big") + (768).to_bytes(4, "big")
    blocks = b"".join(cmac(KEY, number.to_bytes(4, "big") + fixed) for number in range(1, 7))
    keys = session_keys(KEY, client, device, digest, map_id, 7)
    assert keys.command + keys.response + keys.confirmation == blocks
    # CMAC of whole blocks by hand: the subkey is the doubled encryption of zero (SP 800-38B section 6.1)
    aes = Cipher(algorithms.AES256(keys.confirmation), modes.ECB()).encryptor()
    doubled = int.from_bytes(aes.update(bytes(16)), "big") << 1
    if doubled >> 128:
        doubled = doubled & (1 << 128) - 1 ^ 0x87

    def mac(*blocks):
        state = 0
        for number, block in enumerate(blocks, 1):
            state ^= int.from_bytes(block, "big") ^ (doubled if number == len(blocks) else 0)
            state = int.from_bytes(aes.update(state.to_bytes(16, "big")), "big")
        return state.to_bytes(16, "big")

    assert keys.confirm_device() == mac(bytes([1]) + bytes(15))
    assert keys.confirm_client(9, map_id) == mac(bytes([2]) + bytes(11) + (9).to_bytes(4, "big"), map_id)
    assert keys.confirm_kept(12) == mac(bytes([3]) + bytes(7) + (12).to_bytes(8, "big"))
