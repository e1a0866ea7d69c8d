"""Every block that holds keys: erased means gone, loaded means invisible, and time tells nothing.

Each property compares two runs that differ in keys (and data) alone, and checks that the difference was there to see.
"""

import random
from dataclasses import dataclass, replace
from typing import Any

import pytest
from amaranth.hdl import Shape

from rtl.crypto.aes import Aes, AesIterative
from rtl.crypto.cmac import Cmac
from rtl.crypto.drbg import Drbg
from rtl.crypto.gcm import GcmOpen, GcmSeal
from rtl.crypto.gcm_core import GcmCore
from rtl.crypto.ghash import Ghash
from rtl.crypto.kdf import Kdf
from rtl.crypto.siphash import SipHash
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.secrecy import Recorder, differences, state


@dataclass(frozen=True)
class Case:
    """A block, the streams its keys and its data enter by, and how long things take."""

    make: Any
    keys: str
    data: tuple[str, ...]
    key_count: int
    load_cycles: int
    """Cycles until all keys are loaded."""
    work_cycles: int
    """Cycles until the first results have come out."""
    erase_cycles: int
    data_count: int = 4


AES = Case(lambda: Aes(key_bits=128, keys=3), "i_key", ("i_blocks",), 3, 45, 20, 5)
ITERATIVE = Case(lambda: AesIterative(key_bits=256), "i", (), 2, 10, 20, 2)
GHASH = Case(lambda: Ghash(blocks=2, aad_bytes=16, keys=2), "i_key", ("i_blocks",), 2, 150, 20, 10)
GCM_OPEN = Case(
    lambda: GcmOpen(sealed_bytes=32, key_bits=128, aad_bytes=16),
    "i_key",
    ("i_request", "i_sealed"),
    1,
    120,
    60,
    10,
)
GCM_SEAL = Case(
    lambda: GcmSeal(sealed_bytes=32, key_bits=128, aad_bytes=16),
    "i_key",
    ("i_request", "i_text"),
    1,
    120,
    60,
    10,
)
GCM_CORE = Case(
    lambda: GcmCore(sealed_bytes=32, key_bits=128, aad_bytes=16, header_bytes=0, keys=1, lanes=1),
    "i_key",
    ("i_request", "i_hash"),
    1,
    120,
    60,
    10,
)
# A message of two segments, so that the powers of segments are at work.
GHASH_LENGTHS = Case(
    lambda: Ghash(blocks=40, header_bytes=16, aad_bytes=0, keys=2, lengths=True),
    "i_key",
    ("i_blocks",),
    2,
    1200,
    100,
    70,
    data_count=36,
)
LENGTHS = {"sealed_bytes": 640, "key_bits": 128, "header_bytes": 16, "lengths": True}
GCM_OPEN_LENGTHS = replace(
    GCM_OPEN, make=lambda: GcmOpen(**LENGTHS), load_cycles=620, work_cycles=120, erase_cycles=40, data_count=36
)
GCM_SEAL_LENGTHS = replace(
    GCM_SEAL, make=lambda: GcmSeal(**LENGTHS), load_cycles=620, work_cycles=120, erase_cycles=40, data_count=36
)
WITH_KEYSTREAM = (GCM_CORE, GCM_OPEN, GCM_SEAL, GCM_OPEN_LENGTHS, GCM_SEAL_LENGTHS)
SIPHASH = Case(lambda: SipHash(message_bytes=4), "i_key", ("i_message",), 1, 3, 20, 2)
DRBG = Case(lambda: Drbg(pages=1000003, ciphers=2), "i_seed", ("i_index",), 1, 3, 60, 2)
MANY_DRAWS = replace(DRBG, data_count=40, work_cycles=400)  # more than the FIFO keeps: old ones lie under it
CMAC = Case(Cmac, "i_key", ("i_message",), 1, 30, 60, 2)
KDF = Case(lambda: Kdf(fixed_bytes=20, output_bytes=32), "i", (), 1, 10, 110, 2)


def payload(bench, stream, number, draw):
    """Return one payload: key indices, lengths and ends follow from its number, all else comes from ``draw(bits)``."""
    shape = bench.ports.streams[stream].shape
    if isinstance(shape, int):
        return draw(shape)
    whole = 0
    for name, part in shape:
        public = {"bytes": 5 if number % 2 else 16, "last": number % 2}
        public |= {"beats": 36, "places": (35 - number) % 36 % 32, "ends_text": int(number % 36 == 34)}
        if name == "key_index":
            public["key_index"] = number % len(part.shape)
        whole |= (public[name] if name in public else draw(Shape.cast(part.shape).width)) << part.offset
    return whole


def loaded(case, draw):
    bench = AmaranthBench(case.make())
    bench.source(case.keys).push([payload(bench, case.keys, number, draw) for number in range(case.key_count)])
    return bench


