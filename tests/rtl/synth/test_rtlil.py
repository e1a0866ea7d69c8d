# amaranth: UnusedElaboratable=no
"""Memories begin in the Verilog as they do in Amaranth, and one that begins as zeros costs a line, however large."""

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.synth.rtlil import to_rtlil
from rtl.synth.verilog import to_verilog as plain_verilog
from sim.bench.compiled import Design
from sim.bench.verilog import simulation_verilog

WORDS = [3, 1, 4, 1, 5, 9, 2, 6]
LARGE = 1 << 12


class Memories(wiring.Component):
    """One that begins as zeros, one bit wide, one that does not, one that has a name to be escaped, one large."""

    a: In(12)
    write: In(1)
    zeros: Out(1)
    words: Out(4)
    escaped: Out(8)
    large: Out(512)

    def elaborate(self, platform):
        m = Module()
        for output, name, depth, init in (
            (self.zeros, "zeros", 8, []),
            (self.words, "words", 8, WORDS),
            (self.escaped, "an escaped name", 4, []),
            (self.large, "large", LARGE, []),
        ):
            memory = Memory(shape=output.shape(), depth=depth, init=init, attrs={"ram_style": "distributed"})
            m.submodules[name.replace(" ", "-")] = memory
            read, write = memory.read_port(domain="comb"), memory.write_port()
            m.d.comb += [read.addr.eq(self.a), output.eq(read.data), write.addr.eq(self.a), write.en.eq(self.write)]
            m.d.comb += write.data.eq(~0)
        return m


@pytest.fixture(scope="module", params=["plain", "simulated"])
def verilog(request):
    return plain_verilog(Memories(), "top") if request.param == "plain" else simulation_verilog(Memories())


def test_every_memory_has_first_contents_and_zeros_are_short(verilog):
    assert verilog.count("  initial for (") == 3
    assert verilog.count("  initial begin\n") == 1
    assert len(verilog) < 10_000


def test_what_is_read_first():
    bench = Design(Memories()).bench()
    for address in range(LARGE):
        bench.set("a", address)
        bench.run(1)
        assert bench.get("words") == WORDS[address % 8]
        assert not any(bench.get(name) for name in ("zeros", "escaped", "large"))


def test_amaranth_is_as_it_was():
    """Only RTLIL of this package is without zeros: other users of Amaranth get them."""
    from amaranth.back import rtlil

    text = to_rtlil(Memories(), "top")
    assert text.count("cell $meminit_v2") == 1
    assert rtlil.convert(Memories(), emit_src=False).count("cell $meminit_v2") == 4
