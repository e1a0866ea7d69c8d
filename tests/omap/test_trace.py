"""A trace assigns each event to its operation or scan."""

from omap.map import create
from omap.params import Rule
from omap.trace import BULK_LOAD, EXPORT, FORMAT, Observer
from tests.support.omap_maps import tight


def test_events_belong_to_their_operation_or_scan():
    observer = Observer()
    params = tight("TINY", Rule.TWO_CHOICE)
    map_ = create(params, observer=observer)
    for number in range(8):
        map_.put(bytes([0, 0, 0, number]), b"abcd")
    map_.bulk_load([b"here"], [b"1234"])
    list(map_.export())
    map_.get(b"here")
    trace = observer.trace()
    assert trace.operations == 9
    order = [FORMAT, *range(8), BULK_LOAD, EXPORT, 8]
    assert sorted(set(trace.operation.tolist()), key=order.index) == [
        number for number in order if number in trace.operation
    ]
    assert (trace.operation == FORMAT).sum() == params.pages
    assert (trace.operation == BULK_LOAD).sum() == 2 * params.pages
    assert (trace.operation == EXPORT).sum() == params.pages
    assert len(trace) == len(trace.length) == len(trace.write) == len(trace.operation)
    # the columns are in order of time
    positions = [order.index(number) for number in trace.operation.tolist()]
    assert positions == sorted(positions)


def test_clear_starts_again():
    observer = Observer()
    map_ = create(tight("TINY", Rule.ONE_CHOICE), observer=observer)
    map_.get(b"none")
    observer.clear()
    map_.get(b"none")
    trace = observer.trace()
    assert trace.operations == 1
    assert trace.operation.tolist() == [0, 0]
