# amaranth: UnusedElaboratable=no
"""The lineage block: as the reference, with ancestors drawn, and answers in a fixed time."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.lineage import NO_ANCESTOR, NO_MAP, Ancestor
from omap.lineage import Lineage as Reference
from omap.wire import MOST_ANCESTORS
from rtl.rings.lineage import ANCESTOR, Lineage
from sim.bench.amaranth_bench import AmaranthBench
from tests.support.rtl.session_ends import number

HANDSHAKE_CYCLES = 50
"""Cycles after which a handshake uses what is kept."""


class Twin:
    """The block and the reference."""

    def __init__(self):
        self.bench, self.reference = AmaranthBench(Lineage()), Reference()

    def pulse(self, name, **values):
        for port, value in values.items():
            self.bench.set(port, value)
        self.bench.set(name, 1)
        self.bench.run(1)
        self.bench.set(name, 0)

    def reset(self):
        self.pulse("reset")
        self.reference = Reference()

    def append(self, ancestors):
        source = self.bench.source("i_ancestor")
        taken = source.transfers
        source.push([{"map_id": number(each.map_id), "kept": each.kept} for each in ancestors])
        self.bench.run(len(ancestors) + 2)
        assert source.transfers == taken + len(ancestors)
        self.reference = Reference((*self.reference.ancestors, *ancestors)[:MOST_ANCESTORS])

    def child(self, ancestor):
        self.pulse("child", map_id=number(ancestor.map_id), operation=ancestor.kept)
        self.reference = self.reference.child(*ancestor)

    def kept(self, map_id):
        self.bench.set("known", number(map_id))
        self.bench.run(Lineage.latency)
        return self.bench.get("kept")

    def ancestors(self):
        """Return what the block says at each index."""
        found = []
        for index in range(MOST_ANCESTORS):
            self.bench.set("index", index)
            self.bench.run(1)
            view = ANCESTOR.from_bits(self.bench.get("ancestor"))
            found.append(Ancestor(view.map_id.to_bytes(16, "little"), view.kept))
        return found

    def check(self, others):
        known = self.reference.ancestors
        assert self.bench.get("count") == len(known)
        assert self.ancestors() == [*known, *[Ancestor(NO_MAP, 0)] * (MOST_ANCESTORS - len(known))]
        for map_id in (*(each.map_id for each in known), *others):
            assert self.kept(map_id) == self.reference.kept(map_id)


@settings(max_examples=10)
@given(
    seed=st.integers(0, 1 << 32),
    actions=st.lists(st.sampled_from(["child", "child", "append", "reset"]), min_size=1, max_size=30),
)
def test_ancestors_equal_the_reference(seed, actions):
    rng, twin = random.Random(seed), Twin()
    ids = [rng.randbytes(16) for _ in range(rng.randint(1, 30))]  # few of them come again, with another number

    def drawn():
        return Ancestor(rng.choice(ids), rng.choice([0, NO_ANCESTOR - 1, rng.getrandbits(64)]))

    for action in actions:
        match action:
            case "child":
                twin.child(drawn())
            case "append":
                twin.append([drawn() for _ in range(rng.randint(0, MOST_ANCESTORS))])
            case "reset":
                twin.reset()
    twin.check([NO_MAP, rng.randbytes(16), ids[0]])


def test_a_map_that_came_twice_is_the_newer_one():
    twin = Twin()
    for kept in (5, 9, 2):
        twin.child(Ancestor(b"\1" * 16, kept))
    twin.append([Ancestor(b"\1" * 16, 77)])
    assert twin.kept(b"\1" * 16) == 2


@pytest.mark.parametrize("wait", range(0, 2 * MOST_ANCESTORS, 5))
def test_an_answer_is_there_when_a_handshake_uses_it(wait):
    """Whenever the question comes, and wherever the ancestor stands."""
    assert Lineage.latency <= HANDSHAKE_CYCLES
    twin = Twin()
    ancestors = [Ancestor(bytes([place + 1]) * 16, 100 + place) for place in range(MOST_ANCESTORS)]
    twin.append(ancestors)
    for ancestor in (ancestors[0], ancestors[7], ancestors[-1], Ancestor(b"\xee" * 16, NO_ANCESTOR)):
        twin.bench.run(wait)
        assert twin.kept(ancestor.map_id) == ancestor.kept
