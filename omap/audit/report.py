"""What an audit found, for people and for scripts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check and its outcome.

    Attributes
    ----------
    name : str
        What was checked.
    statistic : str
        What was counted.
    observed, expected : float
        Its value in the trace, and its mean if the trace is what it should be (0 where any deviation is a failure).
    p_value : float
        At most this probable, or less, if the trace is what it should be. 0 for a deviation that is impossible.
    threshold : float
        Below this the check fails.
    means : str
        What a failure would mean, in plain words.
    detail : str
        For a deviation: the first place where it shows, what was expected and what came.
    """

    name: str
    statistic: str
    observed: float
    expected: float
    p_value: float
    threshold: float
    means: str
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether the check passed."""
        return not self.p_value < self.threshold

    @property
    def verdict(self) -> str:
        """``pass`` or ``fail``."""
        return "pass" if self.passed else "fail"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "name": self.name,
            "statistic": self.statistic,
            "observed": self.observed,
            "expected": self.expected,
            "p_value": self.p_value,
            "threshold": self.threshold,
            "verdict": self.verdict,
            "means": self.means,
            "detail": self.detail,
        }


@dataclass(frozen=True, kw_only=True)
class Report:
    """Outcome of an audit.

    Attributes
    ----------
    findings : list of Finding
        All checks, exact ones first.
    operations, events : int
        Size of the trace.
    claim : str
        What the trace was held against.
    false_alarm : float
        Probability that a trace which is what it should be fails, over all checks together, at most.
    notes : list of str
        What limits the verdict: a run too short, checks that could not run.
    """

    findings: list[Finding]
    operations: int
    events: int
    claim: str
    false_alarm: float
    notes: list[str] = field(default_factory=list)

    @cached_property
    def failures(self) -> list[Finding]:
        """The checks that failed, the least probable first."""
        return sorted((finding for finding in self.findings if not finding.passed), key=lambda f: f.p_value)

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "passed": self.passed,
            "claim": self.claim,
            "operations": self.operations,
            "events": self.events,
            "false_alarm": self.false_alarm,
            "notes": list(self.notes),
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def summary(self) -> str:
        """Return a few lines of text: verdict, why, and how sure."""
        size = f"{self.operations:,} operations, {self.events:,} events of host memory, {len(self.findings)} checks"
        alarm = f"A sound trace fails with a probability of at most {self.false_alarm:.1e}, all checks together."
        if self.passed:
            closest = min(self.findings, key=lambda f: f.p_value, default=None)
            lines = [f"PASS: the trace is what public parameters alone produce ({size}).", self.claim, alarm]
            if closest is not None and closest.p_value < 1:
                lines.append(f"Closest to its threshold: {closest.name}, p = {closest.p_value:.2g}.")
        else:
            lines = [f"FAIL: the trace shows more than the public parameters ({size}).", self.claim, alarm]
            for finding in self.failures[:6]:
                chance = "impossible" if finding.p_value == 0 else f"p = {finding.p_value:.1e}"
                saw = finding.detail or f"{finding.statistic}: {finding.observed:,.6g}, not {finding.expected:,.6g}"
                lines += [f"- {finding.name} ({chance}): {saw}.", f"    {finding.means}"]
            if len(self.failures) > 6:
                lines.append(f"- and {len(self.failures) - 6} more checks failed.")
        return "\n".join(lines + [f"Note: {note}" for note in self.notes])
