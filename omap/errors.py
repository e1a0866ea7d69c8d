"""Every error of the project, in one hierarchy.

No message carries a key, a value or anything derived from them: errors travel to logs, and logs to strangers.
"""

from __future__ import annotations

from collections.abc import Sequence

from omap.operations import Response


class OmapError(Exception):
    """Base class of all errors raised on purpose by the project."""


class ParamsError(OmapError, ValueError):
    """Parameters that cannot be honoured, alone or together."""


class PlanError(ParamsError):
    """No configuration satisfies what the planner was asked for; the message names the bound that broke."""


class InputError(OmapError, ValueError):
    """A key, a value, an operation or a table that does not fit the map. The map is unchanged."""


class FullError(OmapError):
    """A PUT of a new key was refused because ``capacity`` keys are live. The map is unchanged."""


class FaultError(OmapError):
    """The map has latched a fault and erased its keys: it refuses all further work until it is formatted."""


class TamperedError(FaultError):
    """Something outside the trusted side was altered, replayed, exchanged or withheld, and this was noticed.

    Attributes
    ----------
    answered, responses, in_doubt, not_sent
        What a client over a connection knows of the batch, as in :class:`UnknownFateError`.
    """

    answered: int = 0
    responses: Sequence[Response] = ()
    in_doubt: int = 0
    not_sent: int = 0


class AlteredError(TamperedError):
    """A page or a record failed authentication: it is not what was sealed."""


class PageAlteredError(AlteredError):
    """A page in host memory is not what was sealed for it last."""


class ReplayedError(TamperedError):
    """A record came that had come before, or ahead of its turn."""


class LostError(TamperedError):
    """A record is missing: a later one came in its place."""


class RollbackError(TamperedError):
    """The device speaks of an earlier state, or of another map, than it did before."""


class ExhaustedError(FaultError):
    """A structure in HBM ran out, which its sizing makes less likely than the stated bound."""


class DeviceFaultError(FaultError):
    """The device has latched a fault and erased its keys; its fault register says why."""


class SessionError(OmapError):
    """A session could not be opened or is open no longer. What was under way is described by the message."""


class WrongKeyError(SessionError):
    """Client and device do not hold the same root key."""


class UnknownFateError(SessionError):
    """The peer vanished while operations were under way: each ran once or not at all, and nobody can say which.

    Attributes
    ----------
    answered : int
        Operations of the batch that were answered, the first ones.
    responses : sequence of Response
        Their responses; empty for bulk work on arrays.
    in_doubt : int
        Operations after these that were sent: they ran in order up to some point, or will never run.
    not_sent : int
        Operations after those, which never left the client and did not run.
    """

    answered: int = 0
    responses: Sequence[Response] = ()
    in_doubt: int = 0
    not_sent: int = 0


class DeviceError(OmapError):
    """A device that is absent, is another than expected, or does not answer."""
