# amaranth: UnusedElaboratable=no
"""The card without a shell: a register BAR, a way to host memory, and HBM that nothing but the engine reaches.

:class:`boards.u55c_direct.link.Link` is our end of PCIe, :class:`DirectCard` all that a reset of the PCIe function
resets. :class:`DirectTop` has both, the pins, and the vendor's blocks. Everything runs on the clock of the PCIe block,
the HBM ports too; only HBM's own control port has the reference clock.

Unverified on a card.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Instance, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Member, Out, connect

from boards.gateware.clear import Clear
from boards.gateware.core import BoardCore, Top
from boards.gateware.entropy import INTERVAL
from boards.gateware.flat import clock, join, join_slave, members
from boards.gateware.gate import Gate
from boards.gateware.ports import Ports
from boards.u55c_direct import vendor
from boards.u55c_direct.link import Link
from rtl.config import EngineConfig
from rtl.memory.hbm import HBM_AXI

MODULE = "omap_u55c_direct"
"""Name of the Verilog module."""

BAR, HOST = "s_axi_bar", "m_axi_host"
CLOCK, RESET = "clk", "rst_n"


class DirectCard(wiring.Component):
    """The engine, and what stands between it and its registers, and between it and HBM.

    Parameters
    ----------
    config : EngineConfig
        The engine.
    attested : bool
        What register MODE says: the user has fused the card so that it boots our encrypted bitstream alone.
    channel_bytes : int
        Bytes to zero in each HBM channel at the start. Default: all of it; less in simulations alone.
    entropy_interval : int
        As for :class:`boards.gateware.core.BoardCore`.

    Members
    -------
    clk, rst_n : In(1)
        Clock and reset.
    s_axi_bar_* : AXI4-Lite
        The registers, for the register BAR.
    m_axi_host_* : AXI4, 512 bits
        Host memory.
    AXI_nn_* : AXI3, 256 bits
        HBM channel nn.
    hbm_up : In(1)
        HBM has come up; of any clock.

    Countermeasures
    ---------------
    BOARD.HBM.UNREACHABLE
        The BAR leads to registers, HBM's ports to the engine; :mod:`boards.check.connectivity` proves it on the
        netlist.
    BOARD.HBM.CLEARED
        HBM is zeroed before the engine leaves its reset: nothing of an earlier map is left in it. Until then the
        registers read 0 (:mod:`boards.gateware.gate`).
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        attested: bool = False,
        channel_bytes: int = 0,
        entropy_interval: int = INTERVAL,
    ) -> None:
        self.core = BoardCore(config, hbm_private=True, attested=attested, entropy_interval=entropy_interval)
        self.channels = len(self.core.m_axi_hbm)
        self.stride = 1 << config.channel_bits
        self.channel_bytes = channel_bytes or self.stride
        flat = {CLOCK: In(1), RESET: In(1), "hbm_up": In(1)}
        buses = self.core.signature.members
        flat |= members(BAR, buses["s_axi_control"].signature)
        flat |= members(HOST, buses["m_axi_host"].signature)
        for channel in range(self.channels):
            flat |= members(hbm_port(channel), HBM_AXI)
        super().__init__(flat)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        clock(m, getattr(self, CLOCK), getattr(self, RESET))
        m.submodules.gate = gate = Gate(self.core.s_axi_control.signature.flip())
        m.submodules.clear = clear = Clear(self.channels, self.channel_bytes, stride=self.stride)
        # SEC_CM: BOARD.HBM.CLEARED -- until all of HBM is zero the engine is in reset, and the gate shows nothing of it
        engine_reset = Signal(init=1)
        m.d.sync += engine_reset.eq(~clear.done | clear.error)
        m.submodules.core = ResetInserter(engine_reset)(self.core)
        core = self.core

        up = Signal()
        m.submodules.hbm_sync = FFSynchronizer(self.hbm_up, up, stages=3)
        m.d.comb += [clear.start.eq(up), gate.go.eq(~engine_reset), gate.broken.eq(clear.error)]

        join_slave(m, self, BAR, gate.s_axi)
        connect(m, gate.m_axi, core.s_axi_control)
        join(m, self, HOST, core.m_axi_host)
        for channel in range(self.channels):
            # SEC_CM: BOARD.HBM.UNREACHABLE -- an HBM port has one master, and that is not the BAR's
            connect(m, core.m_axi_hbm[channel], clear.i_axi[channel])
            join(m, self, hbm_port(channel), clear.m_axi[channel])
        return m


def hbm_port(channel: int) -> str:
    """Return the interface name of an HBM channel."""
    return vendor.hbm_prefix(channel).removesuffix("_")


