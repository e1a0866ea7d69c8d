# amaranth: UnusedElaboratable=no
"""Pages are opened and sealed as the reference does it, over the ends of epochs; keys come ahead, and are erased."""

import random
from dataclasses import replace

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.crypto import PageCodec, page_key
from omap.errors import ParamsError
from omap.versions import KEPT_MASK, epoch, whole
from rtl.config import EngineConfig
from rtl.map.epoch_keys import KEYS, EpochKeys
from rtl.map.sealing import Sealing, whole_version
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.compiled import Design
from sim.bench.secrecy import Recorder, differences, state
from tests.support.rtl.engines import TIGHT, tight

SHORT = EngineConfig(params=replace(TIGHT.params, epoch_bits=7))
"""Epochs of 128 operations, on five pages."""

PAGES, BEATS = SHORT.params.pages, SHORT.page_beats


def number(data):
    return int.from_bytes(data, "little")


def beats(data):
    return [number(data[at : at + 16]) for at in range(0, len(data), 16)]


# -- keys -----------------------------------------------------------------------------------------------------------


def derive(bench, secret, map_id, epochs):
    """Have a block derive the keys of epochs 0 to ``epochs - 1``; return them with their indices."""
    bench.set("map_id", number(map_id))
    bench.source("i_secret").push([number(secret)])
    bench.run_until(limit=400, transfers={"o_key": 2})
    for _ in range(epochs - 2):
        bench.set("begun", 1)
        bench.run(1)
        bench.set("begun", 0)
        bench.run(150)
    return [(raw & KEYS - 1, (raw >> 2).to_bytes(32, "little")) for raw in bench.sink("o_key").take()]


@pytest.mark.sec_cm("PAGE.KEY.EPOCH")
@settings(max_examples=3)
@given(secret=st.binary(min_size=32, max_size=32), map_id=st.binary(min_size=16, max_size=16))
def test_the_key_of_each_epoch_is_the_references(secret, map_id):
    bench = AmaranthBench(EpochKeys())
    bench.sink("o_key")
    found = derive(bench, secret, map_id, 6)
    assert found == [(n % KEYS, page_key(secret, map_id, n)) for n in range(6)]
    assert len({key for _, key in found}) == 6


def test_a_new_secret_begins_anew_whatever_is_being_derived():
    bench = AmaranthBench(EpochKeys())
    bench.sink("o_key")
    derive(bench, b"a" * 32, bytes(16), 3)
    bench.set("begun", 1)
    bench.run(1)
    bench.set("begun", 0)
    bench.run(20)
    found = derive(bench, b"b" * 32, b"c" * 16, 3)
    assert found == [(n, page_key(b"b" * 32, b"c" * 16, n)) for n in range(3)]


def test_the_time_of_a_key_does_not_depend_on_the_secret():
    rows = []
    for seed in (1, 2):
        bench = AmaranthBench(EpochKeys())
        recorder = Recorder(bench, times_only=True)
        bench.sink("o_key")
        derive(bench, random.Random(seed).randbytes(32), bytes(16), 4)
        rows.append(recorder.rows)
    assert rows[0] == rows[1]


@pytest.mark.sec_cm("PAGE.SECRET.ERASE")
@pytest.mark.parametrize("moment", [60, 300], ids=["deriving", "derived"])
def test_an_erased_block_holds_nothing_of_its_secret(moment):
    states, shown = [], []
    for seed in (1, 2):
        bench = AmaranthBench(EpochKeys())
        recorder = Recorder(bench)
        bench.sink("o_key", waits=[1000])
        bench.source("i_secret").push([random.Random(seed).getrandbits(256)])
        bench.run(moment)
        before = state(bench)
        shown.append(recorder.rows[:60])
        bench.set("erase", 1)
        bench.run(2)
        states.append((before, state(bench)))
    assert shown[0] == shown[1]
    assert differences(states[0][0], states[1][0])
    assert not differences(states[0][1], states[1][1])


