"""The compiled map and the reference, step by step: responses, host memory, HBM, counts of accesses, faults."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from omap import map as reference
from omap.crypto import PageCodec
from omap.errors import ExhaustedError, FaultError, OmapError, TamperedError
from omap.fast.entries import look_up
from omap.fast.map import FastMap
from omap.fast.pages import list_pages
from omap.fast.touches import run
from omap.hazmat.fixed import fixed_secrets
from omap.hazmat.inspect import contents
from omap.operations import Kind, Operation, Status
from omap.params import Rule
from omap.presets import preset
from omap.trace import Observer
from tests.support.omap_maps import compiled, tight

KEY = bytes([0, 0, 0, 1])
PAGED = [Rule.ONE_CHOICE, Rule.TWO_CHOICE]


def outcome(run):
    """Return what a call answers or raises."""
    try:
        return run()
    except OmapError as error:
        return type(error), str(error)


def listed(answers):
    """Return answers that came as arrays as lists, with the types of the arrays."""
    return [(part.dtype, part.shape, part.tolist()) for part in answers]


class Both:
    """A reference and a compiled map with the same secrets."""

    def __init__(self, params, seed, **options):
        self.params = params
        self.maps = [make(params, secrets=fixed_secrets(seed), **options) for make in (reference.create, compiled)]
        self.compare()

    def compare(self):
        law, fast = self.maps
        assert fast.host.data == law.host.data
        assert (fast.sequence, len(fast)) == (law.sequence, len(law))
        assert list(fast.device.regions) == list(law.device.regions)
        for name, region in law.device.regions.items():
            mine = fast.device.regions[name]
            assert mine.data == region.data, name
            assert (mine.reads, mine.writes) == (region.reads, region.writes), name
        if hasattr(law, "position_map"):
            assert fast.position_map.transit == law.position_map.transit
            assert fast.position_map.victim == law.position_map.victim
            assert fast.waiting.free_slots.taken == law.waiting.free_slots.taken
            assert fast.waiting.free_lines.taken == law.waiting.free_lines.taken

    def do(self, what):
        """Do something to both, compare them, and return what came of it."""
        answers = [outcome(lambda map_=map_: what(map_)) for map_ in self.maps]
        assert answers[1] == answers[0]
        self.compare()
        return answers[0]

    def execute(self, batch):
        return self.do(lambda map_: map_.execute(batch))

    def execute_arrays(self, batch):
        kinds, keys, values = zip(*batch, strict=True)
        return self.do(lambda map_: listed(map_.execute_arrays(kinds, keys, values)))

    def flip(self, bit):
        for map_ in self.maps:
            map_.host.data[bit // 8] ^= 1 << bit % 8


@st.composite
def shapes(draw):
    """Parameters whose pages overflow, whose lists grow, whose map fills, and that run out of what is scarce."""
    params = tight(draw(st.sampled_from(["TINY", "SMALL", "PAPER", "STANDARD", "WIDE"])), draw(st.sampled_from(PAGED)))
    if draw(st.booleans()):
        params = replace(params, pages=2)
    if draw(st.booleans()):
        params = replace(params, epoch_bits=draw(st.integers(2, 8)))
    if draw(st.integers(0, 3)) == 0:
        params = replace(params, waiting_slots=draw(st.integers(4, 30)))
    if draw(st.integers(0, 3)) == 0:
        params = replace(params, further_lines=1, descriptor_bytes=32)
    if draw(st.booleans()):  # the position map is fuller, and entries are in transit
        buckets = next(n for n in range(1, 9) if 2 * n * params.bucket_entries + 40 >= params.capacity)
        params = replace(params, buckets=buckets, transit_entries=40, relocation_steps=draw(st.integers(1, 4)))
    return params


@st.composite
def batches(draw, params):
    names = draw(st.sampled_from([2, 15, 60]))
    kinds = st.sampled_from(draw(st.sampled_from([list(Kind), [Kind.PUT], [Kind.PUT, Kind.GET], [Kind.NOP]])))
    operations = draw(st.lists(st.tuples(kinds, st.integers(0, names), st.integers(0, 255)), min_size=1, max_size=70))
    return [
        Operation(kind, name.to_bytes(params.key_bytes, "big"), bytes([value]) * params.value_bytes)
        for kind, name, value in operations
    ]


@pytest.mark.sec_cm("PAGE.MEM.ENCRYPT")
@pytest.mark.sec_cm("PAGE.NONCE.UNIQUE")
@settings(max_examples=40)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_every_batch_leaves_the_same_bytes(data, seed):
    lock_step(data, seed)


@pytest.mark.long
@settings(max_examples=2000)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_every_batch_leaves_the_same_bytes_for_long(data, seed):
    lock_step(data, seed)


@pytest.mark.long
@pytest.mark.parametrize("name", ["PAPER", "STANDARD"])
def test_a_map_of_full_size_leaves_the_same_bytes(name):
    params, rng = preset(name), np.random.default_rng(6)
    both = Both(params, 6)
    keys = np.arange(params.capacity, dtype=">u8").view(np.uint8).reshape(-1, 8)[:, -params.key_bytes :]
    values = rng.integers(0, 256, (params.capacity, params.value_bytes), np.uint8)
    both.do(lambda map_: map_.bulk_load(keys, values))
    for _ in range(20):
        names = rng.integers(0, params.capacity + 5000, 5000).tolist()
        kinds = rng.integers(0, 4, 5000).tolist()
        batch = [
            Operation(Kind(kind), name.to_bytes(params.key_bytes, "big"), rng.bytes(params.value_bytes))
            for kind, name in zip(kinds, names, strict=True)
        ]
        assert len(both.execute(batch)) == 5000
        assert len(both.execute_arrays(batch)) == 3


def lock_step(data, seed):
    """Do drawn things to both maps."""
    params = data.draw(shapes())
    both = Both(params, seed)
    for _ in range(data.draw(st.integers(1, 5))):
        step = data.draw(st.sampled_from(["run", "run", "arrays", "arrays", "load", "flip", "format"]))
        if step == "run":
            both.execute(data.draw(batches(params)))
        elif step == "arrays":
            both.execute_arrays(data.draw(batches(params)))
        elif step == "load":
            first, count = data.draw(st.integers(0, 60)), data.draw(st.integers(0, 30))
            keys = [(first + n).to_bytes(params.key_bytes, "big") for n in range(count)]
            both.do(lambda map_, keys=keys: map_.bulk_load(keys, [bytes(map_.params.value_bytes)] * len(keys)))
        elif step == "flip":
            both.flip(data.draw(st.integers(0, 8 * params.host_bytes - 1)))
        else:
            both.do(lambda map_: map_.format())


def puts(params, names):
    return [Operation(Kind.PUT, name.to_bytes(params.key_bytes, "big"), bytes(params.value_bytes)) for name in names]


@pytest.mark.parametrize("rule", PAGED)
def test_a_full_map_refuses_alike(rule):
    both = Both(tight("SMALL", rule), 1)
    answers = both.execute(puts(both.params, range(60)))
    assert [answer.status for answer in answers] == [Status.OK] * 40 + [Status.FULL] * 20
    assert len(contents(both.maps[1])) == 40


@settings(max_examples=30)
@given(rule=st.sampled_from(PAGED), seed=st.integers(0, 2**32 - 1), place=st.integers(0, 2**20), data=st.data())
def test_what_ran_before_an_altered_page_reaches_host_memory(rule, seed, place, data):
    both = Both(tight("TINY", rule), seed)
    both.execute(puts(both.params, range(12)))
    both.flip(place % (8 * both.params.host_bytes))
    before = bytes(both.maps[1].host.data)
    found = both.execute([Operation(Kind.NOP)] * data.draw(st.integers(2, 90)))
    assume(type(found) is tuple)  # the page was touched
    assert issubclass(found[0], TamperedError)
    assert both.execute([Operation(Kind.NOP)] * 2)[0] is FaultError
    if both.maps[1].sequence == 12 + 1 and rule is Rule.ONE_CHOICE:  # the first touch found it
        assert both.maps[1].host.data == before
    if both.maps[1].sequence > 12 + 2:  # what ran before sealed other pages
        assert both.maps[1].host.data != before
    both.do(lambda map_: map_.format())
    both.execute(puts(both.params, range(12)))


@pytest.mark.parametrize("rule", PAGED)
@pytest.mark.parametrize(
    ("scarce", "text"),
    [
        (dict(waiting_slots=5), "out of waiting slots: 5"),
        (dict(further_lines=1, descriptor_bytes=32), "out of further descriptor lines: 1"),
        (dict(epoch_bits=1), "was not touched for a whole epoch"),
    ],
)
def test_what_runs_out_is_the_same_fault(rule, scarce, text):
    both = Both(replace(tight("SMALL", rule), pages=2, **scarce), 3)
    found = both.execute(puts(both.params, range(100)))
    assert found[0] is ExhaustedError
    assert text in found[1]


@pytest.mark.parametrize("rule", PAGED)
def test_a_lost_tuple_is_the_same_fault(rule):
    both = Both(tight("TINY", rule), 4)
    both.execute(puts(both.params, [1, 2, 3]))
    for map_ in both.maps:  # no host can do this
        for region in ("waiting slots", "page descriptors"):
            map_.device.regions[region].data[:] = bytes(len(map_.device.regions[region].data))
    found = both.execute([Operation(Kind.GET, bytes([0, 0, 0, name])) for name in (1, 2, 3)])
    assert issubclass(found[0], FaultError)


def test_compiled_code_runs(monkeypatch):
    map_ = compiled(tight("TINY", Rule.ONE_CHOICE))
    assert isinstance(map_, FastMap)
    monkeypatch.setattr(reference.PagedMap, "_touch", None)  # the reference can't run
    assert len(map_.execute([Operation(Kind.NOP)] * 40)) == 40
    assert len(map_.execute([Operation(Kind.NOP)])) == 1
    monkeypatch.setattr(FastMap, "execute", None)  # arrays become no operations on their way
    assert map_.execute_arrays([0, 1], [KEY, KEY], [bytes(4)] * 2).found.tolist() == [False, False]


@pytest.mark.parametrize("count", [0, 1, 2, 70])
def test_arrays_of_any_kind_of_memory_are_run_alike(count):
    """What compiled code gets is aligned and may be written to, whatever came: it would be compiled anew otherwise."""
    both, params = Both(tight("TINY", Rule.ONE_CHOICE), 7), tight("TINY", Rule.ONE_CHOICE)
    memory = bytes(range(256)) * 4
    rows = np.frombuffer(memory, np.uint8, 9 * count, 1).reshape(count, 9)  # read-only, not aligned, in steps
    kinds = rows[:, 0] % 4
    seen = both.do(lambda map_: listed(map_.execute_arrays(kinds, rows[:, 1:5], rows[:, 5:9])))
    assert [shape for _, shape, _ in seen] == [(count,), (count,), (count, params.value_bytes)]
    loose = np.frombuffer(bytearray(memory), np.uint8, 8 * count, 1)  # may be written to, but is not aligned
    keys, values = loose[: 4 * count].reshape(count, 4), loose[4 * count :].reshape(count, 4)
    both.do(lambda map_: listed(map_.execute_arrays(kinds, keys, values)))
    assert bytes(loose) == memory[1 : 1 + 8 * count]
    if count > 1:
        both.do(lambda map_: map_.execute_arrays([4] * count, rows[:, 1:5], rows[:, 5:9]))
        compiled_for = [len(function.signatures) for function in (look_up, run, list_pages)]
        assert compiled_for == [1, 1, 1]


def test_a_page_that_is_touched_often_is_opened_and_sealed_once(monkeypatch):
    counts = []
    for name in ("open_rows", "seal_rows"):
        work = getattr(PageCodec, name)
        monkeypatch.setattr(
            PageCodec, name, lambda *of, work=work: counts.append(len(of[1])) or work(*of), raising=True
        )
    params = tight("TINY", Rule.ONE_CHOICE)
    compiled(params).execute([Operation(Kind.NOP)] * 300)
    assert counts == [params.pages] * 2


@pytest.mark.parametrize("rule", PAGED)
def test_with_an_observer_every_access_is_seen_as_it_happens(rule):
    params, seen = tight("TINY", rule), []
    for make in (reference.create, compiled):
        watched, memory = [], bytearray(params.host_bytes)

        class Watching(Observer):
            """Looks at host memory at every event."""

            def write(self, address, length, watched=watched, memory=memory):
                super().write(address, length)
                watched.append((address, bytes(memory)))

        observer = Watching()
        make(params, memory=memory, observer=observer, secrets=fixed_secrets(1)).execute(puts(params, range(12)))
        seen.append((watched, observer.trace().address.tolist(), observer.trace().operation.tolist()))
    assert seen[0] == seen[1]


def test_memory_that_others_share_is_written_in_place():
    params = tight("TINY", Rule.ONE_CHOICE)
    memory = memoryview(bytearray(params.host_bytes + 64))
    map_ = compiled(params, memory=memory, secrets=fixed_secrets(2))
    law = reference.create(params, secrets=fixed_secrets(2))
    for one in (map_, law):
        one.execute(puts(params, range(12)))
    assert memory[: params.host_bytes] == law.host.data
    assert not any(memory[params.host_bytes :])


def test_a_resident_map_is_the_reference():
    assert type(compiled(tight("TINY", Rule.RESIDENT))) is reference.ResidentMap
