"""``omap status``: what a relay says of itself, and what its device proves."""

from __future__ import annotations

import time
from typing import Any

import click

from host.commands.options import Where, connection, echo_json
from omap.credentials import Credential, Right

_LABELS = {
    "mode": "the device says",
    "operation": "operations so far",
    "most_operations": "operations a record, at most",
}
"""What people read in the place of names of JSON."""


@click.command()
@connection
def command(where: Where, as_json: bool) -> None:
    """Print the facts of a relay and of the map behind it.

    What the relay says is public and unproven, except the parameters: opening a session proves them. Live keys, number
    of the operation and overruns come from the device, in the sealed answer to a NOP. The first and the last are told
    only to a client that may read the whole map.
    """
    with where.connect() as client:
        reply, params, greeting = client.ping(), client.params, client.greeting
        credential = client.settings.client.credential
        facts = {
            "address": client.settings.address,
            "map_id": client.witness.map_id.hex(),
            "live_keys": reply.live if credential.sees_map else None,
            "operation": reply.sequence,
            "overruns": reply.overruns if credential.sees_map else None,
            "capacity": params.capacity,
            "key_bytes": params.key_bytes,
            "value_bytes": params.value_bytes,
            "rule": str(params.rule),
            "digest": params.digest.hex(),
            "most_operations": client.most_operations,
            "ring_lines": greeting.ring_lines,
            **_who(credential),
            "witness": None if client.witness.path is None else str(client.witness.path),
            "mode": greeting.mode,
            "kept": greeting.kept or None,
        }
    if as_json:
        echo_json(**facts)
        return
    facts["rights"] = ", ".join(facts["rights"])
    facts["mode"] = ", ".join(name for name, value in sorted(greeting.mode.items()) if value) or "none"
    facts["digest"] = params.digest.hex()[:16]
    facts["witness"] = facts["witness"] or "none"
    facts.pop("kept")
    facts |= _kept(greeting.kept)
    for name in ("live_keys", "overruns"):
        facts[name] = "not told" if facts[name] is None else facts[name]
    facts["operation"] = _grouped(facts["operation"])
    shown = {_LABELS.get(name, name.replace("_", " ")): value for name, value in facts.items()}
    width = max(map(len, shown)) + 2
    for label, value in shown.items():
        click.echo(f"{label:{width}}{value}")


def _grouped(count: Any) -> str:
    """Return a count with its thousands marked, and whatever else a relay may say as it is."""
    return f"{count:,}" if isinstance(count, int) else str(count)


def _kept(kept: dict[str, Any]) -> dict[str, Any]:
    """Return what the relay says of its data folder, for people."""
    if not kept:
        return {"on disk": "nothing"}
    taken = kept.get("snapshot_time")
    age = f"{max(0.0, time.time() - taken):.0f} s old" if isinstance(taken, (int, float)) and taken else "none"
    return {
        "on disk": f"the first {_grouped(kept.get('synced_operation'))} operations, sync {kept.get('sync')}",
        "journal bytes": kept.get("journal_bytes"),
        "snapshot": age,
        **({"trouble": kept["trouble"]} if kept.get("trouble") else {}),
    }


def _who(credential: Credential) -> dict[str, Any]:
    """Return who the client is and what it may do. All of it is public."""
    rights = [right.name.lower() for right in Right if right in credential.rights and right.name]
    name = credential.name.decode(errors="backslashreplace")
    return {"client": name, "rights": rights, "prefix": credential.prefix.hex()}