# -- versions -------------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(present=st.integers(1, 2**64 - 1), back=st.integers(0, 2**47 - 1), k=st.integers(1, 46), data=st.data())
def test_versions_are_those_of_the_reference(present, back, k, data):
    near = data.draw(st.integers(0, 3 << k))
    version = max(0, present - data.draw(st.sampled_from([back, min(near, (1 << 47) - 1), 0])))
    kept, now, out, out_fresh = Signal(48), Signal(64), Signal(64), Signal()
    m = Module()
    found, fresh = whole_version(kept, now, k)
    m.d.comb += [out.eq(found), out_fresh.eq(fresh)]

    async def bench(ctx):
        ctx.set(kept, version & KEPT_MASK)
        ctx.set(now, present)
        assert ctx.get(out) == version == whole(version & KEPT_MASK, present)
        assert ctx.get(out_fresh) == (epoch(present, k) - epoch(version, k) <= 1)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


# -- pages ----------------------------------------------------------------------------------------------------------


class Run:
    """Touches of pages, in a block and in the reference."""

    def __init__(self, bench, seed):
        self.bench, self.rng = bench, random.Random(seed)
        self.secret, self.map_id = self.rng.randbytes(32), self.rng.randbytes(16)
        self.codec = PageCodec(self.secret, self.map_id, SHORT.params.epoch_bits)
        for name in ("o_text", "o_sealed"):
            bench.sink(name)
        self.format()

    def format(self):
        """Seal every page empty."""
        bench = self.bench
        bench.set("map_id", number(self.map_id))
        bench.source("i_secret").push([number(self.secret)])
        bench.run_until(limit=10, transfers={"i_secret": 1})
        bench.set("blank", 1)
        bench.source("i_blank").push(range(PAGES))
        empty = bytes(SHORT.params.plaintext_bytes)
        self.operations = 0
        self.pages = [(0, empty, self.codec.seal(page, 0, empty)) for page in range(PAGES)]
        assert self.sealed(PAGES) == [sealed for *_, sealed in self.pages]
        bench.set("blank", 0)

    def sealed(self, count):
        """Return the next pages that come out sealed, when as many as were touched have been opened, too."""
        opened = {} if self.operations == 0 else {"o_text": (BEATS - 1) * count}
        self.bench.run_until(limit=2000 + 40 * count, transfers={"o_sealed": BEATS * count} | opened)
        data = b"".join((raw & (1 << 128) - 1).to_bytes(16, "little") for raw in self.bench.sink("o_sealed").take())
        return [data[at : at + 16 * BEATS] for at in range(0, len(data), 16 * BEATS)]

    def push(self, page, text=None):
        """Touch a page; return its old plaintext and its new seal."""
        bench, (version, old, sealed) = self.bench, self.pages[page]
        self.operations += 1
        text = self.rng.randbytes(len(old)) if text is None else text
        self.pages[page] = self.operations, text, self.codec.seal(page, self.operations, text)
        bench.source("i_page").push([page])
        bench.source("i_version").push([version & KEPT_MASK])
        bench.source("i_sealed").push(beats(sealed))
        bench.source("i_text").push([{"data": beat, "last": 0} for beat in beats(text)])
        return old, self.pages[page][2]


@pytest.fixture(scope="module")
def design():
    return Design(Sealing(SHORT))


@pytest.mark.sec_cm("PAGE.KEY.EPOCH")
def test_pages_are_opened_and_sealed_as_by_the_reference_over_the_ends_of_epochs(design):
    """Seven epochs: each place for a key is used again. Then a format, which begins anew."""
    run = Run(design.bench(seed=1), seed=1)
    for count in (7 * 128 + 5, 140):
        wanted = [run.push(run.rng.randrange(PAGES)) for _ in range(count)]
        assert run.sealed(count) == [sealed for _, sealed in wanted]
        texts = [(raw & (1 << 128) - 1).to_bytes(16, "little") for raw in run.bench.sink("o_text").take()]
        assert b"".join(texts) == b"".join(old for old, _ in wanted)
        assert not run.bench.get("fault")
        assert not run.bench.get("exhausted")
        run.secret, run.map_id = run.rng.randbytes(32), run.rng.randbytes(16)
        run.codec = PageCodec(run.secret, run.map_id, SHORT.params.epoch_bits)
        run.format()


