"""What a relay sees: records whose sizes follow from how many operations came, and pages that pass the audit."""

import pytest

import omap
from host.testing import running_relay
from omap.audit import audit
from omap.operations import Kind, Operation
from omap.presets import preset
from omap.trace import Observer, Submitted
from omap.wire import HEADER, LINE_BYTES, RecordCodec, RecordType, read_header
from omap.workloads import WORKLOADS, workload
from tests.support.host.middle import Middle

PARAMS = preset("SMALL")


def visible(records):
    """What can be told apart in records: all of their headers but the session's number, and their lengths."""
    headers = [read_header(record) for record in records]
    return [
        (head.type, head.lines, head.count, head.sequence, len(record))
        for head, record in zip(headers, records, strict=True)
    ]


def cut(operations, most):
    """Return how many operations the records of one call have."""
    return [min(most, operations - first) for first in range(0, operations, most)]


@pytest.mark.parametrize("name", WORKLOADS)
def test_everything_that_a_relay_sees_passes_the_audit(name, key_file):
    load = workload(name, PARAMS, 1500)
    observer = Observer()
    with running_relay(PARAMS, key_file, observer=observer) as relay, Middle(relay.port) as middle:
        observer.clear()
        with omap.connect(middle.url, client=relay.client) as client:
            client.put_many(load.keys, load.values)
            for first in range(0, 1500, 300):
                client.execute(load.operations[first : first + 300])
    count = len(load.keys) + 1500 + 1  # and the end of the session
    codec = RecordCodec(PARAMS)
    counts = [size for calls in (len(load.keys), *[300] * 5, 1) for size in cut(calls, codec.most_operations)]
    assert sum(counts) == count
    wanted = [
        (RecordType.DATA, codec.lines(size), size, number, LINE_BYTES * codec.lines(size))
        for number, size in enumerate(counts)
    ]
    for records in (middle.commands, middle.answers):
        assert visible(records[2:]) == wanted
        bodies = [record[HEADER.size :] for record in records]
        blocks = [body[at : at + 16] for body in bodies[2:] for at in range(0, len(body), 16)]
        assert len(set(blocks)) == len(blocks)  # nothing repeats
        seen = b"".join(bodies)
        assert not any(bytes(key) in seen for key in load.keys[:50] if any(key[:5]))
        assert not any(bytes(value) in seen for value in load.values[:50])
    trace = observer.trace(Submitted(operations=count))
    report = audit(trace, PARAMS)
    assert report.passed, report.summary()


@pytest.mark.sec_cm("COMMAND.OP.UNIFORM")
def test_every_kind_of_operation_looks_the_same(key_file):
    seen = {}
    for kind in Kind:
        with running_relay(PARAMS, key_file) as relay, Middle(relay.port) as middle:
            with omap.connect(middle.url, client=relay.client) as client:
                client.put(b"present!", b"a value.")
                for key in (b"present!", b"absent!!"):
                    for count in (1, 19):
                        client.execute([Operation(kind, key, b"a value." if kind is Kind.PUT else b"")] * count)
            seen[kind] = visible(middle.commands), visible(middle.answers)
    assert all(traffic == seen[Kind.NOP] for traffic in seen.values())
    assert len(seen[Kind.NOP][0]) == len(seen[Kind.NOP][1]) == 2 + 1 + 4 + 1
