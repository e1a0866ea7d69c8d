"""Records that the device takes together are answered as those that it takes one by one."""

from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from host.records import split
from omap.bodies import command_text
from omap.hazmat.fixed import fixed_secrets
from omap.operations import Kind
from omap.presets import preset
from omap.wire import CLOSE, LINE_BYTES, Counter, RecordCodec
from tests.support.omap_maps import compiled
from tests.support.ring_host import RingHost
from tests.support.sessions import holder

PARAMS = preset("TINY")
CODEC = RecordCodec(PARAMS)
KINDS = st.sampled_from([*Kind, Kind.PUT, Kind.PUT, CLOSE])
SENT = st.tuples(
    st.sampled_from("aaaaab"),  # whose it is
    st.lists(st.tuples(KINDS, st.integers(0, 7)), min_size=1, max_size=2),
    st.sampled_from(["as it is"] * 12 + ["altered", "twice", "left out", "short", "of nobody"]),
)


def host(noise):
    """Return a host whose device draws what it is told to draw."""
    numbers = count(noise)
    return RingHost(
        journal=True,
        create=lambda *arguments, **options: compiled(*arguments, **options | {"secrets": fixed_secrets(noise)}),
        noise=lambda: next(numbers).to_bytes(32, "big"),
    )


def record(client, operations):
    """Return the next record; a CLOSE has no arguments."""
    items = [(bytes([kind]) + bytes(3) + bytes([key, 0, 0, 0, key])).ljust(CODEC.item_bytes, b"\0")
             for kind, key in operations]  # fmt: skip
    return client.seal_text(command_text(CODEC, items, len(items)), len(items))


def sent(clients, drawn):
    """Return the records that come to the device."""
    records = []
    for name, operations, how in drawn:
        data = record(clients[name], operations)
        if how == "altered":
            data = data[:-1] + bytes([data[-1] ^ 1])
        elif how == "of nobody":
            data = data[:4] + bytes([data[4] ^ 1]) + data[5:]
        elif how == "short":
            data = data[:3] + b"\0" + data[4:LINE_BYTES]
        records += {"twice": [data, data], "left out": []}.get(how, [data])
    return records


@settings(max_examples=20)
@given(drawn=st.lists(SENT, min_size=1, max_size=24), noise=st.integers(0, 1 << 32))
def test_records_that_are_taken_together_are_answered_as_one_by_one(drawn, noise):
    both = [host(noise), host(noise)]
    clients = {"a": both[0].connect(holder(b"a")), "b": both[0].connect(holder(b"b"))}
    # the second device gets the records that opened the sessions of the first
    begun = both[0].buffer[both[0].layout.commands :][: both[0].counter(Counter.COMMANDS_WRITTEN) * LINE_BYTES]
    both[1].exchange(*split(bytes(begun)))
    records = sent(clients, drawn)
    answers = []
    for number, each in enumerate(both):
        for data in records:
            each.put(data)
        while each.device.step(*[1] * number):
            pass
        lines = [each.counter(counter) for counter in (Counter.RESPONSES_WRITTEN, Counter.JOURNAL_WRITTEN)]
        rings = [bytes(each.buffer[start:][: size * LINE_BYTES]) for start, size in
                 zip((each.layout.responses, each.layout.journal), lines, strict=True)]  # fmt: skip
        answers.append((lines, rings, bytes(each.buffer[each.layout.pages :])))
    assert answers[0] == answers[1]
