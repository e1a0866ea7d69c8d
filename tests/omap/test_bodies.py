"""Records and their bodies: sizes follow from the number of operations alone, and lists and arrays are one format."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omap.bodies import (
    MOST_TOLD,
    Reply,
    answers,
    column_items,
    command_items,
    command_text,
    operation_items,
    pack_answers,
    read_reply,
    reply_text,
    responses,
    unpack_columns,
)
from omap.columns import Answers
from omap.errors import ParamsError
from omap.interface import blanked, check_columns
from omap.map import create
from omap.operations import Kind, Operation, Response, Status
from omap.params import Params, Rule
from omap.presets import preset
from omap.wire import (
    CLOSE,
    HEADER,
    HELLO_LINES,
    LINE_BYTES,
    BufferLayout,
    Header,
    RecordCodec,
    RecordType,
    Refusal,
    read_header,
    refusal,
)

CODECS = {name: RecordCodec(preset(name)) for name in ("TINY", "SMALL", "PAPER", "STANDARD", "WIDE")}
names = st.sampled_from(sorted(CODECS))


def resident(key_bytes, value_bytes):
    return RecordCodec(
        Params(
            rule=Rule.RESIDENT, capacity=1, key_bytes=key_bytes, value_bytes=value_bytes, page_bytes=0, pages=0,
            waiting_slots=1, further_lines=0, bucket_bytes=64, buckets=1,
        )
    )  # fmt: skip


def test_sizes_are_those_of_the_contract():
    assert [CODECS[name].item_bytes for name in ("PAPER", "STANDARD", "WIDE")] == [16, 80, 288]
    assert [CODECS[name].most_operations for name in ("PAPER", "STANDARD", "WIDE")] == [253, 50, 14]
    assert CODECS["PAPER"].lines(1) == 1
    longest = resident(16, 4096)
    assert (longest.most_lines, longest.most_operations) == (66, 1)


@given(key_bytes=st.sampled_from([4, 8, 16]), value_bytes=st.integers(1, 4096))
def test_records_are_whole_lines_with_room_for_their_operations(key_bytes, value_bytes):
    codec = resident(key_bytes, value_bytes)
    assert codec.item_bytes % 16 == 0
    assert 0 <= codec.item_bytes - 1 - key_bytes - value_bytes < 16
    assert 1 <= codec.most_operations <= 255
    for count in {1, codec.most_operations}:
        taken = HEADER.size + 16 + count * codec.item_bytes + 16
        assert 0 <= LINE_BYTES * codec.lines(count) - taken < LINE_BYTES
        assert codec.text_bytes(count) == LINE_BYTES * codec.lines(count) - HEADER.size - 16
    assert codec.lines(codec.most_operations) <= codec.most_lines
    assert codec.lines(codec.most_operations + 1) > codec.most_lines or codec.most_operations == 255


@given(name=names, type_=st.integers(0, 255), lines=st.integers(0, 255), count=st.integers(0, 255))
def test_commands_whose_lines_do_not_fit_are_malformed(name, type_, lines, count):
    codec = CODECS[name]
    data = 1 <= count <= codec.most_operations and lines == codec.lines(count)
    wanted = {
        RecordType.HELLO: (lines, count) == (HELLO_LINES, 0),
        RecordType.CONFIRM: (lines, count) == (1, 0),
        RecordType.DATA: data,
    }
    assert codec.command_lines(type_, lines, count) == (lines if wanted.get(type_, False) else 0)


@given(name=names, type_=st.integers(0, 255), lines=st.integers(0, 255), count=st.integers(0, 255))
def test_records_that_restore_a_map_are_no_commands(name, type_, lines, count):
    codec = CODECS[name]
    wanted = {
        RecordType.JOURNAL: 1 <= count <= codec.most_operations and lines == codec.lines(count),
        RecordType.SNAPSHOT: (lines, count) == (codec.lines(codec.most_operations), codec.most_operations),
        RecordType.START: count <= 16 and lines == -(-(16 + 80 + 32 * count + 16) // 64),
        RecordType.SOURCE: (lines, count) == (2, 0),
        RecordType.END: (lines, count) == (1, 0),
    }
    assert codec.restore_lines(type_, lines, count) == (lines if wanted.get(type_, False) else 0)
    assert not (codec.restore_lines(type_, lines, count) and codec.command_lines(type_, lines, count))


@given(name=names)
def test_every_record_of_a_restore_has_its_lines(name):
    codec = CODECS[name]
    for type_, lines, count in (
        (RecordType.JOURNAL, codec.lines(1), 1),
        (RecordType.SNAPSHOT, codec.chunk_lines, codec.most_operations),
        (RecordType.START, 2, 0),
        (RecordType.START, 10, 16),
        (RecordType.SOURCE, 2, 0),
        (RecordType.END, 1, 0),
    ):
        assert codec.restore_lines(type_, lines, count) == lines
    assert 0 <= codec.chunks * codec.most_operations - codec.params.slots < codec.most_operations


@given(name=names, count=st.integers(0, 255))
def test_every_count_has_its_lines(name, count):
    codec = CODECS[name]
    fitting = [lines for lines in range(256) if codec.command_lines(RecordType.DATA, lines, count)]
    assert fitting == ([codec.lines(count)] if 1 <= count <= codec.most_operations else [])


@given(
    header=st.builds(
        Header, *[st.integers(0, 255)] * 4, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
    ),
    why=st.sampled_from(Refusal),
)  # fmt: skip
def test_a_refusal_repeats_what_it_refuses(header, why):
    record = refusal(header, why)
    assert len(record) == LINE_BYTES
    told = read_header(record)
    assert told == Header(RecordType.REFUSED, header.session_index, 1, why, header.session, header.sequence)
    assert not any(record[HEADER.size :])
    assert read_header(header.pack() + bytes(48)) == header


# -- bodies -------------------------------------------------------------------------------------------------------


def operations(params):
    key = st.binary(min_size=params.key_bytes, max_size=params.key_bytes)
    value = st.binary(min_size=params.value_bytes, max_size=params.value_bytes)
    return st.builds(Operation, st.sampled_from([*Kind, CLOSE]), key, value)


@given(name=names, data=st.data())
def test_operations_arrive_as_lists_and_as_arrays(name, data):
    codec = CODECS[name]
    params = codec.params
    batch = data.draw(st.lists(operations(params), min_size=1, max_size=min(20, codec.most_operations)))
    text = command_text(codec, [operation_items(codec, batch)], len(batch))
    assert len(text) == codec.text_bytes(len(batch))
    assert not any(text[:16])
    items = command_items(codec, text, len(batch))
    parts = [operation_items(codec, batch[:1]), operation_items(codec, batch[1:])]
    assert command_text(codec, parts, len(batch)) == text
    assert not any(text[16 + len(items) :])
    columns = unpack_columns(codec, items)
    assert command_text(codec, [column_items(codec, columns)], len(batch)) == text
    for operation, kind, key, value in zip(batch, *columns, strict=True):
        assert kind == operation.kind
        assert key.tobytes() == (bytes(params.key_bytes) if kind in (Kind.NOP, CLOSE) else operation.key)
        assert value.tobytes() == (operation.value if kind == Kind.PUT else bytes(params.value_bytes))
    if CLOSE not in columns.kinds:
        kinds, keys, values = zip(*batch, strict=True)
        asked = blanked(check_columns(params, kinds, keys, values))
        assert bytes(column_items(codec, asked)) == items


def test_no_operations_have_no_answers():
    answers = create(preset("TINY")).execute_arrays([], [], [])
    assert [column.shape for column in answers] == [(0,), (0,), (0, preset("TINY").value_bytes)]


@given(kinds=st.binary(min_size=1, max_size=20))
def test_kinds_that_do_not_exist_read_as_nop(kinds):
    codec = CODECS["PAPER"]
    items = b"".join(bytes([kind]).ljust(codec.item_bytes, b"\1") for kind in kinds)
    read = unpack_columns(codec, items).kinds.tolist()
    assert read == [kind if kind <= CLOSE else Kind.NOP for kind in kinds]


numbers = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(0, 2**40))


@given(name=names, told=numbers, data=st.data())
def test_answers_arrive_as_lists_and_as_arrays(name, told, data):
    codec = CODECS[name]
    value = st.binary(min_size=codec.params.value_bytes, max_size=codec.params.value_bytes)
    wanted = data.draw(
        st.lists(
            st.builds(Response, st.sampled_from(Status), st.none() | value),
            min_size=1,
            max_size=min(20, codec.most_operations),
        )
    )
    absent, count = bytes(codec.params.value_bytes), len(wanted)
    packed = Answers(
        np.array([response.status for response in wanted], np.uint8),
        np.array([response.previous is not None for response in wanted]),
        np.array([list(response.previous or absent) for response in wanted], np.uint8),
    )
    sequence, overruns, live = told
    text = reply_text(codec, Reply(sequence, overruns, live, count, pack_answers(codec, packed)))
    assert len(text) == codec.text_bytes(count)
    reply = read_reply(text, count)
    assert (reply.sequence, reply.count) == (sequence, count)
    assert (reply.overruns, reply.live) == (min(overruns, MOST_TOLD), min(live, MOST_TOLD))
    assert responses(codec, reply) == wanted
    for came, sent in zip(answers(codec, reply), packed, strict=True):
        assert came.dtype == sent.dtype
        assert np.array_equal(came, sent)


# -- rings --------------------------------------------------------------------------------------------------------


@given(first=st.integers(0, 2**64 - 1), count=st.integers(1, 66), filler=st.integers(1, 255))
def test_lines_of_a_ring_lie_one_after_the_other_and_wrap(first, count, filler):
    layout = BufferLayout(preset("TINY"), 128)
    buffer = bytearray(layout.size)
    lines = [bytes([(filler + place) % 255 + 1]) * LINE_BYTES for place in range(count)]
    with memoryview(buffer) as view:
        layout.write_lines(view, layout.responses, first, b"".join(lines))
        assert layout.read_lines(view, layout.responses, first, count) == b"".join(lines)
    for place, line in enumerate(lines):
        at = layout.responses + (first + place) % 128 * LINE_BYTES
        assert buffer[at : at + LINE_BYTES] == line
    assert buffer.count(0) == layout.size - count * LINE_BYTES


@given(lines=st.integers(0, 1 << 18))
def test_rings_have_powers_of_two_of_lines(lines):
    if lines in [1 << bits for bits in range(7, 17)]:
        layout = BufferLayout(preset("TINY"), lines)
        assert layout.journal == 4096 + 2 * 64 * lines
        assert layout.pages == 4096 + 3 * 64 * lines
        return
    with pytest.raises(ParamsError, match=f"ring_lines is {lines}; it must be a power of two from 128 to 65536"):
        BufferLayout(preset("TINY"), lines)
