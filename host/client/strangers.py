"""What answers at an address where a relay was expected, and speaks another protocol.

A relay speaks first. Most servers wait until they are spoken to, so that client and server would wait for each other.
Thus a client that hears nothing for a second asks on a connection of its own, in words that a server of Redis, of HTTP
or of TLS answers at once, if only with an error. The first connection stays as it is, because its peer may be a relay
that is slow.
"""

from __future__ import annotations

from host.client.settings import Settings
from host.framing import MAGIC, not_a_relay
from omap.errors import SessionError

SILENCE_SECONDS = 1.0
"""How long a relay may take for its first byte before the client asks who is there."""

QUESTION = b"PING\r\n\r\n"
"""What the client asks: a command of Redis, and no sound request of HTTP."""

ANSWER_BYTES = 64
"""Most bytes of an answer that are looked at."""

KNOWN = (
    ((b"+", b"-"), "the Redis protocol, as `omap proxy` does: give the address of `omap serve`"),
    ((b"HTTP/",), "HTTP, as the monitor of `omap serve` does: give the address of the relay itself"),
    ((b"\x15\x03",), "TLS: give certificates to trust, --tls-ca on the command line or tls= in a program"),
)
"""Starts of answers, and what they show."""


def check_answer(settings: Settings, answer: bytes) -> None:
    """Refuse a peer that has answered :data:`QUESTION` as no relay does.

    Parameters
    ----------
    settings : Settings
        Where the peer is.
    answer : bytes
        The first bytes that came; empty if the peer hung up, which a relay does not do without a word.

    Raises
    ------
    SessionError
        If something else than a relay answers there; says what, if it is known.
    """
    if answer and MAGIC.startswith(answer[: len(MAGIC)]):
        return
    if not answer:
        raise SessionError(
            f"{settings.address} says nothing, and hangs up when it is asked who it is: check host and port, and "
            "whether it speaks TLS (--tls-ca on the command line, tls= in a program)"
        )
    for starts, what in KNOWN:
        if answer.startswith(starts):
            raise SessionError(f"what answers at {settings.address} is no omap relay: it speaks {what}")
    raise not_a_relay()
