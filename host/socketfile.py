"""Socket files: listening where only programs of this machine connect, and only users whom the file lets in."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from pathlib import Path

_OTHERS = 0o177
"""What is taken from the mode of a socket file: all but the owner's reading and writing."""

_CREDENTIALS = struct.Struct("3i")
"""Process, user and group of a peer, as Linux tells them."""


class SocketFile:
    """A socket that listens at a file of mode 0600. A file that was left by a program that is gone is replaced.

    Parameters
    ----------
    path : path
        The file. Whoever may write to it may connect.

    Attributes
    ----------
    path : str
        The same, absolute.
    socket : socket.socket
        The socket.

    Raises
    ------
    OSError
        If the file can't be made, if another file is there, or if somebody listens there.

    Reveals
        To all users of this machine: that the file is there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # SEC_CM: SOCKET.FILE.OWNER -- the file is never open to others, not even for a moment
        mask = os.umask(_OTHERS)
        try:
            try:
                self.socket.bind(self.path)
            except OSError:
                if not _left_behind(self.path):
                    raise
                os.unlink(self.path)
                self.socket.bind(self.path)
            self.socket.listen()
        except BaseException:
            self.socket.close()
            raise
        finally:
            os.umask(mask)
        self._identity = _identity(self.path)

    def close(self) -> None:
        """Stop listening, and remove the file unless it is another's by now. May be called again."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if _identity(self.path) == self._identity:
                os.unlink(self.path)


def _identity(path: str) -> tuple[int, int]:
    there = os.stat(path)
    return there.st_dev, there.st_ino


def _left_behind(path: str) -> bool:
    """Whether a socket file is there at which nobody listens any more."""
    if not Path(path).is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED


def peer_user(peer: socket.socket) -> str:
    """Return what stands for the user at the other end of a connection to a socket file."""
    try:
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except (AttributeError, OSError):  # not Linux
        return "local"
    return f"user {_CREDENTIALS.unpack(credentials)[1]}"
