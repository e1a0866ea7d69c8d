"""Numbers on the command line: every option of every command reads them in the same way."""

from importlib import metadata

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from omap.cli import COMMANDS, main
from omap.commands.numbers import Real, Whole
from omap.errors import InputError
from omap.units import parse, parse_real


def commands(command, name):
    yield name, command
    for sub, each in getattr(command, "commands", {}).items():
        yield from commands(each, f"{name} {sub}")


ALL = dict(pair for point in metadata.entry_points(group=COMMANDS) for pair in commands(point.load(), point.name))


@pytest.mark.parametrize("name", ALL)
def test_no_command_reads_a_number_in_a_way_of_its_own(name):
    own = (type(click.INT), type(click.FLOAT), click.IntRange, click.FloatRange)
    assert [param.name for param in ALL[name].params if isinstance(param.type, own)] == []


@pytest.mark.parametrize("text", ["1__0", "1_", "_1", "1e1_0", "\u0661\u0660", "1k\u212a", "1,000", "1e3e3", "9" * 99])
def test_what_only_looks_like_a_number_is_refused(text):
    for read in (parse, parse_real):
        with pytest.raises(InputError, match=r"is no (size|number); write it like"):
            read(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("0.5", 0.5), ("30", 30.0), ("1e-9", 1e-9), ("2^-30", 2.0**-30), ("10k", 1e4), ("1_000.5", 1000.5)],
)
def test_numbers_that_need_not_be_whole(text, number):
    assert parse_real(text) == number


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "", "1e999", "2^-9999", "0x10"])
def test_no_numbers(text):
    with pytest.raises(InputError, match="is no number; write it like"):
        parse_real(text)


@given(text=st.text(alphabet="0123456789_.e+-^*2kKMGTiB ", max_size=12))
def test_whatever_is_typed_becomes_a_number_or_is_refused(text):
    for read, kind in ((parse, int), (parse_real, float)):
        try:
            number = read(text)
        except InputError:
            continue
        assert type(number) is kind
        assert 0 <= number < float("inf")


def test_bounds_are_named():
    with pytest.raises(click.BadParameter, match="99 came; it must be at least 100 and at most 10,000,000"):
        Whole(100, 10_000_000).convert("99", None, None)
    with pytest.raises(click.BadParameter, match="1 came; it must be less than 1"):
        Real(above=0, below=1).convert("1", None, None)
    with pytest.raises(click.BadParameter, match="0 came; it must be more than 0"):
        Real(above=0, below=1).convert("0", None, None)
    with pytest.raises(click.BadParameter, match="1 came; it must be at least 2"):
        Real(2).convert("1", None, None)
    assert Whole(0, 65535).convert("65_535", None, None) == 65535


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit", "--operations", "1__0"),
        ("demo", "--operations", "1__000"),
        ("bounds", "--keys", "1__0"),
        ("plan", "--capacity", "1__0"),
        ("serve", "--capacity", "1__0"),
        ("serve", "--port", "1__0"),
        ("proxy", "--rate", "1__0"),
        ("status", "--timeout", "1__0"),
        ("status", "--timeout", "nan"),
    ],
)
def test_commands_refuse_alike(arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    says = ("is no size; write it like", "is no number; write it like", "is no port: a number from 0 to 65535")
    assert any(each in result.stderr for each in says)


def test_what_one_command_takes_every_command_takes():
    from host.commands.planned import MapOptions
    from host.commands.serve import command

    context = command.make_context("serve", ["--capacity", "1e6", "--value-bytes", "1_00", "--ring-lines", "2^8"])
    assert (context.params["capacity"], context.params["value_bytes"]) == (10**6, 100)
    assert context.params["ring_lines"] == 256
    assert MapOptions(capacity=context.params["capacity"]).params().capacity == 10**6
