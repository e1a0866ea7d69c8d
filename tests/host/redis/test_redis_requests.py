"""The parser: it yields the same commands in whatever pieces bytes come, keeps its bounds, and says what is wrong."""

import contextlib
import random
import tracemalloc
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from host.redis.requests import (
    ARGUMENTS_LIMIT,
    BULK_LIMIT,
    LINE_LIMIT,
    REQUEST_LIMIT,
    ProtocolError,
    RequestReader,
    split_words,
)

words = st.lists(st.binary(max_size=20), min_size=1, max_size=5)


def encode(command):
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in command)


def one_by_one(reader):
    """Yield the commands that have come, one at a time."""
    while (command := reader.next()) is not None:
        yield command


def in_bulk(reader, limit):
    """Yield the commands that have come, up to a limit at a time."""
    while commands := reader.take(limit):
        assert len(commands) <= limit
        yield from commands


def read_all(pieces, **options):
    """Return the commands in the pieces, and the error that ends them, if any: the same in whatever way they are read.

    What was read before an error counts; nothing comes after it.
    """
    outcomes = []
    for read in (one_by_one, *(partial(in_bulk, limit=limit) for limit in (1, 3, 1000))):
        reader = RequestReader(**options)
        commands, error = [], None
        for piece in pieces:
            reader.feed(piece)
            try:
                for command in read(reader):
                    commands.append(command)
            except ProtocolError as problem:
                error = str(problem)
                break
        outcomes.append((commands, error))
    assert outcomes[1:] == outcomes[:1] * 3
    return outcomes[0]


def cut(data, places):
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@settings(max_examples=200)
@given(st.lists(words, max_size=8), st.lists(st.integers(0, 1 << 16), max_size=12))
def test_commands_survive_any_cutting(commands, places):
    commands = [command for command in commands if command[0].lower() not in (b"post", b"host:")]
    stream = b"".join(map(encode, commands))
    assert read_all(cut(stream, places)) == (commands, None)


fragments = st.sampled_from(
    [
        b"*",
        b"$",
        b"\r\n",
        b"\n",
        b"-1",
        b"0",
        b"1",
        b"2",
        b"3",
        b"GET",
        b" ",
        b'"',
        b"'",
        b"\\",
        b"\0",
        b":1",
        b"~2",
        b"%",
    ]
)


@settings(max_examples=300)
@example(b"*-1\r\n*0\r\n*1\r\n$1\r\na\r\n", [1, 2, 3, 9])
@example(b"*3333333333\r\n", [])
@example(b"*1\r\n*4294967295\r\n", [5])
@given(
    st.lists(st.one_of(fragments, st.binary(max_size=6)), max_size=30).map(b"".join),
    st.lists(st.integers(0, 1 << 16), max_size=6),
)
def test_anything_else_gives_the_same_whole_or_in_pieces(data, places):
    whole = read_all([data])
    assert read_all(cut(data, places)) == whole
    assert read_all([data[n : n + 1] for n in range(len(data))]) == whole


@pytest.mark.sec_cm("REDIS.INPUT.BOUNDED")
@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"*%d\r\n" % (ARGUMENTS_LIMIT + 1), "invalid multibulk length"),
        (b"*4294967295\r\n", "invalid multibulk length"),
        (b"*99999999999999999999999\r\n", "invalid multibulk length"),
        (b"*1x\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*1\r\n:5\r\n", "expected '$', got ':'"),
        (b"*1\r\n*1\r\n", "expected '$', got '*'"),
        (b"*1\r\n*1\r\n$4\r\nPING\r\n", "expected '$', got '*'"),
        (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
        (b"*2\r\n+0123456789\r\n=14\r\ntxt:0123456789\r\n", "expected '$', got '+'"),  # as long as bulk strings
        (b"*1\r\n(123\r\n", "expected '$', got '('"),
        (b"*1\r\n\x07", "expected '$', got '?'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$%d\r\n" % (BULK_LIMIT + 1), "invalid bulk length"),
        (b"*1\r\n$ 1\r\n", "invalid bulk length"),
        (b"*" + b"1" * (LINE_LIMIT + 1), "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * (LINE_LIMIT + 1), "too big bulk count string"),
        (b"a" * (LINE_LIMIT + 1), "too big inline request"),
        (b"SET a 'b\r\n", "unbalanced quotes in request"),
        (b'SET a "b"c\r\n', "unbalanced quotes in request"),
    ],
)
def test_what_is_no_command_is_told_as_redis_tells_it(stream, error):
    assert read_all([encode([b"PING"]), stream]) == ([[b"PING"]], f"ERR Protocol error: {error}")


