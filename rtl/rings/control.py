# amaranth: UnusedElaboratable=no
"""What the engine is doing: it serves the host's requests, one at a time, and latches the first fault."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from omap.regmap import Fault, Request, State

KEEPING = {
    "begin": Out(1),
    "begun": In(1),
    "told": In(1),
    "export": Out(1),
    "exported": In(1),
    "restore": Out(1),
    "restored": In(1),
    "failed": In(1),
    "drop": Out(1),
}
"""Ports for a map that is kept: its journal, its snapshots, its restore."""


class Control(wiring.Component):
    """Serves requests as :class:`omap.device.DeviceModel` does, and says what all other blocks may do.

    A request that changes the map waits until nothing is under way. While a journal or a snapshot waits for room in its
    ring, only a STOP is served, and only if it comes another way than the request that waits.

    Parameters
    ----------
    journal : bool
        The map is kept: it has a journal, and is exported and restored when the host asks for it.

    Members
    -------
    i_register, i_twin : In(stream.Signature(8))
        Requests by register, and in the buffer.
    o_register_done, o_twin_done : Out(stream.Signature(0))
        A request was served, and the host may see the state that it led to.
    state, fault : Out(4)
        STATUS and FAULT.
    shown : In(1)
        The buffer shows both.
    mute : In(1)
        The buffer can't be written any more.
    found : In(4)
        A fault, as long as there is one.
    idle : In(1)
        No record, operation or page is under way.
    clear : Out(1)
        For one cycle: sessions end, and the map is emptied under fresh secrets.
    formatted : In(1)
        That is done. It falls with ``clear``.
    serve : Out(1)
        Records are taken.
    stopped : Out(1)
        The kernel stops.
    erase : Out(1)
        All keys and all that is under way are to be cleared. It stays.
    begin, begun : Out(1), In(1)
        With a journal: it begins when its ring has room; it has begun.
    told : In(1)
        With a journal: the host has all that was written into its ring. A format, an export or a restore ends after
        that, because the host looks into the ring then.
    export, exported : Out(1), In(1)
        With a journal: a snapshot begins; it has left. One cycle each.
    restore : Out(1)
        With a journal: records are those of a restore. It stays when one has failed, until the next format.
    restored, failed : In(1)
        With a journal: the restored map is complete; its restore has failed. Both stay until ``clear``.
    drop : Out(1)
        With a journal: the map and its secrets are to be forgotten. One cycle, while ``idle``.

    Countermeasures
    ---------------
    ENGINE.FAULT.LATCH
        After a fault all keys are gone, nothing is served, and a register says why. Only a reset ends this.
    RESTORES.FAIL.ERASE
        Nothing stays of a map whose restore has failed.
    """

    def __init__(self, *, journal: bool) -> None:
        self.journal = journal
        super().__init__(
            {
                "i_register": In(stream.Signature(8)),
                "i_twin": In(stream.Signature(8)),
                "o_register_done": Out(stream.Signature(0)),
                "o_twin_done": Out(stream.Signature(0)),
                "state": Out(State, init=State.IDLE),
                "fault": Out(Fault),
                "shown": In(1),
                "mute": In(1),
                "found": In(Fault),
                "idle": In(1),
                "clear": Out(1),
                "formatted": In(1),
                "serve": Out(1),
                "stopped": Out(1),
                "erase": Out(1),
            }
            | (KEEPING if journal else {})
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        code, by_register, dropping = Signal(8), Signal(), Signal()
        state, ready = self.state, Signal()
        empties: Value = code == Request.FORMAT
        may_empty: Value = (state == State.IDLE) | ready
        if self.journal:
            empties |= code == Request.RESTORE
            may_empty |= state == State.RESTORING
        m.d.comb += [
            ready.eq(state == State.READY),
            self.serve.eq(ready),
            self.erase.eq((state == State.FAULT) | (state == State.STOPPED)),
        ]
        with m.FSM(name="control"):
            with m.State("IDLE"):
                m.d.comb += [
                    self.stopped.eq((state == State.STOPPED) & self.shown),
                    self.i_register.ready.eq(1),
                    self.i_twin.ready.eq(~self.i_register.valid),
                ]
                m.d.sync += [
                    by_register.eq(self.i_register.valid),
                    code.eq(Mux(self.i_register.valid, self.i_register.p, self.i_twin.p)),
                ]
                with m.If(self.i_register.valid | self.i_twin.valid):
                    m.next = "REQUEST"
                if self.journal:
                    self._end_restore(m)
            with m.State("REQUEST"):
                m.next = "DONE"
                with m.If(empties & may_empty):
                    m.d.sync += state.eq(State.FORMATTING)
                    m.next = "DRAIN"
                if self.journal:
                    with m.If((code == Request.EXPORT) & ready):
                        m.d.sync += state.eq(State.EXPORTING)
                        m.next = "REST"
                with m.If((code == Request.STOP) & (state != State.FAULT)):
                    m.d.sync += state.eq(State.STOPPED)
            with m.State("DRAIN"):
                with m.If(self.erase):
                    m.next = "DONE"
                with m.Elif(self.idle):
                    m.d.comb += self.clear.eq(1)
                    m.next = "BEGUN"
            with m.State("BEGUN"):
                m.next = "FORMAT"
            with m.State("FORMAT"):
                with m.If(self.erase):
                    m.next = "DONE"
                with m.Elif(self.formatted):
                    if self.journal:
                        m.next = "JOURNAL"
                        with m.If(code == Request.RESTORE):
                            m.d.sync += state.eq(State.RESTORING)
                            m.next = "DONE"
                    else:
                        m.d.sync += state.eq(State.READY)
                        m.next = "DONE"
            if self.journal:
                self._keep(m, by_register, dropping)
            with m.State("DONE"):
                # The buffer cannot be written when the bus does not answer; the register still can.
                told = Signal()
                m.d.comb += [
                    told.eq(self.shown | self.mute),
                    self.o_register_done.valid.eq(told & by_register),
                    self.o_twin_done.valid.eq(told & ~by_register),
                ]
                with m.If(told & Mux(by_register, self.o_register_done.ready, self.o_twin_done.ready)):
                    m.next = "IDLE"
        if self.journal:
            with m.If(self.clear):
                m.d.sync += self.restore.eq(code == Request.RESTORE)
            with m.If(self.restore & ~dropping & ((state == State.RESTORING) | (state == State.IDLE))):
                m.d.comb += self.serve.eq(1)
        # SEC_CM: ENGINE.FAULT.LATCH -- whatever is in flight; `erase` follows from the state in the next cycle
        with m.If((self.found != Fault.NONE) & ~self.erase):
            m.d.sync += [state.eq(State.FAULT), self.fault.eq(self.found)]
        return m

    def _end_restore(self, m: Module) -> None:
        """Go on, between two requests, when the records of a restore have ended or one was refused."""
        of_restore = self.restore & (self.state == State.RESTORING)
        with m.If(of_restore & self.restored):
            with m.If(~self._stops(self.i_register) & ~self._stops(self.i_twin)):
                m.d.comb += [self.i_register.ready.eq(0), self.i_twin.ready.eq(0)]
                m.next = "COMPLETE"
        with m.Elif(of_restore & self.failed):
            m.d.comb += [self.i_register.ready.eq(0), self.i_twin.ready.eq(0)]
            m.next = "DROP"

    def _stops(self, requests: stream.Interface) -> Value:
        return requests.valid & (requests.p == Request.STOP)

    def _keep(self, m: Module, by_register: Signal, dropping: Signal) -> None:
        """Begin a journal, write a snapshot, end a restore."""
        state = self.state
        # A restored map has no request under way; a format or an export by the buffer can be stopped by register.
        stop = self._stops(self.i_register) & ~by_register
        with m.State("JOURNAL"):
            m.d.comb += self.begin.eq(1)
            with m.If(self.erase):
                m.next = "DONE"
            with m.Elif(stop):
                m.d.sync += state.eq(State.STOPPED)
            with m.Elif(self.begun & self.told):
                m.d.sync += state.eq(State.READY)
                m.next = "DONE"
        with m.State("REST"):
            with m.If(self.erase):
                m.next = "DONE"
            with m.Elif(self.idle):
                m.d.comb += self.export.eq(1)
                m.next = "EXPORT"
        with m.State("EXPORT"):
            with m.If(self.erase):
                m.next = "DONE"
            with m.Elif(stop):
                m.d.sync += state.eq(State.STOPPED)
            with m.Elif(self.exported):
                m.next = "EXPORTED"
        with m.State("EXPORTED"):
            with m.If(self.erase):
                m.next = "DONE"
            with m.Elif(self.told):
                m.d.sync += state.eq(State.READY)
                m.next = "DONE"
        with m.State("COMPLETE"):
            m.d.comb += self.begin.eq(1)
            with m.If(self.erase | self._stops(self.i_register) | self._stops(self.i_twin)):
                m.next = "IDLE"
            with m.Elif(self.begun & self.told):
                m.d.sync += state.eq(State.READY)
                m.next = "ANSWER"
        with m.State("ANSWER"):
            # the answer to END leaves; the next records are those of clients
            with m.If(self.erase):
                m.next = "IDLE"
            with m.Elif(self.idle):
                m.d.sync += self.restore.eq(0)
                m.next = "IDLE"
        with m.State("DROP"):
            m.d.comb += dropping.eq(1)
            with m.If(self.erase):
                m.next = "IDLE"
            with m.Elif(self.idle):
                # SEC_CM: RESTORES.FAIL.ERASE -- a host that chooses where a restore ends has no use of what is there
                m.d.comb += self.drop.eq(1)
                m.d.sync += state.eq(State.IDLE)
                m.next = "IDLE"
