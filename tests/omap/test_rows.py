"""Keys and values in the forms in which callers have them, as rows of an array."""

import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omap.columns import copy_rows
from omap.errors import InputError
from omap.rows import as_rows

WIDTH = 8
rows = st.lists(st.binary(min_size=WIDTH, max_size=WIDTH), max_size=20)


def read(forms):
    return as_rows("keys", WIDTH, forms)


def check(forms, wanted):
    came = read(forms)
    assert came.dtype == np.uint8
    assert came.shape == (len(wanted), WIDTH)
    assert came.tobytes() == b"".join(wanted)
    return came


@given(wanted=rows)
def test_what_lies_row_by_row_is_taken_as_it_lies(wanted):
    data = np.frombuffer(b"".join(wanted), np.uint8).reshape(-1, WIDTH)
    for form in (
        data,
        memoryview(data),
        data.view(f"S{WIDTH}").ravel(),
        data.view(f"V{WIDTH}").ravel(),
        data.view(">u8").ravel(),
        Shown(data),
    ):
        came = check(form, wanted)
        assert not wanted or np.shares_memory(came, data)
    check(np.asfortranarray(data), wanted)
    check(np.repeat(data, 2, axis=0)[::2], wanted)
    check(np.repeat(data.view(f"S{WIDTH}").ravel(), 2)[::2], wanted)


class Shown:
    """Shows an array by numpy's interface alone."""

    def __init__(self, data):
        self.data = data

    def __array__(self, dtype=None, copy=None):
        return self.data


@given(wanted=rows)
def test_sequences_are_taken_one_by_one(wanted):
    for form in (wanted, tuple(wanted), [bytearray(row) for row in wanted], [memoryview(row) for row in wanted]):
        check(form, wanted)
    check(Shown(np.array([*wanted, None], object)[:-1]), wanted)


@pytest.mark.parametrize(
    ("forms", "says"),
    [
        (np.zeros((2, WIDTH + 1), np.uint8), r"keys must be an \(n, 8\) array of uint8, not \(2, 9\) of uint8"),
        (np.zeros(2, "S7"), r"not \(2,\) of \|S7"),
        (np.zeros(2, np.int64), "integers of int64, whose bytes may be meant in either order: .* as .astype"),
        (np.array([b"12345678"], "O"), r"not \(1,\) of object"),
        (np.array(["12345678"]), r"not \(1,\) of <U8"),
        (np.zeros(2, "S9"), r"not \(2,\) of \|S9"),
        (np.zeros(2, "<u8"), "integers of uint64, whose bytes may be meant in either order"),
        (np.zeros(2, ">i8"), "integers of >i8"),
        (np.zeros(2, ">u4"), r"not \(2,\) of >u4"),
        (np.zeros(2, [("a", "u4"), ("b", "u4")]), r"not \(2,\) of \[\('a'"),
        (np.zeros(2, np.float64), r"not \(2,\) of float64"),
        (np.zeros((2, WIDTH)), r"not \(2, 8\) of float64"),
        (b"12345678", "a sequence of bytes, not 8 bytes"),
        (memoryview(b"12345678"), "a sequence of bytes, not 8 bytes"),
        ("12345678", "a sequence of bytes, not a str"),
        (array.array("B", b"12345678"), r"keys\[0\] must be 8 bytes, not a int"),
        ({b"12345678"}, "a sequence of bytes, not a set"),
        ([b"12345678", b"short"], r"keys\[1\] must be 8 bytes, not 5 bytes"),
        (7, "a sequence of bytes, not a int"),
        (np.ma.masked_array(np.zeros((2, 8), np.uint8), [[True] * 8, [False] * 8]), "rows that are masked"),
    ],
)
def test_anything_else_is_refused_without_being_shown(forms, says):
    with pytest.raises(InputError, match=says) as refused:
        read(forms)
    assert "5678" not in str(refused.value)


@given(count=st.integers(0, 9), width=st.integers(1, 40), before=st.integers(0, 3))
def test_rows_are_copied_into_part_of_wider_rows(count, width, before):
    source = np.arange(count * (width + 2), dtype=np.uint32).astype(np.uint8).reshape(count, width + 2)
    to = np.full((count, width + 5), 0xEE, np.uint8)
    copy_rows(to[:, before : before + width], source[:, 1 : 1 + width])
    assert np.array_equal(to[:, before : before + width], source[:, 1 : 1 + width])
    assert (np.delete(to, slice(before, before + width), axis=1) == 0xEE).all()
    copy_rows(to[:, :width], np.broadcast_to(np.zeros(width, np.uint8), (count, width)))
    assert not to[:, :width].any()


# -- other packages, where they are installed --------------------------------------------------------------------------


@given(wanted=rows, cut=st.integers(0, 20))
def test_columns_of_arrow_are_taken_as_they_lie(wanted, cut):
    pa = pytest.importorskip("pyarrow")
    column = pa.array(wanted, pa.binary(WIDTH))
    came = check(column, wanted)
    if wanted:
        assert np.shares_memory(came, np.frombuffer(column.buffers()[1], np.uint8))
    check(column[cut:], wanted[cut:])
    chunks = pa.chunked_array([column[:cut], column[cut:]], pa.binary(WIDTH))
    check(chunks, wanted)
    check(pa.table({"key": chunks})["key"], wanted)
    check(pa.chunked_array([], pa.binary(WIDTH)), [])


def test_other_columns_of_arrow_are_refused():
    pa = pytest.importorskip("pyarrow")
    for kind, values in [(pa.binary(7), [b"1234567"]), (pa.binary(), [b"12345678"]), (pa.int64(), [1])]:
        with pytest.raises(InputError, match=r"an Arrow column of fixed_size_binary\[8\], not of .*: cast it first"):
            read(pa.array(values, kind))
    with pytest.raises(InputError, match="keys have 1 nulls; each must have 8 bytes"):
        read(pa.array([b"12345678", None], pa.binary(8)))


@given(wanted=rows)
def test_columns_of_pandas_are_taken(wanted):
    pd = pytest.importorskip("pandas")
    check(pd.Series(wanted, dtype=object), wanted)
    numbers = pd.Series([int.from_bytes(row, "big") for row in wanted], dtype="uint64")
    with pytest.raises(InputError, match="may be meant in either order"):
        read(numbers)
    check(numbers.to_numpy().astype(">u8"), wanted)
    pa = pytest.importorskip("pyarrow")
    column = pd.Series(pd.arrays.ArrowExtensionArray(pa.array(wanted, pa.binary(WIDTH))))
    check(column, wanted)
    check(column.array, wanted)
