"""An oblivious map as an executable specification: the law that RTL, host and boards are built against.

>>> import omap
>>> table = omap.create(omap.preset("SMALL"))
>>> table.put(b"8 bytes!", b"a value.")
>>> table.get(b"8 bytes!")
b'a value.'

Fixed seeds, key and state peeks live in ``omap.hazmat``, which nothing here loads; the audit is ``omap.audit``.
"""

from omap.errors import (
    ExhaustedError,
    FaultError,
    FullError,
    InputError,
    OmapError,
    ParamsError,
    PlanError,
    TamperedError,
)
from omap.interface import Kind, ObliviousMap, Operation, Response, Status
from omap.map import create
from omap.params import Params, Rule
from omap.presets import preset
from omap.trace import Observer, Trace

__all__ = [
    "ExhaustedError",
    "FaultError",
    "FullError",
    "InputError",
    "Kind",
    "ObliviousMap",
    "Observer",
    "OmapError",
    "Operation",
    "Params",
    "ParamsError",
    "PlanError",
    "Response",
    "Rule",
    "Status",
    "TamperedError",
    "Trace",
    "create",
    "preset",
]
