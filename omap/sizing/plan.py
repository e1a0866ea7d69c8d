"""A plan: a parameter set and what is known about it, such as bytes, channels, traffic and the risk of running out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from omap import sizing
from omap.board import Board
from omap.params import Params, Rule
from omap.sizing import link
from omap.sizing.buckets import obstruction_bits, transit_bits
from omap.sizing.channels import layouts
from omap.sizing.epochs import wear_bits
from omap.sizing.theorem import tail_bits, waiting_law
from omap.wire import BufferLayout, RecordCodec


class Risk(NamedTuple):
    """How unlikely it is that a structure runs out within 2^40 operations of the worst workload.

    Attributes
    ----------
    bits : float
        -log2 of the probability; infinite if the structure can't run out.
    method : str
        How the probability is known.
    """

    bits: float
    method: str


@dataclass(frozen=True)
class Plan:
    """A parameter set and what is known about it.

    Parameters
    ----------
    params : Params
        The parameters that were chosen.
    reason : str
        Why they were chosen, in one sentence.
    board : Board, optional
        The card that the map is for.
    """

    params: Params
    reason: str
    board: Board | None = None

    @property
    def hbm_bytes_per_key(self) -> float:
        """Bytes of HBM over capacity."""
        return self.params.hbm_bytes / self.params.capacity

    @cached_property
    def channels(self) -> dict[str, int] | None:
        """Number of HBM channels of each structure on the board; None without a board."""
        if self.board is None:
            return None
        found = layouts(self.params, channel_bytes=self.board.channel_bytes)
        return {name: layout.channels for name, layout in found.items()}

    @property
    def shared_bytes(self) -> int:
        """Bytes of the buffer that host and device share: pages, and the longest rings."""
        return BufferLayout.largest(self.params).size

    @property
    def fits_host_window(self) -> bool | None:
        """Whether a kernel under the shell of the board reaches the whole buffer; None without a board, or if
        unknown."""
        return None if self.board is None else self.board.window_holds(self.shared_bytes)

    @cached_property
    def mean_waiting(self) -> float:
        """Tuples that wait in HBM on average, under the worst workload.

        For one_choice the theorem gives them. For two_choice they are the published bounds on the tuples of bins in HBM
        and of the eviction buffer, without their deviations. For resident they are 0.
        """
        params = self.params
        if params.rule is Rule.RESIDENT:
            return 0.0
        if params.rule is Rule.TWO_CHOICE:
            mean = sum(sizing.two_choice_bounds(params.capacity, self._load, params.hbm_bins, params.pages, 0.0))
            return min(mean, params.capacity)
        if params.pages < 2:
            return float(params.capacity)
        law = waiting_law(params.capacity, params.pages, params.page_slots)
        return min(float(law @ np.arange(len(law))) * params.pages, params.capacity)

    @cached_property
    def risks(self) -> dict[str, Risk]:
        """How unlikely each structure is to run out within 2^40 operations."""
        params, spared = self.params, sizing.LIFETIME_BITS
        queue = transit_bits(params.capacity, params.transit_entries)
        placement = obstruction_bits(params.capacity, params.buckets, params.bucket_entries, params.transit_entries)
        both = min(queue, placement) - math.log2(1 + 2.0 ** -abs(queue - placement)) if queue < math.inf else math.inf
        risks = {
            "position map": Risk(
                both - spared,
                "every key fits in transit"
                if both == math.inf
                else f"transit queue measured and extrapolated ({queue:.0f} bits an instant); "
                f"that a placement exists is proven ({placement:.0f} bits)",
            )
        }
        if params.rule is not Rule.RESIDENT:
            risks |= {"waiting slots": self._slots_risk, "further lines": self._lines_risk}
        return risks

    @property
    def _load(self) -> float:
        return self.params.capacity / self.params.bins

    @property
    def _slots_risk(self) -> Risk:
        params = self.params
        if params.waiting_slots >= params.capacity:
            return Risk(math.inf, "a slot for every key")
        if params.rule is Rule.TWO_CHOICE:
            return Risk(
                float(sizing.INSTANT_BITS - sizing.LIFETIME_BITS),
                "the published means with Hoeffding's deviation; not proven here",
            )
        return self._theorem_risk(np.arange, params.waiting_slots)

    @property
    def _lines_risk(self) -> Risk:
        params = self.params
        if params.further_lines >= sizing.most_lines(params.waiting_slots, params.descriptor_bytes):
            return Risk(math.inf, "enough for any arrangement of the waiting tuples")
        return self._theorem_risk(lambda n: sizing.line_costs(n, params.descriptor_bytes), params.further_lines)

    def _theorem_risk(self, costs: Any, size: int) -> Risk:
        law = waiting_law(self.params.capacity, self.params.pages, self.params.page_slots)
        bits = tail_bits(law, costs(len(law)), self.params.pages, size)
        return Risk(bits - sizing.LIFETIME_BITS, "proven: theorem, Chernoff over pages, union over operations")

    @property
    def page_bytes_each_way(self) -> float:
        """Page bytes that an operation reads on average; it writes as many."""
        return self.params.page_touches * self.params.page_bytes

    @property
    def record_bytes_each_way(self) -> float:
        """Bytes of an operation in a full command record; a response takes as many."""
        return RecordCodec(self.params).bytes_each_way

    @property
    def operations_per_second(self) -> float:
        """Most operations a second that PCIe allows (see :mod:`omap.sizing.link`)."""
        return link.operations_per_second(self.params)

    @property
    def wear_bits(self) -> float:
        """-log2 of what the ciphertext of all pages tells at most, after a year at the link's full rate (see
        :mod:`omap.sizing.epochs`)."""
        return wear_bits(self.params, self.operations_per_second)

    @cached_property
    def ratio_to_paper(self) -> float:
        """Page bytes that an operation moves, over those of the published configuration (c = 8, alpha = 0.2)."""
        params = self.params
        page = sizing.page_bytes_for(
            math.floor(sizing.most_load(params.capacity, sizing.PUBLISHED_LOAD)), params.tuple_bytes
        )
        return self.page_bytes_each_way / (2 * (1 - sizing.PUBLISHED_SHARE) * page)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values. A probability of 0 has None as its exponent."""
        params = self.params
        return {
            "reason": self.reason,
            "board": self.board.name if self.board else None,
            "params": params.to_dict(),
            "page_slots": params.page_slots,
            "host_bytes": params.host_bytes,
            "shared_bytes": self.shared_bytes,
            "fits_host_window": self.fits_host_window,
            "hbm_bytes": params.hbm_bytes,
            "hbm_account": params.hbm_account,
            "hbm_channels": self.channels,
            "hbm_bytes_per_key": self.hbm_bytes_per_key,
            "mean_waiting": self.mean_waiting,
            "waiting_slots": params.waiting_slots,
            "runs_out": {
                name: {"log2_probability": None if risk.bits == math.inf else -risk.bits, "method": risk.method}
                for name, risk in self.risks.items()
            },
            "pages_tell_in_a_year": {"log2_advantage": None if self.wear_bits == math.inf else -self.wear_bits},
            "page_bytes_each_way": self.page_bytes_each_way,
            "record_bytes_each_way": self.record_bytes_each_way,
            "pcie_operations_per_second": self.operations_per_second,
            "page_bytes_over_paper": self.ratio_to_paper,
        }
