"""What the help of ``omap audit`` says: at which length a leak of some size shows, compared with runs."""

import pytest

from omap.commands.audit_power import SHARES, SHOWS_AT, text
from tests.support.leakage import power

QUICK = 5000
"""Longest runs that are compared every time."""


def cells():
    for leak, lengths in SHOWS_AT.items():
        for share, count in zip(SHARES, lengths, strict=True):
            slow = count is None or count > QUICK
            yield pytest.param(leak, share, count, marks=pytest.mark.long if slow else (), id=f"{leak}, {share:.0%}")


@pytest.mark.parametrize(("leak", "share", "count"), list(cells()))
def test_a_leak_shows_at_the_length_that_the_help_names_and_not_before(leak, share, count):
    if count is None:
        assert not power.shows(leak, share, power.LENGTHS[-1])
        return
    assert power.shows(leak, share, count)
    before = power.before(count)
    assert before is None or not power.shows(leak, share, before)


def test_the_help_has_every_number():
    assert list(SHOWS_AT) == list(power.LEAKS)
    lines = text().splitlines()
    for leak, lengths in SHOWS_AT.items():
        (line,) = [line for line in lines if line.startswith(leak)]
        told = line.removeprefix(leak).replace(",", "").replace("10^6", "1000000").split()
        assert told == ["-" if count is None else str(count) for count in lengths]
    assert max(map(len, lines[: len(SHOWS_AT) + 6])) <= 120
    assert all(len(line) < 79 for line in lines[lines.index("\b") : lines.index("\b") + len(SHOWS_AT) + 2])


def test_sound_runs_show_nothing():
    assert not any(power.seen(leak, 0.0, 2000, seed) for leak in power.LEAKS for seed in range(20))
