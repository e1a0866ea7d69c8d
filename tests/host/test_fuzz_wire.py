"""Random bytes on the wire and in the rings cause no crash, no endless wait, and no unbounded use of memory."""

import itertools
import json
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from host.client.conversation import Broken, Conversation
from host.client.opening import Busy, handshake
from host.client.witness import Witness
from host.commands import status
from host.framing import MAX_FACTS_BYTES, MAX_REFUSAL, PREFIX, Greeting, facts_length, read_greeting
from omap.device import read_counter, write_counter
from omap.errors import OmapError, SessionError, TamperedError
from omap.presets import preset
from omap.regmap import State
from omap.session import ClientSession
from omap.sessions import DeviceSessions
from omap.wire import LEAST_RING_LINES, Counter, Header, RecordCodec, read_header
from tests.support.host.rogue import CLIENT, KEY, RogueRelay

PARAMS = preset("TINY")
SIZE = 64
CODEC = RecordCodec(PARAMS)
GREETING = Greeting(PARAMS, LEAST_RING_LINES, {"hbm_private": False}).pack()

headers = st.builds(
    Header,
    st.integers(0, 255) | st.integers(0, 5),
    st.integers(0, 255) | st.just(0),
    st.integers(0, 255) | st.integers(0, 3),
    st.integers(0, 255) | st.integers(0, 3),
    st.integers(0, 2**32 - 1) | st.integers(0, 3),
    st.integers(0, 2**64 - 1) | st.integers(0, 3),
)
records = st.one_of(
    st.binary(min_size=SIZE, max_size=SIZE),
    st.builds(lambda header, body: header.pack() + body, headers, st.binary(min_size=48, max_size=48)),
    st.builds(
        lambda header, body: (header.pack() + body).ljust(header.lines * SIZE, b"\1")[: max(1, header.lines) * SIZE],
        headers,
        st.binary(min_size=48, max_size=48),
    ),
)
"""Lines of any bytes, and records that have the lines of their headers."""


def whole(data):
    """Return what is left after the whole records in lines of commands, and how many these are."""
    count = 0
    while data:
        header = read_header(data)
        size = SIZE * (CODEC.command_lines(header.type, header.lines, header.count) or 1)
        if size > len(data):
            break
        data, count = data[size:], count + 1
    return data, count


def conversation():
    device, client = DeviceSessions(PARAMS, KEY), ClientSession(PARAMS, CLIENT)
    client.opened(device.confirm(client.confirm(device.hello(client.hello(), bytes(16)))))
    return Conversation(client, Witness())


@given(
    data=st.lists(records, max_size=6).map(b"".join), cuts=st.lists(st.integers(0, 400), max_size=6), sent=st.booleans()
)
def test_a_client_gives_nothing_out_for_records_that_no_device_sealed(data, cuts, sent):
    talk, responses = conversation(), []
    if sent:
        talk.seal([bytes(CODEC.item_bytes)], 1)
    cuts = [0, *sorted(cuts), len(data)]
    try:
        for start, end in itertools.pairwise(cuts):
            talk.feed(data[start:end], responses)
            assert len(talk._rest) < CODEC.most_lines * SIZE
    except (TamperedError, Broken):
        pass
    assert responses == []
    assert talk.session.received == 0


@given(answers=st.lists(records, min_size=1, max_size=2))
def test_a_handshake_with_nonsense_opens_nothing(answers):
    steps = handshake(PARAMS, CLIENT, Witness(), 0)
    next(steps)
    with pytest.raises((OmapError, Busy)):
        list(map(steps.send, [*answers, bytes(SIZE)]))


@given(data=st.data())
def test_an_altered_greeting_is_read_or_refused(data):
    greeting = bytearray(GREETING)
    for _ in range(data.draw(st.integers(1, 4))):
        greeting[data.draw(st.integers(0, len(greeting) - 1))] = data.draw(st.integers(0, 255))
    prefix = bytes(greeting[: PREFIX.size])
    try:
        length = facts_length(prefix)
        assert length <= MAX_FACTS_BYTES
        read_greeting(prefix, bytes(greeting[PREFIX.size :][:length]))
    except SessionError as error:
        assert len(str(error)) < 300  # noqa: PT017


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


@given(name=st.sampled_from(["params", "digest", "ring_lines", "mode", "refused", "kept"]), value=json_values)
@example(name="ring_lines", value=float("inf"))
@example(name="mode", value=[])
@example(name="mode", value={"\x1b[2J": True})
@example(name="params", value=[[]])
@example(name="kept", value={"trouble": "\x1b[2J"})
@example(name="kept", value={"\x1b[2J": 1})
@example(name="kept", value={"snapshot_time": 10**400})
@example(name="kept", value={"snapshot_time": float("nan")})
def test_a_greeting_with_any_other_fact_is_refused_or_says_the_same(name, value):
    facts = json.loads(GREETING[PREFIX.size :])
    facts[name] = value
    text = json.dumps(facts).encode()
    prefix = PREFIX.pack(*PREFIX.unpack(GREETING[: PREFIX.size])[:3], len(text))
    try:
        greeting = read_greeting(prefix, text)
    except SessionError:
        return
    assert greeting.params == PARAMS
    assert len(greeting.refused) <= MAX_REFUSAL
    assert "".join([greeting.refused, *greeting.mode, *greeting.kept, *map(str, greeting.kept.values())]).isprintable()
    status._kept(greeting.kept)


@pytest.mark.parametrize("text", ["no room", "ü" * MAX_REFUSAL, "ü" * (MAX_REFUSAL + 1), "one word " * 100])
def test_a_reason_is_whole_or_ends_in_an_ellipsis(text):
    greeting = Greeting(PARAMS, LEAST_RING_LINES, {}, text).pack()
    read = read_greeting(greeting[: PREFIX.size], greeting[PREFIX.size :]).refused
    if len(text) <= MAX_REFUSAL:
        assert read == text
    else:
        assert len(read) <= MAX_REFUSAL
        assert read.endswith("…")
        assert text.startswith(read[:-1])
        assert not read[-2].isspace()
    assert read.encode().decode() == read


@given(facts=st.binary(max_size=200))
@example(facts=b"[" * 100_000)
@example(facts=b"1" * 10_000)
@example(facts=b'{"params": {"capacity": ' + b"9" * 5000 + b"}}")
def test_facts_of_any_bytes_are_refused(facts):
    with pytest.raises(SessionError, match="not well-formed"):
        read_greeting(GREETING[: PREFIX.size], facts)


@settings(max_examples=60)
@given(commands=st.lists(records, max_size=12), seed=st.integers(0, 2**32 - 1), opened=st.booleans())
def test_a_device_answers_whatever_is_put_into_its_ring(commands, seed, opened):
    relay, rng = RogueRelay(PARAMS, ring_lines=512), random.Random(seed)
    if opened:
        client = ClientSession(PARAMS, CLIENT)
        (answer,) = relay.exchange(client.hello())
        client.opened(relay.exchange(client.confirm(answer))[0])
    waiting = b""
    for record in commands:
        answers = relay.exchange(record)
        assert relay.device.state is State.READY
        waiting, wanted = whole(waiting + record)
        assert len(answers) == wanted
        assert {read_header(answer).type for answer in answers} <= {1, 2, 4}  # nothing ran: no key was known
        if rng.random() < 0.2:
            write_counter(relay.buffer, Counter.RESPONSES_TAKEN, rng.getrandbits(64))
            relay.device.step()
            write_counter(relay.buffer, Counter.RESPONSES_TAKEN, read_counter(relay.buffer, Counter.RESPONSES_WRITTEN))
    assert relay.device._map.sequence == 0
