"""Ends of sessions, for the blocks that open them: drawn clients, and the root key and map id of their device."""

from omap.credentials import MOST_PREFIX_BYTES, Credential, Right, provision
from omap.session import ClientSession, session_keys
from omap.wire import HEADER

ROOT_KEY = bytes(range(32))
MAP_ID = bytes(range(16, 32))


def number(data):
    """Return bytes as the number that they are in a beat."""
    return int.from_bytes(data, "little")


def drawn(rng, params):
    """Return a credential that a client of a map can have."""
    prefix = rng.randbytes(rng.randint(0, min(MOST_PREFIX_BYTES, params.key_bytes)))
    return Credential(Right(rng.randint(1, 3)), prefix, rng.randbytes(21) + b"\1")


class Client(ClientSession):
    """A client's end with a drawn nonce."""

    def __init__(self, params, rng, credential, *, root_key=ROOT_KEY, replaces=0):
        super().__init__(params, provision(root_key, credential), replaces=replaces)
        self._nonce = rng.randbytes(16)
        self.credential = credential

    def keys(self, answer):
        """Return the keys that follow from an answer to HELLO."""
        digest, nonce, session = self.codec.params.digest, answer[HEADER.size :][:16], HEADER.unpack_from(answer)[4]
        return session_keys(self._client.key, self._nonce, nonce, digest, MAP_ID, session)
