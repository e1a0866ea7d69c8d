"""The reference maps: which pages are touched in which order, and how lists grow and the map fills."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.drbg import Drbg
from omap.errors import ExhaustedError, FaultError, FullError, InputError, TamperedError
from omap.hazmat.fixed import fixed_secrets
from omap.hazmat.inspect import contents
from omap.map import OneChoiceMap, create
from omap.operations import Kind, Operation, Status
from omap.params import Rule
from omap.presets import preset
from omap.trace import Observer
from tests.support.omap_maps import compiled, tight

TINY = preset("TINY")
GET, PUT, DELETE, NOP = Kind.GET, Kind.PUT, Kind.DELETE, Kind.NOP


def key(number, params=TINY):
    return number.to_bytes(params.key_bytes, "big")


def value(number, params=TINY):
    return number.to_bytes(params.value_bytes, "big")


BOTH = pytest.mark.parametrize("make", [create, compiled], ids=["reference", "compiled"])


def filled(params=TINY, count=None, make=create, **options):
    map_ = make(params, **options)
    for number in range(params.capacity if count is None else count):
        map_.put(key(number, params), value(number, params))
    return map_


def random_batch(params, count, seed, names):
    rng = random.Random(seed)
    return [
        Operation(Kind(rng.randrange(4)), key(rng.randrange(names), params), rng.randbytes(params.value_bytes))
        for _ in range(count)
    ]


# -- what the host sees -------------------------------------------------------------------------------------------


@pytest.mark.sec_cm("PAGE.ADDR.FRESH")
@pytest.mark.sec_cm("PAGE.MISS.DUMMY")
@pytest.mark.sec_cm("PAGE.TOUCH.ALWAYS")
@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), names=st.sampled_from([2, 12, 20]))
def test_one_choice_touches_what_was_drawn_and_nothing_else(seed, names):
    observer = Observer()
    params = tight("TINY", Rule.ONE_CHOICE)
    map_ = create(params, observer=observer, secrets=fixed_secrets(seed))
    observer.clear()
    batch = random_batch(params, 60, seed, names)
    map_.execute(batch)
    draws = Drbg(fixed_secrets(seed)().draw_seed).pairs(0, 60, params.pages).tolist()
    placed, expected = {}, []
    for (kind, name, _), (dummy, fresh) in zip(batch, draws, strict=True):
        expected.append(dummy if kind == NOP else placed.get(name, dummy))
        if kind == DELETE:
            placed.pop(name, None)
        elif kind != NOP and (name in placed or (kind == PUT and len(placed) < params.capacity)):
            placed[name] = fresh
    trace = observer.trace()
    assert (trace.address // np.uint64(params.page_bytes)).tolist() == [page for page in expected for _ in (0, 1)]
    assert trace.write.tolist() == [False, True] * 60


@pytest.mark.sec_cm("BINS.BOTH.TOUCHED")
@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1))
def test_two_choice_touches_both_bins_in_the_order_of_their_draw(seed):
    observer = Observer()
    params = replace(tight("TINY", Rule.TWO_CHOICE), pages=5)
    map_ = create(params, observer=observer, secrets=fixed_secrets(seed))
    observer.clear()
    batch = [Operation(NOP)] * 5 + [Operation(PUT, key(n), value(n)) for n in range(8)]
    batch += [Operation(GET, key(n)) for n in range(8)]
    map_.execute(batch)
    words = Drbg(fixed_secrets(seed)().draw_seed).words(0, 2 * len(batch)).tolist()
    pairs = []
    for one, other in words:
        first, second = one * params.bins >> 64, other * (params.bins - 1) >> 64
        pairs.append((first, second + (second >= first)))
    dummies, fresh = pairs[::2], pairs[1::2]
    touched = dummies[:13] + fresh[5:13]
    pages = [number - params.hbm_bins for pair in touched for number in pair if number >= params.hbm_bins]
    assert (observer.trace().address[::2] // np.uint64(params.page_bytes)).tolist() == pages


@BOTH
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), rule=st.sampled_from([Rule.ONE_CHOICE, Rule.TWO_CHOICE]), cut=st.integers(1, 99))
def test_batches_of_any_size_give_the_same_host_memory(seed, rule, cut, make):
    params = tight("SMALL", rule)
    maps = [make(params, secrets=fixed_secrets(seed)) for _ in range(2)]
    batch = random_batch(params, 100, seed, 50)
    together = maps[0].execute(batch)
    assert together == maps[1].execute(batch[:cut]) + [maps[1].execute([operation])[0] for operation in batch[cut:]]
    assert maps[0].host.data == maps[1].host.data


@BOTH
def test_device_memory_is_what_the_parameters_say(make):
    for rule in Rule:
        params = tight("SMALL", rule)
        assert make(params).device.account() == params.hbm_account


@BOTH
def test_the_position_map_works_as_hard_for_every_kind(make):
    map_ = filled(make=make)
    seen = set()
    for operation in [
        Operation(NOP),
        *(Operation(kind, key(n), value(0)) for kind in (GET, PUT, DELETE) for n in (3, 99)),
    ]:
        region = map_.device.regions["position map"]
        before = region.reads, region.writes
        map_.execute([operation])
        seen.add((region.reads - before[0], region.writes - before[1]))
    assert len(seen) == 1


@BOTH
def test_pages_overflow_softly_lists_grow_and_the_map_fills(make):
    params = replace(tight("SMALL", Rule.ONE_CHOICE), pages=2)  # 14 slots for 40 keys: lists of several lines
    map_ = filled(params, make=make, secrets=fixed_secrets(4))
    assert map_.waiting.free_lines.taken >= 2
    map_.execute([Operation(GET, key(n % 40, params)) for n in range(100)])
    assert all(map_.waiting.load(number).occupancy == 0x7F for number in range(2))
    batch = [Operation(PUT, key(n, params), value(n, params)) for n in range(44)] + random_batch(params, 400, 5, 44)
    assert {response.status for response in map_.execute(batch)} == set(Status) - {Status.DENIED}
    contents(map_)


# -- tampering ----------------------------------------------------------------------------------------------------


def assert_dead(map_, name):
    for attempt in (
        lambda: map_.get(name),
        lambda: map_.execute([Operation(NOP)]),
        lambda: map_.bulk_load([], []),
        lambda: map_[name],
    ):
        with pytest.raises(FaultError, match="erased its keys.*format it"):
            attempt()
    map_.format()
    map_.put(name, bytes(map_.params.value_bytes))
    assert len(map_) == 1


@BOTH
@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), rule=st.sampled_from([Rule.ONE_CHOICE, Rule.TWO_CHOICE]), data=st.data())
def test_any_flipped_bit_is_found_when_its_page_is_touched(seed, rule, data, make):
    params = tight("TINY", rule)
    map_ = filled(params, make=make, secrets=fixed_secrets(seed))
    bit = data.draw(st.integers(0, 8 * params.host_bytes - 1))
    before = bytes(map_.host.data)
    map_.host.data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(TamperedError, match=f"page {bit // 8 // params.page_bytes} failed authentication"):
        map_.execute([Operation(GET, key(n % 12)) for n in range(2000)])
    changed = [at for at in range(len(before)) if at // params.page_bytes == bit // 8 // params.page_bytes]
    assert sum(map_.host.data[at] != before[at] for at in changed) >= 1  # it was not sealed anew
    assert_dead(map_, key(3))


@BOTH
@pytest.mark.sec_cm("PAGE.VERSION.FRESH")
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_replayed_and_exchanged_pages_are_found(seed, make):
    size = TINY.page_bytes
    replayed = filled(make=make, secrets=fixed_secrets(seed))
    old = bytes(replayed.host.data)
    for number in range(60):
        replayed.get(key(number % 12))
    replayed.host.data[:] = old
    with pytest.raises(TamperedError):
        replayed.execute([Operation(NOP)])
    assert_dead(replayed, key(1))

    exchanged = filled(make=make, secrets=fixed_secrets(seed))
    data = exchanged.host.data
    data[:size], data[size : 2 * size] = data[size : 2 * size], data[:size]
    with pytest.raises(TamperedError):
        exchanged.execute([Operation(NOP)] * 60)

    truncated = filled(make=make, secrets=fixed_secrets(seed))
    del truncated.host.data[-1:]
    with pytest.raises(TamperedError):
        truncated.execute([Operation(NOP)] * 60)

    other = filled(make=make, secrets=fixed_secrets(seed + 1))
    other.host.data[:] = old
    with pytest.raises(TamperedError):
        other.execute([Operation(NOP)])


@BOTH
@pytest.mark.sec_cm("FAULT.KEY.ERASE")
def test_a_fault_leaves_no_secret_behind(make):
    secrets = fixed_secrets(9)()
    map_ = filled(make=make, secrets=lambda: secrets)
    map_.host.data[:] = bytes(len(map_.host.data))
    with pytest.raises(TamperedError):
        map_.get(key(0))
    alive = [map_]
    seen = set()
    while alive:  # everything that can still be reached from the map, but for the source of secrets
        thing = alive.pop()
        if id(thing) in seen or callable(thing):
            continue
        seen.add(id(thing))
        if isinstance(thing, (bytes, bytearray, memoryview)):
            data = bytes(thing)
            for secret in (secrets.page_secret, secrets.draw_seed, secrets.hash_key):
                assert secret not in data
            assert key(7) + value(7) not in data
        assert type(thing).__name__ not in {"PageCodec", "Drbg", "PositionMap", "Waiting"}
        alive += vars(thing).values() if hasattr(thing, "__dict__") else []
        alive += thing.values() if isinstance(thing, dict) else thing if isinstance(thing, (list, tuple)) else []


@BOTH
def test_running_out_of_slots_is_a_fault_not_a_wrong_answer(make):
    map_ = make(replace(TINY, pages=1, waiting_slots=1))
    map_.put(key(0), value(0))  # waits
    with pytest.raises(ExhaustedError, match="out of waiting slots: 1 were planned"):
        map_.execute([Operation(PUT, key(n), value(n)) for n in range(1, 12)])
    with pytest.raises(FaultError, match="out of waiting slots"):
        map_.get(key(0))


@BOTH
def test_an_interrupted_operation_latches(make):
    map_ = filled(make=make)

    def interrupt(*_):
        raise KeyboardInterrupt

    map_.host.write = map_.host.write_rows = interrupt
    with pytest.raises(KeyboardInterrupt):
        map_.get(key(1))
    with pytest.raises(FaultError, match="interrupted half way"):
        map_.get(key(1))


# -- bad input ----------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.sec_cm("ERROR.TEXT.CLEAN")
@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (Operation(GET, b"abc"), "operation 1: a key must be 4 bytes, not 3 bytes"),
        (Operation(GET, b"abcde"), "operation 1: a key must be 4 bytes, not 5 bytes"),
        (Operation(GET, "abcd"), "operation 1: a key must be 4 bytes, not a str"),
        (Operation(GET, 7), "operation 1: a key must be 4 bytes, not a int"),
        (Operation(GET, bytearray(b"abc")), "operation 1: a key must be 4 bytes, not 3 bytes"),
        (Operation(PUT, b"abcd", b"xyz"), "operation 1: a value must be 4 bytes, not 3 bytes"),
        (Operation(PUT, b"abcd", None), "operation 1: a value must be 4 bytes, not a NoneType"),
        (Operation(9, b"abcd"), "operation 1: kind must be one of NOP, GET, PUT, DELETE, not 9"),
        (Operation(b"abcd", b"abcd"), "operation 1: kind must be one of NOP, GET, PUT, DELETE, not 4 bytes"),
        (Operation(0x6162, b"abcd"), "operation 1: kind must be one of NOP, GET, PUT, DELETE, not a int"),
    ],
)
def test_a_malformed_operation_stops_its_whole_batch(operation, text, make):
    map_ = filled(make=make)
    before = contents(map_), bytes(map_.host.data), map_.sequence
    with pytest.raises(InputError) as caught:
        map_.execute([Operation(PUT, key(0), value(77)), operation])
    assert str(caught.value) == text
    assert (contents(map_), bytes(map_.host.data), map_.sequence) == before


@BOTH
def test_a_full_map_refuses_new_keys_and_serves_the_others(make):
    map_ = filled(make=make)
    before = contents(map_)
    with pytest.raises(FullError, match="capacity is 12"):
        map_.put(key(12), value(0))
    with pytest.raises(FullError, match="1 new keys need more room than there is: 12 of 12"):
        map_.bulk_load([key(12)], [value(0)])
    assert map_.execute([Operation(PUT, key(12), value(0))])[0].status is Status.FULL
    assert contents(map_) == before
    assert map_.put(key(3), value(33)) == value(3)
    assert map_.delete(key(3)) == value(33)
    assert map_.put(key(12), value(0)) is None


@BOTH
@pytest.mark.parametrize(
    ("keys", "values", "text"),
    [
        ([key(20), key(21)], [value(0)], "2 keys came with 1 values"),
        ([key(20), key(21), key(20)], [value(0)] * 3, r"keys\[2\] repeats keys\[0\]"),
        ([key(20), key(2)], [value(0)] * 2, r"keys\[1\] is in the map already, and 0 more"),
        ([b"long key"], [value(0)], r"keys\[0\] must be 4 bytes, not 8 bytes"),
        (["text"], [value(0)], r"keys\[0\] must be 4 bytes, not a str"),
        ("text", [value(0)], r"keys must be an \(n, 4\) array of uint8 or a sequence of bytes, not a str"),
        (np.zeros((2, 3), np.uint8), [value(0)] * 2, r"keys must be an \(n, 4\) array of uint8, not \(2, 3\) of uint8"),
        (np.zeros((2, 4), np.int64), [value(0)] * 2, r"keys must be an \(n, 4\) array of uint8, not \(2, 4\) of int64"),
    ],
)
def test_a_bad_bulk_load_changes_nothing(keys, values, text, make):
    map_ = filled(count=5, make=make)
    before = contents(map_), bytes(map_.host.data), map_.sequence
    with pytest.raises(InputError, match=text):
        map_.bulk_load(keys, values)
    assert (contents(map_), bytes(map_.host.data), map_.sequence) == before


def test_a_map_needs_parameters_of_its_own_rule():
    with pytest.raises(InputError, match="OneChoiceMap needs parameters for one_choice, not for resident"):
        OneChoiceMap(tight("TINY", Rule.RESIDENT))


def test_it_does_not_iterate():
    with pytest.raises(TypeError):
        iter(filled())
    with pytest.raises(InputError, match="a key must be 4 bytes, not a str"):
        assert "text" not in filled()


@pytest.mark.long
@pytest.mark.parametrize(("make", "observer"), [(create, Observer()), (compiled, None)], ids=["reference", "compiled"])
def test_paper_at_full_size(make, observer):
    params = preset("PAPER")
    map_ = make(params, observer=observer)
    keys = np.arange(params.capacity, dtype=">u4").view(np.uint8).reshape(-1, 4)
    values = np.random.default_rng(1).integers(0, 256, (params.capacity, 8), dtype=np.uint8)
    map_.bulk_load(keys, values)
    oracle = {keys[n].tobytes(): values[n].tobytes() for n in range(params.capacity)}
    rng = random.Random(2)
    for _ in range(20):
        batch = [
            Operation(
                Kind(rng.randrange(4)), rng.randrange(params.capacity + 1000).to_bytes(4, "big"), rng.randbytes(8)
            )
            for _ in range(10_000)
        ]
        for (kind, name, new), response in zip(batch, map_.execute(batch), strict=True):
            assert response.previous == (None if kind == NOP else oracle.get(name))
            if kind == PUT and response.status is Status.OK:
                oracle[name] = new
            elif kind == DELETE:
                oracle.pop(name, None)
    assert contents(map_) == oracle
