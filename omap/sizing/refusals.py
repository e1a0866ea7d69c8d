"""A request to the planner, and the words of a refusal: which bound broke, by how much, and what to try."""

from __future__ import annotations

from dataclasses import dataclass

from omap.board import Board
from omap.errors import PlanError, ReachError
from omap.params import Params
from omap.sizing.channels import account, layouts, total
from omap.units import format_bytes

MOST_BYTES = 1 << 64
"""More bytes than any memory has: addresses have 64 bits."""


def check_bytes(name: str, value: object) -> None:
    """Refuse what is no number of bytes of a memory.

    Raises
    ------
    PlanError
        Says what was wanted and what came.
    """
    if type(value) is not int:
        raise PlanError(f"{name} is {value!r}; it must be a whole number of bytes, such as 16 << 30")
    if not 0 <= value <= MOST_BYTES:
        came = value if value < 0 else f"2^{value.bit_length() - 1} or more"
        raise PlanError(f"{name} is {came}; it must be 0 to 2^64")


class RefusedError(PlanError):
    """A request that is refused because of its number of keys.

    Parameters
    ----------
    message : str
        Which bound broke, by how much, and what to try.
    fewer : int
        About how many keys fit.
    """

    def __init__(self, message: str, fewer: int) -> None:
        super().__init__(message)
        self.fewer = fewer


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of :func:`omap.sizing.planner.plan`, with the HBM of the board in ``hbm_bytes``.

    Raises
    ------
    PlanError
        If a memory is no number of bytes.
    """

    capacity: int
    key_bytes: int
    value_bytes: int
    hbm_bytes: int
    host_bytes: int | None
    page_bytes: int | None
    board: Board | None = None

    def __post_init__(self) -> None:
        for name in ("host_bytes", "page_bytes"):
            if getattr(self, name) is not None:
                check_bytes(name, getattr(self, name))

    @property
    def shape(self) -> dict[str, int]:
        """The arguments that sizing needs under every placement rule."""
        return {"capacity": self.capacity, "key_bytes": self.key_bytes, "value_bytes": self.value_bytes}

    def hbm_fits(self, params: Params) -> bool:
        """Return whether the HBM holds ``params``: in bytes, or in whole channels of the board."""
        needed, given = self.hbm_need(params)
        return needed <= given

    def hbm_need(self, params: Params) -> tuple[int, int]:
        """Return how much HBM ``params`` need and how much there is, in bytes or in channels of the board."""
        if self.board is None:
            return params.hbm_bytes, self.hbm_bytes
        return total(layouts(params, channel_bytes=self.board.channel_bytes)), self.board.pseudo_channels

    def hbm_over(self, params: Params) -> str:
        """Say by how much the HBM is too small for ``params``."""
        needed, given = self.hbm_need(params)
        if self.board is None:
            return over("HBM", needed, given)
        found = layouts(params, channel_bytes=self.board.channel_bytes)
        most = max(found, key=lambda name: found[name].channels)
        return (
            f"HBM of a {self.board.name.upper()} has {given} channels of {format_bytes(self.board.channel_bytes)} and "
            f"{needed} are needed, {needed - given} more, most of them for {most} ({account(found)})"
        )

    def host_fits(self, params: Params) -> bool:
        """Return whether the host memory holds ``params``."""
        return self.host_bytes is None or params.host_bytes <= self.host_bytes

    def fits(self, params: Params) -> bool:
        """Return whether both memories hold ``params``."""
        return self.hbm_fits(params) and self.host_fits(params)


def over(what: str, needed: int, given: int) -> str:
    """Say by how much a memory is too small."""
    more = f" ({needed / given - 1:.1%})" if given else ""
    needs = f"{format_bytes(needed)} are needed, {format_bytes(needed - given)}{more} more"
    return f"{what} is {format_bytes(given)} and {needs}"


def scaled(capacity: int, given: int, needed: int) -> int:
    """Return about how many keys fit, 1 % below a proportional estimate."""
    return int(capacity * given / needed * 0.99)


def advice(fewer: int, what: str) -> str:
    """Say how many keys fit, and what to give."""
    return f"about {fewer:,} keys fit: give fewer keys or more {what}" if fewer else f"no key fits: give more {what}"


def beyond(error: ReachError) -> str:
    """Say by how much a map has more of something than its indices reach."""
    more = error.needed - error.most
    return (
        f"{error.bound.format(most=error.most)} and {error.needed:,} are needed, {more:,} ({more / error.most:.1%}) "
        "more"
    )


def broken_bounds(request: Request, params: Params) -> str:
    """Say which bounds ``params`` break, and by how much; return an empty text if they break none."""
    broken = []
    if not request.hbm_fits(params):
        broken.append(request.hbm_over(params))
    if not request.host_fits(params):
        assert request.host_bytes is not None
        broken.append(over("host memory", params.host_bytes, request.host_bytes))
    return " and ".join(broken)


def refusal(request: Request, sizes: list[Params]) -> RefusedError:
    """Return an error that says which bound even the smallest of ``sizes`` break, and what to try."""
    capacity = request.capacity
    pages = " with pages of that size" if request.page_bytes is not None else " whatever the page size"
    frugal = min(sizes, key=lambda params: (request.hbm_need(params)[0], params.hbm_bytes))
    if not request.hbm_fits(frugal):
        needed, given = request.hbm_need(frugal)
        larger = ", or larger pages" if request.page_bytes is not None else ""
        fewer = scaled(capacity, given, needed)
        return RefusedError(f"one_choice: {request.hbm_over(frugal)}{pages}; {advice(fewer, 'HBM')}{larger}", fewer)
    dense = min(sizes, key=lambda params: params.host_bytes)
    assert request.host_bytes is not None
    if not request.host_fits(dense):
        fewer = scaled(capacity, request.host_bytes, dense.host_bytes)
        what = over("host memory", dense.host_bytes, request.host_bytes)
        return RefusedError(f"one_choice: {what}{pages}; {advice(fewer, 'host memory')}", fewer)

    def worst(params: Params) -> float:
        needed, given = request.hbm_need(params)
        return max(needed / given, params.host_bytes / (request.host_bytes or 1))

    nearest = min(sizes, key=worst)
    fewer = int(capacity / worst(nearest) * 0.99)
    return RefusedError(
        "one_choice: either memory would suffice alone, but not both; at best, with pages of "
        f"{nearest.page_bytes} bytes, {broken_bounds(request, nearest)}; {advice(fewer, 'of either')}",
        fewer,
    )
