# amaranth: UnusedElaboratable=no
"""Faults reach every block that holds keys, erased keys are gone from the core, and nonces are the reference's."""

import itertools

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.crypto import PageCipher, Secrets
from omap.hazmat.fixed import fixed_secrets
from omap.regmap import Fault, Request, State
from rtl import engine
from rtl.map.core import Core
from rtl.map.sealing import page_nonce
from rtl.map.secrets import WORDS, FormatSecrets
from rtl.memory.host_port import HostPort
from rtl.rings.csr import Csr
from rtl.rings.ring_port import RingPort
from rtl.rings.sessions import Sessions
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.secrecy import Recorder, differences, state
from sim.device.known import DEVICE_ID, fresh_of
from sim.device.map_bench import attach_hbm, secret_words
from tests.support.rtl.engines import TIGHT

# -- the latch ------------------------------------------------------------------------------------------------------


def hollow(block):
    """Return a block with the ports of another and nothing inside: a test drives its outputs."""
    return type(block.__name__, (block,), {"elaborate": lambda self, platform: Module()})


@pytest.fixture
def frame(monkeypatch):
    """An engine of which only what controls it is there."""
    for block in (Core, Sessions, HostPort):
        monkeypatch.setattr(engine, block.__name__, hollow(block))
    return engine.Engine(TIGHT)


SOURCES = {
    "page": (lambda frame: frame.core.page_fault, Fault.PAGE_TAG),
    "exhausted": (lambda frame: frame.core.exhausted, Fault.EXHAUSTED),
    "hbm": (lambda frame: frame.core.bus_fault, Fault.BUS),
    "host": (lambda frame: frame.port.error, Fault.BUS),
}


@pytest.mark.sec_cm("ENGINE.FAULT.LATCH")
@pytest.mark.parametrize("source", SOURCES)
def test_a_fault_of_any_block_erases_all_of_them_and_stays(frame, source):
    signal, fault = SOURCES[source]
    erased = [frame.core.erase, frame.sessions.erase, frame.port.abort]

    async def bench(ctx):
        await ctx.tick().repeat(3)
        assert not any(ctx.get(erase) for erase in erased)
        ctx.set(signal(frame), 1)
        await ctx.tick()
        ctx.set(signal(frame), 0)
        ctx.set(SOURCES["host" if source == "page" else "page"][0](frame), 1)  # comes too late to count
        for _ in range(40):
            assert all(ctx.get(erase) for erase in erased)
            assert (ctx.get(frame.csr.state), ctx.get(frame.csr.fault)) == (State.FAULT, fault)
            assert not ctx.get(frame.ring.serve)
            assert not ctx.get(frame.sessions.open_)
            await ctx.tick()

    simulator = Simulator(frame)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


# -- fresh values ---------------------------------------------------------------------------------------------------

STUCK = 0x5A5A5A5A_5A5A5A5A_5A5A5A5A_5A5A5A5A
"""Noise of sources that stand still, which everybody knows."""


@pytest.mark.sec_cm("FRESH.VALUE.KEYED")
@pytest.mark.sec_cm("FRESH.VALUE.UNIQUE")
def test_known_noise_gives_no_secret_of_the_map_away_and_no_format_repeats_one(monkeypatch):
    """Two formats of an engine with its own sessions: its core gets what the reference derives, and no noise."""
    for block in (Core, HostPort, Csr, RingPort):
        monkeypatch.setattr(engine, block.__name__, hollow(block))
    made = engine.Engine(TIGHT)
    key = bytes(range(32))
    secrets = fresh_of(key, itertools.repeat(STUCK)).secrets
    formats = []

    async def bench(ctx):
        ctx.set(made.device_id, int.from_bytes(DEVICE_ID, "little"))
        for flow, word in ((made.i_root_key, int.from_bytes(key, "little")), (made.i_noise, STUCK)):
            ctx.set(flow.p, word)
            ctx.set(flow.valid, 1)
        taken = made.core.i_secrets.ready, made.csr.i_request_done.ready, made.ring.i_mirror.ready
        for signal in (made.core.idle, made.csr.running, *taken):
            ctx.set(signal, 1)
        for _ in range(2):
            ctx.set(made.csr.o_request.p, Request.FORMAT)
            ctx.set(made.csr.o_request.valid, 1)
            await ctx.tick().until(made.csr.o_request.ready)
            ctx.set(made.csr.o_request.valid, 0)
            words = []
            while len(words) < WORDS:
                (word,) = await ctx.tick().sample(made.core.i_secrets.p).until(made.core.i_secrets.valid)
                words.append(word)
            formats.append(words)
            ctx.set(made.core.formatted, 1)
            await ctx.tick().until(made.csr.i_request_done.valid)
            ctx.set(made.core.formatted, 0)

    simulator = Simulator(made)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run_until(4000e-6)
    assert len(formats) == 2
    given = {word for words in formats for word in words}
    assert STUCK not in given
    assert len(given) == 2 * WORDS
    assert formats == [secret_words(secrets()), secret_words(secrets())]