def work(bench, case, draw):
    for stream in case.data:
        bench.source(stream).push([payload(bench, stream, number, draw) for number in range(case.data_count)])


def drawn(seed):
    return random.Random(seed).getrandbits


def zero(bits):
    return 0


ERASE = [
    pytest.param(AES, marks=pytest.mark.sec_cm("AES.KEY.ERASE"), id="aes"),
    pytest.param(ITERATIVE, marks=pytest.mark.sec_cm("AES.KEY.ERASE"), id="iterative"),
    pytest.param(GHASH, marks=pytest.mark.sec_cm("GHASH.KEY.ERASE"), id="ghash"),
    pytest.param(GHASH_LENGTHS, marks=pytest.mark.sec_cm("GHASH.KEY.ERASE"), id="ghash_lengths"),
    pytest.param(GCM_CORE, marks=pytest.mark.sec_cm("GCM.KEY.ERASE"), id="core"),
    pytest.param(GCM_OPEN, marks=pytest.mark.sec_cm("GCM.KEY.ERASE"), id="open"),
    pytest.param(GCM_OPEN_LENGTHS, marks=pytest.mark.sec_cm("GCM.KEY.ERASE"), id="open_lengths"),
    pytest.param(GCM_SEAL, marks=pytest.mark.sec_cm("GCM.KEY.ERASE"), id="seal"),
    pytest.param(GCM_SEAL_LENGTHS, marks=[pytest.mark.sec_cm("GCM.KEY.ERASE"), pytest.mark.long], id="seal_lengths"),
    pytest.param(SIPHASH, marks=pytest.mark.sec_cm("SIPHASH.KEY.ERASE"), id="siphash"),
    pytest.param(DRBG, marks=pytest.mark.sec_cm("DRBG.SEED.ERASE"), id="drbg"),
    pytest.param(CMAC, marks=pytest.mark.sec_cm("CMAC.KEY.ERASE"), id="cmac"),
    pytest.param(KDF, marks=pytest.mark.sec_cm("KDF.KEY.ERASE"), id="kdf"),
]


@pytest.mark.parametrize("case", ERASE)
@pytest.mark.parametrize("held", [False, True], ids=["pulse", "held"])
@pytest.mark.parametrize("moment", ["early", "late"])
def test_an_erased_block_holds_nothing_of_its_keys(case, moment, held):
    states = []
    for seed in (1, 2):
        bench = loaded(case, drawn(seed))
        bench.run(case.load_cycles // 3 if moment == "early" else case.load_cycles)
        if moment == "late" and case not in WITH_KEYSTREAM:  # whose FIFO hands on keystream that stays behind
            work(bench, case, drawn(3))
            bench.run(case.work_cycles // 2)
        while bench.source(case.keys).remaining:  # a key still on offer is not the block's
            bench.run(1)
        before = state(bench)
        bench.set("erase", 1)
        bench.run(1)
        bench.set("erase", held)  # as the engine does: for good
        bench.run(case.erase_cycles)
        # What a FIFO held before is keystream, text or draws: out of reach, but not overwritten.
        states.append((before, state(bench, without_memories_of=["fifo.py"])))
    (before, after), (other_before, other_after) = states
    assert differences(before, other_before)
    assert not differences(after, other_after)


UNREADABLE = [
    pytest.param(AES, marks=pytest.mark.sec_cm("AES.KEY.UNREADABLE"), id="aes"),
    pytest.param(GHASH, marks=pytest.mark.sec_cm("GHASH.KEY.UNREADABLE"), id="ghash"),
    pytest.param(GHASH_LENGTHS, marks=pytest.mark.sec_cm("GHASH.KEY.UNREADABLE"), id="ghash_lengths"),
    pytest.param(GCM_CORE, marks=pytest.mark.sec_cm("GCM.KEY.UNREADABLE"), id="core"),
    pytest.param(GCM_OPEN, marks=pytest.mark.sec_cm("GCM.KEY.UNREADABLE"), id="open"),
    pytest.param(GCM_OPEN_LENGTHS, marks=pytest.mark.sec_cm("GCM.KEY.UNREADABLE"), id="open_lengths"),
    pytest.param(GCM_SEAL, marks=pytest.mark.sec_cm("GCM.KEY.UNREADABLE"), id="seal"),
    pytest.param(GCM_SEAL_LENGTHS, marks=pytest.mark.sec_cm("GCM.KEY.UNREADABLE"), id="seal_lengths"),
    pytest.param(SIPHASH, marks=pytest.mark.sec_cm("SIPHASH.KEY.UNREADABLE"), id="siphash"),
    pytest.param(DRBG, marks=pytest.mark.sec_cm("DRBG.SEED.UNREADABLE"), id="drbg"),
    pytest.param(CMAC, marks=pytest.mark.sec_cm("CMAC.KEY.UNREADABLE"), id="cmac"),
]


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_loaded_key_shows_nowhere(case):
    seen, states, results = [], [], []
    for seed in (1, 2):
        bench = loaded(case, drawn(seed))
        recorder = Recorder(bench)
        bench.run(case.load_cycles + 30)
        seen.append(recorder.rows.copy())
        states.append(state(bench))
        work(bench, case, drawn(3))
        bench.run(case.work_cycles)
        results.append(recorder.rows)
    assert seen[0] == seen[1]
    assert differences(*states)
    opens = case in (GCM_OPEN, GCM_OPEN_LENGTHS)  # which shows zeros: these messages are none
    assert opens or results[0] != results[1]


@pytest.mark.parametrize(
    ("case", "quiet"),
    [
        pytest.param(ITERATIVE, 14, marks=pytest.mark.sec_cm("AES.KEY.UNREADABLE"), id="iterative"),
        pytest.param(KDF, 80, marks=pytest.mark.sec_cm("KDF.KEY.UNREADABLE"), id="kdf"),
    ],
)
def test_nothing_shows_before_the_result(case, quiet):
    seen, states = [], []
    for seed in (1, 2):
        bench = loaded(case, drawn(seed))
        recorder = Recorder(bench)
        bench.run(quiet)
        seen.append(recorder.rows)
        states.append(state(bench))
    assert seen[0] == seen[1]
    assert differences(*states)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(ITERATIVE, marks=pytest.mark.sec_cm("AES.KEY.UNREADABLE"), id="iterative"),
        pytest.param(GHASH, marks=pytest.mark.sec_cm("GHASH.KEY.UNREADABLE"), id="ghash"),
        pytest.param(GHASH_LENGTHS, marks=pytest.mark.sec_cm("GHASH.KEY.UNREADABLE"), id="ghash_lengths"),
        pytest.param(SIPHASH, marks=pytest.mark.sec_cm("SIPHASH.KEY.UNREADABLE"), id="siphash"),
        pytest.param(MANY_DRAWS, marks=pytest.mark.sec_cm("DRBG.SEED.UNREADABLE"), id="drbg"),
        pytest.param(CMAC, marks=pytest.mark.sec_cm("CMAC.KEY.UNREADABLE"), id="cmac"),
        pytest.param(KDF, marks=pytest.mark.sec_cm("KDF.KEY.UNREADABLE"), id="kdf"),
    ],
)
def test_an_output_is_zero_while_nothing_is_on_offer(case):
    bench = loaded(case, drawn(1))
    recorder = Recorder(bench)
    bench.run(case.load_cycles)
    work(bench, case, drawn(3))
    bench.run(case.work_cycles + 60)
    names = [name for name, port in bench.ports.ports.items() if not port.input]
    (stream,) = (name for name, flow in bench.ports.streams.items() if not flow.input)
    valid, payload = names.index(f"{stream}__valid"), names.index(f"{stream}__payload")
    assert {row[payload] for row in recorder.rows if not row[valid]} == {0}
    assert any(row[payload] for row in recorder.rows if row[valid])