@pytest.mark.sec_cm("PAGE.VERSION.FRESH")
def test_a_page_as_it_was_before_is_a_fault(design):
    run = Run(design.bench(seed=3), seed=3)
    _, _, earlier = run.pages[2]
    run.push(2)
    run.sealed(1)
    assert not run.bench.get("fault")
    version, text, _ = run.pages[2]
    run.pages[2] = version, text, earlier
    run.bench.sink("o_text").take()
    run.push(2)
    run.bench.run(200)
    assert run.bench.get("fault")
    assert not any(raw & (1 << 128) - 1 for raw in run.bench.sink("o_text").take())


@pytest.mark.parametrize(("operations", "exhausted"), [(255, False), (256, True)])
def test_a_page_that_was_not_touched_for_a_whole_epoch_is_a_fault(design, operations, exhausted):
    run = Run(design.bench(seed=2), seed=2)
    for _ in range(operations - 1):
        run.push(0)
    run.sealed(operations - 1)
    opened = run.bench.sink("o_text").transfers
    if exhausted:
        with pytest.raises(Exception, match="whole epoch"):
            run.codec.open(1, 0, run.pages[1][2], present=operations)
    run.push(1)
    run.bench.run(200)
    assert run.bench.get("exhausted") == exhausted
    assert (run.bench.sink("o_text").transfers == opened) == exhausted
    assert not run.bench.get("fault")


def test_what_is_only_opened_takes_no_version_and_belongs_to_the_operation_before():
    """After 255 operations a page of version 0 can still be opened; the next operation begins an epoch."""
    run = Run(Design(Sealing(replace(SHORT, journal=True))).bench(seed=5), seed=5)
    wanted = [run.push(0)[1] for _ in range(255)]
    assert run.sealed(255) == wanted
    bench = run.bench
    bench.sink("o_text").take()
    bench.set("opens_only", 1)
    for page in (1, 0, 4):
        version, _, sealed = run.pages[page]
        bench.source("i_page").push([page])
        bench.source("i_version").push([version])
        bench.source("i_sealed").push(beats(sealed))
    bench.run_until(limit=500, transfers={"o_text": 3 * (BEATS - 1)})
    texts = [(raw & (1 << 128) - 1).to_bytes(16, "little") for raw in bench.sink("o_text").take()]
    assert b"".join(texts) == b"".join(run.pages[page][1] for page in (1, 0, 4))
    bench.set("opens_only", 0)
    wanted = [run.push(page)[1] for page in (0, 0)]
    assert run.sealed(2) == wanted
    assert not bench.get("exhausted")


@pytest.mark.long
@pytest.mark.parametrize("lanes", [2, 4])
def test_a_page_is_opened_and_sealed_in_as_many_cycles_as_it_has_beats(lanes):
    params = replace(TIGHT.params, epoch_bits=7, page_bytes=128)
    config, count = EngineConfig(params=params, lanes=lanes, turnaround_cycles=400, in_flight=64, bin_entries=128), 50
    bench = AmaranthBench(Sealing(config))
    codec, page = PageCodec(bytes(32), bytes(16), params.epoch_bits), bytes(params.plaintext_bytes)
    bench.source("i_secret").push([0])
    bench.run(200)
    sealed = codec.seal(3, 0, page)
    wide = [number(sealed[at : at + 16 * lanes]) for at in range(0, len(sealed), 16 * lanes)]
    for name, items in {
        "page": [3],
        "version": [0],
        "sealed": wide,
        "text": [{"data": 0, "last": 0}] * len(wide),
    }.items():
        bench.source(f"i_{name}").push(items * count)
    ends = [bench.sink(name) for name in ("o_text", "o_sealed")]
    bench.run_until(limit=1000, transfers=dict.fromkeys(("o_text", "o_sealed"), len(wide) * count))
    assert not bench.get("fault")
    for end in ends:
        assert end.cycles[-1] - end.cycles[len(wide) * count // 2] < (count // 2) * len(wide)


def test_an_engine_whose_epochs_are_too_short_is_refused():
    with pytest.raises(ParamsError, match=r"epoch_bits is 6; .* epoch of 84 operations: make it 7 or more"):
        Sealing(EngineConfig(params=replace(tight("SMALL"), epoch_bits=6)))
