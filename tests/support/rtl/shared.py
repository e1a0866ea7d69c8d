"""Lets the back end and the transport ``rtl`` run the engines that other tests compile, too."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from omap.params import Params
from rtl.config import EngineConfig
from sim.device import backend, transport
from tests.support.rtl.engines import JOURNALLED, TIGHT, engine


def _config(*, params: Params, journal: bool = False) -> EngineConfig:
    assert params == TIGHT.params
    return JOURNALLED if journal else TIGHT


@contextmanager
def shared_engines() -> Iterator[None]:
    """Give maps of TIGHT's parameters the engine TIGHT, or JOURNALLED.

    Otherwise they would get an engine whose numbers follow from the map, and that is another one to compile.
    """
    with ExitStack() as stack:
        for place in (backend, transport):
            stack.enter_context(patch.object(place, "EngineConfig", _config))
            stack.enter_context(patch.object(place, "engine_design", engine))
        yield
