"""The audit against real maps: every sound workload passes under every rule, every planted fault is flagged."""

from dataclasses import replace
from functools import cache, partial

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
REVEALING = ("hammer", "sweep", "misses", "insert_then_read", "idle", "between", "refused", "come_back", "mixed")
"""No single workload shows every fault; these together do."""

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
    "NopTouchesNothing-one_choice": {"idle", "refused", "mixed"},
    "NopTouchesNothing-two_choice": {"idle", "refused", "mixed"},
    "RefusedTouchesNothing-one_choice": {"refused", "mixed"},
    "RefusedTouchesNothing-two_choice": {"refused", "mixed"},
    "NopDrawsNothing-one_choice": {"idle", "refused", "mixed"},
    "NopDrawsNothing-two_choice": {"idle", "refused", "mixed"},
    "DeletedPageAgain-one_choice": {"come_back", "mixed"},
    "DeletedPageAgain-two_choice": {"come_back", "mixed"},
    "DrawnIsNextDummy-one_choice": {"between", "idle", "refused", "come_back", "mixed"},
    "DrawnIsNextDummy-two_choice": {"between", "idle", "refused", "come_back", "mixed"},
    "HitRunsTwice-one_choice": {"hammer", "sweep", "insert_then_read", "idle", "between"},
    "HitRunsTwice-two_choice": {"hammer", "sweep", "insert_then_read", "idle", "between"},
    "ScansWhenFull-one_choice": {"refused", "mixed"},
    "ScansWhenFull-two_choice": {"refused", "mixed"},
}
"""Which of them flag a fault for certain; a few more may."""


def report(create_map, name, rule, operations=OPERATIONS, seed=1):
    params, observer = params_for(rule), Observer()
    map_ = create_map(params, observer=observer, secrets=fixed_secrets(seed))
    return audit(observer.trace(load_and_run(workload(name, params, operations, seed=seed), map_)), params)


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
    found = audit(observer.trace(load_and_run(workload(name, params, OPERATIONS, seed=1), map_)), params)
    assert found.passed, found.summary()
    assert map_.version >> params.epoch_bits >= 11


@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_is_flagged(fault):
    assert {name for name in FLAGGED_BY[fault] if report(FAULTS[fault], name, FAULTS[fault].rule).passed} == set()


def test_every_fault_has_a_workload_that_must_flag_it():
    assert FLAGGED_BY.keys() == FAULTS.keys()
    assert all(FLAGGED_BY.values())


def test_what_a_device_does_by_itself_is_told_in_numbers():
    for fault, name, told in (
        ("HitRunsTwice-one_choice", "hammer", "3,000 operations were submitted, and 6,000 ran"),
        ("ScansWhenFull-two_choice", "refused", "1 bulk loads were submitted, and 4 ran"),
    ):
        (failed,) = report(FAULTS[fault], name, FAULTS[fault].rule).failures
        assert (failed.name, failed.detail) == ("what was submitted", told)


@pytest.mark.parametrize("name", ["hammer", "ping_pong", "misses", "insert_then_read"])
def test_a_plain_table_fails_at_once(name):
    """A hundred operations are enough."""
    found = report(PlainTable, name, Rule.ONE_CHOICE, operations=100)
    assert not found.passed
    assert any(finding.name.startswith("repeat of pages at lag") for finding in found.failures)


@pytest.mark.parametrize("name", ["sweep", "uniform", "zipf"])
def test_a_plain_table_fails_under_the_others_too(name):
    assert not report(PlainTable, name, Rule.ONE_CHOICE).passed


def answers(make, name, rule):
    run = workload(name, params_for(rule), 150, seed=5)
    map_ = make(params_for(rule), secrets=fixed_secrets(5))
    map_.bulk_load(run.keys, run.values)
    return map_.execute(run.operations)


sound_answers = cache(partial(answers, create))


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_maps_answer_correctly(fault):
    """What is planted is a leak and nothing else: answers are those of the sound map."""
    for name in REVEALING:
        assert answers(FAULTS[fault], name, FAULTS[fault].rule) == sound_answers(name, FAULTS[fault].rule)


@pytest.mark.long
@pytest.mark.parametrize("rule", RULES)
def test_long_runs_pass(rule):
    for seed in range(2):
        for name in WORKLOADS:
            found = report(create, name, rule, operations=50_000, seed=seed)
            assert found.passed, found.summary()
