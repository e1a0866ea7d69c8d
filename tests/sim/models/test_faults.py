"""Faults of the memory models: each does what it says to the access it is meant for, and nothing to others."""

from functools import lru_cache

import pytest

from omap.errors import ParamsError
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.compiled import Design
from sim.errors import CycleLimitError, SimulationError
from sim.models.faults import Fault, FaultKind
from sim.models.memory import Memory
from sim.models.timing import HbmTiming, HostTiming
from tests.support.designs.dma import Dma

OLD, NEW = b"\x11" * 64, b"\x22" * 64
LINES = [0x1000, 0x1040, 0x2000]
LAYOUT = Dma().o_read.payload.shape()


@lru_cache(maxsize=1)
def design():
    return Design(Dma())


class Player:
    """A bench with blocking reads and writes of 64 bytes."""

    def __init__(self, form, *faults, timing=None):
        self.bench = AmaranthBench(Dma(), seed=2) if form == "python" else design().bench(seed=2)
        self.memory = Memory(1 << 16)
        for line in LINES:
            self.memory.write(line, OLD)
        timing = timing or HostTiming(ids=64)
        self.model = self.bench.memory("m_axi", self.memory, timing, faults=faults)

    def read(self, address):
        before = self.bench.cycle
        self.bench.source("i_read").push([{"addr": address, "len": 1, "id": 0}])
        self.bench.run_until(limit=2000, transfers={"o_read": 2})
        self.took = self.bench.cycle - before
        beats = [LAYOUT.from_bits(item) for item in self.bench.sink("o_read").take()]
        return b"".join(beat["data"].to_bytes(32, "little") for beat in beats), beats[0]["resp"]

    def write(self, address, data=NEW):
        self.bench.source("i_write").push([{"addr": address, "len": 1, "id": 0}])
        self.bench.source("i_data").push([data[:32], data[32:]])
        self.bench.run_until(limit=2000, transfers={"o_written": 1})
        return self.bench.ports.streams["o_written"].shape.from_bits(self.bench.sink("o_written").take()[0])["resp"]


both = pytest.mark.parametrize("form", ["python", "compiled"])


@both
def test_without_faults_memory_is_memory(form):
    player = Player(form)
    assert player.read(0x1000) == (OLD, 0)
    assert player.write(0x1000) == 0
    assert player.read(0x1000) == (NEW, 0)
    assert player.memory.read(0x1000, 128) == NEW + OLD


@both
def test_flip_inverts_one_bit_of_one_read(form):
    player = Player(form, Fault(kind=FaultKind.FLIP, low=0x1000, high=0x1001, skip=1, argument=8 * 40 + 3))
    assert player.read(0x1000) == (OLD, 0)
    flipped, _ = player.read(0x1000)
    assert flipped == OLD[:40] + bytes([OLD[40] ^ 8]) + OLD[41:]
    assert player.read(0x1000) == (OLD, 0)
    assert player.memory.read(0x1000, 64) == OLD


@both
def test_flip_of_a_write_stays(form):
    player = Player(form, Fault(kind=FaultKind.FLIP, write=True, argument=0))
    player.write(0x1000)
    assert player.read(0x1000) == (bytes([NEW[0] ^ 1]) + NEW[1:], 0)


@both
def test_replay_returns_what_was_there_before(form):
    player = Player(form, Fault(kind=FaultKind.REPLAY, low=0x1000, high=0x1040, count=2))
    assert player.read(0x1000) == (OLD, 0)  # nothing was written yet: nothing to replay
    player.write(0x1000)
    assert player.read(0x1000) == (OLD, 0)
    assert player.read(0x1000) == (NEW, 0)


@both
def test_drop_answers_and_forgets(form):
    player = Player(form, Fault(kind=FaultKind.DROP, write=True, low=0x1000, high=0x1040))
    assert player.write(0x1000) == 0
    assert player.read(0x1000) == (OLD, 0)
    assert player.write(0x1000) == 0
    assert player.read(0x1000) == (NEW, 0)


@both
def test_stall_delays_by_what_was_asked(form):
    timing = HbmTiming(refresh_every_ns=0)
    player = Player(form, Fault(kind=FaultKind.STALL, skip=1, argument=2000), timing=timing)
    player.read(0x1000)  # opens the row
    player.read(0x1000)
    stalled = player.took
    player.read(0x1000)
    assert stalled - player.took == 2000 // 4


@both
def test_error_is_answered_as_an_error(form):
    player = Player(form, Fault(kind=FaultKind.ERROR), Fault(kind=FaultKind.ERROR, write=True))
    assert player.read(0x1000) == (bytes(64), 2)
    assert player.write(0x1000) == 2
    assert player.read(0x1000) == (OLD, 0)


@both
def test_a_dead_slave_answers_nothing_more(form):
    player = Player(form)
    player.read(0x1000)
    player.model.add_fault(Fault(kind=FaultKind.DEAD, low=0x2000, high=0x2040))
    player.read(0x1000)
    with pytest.raises(CycleLimitError, match="not done after 2000 cycles: stream o_read moved 4 of 6"):
        player.read(0x2000)
    with pytest.raises(CycleLimitError, match="stream o_written moved 0 of 1"):
        player.write(0x1000)


@both
def test_a_read_that_left_after_a_write_sees_it(form):
    player = Player(form)  # PCIe: a read request pushes posted writes before it
    player.bench.source("i_write").push([{"addr": 0x1000, "len": 1, "id": 0}])
    player.bench.source("i_data").push([NEW[:32], NEW[32:]])
    player.bench.run(4)  # the write is on its way, not answered
    assert player.bench.sink("o_written").transfers == 0
    assert player.read(0x1000) == (NEW, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": FaultKind.REPLAY, "write": True}, "use DROP"),
        ({"kind": FaultKind.DROP}, "give write=True"),
        ({"kind": FaultKind.FLIP, "skip": -1}, "skip is -1"),
        ({"kind": FaultKind.FLIP, "low": 8, "high": 8}, "no byte lies in"),
    ],
)
def test_meaningless_faults_are_refused(arguments, message):
    with pytest.raises(ParamsError, match=message):
        Fault(**arguments)


def test_memory_refuses_what_it_does_not_have():
    memory = Memory(8192, base=4096)
    assert (4096, 8192) in memory
    for address, length in ((0, 1), (12288, 1), (12287, 2)):
        with pytest.raises(SimulationError, match="are not in the memory at 0x1000 to 0x3000"):
            memory.read(address, length)
    with pytest.raises(ParamsError, match="multiples of 4096"):
        Memory(100)
