"""Which map the model runs, and what is said of it."""

import logging
import sys

import pytest

import omap.fast
from host.model import choice
from host.model.model import ModelTransport
from omap.errors import InputError
from omap.fast.map import FastMap
from omap.map import OneChoiceMap, create
from omap.params import Rule
from omap.presets import preset
from omap.regmap import Request
from omap.wire import LEAST_RING_LINES
from tests.support.omap_maps import tight

TINY = preset("TINY")


@pytest.fixture(autouse=True)
def said(monkeypatch, caplog):
    monkeypatch.delenv(choice.VARIABLE)
    monkeypatch.setattr(logging.getLogger("omap"), "propagate", True)
    caplog.set_level(logging.INFO, "omap.serve")
    return caplog


def test_the_compiled_map_runs_where_it_can(said, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "compiled_before", lambda: True)
    assert choice.choose(None, TINY) == choice.choose("fast", TINY) == "fast"
    assert not said.messages
    monkeypatch.setattr(choice, "compiled_before", lambda: False)
    assert choice.choose(None, TINY) == "fast"
    assert said.messages == ["the fast model is compiled, which takes some seconds, and only once"]


def test_an_option_or_a_variable_asks_for_the_reference(said, monkeypatch):
    assert choice.choose("reference", TINY) == "reference"
    monkeypatch.setenv(choice.VARIABLE, "reference")
    assert choice.choose(None, TINY) == "reference"
    assert choice.choose("fast", TINY) == "fast"
    monkeypatch.setenv(choice.VARIABLE, "quick")
    with pytest.raises(InputError, match="no model is called 'quick'; there are fast, reference"):
        choice.choose(None, TINY)


def test_without_numba_one_line_says_so_and_the_reference_runs(said, monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    assert choice.choose(None, TINY) == "reference"
    how = "run `pip install -e '.[bounds]'` in the project's folder"
    assert said.messages == [f"numba is not installed, so the slower reference runs: {how}"]


def test_a_resident_map_is_the_reference_and_is_said_to_be(said):
    assert choice.choose(None, tight("TINY", Rule.RESIDENT)) == "reference"
    assert said.messages == ["the reference runs: a resident map is not compiled"]


@pytest.mark.parametrize(("model", "kind"), [("fast", FastMap), ("reference", OneChoiceMap)])
def test_a_device_runs_what_was_chosen(model, kind):
    with ModelTransport(TINY, bytes(32), ring_lines=LEAST_RING_LINES, stepped=True, model=model) as transport:
        transport.write("REQUEST", Request.FORMAT)
        transport.step()
        assert isinstance(transport.device._map, kind)
        assert isinstance(transport.device._map, FastMap) == (model == "fast")


def test_a_numba_that_does_not_load_costs_a_line_and_speed_alone(said, monkeypatch):
    monkeypatch.delattr(omap.fast, "map")
    monkeypatch.setitem(sys.modules, "omap.fast.map", None)  # as if numba did not know this numpy
    assert choice.maker("fast") is create
    assert len(said.messages) == 1
    assert said.messages[0].startswith("numba can't be loaded, so the slower reference runs: ")
