"""Tables of the demo: encoding of rows, long keys, and files that are refused."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omap.demo import scenarios, table
from omap.demo.contestants import sized
from omap.errors import InputError
from omap.operations import Kind, Operation, Response, Status
from omap.params import Rule

BAD = [
    ("code,name\nA,1\nB,2\nA,3\n", "row 4 has the same key as row 2 in column 'code'"),
    ("code,name\nA,1\n,2\n", "row 3 has nothing in column 'code'"),
    ("code,name\nA,1\nB\n", "row 3 should have 2 fields like the header, not 1"),
    ("code,name\nA,1,2\n", "row 2 should have 2 fields like the header, not 3"),
    ("id,name\nA,1\n", "has no column 'code': choose --key from id, name"),
    ("code,code\nA,1\n", "names a column twice (code)"),
    ("code,name\n", "no rows below its header"),
    ("", "is empty"),
    ('code,name\nA,"1\n2"\nB,2\nA,3\n', "row 5 has the same key as row 2"),
    ('code,name\nA,"1\n', "near row 2: unexpected end of data: look for a quotation mark that opens"),
    ("code,name\nA,1\n\n\nA,2\n", "row 5 has the same key as row 2"),
    (f"code,name\nA,1\nB,{'x' * 5000}\n", "row 3 takes 5010 bytes as a value and at most 4096 fit"),
    (b"code,name\nA,\xff\xfe\n", "is not UTF-8 (byte 12)"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_bad_tables_are_refused_with_row_and_remedy(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        table.read_csv(path, "code")
    assert message in str(caught.value)
    assert "xxx" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="can't be read: No such file"):
        table.read_csv(tmp_path / "absent.csv", "code")


def test_spreadsheet_exports_with_a_byte_order_mark_are_read(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes('\ufeffcode,name\r\nA,"x, y"\r\nB,ü\r\n'.encode())
    read = table.read_csv(path, "code")
    assert read.rows == [("A", "x, y"), ("B", "ü")]
    assert read.keys == [b"A\0\0\0", b"B\0\0\0"]


fields = st.text() | st.floats(allow_nan=False, allow_infinity=False) | st.integers()


@given(st.lists(fields, max_size=8), st.integers(0, 40))
def test_a_row_survives_its_encoding(row, padding):
    assert table.decode_row(table.encode_row(row) + bytes(padding)) == tuple(row)


@given(st.lists(st.text(min_size=1, max_size=24), min_size=1, max_size=40, unique=True))
def test_keys_are_distinct_and_of_one_size(names):
    keys, hashed = table.encode_keys(names)
    assert len(set(keys)) == len(names)
    assert {len(key) for key in keys} in ({4}, {8}, {16})
    assert hashed == any(len(name.encode()) > 16 or "\0" in name for name in names)


def test_the_hash_of_long_keys_has_a_fresh_secret_key():
    assert table.encode_keys(["x" * 17])[0] != table.encode_keys(["x" * 17])[0]


# -- scenarios and the check of answers -----------------------------------------------------------------------------


def make(count):
    rows = [(str(number),) for number in range(count)]
    return table.make_table(title="test", noun="row", columns=["k"], key_column="k", rows=rows, lines=range(count))


@given(st.integers(1, 400), st.integers(100, 3000), st.integers())
def test_scenarios_are_as_long_as_asked_and_stay_in_the_table(count, operations, seed):
    rows = make(count)
    for scenario in scenarios.scenarios(rows, operations, seed):
        assert len(scenario.operations) == operations
        for kind, key, value in scenario.operations:
            assert len(key) == rows.key_bytes
            assert kind != Kind.PUT or rows.values[rows.keys.index(key)] == value
        if scenario.period:
            shifted = scenario.operations[scenario.period :]
            assert all(a == b for a, b in zip(scenario.operations, shifted, strict=False))


def test_absent_keys_are_absent():
    rows = make(200)
    assert not set(scenarios.absent_keys(rows, 500, random.Random(1))) & set(rows.keys)


def test_the_source_notices_every_kind_of_wrong_answer():
    rows = make(3)
    key, other = rows.keys[0], rows.values[1]
    get, put, delete = Operation(Kind.GET, key), Operation(Kind.PUT, key, rows.values[0]), Operation(Kind.DELETE, key)
    there, gone = Response(Status.OK, rows.values[0]), Response(Status.NOT_FOUND)
    assert scenarios.Source(rows).wrong([get, put, delete, get, delete], [there, there, there, gone, gone]) == 0
    assert scenarios.Source(rows).wrong([delete, put, get], [there, Response(Status.OK), there]) == 0
    for answer in (gone, Response(Status.OK, other), Response(Status.OK), Response(Status.FULL, rows.values[0])):
        assert scenarios.Source(rows).wrong([get], [answer]) == 1
    for answer in (there, Response(Status.OK), Response(Status.NOT_FOUND, rows.values[0])):
        assert scenarios.Source(rows).wrong([delete, get], [there, answer]) == 1


def test_sizes_follow_the_rule():
    rows = make(500)
    for rule in (Rule.ONE_CHOICE, Rule.TWO_CHOICE):
        params = sized(rows, rule)
        assert (params.rule, params.key_bytes, params.value_bytes) == (rule, rows.key_bytes, rows.value_bytes)
        assert params.capacity >= len(rows)
