"""What a map takes as keys, values, batches and arrays, and what it says of anything else."""

import numpy as np
import pytest

import omap
from omap import InputError, Kind, Operation

PARAMS = omap.preset("TINY")
KEY, VALUE = bytes(range(1, PARAMS.key_bytes + 1)), bytes(range(1, PARAMS.value_bytes + 1))

FORMS = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "every other byte": lambda data: memoryview(bytes(np.repeat(np.frombuffer(data, np.uint8), 2)))[::2],
    "string of numpy": np.bytes_,
    "array of uint8": lambda data: np.frombuffer(data, np.uint8),
}


@pytest.fixture
def table():
    return omap.create(PARAMS)


@pytest.mark.parametrize("form", FORMS)
def test_keys_and_values_are_whatever_holds_bytes(table, form):
    key, value = FORMS[form](KEY), FORMS[form](VALUE)
    assert table.put(key, value) is None
    assert table.get(KEY) == table.get(key) == table[key] == VALUE
    assert type(table[key]) is bytes
    assert key in table
    table[key] = value
    assert table.execute([Operation(Kind.GET, key), Operation(Kind.NOP)])[0].previous == VALUE
    assert table.delete(key) == VALUE


def test_what_changes_after_a_call_does_not_change_the_map(table):
    key, value = bytearray(KEY), bytearray(VALUE)
    table.put(key, value)
    key[:], value[:] = bytes(len(KEY)), bytes(len(VALUE))
    assert table.get(KEY) == VALUE


def test_get_has_a_default(table):
    assert table.get(KEY) is None
    assert table.get(KEY, b"none") == table.get(KEY, default=b"none") == b"none"
    assert table.get(KEY, 7) == 7
    table.put(KEY, VALUE)
    assert table.get(KEY, b"none") == VALUE


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        ([("GET", KEY)], r"operation 0: it must be an Operation, as Operation\(Kind.GET, key\) is, not a tuple of 2"),
        ([Operation(Kind.NOP), ("GET", KEY, b"")], "operation 1: kind must be one of NOP, GET, PUT, DELETE, not a str"),
        ([Operation(1.0, KEY)], "^kind must be one of NOP, GET, PUT, DELETE, not a float"),
        ([Operation(Kind.NOP), Operation(np.float64(0))], "operation 1: kind must be one of .*, not a float64"),
        ([KEY], f"operation 0: it must be an Operation, .* not {len(KEY)} bytes"),
        (["GET"], "operation 0: it must be an Operation, .* not a str"),
        ([Kind.NOP], "operation 0: it must be an Operation, .* not a Kind"),
        ([None], "operation 0: it must be an Operation, .* not a NoneType"),
        (Operation(Kind.GET, KEY), "a batch is a list of operations, not a Operation: put one operation in a list"),
        (None, "a batch is a list of operations, not a NoneType"),
        (7, "a batch is a list of operations, not a int"),
        ((Operation(Kind.NOP) for _ in range(2)), "a batch is a list of operations, not a generator"),
        ([Operation(Kind.GET, "text")], f"^a key must be {len(KEY)} bytes, not a str"),
        ([Operation(Kind.GET, [1, 2])], f"a key must be {len(KEY)} bytes, not a list of 2"),
        ([Operation(Kind.GET, bytearray(3))], f"a key must be {len(KEY)} bytes, not 3 bytes"),
        ([Operation(Kind.PUT, KEY, np.zeros(len(VALUE)))], f"a value must be {len(VALUE)} bytes, not a ndarray"),
        ([Operation(Kind.NOP), Operation(Kind.GET, b"")], f"^operation 1: a key must be {len(KEY)} bytes, not 0 bytes"),
        ([Operation(Kind.PUT, KEY)], f"^a value must be {len(VALUE)} bytes, not 0 bytes"),
    ],
)
def test_what_is_no_batch_is_refused_in_a_sentence(table, batch, says):
    with pytest.raises(InputError, match=says):
        table.execute(batch)
    assert table.sequence == 0


def test_what_is_no_key_is_in_no_map(table):
    for key in ("text", None, 7, b"", (KEY,)):
        with pytest.raises(InputError, match="a key must be"):
            assert key not in table


def test_bulk_load_takes_arrays_of_strings(table):
    keys = np.array([KEY, KEY[::-1]], dtype=f"S{len(KEY)}")
    table.bulk_load(keys, np.array([VALUE, VALUE[::-1]], dtype=f"S{len(VALUE)}"))
    assert table.get(KEY[::-1]) == VALUE[::-1]
