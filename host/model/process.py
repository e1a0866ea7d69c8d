"""The transport ``process``: the model in a process of its own, so that this process holds no key.

The device's process makes the memory, which has no file name, and passes its descriptor over a socket. From then on the
socket is the doorbell. The kernel frees both when the processes end, in whatever way. A device's process that was
started here ends when this process ends. A process that listens on a socket file (``python -m
host.model.model_process --listen``) outlives its drivers, as a card does.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from host.model.choice import TABLE, choose
from host.model.shared import SharedTransport, memory_bytes
from omap import errors
from omap.errors import DeviceError, InputError, OmapError
from omap.extras import how_to_install
from omap.params import Params
from omap.wire import BufferLayout

_START_SECONDS = 180.0
"""How long a device may take to make its memory. A fast model has to be compiled first."""

_STOP_SECONDS = 10.0
"""How long a device may take to end by itself."""

_MOST_BYTES = 1 << 16

_log = logging.getLogger("omap.serve")


class ProcessTransport(SharedTransport):
    """The host's end of a device in another process.

    Parameters
    ----------
    layout : BufferLayout
        Where things lie in the shared buffer.
    memory : memoryview
        Window and shared buffer.
    bell : socket
        The host's end of the doorbell.
    process : subprocess.Popen, optional
        The device, if it was started here.
    journal : bool
        Whether it writes a journal, which `omap serve` keeps in a data folder.

    Reveals
        To the host: every access to the shared buffer.
    """

    def __init__(
        self,
        layout: BufferLayout,
        memory: memoryview,
        bell: socket.socket,
        process: subprocess.Popen[bytes] | None,
        journal: bool = False,
    ) -> None:
        super().__init__(layout, memory, bell)
        self._process, self._journal = process, journal
        self._closed = False

    def gone(self) -> str:
        """Return why there is no device any more."""
        if self._closed:
            return super().gone()
        if self._process is None:
            return "its process has ended or was taken over; see what it wrote, start it again"
        then = (
            "start `omap serve` again, and it restores the map from its data folder"
            if self._journal
            else "the map is lost, start again"
        )
        return f"its process has ended with code {_end(self._process)}; {then}"

    def close(self) -> None:
        """Hang up. A device that was started here ends, and so does its map, but for what a journal keeps of it."""
        self._closed = True
        super().close()
        if self._process is not None:
            _end(self._process)


def _end(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def open_process(
    params: Params,
    *,
    ring_lines: int,
    key_file: str | os.PathLike[str] | None,
    attach: str | os.PathLike[str] | None = None,
    model: str | None = None,
    journal: bool = False,
) -> ProcessTransport:
    """Start a device in a process of its own, or attach to one that is running.

    Parameters
    ----------
    params : Params
        The map.
    ring_lines : int
        Lines of each ring. A running device has its own number, which counts.
    key_file : path, optional
        Root key file. The device's process reads it; this process does not.
    attach : path, optional
        Socket file of a running device, in place of ``key_file``.
    model : str, optional
        Which map a device that is started here runs, see :mod:`host.model.choice`.
    journal : bool
        Whether a device that is started here writes a journal.

    Raises
    ------
    InputError
        If the key file is missing or holds no key, as the device finds.
    DeviceError
        If the device can't be started or reached.
    """
    if attach is not None:
        if key_file is not None:
            raise InputError("a running device has its root key already: give either --attach or --key-file")
        if model is not None:
            raise InputError("a running device has its model already: give either --attach or --model")
        return _attach(params, attach)
    return _start(params, ring_lines, key_file, choose(model, params), journal)


def open_table(
    params: Params, *, ring_lines: int, key_file: str | os.PathLike[str] | None, insecure: bool = False
) -> ProcessTransport:
    """Start a stand-in in a process of its own: an open table behind the rings of a device (:mod:`host.model.table`).

    Parameters
    ----------
    params, ring_lines, key_file
        As for :func:`open_process`.
    insecure : bool
        Whether the caller knows that it hides nothing.

    Raises
    ------
    InputError
        If the caller does not know, numba is missing, or the key file is.
    DeviceError
        If the device can't be started.
    """
    if not insecure:
        raise InputError(
            "the backend `table` is no oblivious map, but an open hash table to measure the road with; add --insecure "
            "if that is what you want, or take the default backend"
        )
    if find_spec("numba") is None:
        raise InputError(f"the backend `table` needs numba: {how_to_install('bounds')}")
    _log.warning("INSECURE: an open table stands in for the map. It hides nothing: put no data in it that matters")
    return _start(params, ring_lines, key_file, TABLE)


def _start(
    params: Params, ring_lines: int, key_file: str | os.PathLike[str] | None, chosen: str, journal: bool = False
) -> ProcessTransport:
    if key_file is None:
        raise InputError("a model needs a root key file: `omap provision FILE` writes one")
    bell, far_end = socket.socketpair()
    process = None
    try:
        with far_end:
            process = subprocess.Popen(
                [sys.executable, "-m", "host.model.model_process", "--descriptor", str(far_end.fileno())],
                pass_fds=[far_end.fileno()],
                stdin=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C is for this process, which then hangs up
            )
        # SEC_CM: RELAY.KEY.ABSENT -- the name of the key file goes to the device, which alone reads it
        order = {"params": params.to_dict(), "ring_lines": ring_lines, "model": chosen, "journal": journal}
        order |= {"key_file": os.path.abspath(key_file)}
        bell.sendall(json.dumps(order).encode() + b"\n")
        layout, memory = _receive(bell, params)
    except BaseException as error:
        bell.close()
        if process is not None:
            _end(process)
        if isinstance(error, OSError):
            raise DeviceError(f"the device's process could not be started: {error}") from error
        raise
    return ProcessTransport(layout, memory, bell, process, journal)


def _attach(params: Params, path: str | os.PathLike[str]) -> ProcessTransport:
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bell.connect(os.fspath(path))
        layout, memory = _receive(bell, params)
    except OSError as error:
        bell.close()
        raise DeviceError(
            f"no device can be reached at {os.fspath(path)}: {error.strerror or error}; to start one, run "
            f"`python -m host.model.model_process --listen {os.fspath(path)} --key-file root.key` with the same "
            "--preset or --params as `omap serve`, and with --journal for --data-dir"
        ) from None
    except OmapError:
        bell.close()
        raise
    return ProcessTransport(layout, memory, bell, None)


def _receive(bell: socket.socket, params: Params) -> tuple[BufferLayout, memoryview]:
    """Receive what a device says of itself, and its memory."""
    bell.settimeout(_START_SECONDS)
    text, descriptors = b"", []
    try:
        while not text.endswith(b"\n"):
            part, came, _, _ = socket.recv_fds(bell, _MOST_BYTES, 1)
            descriptors += came
            text += part
            if not part or len(text) > _MOST_BYTES:
                raise DeviceError("the device's process ended before it was ready; see what it wrote")
        said: dict[str, Any] = json.loads(text)
        if "error" in said:
            kind = getattr(errors, str(said.get("kind")), DeviceError)
            raise kind(said["error"])
        theirs = Params.from_dict(said["params"])
        if theirs != params:
            raise DeviceError(
                f"the running device has other parameters: digest {theirs.digest.hex()}, not {params.digest.hex()}; "
                "start with its parameters, or start another device"
            )
        layout = BufferLayout(params, said["ring_lines"])
        return layout, memoryview(mmap.mmap(descriptors[0], memory_bytes(layout)))
    except OmapError:
        raise
    except (ValueError, LookupError, TypeError) as error:
        raise DeviceError(f"the device's process said what makes no sense: {error}") from None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
