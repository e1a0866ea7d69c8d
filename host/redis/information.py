"""What INFO tells: enough for ``redis-cli --stat`` and for tools that watch a Redis server."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from host.redis.session import DIALECT, Shared

Sections = dict[str, dict[str, object]]
"""Lines by section: names and values."""


@dataclass(frozen=True)
class Running:
    """What the server knows of itself.

    Parameters
    ----------
    port : int
        TCP port.
    since : float
        When it was made, as :func:`time.monotonic` has it.
    clients, max_clients : int
        Connections now, and most at once.
    accepted, rejected : int
        Connections since the start that got in, and that did not.
    """

    port: int
    since: float
    clients: int
    max_clients: int
    accepted: int
    rejected: int


def sections(shared: Shared, running: Running, last_error: str) -> Sections:
    """Return what INFO tells. It takes no map operation, so counts of keys are those of the newest answer.

    Parameters
    ----------
    shared : Shared
        What all connections share.
    running : Running
        The server.
    last_error : str
        Kind of the last error of the map.
    """
    scheduler = shared.scheduler
    databases, trouble = scheduler.databases, scheduler.store.trouble
    seconds, used = int(time.monotonic() - running.since), _memory()
    return {
        "Server": {
            "redis_version": DIALECT,
            "redis_mode": "standalone",
            "omap_version": metadata.version("omap-fpga"),
            "process_id": os.getpid(),
            "tcp_port": running.port,
            "uptime_in_seconds": seconds,
            "uptime_in_days": seconds // 86400,
        },
        "Clients": {
            "connected_clients": running.clients,
            "maxclients": running.max_clients,
            "blocked_clients": 0,
            "tracking_clients": 0,
        },
        "Memory": {
            "used_memory": used,
            "used_memory_human": f"{used / (1 << 20):.2f}M",
            "used_memory_peak": max(used, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10),
            "maxmemory": 0,
            "maxmemory_policy": "noeviction",
        },
        "Persistence": {"loading": 0, "rdb_changes_since_last_save": 0, "aof_enabled": 0},
        "Stats": {
            "total_connections_received": running.accepted,
            "rejected_connections": running.rejected,
            "total_commands_processed": sum(shared.calls.values()),
            "expired_keys": scheduler.expiries.expired,
            "evicted_keys": 0,
        },
        "Replication": {"role": "master", "connected_slaves": 0},
        "Commandstats": {
            f"cmdstat_{name}": f"calls={count},rejected_calls={shared.refusals[name]}"
            for name, count in sorted(shared.calls.items())
        },
        "Map": {
            "capacity": databases.params.capacity,
            "key_bytes": databases.params.key_bytes,
            "value_bytes": databases.params.value_bytes,
            "rule": databases.params.rule,
            "live_keys": "" if databases.live is None else databases.live,
            "stale_cells": databases.stale,
            "status": "up" if trouble is None else "down",
            # clients split a value at commas
            "trouble": "" if trouble is None else f"{type(trouble).__name__}: {trouble}".replace(",", ";"),
            "last_error": last_error,
        },
        "Keyspace": {
            f"db{number}": f"keys={keys},expires={scheduler.expiries.count(number)},avg_ttl=0"
            for number in range(databases.count)
            if (keys := databases.size(number))
        },
    }


def _memory() -> int:
    """Return the bytes of memory that this process holds."""
    with contextlib.suppress(OSError, ValueError, IndexError):  # only Linux tells
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