class DirectTop(Top):
    """The pins of the card, the vendor's blocks, and between them the link and the card.

    Parameters
    ----------
    card : DirectCard
        What is behind the link.
    **options : int
        Of :class:`boards.u55c_direct.link.Link`, in simulations alone.

    Members
    -------
    pcie_refclk_p, pcie_refclk_n : In(1)
        PCIe's reference clock, 100 MHz.
    pcie_rst_n : In(1)
        PERST#.
    pcie_rx_p, pcie_rx_n : In(16)
        Lanes in.
    pcie_tx_p, pcie_tx_n : Out(16)
        Lanes out.
    hbm_refclk_p, hbm_refclk_n : In(1)
        HBM's reference clock, 100 MHz.
    hbm_cattrip : Out(1)
        Too hot: makes the card's controller cut the power. Must be driven, an open pin means too hot.
    """

    def __init__(self, card: DirectCard, **options: int) -> None:
        self.card, self.core = card, card.core
        self.link = Link(id_bits=card.core.m_axi_host.signature.id_width, **options)
        pins: dict[str, Member] = {
            **{f"{name}_{pole}": In(1) for name in ("pcie_refclk", "hbm_refclk") for pole in "pn"},
            "pcie_rst_n": In(1),
            **{f"pcie_rx_{pole}": In(vendor.LANES) for pole in "pn"},
            **{f"pcie_tx_{pole}": Out(vendor.LANES) for pole in "pn"},
            "hbm_cattrip": Out(1),
        }
        super().__init__(pins)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.card, m.submodules.link = self.card, self.link
        gt_clock, half_clock, buffered, reference = Signal(), Signal(), Signal(), Signal()
        m.submodules.pcie_clock = _instance(
            "IBUFDS_GTE4",
            vendor.PRIMITIVES["IBUFDS_GTE4"],
            {"I": self.pcie_refclk_p, "IB": self.pcie_refclk_n, "O": gt_clock, "ODIV2": half_clock},
        )
        m.submodules.hbm_clock = _instance(
            "IBUFDS", vendor.PRIMITIVES["IBUFDS"], {"I": self.hbm_refclk_p, "IB": self.hbm_refclk_n, "O": buffered}
        )
        m.submodules.hbm_global = _instance("BUFG", vendor.PRIMITIVES["BUFG"], {"I": buffered, "O": reference})
        self._pcie(m, gt_clock, half_clock)
        self._hbm(m, reference)
        return m

    def _pcie(self, m: Module, gt_clock: Signal, half_clock: Signal) -> None:
        card, link, ports = self.card, self.link, vendor.pcie_ports()
        wires: dict[str, Any] = {"sys_clk": half_clock, "sys_clk_gt": gt_clock, "sys_reset": self.pcie_rst_n}
        for pole in "pn":
            wires[f"pci_exp_tx{pole}"] = getattr(self, f"pcie_tx_{pole}")
            wires[f"pci_exp_rx{pole}"] = getattr(self, f"pcie_rx_{pole}")
        wires |= {name: getattr(link, name) for name in link.signature.members if name in ports}
        m.submodules.pcie = _instance(vendor.PCIE, ports, wires)
        join(m, card, HOST, link.s_axi)
        join(m, card, BAR, link.m_axi)
        # a reset of the function does not reset the link, which carries it through
        m.d.comb += [
            getattr(card, CLOCK).eq(link.user_clk),
            getattr(card, RESET).eq(~(link.user_reset | link.card_reset)),
        ]

    def _hbm(self, m: Module, reference: Signal) -> None:
        card, ports = self.card, vendor.hbm_ports(self.card.channels)
        stacks = vendor.stacks(card.channels)
        complete, trip = Signal(stacks), Signal(stacks)
        wires: dict[str, Any] = {}
        for stack in range(stacks):
            wires |= {
                f"HBM_REF_CLK_{stack}": reference,
                f"APB_{stack}_PCLK": reference,
                f"APB_{stack}_PRESET_N": Const(1),
                f"apb_complete_{stack}": complete[stack],
                f"DRAM_{stack}_STAT_CATTRIP": trip[stack],
            }
        for channel in range(card.channels):
            prefix = vendor.hbm_prefix(channel)
            wires |= {f"{prefix}ACLK": getattr(card, CLOCK), f"{prefix}ARESET_N": getattr(card, RESET)}
            wires |= {prefix + name.upper(): getattr(card, prefix + name.upper()) for name in HBM_AXI.members}
        m.submodules.hbm = _instance(vendor.HBM, ports, wires)
        m.d.comb += [card.hbm_up.eq(complete.all()), self.hbm_cattrip.eq(trip.any())]


def _instance(name: str, ports: Ports, wires: dict[str, Any]) -> Instance:
    """Return a vendor's block. Inputs that are not wired are 0; a wire for which there is no port is a mistake."""
    assert wires.keys() <= ports.keys(), sorted(wires.keys() - ports.keys())
    arguments: dict[str, Any] = {}
    for port, (way, width) in ports.items():
        if port in wires:
            assert len(wires[port]) == width, f"{name}.{port} has {width} bits, {len(wires[port])} came"
            arguments[f"{way[0]}_{port}"] = wires[port]
        elif way == "input":
            arguments[f"i_{port}"] = Const(0, width)
    return Instance(name, **arguments)
