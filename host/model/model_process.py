"""``python -m host.model.model_process``: the model in a process of its own, which alone holds the root key.

With ``--listen`` it behaves as a card: it keeps the map while drivers attach, crash and attach again. One driver at a
time may attach; another is refused.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click

from host.keyfile import read_root_file
from host.model.choice import NAMES, choose, maker_of_device
from host.model.shared import WINDOW_BYTES, device_registers, memory_bytes, run_device
from host.paramsfile import read_params_file
from host.socketfile import SocketFile
from omap.cli import UserError
from omap.errors import DeviceError, InputError, OmapError
from omap.params import Params
from omap.presets import preset
from omap.wire import RING_LINES, BufferLayout

_MOST_BYTES = 1 << 16
_LOOK_SECONDS = 0.2


class _Program:
    """A device and its memory."""

    def __init__(self, params: Params, ring_lines: int, key_file: str, model: str, journal: bool) -> None:
        self.layout = BufferLayout(params, ring_lines)
        key = read_root_file(key_file)
        self.descriptor = _make_memory(memory_bytes(self.layout))
        self.memory = memoryview(mmap.mmap(self.descriptor, memory_bytes(self.layout)))
        self.device = maker_of_device(model)(
            params,
            key,
            self.memory[WINDOW_BYTES:],
            ring_lines=ring_lines,
            journal=journal,
            registers=device_registers(self.memory),
        )

    def introduce(self, bell: socket.socket) -> None:
        """Send parameters and ring size, and hand over the memory."""
        said = {"params": self.layout.params.to_dict(), "ring_lines": self.layout.ring_lines}
        socket.send_fds(bell, [json.dumps(said).encode() + b"\n"], [self.descriptor])


def _make_memory(size: int) -> int:
    """Return a descriptor of ``size`` bytes without a file name, which are freed with their last user."""
    try:
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("omap")
        else:  # not Linux
            descriptor, name = tempfile.mkstemp()
            os.unlink(name)
        if _available() < size:
            raise DeviceError(
                f"rings and pages take {size} bytes, of which {_available()} are free: plan a smaller map, "
                "or give this machine more memory"
            )
        os.truncate(descriptor, size)
    except OSError as error:
        raise DeviceError(f"rings and pages take {size} bytes, which could not be had: {error.strerror}") from None
    return descriptor


def _available() -> int:
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return 1 << 62
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 1 << 62)


def _complain(bell: socket.socket, error: OmapError) -> None:
    with contextlib.suppress(OSError):
        bell.sendall(json.dumps({"error": str(error), "kind": type(error).__name__}).encode() + b"\n")


def _serve_parent(descriptor: int) -> None:
    """Run for the process that started this one, and end when that process ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent drains first, then hangs up
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as bell:
        text = b""
        while not text.endswith(b"\n"):
            part = bell.recv(_MOST_BYTES)
            if not part:
                return
            text += part
        order = json.loads(text)
        try:
            params = Params.from_dict(order["params"])
            with _ending_with(bell):
                program = _Program(params, order["ring_lines"], order["key_file"], order["model"], order["journal"])
            program.introduce(bell)
        except OmapError as error:
            _complain(bell, error)
            return
        run_device(program.device, program.memory, bell)


@contextlib.contextmanager
def _ending_with(bell: socket.socket) -> Iterator[None]:
    """End this process at once if its parent ends meanwhile. To make a large map takes minutes, and much memory."""
    done = threading.Event()
    here = select.poll()
    here.register(bell, 0)  # reports that the other end has closed

    def watch() -> None:
        while not done.wait(_LOOK_SECONDS):
            if here.poll(0):
                os._exit(0)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _serve_file(path: str, program: _Program) -> None:
    """Run for drivers that connect to the socket file ``path``, one after the other, until SIGTERM."""
    try:
        file = SocketFile(path)
    except OSError as error:
        raise DeviceError(
            f"can't listen at {path}: {error.strerror or error}; choose another file, or end the device there"
        ) from None
    with contextlib.closing(file):
        click.echo(f"omap: device ready at {path}")
        listener = file.socket
        while True:
            bell, _ = listener.accept()
            with bell:
                try:
                    program.introduce(bell)
                except OSError:
                    continue
                listener.setblocking(False)
                run_device(program.device, program.memory, bell, partial(_turn_away, listener, bell))
                listener.setblocking(True)
            while program.device.step():  # commands that its driver has put into the ring
                pass


def _turn_away(listener: socket.socket, attached: socket.socket) -> None:
    """Refuse a driver that comes while another is attached. If the other has departed before, refuse nobody."""
    here = select.poll()
    here.register(listener, select.POLLIN)
    departed = select.poll()
    departed.register(attached, 0)  # reports that the other end has closed, also if something can still be read
    if not here.poll(0) or departed.poll(0):  # in this order
        return
    try:
        bell, _ = listener.accept()
    except OSError:
        return
    with bell:
        _complain(bell, DeviceError("another driver is attached to this device: end it first"))


def _end(number: int, frame: object) -> None:
    raise SystemExit(0)


@click.command()
@click.option("--descriptor", type=int, help="Socket inherited from the parent process, which sends the rest.")
@click.option("--listen", type=click.Path(), help="Socket file to make, for drivers to attach to.")
@click.option("--key-file", type=click.Path(), help="Root key file.")
@click.option("--preset", "name", help="Parameters of the map, by name.")
@click.option("--params", "file", type=click.Path(), help="Parameters of the map, a JSON file.")
@click.option("--ring-lines", default=RING_LINES, show_default=True, help="Lines of each ring.")
@click.option("--model", type=click.Choice(NAMES), help="Which map runs, as for `omap serve`.")
@click.option("--journal", is_flag=True, help="Write a journal, for drivers that keep it (`omap serve --data-dir`).")
def main(
    descriptor: int | None,
    listen: str | None,
    key_file: str | None,
    name: str | None,
    file: str | None,
    ring_lines: int,
    model: str | None,
    journal: bool,
) -> None:
    """Run the model in this process."""
    if descriptor is not None:
        _serve_parent(descriptor)
        return
    try:
        if listen is None or key_file is None or (name is None) == (file is None):
            raise InputError("give --listen FILE, --key-file FILE, and either --preset NAME or --params FILE")
        params = preset(name) if name is not None else read_params_file(file or "")
        signal.signal(signal.SIGTERM, _end)
        _serve_file(listen, _Program(params, ring_lines, key_file, choose(model, params), journal))
    except OmapError as error:
        raise UserError(str(error)) from None
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
