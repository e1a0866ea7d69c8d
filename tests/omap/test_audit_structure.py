"""Exact checks: one deviation anywhere fails, and the report names the operation and what was expected."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.audit import audit
from omap.errors import InputError
from omap.trace import BULK_LOAD, EXPORT, FORMAT, Submitted, join
from tests.support.leakage.synthetic import PAGE_BYTES, draw, params, scan, trace

ONE = params("one_choice", pages=7)
TWO = params("two_choice", pages=7, hbm_bins=2)
RESIDENT = params("resident", pages=0)


def sound(shape, operations=60, seed=1):
    return trace(*draw(shape, operations, np.random.default_rng(seed)), operations)


def failures(seen, shape, **options):
    return {finding.name: finding.detail for finding in audit(seen, shape, **options).failures}


def edited(seen, **columns):
    return replace(seen, **{name: np.asarray(value) for name, value in columns.items()})


def with_event(seen, index, **fields):
    changed = {name: getattr(seen, name).copy() for name in fields}
    for name, value in fields.items():
        changed[name][index] = value
    return edited(seen, **changed)


def take(seen, places):
    return edited(seen, **{name: getattr(seen, name)[places] for name in ("operation", "address", "length", "write")})


@pytest.mark.parametrize("shape", [ONE, TWO], ids=["one_choice", "two_choice"])
def test_scans_and_operations_in_any_order_pass(shape):
    load, format_, export = (scan(kind, shape.pages) for kind in (BULK_LOAD, FORMAT, EXPORT))
    seen = join(
        format_, load, load, export, sound(shape), export, export, load, format_, format_, sound(shape, seed=2), export
    )
    report = audit(seen, shape)
    assert report.passed
    assert report.operations == 120
    assert report.events == len(seen)


def test_a_resident_map_shows_nothing():
    nothing = replace(sound(ONE, 0), operations=500, submitted=Submitted(operations=500))
    assert audit(nothing, RESIDENT).passed
    assert failures(sound(ONE), RESIDENT)["whole pages"].startswith("operation 0: expected no access to host memory")
    assert failures(sound(ONE), RESIDENT)["events of an operation"] == "operation 0: expected 0 events, came 2"
    assert "a format: 2 events, expected 0" in failures(take(scan(FORMAT, 3), [0, 0]), RESIDENT)["order of events"]


def test_nothing_at_all_passes():
    for shape in (ONE, TWO, RESIDENT):
        assert audit(sound(shape, 0), shape).passed


def test_an_operation_without_events_fails():
    asked = Submitted(operations=61)
    assert failures(replace(sound(ONE), operations=61, submitted=asked), ONE) == {
        "events of an operation": "operation 60: expected 2 events, came 0"
    }
    all_seen = params("two_choice", pages=7)
    assert failures(replace(sound(all_seen), operations=61, submitted=asked), all_seen) == {
        "events of an operation": "operation 60: expected 4 events, came 0"
    }


def test_a_missing_and_an_extra_event_fail():
    seen = sound(ONE)
    report = failures(take(seen, np.delete(np.arange(120), 17)), ONE)
    assert report["events of an operation"] == "operation 8: expected 2 events, came 1"
    report = failures(take(seen, np.insert(np.arange(120), 17, 16)), ONE)
    assert report["events of an operation"] == "operation 8: expected 2 events, came 3"
    two = sound(TWO)
    report = failures(take(two, np.delete(np.arange(len(two)), 0)), TWO)
    assert "expected 0 or 2 or 4 events" in report["events of an operation"]


@pytest.mark.parametrize(
    ("fields", "came"),
    [
        ({"length": 64}, "of 64 bytes at "),
        ({"length": 2 * PAGE_BYTES}, "of 256 bytes at "),
        ({"address": 3 * PAGE_BYTES + 64}, "of 128 bytes at 448"),
        ({"address": 7 * PAGE_BYTES}, "of 128 bytes at 896"),
    ],
)
def test_an_access_that_is_not_a_page_fails(fields, came):
    detail = failures(with_event(sound(ONE), 20, **fields), ONE)["whole pages"]
    assert detail.startswith("operation 10: expected one page of 128 bytes at a multiple of 128 below 896, came a read")
    assert came in detail
    assert detail.endswith("(event 20)")


def test_another_order_of_read_and_write_fails():
    seen = sound(ONE)
    page = int(seen.address[20]) // PAGE_BYTES
    swapped = failures(with_event(with_event(seen, 20, write=True), 21, write=False), ONE)
    assert swapped["read, then written back"] == (
        f"operation 10: expected a read and then a write of the same page, came a write of 128 bytes at "
        f"{page * PAGE_BYTES}, then a read of 128 bytes at {page * PAGE_BYTES}"
    )
    assert failures(with_event(seen, 21, write=False), ONE).keys() == {"read, then written back"}
    elsewhere = with_event(seen, 21, address=(page + 1) % 7 * PAGE_BYTES)
    assert failures(elsewhere, ONE).keys() == {"read, then written back"}


def test_both_pages_of_a_pair_read_before_either_is_written_fails():
    seen = sound(TWO)
    number = int(np.argmax(np.bincount(seen.operation) == 4))
    start = int(np.argmax(seen.operation == number))
    places = np.arange(len(seen))
    places[start + 1], places[start + 2] = places[start + 2], places[start + 1]
    assert failures(take(seen, places), TWO).keys() == {"read, then written back"}


def test_one_page_twice_in_an_operation_fails():
    seen = sound(TWO)
    number = int(np.argmax(np.bincount(seen.operation) == 4))
    start = int(np.argmax(seen.operation == number))
    address = seen.address.copy()
    address[start : start + 4] = 5 * PAGE_BYTES
    assert failures(edited(seen, address=address), TWO) == {
        "two distinct pages": f"operation {number}: page 5 came twice, expected two distinct bins"
    }


def test_operations_out_of_order_fail_unless_they_may_overlap():
    seen = sound(ONE)
    places = np.arange(120)
    places[20:24] = [20, 22, 21, 23]  # operations 10 and 11 overlap
    overlapping = take(seen, places)
    assert failures(overlapping, ONE)["order of events"].startswith(
        "operation 11 was followed by events of operation 10"
    )
    assert audit(overlapping, ONE, overlapping=True).passed
    places[20:24] = [22, 23, 21, 20]  # operation 10 written before it is read
    assert failures(take(seen, places), ONE, overlapping=True).keys() == {"read, then written back"}


def test_a_scan_amid_an_operation_fails():
    seen = join(sound(ONE, 10), scan(BULK_LOAD, 7), sound(ONE, 10, seed=2))
    places = np.concatenate([np.arange(19), np.arange(20, 34), [19], np.arange(34, len(seen))])  # written late
    late = take(seen, places)
    assert failures(late, ONE)["order of events"].startswith("operation 9 was followed by events of operation 9")
    assert failures(late, ONE, overlapping=True)["order of events"] == (
        "a scan ran while operations 9 to 9 were under way"
    )


@pytest.mark.parametrize("kind", [FORMAT, BULK_LOAD, EXPORT])
@pytest.mark.parametrize("overlapping", [False, True])
def test_an_irregular_scan_fails(kind, overlapping):
    whole = scan(kind, 7)
    name = {FORMAT: "a format", BULK_LOAD: "a bulk load", EXPORT: "an export"}[kind]

    def detail(seen):
        found = failures(join(sound(ONE, 50), seen), ONE, overlapping=overlapping)
        assert found.keys() == {"order of events"}
        return found["order of events"]

    assert f"{name}: {len(whole) - 1} events, expected {len(whole)} for 7 pages" in detail(
        take(whole, np.arange(len(whole) - 1))
    )
    assert detail(with_event(whole, 5, write=~whole.write[5])).startswith(f"{name}: expected a ")
    assert "(event 105)" in detail(with_event(whole, 5, address=0))
    assert detail(take(whole, np.arange(len(whole))[::-1])).startswith(f"{name}: expected a ")


def test_statistics_are_left_out_after_a_structural_failure_and_the_report_says_so():
    report = audit(with_event(sound(ONE), 20, length=64), ONE)
    assert not report.passed
    assert len(report.findings) == 4
    assert any("not examined" in note for note in report.notes)


@pytest.mark.parametrize("shape", [ONE, TWO, RESIDENT], ids=["one_choice", "two_choice", "resident"])
@pytest.mark.parametrize("submitted", [59, 61, 0])
def test_operations_that_nobody_submitted_or_that_never_ran_fail(shape, submitted):
    seen = sound(shape) if shape.pages else replace(sound(ONE, 0), operations=60)
    assert failures(replace(seen, submitted=Submitted(operations=submitted)), shape) == {
        "what was submitted": f"{submitted} operations were submitted, and 60 ran"
    }


@pytest.mark.parametrize("kind", [FORMAT, BULK_LOAD, EXPORT])
def test_scans_that_nobody_asked_for_or_that_never_ran_fail(kind):
    name = {FORMAT: "formats", BULK_LOAD: "bulk loads", EXPORT: "exports"}[kind]
    with_scan, without = join(sound(ONE), scan(kind, 7)), sound(ONE)
    assert failures(replace(with_scan, submitted=without.submitted), ONE) == {
        "what was submitted": f"0 {name} were submitted, and 1 ran"
    }
    assert failures(replace(without, submitted=with_scan.submitted), ONE) == {
        "what was submitted": f"1 {name} were submitted, and 0 ran"
    }


def test_a_trace_that_nobody_counted_passes_and_the_report_says_what_would_not_show():
    report = audit(replace(sound(ONE), submitted=None), ONE)
    assert report.passed
    assert any("operations that the device inserted would not show" in note for note in report.notes)


def test_traces_are_joined_in_their_order():
    one, two = join(scan(FORMAT, 7), sound(ONE, 3)), sound(ONE, 4, seed=2)
    both = join(one, two)
    assert both.operation[both.operation >= 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    for column in ("address", "length", "write"):
        assert getattr(both, column).tolist() == getattr(one, column).tolist() + getattr(two, column).tolist()
        assert getattr(both, column).dtype == getattr(one, column).dtype
    assert both.submitted == Submitted(operations=7, formats=1)
    assert join(one, replace(two, submitted=None)).submitted is None
    assert (len(join()), join().operations) == (0, 0)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), index=st.integers(0, 119), data=st.data())
def test_any_single_altered_event_is_found(seed, index, data):
    seen = sound(ONE, 60, seed)
    change = data.draw(st.sampled_from(["length", "address", "write", "operation"]))
    old = int(getattr(seen, change)[index])
    new = {
        "length": st.integers(0, 2**32 - 1),
        "address": st.integers(0, 2**63) | st.integers(0, 6).map(lambda page: page * PAGE_BYTES),
        "write": st.booleans(),
        "operation": st.integers(-2, 59),
    }[change].filter(lambda value: value != old)
    assert not audit(with_event(seen, index, **{change: data.draw(new)}), ONE).passed


@pytest.mark.parametrize("operations", [-5, 1 << 28, 10**18])
def test_an_absurd_number_of_operations_is_refused(operations):
    with pytest.raises(
        InputError, match=r"a trace has 0 to 134,217,728 operations, and this one has .*; audit a longer"
    ):
        audit(replace(sound(ONE, 0), operations=operations), ONE)


@pytest.mark.parametrize("column", ["operation", "address", "length", "write"])
def test_a_column_of_another_type_is_refused(column):
    seen = sound(ONE)
    with pytest.raises(InputError, match="whole numbers as operation, address and length, and booleans as write, not"):
        audit(edited(seen, **{column: getattr(seen, column).astype(np.float64)}), ONE)


def test_columns_that_contradict_each_other_are_no_trace():
    seen = sound(ONE)
    with pytest.raises(InputError, match="four columns of one length"):
        audit(edited(seen, write=seen.write[:-1]), ONE)
    with pytest.raises(InputError, match="a trace of 59 operations numbers them from 0"):
        audit(replace(seen, operations=59), ONE)
    with pytest.raises(InputError, match="has numbers -4 to 59"):
        audit(with_event(seen, 4, operation=-4), ONE)
    for chance in (0, 1, -0.1, float("nan")):
        with pytest.raises(InputError, match="false_alarm must be between 0 and 1"):
            audit(seen, ONE, false_alarm=chance)
