"""Open sessions: who holds which slot, whose turn it is, and which slot was not used for longest."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from omap.wire import SESSIONS
from rtl.rings.record import SLOT, TURN_BITS

SESSION_BITS = 32
CLOCK_BITS = 64
"""Uses of sessions that are counted; at one a cycle they last for two thousand years."""

_USE = StructLayout({"session": SESSION_BITS, "next": TURN_BITS + 1, "used": CLOCK_BITS})

ROW = StructLayout({"open": 1, **{name: field.shape for name, field in _USE}})
"""A slot: whether a session is open in it, which, its next sequence number, and the time of its last use."""


class SessionTable(wiring.Component):
    """Keeps what :class:`omap.session.DeviceSessions` keeps of open sessions, but for their keys.

    Members
    -------
    slot : In(range(SESSIONS))
        Slot to look up.
    row : Out(ROW)
        What was in ``slot`` in the cycle before. Not while a place is being sought.
    use : In(1)
        The session in ``use_slot`` is used: it gets ``use_session`` and ``use_next``, and the time of now.
    use_slot, use_session, use_next : In
        See ``use``.
    opens : In(1)
        With ``use``: a session is open in the slot from now on.
    close : In(1)
        The session in ``close_slot`` is closed.
    close_slot : In(range(SESSIONS))
        See ``close``.
    open : Out(SESSIONS)
        Slots in which a session is open.
    i_replaced : In(stream.Signature(32))
        Closes this session, if it is open, and looks for the place of a new one.
    o_place : Out(stream.Signature(range(SESSIONS)))
        The lowest free slot, or the one not used for longest.

    Countermeasures
    ---------------
    SESSIONS.OLD.FENCED
        A session is closed before the one that replaces it opens.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "slot": In(SLOT),
                "row": Out(ROW),
                "use": In(1),
                "use_slot": In(SLOT),
                "use_session": In(SESSION_BITS),
                "use_next": In(TURN_BITS + 1),
                "opens": In(1),
                "close": In(1),
                "close_slot": In(SLOT),
                "open": Out(SESSIONS),
                "i_replaced": In(stream.Signature(SESSION_BITS)),
                "o_place": Out(stream.Signature(SLOT)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.rows = rows = Memory(shape=_USE, depth=SESSIONS, init=[], attrs={"ram_style": "distributed"})
        read, write = rows.read_port(domain="comb"), rows.write_port()
        clock = Signal(CLOCK_BITS, init=1)
        m.d.comb += [
            write.en.eq(self.use),
            write.addr.eq(self.use_slot),
            write.data.session.eq(self.use_session),
            write.data.next.eq(self.use_next),
            write.data.used.eq(clock),
        ]
        with m.If(self.use):
            m.d.sync += clock.eq(clock + 1)
            with m.If(self.opens):
                m.d.sync += self.open.bit_select(self.use_slot, 1).eq(1)
        with m.If(self.close):
            m.d.sync += self.open.bit_select(self.close_slot, 1).eq(0)

        seeking = Signal()
        place = Signal(SLOT)
        m.d.comb += read.addr.eq(Mux(seeking, place, self.slot))
        m.d.sync += [
            self.row.open.eq(self.open.bit_select(read.addr, 1)),
            *(self.row[name].eq(read.data[name]) for name, _ in _USE),
        ]

        replaced = Signal(SESSION_BITS)
        same, older = Signal(), Signal()
        best, best_used, best_free = Signal(SLOT), Signal(CLOCK_BITS), Signal()
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i_replaced.ready.eq(1)
                m.d.sync += [replaced.eq(self.i_replaced.payload), best_used.eq(~0), best_free.eq(0), place.eq(0)]
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
                    # SEC_CM: SESSIONS.OLD.FENCED -- what was held back of the replaced session can't run later
                    m.d.sync += self.open.bit_select(place, 1).eq(0)
                with m.If(~best_free & (free | older)):
                    m.d.sync += [best.eq(place), best_used.eq(self.row.used), best_free.eq(free)]
                m.d.sync += place.eq(place + 1)
                m.next = "READ"
                with m.If(place == SESSIONS - 1):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += [self.o_place.valid.eq(1), self.o_place.payload.eq(best)]
                with m.If(self.o_place.ready):
                    m.next = "IDLE"
        return m
