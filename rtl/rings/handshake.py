# amaranth: UnusedElaboratable=no
"""The handshake that opens a session: derives its keys and checks that the client holds the key of its credential."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout, View
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from omap.credentials import ALL_RIGHTS, MOST_PREFIX_BYTES
from omap.params import Params
from omap.session import CLIENT_ROLE, DEVICE_ROLE, LINEAGE_ROLE, ROOT_KEY_BYTES
from omap.wire import PENDING_HANDSHAKES, Refusal
from rtl.constants import BLOCK_BITS, BLOCK_BYTES
from rtl.crypto.cmac import Cmac
from rtl.rings.lineage import KEPT_BITS
from rtl.rings.record import CREDENTIAL_FIELDS, SESSION_BITS
from rtl.rings.session_keys import HANDSHAKE, SessionKeys
from rtl.stream.interfaces import swap_bytes

KEY_BITS = 8 * ROOT_KEY_BYTES
REFUSAL_BITS = max(Refusal).bit_length()

HANDSHAKE_BODY = StructLayout({"first": BLOCK_BITS, "second": CREDENTIAL_FIELDS})
"""How the body of a handshake's command begins: nonce and credential of a HELLO; the confirmation of a CONFIRM, and in
the bits of a credential the session that is replaced, zeros, and the id of the map that is known."""


class RootKey(wiring.Component):
    """Takes the root key, once.

    Members
    -------
    i_root_key : In(stream.Signature(256))
        The key. Taken once after a hardware reset, and not after an erasure.
    root_key : Out(256)
        The key, or zero.
    present : Out(1)
        It was taken and is not erased.
    dead : Out(1)
        It was erased; only a hardware reset gets out of it.
    erase : In(1)
        Clears the key for good.

    Countermeasures
    ---------------
    SESSIONS.ROOT.ONCE
        A key is taken once.
    SESSIONS.KEY.ERASE
        ``erase`` clears the key.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "i_root_key": In(stream.Signature(KEY_BITS)),
                "root_key": Out(KEY_BITS),
                "present": Out(1),
                "dead": Out(1),
                "erase": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # SEC_CM: SESSIONS.ROOT.ONCE -- neither the host nor a fault can put another key in the place of this one
        m.d.comb += self.i_root_key.ready.eq(~self.present & ~self.dead & ~self.erase)
        with m.If(self.erase):
            # SEC_CM: SESSIONS.KEY.ERASE -- the key goes, and none comes
            m.d.sync += [self.root_key.eq(0), self.present.eq(0), self.dead.eq(1)]
        with m.Elif(self.i_root_key.valid & self.i_root_key.ready):
            m.d.sync += [self.root_key.eq(self.i_root_key.p), self.present.eq(1)]
        return m


