"""The registers of :mod:`omap.regmap` on an AXI4-Lite bus."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from omap.params import Params
from omap.regmap import BY_NAME, REGISTERS, identity
from rtl.stream.axi import RESP_OKAY, AxiLiteSignature

ADDRESS_BITS = 12
WORD_BITS = 32
SETTLE = 4
"""Cycles from the arguments to ``running``, so that what other blocks derive from them is ready before it is used."""

PLAIN = ("GIER", "IER", "ISR", "BUFFER_LOW", "BUFFER_HIGH", "RING_LINES")
"""Registers that keep what is written to them."""


class Csr(wiring.Component):
    """Control and status: starts the kernel, keeps its arguments, takes requests, shows what the device is and does.

    A word that is no register reads 0. A write to such a word, or to a register that can only be read, changes nothing.
    Every access is answered OKAY.

    Parameters
    ----------
    params : Params
        The map.
    hbm_private, attested, hardware, journal : bool
        What register MODE says.

    Members
    -------
    s_axi_control : In(AxiLiteSignature(addr_width=12, data_width=32))
        The bus.
    state, fault : In(4)
        STATUS and FAULT.
    stopped : In(1)
        The kernel stops: CTRL shows done and ready, until it is read, and idle.
    start : Out(1)
        The kernel starts: one cycle, the first of ``running``. Nothing starts while it is running.
    running : Out(1)
        The kernel was started and has not stopped.
    base : Out(64)
        Bus address of the shared buffer, as it was at the start; there 4 cycles before ``running``.
    ring_lines : Out(17)
        Lines of each ring, likewise.
    o_request : Out(stream.Signature(8))
        Requests; a number that does not fit is 0. None is offered before the kernel runs.
    i_request_done : In(stream.Signature(0))
        The request was served. Until then REQUEST shows it, and takes no other.
    """

    def __init__(
        self, params: Params, *, hbm_private: bool, attested: bool, hardware: bool, journal: bool = False
    ) -> None:
        self.identity = identity(params, hbm_private=hbm_private, attested=attested, hardware=hardware, journal=journal)
        super().__init__(
            {
                "s_axi_control": In(AxiLiteSignature(addr_width=ADDRESS_BITS, data_width=WORD_BITS)),
                "state": In(4),
                "fault": In(4),
                "stopped": In(1),
                "start": Out(1),
                "running": Out(1),
                "base": Out(64),
                "ring_lines": Out(17),
                "o_request": Out(stream.Signature(8)),
                "i_request_done": In(stream.Signature(0)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus = self.s_axi_control

        # Write: address and word may come at different times; they are used when both are here.
        address_here, word_here, write = Signal(), Signal(), Signal()
        write_at, word, strobes = Signal(ADDRESS_BITS - 2), Signal(WORD_BITS), Signal(WORD_BITS // 8)
        m.d.comb += [
            bus.awready.eq(~address_here),
            bus.wready.eq(~word_here),
            bus.bresp.eq(RESP_OKAY),
            write.eq(address_here & word_here & ~bus.bvalid),
        ]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [address_here.eq(1), write_at.eq(bus.awaddr[2:])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [word_here.eq(1), word.eq(bus.wdata), strobes.eq(bus.wstrb)]
        with m.If(write):
            m.d.sync += [address_here.eq(0), word_here.eq(0), bus.bvalid.eq(1)]
        with m.Elif(bus.bready):
            m.d.sync += bus.bvalid.eq(0)

        def writes(name: str) -> Value:
            return write & (write_at == BY_NAME[name].offset // 4)

        mask = Cat(strobe.replicate(8) for strobe in strobes)
        plain = {name: Signal(WORD_BITS, name=name.lower()) for name in PLAIN}
        for name, register in plain.items():
            with m.If(writes(name)):
                m.d.sync += register.eq((register & ~mask) | (word & mask))

        # Read: one cycle to choose the word.
        read_here, read, read_at = Signal(), Signal(), Signal(ADDRESS_BITS - 2)
        m.d.comb += [
            bus.arready.eq(~read_here),
            bus.rresp.eq(RESP_OKAY),
            read.eq(read_here & ~bus.rvalid),
        ]
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [read_here.eq(1), read_at.eq(bus.araddr[2:])]

        control = self._kernel(
            m,
            begin=writes("CTRL") & strobes[0] & word[0],
            seen=read & (read_at == BY_NAME["CTRL"].offset // 4),
            base=Cat(plain["BUFFER_LOW"], plain["BUFFER_HIGH"]),
            ring_lines=plain["RING_LINES"],
        )
        request = self._request(m, writes("REQUEST"), word & mask)
        values: dict[str, Value] = {
            **{name: Const(value, WORD_BITS) for name, value in self.identity.items()},
            **plain,
            "CTRL": control,
            "REQUEST": request,
            "STATUS": self.state,
            "FAULT": self.fault,
        }
        read_word = reduce(
            or_, (Mux(read_at == register.offset // 4, values[register.name], 0) for register in REGISTERS)
        )
        with m.If(read):
            m.d.sync += [read_here.eq(0), bus.rvalid.eq(1), bus.rdata.eq(read_word)]
        with m.Elif(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        return m

    def _kernel(self, m: Module, *, begin: Value, seen: Value, base: Value, ring_lines: Value) -> Value:
        """Start and stop the kernel; return register CTRL."""
        started, settling, done = Signal(), Signal(SETTLE), Signal()
        m.d.sync += [settling.eq(Cat(begin & ~started, settling)), self.start.eq(settling[-1])]
        with m.If(seen):
            m.d.sync += done.eq(0)
        with m.If(begin & ~started):
            m.d.sync += [started.eq(1), self.base.eq(base), self.ring_lines.eq(ring_lines)]
        with m.If(settling[-1]):
            m.d.sync += self.running.eq(1)
        with m.Elif(self.running & self.stopped):
            m.d.sync += [self.running.eq(0), started.eq(0), done.eq(1)]
        fields = {"start": started, "done": done, "idle": ~started, "ready": done}
        control = Signal(WORD_BITS)
        m.d.comb += [control[field.low].eq(fields[field.name]) for field in BY_NAME["CTRL"].fields]
        return control

    def _request(self, m: Module, written: Value, word: Value) -> Value:
        """Pass a request on; return register REQUEST."""
        request, passed = Signal(WORD_BITS), Signal()
        m.d.comb += [
            self.o_request.p.eq(Mux(request[8:] == 0, request[:8], 0)),
            self.i_request_done.ready.eq(passed),
        ]
        with m.If(written & (request == 0)):
            m.d.sync += request.eq(word)
        with m.If(self.o_request.valid & self.o_request.ready):
            m.d.sync += [self.o_request.valid.eq(0), passed.eq(1)]
        with m.Elif(self.running & (request != 0) & ~passed):
            m.d.sync += self.o_request.valid.eq(1)
        with m.If(passed & self.i_request_done.valid):
            m.d.sync += [passed.eq(0), request.eq(0)]
        return request
