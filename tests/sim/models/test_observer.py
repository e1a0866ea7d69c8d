"""Events of a run, and their use as a trace of the audit."""

import numpy as np
import pytest

from omap import trace
from sim.errors import SimulationError
from sim.models.observer import EVENT, EventKind, Observer

PAGE = 192  # no power of two: pages straddle 4 KB boundaries, so that some take two bursts
BASE = 0x8000


def recorded(*accesses):
    """Return an observer of (kind, address, length), one a cycle, on port ``host``."""
    observer = Observer()
    port = observer.port("host")
    for cycle, (kind, address, length) in enumerate(accesses):
        observer.record(cycle, port, kind, address, length)
    return observer


def pages(observer, count=100):
    return observer.trace(port="host", base=BASE, page_bytes=PAGE, pages=count)


READ, WRITE = EventKind.READ, EventKind.WRITE


def test_overlapping_operations_become_the_reference_order():
    at = [BASE + page * PAGE for page in (5, 7, 5)]
    observer = recorded(
        (READ, at[0], PAGE), (READ, at[1], PAGE), (WRITE, at[0], PAGE), (READ, at[2], PAGE), (WRITE, at[1], PAGE),
        (WRITE, at[2], PAGE), (READ, 0x100, 64),
    )  # fmt: skip
    reference = trace.Observer()
    for page in (5, 7, 5):
        reference.begin_operation()
        reference.read(page * PAGE, PAGE)
        reference.write(page * PAGE, PAGE)
    found, wanted = pages(observer), reference.trace()
    for column in ("operation", "address", "length", "write"):
        assert np.array_equal(getattr(found, column), getattr(wanted, column)), column
        assert getattr(found, column).dtype == getattr(wanted, column).dtype
    assert found.operations == wanted.operations == 3


def test_bursts_of_one_page_are_one_access():
    page = BASE + 21 * PAGE  # ends 128 bytes into the next 4 KB
    observer = recorded((READ, page, 64), (READ, page + 64, 128), (WRITE, page, 64), (WRITE, page + 64, 128))
    found = pages(observer)
    assert found.length.tolist() == [PAGE, PAGE]
    assert found.address.tolist() == [21 * PAGE] * 2


def test_an_operation_still_running_has_only_its_read():
    found = pages(recorded((READ, BASE, PAGE)))
    assert (found.operation.tolist(), found.write.tolist(), found.operations) == ([0], [False], 1)


def test_no_events_are_an_empty_trace():
    observer = recorded()
    assert len(pages(observer)) == 0


@pytest.mark.parametrize(
    ("accesses", "message"),
    [
        ([(READ, BASE + 64, PAGE)], "starts inside a page"),
        ([(READ, BASE, PAGE), (READ, BASE + 64, 64)], "starts inside a page"),
        ([(READ, BASE, 64)], "1 accesses do not cover a page of 192 bytes"),
        ([(READ, BASE, PAGE), (WRITE, BASE + PAGE, PAGE)], "not written in the order"),
    ],
)
def test_what_is_no_page_access_is_refused(accesses, message):
    with pytest.raises(SimulationError, match=message):
        pages(recorded(*accesses))


def test_events_are_kept_filtered_saved_and_cleared(tmp_path):
    observer = recorded((READ, 0, 64), (WRITE, 64, 64))
    other = observer.port("ring")
    observer.extend(np.array([(9, 1, 2, other, READ, 0)], EVENT))
    assert len(observer.events()) == 3
    assert observer.events(kinds={WRITE})["address"].tolist() == [64]
    assert observer.events(port="ring")["cycle"].tolist() == [9]
    observer.save(tmp_path / "events.npz")
    loaded = Observer.load(tmp_path / "events.npz")
    assert loaded.ports == ["host", "ring"]
    assert np.array_equal(loaded.events(), observer.events())
    observer.clear()
    assert len(observer.events()) == 0