class Handshake(wiring.Component):
    """Answers HELLO and CONFIRM as :class:`omap.sessions.DeviceSessions` does.

    Only the nonces and the credential of a pending handshake are kept. Its keys are derived once for the answer to
    HELLO and once more for the check of CONFIRM, and cleared each time.

    Parameters
    ----------
    params : Params
        The map: its digest goes into the keys.

    Members
    -------
    root_key : In(256)
        Root key.
    present : In(1)
        There is one; without it a HELLO waits.
    map_id : In(128)
        The map's id.
    known : Out(128)
        Id of the map that the client of a CONFIRM knows, while ``i`` is on offer.
    kept : In(64)
        How many operations of that map are kept, all ones if it is no ancestor. Used 50 cycles later.
    i_nonce : In(stream.Signature(128))
        Fresh random bytes, an item for each HELLO.
    i : In(stream.Signature(StructLayout({"confirm": 1, "session": 32, "body": HANDSHAKE_BODY})))
        CONFIRM or HELLO; the session in its header; how its body begins. The item is taken when it is answered.
    o : Out(stream.Signature(StructLayout({"refusal": 4, "session": 32, "body": 384})))
        Reason to refuse, or 0; the session that was meant; the body of the answer.
    o_keys : Out(stream.Signature(StructLayout({"command": 256, "response": 256})))
        Keys of the session whose CONFIRM is right. The answer to it waits until the keys were taken.
    credential : Out(CREDENTIAL_FIELDS)
        Credential of that session, still until the answer is taken.

    Countermeasures
    ---------------
    SESSIONS.CREDENTIAL.CHECKED
        No key is derived for a credential that none can have.
    SESSIONS.KEY.CONFIRM
        Keys are handed out only for a client that proved to have them.
    SESSIONS.KEY.UNREADABLE
        No answer shows a key, or the confirmation that is expected of a client.
    SESSIONS.CONFIRM.CONST_TIME
        Confirmations are compared at once.
    SESSIONS.LINEAGE.PROVEN
        A confirmation covers what the client knows of the map's ancestors, and one what the device does.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        request = StructLayout({"confirm": 1, "session": SESSION_BITS, "body": HANDSHAKE_BODY})
        answer = StructLayout({"refusal": REFUSAL_BITS, "session": SESSION_BITS, "body": 3 * BLOCK_BITS})
        keys = StructLayout({"command": KEY_BITS, "response": KEY_BITS})
        super().__init__(
            {
                "root_key": In(KEY_BITS),
                "present": In(1),
                "map_id": In(BLOCK_BITS),
                "known": Out(BLOCK_BITS),
                "kept": In(KEPT_BITS),
                "i_nonce": In(stream.Signature(BLOCK_BITS)),
                "i": In(stream.Signature(request)),
                "o": Out(stream.Signature(answer)),
                "o_keys": Out(stream.Signature(keys)),
                "credential": Out(CREDENTIAL_FIELDS),
            }
        )

    # Long: one state machine answers both records, and its states share the signals that stand before them.
    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.rows = rows = Memory(
            shape=HANDSHAKE, depth=PENDING_HANDSHAKES, init=[], attrs={"ram_style": "distributed"}
        )
        read, write = rows.read_port(domain="comb"), rows.write_port()
        pending = Signal(PENDING_HANDSHAKES)
        last = Signal(SESSION_BITS)  # session of the last HELLO
        current = Signal(HANDSHAKE)  # the handshake of this request
        # The session's keys stay there until the request is answered.
        m.submodules.keys = keys = SessionKeys(self.params)
        m.submodules.cmac = cmac = Cmac()

        confirm = self.i.p.confirm
        replaced = Value.cast(self.i.p.body.second)[:SESSION_BITS]
        tag = Signal(BLOCK_BITS)
        kept = swap_bytes(self.kept)
        proven = Signal()  # the client's confirmation was right, and its answer is being confirmed
        expected = Signal()  # a CONFIRM of a handshake that is pending, and later the right one
        allowed = Signal()  # a HELLO with a credential that there is
        refusal = Signal(REFUSAL_BITS)
        role = Mux(proven, Const(LINEAGE_ROLE, 8), Mux(confirm, Const(CLIENT_ROLE, 8), DEVICE_ROLE))
        said = Mux(proven, kept, Mux(confirm, Cat(Const(0, KEPT_BITS - SESSION_BITS), replaced), 0))
        names_map = Signal()  # the block that names the known map goes
        block = Cat(role, Const(0, BLOCK_BITS - 8 - KEPT_BITS), said)
        m.d.comb += [
            keys.root_key.eq(self.root_key),
            keys.map_id.eq(self.map_id),
            keys.i.p.eq(current),
            cmac.i_key.p.eq(keys.o.p.confirmation),
            self.known.eq(Value.cast(self.i.p.body.second)[BLOCK_BITS:]),
            # SEC_CM: SESSIONS.LINEAGE.PROVEN -- the host can't put another map in the place of the known one
            cmac.i_message.p.data.eq(Mux(names_map, self.known, block)),
            cmac.i_message.p.last.eq(names_map | ~confirm | proven),
            cmac.i_message.p.bytes.eq(BLOCK_BYTES),
            self.o.p.refusal.eq(refusal),
            self.o.p.session.eq(current.session),
            self.credential.eq(current.credential),
            self.o_keys.p.command.eq(keys.o.p.command),
            self.o_keys.p.response.eq(keys.o.p.response),
            read.addr.eq(self.i.p.session),
            write.addr.eq(current.session),
            write.data.eq(current),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    current.eq(read.data),
                    allowed.eq(self._allowed(self.i.p.body.second)),
                    expected.eq(pending.bit_select(read.addr, 1) & (self.i.p.session == read.data.session)),
                    refusal.eq(0),
                    tag.eq(0),
                    proven.eq(0),
                ]
                with m.If(self.i.valid):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                with m.If(~confirm & allowed):
                    m.d.sync += [
                        last.eq(last + 1),
                        current.session.eq(last + 1),
                        current.client.eq(self.i.p.body.first),
                        current.credential.eq(self.i.p.body.second),
                    ]
                    m.next = "NONCE"
                # SEC_CM: SESSIONS.CREDENTIAL.CHECKED -- rights that do not exist are nobody's, so they need no key
                with m.Elif(~confirm):
                    m.d.sync += refusal.eq(Refusal.CREDENTIAL)
                    m.next = "ANSWER"
                with m.Elif(expected):
                    m.next = "DERIVE"
                with m.Else():
                    m.d.sync += refusal.eq(Refusal.NO_HANDSHAKE)
                    m.next = "ANSWER"
            with m.State("NONCE"):
                m.d.comb += self.i_nonce.ready.eq(self.present)
                with m.If(self.i_nonce.valid & self.present):
                    m.d.sync += current.device.eq(self.i_nonce.p)
                    m.next = "DERIVE"
            with m.State("DERIVE"):
                m.d.comb += keys.i.valid.eq(1)
                with m.If(keys.i.ready):
                    with m.If(~confirm):
                        # the handshake that was pending in this place is dropped
                        m.d.comb += write.en.eq(1)
                        m.d.sync += pending.bit_select(write.addr, 1).eq(1)
                    m.next = "KEY"
            with m.State("KEY"):
                m.d.comb += cmac.i_key.valid.eq(keys.o.valid)
                with m.If(keys.o.valid & cmac.i_key.ready):
                    m.next = "MESSAGE"
            with m.State("MESSAGE"):
                m.d.comb += cmac.i_message.valid.eq(1)
                with m.If(cmac.i_message.ready):
                    m.next = "TAG"
                    with m.If(~cmac.i_message.p.last):
                        m.next = "KNOWN"
            with m.State("KNOWN"):
                m.d.comb += [cmac.i_message.valid.eq(1), names_map.eq(1)]
                with m.If(cmac.i_message.ready):
                    m.next = "TAG"
            with m.State("TAG"):
                m.d.comb += cmac.o_tag.ready.eq(1)
                with m.If(cmac.o_tag.valid):
                    m.d.sync += tag.eq(cmac.o_tag.p)
                    m.next = "COMPARE"
                    with m.If(proven):
                        m.d.comb += cmac.erase.eq(1)
                        m.next = "KEYS"
            with m.State("COMPARE"):
                # SEC_CM: SESSIONS.CONFIRM.CONST_TIME -- all bits in one cycle
                m.d.sync += expected.eq(tag == self.i.p.body.first)
                m.next = "VERDICT"
            with m.State("VERDICT"):
                m.d.comb += cmac.erase.eq(~confirm | ~expected)
                with m.If(~confirm):
                    m.next = "ANSWER"
                # SEC_CM: SESSIONS.KEY.CONFIRM -- no session is opened for who does not hold the client's key
                with m.Elif(expected):
                    m.d.sync += proven.eq(1)
                    m.next = "MESSAGE"
                with m.Else():
                    m.d.sync += refusal.eq(Refusal.WRONG_KEY)
                    m.next = "ANSWER"
            with m.State("KEYS"):
                m.d.comb += self.o_keys.valid.eq(1)
                with m.If(self.o_keys.ready):
                    m.d.sync += pending.bit_select(write.addr, 1).eq(0)
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [self.o.valid.eq(1), self.i.ready.eq(self.o.ready), keys.o.ready.eq(self.o.ready)]
                with m.If(~confirm & (refusal == 0)):
                    # SEC_CM: SESSIONS.KEY.UNREADABLE -- what is expected of a client never shows
                    m.d.comb += self.o.p.body.eq(Cat(current.device, self.map_id, tag))
                with m.Elif(proven):
                    # SEC_CM: SESSIONS.LINEAGE.PROVEN -- the host can't say for the device how much is kept
                    m.d.comb += self.o.p.body.eq(Cat(tag, kept))
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m

    def _allowed(self, credential: View) -> Value:
        """Return whether a client of this map can have a credential."""
        most = min(MOST_PREFIX_BYTES, self.params.key_bytes)
        beyond = [
            (credential.prefix.word_select(index, 8) != 0) & (credential.prefix_bytes <= index)
            for index in range(MOST_PREFIX_BYTES)
        ]
        rights = credential.rights
        return (rights != 0) & (rights <= ALL_RIGHTS) & (credential.prefix_bytes <= most) & ~Cat(beyond).any()
