"""A scan between stand-ins for HBM, for the host and for the opening of pages, over a map that is drawn."""

import random
from collections import deque

from amaranth.sim import Simulator

from omap.operations import Kind
from omap.versions import KEPT_BITS
from rtl.constants import LINE_BYTES
from rtl.map.scan import Scan
from rtl.map.waiting import WaitingBins

BASE = 3 << 33


class Contents:
    """A map at rest: pages, descriptors with their chains, and waiting slots, each of them used or not."""

    def __init__(self, params, rng, *, lengths, occupied=0.6, zeros=0.2):
        self.params = params
        size, free = params.tuple_bytes, list(range(params.waiting_slots))
        lines = list(range(params.further_lines))
        rng.shuffle(free)
        rng.shuffle(lines)
        self.rows, self.pages, self.lines, self.page_slots = [], [], {}, []

        def entry():
            return bytes(size) if rng.random() < zeros else rng.randbytes(size)

        for page in range(params.pages):
            occupancy = sum((rng.random() < occupied) << k for k in range(params.page_slots))
            entries = [entry() if occupancy >> k & 1 else bytes(size) for k in range(params.page_slots)]
            self.pages.append(b"".join(entries).ljust(params.plaintext_bytes, b"\0"))
            self.page_slots += zip((occupancy >> k & 1 for k in range(params.page_slots)), entries, strict=True)
            version = rng.getrandbits(KEPT_BITS)
            self.rows.append(version)
            named = [free.pop() for _ in range(lengths[page])]
            self._name(page, version, occupancy, named, lines, rng)
        used = set(range(params.waiting_slots)) - set(free)
        self.slots = [entry() for _ in range(params.waiting_slots)]  # free ones hold what was there before
        self.waiting = [(slot in used, data if slot in used else bytes(size)) for slot, data in enumerate(self.slots)]

    def _name(self, page, version, occupancy, named, lines, rng):
        """Lay out a descriptor; indices and links that do not count are drawn."""
        first, each = self.params.line_indices
        parts = [named[:first], *(named[at : at + each] for at in range(first, len(named), each))]
        links = [lines.pop() for _ in parts[1:]] + [rng.getrandbits(32)]
        for k, part in enumerate(parts):
            size = first if k == 0 else each
            words = part + [rng.getrandbits(32) for _ in range(size - len(part))]
            indices = sum(word << 32 * at for at, word in enumerate(words))
            if k == 0:
                head = version | len(named) << 48 | occupancy << 64 | links[0] << 96
                self.lines[page] = head | indices << 128
            else:
                self.lines[self.params.pages + links[k - 1]] = links[k] | indices << 32

    def expected(self, total):
        """Return all slots as they must leave: kind and tuple."""
        found = [(Kind.PUT if used else Kind.NOP, data) for used, data in self.page_slots + self.waiting]
        return found + [(Kind.NOP, bytes(self.params.tuple_bytes))] * (total - len(found))


