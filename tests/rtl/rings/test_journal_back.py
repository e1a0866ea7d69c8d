# amaranth: UnusedElaboratable=no
"""The journal block: as the reference, bit for bit, in times that records alone decide."""

import random
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import omap.journal
from omap.columns import Answers, Columns
from omap.errors import ParamsError
from omap.journal import Journal
from omap.lineage import NO_ANCESTORS
from omap.operations import Kind, Status
from omap.presets import preset
from omap.wire import LINE_BYTES, RecordCodec
from rtl.rings.journal_back import JournalBack
from rtl.rings.record import BEGIN_LINES
from sim.bench.compiled import Design
from tests.support.rtl.session_ends import MAP_ID, ROOT_KEY, number

ERA_BITS = 3
IN_FLIGHT = 16


@cache
def design(name):
    return Design(JournalBack(preset(name), in_flight=IN_FLIGHT, era_bits=ERA_BITS))


class Drawn:
    """Operations of records as they ran, and what the map answered."""

    def __init__(self, params, counts, seed, *, kind=None, status=None):
        rng, total = np.random.default_rng(seed), sum(counts)
        self.params, self.counts, self.first = params, counts, int(rng.integers(1 << 40))
        kinds = np.full(total, kind, np.uint8) if kind is not None else rng.integers(0, 4, total, np.uint8)
        running = (kinds != Kind.NOP)[:, None]  # a NOP has neither key nor value
        self.columns = Columns(
            kinds,
            rng.integers(0, 256, (total, params.key_bytes), np.uint8) * running,
            rng.integers(0, 256, (total, params.value_bytes), np.uint8) * running,
        )
        statuses = np.full(total, status, np.uint8) if status is not None else rng.integers(0, 3, total, np.uint8)
        found = rng.integers(0, 2, total, np.uint8).astype(bool)
        self.answers = Answers(statuses, found, rng.integers(0, 256, (total, params.value_bytes), np.uint8))

    def wanted(self):
        """Return the records of the reference, and the SOURCE before them."""
        journal = Journal(RecordCodec(self.params), ROOT_KEY, MAP_ID, NO_ANCESTORS)
        return [*journal.begin(), *journal.records(self.counts, self.columns, self.answers, self.first)]


class Block:
    """The block, and streams that feed it."""

    def __init__(self, name, *, seed=0, idle=0.0):
        self.params, self.codec = preset(name), RecordCodec(preset(name))
        self.bench = bench = design(name).bench(seed=seed)
        bench.set("root_key", number(ROOT_KEY))
        bench.set("map_id", number(MAP_ID))
        for stream in ("i_context", "i_command", "i_reply"):
            bench.source(stream, idle=idle)
        bench.sink("o_record", idle=idle)
        bench.set("begin", 1)

    def feed(self, drawn, refused=()):
        """Give records; ``refused`` are the places of records that are refused, between the others."""
        contexts, at = [], 0
        blank = dict.fromkeys(("session_index", "session", "turn", "refused", "altered", "sees_values", "sees_map"), 0)
        for place, count in enumerate(drawn.counts):
            contexts += [{**blank, "lines": 5, "count": 7, "refused": 1} for _ in range(refused.count(place))]
            contexts.append({**blank, "session": 3, "lines": self.codec.lines(count), "count": count, "sees_map": 1})
            at += count
        self.bench.source("i_context").push(contexts)
        columns, answers = drawn.columns, drawn.answers
        self.bench.source("i_command").push(
            [
                {"kind": int(kind), "key": number(key.tobytes()), "value": number(value.tobytes())}
                for kind, key, value in zip(*columns, strict=True)
            ]
        )
        self.bench.source("i_reply").push(
            [
                {
                    "status": int(answers.statuses[k]),
                    "found": int(answers.found[k]),
                    "value": number(answers.values[k].tobytes()),
                    "overruns": 77,
                    "operation": drawn.first + k,
                    "live": 99,
                }
                for k in range(at)
            ]
        )

    def records(self, wanted, limit=40_000):
        """Return as many records as are wanted, and the cycle of the last beat of each."""
        sink, beats, cycles = self.bench.sink("o_record"), [], []
        total = sum(map(len, wanted)) // 16
        while len(beats) < total:
            assert self.bench.cycle < limit, f"{len(beats)} beats of {total}"
            self.bench.run(100)
            beats += sink.take()
        ends = [at + 1 for at, beat in enumerate(beats) if beat >> 128]
        cycles = [int(sink.cycles[end - 1]) for end in ends]
        data = [(beat & (1 << 128) - 1).to_bytes(16, "little") for beat in beats]
        return [b"".join(data[a:b]) for a, b in zip([0, *ends], ends, strict=False)], cycles


