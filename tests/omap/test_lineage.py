"""Ancestors of a map, and what a handshake says of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omap.errors import AlteredError, WrongKeyError
from omap.lineage import NO_ANCESTOR, NO_ANCESTORS, NO_MAP, Ancestor, Lineage, read_start, start_text
from omap.presets import preset
from omap.session import ClientSession
from omap.sessions import DeviceSessions
from omap.wire import HEADER, LINE_BYTES, MOST_ANCESTORS, Refusal, read_header, start_lines
from tests.support.sessions import MAP_ID, ROOT_KEY, holder

PARAMS = preset("TINY")
ids = st.binary(min_size=16, max_size=16).filter(any)
pairs_ = st.tuples(ids, st.integers(0, NO_ANCESTOR - 1))
ancestors = st.lists(pairs_, max_size=MOST_ANCESTORS, unique_by=lambda one: one[0])


def lineage_of(pairs):
    return Lineage(tuple(Ancestor(*pair) for pair in pairs))


@given(pairs=ancestors, map_id=ids, digest=st.binary(min_size=32, max_size=32))
def test_a_start_says_all_of_a_lineage(pairs, map_id, digest):
    lineage = lineage_of(pairs)
    text = start_text(digest, map_id, lineage)
    assert len(text) + HEADER.size + 16 == LINE_BYTES * start_lines(len(pairs))
    assert read_start(text, len(pairs)) == (digest, map_id, lineage.parent, lineage)
    assert lineage.parent == (pairs[0] if pairs else (NO_MAP, 0))


@given(kept=st.lists(st.integers(0, 99), max_size=40))
def test_a_lineage_keeps_the_newest_ancestors(kept):
    lineage, all_ = NO_ANCESTORS, []
    for number, operations in enumerate(kept):
        map_id = number.to_bytes(16, "big")
        all_.insert(0, Ancestor(map_id, operations))
        lineage = lineage.child(map_id, operations)
    assert list(lineage.ancestors) == all_[:MOST_ANCESTORS]
    for place, (map_id, operations) in enumerate(all_):
        assert lineage.kept(map_id) == (operations if place < MOST_ANCESTORS else NO_ANCESTOR)
    assert lineage.kept(b"some other map id") == NO_ANCESTOR


def shaken(pairs, known, changed=lambda step, record: record):
    """Return both ends of a handshake, and the answer to CONFIRM as the device made it."""
    device = DeviceSessions(PARAMS, ROOT_KEY, lineage=lineage_of(pairs))
    client = ClientSession(PARAMS, holder())
    hello = device.hello(client.hello(), MAP_ID)
    answer = device.confirm(changed("command", client.confirm(hello, known)))
    client.opened(changed("answer", answer))
    return client


@given(pairs=ancestors, data=st.data())
def test_a_client_is_told_what_is_kept_of_the_map_that_it_knows(pairs, data):
    for map_id, kept in pairs:
        assert shaken(pairs, map_id).kept == kept
    for known in (NO_MAP, MAP_ID, data.draw(ids.filter(lambda one: one not in dict(pairs)))):
        assert shaken(pairs, known).kept is None


@pytest.mark.sec_cm("SESSION.LINEAGE.PROVEN")
@given(bit=st.integers(0, 8 * 24 - 1))
def test_nobody_but_the_device_can_say_what_is_kept(bit):
    """The host may want to hide that operations are gone. Neither question nor answer can be changed."""

    def changed(which):
        def change(step, record):
            record = bytearray(record)
            place = 8 * (HEADER.size + (32 if which == "command" else 0))  # the known map; confirmation and kept
            if step == which:
                record[(place + bit % (128 if which == "command" else 192)) // 8] ^= 1 << bit % 8
            return bytes(record)

        return change

    known = b"a map that is gone"[:16]
    with pytest.raises(AlteredError, match="failed authentication"):
        shaken([(known, 7)], known, changed("answer"))
    with pytest.raises(WrongKeyError):
        shaken([(known, 7)], known, changed("command"))


@pytest.mark.sec_cm("SESSION.LINEAGE.PROVEN")
def test_an_answer_of_another_handshake_proves_nothing():
    device = DeviceSessions(PARAMS, ROOT_KEY, lineage=lineage_of([(b"k" * 16, 7)]))
    answers = []
    for _ in range(2):
        client = ClientSession(PARAMS, holder())
        answers.append(device.confirm(client.confirm(device.hello(client.hello(), MAP_ID), b"k" * 16)))
        assert read_header(answers[-1]).count != Refusal.WRONG_KEY
    with pytest.raises(AlteredError):
        client.opened(answers[0])
    client.opened(answers[1])
    assert client.kept == 7
