"""``omap proxy``: the map for applications that speak the Redis protocol."""

from __future__ import annotations

import asyncio
import gc
import signal
from dataclasses import dataclass, replace

import click

from host.client.aio import open_client
from host.client.settings import Settings
from host.commands.options import PORT, Where, connection, echo_json, gathered
from host.listening import allow_connections
from host.logs import log_to_stderr
from host.redis.server import DEFAULT_PORT, Endpoint, Limits, Proxy
from omap.commands.numbers import Real, Whole
from omap.errors import InputError
from omap.wire import MOST_COUNT

IDLE_SECONDS = 10.0
"""Most seconds without an answer after which the proxy asks whether the map is still there."""

COLLECTED_AFTER = 50_000
"""New objects after which Python looks for circles among them. There are few: nearly all objects of a command end with
their last reference, so that looking as often as by default (700) takes a tenth of the proxy's time."""

PASSWORD_VARIABLE = "OMAP_PROXY_PASSWORD"


@dataclass(frozen=True)
class Share:
    """How much the proxy does for its clients, as the options say.

    Parameters
    ----------
    max_clients : int
        Connections at once.
    idle_timeout : float
        Seconds until a client that does nothing is hung up; 0 for never.
    script_keys : int
        Keys that one script may name.
    """

    max_clients: int
    idle_timeout: float
    script_keys: int

    def limits(self) -> Limits:
        """Return the limits of the proxy."""
        return Limits(clients=self.max_clients, timeout=self.idle_timeout, script_keys=self.script_keys)


@dataclass(frozen=True)
class Pace:
    """When operations leave, as the options say.

    Parameters
    ----------
    rate : float or None
        Operations a second; None for when there is work.
    count : int or None
        Operations of each record at this rate; None for one.
    """

    rate: float | None
    count: int | None

    def check(self) -> None:
        """Raise InputError if an option says how operations leave at a rate, and there is none."""
        if self.rate is None and self.count is not None:
            raise InputError("--count is for --rate: give a rate, or leave --count out")


@click.command()
@connection
@gathered(
    "endpoint",
    Endpoint,
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at."),
    click.option("--port", default=DEFAULT_PORT, show_default=True, type=PORT, help="0 for any."),
    click.option(
        "--password", envvar=PASSWORD_VARIABLE, show_envvar=True, help="What AUTH must give. Others see a command line."
    ),
)
@gathered(
    "share",
    Share,
    click.option("--max-clients", default=Limits.clients, show_default=True, type=Whole(1), help="At once."),
    click.option(
        "--idle-timeout",
        default=Limits.timeout,
        show_default=True,
        type=Real(0),
        help="Seconds until a client that does nothing is hung up, as `timeout` of Redis; 0 for never.",
    ),
    click.option(
        "--script-keys", default=Limits.script_keys, show_default=True, type=Whole(0), help="Keys that EVAL may name."
    ),
)
@gathered(
    "pace",
    Pace,
    click.option(
        "--rate", type=Real(above=0), help="Always send so many operations a second, so that their times show nothing."
    ),
    click.option("--count", type=Whole(1, MOST_COUNT), help="With --rate: operations of a record.  [default: 1]"),
)
@click.option("--json-log", is_flag=True, help="Log in JSON.")
def command(
    where: Where,
    as_json: bool,
    endpoint: Endpoint,
    share: Share,
    pace: Pace,
    json_log: bool,
) -> None:
    """Speak the Redis protocol in front of a map, until SIGTERM or Ctrl-C.

    Run it on the application's machine, because it holds the key and does not encrypt the traffic of its own clients.
    Prints one line when it is ready. While the map is away, or another is in its place, commands and PING are answered
    with errors that say so. The proxy tries once a second, and goes on when the map is back, or when
    `omap status --accept ID` has accepted the other one.
    """
    pace.check()
    log_to_stderr(as_json=json_log)
    allow_connections(share.max_clients)
    # a relay that hangs is noticed although no command comes
    settings = replace(where.settings(), rate=pace.rate, count=pace.count or 1, idle=min(IDLE_SECONDS, where.timeout))
    asyncio.run(_run(settings, endpoint, share.limits(), as_json))


async def _run(settings: Settings, endpoint: Endpoint, limits: Limits, as_json: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = await open_client(settings)
    try:
        params = client.params
        async with Proxy(client, params, settings.client, endpoint, limits=limits) as proxy:
            if as_json:
                echo_json(address=f"redis://{proxy.address}", map=settings.address, params=params.to_dict())
            else:
                click.echo(f"omap: Redis protocol at {proxy.address}, in front of the map at {settings.address}")
            gc.freeze()  # what is there now stays
            gc.set_threshold(COLLECTED_AFTER)
            await stop.wait()
    finally:
        await client.close()
