"""The client's end of a session alone: what it seals, and records that come in pieces."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.client.conversation import Bounds, Broken, Conversation
from host.client.witness import Witness
from omap.bodies import operation_items, read_responses
from omap.errors import AlteredError, LostError, RollbackError
from omap.operations import Kind, Operation, Response, Status
from omap.presets import preset
from omap.session import ClientSession
from omap.wire import LINE_BYTES, RecordCodec, Refusal, read_header, refusal
from tests.support.host.clients import key, number_from
from tests.support.host.rogue import CLIENT, RogueRelay

CODEC = RecordCodec(preset("TINY"))


class Talk:
    """A conversation with a device in the same thread."""

    def __init__(self, bounds=None):
        self.relay = RogueRelay()
        session = ClientSession(self.relay.params, CLIENT)
        (answer,) = self.relay.exchange(session.hello())
        (answer,) = self.relay.exchange(session.confirm(answer))
        session.opened(answer)
        self.end = Conversation(session, Witness(), bounds)

    def answers(self, counts):
        """Seal records of so many PUTs, and return the answers to all."""
        answers = b""
        for count in counts:
            batch = [Operation(Kind.PUT, key(number % 8), key(number)) for number in range(count)]
            record = self.end.seal([operation_items(CODEC, batch[:1]), operation_items(CODEC, batch[1:])], count)
            assert read_header(record).count == count
            assert len(record) == LINE_BYTES * CODEC.lines(count)
            answers += b"".join(self.relay.exchange(record))
        return answers

    def fed(self, *pieces):
        """Return how many operations are answered in each record of some pieces of bytes."""
        answers = []
        for piece in pieces:
            self.end.feed(memoryview(piece), answers)
        assert all(response.status is Status.OK for items in answers for response in read_responses(CODEC, items))
        return [len(items) // CODEC.item_bytes for items in answers]


@given(counts=st.lists(st.integers(1, CODEC.most_operations), max_size=5), data=st.data())
def test_records_may_come_in_any_pieces(counts, data):
    talk = Talk()
    came = talk.answers(counts)
    assert talk.end.in_flight == sum(counts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(came)), max_size=8)))
    assert talk.fed(*(came[first:end] for first, end in itertools.pairwise([0, *cuts, len(came)]))) == counts
    assert talk.end.in_flight == 0
    assert talk.end.room() == CODEC.most_operations
    if counts:
        last = talk.end.last
        assert (last.sequence + last.count, last.count, last.text) == (sum(counts), counts[-1], b"")
        assert (talk.end.live, last.live) == (min(8, max(counts)),) * 2
        assert talk.end.witness.operation == sum(counts) - 1


def test_numbers_of_records_follow_the_operations_before_them():
    talk = Talk()
    assert talk.fed(talk.answers([5])) == [5]
    number_from(talk.relay.device, 4)  # the last of those five once more
    with pytest.raises(RollbackError, match="operation 4 after 4 had been seen"):
        talk.fed(talk.answers([3]))


@pytest.mark.parametrize("lines", [0, 65, 255])
@pytest.mark.parametrize("before", [0, 1, LINE_BYTES - 1])
def test_a_record_of_impossible_length_is_not_waited_for(lines, before):
    talk = Talk()
    answer = bytearray(talk.answers([3]))
    answer[2] = lines
    with pytest.raises(AlteredError, match=f"a record of {lines} lines came; records of this map have 1 to 64"):
        talk.fed(answer[:before], answer[before:])


def test_what_came_before_an_error_is_given_out():
    talk, answers = Talk(), []
    first, second, third = (talk.answers([count]) for count in (2, 3, 4))
    with pytest.raises(LostError):
        talk.end.feed(first + third, answers)
    assert [len(items) // CODEC.item_bytes for items in answers] == [2]
    talk, answers = Talk(), []
    with pytest.raises(Broken, match="without proof"):
        talk.end.feed(talk.answers([2]) + refusal(read_header(second), Refusal.REKEY), answers)
    assert [read_responses(CODEC, items) for items in answers] == [[Response(Status.OK)] * 2]


def test_no_more_leaves_than_the_bounds_allow():
    """Two records in all; 128 lines or 300 operations at once."""
    talk = Talk(Bounds(records=2, lines=128, operations=300))
    assert (talk.end.room(), talk.end.remaining, talk.end.crowded) == (253, 2, False)
    came = talk.answers([253])
    assert (talk.end.room(), talk.end.remaining, talk.end.crowded) == (47, 1, True)
    came += talk.answers([47])
    assert (talk.end.room(), talk.end.remaining, talk.end.exhausted) == (0, 0, False)
    assert talk.fed(came) == [253, 47]
    assert (talk.end.room(), talk.end.crowded, talk.end.exhausted) == (0, False, True)
    talk = Talk(Bounds(lines=128))
    talk.answers([253, 240])
    assert talk.end.room() == CODEC.operations(128 - CODEC.lines(253) - CODEC.lines(240)) == 9
    talk.answers([9])
    assert talk.end.room() == 0
