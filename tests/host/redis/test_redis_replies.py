"""A client's library reads every reply as the value that was meant."""

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.redis import replies
from host.redis.replies import RESP2, RESP3


def read(data):
    reader = hiredis.Reader()
    reader.feed(data)
    value = reader.gets()
    assert not reader.has_data()
    return value


scalars = st.one_of(st.binary(max_size=9), st.integers(-(1 << 63), (1 << 63) - 1), st.none())
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text("abc"), inner, max_size=3))
)


def flat(value):
    """What RESP2 makes of a value: a mapping is a list of names and values."""
    if isinstance(value, dict):
        return [part for name, item in value.items() for part in (name.encode(), flat(item))]
    return list(map(flat, value)) if isinstance(value, list) else value


def named(value):
    """What RESP3 makes of it: names are bytes."""
    if isinstance(value, dict):
        return {name.encode(): named(item) for name, item in value.items()}
    return list(map(named, value)) if isinstance(value, list) else value


@given(values)
def test_values_are_read_as_they_were(value):
    assert read(RESP2.value(value)) == flat(value)
    assert read(RESP3.value(value)) == named(value)


@given(st.lists(st.one_of(st.none(), st.binary(max_size=9)), max_size=5))
def test_bulks(items):
    assert read(RESP2.bulks(items)) == read(RESP3.bulks(items)) == items


def test_forms_of_text_and_of_nothing():
    assert (RESP2.text("a\r\n"), RESP3.text("a\r\n")) == (b"$3\r\na\r\n\r\n", b"=7\r\ntxt:a\r\n\r\n")
    assert (RESP2.bulk(None), RESP3.bulk(None)) == (b"$-1\r\n", b"_\r\n")


@pytest.mark.parametrize("text", ["ERR a\r\nb", "ERR \udcff"])
def test_an_error_is_one_line(text):
    data = replies.error(text)
    assert data.count(b"\r\n") == 1
    assert data.endswith(b"\r\n")
