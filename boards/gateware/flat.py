"""AXI ports under the flat, upper-case names that AMD's tools find interfaces by, with what AXI4 wants besides.

``m_axi_host`` becomes ``m_axi_host_AWADDR`` and so on. The engine drives only what it needs (:mod:`rtl.stream.axi`);
what the master ports of a kernel have besides is tied off here: no locks, normal unprivileged data, no quality of
service.
"""

from __future__ import annotations

from amaranth.hdl import Cat, ClockDomain, Module, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

from rtl.stream.axi import AxiLiteSignature, AxiSignature

AXI4_ADDRESS_BITS = 64
AXI4_LEN_BITS = 8

TIES = {"LOCK": (1, 0), "CACHE": (4, 0b0011), "PROT": (3, 0), "QOS": (4, 0)}
"""Width and value of what the engine does not drive, for AW and AR. CACHE says bufferable and modifiable: bursts may be
joined or cut on their way (Arm IHI 0022, table A4-5)."""

RESET_STAGES = 4
"""Registers between the reset pin and the design: the fan-out is large, and the way from the shell long."""


def widened(signature: AxiSignature) -> dict[str, Member]:
    """Return the members of an AXI signature with addresses and lengths as wide as those of AXI4 with 64 bits."""
    widths = {"addr": AXI4_ADDRESS_BITS, "len": AXI4_LEN_BITS}
    return {
        name: Member(member.flow, widths.get(name[2:], member.shape)) if name[:2] in ("aw", "ar") else member
        for name, member in signature.members.items()
    }


def members(
    prefix: str,
    signature: AxiSignature | AxiLiteSignature,
    *,
    wide: bool = False,
    tied: bool = False,
) -> dict[str, Member]:
    """Return the flat members of a component that shows an AXI port.

    Parameters
    ----------
    prefix : str
        Name of the interface.
    signature : AxiSignature or AxiLiteSignature
        The port, as its master sees it; flipped for a slave's.
    wide : bool
        Whether to widen addresses and lengths to those of AXI4 with 64 bits.
    tied : bool
        Whether the port, a master's, has those of :data:`TIES` besides.
    """
    found = widened(signature) if wide else dict(signature.members)
    flat = {f"{prefix}_{name.upper()}": member for name, member in found.items()}
    return flat | {f"{prefix}_A{way}{name}": Out(TIES[name][0]) for way in "WR" for name in TIES if tied}


def join(m: Module, flat: wiring.Component, prefix: str, axi: wiring.PureInterface, *, tied: bool = False) -> None:
    """Join the flat port ``prefix`` of a component with a port of one inside it, or of one beside it."""
    for name, member in axi.signature.members.items():
        ours, theirs = getattr(flat, f"{prefix}_{name.upper()}"), getattr(axi, name)
        m.d.comb += ours.eq(theirs) if member.flow is Out else theirs.eq(ours)
    for way in "WR":
        m.d.comb += [getattr(flat, f"{prefix}_A{way}{name}").eq(value) for name, (_, value) in TIES.items() if tied]


def join_slave(m: Module, top: wiring.Component, prefix: str, axi: wiring.PureInterface) -> None:
    """Drive the slave port of a component from the flat slave port ``prefix`` of ``top`` around it.

    Nothing is taken in a reset. The reset inside lasts some cycles longer than its pin says (:func:`clock`). A master
    that goes by the pin would wait for ever for the answer to an access that was lost in these cycles.
    """
    for name, member in axi.signature.members.items():
        flat, ours = getattr(top, f"{prefix}_{name.upper()}"), getattr(axi, name)
        if member.flow is In:
            m.d.comb += ours.eq(flat)
        else:
            m.d.comb += flat.eq(ours & ~ResetSignal() if name.endswith("ready") else ours)


def clock(m: Module, clk: Signal, rst_n: Value) -> None:
    """Have domain ``sync`` run on ``clk``, in reset while ``rst_n`` is low and a few cycles longer.

    The reset is synchronous. It comes out of registers that nothing resets, and that start asserted.
    """
    domain = ClockDomain("sync")
    domain.clk = clk
    m.domains += domain
    stages = Signal(RESET_STAGES, init=-1, reset_less=True)
    m.d.sync += stages.eq(Cat(~rst_n, stages))
    m.d.comb += domain.rst.eq(stages[-1])
