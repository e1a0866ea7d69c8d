"""Names and values of any length in cells: what goes in comes back, and what does not fit is refused."""

import hmac

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from omap.cells import LAST_EXPIRY, LAST_GENERATION, Cells, Stamp, pack_value, unpack_value
from omap.credentials import Right
from omap.databases import register_key
from omap.errors import InputError
from omap.kdf import derive
from omap.presets import preset
from tests.support.sessions import ROOT_KEY, holder

CLIENT = holder()
WIDE, SMALL, TINY = (preset(name) for name in ("WIDE", "SMALL", "TINY"))


@given(value=st.binary(max_size=40), size=st.integers(2, 64))
def test_cells_give_back_what_they_took(value, size):
    if len(value) <= size - 2:
        cell = pack_value(value, size)
        assert len(cell) == size
        assert unpack_value(cell) == value
    else:
        with pytest.raises(InputError, match=f"holds at most {size - 2}"):
            pack_value(value, size)


@given(cell=st.binary(max_size=12))
def test_any_bytes_are_a_cell_or_refused(cell):
    try:
        value = unpack_value(cell)
    except InputError as error:
        assert "without omap.cells" in str(error)  # noqa: PT017
    else:
        assert pack_value(value, len(cell))[: 2 + len(value)] == cell[: 2 + len(value)]


@given(names=st.sets(st.binary(max_size=40), min_size=2, max_size=2), value=st.binary(max_size=200))
def test_different_names_have_different_keys_and_come_back(names, value):
    cells = Cells(WIDE, CLIENT)
    one, other = names
    assert len(cells.key(one)) == 16
    assert cells.key(one) != cells.key(other)
    cell = cells.pack(one, value)
    assert len(cell) == WIDE.value_bytes
    assert cells.unpack(one, cell) == value
    assert Cells(WIDE, CLIENT).key(one) == cells.key(one)
    if cells.is_hashed(other):
        with pytest.raises(InputError, match="stored for another key"):
            cells.unpack(other, cell)


@given(name=st.binary(max_size=300))
def test_room_is_what_fits(name):
    cells = Cells(WIDE, CLIENT)
    room = cells.room(name)
    if room >= 0:
        assert cells.unpack(name, cells.pack(name, bytes([7]) * room)) == bytes([7]) * room
    with pytest.raises(InputError, match="fit"):
        cells.pack(name, bytes(max(room + 1, 0) or 1))


@given(name=st.binary(max_size=12))
def test_short_keys_take_short_names_as_they_are(name):
    cells = Cells(SMALL, CLIENT)
    if len(name) <= 8 and not name.endswith(b"\0"):
        assert cells.key(name) == name.ljust(8, b"\0")
    else:
        with pytest.raises(InputError, match="up to 8 bytes"):
            cells.key(name)


@given(name=st.binary(min_size=17, max_size=60), other=st.binary(min_size=32, max_size=32))
def test_images_depend_on_the_root_key(name, other):
    assume(other != ROOT_KEY)
    assert Cells(WIDE, CLIENT).key(name) != Cells(WIDE, holder(root_key=other)).key(name)
    secret = derive(ROOT_KEY, b"omap names 2", bytes(9), 32)
    assert Cells(WIDE, CLIENT).key(name) == hmac.new(secret, name, "sha256").digest()[:16]
    assert Cells(WIDE, holder(b"alice", Right.READ)).key(name) == Cells(WIDE, CLIENT).key(name)


@given(prefix=st.binary(min_size=1, max_size=8), name=st.binary(max_size=40), database=st.integers(0, 3))
def test_keys_of_a_client_with_a_prefix_begin_with_it(prefix, name, database):
    client = holder(b"alice", prefix=prefix)
    cells, room = Cells(WIDE, client), 16 - len(prefix)
    key = cells.key(name, database)
    assert len(key) == 16
    assert key.startswith(prefix)
    assert cells.is_hashed(name, database) == (database > 0 or len(name) > room or name.endswith(b"\0"))
    if not cells.is_hashed(name, database):
        assert key == prefix + name.ljust(room, b"\0")
    elif database == 0:
        assert key[len(prefix) :] == hmac.new(client.names_key, name, "sha256").digest()[:room]
    assert Cells(WIDE, holder(b"bob", Right.WRITE, prefix)).key(name, database) == key
    cell = cells.pack(name, b"value", Stamp(database=database))
    assert cells.open(name, cell, database) == (b"value", Stamp(database=database))