TIME = [
    pytest.param(AES, marks=pytest.mark.sec_cm("AES.TIME.CONST"), id="aes"),
    pytest.param(ITERATIVE, marks=pytest.mark.sec_cm("AES.TIME.CONST"), id="iterative"),
    pytest.param(GHASH, marks=pytest.mark.sec_cm("GHASH.TIME.CONST"), id="ghash"),
    pytest.param(GHASH_LENGTHS, marks=pytest.mark.sec_cm("GHASH.TIME.CONST"), id="ghash_lengths"),
    pytest.param(GCM_CORE, marks=pytest.mark.sec_cm("GCM.TIME.CONST"), id="core"),
    pytest.param(GCM_SEAL, marks=pytest.mark.sec_cm("GCM.TIME.CONST"), id="seal"),
    pytest.param(GCM_SEAL_LENGTHS, marks=pytest.mark.sec_cm("GCM.TIME.CONST"), id="seal_lengths"),
    pytest.param(SIPHASH, marks=pytest.mark.sec_cm("SIPHASH.TIME.CONST"), id="siphash"),
    pytest.param(DRBG, marks=pytest.mark.sec_cm("DRBG.TIME.CONST"), id="drbg"),
    pytest.param(CMAC, marks=pytest.mark.sec_cm("CMAC.TIME.CONST"), id="cmac"),
    pytest.param(KDF, marks=pytest.mark.sec_cm("KDF.TIME.CONST"), id="kdf"),
]


@pytest.mark.parametrize("case", TIME)
def test_times_depend_on_the_schedule_alone(case):
    seen = []
    for draw in (drawn(1), drawn(2), zero):
        bench = loaded(case, draw)
        recorder = Recorder(bench, times_only=True, data=["spare"])
        bench.run(case.load_cycles)
        work(bench, case, draw)
        bench.run(case.work_cycles + 60)
        seen.append(recorder.rows)
    assert seen[0] == seen[1] == seen[2]
    assert len(set(seen[0])) > 1
