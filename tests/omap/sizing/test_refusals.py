"""What the planner says of maps with more keys than indices reach or memories hold."""

import re

import pytest

from omap.errors import PlanError
from omap.sizing.planner import plan
from tests.support.plans import refused, told

GIB = 1 << 30
TABLE = dict(capacity=10**10, key_bytes=8, value_bytes=64, hbm_bytes=16 * GIB)


def fails(message, **wanted):
    return refused(message, **TABLE | wanted)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (dict(rule="one_choice", page_bytes=640), "one_choice: a table of the position map has at most 268,435,456 "),
        (dict(rule="one_choice", prefer="hbm", page_bytes=640), "one_choice: a table of the position map has at "),
        (dict(rule="resident"), "resident: a table of the position map has at most 268,435,456 buckets and "),
        (dict(rule="two_choice"), "two_choice: a table of the position map has at most 268,435,456 buckets and "),
        (dict(capacity=10**12, rule="one_choice", page_bytes=640), "one_choice: a map has at most 2,147,483,648 pages"),
    ],
    ids=str,
)
def test_more_keys_than_indices_reach_are_refused_in_the_same_words(wanted, message):
    refused = fails(message, **wanted)
    needed, more, share = re.search(r"and ([\d,]+) are needed, ([\d,]+) \(([\d.,]+)%\) more; about ", refused).groups()
    bound = re.search(r"at most ([\d,]+) ", refused)[1]
    needed, more, bound = (int(text.replace(",", "")) for text in (needed, more, bound))
    assert needed - bound == more
    assert float(share) == pytest.approx(100 * more / bound, abs=0.1)
    fits = dict(capacity=told(refused))
    assert plan(**TABLE | wanted | fits)  # the memories were looked at, too
    with pytest.raises(PlanError):
        plan(**TABLE | wanted | dict(capacity=fits["capacity"] * 5 // 4))


def test_the_search_for_the_least_hbm_refuses_a_hopeless_map_in_words():
    wanted = dict(capacity=10**9, page_bytes=128, hbm_bytes=GIB, prefer="hbm")
    refused = fails("one_choice: HBM is 1.00 GiB and", **wanted)
    assert plan(**TABLE | wanted | dict(capacity=told(refused)))
