# amaranth: UnusedElaboratable=no
"""The journal block: as the reference, bit for bit, in times that records alone decide."""

import random
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Module, ResetInserter
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from hypothesis import given, settings
from hypothesis import strategies as st

import omap.journal
from omap.columns import Answers, Columns
from omap.errors import ParamsError
from omap.journal import Journal
from omap.lineage import NO_ANCESTORS, Ancestor
from omap.lineage import Lineage as Ancestors
from omap.operations import Kind, Status
from omap.presets import preset
from omap.snapshot import snapshot
from omap.source import Source
from omap.wire import MOST_ANCESTORS, RecordCodec
from rtl.rings.durable_keys import DurableKeys
from rtl.rings.journal_back import ROOM_CYCLES, JournalBack
from rtl.rings.lineage import ANCESTOR, Lineage
from rtl.stream.ways import through
from sim.bench.compiled import Design
from tests.support.rtl.session_ends import MAP_ID, ROOT_KEY, number
from tests.support.rtl.snapshots import CHUNKED, MAPS, drawn_slots, fields_of, slot_items

ERA_BITS = 3
IN_FLIGHT = 16


class Rig(wiring.Component):
    """The block, and what tells it the ancestors of the map and its keys."""

    OWN = (
        *("map_id", "begin", "begun", "room", "fits", "export", "i_export_id", "operation", "i_slot"),
        *("i_context", "i_command", "i_reply", "o_record", "journalled"),
    )

    def __init__(self, params):
        self.block = JournalBack(params, in_flight=IN_FLIGHT, era_bits=ERA_BITS)
        own = self.block.signature.members
        super().__init__(
            {name: own[name] for name in self.OWN}
            | {"root_key": In(256), "i_ancestor": In(stream.Signature(ANCESTOR)), "erase": In(1), "snapshots": Out(8)}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.block, m.submodules.lineage, m.submodules.keys = self.block, Lineage(), DurableKeys()
        block, lineage, keys = self.block, m.submodules.lineage, m.submodules.keys
        through(m, self, dict.fromkeys(self.OWN, block))
        connect(m, flipped(self.i_ancestor), lineage.i_ancestor)
        connect(m, block.o_derive, keys.i)
        connect(m, keys.o, block.i_key)
        m.d.comb += [
            keys.root_key.eq(self.root_key),
            lineage.index.eq(block.index),
            block.count.eq(lineage.count),
            block.ancestor.eq(lineage.ancestor),
        ]
        m.d.sync += self.snapshots.eq(self.snapshots + block.exported)
        return ResetInserter(self.erase)(m)


@cache
def design(name):
    return Design(Rig(MAPS[name]))


def drawn_lineage(rng, most=MOST_ANCESTORS):
    """Return up to so many ancestors."""
    return Ancestors(tuple(Ancestor(rng.randbytes(16), rng.getrandbits(64)) for _ in range(rng.randint(0, most))))


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

    def records(self, journal):
        """Return the records that a journal of the reference has of them."""
        return journal.records(self.counts, self.columns, self.answers, self.first)

    def wanted(self, lineage=NO_ANCESTORS):
        """Return the records of a whole journal, and the SOURCE before them."""
        journal = Journal(RecordCodec(self.params), ROOT_KEY, MAP_ID, lineage)
        return [*journal.begin(), *self.records(journal)]


class Block:
    """The block, and streams that feed it."""

    def __init__(self, name, *, seed=0, idle=0.0, lineage=NO_ANCESTORS):
        self.params, self.codec, self.lineage = MAPS[name], RecordCodec(MAPS[name]), lineage
        self.bench = bench = design(name).bench(seed=seed)
        self.beats = []
        bench.set("root_key", number(ROOT_KEY))
        bench.set("map_id", number(MAP_ID))
        for source in ("i_context", "i_command", "i_reply", "i_slot"):
            bench.source(source, idle=idle)
        bench.sink("o_record", idle=idle)
        bench.source("i_ancestor").push(
            [{"map_id": number(each.map_id), "kept": each.kept} for each in lineage.ancestors]
        )
        bench.run(20)
        for port in ("room", "fits", "begin"):
            bench.set(port, 1)

    def export(self, export_id, operation):
        """Ask for a snapshot."""
        self.bench.set("operation", operation)
        self.bench.source("i_export_id").push([number(export_id)])
        self.bench.set("export", 1)
        self.bench.run(1)
        self.bench.set("export", 0)

    def give(self, slots):
        """Give all slots, and what fills the last chunk."""
        self.bench.source("i_slot").push(slot_items(self.params, slots))

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
        self.bench.source("i_command").push(fields_of(columns))
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
        sink, end = self.bench.sink("o_record"), self.bench.cycle + limit
        total = sum(map(len, wanted)) // 16
        while len(self.beats) < total:
            assert self.bench.cycle < end, f"{len(self.beats)} beats of {total}"
            self.bench.run(100)
            self.beats += sink.take()
        return self.whole(), [int(sink.cycles[at]) for at, beat in enumerate(self.beats) if beat >> 128]

    def whole(self):
        """Return the whole records that have left."""
        self.beats += self.bench.sink("o_record").take()
        ends = [at + 1 for at, beat in enumerate(self.beats) if beat >> 128]
        data = [(beat & (1 << 128) - 1).to_bytes(16, "little") for beat in self.beats]
        return [b"".join(data[a:b]) for a, b in zip([0, *ends], ends, strict=False)]


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
        lineage = drawn_lineage(rng)
        drawn, block = Drawn(preset(name), counts, seed), Block(name, seed=seed, idle=idle, lineage=lineage)
        block.feed(drawn, refused=[rng.randrange(len(counts)) for _ in range(rng.randint(0, 3))] if counts else ())
        wanted = drawn.wanted(lineage)
        assert block.records(wanted)[0] == wanted
        block.bench.run(2 * ROOM_CYCLES)
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


def test_the_journal_begins_whatever_the_number_of_ancestors():
    for count in range(MOST_ANCESTORS + 1):
        rng = random.Random(count)
        lineage = Ancestors(tuple(Ancestor(rng.randbytes(16), rng.getrandbits(64)) for _ in range(count)))
        block, drawn = Block("TINY", lineage=lineage), Drawn(preset("TINY"), [1], count)
        block.feed(drawn)
        wanted = drawn.wanted(lineage)
        assert block.records(wanted)[0] == wanted


@pytest.mark.sec_cm("SNAPSHOTS.SOURCE.BOUND")
@pytest.mark.sec_cm("SNAPSHOTS.KEY.OWN")
@pytest.mark.parametrize("name", ["TINY", "CHUNKED"])
def test_snapshots_equal_the_reference_and_the_journal_goes_on(name, monkeypatch):
    monkeypatch.setattr(omap.journal, "ERA_BITS", ERA_BITS)
    assert design(name)
    params, codec = MAPS[name], RecordCodec(MAPS[name])

    @settings(max_examples=8)
    @given(
        counts=st.lists(st.lists(st.integers(1, 5), max_size=10), min_size=1, max_size=3),
        seed=st.integers(0, 2**32 - 1),
        idle=st.sampled_from([0.0, 0.6]),
    )
    def check(counts, seed, idle):
        rng = random.Random(seed)
        lineage = drawn_lineage(rng)
        journal, block = Journal(codec, ROOT_KEY, MAP_ID, lineage), Block(name, seed=seed, idle=idle, lineage=lineage)
        wanted = journal.begin()
        assert block.records(wanted)[0] == wanted
        for number_, some in enumerate(counts):
            some = [min(count, codec.most_operations) for count in some]
            drawn, slots = Drawn(params, some, seed + number_), drawn_slots(params, seed + number_)
            block.feed(drawn)
            wanted += drawn.records(journal)
            assert block.records(wanted)[0] == wanted
            block.bench.run(2 * ROOM_CYCLES)
            export_id, operation = rng.randbytes(16), rng.getrandbits(64)
            source = Source(MAP_ID, export_id, params.digest, operation, journal.next, codec.chunks)
            wanted += snapshot(codec, ROOT_KEY, source, [slots], lineage)
            block.export(export_id, operation)
            block.give(slots)
            assert block.records(wanted)[0] == wanted
            block.bench.run(2 * ROOM_CYCLES)
            assert block.bench.get("snapshots") == number_ + 1
        drawn = Drawn(params, [1, 1], seed)
        block.feed(drawn)
        wanted += drawn.records(journal)
        assert block.records(wanted)[0] == wanted

    check()


def exported(name, seed, slots):
    """Return a block that was asked for a snapshot of slots, and the records that are wanted of it until then."""
    block = Block(name, seed=seed)
    wanted = Journal(block.codec, ROOT_KEY, MAP_ID, NO_ANCESTORS).begin()
    block.records(wanted)
    block.bench.run(2 * ROOM_CYCLES)
    block.export(bytes(16), 7)
    block.give(slots)
    source = Source(MAP_ID, bytes(16), block.params.digest, 7, 1, block.codec.chunks)
    return block, [*wanted, *snapshot(block.codec, ROOT_KEY, source, [slots], NO_ANCESTORS)]


@pytest.mark.sec_cm("JOURNALS.EFFECTS.UNIFORM")
def test_a_snapshot_takes_the_same_time_whatever_the_map_holds():
    seen = set()
    for seed in range(6):
        block, wanted = exported("CHUNKED", 1, drawn_slots(CHUNKED, seed))
        records, cycles = block.records(wanted)
        assert records == wanted
        seen.add(tuple(cycles))
    assert len(seen) == 1


@pytest.mark.sec_cm("JOURNALS.ROOM.RESERVED")
def test_each_record_of_a_snapshot_and_of_a_beginning_waits_for_room():
    block = Block("CHUNKED")
    for port in ("room", "fits"):
        block.bench.set(port, 0)

    def one_more(wanted):
        block.bench.run(1500)
        assert block.whole() == wanted[:-1]
        sink = block.bench.sink("o_record")
        before = sink.transfers
        block.bench.set("room", 1)
        while sink.transfers == before:
            block.bench.run(1)
        block.bench.set("room", 0)
        block.bench.run(1500)
        assert block.whole() == wanted

    slots = drawn_slots(CHUNKED, 3)
    begin = Journal(block.codec, ROOT_KEY, MAP_ID, NO_ANCESTORS).begin()
    source = Source(MAP_ID, bytes(16), CHUNKED.digest, 7, 1, block.codec.chunks)
    for records, port, ended in (
        (begin, "begun", 1),
        ([*begin, *snapshot(block.codec, ROOT_KEY, source, [slots], NO_ANCESTORS)], "snapshots", 1),
    ):
        for count in range(len(block.whole()), len(records)):
            one_more(records[: count + 1])
        assert not block.bench.get(port)
        block.bench.set("fits", 1)
        block.bench.run(2)
        assert block.bench.get(port) == ended
        block.bench.set("fits", 0)
        if port == "begun":
            block.export(bytes(16), 7)
            block.give(slots)


def test_a_map_without_room_for_its_commands_is_not_ready():
    block = Block("TINY")
    block.bench.set("fits", 0)
    block.records(Journal(block.codec, ROOT_KEY, MAP_ID, NO_ANCESTORS).begin())
    block.bench.run(1000)
    assert not block.bench.get("begun")


@pytest.mark.parametrize("bits", [0, 33])
def test_eras_that_are_none_are_refused(bits):
    with pytest.raises(ParamsError, match="era_bits"):
        JournalBack(preset("TINY"), in_flight=4, era_bits=bits)
