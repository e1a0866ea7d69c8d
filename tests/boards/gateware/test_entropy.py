# amaranth: UnusedElaboratable=no
"""Words from noise equal the model bit for bit; broken noise gives none, and never again."""

import random
from functools import cache

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from hypothesis import given, settings
from hypothesis import strategies as st

from boards.gateware.entropy import KEY, MIN_ENTROPY, Conditioner, Entropy
from boards.gateware.health import proportion_cutoff, repetition_cutoff
from omap.errors import ParamsError
from rtl.synth.verilog import to_verilog
from sim.bench.compiled import Design
from sim.bench.flat_top import FlatDesign, FlatTop
from tests.support.boards import noise
from tests.support.boards.noise import PROPORTION, REPETITIONS, WINDOW, known_noise

SOURCES = 3
ALPHA = 2.0**-30


class Rig(wiring.Component):
    """The conditioner with a stream for its noise, and one that tells which words were taken."""

    def __init__(self, sources, interval):
        self.sources, self.interval = sources, interval
        super().__init__(
            {
                "i_raw": In(stream.Signature(sources)),
                "take": In(1, init=1),
                "offered": Out(1),
                "shown": Out(128),
                "failed": Out(1),
                "o_word": Out(stream.Signature(128, always_ready=True)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = Conditioner(sources=self.sources, interval=self.interval)
        m.d.comb += [
            dut.raw.eq(self.i_raw.p),
            self.i_raw.ready.eq(1),
            dut.o.ready.eq(self.take),
            self.offered.eq(dut.o.valid),
            self.shown.eq(dut.o.p),
            self.failed.eq(dut.failed),
            self.o_word.valid.eq(dut.o.valid & dut.o.ready),
            self.o_word.p.eq(dut.o.p),
        ]
        return m


@cache
def design(sources=SOURCES, interval=1):
    return Design(Rig(sources, interval))


FURTHER = 20
"""Cycles that a run goes on after the last sample, in which the sources show zeros."""


class Run:
    def __init__(self, samples, *, take=1, interval=1, seed=0):
        self.sources = len(samples[0])
        self.samples = list(samples)
        self.bench = design(self.sources, interval).bench()
        self.bench.observe("failed")
        self.bench.set("take", take)
        self.interval = interval
        self.push(samples, seed)

    def push(self, samples, seed=0):
        """Queue samples; what the sources show between them is something else."""
        rng = random.Random(seed)
        raw = []
        for sample in samples:
            raw += [rng.getrandbits(self.sources) for _ in range(self.interval - 1)]
            raw.append(sum(bit << place for place, bit in enumerate(sample)))
        self.bench.source("i_raw").push(raw)

    def whole(self):
        """Run for as long as the samples last, and not much longer: nothing but zeros would follow."""
        self.bench.run(len(self.samples) * self.interval + FURTHER)
        return self.bench.sink("o_word").take()

    def failed_after(self):
        """Return the number of samples after which ``failed`` rose, or None if it did not."""
        events = [event for event in self.bench.observer.events(port="failed") if event["address"]]
        # The sample is caught, judged, and the verdicts are gathered: three cycles.
        return (int(events[0]["cycle"]) - 3) // self.interval + 1 if events else None


def fair(rng, count, sources=SOURCES):
    return [tuple(rng.getrandbits(1) for _ in range(sources)) for _ in range(count)]


def test_the_cutoffs_are_those_of_the_standard():
    assert repetition_cutoff(0.5, 2.0**-20) == 41
    assert proportion_cutoff(0.5, 2.0**-20, 512) == 410
    assert repetition_cutoff(1.0, 2.0**-20) == 21
    assert repetition_cutoff(MIN_ENTROPY) == REPETITIONS
    assert proportion_cutoff(MIN_ENTROPY) == PROPORTION


@pytest.mark.parametrize("entropy", [0.1, 0.25, MIN_ENTROPY, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("alpha", [2.0**-20, ALPHA, 2.0**-40])
def test_the_cutoffs_equal_exact_arithmetic(entropy, alpha):
    assert proportion_cutoff(entropy, alpha) == noise.exact_proportion_cutoff(entropy, alpha, WINDOW)


def test_the_key_is_what_it_says():
    assert KEY.to_bytes(16, "little") == noise.KEY


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), windows=st.integers(0, 5), rest=st.integers(0, WINDOW - 1), data=st.data())
def test_words_and_verdicts_equal_the_model(seed, windows, rest, data):
    rng = random.Random(seed)
    count = windows * WINDOW + rest + 1
    ones = [data.draw(st.sampled_from([0.5, 0.5, 0.5, 0.8, 0.88, 0.1])) for _ in range(SOURCES)]
    samples = [tuple(int(rng.random() < share) for share in ones) for _ in range(count)]
    for _ in range(data.draw(st.integers(0, 2))):  # a source that is stuck for a while
        source, at = rng.randrange(SOURCES), rng.randrange(count)
        for place in range(at, min(count, at + rng.choice([REPETITIONS - 1, REPETITIONS, 500]))):
            samples[place] = tuple(1 if k == source else bit for k, bit in enumerate(samples[place]))
    run = Run(samples)
    found = run.whole()
    expected, failure = noise.words(samples), noise.failure(samples)
    if failure is None:
        after = run.failed_after()
        assert after is None or after > count
        silence = [(0,) * SOURCES] * FURTHER  # after the last sample, which may complete a window
        assert found in (expected, noise.words(samples + silence))
    else:
        assert run.failed_after() == failure
        assert found == expected


@pytest.mark.parametrize("interval", [2, 5])
def test_one_cycle_in_so_many_is_a_sample(interval):
    samples = fair(random.Random(interval), 3 * WINDOW)
    run = Run(samples, interval=interval, seed=interval)
    assert run.whole() == noise.words(samples)
    assert len(noise.words(samples)) == 2


def test_a_single_source_will_do():
    samples = fair(random.Random(5), 3 * WINDOW, sources=1)
    assert Run(samples).whole() == noise.words(samples)
    stuck = [(1,)] * WINDOW
    run = Run(stuck)
    assert run.whole() == []
    assert run.failed_after() == REPETITIONS


def stick(samples, source, at, length, value=1):
    """Make a source, or the XOR, give ``value`` for a while, and the opposite before and after it."""
    samples = [list(sample) for sample in samples]
    for place in range(at - 1, at + length + 1):
        wanted = value if at <= place < at + length else 1 - value
        if source < SOURCES:
            samples[place][source] = wanted
        elif sum(samples[place]) % 2 != wanted:
            samples[place][place % SOURCES] ^= 1  # in turn, so that no source is stuck
    return [tuple(sample) for sample in samples]


@pytest.mark.parametrize("source", range(SOURCES + 1))
@pytest.mark.parametrize(("at", "value"), [(1, 0), (WINDOW - 50, 1), (2 * WINDOW + 7, 0)])
def test_a_source_may_repeat_itself_so_often_and_no_more(source, at, value):
    samples = fair(random.Random(at), 4 * WINDOW)
    good, bad = (stick(samples, source, at, length, value) for length in (REPETITIONS - 1, REPETITIONS))
    run = Run(good)
    assert run.whole() == noise.words(good)
    assert run.failed_after() is None
    run = Run(bad)
    assert run.whole() == noise.words(bad)
    assert run.failed_after() == at + REPETITIONS


def biased(rng, source, equal):
    """Return a window in which a source, or the XOR, gives its first value ``equal`` times, without long runs."""
    others = [0] * (WINDOW - equal)
    bits = [1] + [1] * (equal - 1 - 60) + others
    tail = bits[1:]
    rng.shuffle(tail)
    bits = [1, *tail, *[1] * 60]
    samples = fair(rng, WINDOW)
    for place, bit in enumerate(bits):
        sample = list(samples[place])
        if source < SOURCES:
            sample[source] = bit
        elif sum(sample) % 2 != bit:
            sample[place % SOURCES] ^= 1
        samples[place] = tuple(sample)
    return samples


@pytest.mark.parametrize("source", range(SOURCES + 1))
@pytest.mark.parametrize("window", [0, 2])
def test_a_window_may_lean_so_far_and_no_farther(source, window):
    rng = random.Random(source)
    for equal, failing in ((PROPORTION - 1, False), (PROPORTION, True)):
        leaning = biased(rng, source, equal)
        samples = fair(rng, window * WINDOW)
        samples += leaning
        samples += [leaning[0]] + fair(rng, WINDOW - 1)  # once more, which is for the next window alone
        run = Run(samples)
        assert run.whole() == noise.words(samples)
        assert run.failed_after() == ((window + 1) * WINDOW if failing else None)


@pytest.mark.sec_cm("ENTROPY.HEALTH.TESTED")
@pytest.mark.parametrize("broken", ["source stuck", "all stuck", "sources locked", "biased"])
@pytest.mark.parametrize("begin", [0, WINDOW // 2, 2 * WINDOW + 300])
def test_broken_noise_gives_no_word_and_never_again(broken, begin):
    rng = random.Random(begin)

    def sample(place):
        bits = tuple(rng.getrandbits(1) for _ in range(SOURCES))
        if place < begin or place >= begin + 2 * WINDOW:  # it recovers, which must not help
            return bits
        return {
            "source stuck": (bits[0], 0, bits[2]),
            "all stuck": (1,) * SOURCES,
            "sources locked": (bits[0], bits[1], bits[0] ^ bits[1]),
            "biased": (int(rng.random() < 0.97), *bits[1:]),
        }[broken]

    samples = [sample(place) for place in range(begin + 8 * WINDOW)]
    run = Run(samples)
    found = run.whole()
    failure = run.failed_after()
    assert failure is not None
    assert begin < failure < begin + 2 * WINDOW
    assert len(found) == max(0, (failure - 1) // WINDOW - 1)
    assert found == noise.words(samples)
    assert (run.bench.get("failed"), run.bench.get("offered"), run.bench.get("shown")) == (1, 0, 0)


def test_the_first_window_makes_no_word():
    samples = fair(random.Random(1), 2 * WINDOW)
    run = Run(samples)
    run.bench.run(2 * WINDOW)
    assert not run.bench.sink("o_word").transfers
    run.bench.run(20)
    assert run.bench.sink("o_word").take() == [noise.word(samples[WINDOW:])]


def test_a_word_waits_to_be_taken_and_is_given_once():
    samples = fair(random.Random(2), 5 * WINDOW + 500)
    run = Run(samples, take=0)
    bench = run.bench
    bench.run(2 * WINDOW + 20)
    first = noise.word(samples[WINDOW : 2 * WINDOW])
    assert (bench.get("offered"), bench.get("shown")) == (1, first)
    bench.run(2 * WINDOW)
    assert (bench.get("offered"), bench.get("shown")) == (1, first)
    bench.set("take", 1)
    bench.run(1)
    bench.set("take", 0)
    bench.run(1)
    assert (bench.get("offered"), bench.get("shown")) == (0, 0)
    bench.run(WINDOW)
    assert (bench.get("offered"), bench.get("shown")) == (1, noise.word(samples[4 * WINDOW : 5 * WINDOW]))
    assert bench.sink("o_word").take() == [first]


def test_a_failure_takes_a_word_back():
    samples = fair(random.Random(3), 2 * WINDOW + 100) + [(1, 0, 1)] * WINDOW
    run = Run(samples, take=0)
    run.bench.run(2 * WINDOW + 90)
    assert run.bench.get("offered") == 1
    run.bench.run(WINDOW // 2)
    run.bench.set("take", 1)
    run.bench.run(WINDOW)
    assert (run.bench.get("failed"), run.bench.get("offered"), run.bench.get("shown")) == (1, 0, 0)
    assert not run.bench.sink("o_word").transfers


def test_the_whole_with_modelled_noise(tmp_path):
    sources, interval, count = 2, 3, 3
    text = to_verilog(Entropy(sources=sources, interval=interval), "omap_entropy") + known_noise()
    ports = {
        **dict.fromkeys(("clk", "rst", "o__ready"), ("input", 1)),
        **dict.fromkeys(("o__valid", "failed"), ("output", 1)),
        "o__payload": ("output", 128),
    }
    bench = FlatDesign(FlatTop(text, "omap_entropy", ports, "clk", "rst", reset_low=False)).bench()
    found = []
    for _ in range(count):
        bench.run_until(limit=3 * WINDOW * interval, values={"o__valid": 1})
        found.append(bench.get("o__payload"))
        bench.set("o__ready", 1)
        bench.run(1)
        bench.set("o__ready", 0)
    length = ((count + 1) * WINDOW + 10) * interval
    bits = list(zip(*(noise.noise_bits(index, length) for index in range(sources)), strict=True))
    # The noise does not stop for the reset: it is some cycles ahead.
    ahead = [skip for skip in range(8) if noise.word(bits[skip:][interval * WINDOW :: interval][:WINDOW]) == found[0]]
    assert len(ahead) == 1
    assert noise.words(bits[ahead[0] :][::interval])[:count] == found
    assert bench.get("failed") == 0


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Conditioner(sources=0), "sources is 0; it must be a whole number from 1 to 64"),
        (lambda: Entropy(interval=0), "interval is 0"),
        (lambda: repetition_cutoff(0.0), "entropy is 0.0; a bit has more than 0 and at most 1"),
        (lambda: proportion_cutoff(1.5), "entropy is 1.5"),
        (lambda: proportion_cutoff(0.001), "can't tell that from none"),
    ],
)
def test_what_makes_no_sense_is_refused(make, text):
    with pytest.raises(ParamsError, match=text):
        make()
