"""A third target, as small as a target can be: a kernel with other names, one script and invented tools."""

from __future__ import annotations

from pathlib import Path

from amaranth.hdl import Module
from amaranth.lib.wiring import In

from boards.folder import disk as folders
from boards.folder.steps import data_option, device_option
from boards.gateware.core import BoardCore, Top
from boards.gateware.flat import clock, join, join_slave, members
from boards.target import Plan, Step, Target

SCRIPT = "make.sh"


class ThirdTop(Top):
    """The core with flat ports."""

    def __init__(self, config):
        self.core = BoardCore(config, hbm_private=False, attested=False)
        buses = self.core.signature.members
        flat = {"clk": In(1), "rst_n": In(1)} | members("control", buses["s_axi_control"].signature)
        flat |= members("host", buses["m_axi_host"].signature)
        for channel in range(len(self.core.m_axi_hbm)):
            flat |= members(f"hbm{channel}", buses["m_axi_hbm"].signature)
        super().__init__(flat)

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = self.core
        clock(m, self.clk, self.rst_n)
        join_slave(m, self, "control", self.core.s_axi_control)
        join(m, self, "host", self.core.m_axi_host)
        for channel, axi in enumerate(self.core.m_axi_hbm):
            join(m, self, f"hbm{channel}", axi)
        return m


class ThirdTarget(Target):
    """All that a target must say, and nothing besides."""

    name = "third"
    board = "u55c"
    module = "omap_third"
    hbm_private = False
    fusable = False
    guide = "tests/support/boards/third.md"
    device = "0000:01:00.0"

    def make(self, config, *, attested):
        return ThirdTop(config)

    def scripts(self, plan: Plan):
        return {SCRIPT: f"#!/bin/sh\nthirdc {plan.target.module}.v\n"}

    def build_steps(self, plan):
        return (Step("Make the program", ("thirdc", SCRIPT), (f"{folders.OUT}/third.bin",), key=True),)

    def flash_steps(self, plan, device, *, volatile=False):
        return (Step("Load the program", ("thirdload", *device_option(device))),)

    def serve_step(self, plan, device):
        return Step("Serve the map", ("omap", "serve", *device_option(device), *data_option(plan.journal)))

    def script_problems(self, folder: Path, plan):
        have = (folder / SCRIPT).read_text()
        return [] if have == self.scripts(plan)[SCRIPT] else [f"{SCRIPT} is not the script of this map"]

    @property
    def summary(self):
        return "HBM is whatever the third says"

    def warning(self, plan):
        return ["The third warns of nothing."]
