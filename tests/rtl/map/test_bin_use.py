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
        self.count, self.tuples = 0, []  # as the row has it, and as they are with all that has been judged and joined
        self.used = self.parsed = self.complete = self.opened = self.changed = self.wanted = False
        self.uses = []  # that were announced and have not ended, in order


class Announced:
    """One use, and how many tuples its bin has behind it, once this is known."""

    def __init__(self, number, use):
        self.number, self.use, self.count = number, use, None


class Bins:
    """Bins to which something happens as often as drawn, one event of each kind in a cycle."""

    def __init__(self, rng, often):
        self.rng, self.often, self.dut = rng, often, BinUse(SHAPES)
        self.bins = [Bin() for _ in range(ENTRIES)]
        self.memory, self.read, self.drawn = {}, (0, 0), 0
        # Touches to be told, and to be offered; those whose occupancy is awaited; appends whose tuple is awaited.
        self.untold, self.touches, self.leaving, self.appends = [], [], [], []
        self.flushed, self.over = None, False  # the bin that is on its way back, and whether this is its last cycle
        self.ended = self.kept = self.owed = self.unwritten = 0
        self.freed = []

    def happens(self, event):
        return self.rng.random() < self.often[event]

    def one(self, event, fits):
        """Return a bin to which something happens, if there is any."""
        found = [k for k, bin_ in enumerate(self.bins) if fits(bin_)]
        return self.rng.choice(found) if found and self.happens(event) else None

    def fresh(self):
        """Return a tuple and a slot that are like no other."""
        self.drawn += 1
        return self.drawn, self.drawn % (1 << SHAPES.slot_bits)

    def drive(self, ctx):
        """Let things happen in this cycle, of which the bins know in the next one."""
        dut, bins, rng = self.dut, self.bins, self.rng
        self.item = self.fresh()
        ctx.set(dut.i_append.valid, self.happens("append"))
        ctx.set(dut.i_append.p, {"present": rng.random() < 0.7, "entry": self.item[0]})
        ctx.set(dut.i_free_slot.p, self.item[1])
        ctx.set(dut.i_occupancy.valid, self.happens("occupancy"))
        ctx.set(dut.i_occupancy.p, rng.randint(0, FULL))
        ctx.set(dut.i_verdict.valid, self.owed > 0 and self.happens("verdict"))
        ctx.set(dut.i_verdict.p, rng.choice(list(Verdict)))
        ctx.set(dut.o_waiting.ready, self.happens("waiting"))
        ctx.set(dut.i_slot_written.valid, self.unwritten > 0)
        for port in (dut.i_free_slot.valid, dut.o_slot_write.ready, dut.o_freed_slot.ready):
            ctx.set(port, 1)
        entry, slot = self.memory.get(self.read, (0, 0))
        ctx.set(dut.item, {"entry": entry, "slot": slot})
        ctx.set(dut.touch_count, bins[ctx.get(dut.touch_id) % ENTRIES].count)
        ctx.set(dut.append_count, bins[ctx.get(dut.append_id) % ENTRIES].count)
        ctx.set(dut.usable, sum((bin_.complete and bin_.opened) << k for k, bin_ in enumerate(bins)))
        ctx.set(dut.parsed, sum(bin_.parsed << k for k, bin_ in enumerate(bins)))

        self.order = Announced(rng.randrange(ENTRIES), rng.choice(list(Use)))
        number, fresh = self.order.number, not bins[self.order.number].used
        self.ordered = self.happens("order") and ctx.get(dut.i_announced.ready)
        ctx.set(dut.i_announced.valid, self.ordered)
        ctx.set(dut.i_announced.p, {"id": number, "use": self.order.use, "fresh": fresh})
        ctx.set(dut.allocated, (self.ordered and fresh) << number)
        self.head = self.one("head", lambda bin_: bin_.used and not bin_.parsed)
        self.filled = self.one("filled", lambda bin_: bin_.parsed and not bin_.complete)
        bin_ = bins[self.untold[0]] if self.untold else None
        tells = bin_ is not None and bin_.parsed and not bin_.opened and self.happens("opens")
        self.told = self.untold[0] if tells else None
        self.begins = self.one("flush", lambda bin_: bin_.complete and bin_.changed and not bin_.wanted)
        self.over = self.flushed is None or self.happens("ends")
        ctx.set(dut.kept.valid, not self.over)
        ctx.set(dut.kept.id, self.flushed or 0)

    def went(self, ctx, port):
        return ctx.get(port.valid) and ctx.get(port.ready)

    def check_turn(self, use, *, but=0):
        """All uses of its bin before it have ended, but for one whose tuple is on its way."""
        bin_ = self.bins[use.number]
        before = bin_.uses[: bin_.uses.index(use)]
        assert self.flushed != use.number
        assert len(before) <= but
        assert all(one.use is Use.APPEND for one in before)
        return before

    def touch(self, ctx):
        """Tuples are offered as they are, and end when all are judged that joined before."""
        dut = self.dut
        verdict = ctx.get(dut.i_verdict.p)
        offers = ctx.get(dut.o_waiting.valid)
        if offers:
            use = self.touches[0]
            bin_, before = self.bins[use.number], self.check_turn(use, but=1)
            assert bin_.complete
            assert bin_.opened
            offered = ctx.get(dut.o_waiting.p)
            if offered.end:
                assert self.kept == len(bin_.tuples)
                assert all(one.count is not None for one in before)
            else:
                assert offered.entry == bin_.tuples[self.kept][0]
            if ctx.get(dut.o_waiting.ready):
                self.owed += not offered.end
                if offered.end:
                    use.count, self.kept = self.kept, 0
                    self.leaving.append(self.touches.pop(0))
        if self.went(ctx, dut.i_verdict):
            self.owed -= 1
            bin_ = self.bins[self.touches[0].number]
            if verdict is Verdict.KEPT:
                self.kept += 1
            else:
                self.freed.append(bin_.tuples.pop(self.kept)[1])

    def append(self, ctx):
        """A tuple joins a bin of which the row is here, behind all others."""
        if self.went(ctx, self.dut.i_append):
            use = self.appends.pop(0)
            bin_ = self.bins[use.number]
            self.check_turn(use)
            assert bin_.parsed
            joins = ctx.get(self.dut.i_append.p.present)
            assert joins == self.went(ctx, self.dut.o_slot_write) == self.went(ctx, self.dut.i_free_slot)
            use.count, use.changed = bin_.count + joins, joins
            self.unwritten += joins
            if joins:
                bin_.tuples.append(self.item)

    def step(self, ctx):
        """Have the bins know of what happened."""
        dut, bins = self.dut, self.bins
        self.append(ctx)
        self.touch(ctx)
        touched = ctx.get(dut.touched)
        if touched:
            use = self.leaving.pop(0)
            use.changed = True
            self.check_turn(use, but=1)
            told = ctx.get(dut.touched_id), ctx.get(dut.occupancy)
            assert told == (use.number, ctx.get(dut.i_occupancy.p))
        ended = ctx.get(dut.ended)
        last = self.end(ctx, ended) if ended.valid else None
        if self.went(ctx, dut.o_freed_slot):
            assert ctx.get(dut.o_freed_slot.p) == self.freed.pop(0)
        self.unwritten -= self.went(ctx, dut.i_slot_written)
        at = ctx.get(dut.read)
        self.read = (at.id, at.place)
        if ctx.get(dut.write):
            place, item = ctx.get(dut.write_place), ctx.get(dut.write_item)
            self.written = (place.id, place.place), (item.entry, item.slot)
            self.memory[self.written[0]] = self.written[1]

        released = self.one("release", self.may_go)
        if self.over:
            self.flushed = self.begins
            if self.begins is not None:
                bins[self.begins].changed = False
        if touched:
            bins[use.number].opened = False
        if last is not None:
            bins[last].wanted = False
        self.arrive()
        if self.ordered:
            bin_ = bins[self.order.number]
            bin_.used = bin_.wanted = True
            bin_.uses.append(self.order)
            self.untold += [self.order.number] if self.order.use is Use.TOUCH else []
            (self.touches if self.order.use is Use.TOUCH else self.appends).append(self.order)
        if released is not None and not (self.ordered and released == self.order.number):
            bins[released] = Bin()

    def may_go(self, bin_):
        going = self.flushed is not None and bin_ is self.bins[self.flushed]
        return bin_.complete and not bin_.changed and not bin_.wanted and not going

    def end(self, ctx, ended):
        """A use ends after all others of its bin; return the bin if none waits for it any longer."""
        bin_ = self.bins[ended.id]
        use = bin_.uses.pop(0)
        assert use.count is not None
        assert ended.changed == use.changed
        assert ctx.get(self.dut.ended_hot) == 1 << ended.id
        assert ctx.get(self.dut.changed_hot) == use.changed << ended.id
        assert ctx.get(self.dut.last) == (not bin_.uses)
        self.ended += 1
        if use.changed:
            assert ended.count == use.count
            bin_.count, bin_.changed = use.count, True
        return None if bin_.uses else ended.id

    def arrive(self):
        """Have the bins know of what came from HBM."""
        if self.head is not None:
            bin_ = self.bins[self.head]
            bin_.tuples = [self.fresh() for _ in range(self.rng.choice([0, 0, 1, 3]))]
            bin_.count, bin_.parsed, bin_.complete = len(bin_.tuples), True, not bin_.tuples
            # Not here yet, but no use may look at them before; tuples that join come behind.
            self.memory |= {(self.head, place): item for place, item in enumerate(bin_.tuples)}
        if self.filled is not None:
            self.bins[self.filled].complete = True
        if self.told is not None:
            self.bins[self.untold.pop(0)].opened = True


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
