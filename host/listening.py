"""What servers need of the system, and the errors if it can't be had. Relay, monitor and Redis proxy share it."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from pathlib import Path

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


def cannot_listen_at(path: str | os.PathLike[str], error: OSError) -> InputError:
    """Return the error for a socket file that can't be used. The error says what to do."""
    if error.errno == errno.EADDRINUSE:
        socket_there = Path(path).is_socket()
        there = "another server listens there; end it" if socket_there else "another file has this name; move it away"
        remedy = f"{there}, or choose another name"
    else:
        remedy = f"{error.strerror or error}; choose another file"
    return InputError(f"can't listen at {os.fspath(path)}: {remedy}")


async def check_address(host: str, port: int) -> None:
    """Refuse an address at which nobody can listen now. A server that begins with long work asks before it begins.

    Raises
    ------
    InputError
        If it can't be used.
    """
    try:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port, start_serving=False)
    except OSError as error:
        raise cannot_listen(host, port, error) from None
    server.close()


SPARE_FILES = 64
"""Files that a server opens beside the connections of its clients."""


def allow_connections(clients: int) -> None:
    """Let this process have as many connections at once, and the files that it needs besides.

    Raises
    ------
    InputError
        If the system's hard limit does not allow so many.
    """
    wanted = clients + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise InputError(
            f"{clients} clients need {wanted} open files, and this process may have {hard}: give a lower "
            "--max-clients, or raise the limit (`ulimit -Hn`)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
