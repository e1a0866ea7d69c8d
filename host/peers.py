"""Peers as a server sees them: which of them count as one, and who makes room when too many come.

Whoever owns one address of the Internet Protocol has many connections for nothing; many addresses cost more. So what a
server has to share out, it shares among addresses first, and among the connections of an address after that. Relay and
Redis proxy do it in this one way.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from typing import Protocol, TypeVar

IPV6_NETWORK_BITS = 64
"""Leading bits of an IPv6 address that count: a network with one owner has all the addresses below them."""

SETTLE_SECONDS = 1.0
"""How long a guest is left alone before it must make room for another whose address has no more guests than its own."""


def peer_group(name: object) -> str:
    """Return what stands for the owner of an address, from what asyncio calls ``peername``.

    That is an address of IPv4, the network of an address of IPv6, or ``"local"`` for a peer without an address.
    """
    host = name[0] if isinstance(name, tuple) and name else ""
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return "local"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False))
        address = address.ipv4_mapped
    return str(address)


class Guest(Protocol):
    """A connection, as :func:`who_makes_room` sees it."""

    @property
    def number(self) -> int:
        """Rises from connection to connection."""

    @property
    def group(self) -> str:
        """What stands for its owner, from :func:`peer_group`."""

    @property
    def since(self) -> float:
        """When it came."""

    @property
    def proven(self) -> bool:
        """Whether its peer has proved that it may use the server."""

    @property
    def expectant(self) -> bool:
        """Whether it waits for its first turn."""


G = TypeVar("G", bound=Guest)


def who_makes_room(guests: Iterable[G], group: str, now: float) -> G | None:
    """Return the guest that a full server ends for the sake of a newcomer, or None if the newcomer must go.

    A guest that has proved itself stays. Of the others, one of the address that has most makes room: if that address
    has more than the newcomer's would have, or if the guest was there for :data:`SETTLE_SECONDS` and had its turn.

    Parameters
    ----------
    guests : iterable of Guest
        All connections.
    group : str
        What stands for the newcomer's owner.
    now : float
        Time, on the clock of ``since``.
    """
    unproven = [guest for guest in guests if not guest.proven]
    counts = Counter(guest.group for guest in unproven)
    most = max(counts.values(), default=0)
    heavy = [guest for guest in unproven if counts[guest.group] == most]
    if most <= counts[group] + 1:
        heavy = [guest for guest in heavy if not guest.expectant and now - guest.since >= SETTLE_SECONDS]
    return min(heavy, key=lambda guest: (guest.expectant, guest.number), default=None)