@given(prefix=st.binary(max_size=8), name=st.binary(max_size=12))
def test_short_keys_have_room_for_prefix_and_name_alone(prefix, name):
    cells, room = Cells(SMALL, holder(prefix=prefix)), 8 - len(prefix)
    if len(name) <= room and not name.endswith(b"\0"):
        assert cells.key(name) == prefix + name.ljust(room, b"\0")
    else:
        with pytest.raises(InputError, match=f"keys of up to {room} bytes"):
            cells.key(name)


def test_two_names_of_one_key_are_an_error_and_no_wrong_answer():
    """With a prefix of 8 bytes, images have 64 bits; a collision needs no luck when somebody seals a cell for it."""
    cells = Cells(WIDE, holder(prefix=b"8 bytes!"))
    with pytest.raises(InputError, match="stored for another key"):
        cells.unpack(b"a name of twenty byte", cells.pack(b"another of so many bb", b"value"))


@given(prefix=st.binary(max_size=8), name=st.binary(max_size=20))
def test_the_register_of_a_prefix_is_reached_by_no_name(prefix, name):
    client = holder(b"alice", prefix=prefix)
    key = register_key(WIDE, client)
    assert len(key) == 16
    assert key.startswith(prefix)
    assert key == register_key(WIDE, holder(b"bob", Right.READ, prefix))
    assert key != register_key(WIDE, holder(prefix=prefix[1:] if prefix else b"p"))
    secret = derive(client.names_key, b"omap database 2", b"\xff", 32)
    assert key == (prefix + hmac.new(secret, b"register", "sha256").digest()[:16])[:16]
    assert all(Cells(WIDE, client).key(name, database) != key for database in range(16))


def test_a_cell_without_room_for_a_length():
    with pytest.raises(InputError, match="at most 0"):
        pack_value(b"x", 1)
    assert Cells(TINY, CLIENT).room(b"ab") == 2


@given(length=st.integers(17, 600), value=st.binary(max_size=3))
def test_a_key_that_leaves_no_room_is_what_is_refused(length, value):
    """Not the value, which may be empty."""
    cells = Cells(WIDE, CLIENT)
    name = b"k" * length
    longest = WIDE.value_bytes - 4
    if length > longest:
        with pytest.raises(InputError, match=f"the key has {length} bytes; a cell of {WIDE.value_bytes} holds keys of"):
            cells.pack(name, value)
    elif length + len(value) > longest:
        with pytest.raises(
            InputError, match=f"the value has {len(value)} bytes; under this key {longest - length} fit"
        ):
            cells.pack(name, value)
    else:
        assert cells.unpack(name, cells.pack(name, value)) == value


@given(
    name=st.binary(min_size=1, max_size=20),
    stamp=st.builds(
        Stamp,
        st.one_of(st.none(), st.integers(0, LAST_EXPIRY)),
        st.integers(0, 15),
        st.one_of(st.just(0), st.integers(0, LAST_GENERATION)),
    ),
)
def test_room_is_what_fits_with_any_stamp(name, stamp):
    """A value as long as the room fills the cell to its last byte, and comes back with its stamp."""
    cells = Cells(WIDE, CLIENT)
    room = cells.room(name, stamp)
    hashed = 2 + len(name) if cells.is_hashed(name, stamp.database) else 0
    marked = 4 if stamp.database or stamp.generation else 0
    assert room == WIDE.value_bytes - 2 - hashed - marked - (0 if stamp.expiry is None else 6)
    cell = cells.pack(name, b"v" * room, stamp)
    assert len(cell) == WIDE.value_bytes
    assert cells.open(name, cell, stamp.database) == (b"v" * room, stamp)
    with pytest.raises(InputError, match="fit"):
        cells.pack(name, b"v" * (room + 1), stamp)


def test_a_length_never_reaches_into_the_flags():
    assert unpack_value(pack_value(b"v" * 16383, 20000)) == b"v" * 16383
    with pytest.raises(InputError, match="holds at most 16383"):
        pack_value(b"v" * 16384, 20000)


@given(
    st.binary(min_size=WIDE.value_bytes - 2, max_size=WIDE.value_bytes - 2),
    st.sampled_from([b"@\0", b"@\x04", b"\0\1"]),
)
def test_a_value_that_was_stored_as_it_is_is_no_cell(rest, head):
    """Such as numbers: the first bytes of 2.0 and of 2.5 would say that a generation follows."""
    assume(rest[-1])
    with pytest.raises(InputError, match="without omap.cells"):
        Cells(WIDE, CLIENT).open(b"name", head + rest)
