"""Every error of the project, in one hierarchy.

No message carries a key, a value or anything derived from them, because errors end in logs that strangers read.
"""

from __future__ import annotations

from collections.abc import Sequence

from omap.operations import Response


class OmapError(Exception):
    """Base class of all errors raised on purpose by the project."""


class ParamsError(OmapError, ValueError):
    """A parameter is out of its range, or two parameters contradict each other."""


class ReachError(ParamsError):
    """A map would have more of something than its indices reach.

    Parameters
    ----------
    message : str
        What is wrong, in the words of the parameters.
    bound : str
        What has the bound, and what is counted, such as "a map has at most {most:,} pages".
    needed, most : int
        How many there would be, and how many there may be.
    """

    def __init__(self, message: str, bound: str = "", needed: int = 1, most: int = 1) -> None:
        super().__init__(message)
        self.bound = bound
        self.needed = needed
        self.most = most


class PlanError(ParamsError):
    """No configuration satisfies what the planner was asked for; the message names the bound that broke."""


class InputError(OmapError, ValueError):
    """A key, a value, an operation or a table does not fit the map. The map is unchanged."""


class OutputError(OmapError):
    """A file or standard output could not be written. A file that was there before is unchanged."""


class DataError(OmapError):
    """The files that keep a map over a restart could not be read or written. The message says what is not kept."""


class UnwrittenError(DataError, OutputError):
    """The files that keep a map could not be written. The message says what holds, and what is not kept."""


class DamagedError(DataError):
    """The files that keep a map are not what was written: altered, cut, exchanged, or of other maps or times."""


class FullError(OmapError):
    """A PUT of a new key was refused because ``capacity`` keys are live. The map is unchanged."""


class DeniedError(OmapError):
    """The client's credential does not allow the operation, which ran as a NOP. The map is unchanged."""


class FaultError(OmapError):
    """The map has latched a fault and erased its keys. It refuses all further work until it is formatted."""


class TamperedError(FaultError):
    """Something outside the trusted side was altered, replayed, exchanged or withheld, and the map noticed it.

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
    """A page or a record failed authentication, because it is not what was sealed."""


class PageAlteredError(AlteredError):
    """A page in host memory is not what the device sealed for it last."""


class ReplayedError(TamperedError):
    """A record came a second time."""


class LostError(TamperedError):
    """A record is missing, because a later one came in its place."""


class RollbackError(TamperedError):
    """The device shows an earlier state, or another map, than it showed before."""


class MapChangedError(RollbackError):
    """The device shows another map than it showed before. Nothing was sent to it, so the known map is unharmed.

    Attributes
    ----------
    map_id : str
        Id of the map that is there, in hexadecimal digits: what ``accept=`` of a client takes.
    """

    map_id: str = ""


class ExhaustedError(FaultError):
    """A structure in HBM ran out, or a page was not touched for a whole epoch.

    The sizing of the map makes the former less likely than the bound that ``omap plan`` prints, and the length of an
    epoch the latter less likely than 2^-122.
    """


class DeviceFaultError(FaultError):
    """The device has latched a fault and erased its keys. Its register FAULT says why."""


class SessionError(OmapError):
    """A session could not be opened, or is no longer open. The message says what happened to operations under way."""


class WrongKeyError(SessionError):
    """The device does not hold the root key that the client's key was derived from."""


class UnknownFateError(SessionError):
    """The connection broke while operations were under way. Each ran once or not at all, and nobody can say which.

    Attributes
    ----------
    answered : int
        How many operations of the batch were answered; these are its first ones.
    responses : sequence of Response
        Their responses; empty for bulk work on arrays.
    in_doubt : int
        How many of the next operations were sent. They ran in order up to some point; those after it never will.
    not_sent : int
        How many operations after those were not sent, so that they did not run.
    """

    answered: int = 0
    responses: Sequence[Response] = ()
    in_doubt: int = 0
    not_sent: int = 0


class DeviceError(OmapError):
    """A device is absent, is not the expected one, or does not answer."""
