"""Open sessions: which index each has, whose turn it is, and which was not used for longest."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from omap.wire import SESSIONS
from rtl.rings.record import SESSION_INDEX, TURN_BITS

SESSION_BITS = 32
CLOCK_BITS = 64
"""Width of the count of uses. At one use a cycle it lasts for two thousand years."""

_USE = StructLayout({"session": SESSION_BITS, "next": TURN_BITS + 1, "used": CLOCK_BITS})

ROW = StructLayout({"open": 1, **{name: field.shape for name, field in _USE}})
"""What is at a session index: whether a session is open, which, its next sequence number, and when it was last used."""


class SessionTable(wiring.Component):
    """Keeps what :class:`omap.session.DeviceSessions` keeps of open sessions, but for their keys.

    Members
    -------
    index : In(range(SESSIONS))
        Session index to look up.
    row : Out(ROW)
        What was at ``index`` in the cycle before. Not while a place is being sought.
    use : In(1)
        The session at ``use_index`` is used: it gets ``use_session`` and ``use_next``, and the time of now.
    use_index, use_session, use_next : In
        See ``use``.
    opens : In(1)
        With ``use``: the session is open from now on.
    close : In(1)
        The session at ``close_index`` is closed.
    close_index : In(range(SESSIONS))
        See ``close``.
    open : Out(SESSIONS)
        Session indices at which a session is open.
    i_replaced : In(stream.Signature(32))
        Closes this session, if it is open, and looks for the place of a new one.
    o_place : Out(stream.Signature(range(SESSIONS)))
        The lowest free session index, or the one not used for longest.

    Countermeasures
    ---------------
    SESSIONS.OLD.FENCED
        A session is closed before the one that replaces it opens.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "index": In(SESSION_INDEX),
                "row": Out(ROW),
                "use": In(1),
                "use_index": In(SESSION_INDEX),
                "use_session": In(SESSION_BITS),
                "use_next": In(TURN_BITS + 1),
                "opens": In(1),
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

        replaced = Signal(SESSION_BITS)
        same, older = Signal(), Signal()
        best, best_used, best_free = Signal(SESSION_INDEX), Signal(CLOCK_BITS), Signal()
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i_replaced.ready.eq(1)
                m.d.sync += [replaced.eq(self.i_replaced.p), best_used.eq(~0), best_free.eq(0), place.eq(0)]
                with m.If(self.i_replaced.valid):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += seeking.eq(1)
                m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.sync += [
                    same.eq(self.row.open & (self.row.session == replaced)),
                    older.eq(self.row.used < best_used),
                ]
                m.d.comb += seeking.eq(1)
                m.next = "CHOOSE"
            with m.State("CHOOSE"):
                free = same | ~self.row.open
                with m.If(same):
                    # SEC_CM: SESSIONS.OLD.FENCED -- a record of the replaced session that was held back can't run later
                    m.d.sync += self.open.bit_select(place, 1).eq(0)
                with m.If(~best_free & (free | older)):
                    m.d.sync += [best.eq(place), best_used.eq(self.row.used), best_free.eq(free)]
                m.d.sync += place.eq(place + 1)
                m.next = "READ"
                with m.If(place == SESSIONS - 1):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += [self.o_place.valid.eq(1), self.o_place.p.eq(best)]
                with m.If(self.o_place.ready):
                    m.next = "IDLE"
        return m