class ScanRun:
    """One scan, or more; ``hbm`` and ``host`` return how many cycles the next answer takes."""

    def __init__(self, config, contents, *, hbm=lambda: 30, host=lambda: 60, takes=lambda: True, seed=0):
        self.config, self.contents = config, contents
        self.dut = Scan(config, WaitingBins(config.params, entries=config.bin_entries))
        self.hbm, self.host, self.takes, self.rng = hbm, host, takes, random.Random(seed)
        self.total = self.dut.times.slots
        self.slots, self.events, self.late, self.cycle = [], [], 0, 0
        self.lines, self.reads, self.bursts = [], deque(), []
        self.opening, self.text = deque(), deque()

    def run(self, scans=1, *, quiet=0, limit=400_000):
        """Scan, with HBM at rest ``quiet`` cycles after the begin; returns the slots."""

        async def bench(ctx):
            for _ in range(scans):
                wanted, begun = len(self.slots) + self.total, self.cycle
                while len(self.slots) < wanted or ctx.get(self.dut.busy):
                    assert self.cycle < begun + limit, f"{len(self.slots)} of {wanted} slots"
                    ctx.set(self.dut.scan, self.cycle == begun)
                    ctx.set(self.dut.base, BASE)
                    ctx.set(self.dut.quiet, self.cycle - begun >= quiet)
                    self.drive(ctx)
                    self.step(ctx)
                    await ctx.tick()
                    self.cycle += 1

        simulator = Simulator(self.dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()
        return self.slots

    def drive(self, ctx):
        """Offer answers."""
        dut, size = self.dut, self.config.params.tuple_bytes
        for flow in (dut.o_line_fetch, dut.o_slot_fetch, dut.o_read, dut.o_page, dut.o_version, dut.o_sealed):
            ctx.set(flow.ready, 1)
        ctx.set(dut.o_slot.ready, self.takes())
        self.line = next((line for line in self.lines if line[0] <= self.cycle), None)
        ctx.set(dut.i_line_fetched.valid, self.line is not None)
        if self.line:
            ctx.set(dut.i_line_fetched.p, {"id": self.line[1], "data": self.contents.lines[self.line[2]]})
        self.slot = self.reads[0] if self.reads and self.reads[0][0] <= self.cycle else None
        ctx.set(dut.i_slot_fetched.valid, self.slot is not None)
        if self.slot:
            ctx.set(dut.i_slot_fetched.p, int.from_bytes(self.contents.slots[self.slot[1]], "little"))
        due = [burst for burst in self.bursts if burst[0] <= self.cycle]
        burst = self.rng.choice(due) if due else None
        ctx.set(dut.i_data.valid, burst is not None)
        if burst:
            data = burst[2].pop(0)
            ctx.set(dut.i_data.p, {"id": burst[1], "data": data, "last": not burst[2]})
            if not burst[2]:
                self.bursts.remove(burst)
        offers = bool(self.text) and self.text[0][0] <= self.cycle
        ctx.set(dut.i_text.valid, offers)
        if offers:
            ctx.set(dut.i_text.p, {"data": self.text[0][1], "last": self.text[0][2]})
        assert ctx.get(dut.o_slot.valid) or not ctx.get(dut.o_slot.p.as_value())
        if ctx.get(dut.o_slot.valid):
            self.events.append((self.cycle, "slot"))
            if ctx.get(dut.o_slot.ready):
                kind, key, value = (ctx.get(dut.o_slot.p[name]) for name in ("kind", "key", "value"))
                entry = key | value << 8 * self.config.params.key_bytes
                self.slots.append((Kind(kind), entry.to_bytes(size, "little")))

    def step(self, ctx):
        """Take what is asked for."""
        dut, config = self.dut, self.config
        page_bytes, beat_bytes = config.params.page_bytes, 16 * config.lanes
        self.late += ctx.get(dut.late)
        if ctx.get(dut.i_line_fetched.valid) and ctx.get(dut.i_line_fetched.ready):
            self.lines.remove(self.line)
        if ctx.get(dut.i_slot_fetched.valid) and ctx.get(dut.i_slot_fetched.ready):
            self.reads.popleft()
        if ctx.get(dut.o_line_fetch.valid):
            asked = ctx.get(dut.o_line_fetch.p)
            self.lines.append((self.cycle + self.hbm(), asked.id, asked.address))
        if ctx.get(dut.o_slot_fetch.valid):
            self.reads.append((self.cycle + self.hbm(), ctx.get(dut.o_slot_fetch.p)))
        if ctx.get(dut.o_read.valid):
            read = ctx.get(dut.o_read.p)
            self.events.append((self.cycle, read.address))
            page, rest = divmod(read.address - BASE, page_bytes)
            assert (rest, read.lines) == (0, config.page_lines)
            sealed = self.contents.pages[page] + b"t" * 16
            lines = [int.from_bytes(sealed[at : at + LINE_BYTES], "little") for at in range(0, page_bytes, LINE_BYTES)]
            self.bursts.append((self.cycle + self.host(), read.id, lines))
        for flow, name in ((dut.o_page, "page"), (dut.o_version, "version")):
            if ctx.get(flow.valid):
                self.opening.append((name, ctx.get(flow.p)))
        if ctx.get(dut.i_text.valid) and ctx.get(dut.i_text.ready):
            self.text.popleft()
        if ctx.get(dut.o_sealed.valid):
            self.opening.append(("beat", ctx.get(dut.o_sealed.p)))
        beats = [beat for name, beat in self.opening if name == "beat"]
        if len(beats) == page_bytes // beat_bytes:
            page = next(value for name, value in self.opening if name == "page")
            version = next(value for name, value in self.opening if name == "version")
            assert version == self.contents.rows[page]
            for name, value in (("page", page), ("version", version)):
                self.opening.remove((name, value))
            self.opening = deque(one for one in self.opening if one[0] != "beat")
            sealed = b"".join(beat.to_bytes(beat_bytes, "little") for beat in beats)
            assert sealed == self.contents.pages[page] + b"t" * 16
            plain = (
                self.contents.pages[page].ljust(page_bytes, b"\0") if config.lanes > 1 else self.contents.pages[page]
            )
            starts = range(0, len(plain), beat_bytes)
            for at in starts:
                data = int.from_bytes(plain[at : at + beat_bytes], "little")
                self.text.append((self.cycle + 20, data, at == starts[-1]))
