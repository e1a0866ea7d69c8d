"""Answers for the registers until the card is ready: a host that reads too early gets zeros, not a timeout."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from omap.regmap import BY_NAME, Fault, State
from rtl.stream.axi import RESP_OKAY, AxiLiteSignature


class Gate(wiring.Component):
    """Passes an AXI4-Lite port on once it is open; until then reads give 0 and writes change nothing.

    While the gate is closed IDENTITY reads 0, so that a driver knows that the card is not ready. If the card will never
    be ready, STATUS and FAULT say so, as those of an engine would.

    Parameters
    ----------
    signature : AxiLiteSignature
        The bus.

    Members
    -------
    s_axi : In(signature)
        From the host.
    m_axi : Out(signature)
        To the engine; quiet until the gate is open.
    go : In(1)
        Opens the gate for good, as soon as no access is under way.
    broken : In(1)
        The gate will never open. That shows as a fault.
    open_ : Out(1)
        The gate is open.
    """

    def __init__(self, signature: AxiLiteSignature) -> None:
        super().__init__(
            {"s_axi": In(signature), "m_axi": Out(signature), "go": In(1), "broken": In(1), "open_": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        host, engine = self.s_axi, self.m_axi
        address_here, word_here, written, read, value = Signal(), Signal(), Signal(), Signal(), Signal(4)
        quiet = ~(address_here | word_here | written | read | host.awvalid | host.wvalid | host.arvalid)
        with m.If(self.go & quiet):
            m.d.sync += self.open_.eq(1)
        with m.If(self.open_):
            for name, member in engine.signature.members.items():
                ours, theirs = getattr(host, name), getattr(engine, name)
                m.d.comb += theirs.eq(ours) if member.flow is Out else ours.eq(theirs)
        with m.Else():
            m.d.comb += [
                host.awready.eq(~address_here),
                host.wready.eq(~word_here),
                host.bvalid.eq(written),
                host.bresp.eq(RESP_OKAY),
                host.arready.eq(~read),
                host.rvalid.eq(read),
                host.rdata.eq(value),
                host.rresp.eq(RESP_OKAY),
            ]
            m.d.sync += [
                address_here.eq((address_here | host.awvalid) & ~(written & host.bready)),
                word_here.eq((word_here | host.wvalid) & ~(written & host.bready)),
                written.eq(Mux(written, ~host.bready, address_here & word_here)),
                read.eq(Mux(read, ~host.rready, host.arvalid)),
            ]
            with m.If(~read):
                m.d.sync += value.eq(self._value(host.araddr))
        return m

    def _value(self, address: Value) -> Value:
        """Return what a register shows while the gate is closed."""
        value: Value = Mux(address == BY_NAME["STATUS"].offset, State.FAULT.value, 0)
        value = Mux(address == BY_NAME["FAULT"].offset, Fault.BUS.value, value)
        return Mux(self.broken, value, 0)
