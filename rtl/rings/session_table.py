"""Open sessions: which index each has, whose it is, whose turn it is, and which was not used for longest."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout, View
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from omap.sessions import SHARE
from omap.wire import SESSIONS
from rtl.rings.record import CREDENTIAL_FIELDS, RIGHTS, SESSION_BITS, SESSION_INDEX, TURN_BITS

CLOCK_BITS = 64
"""Width of the count of uses. At one use a cycle it lasts for two thousand years."""

_USE = StructLayout({"session": SESSION_BITS, "next": TURN_BITS + 1, "used": CLOCK_BITS})

ROW = StructLayout({"open": 1, **{name: field.shape for name, field in _USE}})
"""What is at a session index: whether a session is open, which, its next sequence number, and when it was last used."""


_OLDEST = StructLayout({"index": SESSION_INDEX, "used": CLOCK_BITS, "older": 1})
"""The session not used for longest of those looked at, and whether the one that is looked at is older still."""


class SessionTable(wiring.Component):
    """Keeps what :class:`omap.sessions.DeviceSessions` keeps of open sessions, but for their keys.

    Members
    -------
    index : In(range(SESSIONS))
        Session index to look up.
    row : Out(ROW)
        What was at ``index`` in the cycle before. Not while a place is being sought.
    rights_index : In(range(SESSIONS))
        Session index whose rights are looked up.
    rights : Out(RIGHTS)
        What the session may do that was opened last at the ``rights_index`` of the cycle before. It stays while any
        record of that session is under way, even if the session is closed, because a new one opens when no record is.
    use : In(1)
        The session at ``use_index`` is used: it gets ``use_session`` and ``use_next``, and the time of now.
    use_index, use_session, use_next : In
        See ``use``.
    opens : In(1)
        With ``use``: the session is open from now on, and its credential is ``credential``.
    credential : In(CREDENTIAL_FIELDS)
        Credential of the session that opens: still from ``i_replaced`` until ``opens``.
    close : In(1)
        The session at ``close_index`` is closed.
    close_index : In(range(SESSIONS))
        See ``close``.
    open : Out(SESSIONS)
        Session indices at which a session is open.
    i_replaced : In(stream.Signature(32))
        Closes this session, if it is open and has the same credential, and looks for the place of a new one.
    o_place : Out(stream.Signature(range(SESSIONS)))
        The lowest free session index. If there is none, the one not used for longest: of those with the same
        credential if they are four or more, else of all.

    Countermeasures
    ---------------
    SESSIONS.OLD.FENCED
        A session is closed before the one that replaces it opens.
    SESSIONS.OLD.OWN
        A session closes none of another credential by naming it.
    SESSIONS.SHARE.BOUNDED
        A client that opens ever more sessions closes its own.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "index": In(SESSION_INDEX),
                "row": Out(ROW),
                "rights_index": In(SESSION_INDEX),
                "rights": Out(RIGHTS),
                "use": In(1),
                "use_index": In(SESSION_INDEX),
                "use_session": In(SESSION_BITS),
                "use_next": In(TURN_BITS + 1),
                "opens": In(1),
                "credential": In(CREDENTIAL_FIELDS),
                "close": In(1),
                "close_index": In(SESSION_INDEX),
                "open": Out(SESSIONS),
                "i_replaced": In(stream.Signature(SESSION_BITS)),
                "o_place": Out(stream.Signature(SESSION_INDEX)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.rows = rows = Memory(shape=_USE, depth=SESSIONS, init=[], attrs={"ram_style": "distributed"})
        read, write = rows.read_port(domain="comb"), rows.write_port()
        clock = Signal(CLOCK_BITS, init=1)
        m.d.comb += [
            write.en.eq(self.use),
            write.addr.eq(self.use_index),
            write.data.session.eq(self.use_session),
            write.data.next.eq(self.use_next),
            write.data.used.eq(clock),
        ]
        with m.If(self.use):
            m.d.sync += clock.eq(clock + 1)
            with m.If(self.opens):
                m.d.sync += self.open.bit_select(self.use_index, 1).eq(1)
        with m.If(self.close):
            m.d.sync += self.open.bit_select(self.close_index, 1).eq(0)

        seeking = Signal()
        place = Signal(SESSION_INDEX)
        m.d.comb += read.addr.eq(Mux(seeking, place, self.index))
        m.d.sync += [
            self.row.open.eq(self.open.bit_select(read.addr, 1)),
            *(self.row[name].eq(read.data[name]) for name, _ in _USE),
        ]
        credential = self._credentials(m, place)
        self._seek(m, seeking, place, credential)
        return m

    def _credentials(self, m: Module, place: Signal) -> View:
        """Keep the credentials; return the one at a place."""
        m.submodules.credentials = memory = Memory(
            shape=CREDENTIAL_FIELDS, depth=SESSIONS, init=[], attrs={"ram_style": "distributed"}
        )
        write, rights, at_place = memory.write_port(), memory.read_port(domain="comb"), memory.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(self.use & self.opens),
            write.addr.eq(self.use_index),
            write.data.eq(self.credential),
            rights.addr.eq(self.rights_index),
            at_place.addr.eq(place),
        ]
        m.d.sync += [
            self.rights.read.eq(rights.data.rights[0]),
            self.rights.write.eq(rights.data.rights[1]),
            self.rights.prefix_bytes.eq(rights.data.prefix_bytes),
            self.rights.prefix.eq(rights.data.prefix),
        ]
        return at_place.data

    def _seek(self, m: Module, seeking: Signal, place: Signal, credential: View) -> None:
        """Look at all session indices, one after the other, and choose one."""
        replaced = Signal(SESSION_BITS)
        named, own, closes = Signal(), Signal(), Signal()
        own_open = Signal(range(SESSIONS + 1))
        free, free_index = Signal(), Signal(SESSION_INDEX)
        oldest, oldest_own = Signal(_OLDEST), Signal(_OLDEST)
        m.d.comb += closes.eq(self.row.open & named & own)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i_replaced.ready.eq(1)
                m.d.sync += [replaced.eq(self.i_replaced.p), own_open.eq(0), free.eq(0), place.eq(0)]
                m.d.sync += [oldest.used.eq(~0), oldest_own.used.eq(~0)]
                with m.If(self.i_replaced.valid):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += seeking.eq(1)
                m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.comb += seeking.eq(1)
                m.d.sync += [named.eq(self.row.session == replaced), own.eq(credential == self.credential)]
                m.d.sync += [each.older.eq(self.row.used < each.used) for each in (oldest, oldest_own)]
                m.next = "CHOOSE"
            with m.State("CHOOSE"):
                # SEC_CM: SESSIONS.OLD.OWN -- a client ends no session of another
                with m.If(closes):
                    # SEC_CM: SESSIONS.OLD.FENCED -- a record of the replaced session that was held back can't run later
                    m.d.sync += self.open.bit_select(place, 1).eq(0)
                with m.If(~self.row.open | closes):
                    m.d.sync += free.eq(1)
                    with m.If(~free):
                        m.d.sync += free_index.eq(place)
                m.d.sync += own_open.eq(own_open + (self.row.open & own))
                for each, counts in ((oldest, 1), (oldest_own, own)):
                    with m.If(each.older & counts):
                        m.d.sync += [each.index.eq(place), each.used.eq(self.row.used)]
                m.d.sync += place.eq(place + 1)
                m.next = "READ"
                with m.If(place == SESSIONS - 1):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += [
                    self.o_place.valid.eq(1),
                    # SEC_CM: SESSIONS.SHARE.BOUNDED -- a client that opens many sessions closes its own
                    self.o_place.p.eq(Mux(free, free_index, Mux(own_open >= SHARE, oldest_own.index, oldest.index))),
                ]
                with m.If(self.o_place.ready):
                    m.next = "IDLE"
