# amaranth: UnusedElaboratable=no
"""AXI signatures: names, widths and directions; what is refused; channels as streams."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.errors import ParamsError
from rtl.stream.axi import CHANNELS, AxiReadSignature, AxiSignature, AxiWriteSignature, connect_channel
from sim.bench.amaranth_bench import AmaranthBench

WIDTHS = {"addr_width": 34, "data_width": 256, "id_width": 6}


def test_signals_have_their_standard_names_widths_and_directions():
    members = AxiSignature(**WIDTHS, version=3).members
    widths = {"awaddr": 34, "awlen": 4, "wdata": 256, "wstrb": 32, "bid": 6, "arsize": 3, "arburst": 2, "rresp": 2}
    assert {name: members[name].shape for name in widths} == widths
    assert {name for name, member in members.items() if member.flow is In} == {
        "awready", "wready", "bid", "bresp", "bvalid", "arready", "rid", "rdata", "rresp", "rlast", "rvalid",
    }  # fmt: skip
    assert AxiSignature(**WIDTHS).members["arlen"].shape == 8


def test_halves_make_the_whole():
    halves = {**AxiReadSignature(**WIDTHS).members, **AxiWriteSignature(**WIDTHS).members}
    assert halves == dict(AxiSignature(**WIDTHS).members)


def test_signatures_with_the_same_parameters_are_equal():
    assert AxiSignature(**WIDTHS) == AxiSignature(**WIDTHS)
    assert AxiSignature(**WIDTHS) != AxiSignature(**WIDTHS, version=3)
    assert AxiReadSignature(**WIDTHS) != AxiSignature(**WIDTHS)


def test_derived_values():
    signature = AxiSignature(**WIDTHS, version=3)
    assert (signature.max_burst, signature.beat_bytes, signature.full_size) == (16, 32, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 5}, "version is 5; AXI 3 and 4 are known"),
        ({"data_width": 96}, "data_width is 96"),
        ({"addr_width": 11}, "addr_width is 11"),
        ({"id_width": 0}, "id_width is 0"),
    ],
)
def test_impossible_widths_are_refused(change, message):
    with pytest.raises(ParamsError, match=message):
        AxiSignature(**{**WIDTHS, **change})


class Loop(wiring.Component):
    """Each channel of an AXI port from or to a stream, and back through the port of a slave."""

    def __init__(self):
        self.axi = AxiSignature(**WIDTHS)
        streams = {f"i_{channel}": In(self.axi.stream(channel)) for channel in CHANNELS}
        super().__init__(streams | {f"o_{channel}": Out(self.axi.stream(channel)) for channel in CHANNELS})

    def elaborate(self, platform):
        m = Module()
        master, slave = self.axi.create(), self.axi.flip().create()
        connect(m, master, slave)
        for channel in CHANNELS:
            backward = channel in ("b", "r")
            i, o = flipped(getattr(self, f"i_{channel}")), flipped(getattr(self, f"o_{channel}"))
            near, far = (slave, master) if backward else (master, slave)
            flow = self.axi.stream(channel).create()
            if backward:  # the test is the slave: it drives the channel by hand
                m.d.comb += [getattr(near, channel + n).eq(i.p[n]) for n in CHANNELS[channel]]
                m.d.comb += [getattr(near, channel + "valid").eq(i.valid), i.ready.eq(getattr(near, channel + "ready"))]
                connect_channel(m, far, channel, flow)
                connect(m, flow, o)
            else:
                connect(m, i, flipped(flow))
                connect_channel(m, near, channel, flow)
                m.d.comb += [o.p[n].eq(getattr(far, channel + n)) for n in CHANNELS[channel]]
                m.d.comb += [o.valid.eq(getattr(far, channel + "valid")), getattr(far, channel + "ready").eq(o.ready)]
        return m


def test_channels_are_streams():
    bench = AmaranthBench(Loop())
    drawn = random.Random(5)
    pushed = {}
    for channel in CHANNELS:
        width = bench.ports.streams[f"i_{channel}"].width
        pushed[channel] = [drawn.getrandbits(width), drawn.getrandbits(width)]
        bench.source(f"i_{channel}").push(pushed[channel])
        bench.sink(f"o_{channel}", waits=[2])
    bench.run(6)
    assert {channel: bench.sink(f"o_{channel}").take() for channel in CHANNELS} == pushed
