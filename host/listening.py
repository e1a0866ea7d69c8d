"""The error of a server that can't listen at an address. Relay, monitor and Redis proxy share it."""

from __future__ import annotations

import errno
import os
import socket

from omap.errors import InputError


def cannot_listen(host: str, port: int, error: OSError) -> InputError:
    """Return the error for an address that can't be used. The error says what to do."""
    if isinstance(error, socket.gaierror):
        remedy = "no such host; give an address of this machine"
    elif error.errno == errno.EADDRINUSE:
        remedy = "another program uses this port; end it, or choose another port"
    elif error.errno in (errno.EACCES, errno.EPERM):
        remedy = "ports below 1024 are for administrators; choose a higher one"
    else:
        remedy = f"{os.strerror(error.errno or 0)}; choose an address of this machine"
    return InputError(f"can't listen at {host}:{port}: {remedy}")
