# amaranth: UnusedElaboratable=no
"""Uses take their turns as the bins stand at that time, whatever happens to a bin in the cycles around its turn."""

import random

from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.presets import preset
from rtl.map.bin_shapes import BinShapes, Use
from rtl.map.bin_use import BinUse
from rtl.map.page import Verdict

ENTRIES, MOST = 3, 60
SHAPES = BinShapes(preset("TINY"), ENTRIES, MOST)
FULL = (1 << SHAPES.params.page_slots) - 1
EVENTS = ("order", "head", "filled", "opens", "flush", "ends", "release", "append", "verdict", "occupancy", "waiting")
OFTEN = {"order": [0.05, 0.1, 0.2, 1.0], "ends": [0.05, 0.1, 0.3, 1.0]}
"""Uses as rare as that leave bins time to be flushed, and flushes as long as that meet uses."""


class Bin:
    """What HBM, the way there and back, and :class:`rtl.map.bin_standing.Standing` say of one entry."""

    def __init__(self):
        self.row = {"version": 0, "occupancy": 0, "count": 0}
        self.used = self.parsed = self.complete = self.opened = self.changed = False
        self.uses = 0  # that were announced and have not ended


class Bins:
    """Bins to which something happens as often as drawn, one event of each kind in a cycle."""

    def __init__(self, rng, often):
        self.rng, self.often, self.dut = rng, often, BinUse(SHAPES)
        self.bins = [Bin() for _ in range(ENTRIES)]
        self.uses, self.untold = [], []  # uses in order; touches of which nothing was told yet, in order
        self.flushed, self.over = None, False  # the bin that is on its way back, and whether this is its last cycle
        self.touches = self.ended = self.tuples = self.kept = self.owed = self.unwritten = 0

    def happens(self, event):
        return self.rng.random() < self.often[event]

    def one(self, event, fits):
        """Return a bin to which something happens, if there is any."""
        found = [k for k, bin_ in enumerate(self.bins) if fits(bin_)]
        return self.rng.choice(found) if found and self.happens(event) else None

    def drive(self, ctx):
        """Let things happen in this cycle, of which the bins know in the next one."""
        dut, bins, rng = self.dut, self.bins, self.rng
        ctx.set(dut.i_append.valid, self.happens("append"))
        ctx.set(dut.i_append.p, {"present": rng.random() < 0.7, "entry": 0})
        ctx.set(dut.i_occupancy.valid, self.happens("occupancy"))
        ctx.set(dut.i_occupancy.p, rng.randint(0, FULL))
        ctx.set(dut.i_verdict.valid, self.owed > 0 and self.happens("verdict"))
        ctx.set(dut.i_verdict.p, rng.choice(list(Verdict)))
        ctx.set(dut.o_waiting.ready, self.happens("waiting"))
        ctx.set(dut.i_slot_written.valid, self.unwritten > 0)
        for port in (dut.i_free_slot.valid, dut.o_slot_write.ready, dut.o_freed_slot.ready):
            ctx.set(port, 1)
        ctx.set(dut.next_row, bins[ctx.get(dut.next_id) % ENTRIES].row)
        for name in ("complete", "opened"):
            ctx.set(getattr(dut, name), sum(getattr(bin_, name) << k for k, bin_ in enumerate(bins)))

        self.order = rng.randrange(ENTRIES), rng.choice(list(Use))
        ctx.set(dut.i_order.valid, self.happens("order"))
        ctx.set(dut.i_order.p, {"id": self.order[0], "use": self.order[1]})
        self.head = self.filled = None
        if not ctx.get(dut.claims_row):
            self.head = self.one("head", lambda bin_: bin_.used and not bin_.parsed)
        if not ctx.get(dut.claims_item):
            self.filled = self.one("filled", lambda bin_: bin_.parsed and not bin_.complete)
        row = {"version": rng.getrandbits(48), "occupancy": rng.randint(0, FULL), "count": rng.choice([0, 0, 1, 3])}
        self.row, bin_ = row, bins[self.untold[0]] if self.untold else None
        tells = bin_ is not None and bin_.parsed and not bin_.opened and self.happens("opens")
        self.told = self.untold[0] if tells else None
        self.begins = self.one("flush", lambda bin_: bin_.complete and bin_.changed and not bin_.uses)
        self.over = self.flushed is None or self.happens("ends")
        flushed = None if self.over else self.flushed
        for port, number in (
            (dut.head, self.head),
            (dut.filled, self.filled),
            (dut.opens, self.told),
            (dut.flushed, flushed),
        ):
            ctx.set(port.valid, number is not None)
            ctx.set(port.id, number or 0)
        ctx.set(dut.head.row, row)

    def check(self, ctx):
        """What the block does must be right as the bins stand now; what it did shows in the next cycle."""
        dut, id_ = self.dut, ctx.get(self.dut.id)
        acts = {name: ctx.get(getattr(dut, name)) for name in ("touched", "joined", "done")}
        if acts["done"] or acts["touched"] or acts["joined"] or ctx.get(dut.o_waiting.valid):
            number, use = self.uses[0]
            bin_ = self.bins[number]
            assert id_ == number
            assert bin_.complete
            assert self.flushed != number
            assert bin_.opened or use is Use.APPEND
        if ctx.get(dut.o_waiting.valid) and ctx.get(dut.o_waiting.ready):
            assert ctx.get(dut.o_waiting.p.end) == (self.tuples == bin_.row["count"])
            if not ctx.get(dut.o_waiting.p.end):
                self.tuples, self.owed = self.tuples + 1, self.owed + 1
        if ctx.get(dut.i_verdict.valid) and ctx.get(dut.i_verdict.ready):
            self.owed -= 1
            self.kept += ctx.get(dut.i_verdict.p) is Verdict.KEPT
        new = {name: ctx.get(dut.new_row[name]) for name in SHAPES.row.members}
        if acts["joined"]:
            assert new == bin_.row | {"count": bin_.row["count"] + 1}
        if acts["touched"]:
            self.touches += 1
            occupancy = ctx.get(dut.i_occupancy.p)
            assert new == {"version": self.touches, "occupancy": occupancy, "count": self.kept}
        return acts, new

    def step(self, ctx):
        """Have the bins know of what happened."""
        acts, new = self.check(ctx)
        dut, bins = self.dut, self.bins
        flushed = None if self.flushed is None else bins[self.flushed]
        released = self.one(
            "release", lambda bin_: bin_.complete and not bin_.changed and not bin_.uses and bin_ is not flushed
        )
        ordered = ctx.get(dut.i_order.valid) and ctx.get(dut.i_order.ready)
        self.unwritten += acts["joined"] - (ctx.get(dut.i_slot_written.valid) and ctx.get(dut.i_slot_written.ready))
        if acts["done"]:
            number, use = self.uses.pop(0)
            bins[number].uses -= 1
            self.ended, self.tuples, self.kept = self.ended + 1, 0, 0
            assert ctx.get(dut.last) == (not bins[number].uses)
        if self.over:
            self.flushed = self.begins
            if self.begins is not None:
                bins[self.begins].changed = False
        if acts["touched"] or acts["joined"]:
            bins[number].row, bins[number].changed = new, True
            bins[number].opened &= not acts["touched"]
        if self.head is not None:
            bin_ = bins[self.head]
            bin_.row, bin_.parsed, bin_.complete = self.row, True, self.row["count"] == 0
        if self.filled is not None:
            bins[self.filled].complete = True
        if self.told is not None:
            bins[self.untold.pop(0)].opened = True
        if ordered:
            number, use = self.order
            bins[number].used = True
            bins[number].uses += 1
            self.uses.append(self.order)
            self.untold += [number] if use is Use.TOUCH else []
        elif released is not None:
            bins[released] = Bin()


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    often=st.fixed_dictionaries({event: st.sampled_from(OFTEN.get(event, [0.2, 0.5, 0.9, 1.0])) for event in EVENTS}),
)
def test_every_use_finds_its_bin_as_it_stands(seed, often):
    """A bin is looked up before its turn; what happens to it in that cycle, and then, is not missed."""
    bins = Bins(random.Random(seed), often)

    async def bench(ctx):
        cycle = 0
        while bins.ended < 40:
            cycle += 1
            assert cycle < 4000, "stuck"
            bins.drive(ctx)
            bins.step(ctx)
            await ctx.tick()

    simulator = Simulator(bins.dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
