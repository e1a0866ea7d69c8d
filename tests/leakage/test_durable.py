"""What a restore shows beside what was shown before and after it: nothing. Planted faults are flagged."""

import hashlib
import itertools
from functools import partial

import numpy as np
import pytest

from omap.audit import audit
from omap.columns import Answers, Columns
from omap.drbg import Drbg
from omap.hazmat.fixed import fixed_secrets
from omap.journal import Journal, effects
from omap.map import create
from omap.operations import Kind, Operation
from omap.params import Rule
from omap.trace import Observer, Submitted, join
from omap.wire import RecordCodec, RecordType, read_header
from omap.workloads import WORKLOADS, workload
from tests.support.journal_host import JournalHost
from tests.support.leakage.checkpoint import Checkpoint
from tests.support.leakage.faults import params_for

RULES = (Rule.ONE_CHOICE, Rule.TWO_CHOICE)
LOADED = 200
"""Keys that are put before the rest; few, because each is an operation of the slow reference."""

OPERATIONS = 800


def fixed_noise(text):
    """Return noise that follows from a text, so that a run can be repeated."""
    numbers = itertools.count()
    return lambda: hashlib.sha256(f"{text} {next(numbers)}".encode()).digest()


def batches(name, params, seed=1):
    """Return operations of a workload: PUTs of its first keys, and then its own on all its keys."""
    work = workload(name, params, 2 * OPERATIONS, seed=seed)
    puts = [
        Operation(Kind.PUT, key.tobytes(), value.tobytes())
        for key, value in zip(work.keys[:LOADED], work.values[:LOADED], strict=True)
    ]
    return puts, work.operations[:OPERATIONS], work.operations[OPERATIONS:]


class Run:
    """A device with an observer, and how many operations its host could count."""

    def __init__(self, params, name):
        self.observer = Observer()
        self.host = JournalHost(4096, params, observer=self.observer, noise=fixed_noise(name))
        self.codec, self.client = RecordCodec(params), self.host.connect()
        self.operations, self.formats, self.exports = 0, 1, 0

    def run(self, operations):
        most = self.codec.most_operations
        for first in range(0, len(operations), most):
            part = operations[first : first + most]
            self.host.run(self.client, *part)
            self.operations += len(part)

    def export(self):
        self.exports += 1
        return self.host.export()

    def restore(self, records):
        self.host.restore(records)
        self.client = self.host.connect()
        self.formats += 1
        items = (RecordType.SNAPSHOT, RecordType.JOURNAL)
        self.operations += sum(read_header(one).count for one in records if read_header(one).type in items)

    def report(self):
        asked = Submitted(operations=self.operations, formats=self.formats, exports=self.exports)
        return audit(self.observer.trace(asked), self.host.layout.params)


@pytest.mark.sec_cm("RESTORE.DRAWS.FRESH")
@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("rule", RULES)
def test_before_restore_and_after_show_no_more_than_operations(rule, name):
    """Twice from one snapshot, as a host does that wants to see more; the second time with the lost operations gone."""
    run = Run(params_for(rule), name)
    puts, before, after = batches(name, run.host.layout.params)
    run.run(puts)
    run.run(before[: OPERATIONS // 2])
    snapshot, mark = run.export(), len(run.host.journal)
    run.run(before[OPERATIONS // 2 :])
    tail = run.host.journal[mark:]
    run.restore([*snapshot, *tail])
    run.run(after)
    run.restore([*snapshot, *tail[:1]])
    run.run(after)
    found = run.report()
    assert found.passed, found.summary()
    assert not found.notes


# -- planted faults -----------------------------------------------------------------------------------------------


def crashed(rule, resume):
    """Return the report on a map that goes on from a checkpoint: ``resume(map, lost operations)`` says how."""
    params, observer = params_for(rule), Observer()
    made = create(params, observer=observer, secrets=fixed_secrets(1))
    puts, before, after = batches("sweep", params)
    made.execute(puts)
    made.execute(before)
    kept = Checkpoint(made)
    made.execute(after)
    kept.give_back(made)
    made._drbg = Drbg(hashlib.sha256(b"draws after the crash").digest())
    ran = len(puts) + len(before) + len(after) + resume(made, after)
    return audit(observer.trace(Submitted(operations=ran, formats=1)), params)


def new_operations(made, lost):
    """Old positions are kept, and clients go on; what was lost they do not do again."""
    made.execute(lost[7:])
    return len(lost) - 7


def replayed(made, lost):
    """The journal runs again with fresh draws, on the old positions."""
    made.execute(lost)
    return len(lost)


@pytest.mark.parametrize("resume", [new_operations, replayed])
@pytest.mark.parametrize("rule", RULES)
def test_a_map_that_goes_on_from_its_old_positions_is_flagged(rule, resume):
    found = crashed(rule, resume)
    assert not found.passed
    meant = ("again", "repeat", "different pairs")
    assert any(one in finding.name for finding in found.failures for one in meant), found.summary()


@pytest.mark.parametrize("rule", RULES)
def test_a_restored_map_with_the_secrets_of_the_old_one_is_flagged(rule):
    params, observer = params_for(rule), Observer()
    puts, before, _ = batches("misses", params)
    parts = []
    for _ in range(2):
        made = create(params, observer=observer, secrets=fixed_secrets(1))
        made.execute(puts + before)
        parts.append(observer.trace(Submitted(operations=len(puts + before), formats=1)))
        observer.clear()
    found = audit(join(*parts), params)
    assert not found.passed
    assert any("longer lag" in finding.name or "most frequent distance" in finding.name for finding in found.failures)


def effects_alone(whole):
    """Return a way to journal that leaves out all that changed nothing."""

    def records(self, counts, columns, answers, first):
        changed = effects(columns, answers).kinds != Kind.NOP
        counts = [int(part.sum()) for part in np.split(changed, np.cumsum(counts)[:-1])]
        kept, told = Columns(*(part[changed] for part in columns)), Answers(*(part[changed] for part in answers))
        return whole(self, [count for count in counts if count], kept, told, first)

    return records


@pytest.mark.sec_cm("JOURNAL.EFFECTS.UNIFORM")
@pytest.mark.parametrize("name", WORKLOADS)
def test_a_journal_that_leaves_out_what_changes_nothing_is_flagged_by_its_count(monkeypatch, name):
    """Then the length of a journal says how many operations were reads, and the trace of a restore as well."""
    params = params_for(Rule.ONE_CHOICE)
    puts, before, _ = batches(name, params)
    for planted in (False, True):
        run = Run(params, name)
        if planted:
            monkeypatch.setattr(Journal, "records", effects_alone(Journal.records))
            monkeypatch.setattr("omap.restore.first_operation", partial(whatever, run.host))
        run.run(puts[:50] + before[:200])
        operations, records = run.operations, run.host.journal
        counted = sum(read_header(record).count for record in records[2:])
        run.restore(records)
        # whoever saw the commands counts each of them once more
        found = audit(run.observer.trace(Submitted(operations=2 * operations, formats=run.formats)), params)
        assert (counted == operations) is found.passed is (not planted)
        if planted:
            assert found.failures[0].name == "what was submitted"


def whatever(host, text):
    """Return the number that a restore expects: a journal with gaps has other ones."""
    return host.device._restore.operation
