"""Snapshots: all slots of a map in records of one size, by a scan that changes nothing."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap import map as reference
from omap.audit import audit
from omap.bodies import command_items, unpack_columns
from omap.columns import Columns
from omap.errors import ExhaustedError, FaultError, PageAlteredError
from omap.hazmat.fixed import fixed_secrets
from omap.journal import journal_nonce
from omap.operations import Kind, Operation
from omap.params import Rule
from omap.presets import preset
from omap.regmap import Fault, Request, State
from omap.snapshot import snapshot_cipher
from omap.source import read_source
from omap.trace import Observer, Submitted
from omap.wire import (
    HEADER,
    LINE_BYTES,
    SOURCE_LINES,
    Counter,
    Header,
    RecordCodec,
    RecordType,
    read_header,
    start_lines,
)
from tests.support.drawn import drawn_operations, name
from tests.support.journal_host import JournalHost
from tests.support.omap_maps import compiled, tight
from tests.support.sessions import ROOT_KEY

MAPS = [(rule, create) for rule in Rule for create in (reference.create, compiled)]


def joined(pieces):
    """Return the columns of an export as one."""
    return Columns(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


def used(params, columns):
    """Return what the used slots hold, after checking that the free ones are zeros."""
    free = columns.kinds != Kind.PUT
    assert not columns.kinds[free].any()
    assert not columns.keys[free].any()
    assert not columns.values[free].any()
    pairs = list(zip(columns.keys[~free], columns.values[~free], strict=True))
    found = {key.tobytes(): value.tobytes() for key, value in pairs}
    assert len(found) == len(pairs)
    return found


def run(made, seed, count):
    """Run drawn operations and return what the map holds then."""
    batch = drawn_operations(made.params, random.Random(seed), count, keys=50)
    oracle = {}
    for operation, response in zip(batch, made.execute(batch), strict=True):
        if operation.kind == Kind.PUT and not response.status:
            oracle[operation.key] = operation.value
        elif operation.kind == Kind.DELETE:
            oracle.pop(operation.key, None)
    return oracle


@pytest.mark.sec_cm("SNAPSHOT.SLOTS.ALL")
@pytest.mark.parametrize(("rule", "create"), MAPS, ids=lambda one: getattr(one, "__module__", one))
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 300))
def test_an_export_has_every_slot_and_every_live_key(rule, create, seed, count):
    params = tight("SMALL", rule)
    made = create(params)
    oracle = run(made, seed, count)
    columns = joined(made.export())
    assert len(columns.kinds) == params.slots
    assert used(params, columns) == oracle
    again = joined(made.export())  # nothing was changed
    assert all((one == other).all() for one, other in zip(columns, again, strict=True))
    run(made, seed + 1, 20)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_reference_and_compiled_map_export_the_same(seed):
    for rule in (Rule.ONE_CHOICE, Rule.TWO_CHOICE):
        maps = [create(tight("TINY", rule), secrets=fixed_secrets(seed)) for create in (reference.create, compiled)]
        for made in maps:
            run(made, seed, 100)
        one, other = (joined(made.export()) for made in maps)
        assert all((mine == theirs).all() for mine, theirs in zip(one, other, strict=True))


def test_a_tuple_of_zeros_is_not_a_free_slot():
    params = preset("TINY")
    made = reference.create(params)
    made.put(bytes(4), bytes(4))
    assert used(params, joined(made.export())) == {bytes(4): bytes(4)}


@pytest.mark.parametrize("rule", Rule)
def test_an_observer_sees_one_read_of_every_page_in_order(rule):
    params, observer = tight("SMALL", rule), Observer()
    made = reference.create(params, observer=observer)
    run(made, 1, 100)
    before = len(observer.trace())
    list(made.export())
    trace = observer.trace(Submitted(operations=100, formats=1, exports=1))
    assert not trace.write[before:].any()
    assert trace.address[before:].tolist() == [params.page_bytes * page for page in range(params.pages)]
    assert (trace.length[before:] == params.page_bytes).all()
    assert audit(trace, params).passed
    if params.pages:
        (failed,) = audit(observer.trace(Submitted(operations=100, formats=1)), params).failures
        assert failed.detail == "0 exports were submitted, and 1 ran"


def test_an_export_that_reads_only_some_pages_is_flagged():
    params, observer = tight("SMALL", Rule.ONE_CHOICE), Observer()
    made = reference.create(params, observer=observer)
    observer.begin_scan(-3)
    made.host.read(params.page_bytes, params.page_bytes)
    observer.end_scan()
    assert "an export: expected a read of page 0" in audit(observer.trace(), params).failures[0].detail


@pytest.mark.parametrize("create", [reference.create, compiled], ids=["reference", "compiled"])
def test_an_altered_page_is_a_fault(create):
    params = tight("SMALL", Rule.ONE_CHOICE)
    made = create(params)
    run(made, 1, 50)
    made.host.data[params.page_bytes * (params.pages - 1)] ^= 1
    with pytest.raises(PageAlteredError, match=f"page {params.pages - 1} "):
        list(made.export())
    with pytest.raises(FaultError):
        made.execute([Operation(Kind.NOP)])
    with pytest.raises(FaultError):
        list(made.export())


def test_a_page_whose_key_is_gone_is_a_fault():
    made = reference.create(replace(tight("SMALL", Rule.ONE_CHOICE), epoch_bits=1))
    made.sequence = 4  # as if its operations had touched no page
    with pytest.raises(ExhaustedError, match="page 0 was not touched for a whole epoch"):
        list(made.export())


# -- records ------------------------------------------------------------------------------------------------------


def read(host, records):
    """Return SOURCE and all items of a snapshot, after checking the form of its records."""
    codec = host.device.codec
    source, sealed, last = read_source(records[0]), records[1:-1], records[-1]
    assert read_header(records[0]) == Header(RecordType.SOURCE, 0, SOURCE_LINES, 0, 0, 0)
    assert source.chunks == len(sealed) == codec.chunks
    most, lines = codec.most_operations, codec.chunk_lines
    assert [read_header(one) for one in sealed] == [
        Header(RecordType.SNAPSHOT, 0, lines, most, 0, number) for number in range(codec.chunks)
    ]
    count = len(host.device._journal.lineage.ancestors)
    assert read_header(last) == Header(RecordType.START, 0, start_lines(count), count, 0, codec.chunks)
    cipher, items = snapshot_cipher(ROOT_KEY, source), b""
    for record in sealed:
        header = read_header(record)
        nonce, head = journal_nonce(header.type, header.sequence), record[: HEADER.size]
        text = cipher.decrypt(nonce, record[HEADER.size :], head + source.fields())
        items += command_items(codec, text, header.count)
    return source, unpack_columns(codec, items)


@pytest.mark.sec_cm("SNAPSHOT.SLOTS.ALL")
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 60), name_=st.sampled_from(["TINY", "SMALL"]))
def test_a_snapshot_is_the_map_in_records_whose_sizes_follow_from_the_parameters(seed, count, name_):
    params = preset(name_)
    host = JournalHost(256, params, create=compiled)
    client, oracle, rng = host.connect(), {}, random.Random(seed)
    batch = drawn_operations(params, rng, count, keys=12)
    if batch:
        host.run(client, *batch)
    for operation in batch:
        if operation.kind == Kind.PUT:
            oracle[operation.key] = operation.value
        elif operation.kind == Kind.DELETE:
            oracle.pop(operation.key, None)
    records = host.export()
    codec = RecordCodec(params)
    lengths = [LINE_BYTES * lines for lines in (SOURCE_LINES, *[codec.chunk_lines] * codec.chunks, start_lines(0))]
    assert list(map(len, records)) == lengths
    source, columns = read(host, records)
    assert used(params, columns) == oracle
    assert len(columns.kinds) == codec.chunks * codec.most_operations >= params.slots
    assert not columns.kinds[params.slots :].any()
    assert (source.map_id, source.digest) == (host.map_id, params.digest)
    assert (source.operation, source.journal) == (count, 1 + bool(batch))
    host.run(client, Operation(Kind.GET, name(params, 1)))  # sessions go on


@pytest.mark.sec_cm("SNAPSHOT.KEY.OWN")
def test_two_snapshots_have_no_key_in_common():
    host = JournalHost()
    host.run(host.connect(), Operation(Kind.PUT, bytes(4), b"same"))
    one, other = host.export(), host.export()
    assert read_source(one[0]).export_id != read_source(other[0]).export_id
    assert one[1][: HEADER.size] == other[1][: HEADER.size]
    assert one[1][HEADER.size :] != other[1][HEADER.size :]


def test_an_export_runs_between_two_records():
    """What waits in the ring when the request comes runs after the last slot is out."""
    host = JournalHost()
    client = host.connect()
    host.put(client.seal([Operation(Kind.PUT, bytes(4), b"late")]))
    host.device.registers.write("REQUEST", Request.EXPORT)
    records, before = [], host.counter(Counter.RESPONSES_WRITTEN)
    for _ in range(100):
        host.device.step()
        if host.device.state is State.EXPORTING:
            assert host.counter(Counter.RESPONSES_WRITTEN) == before
        records += host.taken()
    _, columns = read(host, [record for record in records if read_header(record).type != RecordType.JOURNAL])
    assert used(host.layout.params, columns) == {}
    assert [read_header(record).type for record in records][-1] == RecordType.JOURNAL
    client.open(host.take())


def test_a_fault_amid_an_export_is_latched():
    host = JournalHost(params=preset("SMALL"))
    host.connect()
    params = host.layout.params
    host.buffer[host.layout.pages + params.page_bytes * (params.pages - 1)] ^= 1
    host.device.registers.write("REQUEST", Request.EXPORT)
    while host.device.step():
        host.taken()
    assert (host.device.state, host.fault) == (State.FAULT, Fault.PAGE_TAG)
    assert host.device.registers.read("REQUEST") == Request.NONE
    assert not host.device.step()


def test_a_stop_amid_an_export_ends_it():
    host = JournalHost(params=preset("SMALL"))
    host.device.registers.write("REQUEST", Request.EXPORT)
    host.device.step()
    assert host.device.state is State.EXPORTING
    host.device.registers.write("REQUEST", Request.STOP)
    host.device.step()
    assert (host.device.state, host.device.registers.read("REQUEST")) == (State.STOPPED, Request.NONE)
