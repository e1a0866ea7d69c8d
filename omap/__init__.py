"""An oblivious map as an executable specification: RTL, host and boards are built and tested against it.

>>> import omap
>>> table = omap.create(omap.preset("SMALL"))
>>> table.put(b"8 bytes!", b"a value.")
>>> table.get(b"8 bytes!")
b'a value.'

``omap.audit`` judges what a host saw of a map. ``omap.hazmat`` fixes secrets and shows the trusted state, for tests
only; nothing here loads it.
"""

from omap.connections import AsyncMap, RemoteMap, connect, connect_async
from omap.errors import (
    AlteredError,
    DeniedError,
    DeviceError,
    DeviceFaultError,
    ExhaustedError,
    FaultError,
    FullError,
    InputError,
    LostError,
    MapChangedError,
    OmapError,
    OutputError,
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
from omap.trace import Observer, Submitted, Trace

__all__ = [
    "AlteredError",
    "AsyncMap",
    "DeniedError",
    "DeviceError",
    "DeviceFaultError",
    "ExhaustedError",
    "FaultError",
    "FullError",
    "InputError",
    "Kind",
    "LostError",
    "MapChangedError",
    "ObliviousMap",
    "Observer",
    "OmapError",
    "Operation",
    "OutputError",
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
    "Submitted",
    "TamperedError",
    "Trace",
    "UnknownFateError",
    "WrongKeyError",
    "connect",
    "connect_async",
    "create",
    "preset",
]
