"""Decides whether a trace of host memory is what public parameters alone would produce.

The claim of the map (see docs) is a statement about a distribution: whatever the operations are, the pages touched
are independent uniform draws, in a fixed pattern of reads and writes. :func:`audit` takes what an observer recorded
and the public parameters, nothing else, and looks for any departure: exactly where the pattern is fixed, with a stated
probability of a false alarm where pages are drawn.

An audit can't prove a map oblivious: it sees one run. It has found every fault that was planted on purpose.
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
"""Probability that a sound trace fails, over all checks of one audit together."""


def audit(trace: Trace, params: Params, *, false_alarm: float = FALSE_ALARM, overlapping: bool = False) -> Report:
    """Hold ``trace`` against ``params`` and report what does not fit.

    Parameters
    ----------
    trace : Trace
        What an observer of host memory recorded, from 10^2 to 10^7 events.
    params : Params
        Public parameters of the map. Keys, seeds and operations are not wanted: they must not matter.
    false_alarm : float
        Probability that a sound trace fails, at most. Shared equally by all statistical checks (Bonferroni).
    overlapping : bool
        Whether operations may overlap in time, as in a pipelined engine. If not, each must be complete before the next.

    Returns
    -------
    Report
        Exact checks first. If one of them fails, the statistical ones are left out: there is nothing to count.

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
    """Return how many operations it takes to see a bias of a third in how often pages come again.

    n operations make n^2 / (2 pages) repeats, give or take n / sqrt(2 pages); a third of them stands out by seven
    standard deviations from n = 30 sqrt(pages) on. A stronger bias needs fewer, one that links every access a handful.
    """
    return int(30 * params.pages**0.5)
