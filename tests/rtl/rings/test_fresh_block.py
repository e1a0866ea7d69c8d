# amaranth: UnusedElaboratable=no
"""Fresh values equal the reference's, and nobody who knows or stops the noise learns or repeats one."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.fresh import Fresh as Reference
from rtl.map.secrets import FormatSecrets
from rtl.rings.fresh import SECRETS_WORDS, Fresh
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.secrecy import differences, state
from sim.device.map_bench import secret_words

VALUE_CYCLES = 600
"""Cycles in which a value is derived, and more."""

STUCK = b"\x5a" * 32
"""Noise of a source that stands still, which everybody knows."""


class Rig(wiring.Component):
    """The block, a port that takes a nonce when it is told to, and the gathering of secrets behind it."""

    def __init__(self):
        own = Fresh(exports=True).signature.members
        keys = FormatSecrets().signature.members
        self.inputs = "root_key", "present", "device_id", "format", "export", "erase"
        super().__init__(
            {
                **{name: own[name] for name in (*self.inputs, "i_noise", "o_export_id")},
                **{name: keys[name] for name in ("o_page_secret", "o_draw_seed", "o_hash_key")},
                "load": In(1, init=1),
                "map_id": Out(128),
                "take": In(1),
                "offered": Out(1),
                "nonce": Out(128),
                "o_word": Out(stream.Signature(128, always_ready=True)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.fresh, m.submodules.secrets = fresh, secrets = Fresh(exports=True), FormatSecrets()
        connect(m, flipped(self.i_noise), fresh.i_noise)
        connect(m, fresh.o_secrets, secrets.i_secrets)
        connect(m, fresh.o_export_id, flipped(self.o_export_id))
        for name in ("o_page_secret", "o_draw_seed", "o_hash_key"):
            connect(m, getattr(secrets, name), flipped(getattr(self, name)))
        m.d.comb += [
            *(getattr(fresh, name).eq(getattr(self, name)) for name in self.inputs),
            secrets.load.eq(self.load),
            self.map_id.eq(secrets.map_id),
            fresh.o_nonce.ready.eq(self.take),
            self.offered.eq(fresh.o_nonce.valid),
            self.nonce.eq(fresh.o_nonce.p),
            self.o_word.valid.eq(fresh.o_secrets.valid & fresh.o_secrets.ready),
            self.o_word.p.eq(fresh.o_secrets.p),
        ]
        return m


def number(data):
    return int.from_bytes(data, "little")


def drawn(seed):
    """Return root key, device id, and a source of noise."""
    rng = random.Random(seed)
    return rng.randbytes(32), rng.randbytes(12), lambda: rng.randbytes(32)


class Twin:
    """The block and the reference, with the same key, id and noise."""

    def __init__(self, key, device_id, noise, *, present=1):
        self.bench = AmaranthBench(Rig())
        for name, value in {"root_key": number(key), "device_id": number(device_id), "present": present}.items():
            self.bench.set(name, value)
        self.noise = noise
        self.reference = Reference(key, device_id=device_id, noise=self._noise)

    def _noise(self):
        noise = self.noise()
        self.bench.source("i_noise").push([noise[:16], noise[16:]])
        return noise

    def _pulse(self, name):
        self.bench.set(name, 1)
        self.bench.run(1)
        self.bench.set(name, 0)

    def ready(self):
        """Wait until a nonce is there."""
        self.bench.run_until(limit=VALUE_CYCLES, values={"offered": 1})

    def take(self):
        """Take a nonce, and return the block's and the reference's."""
        self.ready()
        nonce = self.bench.get("nonce")
        self._pulse("take")
        return nonce, number(self.reference.nonce())

    def format(self):
        """Begin a format; return the words of its secrets, the block's and the reference's."""
        self._pulse("format")
        wanted = secret_words(self.reference.secrets())
        self.bench.run_until(limit=2 * VALUE_CYCLES, transfers={"o_word": SECRETS_WORDS})
        return self.bench.sink("o_word").take(), wanted

    def export(self):
        """Begin a snapshot; return its id, the block's and the reference's."""
        self._pulse("export")
        wanted = number(self.reference.export_id())
        self.bench.run_until(limit=2 * VALUE_CYCLES, transfers={"o_export_id": 1})
        return self.bench.sink("o_export_id").take()[-1], wanted


@settings(max_examples=4)
@given(
    seed=st.integers(0, 1 << 32),
    values=st.lists(st.sampled_from([Twin.format, Twin.take, Twin.export]), min_size=1, max_size=5),
)
def test_values_equal_the_reference_in_any_order(seed, values):
    twin = Twin(*drawn(seed))
    twin.ready()
    for value in values:
        ours, theirs = value(twin)
        assert ours == theirs


def test_nothing_is_taken_or_derived_without_a_root_key():
    twin = Twin(*drawn(1), present=0)
    twin.bench.set("format", 1)
    twin.bench.run(VALUE_CYCLES)
    assert not twin.bench.source("i_noise").transfers
    assert not twin.bench.get("offered")
    assert not twin.bench.sink("o_word").transfers


def life(key, device_id, formats=2):
    """Return every word that comes out of a device whose noise stands still: its secrets, nonces and export ids."""
    twin = Twin(key, device_id, lambda: STUCK)
    found = []
    for _ in range(formats):
        found += twin.format()[0]
        found += [twin.take()[0], twin.export()[0]]
    keys = [*twin.bench.sink("o_page_secret").take(), *twin.bench.sink("o_draw_seed").take()]
    assert keys == [
        low | high << 128 for at in (0, 2) for low, high in zip(found[at::8], found[at + 1 :: 8], strict=True)
    ]
    assert twin.bench.get("map_id") == found[-3]
    return found


@pytest.mark.sec_cm("FRESH.VALUE.KEYED")
@pytest.mark.sec_cm("FRESH.VALUE.UNIQUE")
def test_noise_that_stands_still_gives_no_secret_away_and_repeats_none():
    """Before this block was there, the secrets were the noise."""
    key, device_id, _ = drawn(3)
    mine = life(key, device_id)
    other_device, other_key = life(key, bytes(12)), life(bytes(32), device_id)
    everything = mine + other_device + other_key
    assert len(set(everything)) == len(everything)
    assert number(STUCK[:16]) not in everything


def shown(seed):
    """Return in every cycle: whether noise is wanted, and what both outputs show, the words of secrets after a wait."""
    key, device_id, noise = drawn(seed)
    bench, rows = AmaranthBench(Fresh(exports=True)), []
    for name, value in {"root_key": number(key), "device_id": number(device_id), "present": 1, "format": 1}.items():
        bench.set(name, value)
    bench.source("i_noise").push([noise()[:16] for _ in range(10)])
    bench.sink("o_nonce", waits=[VALUE_CYCLES, 0, 1 << 20])
    bench.sink("o_secrets", waits=[2 * VALUE_CYCLES])
    bench.sink("o_export_id", waits=[VALUE_CYCLES])
    for cycle in range(8 * VALUE_CYCLES):
        bench.run(1)
        bench.set("format", 0)
        bench.set("export", cycle == 5 * VALUE_CYCLES)
        rows.append([bench.get(name) for name in OUTPUTS])
    assert bench.sink("o_secrets").transfers == SECRETS_WORDS
    assert bench.sink("o_nonce").transfers == 2
    assert bench.sink("o_export_id").transfers == 1
    return rows


OFFERED = "o_nonce", "o_secrets", "o_export_id"
OUTPUTS = ("i_noise__ready", *(f"{name}__valid" for name in OFFERED), *(f"{name}__payload" for name in OFFERED))


@pytest.mark.sec_cm("FRESH.SECRET.UNREADABLE")
@pytest.mark.sec_cm("FRESH.TIME.CONST")
def test_outputs_are_zero_while_nothing_is_on_offer_and_times_do_not_depend_on_keys_or_noise():
    one, other = shown(5), shown(6)
    assert [row[:4] for row in one] == [row[:4] for row in other]
    for row in one + other:
        assert [bool(payload) for payload in row[4:]] == [bool(valid) for valid in row[1:4]]


@pytest.mark.sec_cm("FRESH.SECRET.ERASE")
@pytest.mark.parametrize("cycles", [8, 300, VALUE_CYCLES, VALUE_CYCLES + 300, 2 * VALUE_CYCLES])
def test_an_erased_block_holds_nothing_of_its_keys(cycles):
    states = []
    for seed in (7, 8):
        twin = Twin(*drawn(seed))
        bench = twin.bench
        bench.set("load", 0)
        twin._pulse("format")
        twin.reference.secrets()
        bench.run(cycles)
        before = state(bench)
        for name in ("root_key", "device_id", "present"):
            bench.set(name, 0)  # as an erased root key
        bench.set("erase", 1)
        bench.run(1)
        bench.set("erase", 0)
        bench.run(2)
        states.append((before, state(bench)))
    (before, after), (other_before, other_after) = states
    assert differences(before, other_before)
    assert not differences(after, other_after)


def test_secrets_that_were_taken_are_forgotten():
    twin = Twin(*drawn(9))
    words, _ = twin.format()
    twin.bench.run_until(limit=100, transfers={"o_page_secret": 1})
    twin.bench.run(2)
    held = {value >> at & (1 << 128) - 1 for _, value in state(twin.bench) for at in range(0, 768, 128)}
    assert not held & set(words[:-1])
    assert words[-1] in held  # the map id, which is public