@pytest.mark.sec_cm("JOURNALS.EFFECTS.UNIFORM")
@pytest.mark.sec_cm("JOURNALS.NONCE.UNIQUE")
@pytest.mark.parametrize("name", ["TINY", "WIDE"])
def test_records_equal_the_reference(name, monkeypatch):
    monkeypatch.setattr(omap.journal, "ERA_BITS", ERA_BITS)
    assert design(name)
    most = RecordCodec(preset(name)).most_operations

    @settings(max_examples=15)
    @given(
        counts=st.lists(st.one_of(st.just(1), st.integers(1, 5), st.sampled_from([most - 1, most])), max_size=20),
        seed=st.integers(0, 2**32 - 1),
        idle=st.sampled_from([0.0, 0.6]),
    )
    def check(counts, seed, idle):
        rng = random.Random(seed)
        drawn, block = Drawn(preset(name), counts, seed), Block(name, seed=seed, idle=idle)
        block.feed(drawn, refused=[rng.randrange(len(counts)) for _ in range(rng.randint(0, 3))] if counts else ())
        wanted = drawn.wanted()
        assert block.records(wanted)[0] == wanted
        assert sum(map(len, wanted[:2])) == BEGIN_LINES * LINE_BYTES
        assert block.bench.get("begun")

    check()


@pytest.mark.sec_cm("JOURNALS.NONCE.UNIQUE")
def test_each_era_has_a_key_of_its_own(monkeypatch):
    monkeypatch.setattr(omap.journal, "ERA_BITS", ERA_BITS)
    drawn, block = Drawn(preset("TINY"), [1] * (3 << ERA_BITS), 1), Block("TINY")
    block.feed(drawn)
    wanted = drawn.wanted()
    assert block.records(wanted)[0] == wanted


@pytest.mark.sec_cm("JOURNALS.EFFECTS.UNIFORM")
def test_lengths_and_times_are_the_same_for_all_operations_and_answers():
    counts, seen = [1, 3, 2, 5], set()
    for seed, (kind, status) in enumerate([(kind, status) for kind in Kind for status in (Status.OK, Status.FULL)]):
        drawn, block = Drawn(preset("TINY"), counts, seed, kind=kind, status=status), Block("TINY")
        block.feed(drawn)
        records, cycles = block.records(drawn.wanted())
        seen.add((tuple(map(len, records)), tuple(cycles)))
    assert len(seen) == 1


def test_nothing_leaves_before_the_map_is_there():
    block = Block("TINY")
    block.bench.set("begin", 0)
    drawn = Drawn(preset("TINY"), [2], 3)
    block.feed(drawn)
    block.bench.run(2000)
    assert not block.bench.sink("o_record").transfers
    block.bench.set("begin", 1)
    wanted = drawn.wanted()
    assert block.records(wanted)[0] == wanted


@pytest.mark.parametrize("bits", [0, 33])
def test_eras_that_are_none_are_refused(bits):
    with pytest.raises(ParamsError, match="era_bits"):
        JournalBack(preset("TINY"), in_flight=4, era_bits=bits)
