"""``omap serve``: a device and the relay in front of it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import ssl
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from host.commands.data import OPTIONS as DATA_OPTIONS
from host.commands.data import DataOptions, begin
from host.commands.options import PORT, ROOT_FILE_VARIABLE, gathered
from host.commands.planned import MAP_OPTIONS, MapOptions
from host.device.driver import Driver
from host.device.transport import Transport, load, names, open_transport, takers, takes
from host.framing import DEFAULT_PORT
from host.listening import allow_connections, cannot_listen_at, check_address
from host.logs import log_to_stderr
from host.model.choice import NAMES as MODELS
from host.relay.control import Control
from host.relay.monitor import HOST, Monitor
from host.relay.port import Limits
from host.relay.relay import Relay
from host.socketfile import SocketFile
from omap.commands.numbers import SIZE, Whole
from omap.errors import DeviceFaultError, InputError, OmapError
from omap.params import Params
from omap.wire import RING_LINES

NEED_KEY = ("model", "process", "rtl", "table")
"""Back ends whose device reads a key file."""

_WATCH_SECONDS = 0.1


@dataclass(frozen=True)
class DeviceOptions:
    """Which device runs the map, as the options say.

    Parameters
    ----------
    backend : str
        Name of the transport.
    key_file : Path or None
        Root key file of a model.
    attach : Path or None
        Socket file of a model that is running.
    xclbin : Path or None
        A card's program.
    device : str or None
        The card.
    ring_lines : int
        Lines of each ring.
    model : str or None
        Which map a model runs.
    insecure : bool
        Whether a stand-in that hides nothing may be served.
    """

    backend: str
    key_file: Path | None
    attach: Path | None
    xclbin: Path | None
    device: str | None
    ring_lines: int
    model: str | None
    insecure: bool

    @property
    def given(self) -> dict[str, object]:
        """The options of the transport that were given, by name."""
        options = {"attach": self.attach, "xclbin": self.xclbin, "device": self.device, "model": self.model}
        given: dict[str, object] = {name: value for name, value in options.items() if value is not None}
        return given | ({"insecure": True} if self.insecure else {})

    def check(self) -> None:
        """Raise InputError if no transport has this name, or it takes no option that was given, or lacks its key file.

        So nothing is made for a map that can't be served. The device alone reads the file.
        """
        if self.backend not in names():
            raise InputError(f"no transport is called {self.backend!r}; installed are {', '.join(names())}")
        for option in self.given:
            if not takes(load(self.backend), option) and (others := takers(option)):
                raise InputError(
                    f"--{option} is for --backend {' or '.join(others)}, and the backend is {self.backend!r}: add "
                    f"--backend {others[0]}, or leave --{option} out"
                )
        if self.backend not in NEED_KEY or self.attach is not None:
            return
        if self.key_file is None:
            raise InputError(
                "a model needs a root key file: `omap provision FILE` writes one; give it with --key-file FILE, or "
                f"name it in the environment variable {ROOT_FILE_VARIABLE}"
            )
        try:
            self.key_file.stat()
        except OSError as error:
            raise InputError(
                f"the key file {self.key_file} can't be read: {error.strerror}; `omap provision FILE` writes one"
            ) from None

    def open(self, params: Params, journal: bool = False) -> Transport:
        """Return an open transport to the device. A device that is started here writes a journal if that is asked for.

        A card was built with a journal or without one, and says so in MODE.

        Raises
        ------
        InputError
            If options contradict each other.
        DeviceError
            If the device can't be opened.
        """
        key_file = self.key_file
        source = click.get_current_context().get_parameter_source("key_file")
        if source is ParameterSource.ENVIRONMENT and (self.attach is not None or self.backend not in NEED_KEY):
            key_file = None  # the variable is meant for a model: this device has a key of its own
        given = self.given
        if journal and self.attach is None and takes(load(self.backend), "journal"):
            given["journal"] = True
        return open_transport(self.backend, params, ring_lines=self.ring_lines, key_file=key_file, **given)


@dataclass(frozen=True)
class ListenOptions:
    """Where the relay listens, as the options say.

    Parameters
    ----------
    host : str
        Address to listen at.
    port : int
        TCP port; 0 for any.
    unix : Path or None
        Socket file to listen at.
    no_tcp : bool
        Whether to listen there only.
    max_clients : int
        Connections at once.
    metrics_port : int or None
        TCP port of the monitor; None for no monitor.
    tls_cert, tls_key : Path or None
        Certificate chain and private key for TLS.
    """

    host: str
    port: int
    unix: Path | None
    no_tcp: bool
    max_clients: int
    metrics_port: int | None
    tls_cert: Path | None
    tls_key: Path | None

    def check(self) -> None:
        """Raise InputError if the options contradict each other."""
        if self.no_tcp and self.unix is None:
            raise InputError("without TCP no client can connect: give a socket file with --unix, or leave --no-tcp out")
        if self.no_tcp and (self.tls_cert is not None or self.tls_key is not None):
            raise InputError("a socket file needs no TLS, because nobody else listens to it: leave --tls-cert out")

    def check_places(self) -> None:
        """Raise InputError if nobody can listen there now.

        A device that restores a map makes another one, which counts among the ancestors of the next. So no map may come
        into being that can't be served.
        """
        if not self.no_tcp:
            asyncio.run(check_address(self.host, self.port))
        if self.metrics_port is not None:
            asyncio.run(check_address(HOST, self.metrics_port))
        if self.unix is not None:
            try:
                SocketFile(self.unix).close()
            except OSError as error:
                raise cannot_listen_at(self.unix, error) from None


@click.command()
@gathered("wanted", MapOptions, *MAP_OPTIONS)
@gathered(
    "device",
    DeviceOptions,
    click.option(
        "--backend", default="process", show_default=True, help="Runs the map: model, process, xrt, vfio, rtl, ..."
    ),
    click.option(
        "--key-file",
        type=click.Path(path_type=Path),
        envvar=ROOT_FILE_VARIABLE,
        show_envvar=True,
        help="The root key of a model, as `omap provision` wrote it. A card has its own.",
    ),
    click.option("--attach", type=click.Path(path_type=Path), help="process: socket file of a device that is running."),
    click.option("--xclbin", type=click.Path(path_type=Path), help="xrt: the card's program."),
    click.option("--device", help="xrt, vfio: the card, by its PCIe address; xrt: or by number."),
    click.option(
        "--ring-lines", default=RING_LINES, show_default=True, type=SIZE, help="Lines of each ring, a power of two."
    ),
    click.option(
        "--model",
        type=click.Choice(MODELS),
        help="model, process: compiled code or the reference that it equals.  [env var: OMAP_MODEL; default: fast, if "
        "numba is installed]",
    ),
    click.option("--insecure", is_flag=True, help="table: serve an open table that hides nothing, to measure with."),
)
@gathered(
    "listen",
    ListenOptions,
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at."),
    click.option("--port", default=DEFAULT_PORT, show_default=True, type=PORT, help="0 for any."),
    click.option("--unix", type=click.Path(path_type=Path), help="Listen at this socket file too, for this machine."),
    click.option("--no-tcp", is_flag=True, help="Listen at the socket file only."),
    click.option("--max-clients", default=Limits.clients, show_default=True, type=Whole(1), help="At once."),
    click.option("--metrics-port", type=PORT, help="Serve /healthz and /metrics on this port."),
    click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain (PEM): speak TLS."),
    click.option("--tls-key", type=click.Path(path_type=Path), help="Its private key (PEM)."),
)
@gathered("data", DataOptions, *DATA_OPTIONS)
@click.option("--json-log", is_flag=True, help="Log in JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    wanted: MapOptions, device: DeviceOptions, listen: ListenOptions, data: DataOptions, json_log: bool, as_json: bool
) -> None:
    """Run a map and let clients in, until SIGTERM or Ctrl-C.

    Prints one line when it is ready. On a signal it takes no more clients, answers what it has read, and ends. With
    --data-dir the next start restores the map, and the folder says which map it is. Without it a model's map is lost
    then, unless the model was started separately and --attach is used.
    """
    listen.check()
    data.check()
    log_to_stderr(as_json=json_log)
    params = wanted.params_of(data.data_dir)
    device.check()
    tls = tls_context(listen.tls_cert, listen.tls_key)
    allow_connections(listen.max_clients)
    listen.check_places()
    with data.opened(params) as folder, device.open(params, folder is not None) as transport:
        driver = Driver(transport, params)
        keeper = begin(driver, folder, data.keeping)
        host = None if listen.no_tcp else listen.host
        limits = Limits(clients=listen.max_clients)
        relay = Relay(driver, host, listen.port, limits=limits, tls=tls, unix=listen.unix, keeper=keeper)
        asyncio.run(_serve(relay, device.backend, listen.metrics_port, as_json))


async def _serve(relay: Relay, backend: str, metrics_port: int | None, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    monitor = None if metrics_port is None else Monitor(relay, metrics_port)
    control = None if relay.keeper is None else Control(relay.keeper, relay.keeper.folder.path)
    async with relay:
        if control is not None:
            await control.start()
        if monitor is not None:
            await monitor.start()
        _say_ready(relay, backend, monitor, as_json)
        while not stop.is_set() and not _gone(relay):
            try:
                await asyncio.wait_for(stop.wait(), _WATCH_SECONDS)
            except TimeoutError:
                continue
        if monitor is not None:
            await monitor.stop()
        if control is not None:
            await control.stop()
    if _gone(relay):
        raise relay.failure or OmapError("the device is gone")


def _gone(relay: Relay) -> bool:
    """Whether to end. After a fault the relay goes on, because it tells clients of the fault."""
    return relay.failure is not None and not isinstance(relay.failure, DeviceFaultError)


def _say_ready(relay: Relay, backend: str, monitor: Monitor | None, as_json: bool) -> None:
    params, driver = relay.driver.params, relay.driver
    if as_json:
        facts = {
            "address": relay.address,
            "addresses": relay.addresses,
            "monitor": None if monitor is None else monitor.address,
            "backend": backend,
            "params": params.to_dict(),
            "digest": params.digest.hex(),
            "ring_lines": driver.ring_lines,
            "mode": driver.mode,
        }
        click.echo(json.dumps(facts))  # one line, so that a program can wait for it
    else:
        what = f"{backend}, {params.capacity:,} keys of {params.key_bytes} bytes, values of {params.value_bytes}"
        at = "" if monitor is None else f"; {monitor.address}/healthz"
        click.echo(f"omap: ready at {' and '.join(relay.addresses)} ({what}){at}")
    if not driver.mode["hbm_private"]:
        logging.getLogger("omap.serve").warning(
            "the host can read this device's memory: fit for trials, hides nothing from whoever runs this machine"
        )


def tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Return the context of a TLS server, or None without a certificate.

    Raises
    ------
    InputError
        If only one of the files is given or they can't be used.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise InputError("TLS needs both --tls-cert and --tls-key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        for option, path in (("--tls-cert", certificate), ("--tls-key", key)):
            if not os.access(path, os.R_OK):
                why = "it may not be read" if path.exists() else "it is not there"
                raise InputError(f"TLS can't use {option} {path}: {why}; give a PEM file") from None
        raise InputError(
            f"TLS can't use {certificate} with {key}: {getattr(error, 'reason', None) or error}; both must be PEM, "
            "belong together, and the key have no password"
        ) from None
    return context
