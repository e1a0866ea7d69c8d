"""The commands in docs/use/client.md work, and the names in it exist."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

from click.testing import CliRunner

import omap
from host.client.aio import AsyncClient
from host.client.settings import Settings
from host.client.sync import Client
from host.commands.planned import CAPACITY, MapOptions
from host.testing import running_relay
from omap import errors
from omap.cli import main

TEXT = (Path(__file__).parents[3] / "docs" / "use" / "client.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_the_three_steps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    *provisions, serve = blocks("sh")[0].splitlines()
    assert len(provisions) == 2
    for provision in provisions + blocks("sh")[1].splitlines():
        result = CliRunner().invoke(main, shlex.split(provision)[1:])
        assert result.exit_code == 0, result.output
    assert serve == "omap serve --key-file root.key"  # its defaults, in this process and on a free port:
    params = MapOptions().params()
    assert params.capacity == CAPACITY
    with running_relay(params, "root.key") as relay:
        (program,) = blocks("python")
        assert program.count("omap://127.0.0.1:7450") == 1
        exec(compile(program.replace("omap://127.0.0.1:7450", relay.address), "client.md", "exec"), {})


def test_options_errors_and_methods_are_there():
    told = set(re.findall(r"`(\w+)`", re.search(r"^Options: .*?;", TEXT, re.MULTILINE | re.DOTALL)[0]))
    assert told == {field.name for field in fields(Settings)} - {"where"} | {"key_file"}
    named = set(re.findall(r"`(\w+Error)`", TEXT))
    assert named <= set(vars(errors))
    assert named <= set(omap.__all__)
    for method in ("get", "put", "delete", "execute", "put_many", "get_many"):
        assert f"`{method}" in TEXT
        assert hasattr(Client, method)
        assert hasattr(AsyncClient, method)
    for attribute in ("answered", "in_doubt", "not_sent", "responses"):
        assert f"`{attribute}`" in TEXT
        assert hasattr(omap.UnknownFateError, attribute)
