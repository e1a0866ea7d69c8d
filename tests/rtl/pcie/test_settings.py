"""What the host sets in our configuration space becomes limits of our requests."""

from functools import cache

import pytest

from omap.errors import ParamsError
from rtl.pcie.settings import DEVICE_CONTROL, EXTENDED_TAG, LinkSettings
from sim.bench.compiled import Design

EVERY = 40


@cache
def design():
    return Design(LinkSettings(every=EVERY))


@pytest.mark.parametrize("field", range(8))
def test_limits_are_those_of_the_fields(field):
    bench = design().bench()
    assert (bench.get("write_limit"), bench.get("read_limit")) == (2, 2)
    bench.set("max_payload", field % 4)
    bench.set("max_read_request", field)
    bench.run(2)
    assert bench.get("write_limit") * 64 == 128 << field % 4
    assert bench.get("read_limit") * 64 == (128 << field if field < 6 else 128)  # two values are reserved


def test_the_bit_for_longer_tags_is_read_again_and_again_and_nothing_else_is():
    bench = design().bench()
    assert not bench.get("extended")
    for control in (0xFFFF_FFFF, 0xFFFF_FFFF ^ 1 << EXTENDED_TAG, 1 << EXTENDED_TAG, 0):
        bench.run_until(limit=2 * EVERY, values={"read": 1})
        assert bench.get("address") == DEVICE_CONTROL
        bench.run(7)
        assert bench.get("read")
        bench.set("data", control)
        bench.set("done", 1)
        bench.run(1)
        bench.set("done", 0)
        bench.set("data", 0xFFFF_FFFF ^ control)
        bench.run(1)
        assert not bench.get("read")
        assert bench.get("extended") == control >> EXTENDED_TAG & 1


def test_an_impossible_parameter_is_refused():
    with pytest.raises(ParamsError, match="every is 0; it must be a whole number from 1 to 4294967296"):
        LinkSettings(every=0)