@pytest.mark.sec_cm("REDIS.INPUT.BOUNDED")
@pytest.mark.parametrize("kind", [b"*", b"%", b"~", b">", b"|"])
@pytest.mark.parametrize("before", [b"", b"*1\r\n", b"*2\r\n$3\r\nabcXX"])
def test_nothing_is_reserved_for_what_is_announced(kind, before):
    reader = RequestReader()
    reader.feed(encode([b"PING"]) + before + kind + b"3000000\r\n")
    tracemalloc.start()
    try:
        with contextlib.suppress(ProtocolError):
            while reader.take(1000):
                pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_before_the_password_a_command_is_small():
    assert read_all([encode([b"x"] * 10)], authenticated=False) == ([[b"x"] * 10], None)
    error = "ERR Protocol error: unauthenticated multibulk length"
    assert read_all([encode([b"x"] * 11)], authenticated=False) == ([], error)
    assert read_all([encode([b"x" * 16384])], authenticated=False)[1] is None
    error = "ERR Protocol error: unauthenticated bulk length"
    assert read_all([encode([b"x" * 16385])], authenticated=False) == ([], error)


def test_a_browser_is_hung_up_on_without_a_word():
    assert read_all([b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET a b\r\n"]) == ([], "")
    assert read_all([b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nSET a b\r\n"]) == ([[b"GET", b"/", b"HTTP/1.1"]], "")


def feed_until_refused(reader, piece):
    for _ in range(2 * REQUEST_LIMIT // BULK_LIMIT):
        reader.feed(piece)
        assert reader.next() is None


@pytest.mark.sec_cm("REDIS.INPUT.BOUNDED")
def test_a_command_without_end_is_refused_before_it_fills_the_memory():
    reader = RequestReader()
    tracemalloc.start()
    try:
        reader.feed(b"*%d\r\n" % ARGUMENTS_LIMIT)
        piece = b"$%d\r\n" % BULK_LIMIT + bytes(BULK_LIMIT) + b"\r\n"
        with pytest.raises(ProtocolError, match="too big request"):
            feed_until_refused(reader, piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * REQUEST_LIMIT


def test_a_long_command_in_small_pieces_takes_no_more_work_than_its_length():
    """Each piece is walked once: the walk goes on where it stood."""
    command = [b"MSET", *(b"%d" % n for n in range(6000))]
    stream = encode(command)
    reader = RequestReader()
    headers = 0
    original = reader._header

    def counted(*arguments):
        nonlocal headers
        headers += 1
        return original(*arguments)

    reader._header = counted
    for at in range(0, len(stream), 7):
        reader.feed(stream[at : at + 7])
        found = reader.next()
    assert found == command
    assert headers < 3 * len(command)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"", []),
        (b"  \t ", []),
        (b"get  a\t", [b"get", b"a"]),
        (b'set a "b c"', [b"set", b"a", b"b c"]),
        (rb'set a "\x41\n\r\t\b\a\\\"\q\xzz"', [b"set", b"a", b'A\n\r\t\b\a\\"qxzz']),
        (rb"set a '\'b\n'", [b"set", b"a", rb"'b\n"]),
        (b"set \"\" ''", [b"set", b"", b""]),
        (b'fo"o b"', [b"foo b"]),
        (b"a\0b c", [b"a"]),
    ],
)
def test_inline_words(line, expected):
    assert split_words(line) == expected


def test_inline_commands_are_split_as_redis_splits_them(real_redis):
    """What Redis makes of a line shows in its error about an unknown command, or in what ECHO gives back."""
    seed = 3
    print("seed", seed)
    random_source = random.Random(seed)
    alphabet = [
        b" ",
        b'"',
        b"'",
        b"\\",
        b"x",
        b"4",
        b"1",
        b"n",
        b"a",
        b"\t",
        b"\xff",
        b"\v",
    ]  # not zero: Redis waits for more
    for _ in range(300):
        line = b"ECHO " + b"".join(random_source.choices(alphabet, k=random_source.randrange(9)))
        answer = real_redis.ask(line + b"\r\n")
        if b"unbalanced" in answer:
            with pytest.raises(ProtocolError) as problem:
                split_words(line)
            assert real_redis.agrees(answer, b"-%b\r\n" % str(problem.value).encode()), line
            continue
        found = split_words(line)
        if len(found) == 2:
            assert answer == b"$%d\r\n%b\r\n" % (len(found[1]), found[1]), line
        else:
            assert answer.startswith(b"-ERR wrong number of arguments"), line
