"""Options of the engine's benchmarks: what they choose, and what is refused before anything is simulated."""

import argparse
from fractions import Fraction

import pytest

from sim.measure import engine
from sim.measure.engine import BARS, CAPACITIES
from sim.measure.options import SHAPES, add_options, chosen, number
from sim.models.timing import HostTiming, own_end


def test_numbers_of_an_engine_are_given_by_name():
    assert number("lanes=2") == ("lanes", 2)
    assert number("interval=5") == ("interval", 5)
    assert number("interval=19/4") == ("interval", Fraction(19, 4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lane=2", "is not NAME=NUMBER with one of these names: lanes, interval"),
        ("lanes", "is not NAME=NUMBER"),
        ("lanes=-2", "is not NAME=NUMBER"),
        ("lanes=4/2", "only the interval may be a fraction, such as interval=19/4"),
        ("interval=5/0", "only the interval may be a fraction"),
        ("interval=5/", "only the interval may be a fraction"),
    ],
)
def test_what_is_no_number_of_an_engine_is_refused(text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        number(text)


def choices(*words, journal=False):
    parser = argparse.ArgumentParser()
    add_options(parser)
    return chosen(parser, parser.parse_args(words), CAPACITIES, journal=journal)


def test_all_shapes_are_measured_unless_one_is_named():
    found = [(choice.name, choice.config.params.capacity) for choice in choices()]
    assert found == [(name, keys) for name in SHAPES for keys in CAPACITIES[name]]
    assert SHAPES.keys() == CAPACITIES.keys() == BARS.keys()
    (one,) = choices("--shape", "PAPER", "--keys", "2^10", "--set", "interval=19/2", "--set", "lanes=1", journal=True)
    assert (one.config.params.capacity, one.config.interval, one.config.lanes) == (1 << 10, Fraction(19, 2), 1)
    assert one.config.journal
    assert one.host == HostTiming()


def test_a_host_is_the_default_one_or_has_as_many_accesses_or_our_own_end():
    shape = ("--shape", "STANDARD", "--keys", "2^10")
    (one,) = choices(*shape, "--outstanding", "64")
    assert one.host == HostTiming(reads=64, writes=64)
    (one,) = choices(*shape, "--own-end")
    assert one.host == own_end(10)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "interval=x"], "is not NAME=NUMBER"),
        (["--set", "interval=3"], "interval is 3; it must be a whole number from 4 to 4096"),
        (["--outstanding", "0"], "reads is 0; it must be positive"),
        (["--outstanding", "64", "--own-end"], "--own-end: not allowed with argument --outstanding"),
        (["--keys", "many"], "argument --keys: invalid"),
    ],
)
def test_options_that_are_wrong_are_refused_with_a_sentence(words, message, capsys, monkeypatch):
    monkeypatch.setattr(engine, "report", lambda *its: pytest.fail("something was measured"))
    with pytest.raises(SystemExit):
        engine.main(words)
    assert message in capsys.readouterr().err
