"""A removal: one countermeasure taken out of one file, and the tests that must notice."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Removal:
    """A text of a source, and what stands in its place without a countermeasure.

    Attributes
    ----------
    label : str
        Countermeasure that is removed.
    file : str
        Source, from the root of the repository.
    old, new : str
        The text, which occurs once, and its substitute.
    tests : tuple of str
        Paths or node ids of pytest, where not all short tests of the package are asked for the label. What is named
        here runs even if it is long.
    error : str
        Type of an exception that shows the removal in a test, beside a failed assertion.
    """

    label: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()
    error: str = ""

    def __str__(self) -> str:
        return f"{self.label}: {self.old!r} in {self.file}"

    def text(self) -> str:
        """Return the source."""
        return (ROOT / self.file).read_text("utf-8")

    def applies(self) -> int:
        """Return how often the text occurs."""
        return self.text().count(self.old)

    def removed(self) -> str:
        """Return the source without the countermeasure."""
        return self.text().replace(self.old, self.new)
