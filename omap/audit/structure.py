"""Exact checks: which events there are, and in which order. In a sound trace not one deviation is possible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omap.audit.report import Finding
from omap.errors import InputError
from omap.leakage import SCAN_NAMES, SCANS, TOUCH, touches_per_operation
from omap.params import Params
from omap.trace import BULK_LOAD, EXPORT, FORMAT, Submitted, Trace

MOST_OPERATIONS = 1 << 27
"""Most operations of a trace: an audit counts the events of each, and takes a gigabyte for so many."""

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Touches:
    """The pages that operations touched, in order.

    Attributes
    ----------
    page : (t,) int64 array
        Page of each touch.
    operation : (t,) int64 array
        Operation that each touch belongs to.
    second : (t,) bool array
        Whether a touch is the second of its operation.
    per_operation : (operations,) int64 array
        Number of touches of each operation.
    """

    page: Ints
    operation: Ints
    second: Bools
    per_operation: Ints


def check(trace: Trace, params: Params, overlapping: bool) -> tuple[list[Finding], list[str], Touches | None]:
    """Compare the events of ``trace`` with those that an operation or a scan may cause.

    Returns
    -------
    findings : list of Finding
        One for each check that could run; its probability is 1 (no deviation) or 0.
    notes : list of str
        Which checks could not run, and why.
    touches : Touches or None
        The touches of the operations, if every check passed.

    Raises
    ------
    InputError
        If the columns contradict each other, so that they are no trace.
    """
    _check_columns(trace)
    in_operation = trace.operation >= 0
    findings = [_places(trace, params), _scans_and_order(trace, params, overlapping)]
    if overlapping:  # only the events of one operation have a fixed order
        order = np.flatnonzero(in_operation)[np.argsort(trace.operation[in_operation], kind="stable")]
    else:
        order = np.flatnonzero(in_operation)
    counts = np.bincount(trace.operation[in_operation], minlength=trace.operations).astype(np.int64)
    findings.append(_counts(counts, params))
    notes = []
    if trace.submitted is None:
        notes.append("nobody counted what was submitted, so that operations that the device inserted would not show")
    else:
        regular = findings[1].passed  # else scans can't be counted
        findings.append(_submitted(trace, trace.submitted, params.pages if regular else 0))
    if not all(finding.passed for finding in findings):
        notes.append("pages and their order were not examined: the events are not those of the operations submitted")
        return findings, notes, None
    findings.append(_pairs_of_events(trace, order, params))
    if not findings[-1].passed or not params.pages:
        return findings, notes, None
    first_events = order[:: len(TOUCH)]
    operation = trace.operation[first_events]
    page = (trace.address[first_events] // np.uint64(params.page_bytes)).astype(np.int64)
    second = np.zeros(len(page), np.bool_)
    second[1:] = operation[1:] == operation[:-1]
    touches = Touches(page, operation, second, counts // len(TOUCH))
    if max(touches_per_operation(params)) > 1:
        findings.append(_distinct(touches))
    return findings, notes, touches if findings[-1].passed else None


def _check_columns(trace: Trace) -> None:
    columns = (trace.operation, trace.address, trace.length, trace.write)
    if any(column.shape != (len(trace.address),) for column in columns):
        raise InputError(f"a trace has four columns of one length, not {', '.join(str(c.shape) for c in columns)}")
    if any(column.dtype.kind not in "iu" for column in columns[:3]) or trace.write.dtype != np.bool_:
        raise InputError(
            "a trace has whole numbers as operation, address and length, and booleans as write, not "
            f"{', '.join(str(column.dtype) for column in columns)}"
        )
    if not 0 <= trace.operations <= MOST_OPERATIONS:
        raise InputError(
            f"a trace has 0 to {MOST_OPERATIONS:,} operations, and this one has {trace.operations:,}; "
            "audit a longer one in parts"
        )
    if len(trace) and (int(trace.operation.max()) >= trace.operations or int(trace.operation.min()) < min(SCANS)):
        raise InputError(
            f"a trace of {trace.operations} operations numbers them from 0, and scans {sorted(SCANS)}; "
            f"it has numbers {int(trace.operation.min())} to {int(trace.operation.max())}"
        )


def _finding(name: str, statistic: str, deviations: int, means: str, detail: str) -> Finding:
    return Finding(
        name=name,
        statistic=statistic,
        observed=deviations,
        expected=0,
        p_value=0.0 if deviations else 1.0,
        threshold=0.5,
        means=means,
        detail=detail if deviations else "",
    )


def _first(bad: Bools) -> int:
    return int(np.argmax(bad)) if len(bad) else 0


def _whose(operation: int) -> str:
    return f"operation {operation}" if operation >= 0 else _scan_name(operation)


def _scan_name(kind: int) -> str:
    name = SCAN_NAMES[kind]
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _event(trace: Trace, index: int) -> str:
    return f"a {'write' if trace.write[index] else 'read'} of {trace.length[index]} bytes at {trace.address[index]}"


def _places(trace: Trace, params: Params) -> Finding:
    """Check that every event is one whole page of host memory."""
    size = np.uint64(max(params.page_bytes, 1))
    good = (trace.length == params.page_bytes) & (trace.address % size == 0) & (trace.address < params.host_bytes)
    index = _first(~good)
    detail = ""
    if not good.all():
        wanted = (
            f"one page of {params.page_bytes} bytes at a multiple of {params.page_bytes} below {params.host_bytes}"
            if params.pages
            else "no access to host memory, since the map has no pages"
        )
        detail = (
            f"{_whose(int(trace.operation[index]))}: expected {wanted}, came {_event(trace, index)} (event {index})"
        )
    return _finding(
        "whole pages",
        "events that are not exactly one page of host memory",
        int((~good).sum()),
        "Length or alignment of an access depends on something, so it tells something.",
        detail,
    )


def _scans_and_order(trace: Trace, params: Params, overlapping: bool) -> Finding:
    """Check that scans visit every page in order, and that operations come in order and not amid each other."""
    no_number = np.int64(min(SCANS) - 1)
    ends = np.flatnonzero(np.diff(trace.operation, append=no_number))  # last event of each run of equal numbers
    starts = np.concatenate(([0], ends[:-1] + 1)).astype(np.int64) if len(ends) else ends
    owner = trace.operation[starts] if len(starts) else trace.operation
    deviations, detail = 0, ""
    for start, end, kind in zip(starts[owner < 0], ends[owner < 0] + 1, owner[owner < 0], strict=True):
        bad = _scan_deviation(trace, params, int(start), int(end), int(kind))
        deviations += bool(bad)
        detail = detail or bad
    numbers = owner[owner >= 0]
    if overlapping:
        before = np.maximum.accumulate(trace.operation) if len(trace) else trace.operation
        after = np.minimum.accumulate(np.where(trace.operation < 0, trace.operations, trace.operation)[::-1])[::-1]
        amid = (trace.operation < 0) & (before >= after)
        if amid.any():
            deviations += int(amid.sum())
            detail = (
                detail or f"a scan ran while operations {after[_first(amid)]} to {before[_first(amid)]} were under way"
            )
    else:
        back = np.diff(numbers) <= 0
        if back.any():
            deviations += int(back.sum())
            at = _first(back)
            detail = detail or (
                f"operation {numbers[at]} was followed by events of operation {numbers[at + 1]}; expected operations "
                "in the order of their numbers, each complete before the next"
            )
    return _finding(
        "order of events",
        "scans that are not complete and ascending, operations out of order",
        deviations,
        "When an access happens depends on more than the arrival of operations.",
        detail,
    )


def _scan_deviation(trace: Trace, params: Params, start: int, end: int, kind: int) -> str:
    """Say what is wrong with the scans of one kind in events ``start`` to ``end - 1``; return "" if nothing is."""
    events = SCANS[kind]
    name = _scan_name(kind)
    place = np.arange(end - start)
    page = place // len(events) % max(params.pages, 1)
    write = np.array(events)[place % len(events)]
    same = (trace.write[start:end] == write) & (
        trace.address[start:end] == page.astype(np.uint64) * np.uint64(params.page_bytes)
    )
    if not same.all():
        at = _first(~same)
        wanted = f"a {'write' if write[at] else 'read'} of page {page[at]}"
        return f"{name}: expected {wanted}, came {_event(trace, start + at)} (event {start + at})"
    whole = len(events) * params.pages
    if whole == 0 or (end - start) % whole:
        return f"{name}: {end - start} events, expected {whole} for {params.pages} pages, or a multiple"
    return ""


def _counts(counts: Ints, params: Params) -> Finding:
    """Check that every operation causes a number of events that its rule allows."""
    allowed = sorted(touches * len(TOUCH) for touches in touches_per_operation(params))
    bad = ~np.isin(counts, allowed)
    at = _first(bad)
    wanted = " or ".join(map(str, allowed))
    return _finding(
        "events of an operation",
        "operations with another number of events",
        int(bad.sum()),
        "The number of accesses depends on the operation: on its kind, its key, or what it found.",
        f"operation {at}: expected {wanted} events, came {counts[at]}" if bad.any() else "",
    )


def _submitted(trace: Trace, submitted: Submitted, pages: int) -> Finding:
    """Check that what ran is what was submitted: operations, and if there are pages, scans over them."""
    pairs = {"operations": (submitted.operations, trace.operations)}
    scans = ((FORMAT, submitted.formats), (BULK_LOAD, submitted.bulk_loads), (EXPORT, submitted.exports))
    for kind, asked in scans if pages else ():
        ran = int((trace.operation == kind).sum()) // (len(SCANS[kind]) * pages)
        pairs[f"{SCAN_NAMES[kind]}s"] = asked, ran
    wrong = [
        f"{asked:,} {what} were submitted, and {ran:,} ran" for what, (asked, ran) in pairs.items() if asked != ran
    ]
    return _finding(
        "what was submitted",
        "operations and scans that nobody submitted, or that did not run",
        sum(abs(asked - ran) for asked, ran in pairs.values()),
        "The device does something by itself, or leaves something out: when it does can depend on anything.",
        "; ".join(wrong),
    )


def _pairs_of_events(trace: Trace, order: Ints, params: Params) -> Finding:
    """Check that every touch is a read and then a write of the same page."""
    write = trace.write[order].reshape(-1, len(TOUCH))
    address = trace.address[order].reshape(-1, len(TOUCH))
    bad = (write != np.array(TOUCH)).any(axis=1) | (address != address[:, :1]).any(axis=1)
    detail = ""
    if bad.any():
        index = order[_first(bad) * len(TOUCH)]
        detail = (
            f"operation {trace.operation[index]}: expected a read and then a write of the same page, "
            f"came {_event(trace, int(index))}, then {_event(trace, int(order[_first(bad) * len(TOUCH) + 1]))}"
        )
    return _finding(
        "read, then written back",
        "touches that are not a read and a write of one page",
        int(bad.sum()),
        "What is written, or whether, depends on the operation: a reader and a writer look different.",
        detail,
    )


def _distinct(touches: Touches) -> Finding:
    """Check that the pages of one operation differ."""
    again = touches.second & (touches.page == np.roll(touches.page, 1))
    detail = ""
    if again.any():
        at = _first(again)
        detail = f"operation {touches.operation[at]}: page {touches.page[at]} came twice, expected two distinct bins"
    return _finding(
        "two distinct pages",
        "operations that touch one page twice",
        int(again.sum()),
        "The two bins of a key were drawn independently; keys whose bins are equal overflow their page.",
        detail,
    )