# -- keys -----------------------------------------------------------------------------------------------------------


def secrets_of(seed):
    """Return secrets that differ between seeds, but for the map id, which is public."""
    drawn = fixed_secrets(seed)()
    return Secrets(drawn.page_secret, drawn.draw_seed, drawn.hash_key, bytes(16))


@pytest.mark.sec_cm("FORMAT.KEY.CLEARED")
def test_the_secrets_of_a_format_are_forgotten_when_they_were_handed_out():
    before, after, shown = [], [], []
    for seed in (1, 2):
        bench = AmaranthBench(FormatSecrets())
        recorder = Recorder(bench)
        bench.sink("o_page_secret", waits=[30])
        bench.set("load", 1)
        bench.source("i_secrets").push(secret_words(secrets_of(seed)))
        bench.run(WORDS + 10)
        before.append(state(bench))
        bench.run_until(limit=100, transfers={"o_page_secret": 1})
        bench.set("load", 0)
        bench.run(2)
        after.append(state(bench))
        given = [bench.sink(name).take() for name in ("o_page_secret", "o_draw_seed", "o_hash_key")]
        drawn = secrets_of(seed)
        keys = (drawn.page_secret, drawn.draw_seed, drawn.hash_key)
        assert given == [[int.from_bytes(key, "little")] for key in keys]
        shown.append(recorder.rows[-1])
    assert differences(*before)
    assert not differences(*after)
    assert shown[0] == shown[1]


@pytest.mark.sec_cm("ENGINE.STATE.ERASE")
def test_an_erased_core_holds_nothing_of_its_keys(monkeypatch):
    """Erased with all keys loaded, and once more while half of the next ones are there."""
    monkeypatch.setattr("rtl.map.format.SETTLE", 4)  # the simulator is slow, and here nothing has to settle
    seen = []
    for seed in (1, 2):
        bench = AmaranthBench(Core(TIGHT))
        attach_hbm(bench, TIGHT)
        states = []
        for words, cycles in ((WORDS, 270), (WORDS - 3, 40)):  # before the first ciphertext, which may stay
            bench.source("i_secrets").push(secret_words(secrets_of(seed))[:words])
            bench.set("format", 1)
            bench.run(1)
            bench.set("format", 0)
            bench.run(cycles)
            assert not bench.source("i_secrets").remaining
            states.append(state(bench))
            bench.set("erase", 1)
            bench.run(20)
            bench.set("erase", 0)
            states.append(state(bench, without_memories_of=["fifo.py"]))
        seen.append(states)
    loaded, erased, half, erased_again = zip(*seen, strict=True)
    assert differences(*loaded)
    assert not differences(*erased)
    assert differences(*half)
    assert not differences(*erased_again)


# -- nonces ---------------------------------------------------------------------------------------------------------


@pytest.mark.sec_cm("PAGE.NONCE.UNIQUE")
@settings(max_examples=20)
@given(page=st.integers(0, 2**32 - 1), version=st.integers(0, 2**64 - 1))
def test_nonces_of_pages_are_those_of_the_reference(page, version):
    number, turn, nonce = Signal(32), Signal(64), Signal(96)
    m = Module()
    m.d.comb += nonce.eq(page_nonce(number, turn))

    async def bench(ctx):
        ctx.set(number, page)
        ctx.set(turn, version)
        wanted = PageCipher(bytes(32), bytes(16))._nonce(page, version)
        assert ctx.get(nonce).to_bytes(12, "little") == wanted

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
