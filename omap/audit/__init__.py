"""Decides whether a trace of host memory is what public parameters alone would produce.

A map claims that, whatever the operations are, the pages touched are independent uniform draws, in a fixed pattern of
reads and writes. :func:`audit` takes the events that an observer recorded, the number of operations submitted, and the
public parameters, and nothing else. It looks for any departure from the claim. Where the pattern is fixed, a check is
exact. Where pages are drawn, the probability of a false alarm is stated.

An audit can't prove that a map is oblivious, because it sees only one run. It has found every fault that was planted on
purpose.
"""

from __future__ import annotations

from omap.audit import statistics, structure
from omap.audit.files import load_trace, save_trace
from omap.audit.report import Finding, Report
from omap.errors import InputError
from omap.leakage import operation_shows
from omap.params import Params, Rule
from omap.trace import Trace

__all__ = ["FALSE_ALARM", "Finding", "Report", "audit", "load_trace", "save_trace"]

FALSE_ALARM = 2.0**-30
"""Largest probability that a sound trace fails, over all checks of one audit together."""


def audit(trace: Trace, params: Params, *, false_alarm: float = FALSE_ALARM, overlapping: bool = False) -> Report:
    """Compare ``trace`` with what ``params`` allow, and report what does not fit. Reveals nothing: it only reads.

    Parameters
    ----------
    trace : Trace
        Events that an observer of host memory recorded, from 10^2 to 10^7 of them. If it says what was submitted, that
        must be what ran.
    params : Params
        Public parameters of the map. The audit needs no keys, seeds or operations, because they must not matter.
    false_alarm : float
        Largest probability that a sound trace fails. All statistical checks share it equally (Bonferroni).
    overlapping : bool
        Whether operations may overlap in time, as in a pipelined engine. If not, each must end before the next begins.

    Returns
    -------
    Report
        The exact checks come first. If one of them fails, no statistical check runs, because its counts would mean
        nothing.

    Raises
    ------
    InputError
        If the columns of the trace contradict each other or ``false_alarm`` is no probability.
    """
    if not 0 < false_alarm < 1:
        raise InputError(f"false_alarm must be between 0 and 1, not {false_alarm!r}")
    findings, notes, touches = structure.check(trace, params, overlapping)
    if touches is not None and params.rule is not Rule.RESIDENT:
        found = list(statistics.counts(touches, params))
        threshold = false_alarm / max(len(found), 1)
        findings += [
            Finding(
                name=count.name,
                statistic=count.statistic,
                observed=count.observed,
                expected=count.expected,
                p_value=max(count.p_value, 1e-300),
                threshold=threshold,
                means=count.means,
            )
            for count in found
        ]
        wanted = operations_wanted(params)
        if trace.operations < wanted:
            notes.append(
                f"{trace.operations:,} operations are few for {params.pages:,} pages: a leak that only shifts how "
                f"often pages come again needs about {wanted:,} to be seen"
            )
    return Report(
        findings=findings,
        operations=trace.operations,
        events=len(trace),
        claim=operation_shows(params),
        false_alarm=false_alarm,
        notes=notes,
    )


def operations_wanted(params: Params) -> int:
    """Return how many operations are needed to see a bias of a third in how often pages come again.

    n operations make n^2 / (2 pages) repeats on average, with a standard deviation of n / sqrt(2 pages). From n = 30
    sqrt(pages) on, a third of the repeats is seven standard deviations. A stronger bias needs fewer operations; a bias
    that links all operations on a key needs a handful.
    """
    return int(30 * params.pages**0.5)
