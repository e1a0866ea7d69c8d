# amaranth: UnusedElaboratable=no
"""What the engine is doing follows from requests and from what its blocks say."""

import pytest

from omap.regmap import Fault, Request, State
from rtl.rings.control import Control
from sim.bench.amaranth_bench import AmaranthBench

ENDS = {"clear": "formatted", "begin": "begun", "export": "exported"}


class Bench:
    """Control, with blocks around it that do at once what they are told, but for those in ``slow``."""

    def __init__(self, journal=True):
        control = Control(journal=journal)
        self.bench = AmaranthBench(control)
        self.slow, self.log = set(), []
        for name in ("shown", "idle"):
            self.bench.set(name, 1)
        if journal:
            self.bench.set("told", 1)
        self.journal, self.ends = journal, ENDS if journal else {"clear": "formatted"}
        told = ["clear", "begin", "export", "drop"] if journal else ["clear"]

        async def note(ctx):
            async for _, _, *values in ctx.tick().sample(*(getattr(control, name) for name in told)):
                self.log.append([name for name, value in zip(told, values, strict=True) if value])

        self.bench.simulator.add_process(note)
        self.run(1)

    def ask(self, request, way="register"):
        self.bench.source(f"i_{way}").push([request])

    def run(self, cycles):
        for _ in range(cycles):
            self.bench.run(1)
            told = self.log[-1]
            if "clear" in told:
                for name in (*self.ends.values(), *(("restored", "failed") if self.journal else ())):
                    self.bench.set(name, 0)
            for begun, done in self.ends.items():
                if begun in told and done not in self.slow:
                    self.bench.set(done, 1)
                elif done == "exported":
                    self.bench.set(done, 0)

    def told(self, name):
        """Return in how many cycles an output was high."""
        return sum(name in told for told in self.log)

    @property
    def done(self):
        """By which way requests were served, since this was last asked."""
        return [way for way in ("twin", "register") for _ in self.bench.sink(f"o_{way}_done").take()]

    @property
    def state(self):
        return State(self.bench.get("state"))

    @property
    def serves(self):
        return bool(self.bench.get("serve"))

    def request(self, request, way="register"):
        self.ask(request, way)
        self.run(20)
        assert self.done == [way]


def test_without_a_journal_only_format_and_stop_do_anything():
    bench = Bench(journal=False)
    for request in (Request.EXPORT, Request.RESTORE, 200):
        bench.request(request)
        assert bench.state is State.IDLE
    bench.request(Request.FORMAT, "twin")
    assert (bench.state, bench.serves) == (State.READY, True)
    bench.request(Request.STOP)
    assert (bench.state, bench.serves, bench.bench.get("erase")) == (State.STOPPED, False, 1)
    bench.request(Request.FORMAT)
    assert bench.state is State.STOPPED


def test_a_format_ends_when_the_journal_has_begun():
    bench = Bench()
    bench.slow.add("begun")
    bench.ask(Request.FORMAT)
    bench.run(50)
    assert (bench.state, bench.serves, bench.done) == (State.FORMATTING, False, [])
    bench.bench.set("told", 0)
    bench.bench.set("begun", 1)
    bench.run(20)
    assert (bench.state, bench.serves, bench.done) == (State.FORMATTING, False, [])
    bench.bench.set("told", 1)
    bench.run(4)
    assert (bench.state, bench.serves, bench.done) == (State.READY, True, ["register"])


def test_an_export_waits_until_nothing_is_under_way():
    bench = Bench()
    bench.request(Request.EXPORT)
    assert bench.state is State.IDLE
    bench.request(Request.FORMAT)
    bench.bench.set("idle", 0)
    bench.ask(Request.EXPORT)
    bench.run(30)
    assert (bench.state, bench.serves) == (State.EXPORTING, False)
    assert not bench.told("export")
    bench.bench.set("told", 0)
    bench.bench.set("idle", 1)
    bench.run(20)
    assert bench.told("export") == 1
    assert (bench.state, bench.serves, bench.done) == (State.EXPORTING, False, [])
    bench.bench.set("told", 1)
    bench.run(5)
    assert (bench.state, bench.done) == (State.READY, ["register"])


