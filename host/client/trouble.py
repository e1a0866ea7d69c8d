"""Why a client has no session: which errors end it for good, and how it tells of the others."""

from __future__ import annotations

import logging
from typing import TypeGuard

from omap.errors import MapChangedError, OmapError, TamperedError

LOG = logging.getLogger("omap.client")


def latches(error: BaseException) -> TypeGuard[TamperedError]:
    """Return whether a client believes nothing more after this error.

    Another map alone is no such error. The client has sent it nothing, so whoever put it there learned nothing and
    harmed nothing: the client may go on once the known map is back, or once it is told to accept the other.
    """
    return isinstance(error, TamperedError) and not isinstance(error, MapChangedError)


def dead(error: TamperedError) -> TamperedError:
    """Return the error of every call after tampering was noticed."""
    return type(error)(f"this client is dead since it noticed tampering: {error}")


def unsent(error: OmapError) -> OmapError:
    """Return the error of work that no connection could be made for: the same facts, with a word on the work."""
    again = type(error)(f"{error} (nothing was sent)")
    again.__dict__.update(error.__dict__)
    return again


class Trouble:
    """Why no session is open. Logs when that changes.

    Attributes
    ----------
    error : OmapError or None
        The reason; None while a session is open.
    """

    def __init__(self) -> None:
        self.error: OmapError | None = None

    def note(self, error: OmapError) -> None:
        """Take the newest reason."""
        if str(error) != str(self.error):
            LOG.warning("no session is open", extra={"kind": type(error).__name__, "why": str(error)})
        self.error = error

    def end(self) -> None:
        """Take note that a session is open."""
        if self.error is not None:
            LOG.warning("a session is open again")
        self.error = None
