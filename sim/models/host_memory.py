"""When an access to host memory over PCIe is done: link, latency, packets. Compiled form: ``native/host_memory.h``."""

from __future__ import annotations

from itertools import pairwise

from sim.models.draws import Purpose, draw
from sim.models.scheduler import Burst, Scheduler
from sim.models.timing import HostTiming


class HostScheduler(Scheduler):
    """Gives each access its time by the rules of :class:`~sim.models.timing.HostTiming`.

    Parameters
    ----------
    timing : HostTiming
        The figures.
    seed : int
        Seed of the port, for the latencies.
    """

    def __init__(self, timing: HostTiming, seed: int) -> None:
        self.f = timing.figures()
        self.points = [(self.f[f"p{i}"], self.f[f"latency{i}"]) for i in range(self.f["points"])]
        self._seed = seed
        self._up_free = self._down_free = 0
        self._reads = 0

    def arrive(self, burst: Burst, now: int) -> None:
        """Send the request, or the write, up the link and set when it reaches memory."""
        f = self.f
        start = max(now, self._up_free)
        if burst.write:
            packets = -(-burst.length // f["packet_bytes"])
            self._up_free = start + (burst.length + packets * f["write_bytes"]) * f["byte"]
            burst.time = self._up_free + f["write"]
        else:
            self._up_free = start + f["request_bytes"] * f["byte"]
            burst.time = start + self._latency()
            if f["gather"]:
                burst.time = -(-burst.time // f["gather"]) * f["gather"]

    def answer(self, burst: Burst) -> None:
        """Send a read's data down the link: its answer is there when the last byte is. A write's is there at once."""
        if not burst.write:
            f = self.f
            packets = -(-burst.length // f["packet_bytes"])
            takes = (burst.length + packets * f["completion_bytes"]) * f["byte"]
            burst.time = self._down_free = max(burst.time, self._down_free + takes)

    def _latency(self) -> int:
        at = draw(self._seed, Purpose.LATENCY, self._reads) >> 32
        self._reads += 1
        for (p0, t0), (p1, t1) in pairwise(self.points):
            if at < p1:
                return t0 + (t1 - t0) * (at - p0) // (p1 - p0)
        raise AssertionError("the last point has probability 1")
