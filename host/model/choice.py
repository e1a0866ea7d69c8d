"""Which map the model runs: the compiled one, or the reference that it equals.

A child process and a thread of this process are told by name, so that the name is all that has to be passed on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from omap.errors import InputError
from omap.extras import how_to_install
from omap.fast.kept import compiled_before
from omap.params import Params, Rule
from omap.reference import ReferenceMap

if TYPE_CHECKING:
    from omap.device import DeviceModel

FAST, REFERENCE, TABLE = "fast", "reference", "table"

NAMES = (FAST, REFERENCE)
"""What a user may choose as the model. The table is none of them: :func:`host.model.process.open_table` asks for it."""

VARIABLE = "OMAP_MODEL"
"""Environment variable that names the model where no option does."""

_log = logging.getLogger("omap.serve")


def choose(name: str | None, params: Params) -> str:
    """Return which model is to run, and say in the log why it is not the fast one, or that it takes long to start.

    Parameters
    ----------
    name : str or None
        What an option says; None if no option does.
    params : Params
        The map.

    Raises
    ------
    InputError
        If no model has this name.
    """
    wanted = name or os.environ.get(VARIABLE) or FAST
    if wanted not in NAMES:
        raise InputError(f"no model is called {wanted!r}; there are {', '.join(NAMES)}")
    if wanted == REFERENCE:
        return REFERENCE
    if params.rule is Rule.RESIDENT:
        _log.info("the reference runs: a resident map is not compiled")
        return REFERENCE
    if find_spec("numba") is None:
        _log.warning("numba is not installed, so the slower reference runs: %s", how_to_install("bounds"))
        return REFERENCE
    if not compiled_before():
        _log.info("the fast model is compiled, which takes some seconds, and only once")
    return FAST


def maker_of_device(name: str) -> Callable[..., DeviceModel]:
    """Return what makes the device that runs the model called ``name``; its code is compiled and ready."""
    if name == TABLE:
        from host.model import table

        table.prepare()
        return table.TableDevice
    from omap.device import DeviceModel  # here, because a relay chooses a model and runs none

    return partial(DeviceModel, create=maker(name))


def maker(name: str) -> Callable[..., ReferenceMap]:
    """Return what makes the map of the model called ``name``, compiled and ready; the reference if numba fails."""
    from omap import map as reference

    if name == REFERENCE:
        return reference.create
    try:
        from omap.fast import map as fast
    except ImportError as error:  # numba refuses versions of numpy and Python that it does not know
        _log.warning("numba can't be loaded, so the slower reference runs: %s", error)
        return reference.create
    fast.prepare()
    return fast.create
