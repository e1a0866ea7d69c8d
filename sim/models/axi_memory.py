"""An AXI port on a memory, cycle by cycle: handshakes, order, faults, protocol checks.

This is the Python form, used under cocotb and Amaranth's simulator and readable as the specification of the compiled
form (``native/axi_memory.h``); a test holds both equal in every cycle. Everything the port drives comes from registers:
what the master shows in a cycle changes the port's signals from the next cycle on.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import NamedTuple

from sim.models.draws import Purpose, draw
from sim.models.faults import Fault, FaultKind
from sim.models.hbm import HbmScheduler
from sim.models.host_memory import HostScheduler
from sim.models.memory import Memory
from sim.models.observer import EventKind, Observer
from sim.models.protocol import Breach, Rule
from sim.models.scheduler import Address, Burst, Scheduler
from sim.models.streams import idle_payload
from sim.models.timing import HbmTiming, HostTiming

LINE = 64
"""Bytes of a line, the unit of REPLAY."""
AHEAD = 16
"""Beats of write data that the port takes before their address."""
OKAY, SLVERR, DECERR = 0, 2, 3
MAX_BURST = {3: 16, 4: 256}


class WriteBeat(NamedTuple):
    """Payload of W."""

    data: int
    strb: int
    last: int


class Master(NamedTuple):
    """What the master shows in one cycle; a payload is None where its valid is low."""

    aw: Address | None = None
    w: WriteBeat | None = None
    bready: int = 0
    ar: Address | None = None
    rready: int = 0


class Drive(NamedTuple):
    """What the port drives in one cycle.

    Where valid is low the payload of B is 0, and ``rdata`` is 0xA5 in every byte, so that a design that looks shows it.
    """

    awready: int = 0
    wready: int = 0
    bvalid: int = 0
    bid: int = 0
    bresp: int = 0
    arready: int = 0
    rvalid: int = 0
    rid: int = 0
    rdata: int = 0
    rresp: int = 0
    rlast: int = 0


class Bus(NamedTuple):
    """Width of an AXI bus in bytes, and its version of AXI, 3 or 4."""

    beat_bytes: int
    version: int


class AxiMemory:
    """One AXI slave port on a :class:`~sim.models.memory.Memory`.

    Parameters
    ----------
    name : str
        Port name, in reports and events.
    bus : Bus
        What it is on.
    memory : Memory
        What it serves.
    timing : HbmTiming or HostTiming
        Limits, back-pressure, and when accesses are done.
    seed : int
        Seed of the port's draws (:func:`sim.models.draws.seed_of`).
    observer : Observer, optional
        Where to record events.

    Attributes
    ----------
    drive : Drive
        What the port drives in the coming cycle.
    breaches : list of Breach
        Rules that the master broke.
    cycle : int
        The coming cycle, from 0.
    """

    def __init__(
        self,
        name: str,
        bus: Bus,
        memory: Memory,
        timing: HbmTiming | HostTiming,
        *,
        seed: int,
        observer: Observer | None = None,
    ) -> None:
        self.name, self.beat_bytes, self.memory = name, bus.beat_bytes, memory
        self.scheduler: Scheduler = (
            HostScheduler(timing, seed) if isinstance(timing, HostTiming) else HbmScheduler(timing, seed)
        )
        self.max_burst = MAX_BURST[bus.version]
        self._idle = idle_payload(8 * bus.beat_bytes)
        self.figures = timing.port_figures()
        self.seed = seed
        self.order_all = not getattr(timing, "reorder", True)
        self.observer = observer
        self.port = observer.port(name) if observer else 0
        self.breaches: list[Breach] = []
        self.cycle = 0
        self.dead = False
        self.reads = self.writes = 0  # bursts held
        self._faults: list[tuple[Fault, list[int]]] = []
        self._replayable = False
        self._previous: dict[int, bytes] = {}
        self._last = Master()
        self._last_drive = Drive()
        self._addresses: deque[Burst] = deque()
        self._beats: deque[WriteBeat] = deque()
        self._events: list[tuple[int, int, Burst]] = []
        self._order: dict[tuple[bool, int], deque[Burst]] = {}
        self._sequence = 0
        self._answer: dict[bool, Burst | None] = {True: None, False: None}  # being offered on B, on R
        self._beat = 0
        self.drive = self._next_drive()

    def add_fault(self, fault: Fault) -> None:
        """Inject ``fault`` from now on; it counts the accesses that come after this call."""
        self._faults.append((fault, [0]))
        self._replayable |= fault.kind is FaultKind.REPLAY

    def _offered(self, write: bool) -> Burst:
        burst = self._answer[write]
        assert burst is not None, "nothing is valid on this channel"
        return burst

    def step(self, m: Master) -> None:
        """Take one cycle in which the port drove :attr:`drive` and the master showed ``m``."""
        d = self.drive
        now = self.cycle * self.figures["period"]
        self._check_stability(m)
        if m.ar is not None and d.arready:
            self._accept_read(m.ar, now)
        if m.aw is not None and d.awready:
            self._accept_address(m.aw)
        if m.w is not None and d.wready:
            self._beats.append(m.w)
        self._match_writes(now)
        if d.bvalid and m.bready:
            self._event(EventKind.WRITE_DONE, self._offered(True))
            self._answer[True] = None
            self.writes -= 1
        if d.rvalid and m.rready:
            burst = self._offered(False)
            self._beat += 1
            if self._beat == burst.beats:
                self._event(EventKind.READ_DATA, burst)
                self._answer[False] = None
                self.reads -= 1
        self._last, self._last_drive = m, d
        self.cycle += 1
        self._take_effect(self.cycle * self.figures["period"])
        self.drive = self._next_drive()

    # -- what the master does -----------------------------------------------------------------------------------

    def _check_stability(self, m: Master) -> None:
        was, drove = self._last, self._last_drive
        for before, ready, now, withdrawn in (
            (was.aw, drove.awready, m.aw, Rule.AW_WITHDRAWN),
            (was.w, drove.wready, m.w, Rule.W_WITHDRAWN),
            (was.ar, drove.arready, m.ar, Rule.AR_WITHDRAWN),
        ):
            if before is not None and not ready and now != before:
                self._breach(withdrawn if now is None else Rule(withdrawn + 1))

    def _accept(self, a: Address, write: bool) -> Burst:
        beats = a.len + 1
        length = beats * self.beat_bytes
        resp = OKAY
        if a.burst != 1:
            self._breach(Rule.BURST_KIND)
        if 1 << a.size != self.beat_bytes:
            self._breach(Rule.BURST_NARROW)
        if beats > self.max_burst:
            self._breach(Rule.BURST_LENGTH)
        if a.addr % self.beat_bytes:
            self._breach(Rule.BURST_UNALIGNED)
        if a.addr // 4096 != (a.addr + length - 1) // 4096:
            self._breach(Rule.BURST_CROSSES_4K)
        if (a.addr, length) not in self.memory:
            self._breach(Rule.ADDRESS_RANGE)
            resp = DECERR
        if a.id >= self.figures["ids"]:
            self._breach(Rule.ID_RANGE)
        burst = Burst(write, a, length, beats, resp)
        burst.sequence = self._sequence
        self._sequence += 1
        return burst

    def _accept_read(self, a: Address, now: int) -> None:
        burst = self._accept(a, False)
        self.reads += 1
        self._event(EventKind.READ, burst)
        self._start(burst, now)

    def _accept_address(self, a: Address) -> None:
        burst = self._accept(a, True)
        self.writes += 1
        self._event(EventKind.WRITE, burst)
        self._addresses.append(burst)

    def _match_writes(self, now: int) -> None:
        while self._addresses and self._beats:
            burst, beat = self._addresses[0], self._beats.popleft()
            burst.data += beat.data.to_bytes(self.beat_bytes, "little")
            burst.strobe += bytes(beat.strb >> i & 1 for i in range(self.beat_bytes))
            whole = len(burst.data) == burst.length
            if beat.last and not whole:
                self._breach(Rule.LAST_EARLY)
            if whole:
                if not beat.last:
                    self._breach(Rule.LAST_MISSING)
                self._addresses.popleft()
                self._event(EventKind.WRITE_DATA, burst)
                self._start(burst, now)

    def _start(self, burst: Burst, now: int) -> None:
        for fault, seen in self._faults:
            touches = burst.address < fault.high and burst.address + burst.length > fault.low
            if fault.write != burst.write or not touches:
                continue
            seen[0] += 1
            if not fault.skip < seen[0] <= fault.skip + fault.count:
                continue
            if fault.kind is FaultKind.FLIP:
                burst.flip.append(fault.argument % (8 * burst.length))
            elif fault.kind is FaultKind.REPLAY:
                burst.replay = True
            elif fault.kind is FaultKind.DROP:
                burst.drop = True
            elif fault.kind is FaultKind.STALL:
                burst.stall += fault.argument * 1_000_000
            elif fault.kind is FaultKind.ERROR:
                burst.resp = max(burst.resp, SLVERR)
            else:
                self.dead = True
        self.scheduler.arrive(burst, now)
        burst.time += burst.stall
        self._order.setdefault((burst.write, 0 if self.order_all else burst.id), deque()).append(burst)
        heapq.heappush(self._events, (burst.time, burst.sequence, burst))

    # -- what memory does ---------------------------------------------------------------------------------------

    def _take_effect(self, until: int) -> None:
        while self._events and self._events[0][0] <= until:
            burst = heapq.heappop(self._events)[2]
            if burst.write:
                self._store(burst)
            else:
                self._load(burst)
            self.scheduler.answer(burst)
            burst.done = True

    def _store(self, burst: Burst) -> None:
        if burst.resp != OKAY or burst.drop:
            return
        for bit in burst.flip:
            burst.data[bit // 8] ^= 1 << bit % 8
        if self._replayable:
            for line in range(burst.address // LINE, (burst.address + burst.length - 1) // LINE + 1):
                self._previous[line] = self.memory.read(line * LINE, LINE)
        stored = bytearray(self.memory.read(burst.address, burst.length))
        for place, strobe in enumerate(burst.strobe):
            if strobe:
                stored[place] = burst.data[place]
        self.memory.write(burst.address, bytes(stored))

    def _load(self, burst: Burst) -> None:
        if burst.resp != OKAY:
            burst.data = bytearray(burst.length)
            return
        burst.data = bytearray(self.memory.read(burst.address, burst.length))
        if burst.replay:
            for place in range(burst.length):
                line, within = divmod(burst.address + place, LINE)
                if line in self._previous:
                    burst.data[place] = self._previous[line][within]
        for bit in burst.flip:
            burst.data[bit // 8] ^= 1 << bit % 8

    def _choose(self, write: bool, until: int) -> Burst | None:
        """Take the answered burst that was answered first, but under one ID only in the order asked."""
        heads = [
            queue[0]
            for (side, _), queue in self._order.items()
            if side == write and queue and queue[0].done and queue[0].time <= until
        ]
        if not heads:
            return None
        best = min(heads, key=lambda burst: (burst.time, burst.sequence))
        self._order[write, 0 if self.order_all else best.id].popleft()
        return best

    # -- what the port drives -----------------------------------------------------------------------------------

    def _withheld(self, purpose: Purpose, share: int) -> bool:
        return share > 0 and draw(self.seed, purpose, self.cycle) & 0xFFFF < share

    def _next_drive(self) -> Drive:
        f, now = self.figures, self.cycle * self.figures["period"]
        alive = not self.dead
        ready, valid = f["ready_withheld"], f["valid_withheld"]
        if self._answer[True] is None and alive and not self._withheld(Purpose.B, valid):
            self._answer[True] = self._choose(True, now)
        held = self.drive.rvalid and not self._taken() if self.cycle else False
        offer = bool(held)
        if not held and alive and not self._withheld(Purpose.R, valid):
            if self._answer[False] is None:
                self._answer[False] = self._choose(False, now)
                self._beat = 0
            offer = self._answer[False] is not None
        b, r = self._answer[True], self._answer[False] if offer else None
        values = {"rdata": self._idle}
        if r is not None:
            start = self._beat * self.beat_bytes
            values = {
                "rid": r.id,
                "rdata": int.from_bytes(r.data[start : start + self.beat_bytes], "little"),
                "rresp": r.resp,
                "rlast": int(self._beat == r.beats - 1),
            }
        return Drive(
            awready=int(alive and self.writes < f["writes"] and not self._withheld(Purpose.AW, ready)),
            wready=int(alive and len(self._beats) < AHEAD and not self._withheld(Purpose.W, ready)),
            bvalid=int(b is not None),
            bid=b.id if b else 0,
            bresp=b.resp if b else 0,
            arready=int(alive and self.reads < f["reads"] and not self._withheld(Purpose.AR, ready)),
            rvalid=int(r is not None),
            **values,
        )

    def _taken(self) -> bool:
        return bool(self._last_drive.rvalid and self._last.rready)

    # -- reports ------------------------------------------------------------------------------------------------

    def _event(self, kind: EventKind, burst: Burst) -> None:
        if self.observer:
            self.observer.record(self.cycle, self.port, kind, burst.address, burst.length)

    def _breach(self, rule: Rule) -> None:
        self.breaches.append(Breach(self.cycle, self.name, rule))
