"""Whatever the buses to host memory and HBM do, the fault is latched and told, and no answer was ever wrong."""

from dataclasses import replace
from functools import partial

import pytest

from omap.operations import Operation
from omap.regmap import Fault, Request, State
from omap.wire import Counter
from sim.device.engine_run import BUFFER_ADDRESS
from sim.models.faults import Fault as Injected
from sim.models.faults import FaultKind
from tests.support.rtl.engine_bench import SETTLED, Twin
from tests.support.rtl.engines import DELETE, PUT, ROOMY, TIGHT
from tests.support.rtl.running import MANY, commands, pages, used

*_, STALL, ERROR, DEAD = FaultKind

OVERDUE = {"limit": 2 * TIGHT.timeout + 4 * SETTLED, "cycles": 4096}
"""How long it takes until a missing answer is noticed at the latest."""
LONG = partial(pytest.param, marks=pytest.mark.long)
NANOSECONDS = 4
"""In a cycle."""

PLACES = {
    "pages": lambda twin: pages(twin),
    "commands": lambda twin: commands(twin),
    "responses": lambda twin: {
        "low": BUFFER_ADDRESS + twin.layout.responses,
        "high": BUFFER_ADDRESS + twin.layout.pages,
    },
    "counters": lambda twin: {"low": BUFFER_ADDRESS, "high": BUFFER_ADDRESS + 0x100},
    "requests": lambda twin: {"low": BUFFER_ADDRESS + Counter.REQUESTS, "high": BUFFER_ADDRESS + Counter.REQUESTS + 8},
}


def send_twice(twin, clients):
    """Send operations in two goes, so that every place is accessed more than once."""
    for _ in range(2):
        twin.send(clients, 5)
        twin.run.step(SETTLED)


HOST = [
    ("pages", False),
    ("pages", True),
    ("commands", False),
    ("responses", True),
    ("counters", False),
    ("counters", True),
    ("requests", False),
]


@pytest.mark.sec_cm("ENGINE.FAULT.LATCH")
@pytest.mark.parametrize(("place", "write"), HOST)
def test_an_error_of_host_memory_latches(place, write):
    twin, clients = used(7)
    twin.run.host.add_fault(Injected(kind=ERROR, write=write, **PLACES[place](twin), skip=1))
    twin.torn = place == "responses"
    send_twice(twin, clients)
    twin.latched(Fault.BUS)


@pytest.mark.parametrize(
    ("place", "write"), [("pages", False), LONG("pages", True), LONG("counters", False), LONG("responses", True)]
)
def test_host_memory_that_answers_no_more_latches(place, write):
    twin, clients = used(8)
    twin.run.host.add_fault(Injected(kind=DEAD, write=write, **PLACES[place](twin), skip=1))
    send_twice(twin, clients)
    twin.latched(Fault.BUS, **OVERDUE, silent=True)


@pytest.mark.long
@pytest.mark.parametrize(("place", "write"), [("pages", True), ("pages", False), ("commands", False)])
def test_an_answer_that_comes_after_its_time_latches_and_does_no_harm(place, write):
    twin, clients = used(9)
    late = 2 * TIGHT.timeout + 2 * SETTLED
    twin.run.host.add_fault(
        Injected(kind=STALL, write=write, **PLACES[place](twin), skip=1, argument=late * NANOSECONDS)
    )
    send_twice(twin, clients)
    twin.latched(Fault.BUS, **OVERDUE, after=late)


STRUCTURES = [name for name in TIGHT.channels if name != "free lists"]  # so few indices never leave the chip


def hbm(twin, structure):
    first = twin.config.first_channel[structure]
    return twin.run.hbm[first : first + twin.config.channels[structure]]


@pytest.mark.sec_cm("ENGINE.FAULT.LATCH")
@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_an_error_of_hbm_latches(structure, write):
    twin, clients = used(10)
    for port in hbm(twin, structure):
        port.add_fault(Injected(kind=ERROR, write=write))
    twin.send(clients, MANY, keys=60)
    twin.latched(Fault.BUS)


@pytest.mark.long
@pytest.mark.sec_cm("ENGINE.FAULT.LATCH")
@pytest.mark.parametrize("write", [False, True])
def test_an_error_of_the_free_lists_latches(write):
    """Tuples of new keys wait until the keys are deleted: more slots are free then than stay on chip. And so few are
    there that those are used again."""
    config = replace(ROOMY, params=replace(ROOMY.params, capacity=200, waiting_slots=200))
    twin = Twin(18, config=config)
    client = twin.opened()
    for port in hbm(twin, "free lists"):
        port.add_fault(Injected(kind=ERROR, write=write))
    keys = [number.to_bytes(4, "little") for number in range(160)]
    script = [Operation(kind, key, b"data" if kind == PUT else b"") for kind in (PUT, DELETE, PUT) for key in keys]
    for first in range(0, len(script), MANY):
        twin.feed(client.seal(script[first : first + MANY]))
        twin.run.until(lambda: twin.state is State.FAULT or twin.all_answered, limit=40000)
        if twin.state is State.FAULT:
            break
        twin.take()
    twin.latched(Fault.BUS)


@pytest.mark.parametrize("structure", ["slots", *map(LONG, (name for name in STRUCTURES if name != "slots"))])
def test_hbm_that_answers_no_more_latches(structure):
    twin, clients = used(11)
    for port in hbm(twin, structure):
        port.add_fault(Injected(kind=DEAD))
    twin.send(clients, MANY, keys=60)
    twin.latched(Fault.BUS, **OVERDUE)


@pytest.mark.parametrize("structure", ["table 0", LONG("descriptors")])
def test_hbm_that_is_dead_from_the_beginning_latches_at_the_format(structure):
    twin = Twin(12, formatted=False)
    for port in hbm(twin, structure):
        port.add_fault(Injected(kind=DEAD, write=True))
    twin.run.write("REQUEST", Request.FORMAT)
    twin.latched(Fault.BUS, **OVERDUE)
    assert twin.run.read("REQUEST") == Request.NONE
