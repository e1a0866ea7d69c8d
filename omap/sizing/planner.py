"""From what a user has to what a map needs: page size and structures.

:func:`plan` chooses the parameters that move the fewest bytes over PCIe within the given memories. On request it
chooses those that use the least HBM. It refuses what can't fit, and says which bound broke and by how much.
What is known about the chosen parameters is in :mod:`omap.sizing.plan`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from omap import sizing
from omap.board import BOARDS, Board
from omap.errors import ParamsError, PlanError, ReachError
from omap.params import DESCRIPTOR_BYTES, MAX_PAGE_SLOTS, Params, Rule, check_shape
from omap.sizing.loads import MOST_LOAD, Loads, most_board_load
from omap.sizing.plan import Plan
from omap.sizing.refusals import (
    RefusedError,
    Request,
    advice,
    beyond,
    broken_bounds,
    check_bytes,
    over,
    refusal,
    scaled,
)
from omap.sizing.sizes import page_slots_of
from omap.units import format_bytes

U55C_HBM_BYTES = BOARDS["u55c"].hbm_bytes
"""HBM of an Alveo U55C."""

Prefer = Literal["bytes", "hbm"]

_PAGE_LOADS = (sizing.PAGE_LOAD, 0.4, 0.5, 0.6, 0.65, 0.7, 0.8, 0.85, 0.9, 1.0, 1.1)

LINES = tuple(sorted(DESCRIPTOR_BYTES, reverse=True))
"""Bytes of descriptor lines, in the order in which they are tried."""

SHORT_LINES = LINES[1:]
"""Bytes of descriptor lines of maps that are to need the least HBM."""

_MORE_LOADS = (1.2, 1.3, 1.4, 1.5, 1.7, 2.0, 2.3, 2.6, 3.0, 3.5, 4.0)
"""Loads that suit pages of few slots."""


ESTIMATES = 2
"""How many times fewer keys are tried for a message. Each estimate is a proportional one, and comes closer."""


# Many: each is one public quantity that a user may know and another may not.
def plan(
    *,
    capacity: int,
    key_bytes: int,
    value_bytes: int,
    hbm_bytes: int | None = None,
    board: Board | None = None,
    host_bytes: int | None = None,
    rule: Rule | str | None = None,
    page_bytes: int | None = None,
    prefer: Prefer = "bytes",
) -> Plan:
    """Choose the parameters of a map.

    The arguments are many because each is one public quantity that a user may know and another may not; all are
    given by name. Nothing is revealed: no map is made.

    Parameters
    ----------
    capacity : int
        Most keys that can be live at once.
    key_bytes, value_bytes : int
        Sizes of every key (4, 8 or 16) and value (1 to 4096).
    hbm_bytes : int, optional
        Bytes of HBM; without it, and without a board, those of a U55C.
    board : Board, optional
        The card that the map is for. The structures must then fit whole HBM channels of the card, and the rule must be
        ``one_choice``, because accelerators are built for no other.
    host_bytes : int, optional
        Bytes of host memory for pages; without it any number.
    rule : Rule or str, optional
        Placement rule; without it ``resident`` if everything fits in HBM, else ``one_choice``.
    page_bytes : int, optional
        Bytes of a page, a multiple of 64; without it the planner chooses.
    prefer : str
        ``bytes`` moves as few bytes as the memories allow; ``hbm`` uses as little HBM as possible.

    Raises
    ------
    PlanError
        If nothing fits; names the bound that broke, by how much, and what to try.
    ParamsError
        If a value is out of its range.
    """
    if prefer not in ("bytes", "hbm"):
        raise PlanError(f"prefer is {prefer!r}; choose bytes or hbm")
    if rule is not None and rule not in set(Rule):
        raise PlanError(f"rule is {rule!r}; choose one of {', '.join(Rule)}")
    if board is not None and rule not in (None, Rule.ONE_CHOICE):
        raise PlanError(
            f"rule is {rule!r}; accelerators are built for one_choice alone: leave the rule out or plan without a board"
        )
    check_shape(capacity, key_bytes, value_bytes)  # here, because no rule is to blame for what is wrong with it
    request = Request(
        capacity=capacity,
        key_bytes=key_bytes,
        value_bytes=value_bytes,
        hbm_bytes=_given(hbm_bytes, board),
        host_bytes=host_bytes,
        page_bytes=page_bytes,
        board=board,
    )
    if rule == Rule.RESIDENT:
        return _plan_resident(request)
    if rule == Rule.TWO_CHOICE:
        return _plan_two_choice(request)
    if rule is None and board is None and page_bytes is None and prefer == "bytes":
        try:
            return _plan_resident(request)
        except PlanError:
            pass  # the usual case: the table is larger than HBM
    return _plan_one_choice(request, prefer)


def largest(
    *,
    key_bytes: int,
    value_bytes: int,
    page_bytes: int,
    hbm_bytes: int | None = None,
    board: Board | None = None,
) -> Plan:
    """Return the one_choice plan with the most keys whose structures fit the HBM, at one of the loads that are tried.

    Parameters
    ----------
    key_bytes, value_bytes, page_bytes, hbm_bytes, board
        As for :func:`plan`.

    Raises
    ------
    PlanError
        If not even one key fits.
    """
    given = _given(hbm_bytes, board)
    shape = {"key_bytes": key_bytes, "value_bytes": value_bytes, "page_bytes": page_bytes}
    sizing.one_choice(capacity=1, **shape)  # refuses what is wrong with the shape

    def sized(capacity: int, tuning: dict[str, Any]) -> Params | None:
        request = Request(capacity=capacity, **shape, hbm_bytes=given, host_bytes=None, board=board)
        try:
            params = sizing.one_choice(capacity=capacity, **shape, **tuning)
        except ParamsError:  # more than the indices reach
            return None
        return params if request.hbm_fits(params) else None

    most = MOST_LOAD if board is None else most_board_load(page_slots_of(page_bytes, key_bytes + value_bytes))
    best: Params | None = None
    for tuning in _tunings(SHORT_LINES, [load for load in _MORE_LOADS if load <= most]):
        low = best.capacity if best else 0
        high = given // (key_bytes + 4)  # an entry of the position map
        if sized(low + 1, tuning) is None:
            continue
        while low < high:
            middle = (low + high + 1) // 2
            found = sized(middle, tuning)
            if found is not None:
                low, best = middle, found
            else:
                high = middle - 1
    if best is None:
        raise PlanError(f"hbm_bytes is {given}: not even one key fits; give more")
    where = f"{format_bytes(given)} of HBM" if board is None else f"the HBM channels of a {board.name.upper()}"
    return Plan(best, f"the most keys that {where} hold with pages of {page_bytes} bytes", board)


def _given(hbm_bytes: int | None, board: Board | None) -> int:
    """Return the bytes of HBM: those given, those of the board, or those of a U55C."""
    if hbm_bytes is not None:
        check_bytes("hbm_bytes", hbm_bytes)
    if board is None:
        return U55C_HBM_BYTES if hbm_bytes is None else hbm_bytes
    if hbm_bytes is not None:
        raise PlanError(
            f"the board is {board.name}, which has {format_bytes(board.hbm_bytes)} of HBM, and HBM of "
            f"{format_bytes(hbm_bytes)} is given besides: give one of the two"
        )
    return board.hbm_bytes


# -- one rule after the other -----------------------------------------------------------------------------------


def _plan_resident(request: Request) -> Plan:
    if request.page_bytes is not None:
        raise PlanError(f"page_bytes is {request.page_bytes}; a resident map has no pages: leave it out")
    params = _sized(request, Rule.RESIDENT, lambda: sizing.resident(**request.shape), _plan_resident)
    if not request.hbm_fits(params):
        fewer = scaled(request.capacity, request.hbm_bytes, params.hbm_bytes)
        raise RefusedError(
            f"resident: {over('HBM', params.hbm_bytes, request.hbm_bytes)}; {advice(fewer, 'HBM')}, or let one_choice "
            "keep the tuples in host memory",
            fewer,
        )
    return Plan(params, "all tuples fit in HBM, and nothing is faster: pages in host memory would bring nothing")


def _plan_two_choice(request: Request) -> Plan:
    params = _sized(
        request,
        Rule.TWO_CHOICE,
        lambda: sizing.two_choice(**request.shape, page_bytes=request.page_bytes),
        _plan_two_choice,
    )
    broken = broken_bounds(request, params)
    if broken:
        fewer = scaled(request.capacity, request.hbm_bytes, max(request.hbm_bytes, params.hbm_bytes))
        if request.host_bytes is not None:
            fewer = min(fewer, scaled(request.capacity, request.host_bytes, params.host_bytes))
        raise RefusedError(
            f"two_choice: {broken}; {advice(fewer, 'memory')}, or use one_choice, which needs less HBM", fewer
        )
    return Plan(params, "the published configuration, for comparison: bins of 8 tuples, a fifth of them in HBM")


def _plan_one_choice(request: Request, prefer: Prefer) -> Plan:
    fitting: list[Params] = []
    tried: list[Params] = []  # for the message if nothing fits
    refusals: list[ParamsError] = []
    least = float(request.hbm_bytes)  # that is needed so far, or that there is
    page_sizes = _page_sizes(request)
    for page_bytes in page_sizes if prefer == "bytes" else reversed(page_sizes):  # large pages need least
        sizes = []
        for make in _candidates(request, page_bytes, prefer, least):
            try:
                params = make()
            except ParamsError as error:  # too many pages, perhaps: larger ones may do
                refusals.append(error)
                continue
            if params is None:
                continue
            sizes.append(params)
            if prefer == "bytes" and request.fits(params):
                break  # the usual tuning comes first
        fits = [params for params in sizes if request.fits(params)]
        if fits:
            fitting.append(min(fits, key=lambda params: params.hbm_bytes))
            if prefer == "bytes":
                break  # larger pages only move more
            least = min(least, fitting[-1].hbm_bytes)
        tried += sizes
    if fitting:
        chosen = min(fitting, key=lambda params: (params.hbm_bytes, params.page_bytes))
        return Plan(chosen, _reason(request, prefer), request.board)
    if tried:
        raise refusal(request, tried)
    if prefer == "hbm":
        return _plan_one_choice(request, "bytes")  # for the message: the search for the least HBM makes no hopeless map
    least_broken: dict[str, ReachError] = {}
    for refused in refusals:
        if isinstance(refused, ReachError):
            before = least_broken.setdefault(refused.bound, refused)
            least_broken[refused.bound] = min(before, refused, key=_excess)
    if least_broken:  # larger pages help against one bound, and not against another: the other one is what counts
        most_broken = max(least_broken.values(), key=_excess)
        raise _beyond(request, Rule.ONE_CHOICE, most_broken, partial(_plan_one_choice, prefer=prefer))
    raise PlanError(f"one_choice: {refusals[-1]}")


def _reason(request: Request, prefer: Prefer) -> str:
    if prefer == "hbm" and request.page_bytes is not None:
        return "the page size asked for, with the load that needs the least HBM"
    if prefer == "hbm":
        return "of all page sizes and loads this one needs the least HBM"
    if request.page_bytes is not None:
        return "the page size asked for"
    return "the smallest pages, and so the fewest bytes over PCIe, for which both memories suffice"


def _page_sizes(request: Request) -> list[int]:
    """Return the page sizes worth trying, smallest first: each holds more tuples than the one before."""
    if request.page_bytes is not None:
        return [request.page_bytes]
    tuple_bytes = request.key_bytes + request.value_bytes
    return sorted({sizing.page_bytes_for(slots, tuple_bytes) for slots in range(1, MAX_PAGE_SLOTS + 1)})


def _candidates(
    request: Request, page_bytes: int, prefer: Prefer, worth: float
) -> Iterator[Callable[[], Params | None]]:
    """Yield makers of maps with one page size: at the usual loads first, then at the load that suits it best."""
    bucket_bytes = None
    if prefer == "bytes":
        for tuning in _tunings(LINES):
            yield partial(sizing.one_choice, **request.shape, page_bytes=page_bytes, **tuning)
    else:  # larger buckets are fuller, but every lookup reads two of them
        maps: list[Params] = []
        for size in (64, 128):
            with contextlib.suppress(ReachError):  # twice as many keys fit the larger buckets
                maps.append(sizing.resident(**request.shape, bucket_bytes=size))
        bucket_bytes = min(maps, key=lambda params: params.hbm_bytes).bucket_bytes if maps else 128
    for descriptor_bytes in SHORT_LINES:
        tuning = {"descriptor_bytes": descriptor_bytes, "bucket_bytes": bucket_bytes}
        yield partial(Loads(request, page_bytes, tuning).search, worth)


def _tunings(lines: Iterable[int], more: Iterable[float] = ()) -> Iterator[dict[str, Any]]:
    """Yield arguments of :func:`sizing.one_choice` to try, the usual ones first."""
    for descriptor_bytes in lines:
        for page_load in (*_PAGE_LOADS, *more):
            yield {"descriptor_bytes": descriptor_bytes, "page_load": page_load}


def _sized(request: Request, rule: Rule, make: Callable[[], Params], again: Callable[[Request], Plan]) -> Params:
    try:
        return make()
    except ReachError as error:
        raise _beyond(request, rule, error, again) from error
    except ParamsError as error:
        raise PlanError(f"{rule}: {error}") from error


def _excess(error: ReachError) -> float:
    return error.needed / error.most


def _beyond(request: Request, rule: Rule, error: ReachError, again: Callable[[Request], Plan]) -> RefusedError:
    """Return an error that says which index does not reach, by how much, and how many keys fit, memories included."""
    fewer = scaled(request.capacity, error.most, error.needed)
    for _ in range(ESTIMATES):
        try:
            again(replace(request, capacity=fewer))
            break
        except RefusedError as refused:  # by a memory, or by another index
            fewer = refused.fewer
    return RefusedError(f"{rule}: {beyond(error)}; about {fewer:,} keys fit: give fewer keys", fewer)
