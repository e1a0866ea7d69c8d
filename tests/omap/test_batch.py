"""What clients may do: rights and prefixes are enforced, and who may not read learns nothing of what was there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omap.batch import CommandBatch
from omap.bodies import command_text, operation_items, read_reply, responses
from omap.columns import Answers
from omap.credentials import Credential, Right
from omap.operations import Kind, Operation, Response, Status
from omap.presets import preset
from omap.wire import CLOSE, Header, RecordCodec, RecordType

PARAMS = preset("TINY")
CODEC = RecordCodec(PARAMS)

letters = st.sampled_from(b"ab").map(lambda letter: bytes([letter]))
keys = st.lists(letters, min_size=4, max_size=4).map(b"".join)
operations = st.builds(
    Operation, st.sampled_from([*Kind, CLOSE, 5, 255]), keys, st.binary(min_size=4, max_size=4)
)  # fmt: skip
credentials = st.builds(
    Credential,
    st.sampled_from([Right.READ, Right.WRITE, Right.READ | Right.WRITE]),
    st.lists(letters, max_size=2).map(b"".join),
)
records = st.lists(st.tuples(credentials, st.lists(operations, min_size=1, max_size=8)), min_size=1, max_size=5)


def raw(operations):
    """Return the body of a command record that any software may have made."""
    items = [(bytes([kind]) + key + value).ljust(CODEC.item_bytes, b"\0") for kind, key, value in operations]
    return (bytes(16) + b"".join(items)).ljust(CODEC.text_bytes(len(items)), b"\0")


def gathered(drawn):
    batch = CommandBatch(CODEC)
    for number, (credential, sent) in enumerate(drawn):
        header = Header(RecordType.DATA, 0, CODEC.lines(len(sent)), len(sent), 1, number)
        assert batch.add(header, credential, raw(sent)) == any(kind == CLOSE for kind, _, _ in sent)
    return batch


def allowed(credential, operation):
    kind, key, _ = operation
    if kind in (Kind.NOP, CLOSE) or kind > CLOSE:
        return True
    right = Right.READ if kind == Kind.GET else Right.WRITE
    return bool(credential.rights & right) and key.startswith(credential.prefix)


@pytest.mark.sec_cm("SESSION.RIGHTS.ENFORCED")
@given(drawn=records)
def test_what_a_credential_does_not_allow_is_a_nop(drawn):
    columns = gathered(drawn).columns()
    wanted = [(credential, operation) for credential, sent in drawn for operation in sent]
    for (credential, operation), kind, key, value in zip(wanted, *columns, strict=True):
        if operation.kind in (Kind.GET, Kind.PUT, Kind.DELETE) and allowed(credential, operation):
            assert (kind, key.tobytes(), value.tobytes()) == tuple(operation)
        else:
            assert (kind, any(key), any(value)) == (Kind.NOP, False, False)


said = st.tuples(
    st.sampled_from([Status.OK, Status.NOT_FOUND, Status.FULL]), st.booleans(), st.binary(min_size=4, max_size=4)
)


@pytest.mark.sec_cm("SESSION.PREVIOUS.HIDDEN")
@pytest.mark.sec_cm("SESSION.TOLD.BOUNDED")
@given(drawn=records, first=st.integers(0, 2**63), live=st.integers(1, 1000), data=st.data())
def test_clients_are_told_what_their_rights_allow(drawn, first, live, data):
    """The map answers anything; NOPs have no value. Who has no right to read is told one of two statuses."""
    batch = gathered(drawn)
    kinds = batch.columns().kinds
    answers = data.draw(st.lists(said, min_size=len(kinds), max_size=len(kinds)))
    answers = [
        (Status.OK, False, bytes(4)) if kind == Kind.NOP else (status, found, value if found else bytes(4))
        for kind, (status, found, value) in zip(kinds, answers, strict=True)
    ]
    texts = batch.replies(
        Answers(
            np.array([status for status, _, _ in answers], np.uint8),
            np.array([found for _, found, _ in answers]),
            np.array([list(value) for _, _, value in answers], np.uint8),
        ),
        first,
        np.arange(live, live + len(kinds), dtype=np.int64),
    )
    at = 0
    for (credential, sent), text in zip(drawn, texts, strict=True):
        assert len(text) == CODEC.text_bytes(len(sent))
        reply, reads = read_reply(text, len(sent)), bool(credential.rights & Right.READ)
        assert (reply.sequence, reply.overruns) == (first + at, 0)
        assert reply.live == (live + at + len(sent) - 1 if reads and not credential.prefix else 0)
        for operation, told in zip(sent, responses(CODEC, reply), strict=True):
            status, found, value = answers[at]
            at += 1
            if not allowed(credential, operation):
                wanted = Response(Status.DENIED)
            elif not reads:
                wanted = Response(Status.FULL if status is Status.FULL else Status.OK)
            else:
                wanted = Response(status, value if found else None)
            assert told == wanted


def test_a_batch_is_empty_after_it_was_taken():
    batch = gathered([(Credential(), [Operation(Kind.GET, b"abba")])])
    assert len(batch.take().parts) == 1
    assert not batch.parts


@given(sent=st.lists(st.builds(Operation, st.sampled_from(Kind), keys, keys), min_size=1, max_size=8))
def test_what_our_clients_send_is_what_any_software_may_send(sent):
    clean = [
        Operation(kind, key if kind else bytes(4), value if kind == Kind.PUT else bytes(4)) for kind, key, value in sent
    ]
    assert command_text(CODEC, [operation_items(CODEC, sent)], len(sent)) == raw(clean)