@pytest.mark.sec_cm("RESTORES.FAIL.ERASE")
@pytest.mark.parametrize("way", ["register", "twin"])
def test_a_restore_that_fails_leaves_no_map_and_goes_on_refusing(way):
    bench = Bench()
    for _ in range(2):
        bench.request(Request.RESTORE, way)
        assert (bench.state, bench.serves, bench.bench.get("restore")) == (State.RESTORING, True, 1)
    bench.bench.set("idle", 0)
    bench.bench.set("failed", 1)
    bench.run(20)
    assert (bench.serves, bench.told("drop")) == (False, 0)
    bench.bench.set("idle", 1)
    bench.run(5)
    assert (bench.state, bench.serves, bench.bench.get("restore")) == (State.IDLE, True, 1)
    assert bench.told("drop") == 1
    bench.request(Request.FORMAT)
    assert (bench.state, bench.bench.get("restore")) == (State.READY, 0)


def test_a_restored_map_is_ready_when_its_journal_has_begun():
    bench = Bench()
    bench.slow.add("begun")
    bench.request(Request.RESTORE)
    bench.bench.set("restored", 1)
    bench.run(20)
    assert (bench.state, bench.bench.get("begin")) == (State.RESTORING, 1)
    bench.ask(Request.EXPORT)
    bench.run(20)
    assert (bench.state, bench.done) == (State.RESTORING, [])
    bench.bench.set("idle", 0)
    bench.bench.set("begun", 1)
    bench.run(20)
    assert (bench.state, bench.bench.get("restore")) == (State.READY, 1)  # the answer to END has not left
    bench.bench.set("idle", 1)
    bench.run(20)
    assert (bench.state, bench.bench.get("restore")) == (State.READY, 0)
    assert (bench.done, bench.told("export")) == (["register"], 1)


@pytest.mark.parametrize("what", [Request.FORMAT, Request.EXPORT, Request.RESTORE])
def test_what_waits_for_room_can_be_stopped(what):
    bench = Bench()
    if what == Request.EXPORT:
        bench.request(Request.FORMAT)
    bench.slow |= {"begun", "exported"}
    if what == Request.RESTORE:
        bench.request(what, "twin")
        bench.bench.set("restored", 1)
        wanted = ["register"]
    else:
        bench.ask(what, "twin")
        wanted = ["twin", "register"]
    bench.run(30)
    assert not bench.done
    bench.ask(Request.STOP)
    bench.run(20)
    assert (bench.state, bench.bench.get("erase"), bench.done) == (State.STOPPED, 1, wanted)


@pytest.mark.sec_cm("ENGINE.FAULT.LATCH")
@pytest.mark.parametrize("state", list(State))
def test_a_fault_lasts_whatever_is_going_on(state):
    bench = Bench()
    if state in (State.READY, State.EXPORTING):
        bench.request(Request.FORMAT)
    bench.slow |= {"formatted", "begun", "exported"} - ({"formatted"} if state is not State.FORMATTING else set())
    doing = {
        State.FORMATTING: Request.FORMAT,
        State.EXPORTING: Request.EXPORT,
        State.RESTORING: Request.RESTORE,
        State.STOPPED: Request.STOP,
    }
    if state in doing:
        bench.ask(doing[state])
        bench.run(20)
    fault = Fault.BUS
    bench.bench.set("found", fault)
    bench.run(3)
    bench.bench.set("found", Fault.PAGE_TAG)
    bench.run(20)
    if state is State.STOPPED:
        assert (bench.state, bench.bench.get("fault")) == (State.STOPPED, Fault.NONE)
        return
    for request in Request:
        bench.ask(request)
        bench.run(20)
        assert (bench.state, bench.bench.get("fault")) == (State.FAULT, fault)
        assert (bench.bench.get("erase"), bench.serves) == (1, False)
