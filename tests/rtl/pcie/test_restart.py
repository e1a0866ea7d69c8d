"""A function-level reset goes its way, whether or not the host still answers what is under way."""

from functools import cache

import pytest

from omap.errors import ParamsError
from rtl.pcie.restart import RESET_CYCLES, Restart
from sim.bench.compiled import Design

PATIENCE = 300
OUTPUTS = ("open_", "card", "link", "done")


@cache
def design():
    return Design(Restart(patience=PATIENCE))


def shown(bench):
    return [name for name in OUTPUTS if bench.get(name)]


@pytest.mark.parametrize("answered", [True, False])
def test_what_has_begun_ends_then_all_is_reset_and_the_block_is_told(answered):
    bench = design().bench()
    assert shown(bench) == ["open_"]
    bench.run(10)
    bench.set("asked", 1)
    bench.run(20)
    assert shown(bench) == []  # closed, and waiting for what has begun
    bench.set("ended", 1)
    bench.run(1)
    bench.set("ended", 0)
    assert shown(bench) == ["card"]
    bench.run(100)
    assert shown(bench) == ["card"]
    if answered:
        bench.set("idle", 1)
        bench.run(1)
        bench.set("idle", 0)
    else:
        bench.run(PATIENCE - 100)
    for _ in range(RESET_CYCLES):
        assert shown(bench) == ["card", "link"]
        bench.run(1)
    assert shown(bench) == ["card", "done"]
    bench.run(1)
    assert shown(bench) == ["card"]
    bench.run(50)
    assert shown(bench) == ["card"]  # until the block has understood
    bench.set("asked", 0)
    bench.run(1)
    assert shown(bench) == ["open_"]


def test_two_in_a_row_have_the_same_patience():
    bench = design().bench()
    bench.set("ended", 1)
    for _ in range(2):
        bench.set("asked", 1)
        bench.run(PATIENCE)
        assert shown(bench) == ["card"]
        bench.run_until(limit=RESET_CYCLES + 5, values={"done": 1})
        bench.set("asked", 0)
        bench.run(5)
        assert shown(bench) == ["open_"]


def test_an_impossible_parameter_is_refused():
    with pytest.raises(ParamsError, match="patience is 0; it must be a whole number from 1 to 4294967296"):
        Restart(patience=0)
