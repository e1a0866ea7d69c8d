"""Timing of HBM and of host memory over PCIe: one description, read by the Python and by the compiled models.

Both forms compute in whole femtoseconds with the numbers of ``figures``, so that they agree to the cycle. Figures
come from public measurements (named below); nothing here was measured on a card by this project.

* Shuhai: Wang et al., "Shuhai: Benchmarking High Bandwidth Memory on FPGAs", FCCM 2020.
* Random spacing: AMD Vitis-Tutorials 07-using-hbm, 64-byte random reads of one pseudo-channel, 4.75 GB/s.
* Neugebauer et al., "Understanding PCIe performance for end host networking", SIGCOMM 2018 (pcie-bench).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise

from omap.errors import ParamsError
from rtl.memory.bursts import WINDOW_LINES
from rtl.pcie.reads import MOST_WAITED
from rtl.pcie.tag_table import MOST_TAGS, PLAIN_TAGS
from rtl.pcie.writes import SENT

FS_PER_NS = 1_000_000
QUANTILE_ONE = 1 << 32
"""Scale of the probabilities of a latency distribution in :meth:`HostTiming.figures`."""
SHARE_ONE = 1 << 16
"""Scale of the shares of withheld cycles."""


def _fs(nanoseconds: float) -> int:
    return round(nanoseconds * FS_PER_NS)


@dataclass(frozen=True, kw_only=True)
class PortTiming:
    """What both kinds of memory have: a clock, limits of the port, and drawn back-pressure.

    Attributes
    ----------
    clock_mhz : float
        Clock of the design; latencies are rounded up to its edges.
    reads, writes : int
        Bursts that the port holds at a time; it accepts no further address until one is done.
    ids : int
        AXI IDs that the port knows, from 0.
    ready_withheld : float
        Share of cycles, drawn for each channel, in which the port is not ready although it could be.
    valid_withheld : float
        Share of cycles, drawn for each channel, in which a waiting reply is not offered yet.
    """

    clock_mhz: float = 250.0
    reads: int = 64
    writes: int = 64
    ids: int = 64
    ready_withheld: float = 0.0
    valid_withheld: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and value < 0:
                raise ParamsError(f"{field.name} is {value!r}; it must not be negative")
        for name in ("clock_mhz", "reads", "writes", "ids"):
            if getattr(self, name) <= 0:
                raise ParamsError(f"{name} is {getattr(self, name)!r}; it must be positive")
        for name in ("ready_withheld", "valid_withheld"):
            if getattr(self, name) > 0.99:
                raise ParamsError(f"{name} is {getattr(self, name)!r}; above 0.99 nothing would move")

    @property
    def period_fs(self) -> int:
        """Clock period, femtoseconds."""
        return round(1e9 / self.clock_mhz)

    def port_figures(self) -> dict[str, int]:
        """Return the figures of this class as whole numbers, times in femtoseconds."""
        return {
            "period": self.period_fs,
            "reads": self.reads,
            "writes": self.writes,
            "ids": self.ids,
            "ready_withheld": round(self.ready_withheld * SHARE_ONE),
            "valid_withheld": round(self.valid_withheld * SHARE_ONE),
        }


@dataclass(frozen=True, kw_only=True)
class HbmTiming(PortTiming):
    """Timing of one AXI port on one or more HBM pseudo-channels of its own.

    Accesses of a channel start in the order of their arrival. Each finds the row of its bank open (hit), no row open
    (closed) or another one (conflict); rows stay open until a conflict or a refresh. Reads and writes have the same
    latencies, for want of a figure for writes. A burst counts for the row of its first byte. A read goes to another
    channel than the one before it under the same ID only when that one has answered: a master that strides over
    channels under one ID is serialised.

    Attributes
    ----------
    hit_ns, closed_ns, conflict_ns : float
        Latency from address to first data, idle (Shuhai, AXI port of an Alveo U280's HBM).
    spacing_ns : float
        Least time between two accesses of a channel that open a row (from 4.75 GB/s at 64 bytes).
    beat_ns : float
        Time that 32 bytes occupy a channel (14.375 GB/s, AMD UG1393).
    refresh_every_ns, refresh_ns : float
        A refresh blocks the channel for ``refresh_ns`` and closes its rows. Assumed: JEDEC figures for 8 Gb channels,
        not measured. 0 switches refresh off.
    channel_bytes, row_bytes, banks : int
        Geometry: bytes of a pseudo-channel, of a row, and banks. Consecutive rows lie in consecutive banks (assumed).
    """

    hit_ns: float = 107.0
    closed_ns: float = 122.0
    conflict_ns: float = 138.0
    spacing_ns: float = 13.5
    beat_ns: float = 32 / 14.375
    refresh_every_ns: float = 3900.0
    refresh_ns: float = 350.0
    channel_bytes: int = 512 << 20
    row_bytes: int = 1024
    banks: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("channel_bytes", "row_bytes", "banks"):
            if getattr(self, name) <= 0:
                raise ParamsError(f"{name} is {getattr(self, name)!r}; it must be positive")
        if 0 < self.refresh_every_ns <= 2 * self.refresh_ns:
            raise ParamsError(
                f"refresh_every_ns is {self.refresh_every_ns!r}; with refresh_ns {self.refresh_ns!r} the channel would "
                "refresh most of the time: give at least twice that"
            )

    def figures(self) -> dict[str, int]:
        """Return all figures as whole numbers, times in femtoseconds, in the order the compiled model expects."""
        return self.port_figures() | {
            "hit": _fs(self.hit_ns),
            "closed": _fs(self.closed_ns),
            "conflict": _fs(self.conflict_ns),
            "spacing": _fs(self.spacing_ns),
            "beat": _fs(self.beat_ns),
            "refresh_every": _fs(self.refresh_every_ns),
            "refresh": _fs(self.refresh_ns),
            "channel_bytes": self.channel_bytes,
            "row_bytes": self.row_bytes,
            "banks": self.banks,
        }


@dataclass(frozen=True, kw_only=True)
class HostTiming(PortTiming):
    """Timing of one AXI port on host memory, by default through AMD's bridge on a PCIe Gen3 x16 endpoint.

    A read sends a request up the link, waits for a drawn latency, then its data comes down the link in packets of at
    most ``packet_bytes``. A write goes up the link with its data; ``write_ns`` later it is in memory and answered, and
    a read that went up after it sees it. Each direction of the link carries one packet at a time.

    Attributes
    ----------
    reads, writes : int
        Outstanding limit of the bridge (AMD PG194: 32 each).
    quantiles : tuple of (probability, ns)
        Read latency: points of its distribution, linear between them, from probability 0 to 1. Default: pcie-bench's
        median, 95 % and 99.9 % points; the lower half lies at the median and the upper end at the 1.2 us of an
        IOMMU, for want of better figures.
    write_ns : float
        From the end of a write on the link until it is in memory. Assumed: half the median read.
    link_gbps : float
        Payload and header bits a second in each direction. Derived: with 24 bytes a header it gives the ceilings of the
        pcie-bench model (65.0, 82.7 and 95.7 Gb/s each way at 64, 128 and 256 bytes).
    request_bytes, write_bytes, completion_bytes : int
        Header and framing of a read request, of a write packet and of a read completion (PCIe base specification:
        16 or 12 bytes of header, 8 of framing, sequence number and check).
    packet_bytes : int
        Most data in one packet.
    reorder : bool
        Whether replies under different IDs may overtake each other. Under one ID they never do.
    gather_ns : float
        A host that answers in bursts: data of reads leave memory at multiples of this time alone. 0: as they come.
    """

    reads: int = 32
    writes: int = 32
    quantiles: tuple[tuple[float, float], ...] = (
        (0.0, 600.0),
        (0.5, 600.0),
        (0.95, 613.0),
        (0.999, 960.0),
        (1.0, 1200.0),
    )
    write_ns: float = 300.0
    link_gbps: float = 113.7
    request_bytes: int = 24
    write_bytes: int = 24
    completion_bytes: int = 20
    packet_bytes: int = 256
    reorder: bool = True
    gather_ns: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "quantiles", tuple((float(p), float(ns)) for p, ns in self.quantiles))
        points = self.quantiles
        if len(points) < 2 or points[0][0] != 0.0 or points[-1][0] != 1.0 or len(points) > 16:
            raise ParamsError(f"quantiles {points} must be 2 to 16 points, the first at probability 0, the last at 1")
        if any(a[0] >= b[0] or a[1] > b[1] for a, b in pairwise(points)):
            raise ParamsError(f"quantiles {points} must rise")
        if self.link_gbps <= 0 or self.packet_bytes <= 0:
            raise ParamsError(f"link_gbps {self.link_gbps!r} and packet_bytes {self.packet_bytes!r} must be positive")
        if not 0 <= self.write_ns <= points[0][1]:
            raise ParamsError(
                f"write_ns is {self.write_ns!r}, longer than the shortest read ({points[0][1]} ns): "
                "a read could overtake a write that left before it, which PCIe forbids"
            )

    def figures(self) -> dict[str, int]:
        """Return all figures as whole numbers, times in femtoseconds, in the order the compiled model expects.

        The distribution follows as ``p0``, ``ns0``, ``p1``, ... with probabilities in 1/2**32.
        """
        figures = self.port_figures() | {
            "write": _fs(self.write_ns),
            "byte": round(8e6 / self.link_gbps),
            "request_bytes": self.request_bytes,
            "write_bytes": self.write_bytes,
            "completion_bytes": self.completion_bytes,
            "packet_bytes": self.packet_bytes,
            "reorder": int(self.reorder),
            "gather": _fs(self.gather_ns),
            "points": len(self.quantiles),
        }
        for place, (probability, nanoseconds) in enumerate(self.quantiles):
            figures[f"p{place}"] = round(probability * QUANTILE_ONE)
            figures[f"latency{place}"] = _fs(nanoseconds)
        return figures


def own_end(lines: int, *, extended: bool = True) -> HostTiming:
    """Return the timing of host memory through our own end of PCIe (``rtl.pcie``), for accesses of one length.

    What is under way is bounded by tags and by the lines that are waited for; answers keep the order of requests. On
    a card a write is answered sooner, because it need not be in memory; how much sooner nobody has measured.

    Parameters
    ----------
    lines : int
        Lines of an access, 1 to 64: those of a page.
    extended : bool
        Whether the host allows tags of 8 bits.

    Raises
    ------
    ParamsError
        If no access has so many lines.
    """
    if not 1 <= lines <= WINDOW_LINES:
        raise ParamsError(f"lines is {lines!r}; an access has 1 to {WINDOW_LINES}")
    tags = MOST_TAGS if extended else PLAIN_TAGS
    return HostTiming(reads=min(tags, MOST_WAITED // lines), writes=SENT, reorder=False)
