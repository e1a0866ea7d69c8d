"""The back end ``rtl`` beyond what the contract suite asks of every map."""

import pytest

from omap import backends
from omap.audit import audit
from omap.errors import FullError, InputError
from omap.operations import Kind, Operation
from omap.trace import Observer, Submitted
from omap.workloads import load_and_run, workload
from sim.device.backend import RtlMap, create
from tests.support.rtl.engines import TIGHT
from tests.support.rtl.shared import shared_engines

PARAMS = TIGHT.params


def keys(first, count):
    return [number.to_bytes(PARAMS.key_bytes, "big") for number in range(first, first + count)]


def values(count):
    return [bytes([number]) * PARAMS.value_bytes for number in range(count)]


@pytest.fixture(scope="module", autouse=True)
def engines():
    with shared_engines():
        yield


@pytest.fixture(scope="module")
def rtl():
    return RtlMap(PARAMS, observer=Observer())


def test_a_load_is_all_or_nothing(rtl):
    rtl.format()
    rtl.bulk_load(keys(0, 30), values(30))
    with pytest.raises(InputError, match="some keys are in the map already"):
        rtl.bulk_load(keys(29, 5), values(5))
    with pytest.raises(InputError, match="some keys are repeated"):
        rtl.bulk_load(keys(30, 2) * 2, values(4))
    with pytest.raises(InputError, match="2 keys came with 1 values"):
        rtl.bulk_load(keys(30, 2), values(1))
    with pytest.raises(FullError, match="30 of 40 are live"):
        rtl.bulk_load(keys(30, 11), values(11))
    assert len(rtl) == 30
    assert [rtl.get(key) for key in keys(0, 35)] == values(30) + [None] * 5


def test_cycles_and_operations_are_counted(rtl):
    rtl.format()
    before = rtl.operations, rtl.cycles
    assert rtl.execute([]) == []
    assert (rtl.operations, rtl.cycles) == before
    rtl.execute([Operation(Kind.NOP)] * 50)
    assert rtl.operations == before[0] + 50
    assert rtl.cycles - before[1] > 50 * TIGHT.interval
    assert isinstance(rtl, backends.Clocked)


def test_a_malformed_operation_reaches_no_bus(rtl):
    rtl.format()
    rtl._observer.clear()
    with pytest.raises(InputError, match="operation 1"):
        rtl.execute([Operation(Kind.GET, keys(0, 1)[0]), Operation(Kind.GET, b"")])
    assert len(rtl._observer.trace()) == 0


class Eager(RtlMap):
    """A device that runs one operation more than was submitted, after each batch."""

    def execute(self, batch):
        responses = super().execute(batch)
        super().execute([Operation(Kind.NOP)])
        return responses


@pytest.mark.parametrize(("make", "more"), [(create, 0), (Eager, 3)], ids=["sound", "eager"])
def test_the_audit_compares_what_ran_with_what_was_submitted(make, more):
    """A bulk load of 40 keys is 80 operations in two batches, and the workload is one batch."""
    observer = Observer()
    submitted = load_and_run(workload("mixed", PARAMS, 60), make(PARAMS, observer=observer))
    assert submitted == Submitted(operations=60 + 2 * PARAMS.capacity, formats=1)
    found = audit(observer.trace(submitted), PARAMS)
    assert not found.notes or more
    wanted = [f"140 operations were submitted, and {140 + more} ran"] if more else []
    assert [failure.detail for failure in found.failures] == wanted


def test_a_user_is_told_that_it_takes_long():
    assert "minutes" in create.notice
    assert not hasattr(backends.load("reference"), "notice")
