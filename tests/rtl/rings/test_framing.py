# amaranth: UnusedElaboratable=no
"""Lines of the command ring as records: the reference's lengths, what is malformed, and what is not there yet."""

import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.presets import preset
from omap.wire import Counter, Header, RecordCodec, read_header, write_counter
from rtl.rings.framing import command_shape, read_shape
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


@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_every_header_is_read_as_the_reference_reads_it(name):
    codec, line = RecordCodec(preset(name)), Signal(512)
    shape = Signal(command_shape(preset(name)))
    m = Module()
    m.d.comb += [shape[field].eq(value) for field, value in read_shape(preset(name), line).items()]
    rng = random.Random(3)

    async def bench(context):
        for type_ in (0, 1, 2, 3, 4, 255):
            for count in range(256):
                for lines in {0, 1, 2, 255, codec.lines(count), codec.lines(count) + 1, rng.randrange(256)} - {
                    *range(256, 4096)
                }:
                    header = Header(type_, 7, lines, count, rng.getrandbits(32), rng.getrandbits(64)).pack()
                    context.set(line, int.from_bytes(header + rng.randbytes(48), "little"))
                    wanted = codec.command_lines(type_, lines, count)
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
