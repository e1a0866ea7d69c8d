"""The picture of an operation's stages: every bar has the place that its cycles give it."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from omap.presets import preset
from omap.wire import CONTROL_BYTES, BufferLayout, Counter
from rtl.config import EngineConfig
from rtl.engine import ENGINE_PROGRESS
from sim.device.engine_run import BUFFER_ADDRESS
from sim.measure import timeline
from sim.measure.timeline_picture import FIRST, LEFT, PHASES, RIGHT, ROWS, Shown, picture
from sim.models.observer import EventKind

CONFIG = EngineConfig(params=preset("TINY"))
LAYOUT = BufferLayout(CONFIG.params, 128)
ONE = {stage: 100 * n + 100 for n, stage in enumerate(ENGINE_PROGRESS)} | {
    "writes page 3": 1400,
    "writes RESPONSES_WRITTEN": 1500,
}
MANY = {stage: np.arange(FIRST + ROWS) * 10 + 100 * n for n, stage in enumerate(ENGINE_PROGRESS)}


def rectangles(svg):
    return [
        (rect.get("class"), float(rect.get("x")), float(rect.get("width")))
        for rect in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}rect")
        if rect.get("height") == "15"
    ]


def test_bars_begin_and_end_at_their_cycles():
    svg = picture(Shown(ONE, MANY, 100, 250.0))
    bars = rectangles(svg)[: len(PHASES)]
    scale = (RIGHT - LEFT) / 1500
    points = {"doorbell": 0, "write": 1400, "told": 1500} | ONE
    for (kind, x, width), (begin, end, wanted, _) in zip(bars, PHASES, strict=True):
        assert kind == wanted
        assert x == pytest.approx(LEFT + scale * points[begin], abs=0.1)
        if points[end] > points[begin]:
            assert width == pytest.approx(scale * (points[end] - points[begin]), abs=0.1)
    assert len(rectangles(svg)) == len(PHASES) + 4 * ROWS


def test_a_picture_stands_alone():
    svg = picture(Shown(ONE, MANY, 100, 250.0))
    assert not re.search(r"href|url\(|@import|<script", svg)


@pytest.mark.parametrize(
    ("kind", "offset", "length", "words"),
    [
        (EventKind.READ, Counter.REQUESTS, 64, "reads REQUESTS"),
        (EventKind.WRITE, Counter.COMMANDS_FETCHED, 64, "writes COMMANDS_FETCHED, RESPONSES_WRITTEN"),
        (EventKind.READ, CONTROL_BYTES, 64, "reads 64 bytes of the command ring"),
        (EventKind.WRITE, LAYOUT.responses, 64, "writes 64 bytes of the response ring"),
        (EventKind.READ, LAYOUT.pages + 2 * CONFIG.params.page_bytes, 64, "reads page 2, 64 bytes"),
    ],
)
def test_accesses_have_names(kind, offset, length, words):
    assert timeline.seen_as(LAYOUT, kind, BUFFER_ADDRESS + offset, length) == words


def test_the_generated_part_replaces_the_old_one():
    document = f"before\n{timeline.BEGIN}\nold\n{timeline.END}\nafter\n"
    assert timeline.with_section(document, "new\n") == document.replace("old", "new")
    with pytest.raises(SystemExit):
        timeline.with_section("nothing here", "new")
