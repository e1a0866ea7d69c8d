"""One suite over all back ends: every answer equals a dict's, and each step shows the host what the rule promises."""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from omap.operations import Kind, Operation
from omap.params import Rule
from tests.support.host import transports
from tests.support.maps import driven, reference, rtl
from tests.support.omap_maps import PRESETS, RULES
from tests.support.oracle import expected
from tests.support.rtl.engines import TIGHT, engine


def check_traffic(params, trace, operations):
    """Every operation reads each page that it touches and writes it back before the next. The rule says how many."""
    assert trace.operations == operations
    assert (trace.operation >= 0).all()
    assert (trace.length == params.page_bytes).all()
    assert (trace.address % np.uint64(max(params.page_bytes, 1)) == 0).all()
    reads, writes = trace.address[0::2], trace.address[1::2]
    assert not trace.write[0::2].any()
    assert trace.write[1::2].all()
    assert (reads == writes).all()
    touches = np.bincount(trace.operation[0::2], minlength=operations)
    if params.rule is Rule.ONE_CHOICE:
        assert (touches == 1).all()
    elif params.rule is Rule.TWO_CHOICE:  # the bins are distinct; bins in HBM do not show
        assert (touches >= max(0, 2 - params.hbm_bins)).all()
        assert (touches <= 2).all()
        for operation in np.flatnonzero(touches == 2):
            one, other = reads[trace.operation[0::2] == operation]
            assert one != other
    else:
        assert not len(trace)


def machine(make):
    class Machine(RuleBasedStateMachine):
        subject = None

        @initialize()
        def start(self):
            self.subject = make()
            self.map, self.observer = self.subject.map, self.subject.observer
            self.params = self.map.params
            self.oracle = {}

        def teardown(self):
            if self.subject is not None:
                self.subject.close()

        def key(self, number):  # few keys, so that they repeat; some keys are all zeros
            return number.to_bytes(self.params.key_bytes, "big")

        def value(self, number):
            return number.to_bytes(2, "big").rjust(self.params.value_bytes, b"\0")[-self.params.value_bytes :]

        def run(self, operations):
            self.observer.clear()
            batch = [Operation(kind, self.key(k), self.value(v)) for kind, k, v in operations]
            answers = [expected(self.oracle, self.params.capacity, operation) for operation in batch]
            assert self.map.execute(batch) == answers
            check_traffic(self.params, self.observer.trace(), len(batch))

        @rule(kind=st.sampled_from(Kind), key=st.integers(0, 59), value=st.integers(0, 999))
        def one(self, kind, key, value):
            self.run([(kind, key, value)])

        @rule(
            batch=st.lists(st.tuples(st.sampled_from(Kind), st.integers(0, 59), st.integers(0, 999)), max_size=40),
        )
        def many(self, batch):
            self.run(batch)

        @rule(key=st.integers(0, 59), times=st.integers(2, 12))
        def hammer(self, key, times):
            self.run([(Kind.GET, key, 0)] * times)

        @rule(first=st.integers(0, 59), count=st.integers(1, 60))
        def fill(self, first, count):
            self.run([(Kind.PUT, (first + step) % 60, step) for step in range(count)])

        @rule(first=st.integers(0, 59), count=st.integers(1, 60), data=st.data())
        def bulk(self, first, count, data):
            keys = [self.key((first + step) % 60) for step in range(count)]
            keys = [key for key in keys if key not in self.oracle][: self.params.capacity - len(self.oracle)]
            self.observer.clear()
            self.map.bulk_load(keys, [self.value(count)] * len(keys))
            self.oracle.update((key, self.value(count)) for key in keys)
            trace = self.observer.trace()
            if not self.subject.scans:  # every key is looked up, and then put
                check_traffic(self.params, trace, 2 * len(keys))
                return
            assert (trace.operation == -2).all()
            assert trace.address[0::2].tolist() == [n * self.params.page_bytes for n in range(self.params.pages)]

        @rule(key=st.integers(0, 59), value=st.integers(0, 999))
        def as_a_mapping(self, key, value):
            key, value = self.key(key), self.value(value)
            assert (key in self.map) == (key in self.oracle)
            if key in self.oracle:
                assert self.map[key] == self.oracle.pop(key)
                del self.map[key]
            else:
                with pytest.raises(KeyError, match="not in the map"):
                    self.map[key]
                if len(self.oracle) < self.params.capacity:
                    self.oracle[key] = value
                    self.map[key] = value

        @rule()
        def format(self):
            self.map.format()
            self.oracle.clear()

        @invariant()
        def equals_the_dict(self):
            assert len(self.map) == len(self.oracle)
            self.subject.check(self.oracle)

    return Machine


def run_machine(make, *, examples, steps):
    run_state_machine_as_test(
        machine(make),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


@pytest.mark.parametrize("placement", RULES)
@pytest.mark.parametrize("name", PRESETS)
def test_map_equals_a_dict(name, placement):
    run_machine(lambda: reference(name, placement), examples=40, steps=25)


def test_the_accelerator_equals_a_dict_and_the_reference():
    engine(TIGHT)  # compiles first, so that an error of the compiler is not Hypothesis's
    run_machine(rtl, examples=4, steps=12)


@pytest.mark.long
def test_the_accelerator_equals_a_dict_and_the_reference_for_long():
    engine(TIGHT)
    run_machine(rtl, examples=60, steps=30)


@pytest.mark.parametrize("name", ["model", "xrt", "vfio"])
def test_a_device_model_behind_its_driver_equals_a_dict(name):
    run_machine(lambda: driven(name), examples=15, steps=20)


@pytest.mark.long
@pytest.mark.parametrize("name", transports.TOPS)
def test_a_top_behind_its_driver_equals_a_dict(name):
    driven(name).close()  # compiles first, so that an error of the compiler is not Hypothesis's
    run_machine(lambda: driven(name), examples=3, steps=10)


@pytest.mark.long
@pytest.mark.parametrize("name", transports.TOPS)
def test_a_top_behind_its_driver_equals_a_dict_for_long(name):
    driven(name).close()
    run_machine(lambda: driven(name), examples=30, steps=25)
