# amaranth: UnusedElaboratable=no
"""The kernel for AMD's Vitis shell: the engine with flat AXI4 ports.

The shell's host reaches HBM, and it loads the bitstream, so neither HBM nor the root key is private here: MODE says so.
The kernel is for bring-up and for measuring.
"""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib.wiring import In

from boards.gateware.core import BoardCore, Top
from boards.gateware.entropy import INTERVAL
from boards.gateware.flat import clock, join, join_slave, members
from rtl.config import EngineConfig

MODULE = "omap_kernel"
"""Name of the Verilog module, and of the kernel in an xclbin."""

CONTROL, HOST = "s_axi_control", "m_axi_host"
CLOCK, RESET = "ap_clk", "ap_rst_n"


def hbm_port(channel: int) -> str:
    """Return the name of the port for pseudo-channel ``channel``."""
    return f"m_axi_hbm{channel:02d}"


class VitisKernel(Top):
    """The kernel, with the ports that ``v++`` wants.

    Parameters
    ----------
    config : EngineConfig
        The engine.
    entropy_interval : int
        As for :class:`boards.gateware.core.BoardCore`.

    Members
    -------
    ap_clk, ap_rst_n : In(1)
        Clock, and reset, active low.
    s_axi_control_*
        Registers: AXI4-Lite, 32 bits.
    m_axi_host_*, m_axi_hbmNN_*
        Host memory and pseudo-channel NN: AXI4 with 64-bit addresses.
    """

    def __init__(self, config: EngineConfig, *, entropy_interval: int = INTERVAL) -> None:
        self.core = BoardCore(config, hbm_private=False, attested=False, entropy_interval=entropy_interval)
        buses = self.core.signature.members
        masters = {HOST: buses["m_axi_host"].signature} | {
            hbm_port(channel): buses["m_axi_hbm"].signature for channel in range(len(self.core.m_axi_hbm))
        }
        flat = {CLOCK: In(1), RESET: In(1)}
        flat |= members(CONTROL, buses["s_axi_control"].signature)
        for name, signature in masters.items():
            flat |= members(name, signature, wide=True, tied=True)
        super().__init__(flat)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = core = self.core
        clock(m, getattr(self, CLOCK), getattr(self, RESET))
        join_slave(m, self, CONTROL, core.s_axi_control)
        join(m, self, HOST, core.m_axi_host, tied=True)
        for channel, axi in enumerate(core.m_axi_hbm):
            join(m, self, hbm_port(channel), axi, tied=True)
        return m
