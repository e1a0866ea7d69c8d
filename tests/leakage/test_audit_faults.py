"""The audit against real maps: every sound workload passes under every rule, every planted fault is flagged."""

from dataclasses import replace

import pytest

from omap.audit import audit
from omap.hazmat.fixed import fixed_secrets
from omap.map import RULES, create
from omap.params import Rule
from omap.plain import PlainTable
from omap.trace import Observer
from omap.workloads import WORKLOADS, load_and_run, workload
from tests.support.leakage.faults import FAULTS, params_for

OPERATIONS = 3000
REVEALING = ("hammer", "sweep", "misses", "insert_then_read")
"""No single workload shows every fault; these four together do."""

FLAGGED_BY = {
    "NoRemapOnReads-one_choice": {"hammer", "sweep"},
    "NoRemapOnReads-two_choice": {"hammer", "sweep"},
    "NoTouchIfWaiting-one_choice": {"hammer", "sweep", "insert_then_read"},
    "NoTouchIfWaiting-two_choice": {"hammer"},
    "MissHashesKey-one_choice": {"misses"},
    "MissHashesKey-two_choice": {"misses"},
    "InsertTouchesNewPage-one_choice": {"insert_then_read"},
    "InsertTouchesNewPage-two_choice": {"insert_then_read"},
    "RedrawsFullPages-one_choice": {"hammer"},
    "ChosenFirst-two_choice": {"hammer"},
    "OnlyChosen-two_choice": {"hammer", "sweep", "misses", "insert_then_read"},
    "EarlyExit-two_choice": {"hammer", "sweep"},
}
"""Which of them flag a fault for certain; a few more may."""


def report(create_map, name, rule, operations=OPERATIONS, seed=1):
    params, observer = params_for(rule), Observer()
    map_ = create_map(params, observer=observer, secrets=fixed_secrets(seed))
    load_and_run(workload(name, params, operations, seed=seed), map_)
    return audit(observer.trace(), params)


@pytest.mark.sec_cm("PAGE.ADDR.FRESH")
@pytest.mark.sec_cm("PAGE.MISS.DUMMY")
@pytest.mark.sec_cm("PAGE.TOUCH.ALWAYS")
@pytest.mark.sec_cm("BINS.BOTH.TOUCHED")
@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("rule", Rule)
def test_every_workload_passes_under_every_rule(rule, name):
    found = report(create, name, rule)
    assert found.passed, found.summary()
    assert found.operations == OPERATIONS
    assert not found.notes


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("rule", [Rule.ONE_CHOICE, Rule.TWO_CHOICE])
def test_every_workload_passes_over_the_ends_of_epochs(rule, name):
    few = {"capacity": 60, "pages": 12, "waiting_slots": 60, "further_lines": 60, "epoch_bits": 8}
    params = replace(params_for(rule), **few, hbm_bins=3 if rule is Rule.TWO_CHOICE else 0)
    observer = Observer()
    map_ = create(params, observer=observer, secrets=fixed_secrets(1))
    load_and_run(workload(name, params, OPERATIONS, seed=1), map_)
    found = audit(observer.trace(), params)
    assert found.passed, found.summary()
    assert map_.version >> params.epoch_bits >= 11


@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_is_flagged(fault):
    flagged = {name for name in REVEALING if not report(FAULTS[fault], name, FAULTS[fault].rule).passed}
    assert flagged >= FLAGGED_BY[fault]


def test_every_fault_has_a_workload_that_must_flag_it():
    assert FLAGGED_BY.keys() == FAULTS.keys()
    assert all(FLAGGED_BY.values())


@pytest.mark.parametrize("name", ["hammer", "ping_pong", "misses", "insert_then_read"])
def test_a_plain_table_fails_at_once(name):
    """A hundred operations are enough."""
    found = report(PlainTable, name, Rule.ONE_CHOICE, operations=100)
    assert not found.passed
    assert any(finding.name.startswith("repeat of pages at lag") for finding in found.failures)


@pytest.mark.parametrize("name", ["sweep", "uniform", "zipf"])
def test_a_plain_table_fails_under_the_others_too(name):
    assert not report(PlainTable, name, Rule.ONE_CHOICE).passed


def test_faulty_maps_answer_correctly():
    """What is planted is a leak and nothing else: answers are those of the sound map."""
    for fault, class_ in FAULTS.items():
        params = params_for(class_.rule)
        for name in REVEALING:
            run = workload(name, params, 150, seed=5)
            answers = []
            for make in (create, class_):
                map_ = make(params, secrets=fixed_secrets(5))
                map_.bulk_load(run.keys, run.values)
                answers.append(map_.execute(run.operations))
            assert answers[0] == answers[1], fault


@pytest.mark.long
@pytest.mark.parametrize("rule", RULES)
def test_long_runs_pass(rule):
    for seed in range(2):
        for name in WORKLOADS:
            found = report(create, name, rule, operations=50_000, seed=seed)
            assert found.passed, found.summary()
