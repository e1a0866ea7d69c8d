# amaranth: UnusedElaboratable=no
"""Keys of a session: derived from the client's key, and that from the root key and the client's credential."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from omap.kdf import CLIENT, SESSION
from omap.params import Params
from rtl.constants import BLOCK_BITS
from rtl.crypto.kdf import KEY_BITS, Kdf, fixed_input
from rtl.rings.record import CREDENTIAL_FIELDS, SESSION_BITS, digest_of
from rtl.stream.interfaces import swap_bytes

HANDSHAKE = StructLayout(
    {"session": SESSION_BITS, "client": BLOCK_BITS, "device": BLOCK_BITS, "credential": CREDENTIAL_FIELDS}
)
"""A handshake: for which session it is, the nonces of both ends, and whose it is. All of it is public."""

SESSION_KEYS = StructLayout(dict.fromkeys(("command", "response", "confirmation"), KEY_BITS))
"""Keys of a session."""


class SessionKeys(wiring.Component):
    """Derives the keys of sessions. Must equal :func:`omap.session.session_keys` under the client's key.

    There is a KDF for each step, because the inputs of the two have other lengths.

    Parameters
    ----------
    params : Params
        The map: its digest goes into the keys.

    Members
    -------
    root_key : In(256)
        Root key.
    map_id : In(128)
        The map's id.
    i : In(stream.Signature(HANDSHAKE))
        A handshake; taken at once, if no keys are on offer or being derived.
    o : Out(stream.Signature(SESSION_KEYS))
        Its keys, until they are taken; zero while none are on offer.

    Countermeasures
    ---------------
    SESSIONS.KEY.OWN
        The keys of a session follow from the client's key, and that from root key and credential.
    SESSIONS.KEY.CLEARED
        The client's key is cleared when it was used, and the session's keys are when they are taken.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        super().__init__(
            {
                "root_key": In(KEY_BITS),
                "map_id": In(BLOCK_BITS),
                "i": In(stream.Signature(HANDSHAKE)),
                "o": Out(stream.Signature(SESSION_KEYS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.client = client = Kdf(fixed_bytes=CLIENT.fixed_bytes, output_bytes=CLIENT.length)
        m.submodules.session = session = Kdf(fixed_bytes=SESSION.fixed_bytes, output_bytes=SESSION.length)
        shake = self.i.p
        context = shake.client, shake.device, digest_of(self.params), self.map_id, swap_bytes(shake.session)
        m.d.comb += [
            # SEC_CM: SESSIONS.KEY.OWN -- whoever has another client's key, or other rights, has other session keys
            client.i.p.key.eq(self.root_key),
            client.i.p.fixed.eq(fixed_input(CLIENT, shake.credential)),
            session.i.p.key.eq(client.o.p),
            session.i.p.fixed.eq(fixed_input(SESSION, *context)),
            self.o.valid.eq(session.o.valid),
            self.o.p.eq(session.o.p),
        ]
        with m.FSM():
            with m.State("CLIENT"):
                m.d.comb += client.i.valid.eq(self.i.valid)
                with m.If(self.i.valid & client.i.ready):
                    m.next = "SESSION"
            with m.State("SESSION"):
                m.d.comb += session.i.valid.eq(client.o.valid)
                with m.If(client.o.valid & session.i.ready):
                    # SEC_CM: SESSIONS.KEY.CLEARED -- nothing stays of the client's key, nor of the root key
                    m.d.comb += [client.erase.eq(1), self.i.ready.eq(1)]
                    m.next = "OFFER"
            with m.State("OFFER"):
                with m.If(self.o.valid & self.o.ready):
                    # SEC_CM: SESSIONS.KEY.CLEARED -- the keys are where they are used, or nobody needs them
                    m.d.comb += session.erase.eq(1)
                    m.next = "CLIENT"
        return m
