"""The findings of an audit, for people and for scripts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

SHOWN = 5
"""Most failures that a summary explains; each has another meaning."""


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
        Value of the statistic in the trace, and its mean in a sound trace (0 if any deviation is a failure).
    p_value : float
        Upper bound on the probability of such a value in a sound trace; 0 for a deviation that is impossible there.
    threshold : float
        The check fails if ``p_value`` is below it.
    means : str
        What a failure means, in plain words.
    detail : str
        For a deviation from a fixed pattern: where it shows first, what was expected and what came.
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

    @property
    def chance(self) -> str:
        """``p_value`` as text."""
        if self.p_value == 0:
            return "impossible in a sound trace"
        return f"p at most {self.p_value:.2g}" if self.p_value < 1 else "no deviation"

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
        Operations and events in the trace.
    claim : str
        The claim that the trace was compared with, as a sentence.
    false_alarm : float
        Largest probability that a sound trace fails, over all checks together.
    notes : list of str
        Limits of the verdict, such as a run that is too short, or checks that could not run.
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

    @property
    def worst(self) -> Finding:
        """The least probable finding."""
        return min(self.findings, key=lambda finding: finding.p_value)

    @property
    def claim_text(self) -> str:
        """The claim as a sentence; where a check failed, it is only what was expected."""
        return self.claim if self.passed else f"Expected: {self.claim[:1].lower()}{self.claim[1:]}"

    @property
    def false_alarm_text(self) -> str:
        """A sentence that says how sure a verdict is."""
        return f"A sound trace fails with a probability of at most {self.false_alarm:.1e}, all checks together."

    def summary(self) -> str:
        """Return a few lines of text: the verdict, the reasons, and how sure it is."""
        size = f"{self.operations:,} operations, {self.events:,} events of host memory, {len(self.findings)} checks"
        if self.passed:
            lines = [f"PASS: the trace is what public parameters alone produce ({size}).", self.claim_text]
            lines += [self.false_alarm_text, f"Least probable: {self.worst.name}, {self.worst.chance}."]
        else:
            lines = [f"FAIL: the trace shows more than public parameters ({size}).", self.claim_text]
            lines.append(self.false_alarm_text)
            first: dict[str, Finding] = {}
            for finding in self.failures:
                first.setdefault(finding.means, finding)
            shown = list(first.values())[:SHOWN]
            for finding in shown:
                saw = (
                    finding.detail or f"{finding.statistic}: {finding.observed:,.6g}, expected {finding.expected:,.6g}"
                )
                lines += [f"- {finding.name} ({finding.chance}): {saw}.", f"  {finding.means}"]
            if len(self.failures) > len(shown):
                lines.append(f"- and {len(self.failures) - len(shown)} more of {len(self.findings)} checks.")
        return "\n".join(lines + [f"Note: {note}." for note in self.notes])
