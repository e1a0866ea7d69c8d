# amaranth: UnusedElaboratable=no
"""docs/hardware/architecture.md speaks of functions, blocks and stages that are there, and of all of them."""

import importlib
import re
from pathlib import Path

import pytest
from amaranth.lib.wiring import Component

from omap.presets import preset
from rtl.config import EngineConfig
from rtl.engine import ENGINE_PROGRESS, Engine
from rtl.map.admission import Admission
from rtl.map.core import PROGRESS, Core
from rtl.map.format import Format
from rtl.map.map_memory import MapMemory
from rtl.map.merging import Merging
from rtl.map.sealing import Sealing
from sim.measure import timeline
from sim.measure.timeline_picture import PHASES

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "hardware" / "architecture.md").read_text("utf-8")
PICTURE = (ROOT / "docs" / "pictures" / "one-operation.svg").read_text("utf-8")
STEPS = re.findall(r"^\| (?:`(\w+)`)? ?\|(.*)\|$", DOCUMENT.partition("## In cycles")[0], re.MULTILINE)
NAMES = sorted(set(re.findall(r"`((?:omap|rtl|sim|host)\.[\w.]+)`", DOCUMENT)))


def resolve(name):
    """Return what a dotted name stands for; members of a component's signature count."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for place, part in enumerate(parts[length:], length):
            if not hasattr(found, part):
                assert re.search(rf"^    (\w+, )*{part}\b.* : ", found.__doc__, re.MULTILINE), ".".join(
                    parts[: place + 1]
                )
                return None
            found = getattr(found, part)
        return found
    raise AssertionError(f"there is no module {name}")


@pytest.mark.parametrize("name", NAMES)
def test_names_stand_for_something(name):
    resolve(name)


def test_a_name_that_is_not_there_is_noticed():
    with pytest.raises(AssertionError):
        resolve("omap.page.Page.swap")
    with pytest.raises(AssertionError):
        resolve("rtl.map.pages.Pages.stopped")


def test_the_steps_are_the_stages():
    assert {stage for stage, _ in STEPS if stage} == set(ENGINE_PROGRESS)


def test_the_blocks_of_engine_and_core_are_named():
    config = EngineConfig(params=preset("TINY"))
    core = Core(config)
    wired = [part for part in vars(core).values() if type(part) in (Admission, Sealing, Merging, Format, MapMemory)]
    assert len(wired) == 5
    parts = [
        part for block in (Engine(config), core, *wired) for part in vars(block).values() if isinstance(part, Component)
    ]
    assert len(parts) >= 20
    assert not {name for part in parts if (name := type(part).__name__) not in DOCUMENT}


def test_the_parameters_of_the_times_are_named():
    for name in ("interval", "lookup_cycles", "turnaround_cycles", "follow_cycles", "merge_cycles", "reply_cycles"):
        assert name in EngineConfig.__dataclass_fields__
        assert f"`{name}`" in DOCUMENT


def test_the_table_has_every_stage_and_the_picture_every_phase():
    table = DOCUMENT.partition(timeline.BEGIN)[2].partition(timeline.END)[0]
    assert sorted(re.findall(r"^\| *[\d,]+ \| `(\w+)` \|", table, re.MULTILINE)) == sorted(ENGINE_PROGRESS)
    for begin, end, _, words in PHASES:
        assert words in PICTURE
        assert {begin, end} <= {*ENGINE_PROGRESS, "doorbell", "write", "told"}
    assert set(PROGRESS) < set(ENGINE_PROGRESS)


def test_the_times_are_those_of_the_engine_as_it_is_configured_now():
    assert timeline.described(timeline.subject()) in DOCUMENT, (
        "out of date: python -m sim.measure.timeline (takes minutes)"
    )


@pytest.mark.long
def test_table_and_picture_are_what_the_engine_does(request):
    text, picture = timeline.documented()
    if request.config.getoption("--regenerate"):
        timeline.main([])
        return
    assert timeline.with_section(DOCUMENT, text) == DOCUMENT, "out of date: python -m sim.measure.timeline"
    assert picture == PICTURE, "out of date: python -m sim.measure.timeline"
