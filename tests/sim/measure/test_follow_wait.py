"""The wait of a page that follows another: the model of the merge, and how rarely its operations are behind."""

from fractions import Fraction

import numpy as np
import pytest

from omap.operations import Kind
from omap.sizing.backlog import TILTS, most_behind
from omap.sizing.load_process import COUNTERS, LIVE, run
from rtl.config import EngineConfig
from rtl.work import Work
from sim.measure.follow_wait import BEHIND, WORKLOADS, Model, Touches, main, touched
from sim.measure.options import shaped

SEED = 1
MODEL = Model(EngineConfig(params=shaped("PAPER", 64), interval=Fraction(39, 8)))
WAITS = MODEL.waits


def touches(page, waiting):
    return Touches(np.array(page), np.array(waiting))


def test_an_operation_is_behind_by_what_those_before_it_bring():
    """Starts are 5 cycles apart, each eighth 4. A page of 4 beats takes 4 cycles, and one with 20 tuples takes 21."""
    found = MODEL.behind(touches(range(10), [20] + 9 * [0]), WAITS[-1])
    assert list(found) == [0, 16, 15, 14, 13, 12, 11, 11, 10, 9]


def test_a_page_with_a_long_list_is_further_behind_with_each_touch_unless_the_wait_covers_the_list():
    tuples = 10
    over_and_over = touches(50 * [3], 50 * [tuples])
    step = MODEL.alone + tuples - WAITS[0]
    assert step == 5
    assert list(MODEL.behind(over_and_over, WAITS[0])) == list(range(0, 50 * step, step))
    assert not MODEL.behind(over_and_over, MODEL.alone + tuples).any()
    assert MODEL.behind(over_and_over, MODEL.alone + tuples - 1)[-1] == 49


def test_lists_are_those_of_the_load_process():
    params, count = MODEL.config.params, 2000
    print("seed", SEED)
    rng = np.random.default_rng(SEED)
    keys, draws = rng.integers(params.capacity, size=count), rng.integers(params.pages, size=(count, 2))
    home = rng.integers(params.pages, size=params.capacity)
    load = np.bincount(home, minlength=params.pages)
    pages, waiting = touched(keys, draws[:, 1], home.copy(), load.copy(), params.page_slots)

    keys, draws, load, home = (array.astype(np.int32) for array in (keys, draws, load, home))
    placed, inside = home[:, None].copy(), np.minimum(load, params.page_slots).astype(np.int32)
    kinds, counters, series = (
        np.full(count, Kind.PUT, np.int8),
        np.zeros(COUNTERS, np.int64),
        np.zeros((0, 3), np.int32),
    )
    counters[LIVE] = params.capacity
    sizes, indices = (params.capacity, 0, params.page_slots), np.array(params.line_indices, np.int32)
    for i in range(count):
        page = home[keys[i]]
        assert (pages[i], waiting[i]) == (page, load[page] - inside[page])
        one = slice(i, i + 1)
        run(kinds[one], keys[one], draws[one], *sizes, indices, placed, home, load, inside, counters, series)
    assert waiting.max() > 5


def test_the_promise_is_what_the_bound_says():
    config = MODEL.config
    merging, early = Work(config.params, config.lanes, config.layouts).merging, 7 / 8
    for cycles in BEHIND:
        least = most_behind(np.zeros_like(TILTS), [merging], 39 / 8, MODEL.promised(cycles))
        assert cycles - early - 0.02 < least <= cycles - early


def test_more_are_behind_than_promised_after_l_and_an_interval_and_not_after_the_wait_of_the_engine():
    operations = 2_000_000
    print("seed", SEED)
    found = MODEL.count("back", operations, np.random.default_rng(SEED))
    allowed = [operations * 2 ** -MODEL.promised(cycles) for cycles in BEHIND]
    assert WAITS[0] == 36
    assert WAITS[-1] == MODEL.config.follow_cycles
    assert BEHIND[1] == 40
    assert found[0][1] > 20 * allowed[1]
    assert all(found[-1] <= allowed)


def test_the_table_has_a_line_for_the_bound_and_for_each_wait_of_each_workload(capsys):
    main(["--keys", "64", "--operations", "2000"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 3 + len(WORKLOADS) * len(WAITS)
    assert lines[2] == "| the bound, any | | 2^-8.5 | 2^-22.5 | 2^-36.8 |"
    assert lines[-1] == "| one key | 98 | none | none | none |"


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--keys", "1"], "a draw from a single page is no draw"), (["--operations", "0"], "it must be positive")],
)
def test_options_that_are_wrong_are_refused_with_a_sentence(words, message, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert message in capsys.readouterr().err
