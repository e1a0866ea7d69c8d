# amaranth: UnusedElaboratable=no
"""Lines of the command ring as records: the reference's lengths, what is malformed, and what is not there yet."""

import random
from functools import cache

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.presets import preset
from omap.source import END
from omap.wire import Counter, Header, RecordCodec, RecordType, read_header, start_lines, write_counter
from rtl.rings.framing import Framing, command_shape, read_shape
from sim.bench.compiled import Design
from tests.support.rtl.ring_bench import Host


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), sound=st.floats(0, 1))
def test_a_record_that_does_not_fit_its_header_counts_as_one_line(seed, sound):
    host, rng = Host("TINY", 256, seed=seed), random.Random(seed)
    records, lines = [], 0
    while lines < 200:
        record = host.record()
        if rng.random() > sound:
            header = read_header(record)
            change = {
                "type": rng.choice([0, 1, 2, 4, 5, rng.randrange(256)]),
                "lines": rng.choice([0, 1, 2, header.lines ^ 1, 64, 65, 255]),
                "count": rng.choice([0, header.count ^ 1, 254, 255, rng.randrange(256)]),
            }
            name = rng.choice(list(change))
            header = header._replace(**{name: change[name]})
            record = header.pack() + record[16:]
            if not host.codec.command_lines(header.type, header.lines, header.count):
                record = record[:64]
        records.append(record)
        lines += len(record) // 64
    host.exchange(records, limit=30_000)


@pytest.mark.parametrize("restores", [False, True])
@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_every_header_is_read_as_the_reference_reads_it(name, restores):
    codec, line, restore = RecordCodec(preset(name)), Signal(512), Signal()
    shape = Signal(command_shape(preset(name)))
    m = Module()
    read = read_shape(preset(name), line, restore if restores else None)
    m.d.comb += [shape[field].eq(value) for field, value in read.items()]
    rng, counted = random.Random(3), (RecordType.DATA, RecordType.JOURNAL, RecordType.START)

    async def bench(context):
        for type_ in (*range(11), 255):
            for count in range(256) if type_ in counted else (0, 1, 17, codec.most_operations, 255):
                some = {0, 1, 2, 255, codec.lines(count), codec.lines(count) + 1, start_lines(count), codec.chunk_lines}
                for lines in {*some, rng.randrange(256)} - {*range(256, 4096)}:
                    header = Header(type_, 7, lines, count, rng.getrandbits(32), rng.getrandbits(64)).pack()
                    context.set(line, int.from_bytes(header + rng.randbytes(48), "little"))
                    wanted = codec.command_lines(type_, lines, count)
                    if restores and rng.getrandbits(1):
                        context.set(restore, 1)
                        wanted = wanted or codec.restore_lines(type_, lines, count)
                    else:
                        context.set(restore, 0)
                    found = context.get(shape.lines), context.get(shape.malformed)
                    assert found == (wanted or 1, not wanted), (type_, count, lines)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


def test_a_record_waits_for_its_last_line():
    host = Host("TINY", 256)
    first, second = host.record(1), host.record(100)
    host.exchange([first], limit=5000)
    host.layout.write_lines(host.buffer, host.layout.commands, host.written, second)
    lines = len(second) // 64
    for end in (1, 2, lines - 1):
        write_counter(host.buffer, Counter.COMMANDS_WRITTEN, host.written + end)
        host.bench.run(5000)
        assert not host.records()
        assert host.counter(Counter.COMMANDS_FETCHED) == host.written + end  # told although nothing is answered
    host.sent, host.written = 2, host.written + lines
    host.exchange([first, second], limit=30_000)


DEPTH = 256


@cache
def framing():
    """Return the block for restores, compiled, and the sizes of its records."""
    return Design(Framing(preset("TINY"), depth=DEPTH, restores=True)), RecordCodec(preset("TINY"))


class Lines:
    """Lines of drawn records, and the records that come out."""

    def __init__(self, seed):
        design, self.codec = framing()
        self.rng, self.bench = random.Random(seed), design.bench(seed=seed)
        self.bench.sink("o_record", idle=self.rng.choice([0.0, 0.5]))
        self.bench.set("restore", 1)
        self.beats = []

    def record(self, type):
        """Return a record of a type."""
        rng, codec = self.rng, self.codec
        count = rng.randint(1, 60) if type in (RecordType.DATA, RecordType.JOURNAL) else 0
        count = rng.randint(0, 16) if type == RecordType.START else count
        fits = [n for n in range(1, 65) if codec.command_lines(type, n, count) or codec.restore_lines(type, n, count)]
        return Header(type, 0, *fits, count, 0, rng.getrandbits(30)).pack() + rng.randbytes(64 * fits[0] - 16)

    def push(self, records):
        data = b"".join(records)
        self.bench.source("i_line").push(data[at : at + 64] for at in range(0, len(data), 64))

    def took(self):
        """Run, and return the records that have come out so far, and which of them are malformed."""
        self.bench.run(4000)
        self.beats += self.bench.sink("o_record").take()
        records, marks, whole = [], [], b""
        for beat in self.beats:
            whole += (beat & (1 << 128) - 1).to_bytes(16, "little")
            if beat >> 128 & 1:
                records.append(whole)
                marks.append(beat >> 129)
                whole = b""
        assert not whole
        return records, marks


RESTORING = [RecordType.JOURNAL, RecordType.START, RecordType.SOURCE]


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    before=st.lists(st.sampled_from([*RESTORING, RecordType.HELLO, RecordType.DATA]), max_size=3),
    after=st.lists(st.sampled_from([*RESTORING, RecordType.HELLO, RecordType.DATA]), min_size=1, max_size=3),
    fails=st.booleans(),
    at_once=st.booleans(),
)
def test_what_is_behind_an_end_waits_until_it_is_known_whose_it_is(seed, before, after, fails, at_once):
    lines = Lines(seed)
    first, then = [*(lines.record(type) for type in before), END], [lines.record(type) for type in after]
    lines.push([*first, *then] if at_once else first)
    assert lines.took() == (first, [0] * len(first))
    if not at_once:
        lines.push(then)
        assert lines.took()[0] == first
    if fails:
        lines.bench.set("failed", 1)
        wanted, marks = then, [0] * len(then)
    else:
        lines.bench.set("restore", 0)
        wanted, marks = [], []
        for type, record in zip(after, then, strict=True):
            malformed = type in RESTORING  # a command of so many lines, each of which may be any record
            wanted.append(record[:64] if malformed else record)
            marks.append(int(malformed))
            if malformed:
                break
    records, found = lines.took()
    assert records[len(first) :][: len(wanted)] == wanted
    assert found[len(first) :][: len(wanted)] == marks
    if fails:  # a failed restore frames further records as before, behind another END as well
        lines.push([END, lines.record(RecordType.SOURCE)])
        assert len(lines.took()[0]) == len(first) + len(then) + 2
