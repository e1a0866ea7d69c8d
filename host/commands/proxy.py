"""``omap proxy``: the map for applications that speak the Redis protocol."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import click

from host.commands.options import connection, echo_json
from host.logs import log_to_stderr
from host.redis.server import DEFAULT_PORT, Limits, Proxy

PASSWORD_VARIABLE = "OMAP_PROXY_PASSWORD"


@click.command()
@connection
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535), help="0 for any.")
@click.option(
    "--password", envvar=PASSWORD_VARIABLE, show_envvar=True, help="What AUTH must give. Others see a command line."
)
@click.option("--max-clients", default=Limits.clients, show_default=True, type=click.IntRange(1), help="At once.")
@click.option("--rate", type=float, help="Send so many operations a second, always: their times show nothing then.")
@click.option("--json-log", is_flag=True, help="Log in JSON.")
def command(
    url: str,
    key_file: Path,
    witness: Path | None,
    timeout: float,
    as_json: bool,
    host: str,
    port: int,
    password: str | None,
    max_clients: int,
    rate: float | None,
    json_log: bool,
) -> None:
    """Speak the Redis protocol in front of a map, until SIGTERM or Ctrl-C.

    Run it on the application's machine: it holds the key, and its own clients are not encrypted. Prints one line when
    it is ready. If the relay goes away, commands are answered with errors until it is back.
    """
    log_to_stderr(as_json=json_log)
    options: dict[str, Any] = {"key_file": key_file, "witness": witness, "timeout": timeout, "rate": rate}
    asyncio.run(_run(url, options, host, port, password, max_clients, as_json))


async def _run(
    url: str,
    options: dict[str, Any],
    host: str,
    port: int,
    password: str | None,
    max_clients: int,
    as_json: bool,
) -> None:
    from host.aio import open_url

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = await open_url(url, **options)
    try:
        settings, params = client.settings, client.params
        proxy = Proxy(
            client,
            params,
            settings.root_key,
            host,
            port,
            password=password,
            limits=Limits(clients=max_clients),
        )
        async with proxy:
            if as_json:
                echo_json(address=f"redis://{proxy.address}", map=settings.address, params=params.to_dict())
            else:
                click.echo(f"omap: Redis protocol at {proxy.address}, in front of the map at {settings.address}")
            await stop.wait()
    finally:
        await client.close()
