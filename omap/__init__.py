"""An oblivious map as an executable specification: the law that RTL, host and boards are built against.

>>> import omap
>>> table = omap.create(omap.preset("SMALL"))
>>> table.put(b"8 bytes!", b"a value.")
>>> table.get(b"8 bytes!")
b'a value.'

Fixed seeds, key and state peeks live in ``omap.hazmat``, which nothing here loads; the audit is ``omap.audit``.
"""

from omap.connections import AsyncMap, RemoteMap, connect, connect_async
from omap.errors import (
    AlteredError,
    DeviceError,
    DeviceFaultError,
    ExhaustedError,
    FaultError,
    FullError,
    InputError,
    LostError,
    OmapError,
    ParamsError,
    PlanError,
    ReplayedError,
    RollbackError,
    SessionError,
    TamperedError,
    UnknownFateError,
    WrongKeyError,
)
from omap.interface import ObliviousMap
from omap.map import create
from omap.operations import Kind, Operation, Response, Status
from omap.params import Params, Rule
from omap.presets import preset
from omap.trace import Observer, Trace

__all__ = [
    "AlteredError",
    "AsyncMap",
    "DeviceError",
    "DeviceFaultError",
    "ExhaustedError",
    "FaultError",
    "FullError",
    "InputError",
    "Kind",
    "LostError",
    "ObliviousMap",
    "Observer",
    "OmapError",
    "Operation",
    "Params",
    "ParamsError",
    "PlanError",
    "RemoteMap",
    "ReplayedError",
    "Response",
    "RollbackError",
    "Rule",
    "SessionError",
    "Status",
    "TamperedError",
    "Trace",
    "UnknownFateError",
    "WrongKeyError",
    "connect",
    "connect_async",
    "create",
    "preset",
]
