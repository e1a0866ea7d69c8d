"""Plans that are refused, and what their refusals say."""

import re

import pytest

from omap.errors import PlanError
from omap.sizing.planner import plan


def refused(message, **arguments):
    """Return the whole refusal of a plan, in which a message must stand."""
    with pytest.raises(PlanError) as raised:
        plan(**arguments)
    assert message in str(raised.value), str(raised.value)
    return str(raised.value)


def told(message):
    """Return about how many keys fit, as a refusal says."""
    return int(re.search(r"about ([\d,]+) (?:such )?keys fit: give fewer keys", message)[1].replace(",", ""))
