"""The pictures of the demo: every touch is a dot in its place."""

import re
import xml.etree.ElementTree as ET

import numpy as np

from omap.demo import pictures


def draw(pages, at, total=64, operations=10, period=0):
    run = pictures.Run(pages=np.array(pages), at=np.array(at), total=total, operations=operations, period=period)
    return pictures.picture(run, role="plain", title="a < b")


def path(svg, name):
    return next(element.get("d") for element in ET.fromstring(svg).iter() if element.get("class") == name)


def test_every_touch_is_a_dot_inside_the_frame():
    dots = re.findall(r"M([\d.]+) ([\d.]+)h0", path(draw([0, 63, 31], [0, 5, 9]), "dots"))
    assert len(dots) == 3
    assert all(pictures._LEFT < float(x) < pictures._RIGHT for x, _ in dots)
    assert all(pictures._TOP < float(y) < pictures._BOTTOM for _, y in dots)
    assert float(dots[0][1]) > float(dots[2][1]) > float(dots[1][1]), "page 0 is at the bottom"


def test_of_a_long_workload_the_first_operations_are_drawn_and_it_says_so():
    many = 3 * pictures.MOST_DOTS
    svg = draw(np.arange(many) % 64, np.arange(many), operations=many)
    assert path(svg, "dots").count("M") == pictures.MOST_DOTS
    assert f"first {pictures.MOST_DOTS:,} operations" in svg
    most = np.histogram(np.arange(many) % 64, pictures.BANDS, (0, 64))[0].max()
    assert f"0\u2013{most:,} touches" in svg, "the bars count all operations"


def test_rounds_are_marked():
    assert path(draw([1], [0], operations=10, period=3), "rounds").count("M") == 3
    assert path(draw([1], [0], operations=10), "rounds") == ""


def test_a_workload_that_touches_nothing_is_an_empty_picture():
    assert path(draw([], []), "dots") == ""
