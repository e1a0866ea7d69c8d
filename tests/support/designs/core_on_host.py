# amaranth: UnusedElaboratable=no
"""The map's core behind a host port, without rings: commands and replies are streams."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped

from rtl.map.core import Core
from rtl.memory.host_port import HostPort

FLOWS = ("i_command", "o_reply", "i_secrets")
INPUTS = ("base", "format", "erase")
OUTPUTS = ("formatted", "map_id", "page_fault", "exhausted", "bus_fault", "idle", "progress")


class CoreOnHost(wiring.Component):
    """A core and its host port.

    Parameters
    ----------
    config : EngineConfig
        The engine.

    Members
    -------
    m_axi_host : Out(AxiSignature)
        Host memory; all others as in :class:`rtl.map.core.Core`.
    """

    def __init__(self, config):
        self.config, self.core = config, Core(config)
        self.port = HostPort(
            page_ids=config.page_ids, max_lines=config.host_lines, timeout=config.timeout, bus_ids=config.host_ids
        )
        core, port = self.core.signature.members, self.port.signature.members
        self.inputs = (*INPUTS, *(("scan", "drop") if config.journal else ()))
        self.flows = (*FLOWS, *(("o_slot",) if config.journal else ()))
        own = {name: core[name] for name in (*self.flows, *self.inputs, *OUTPUTS, "m_axi_hbm")}
        super().__init__(own | {"m_axi_host": port["m_axi"], "host_error": Out(1)})

    def elaborate(self, platform):
        """Return the circuit."""
        m = Module()
        m.submodules.core, m.submodules.port = core, port = self.core, self.port
        for name in self.flows:
            connect(m, getattr(core, name), flipped(getattr(self, name)))
        m.d.comb += [getattr(core, name).eq(getattr(self, name)) for name in self.inputs]
        m.d.comb += [getattr(self, name).eq(getattr(core, name)) for name in OUTPUTS]
        m.d.comb += [port.abort.eq(self.erase), self.host_error.eq(port.error)]
        connect(m, port.m_axi, flipped(self.m_axi_host))
        for index in range(len(core.m_axi_hbm)):
            connect(m, core.m_axi_hbm[index], flipped(self.m_axi_hbm[index]))
        connect(m, core.o_read, port.i_page_read)
        connect(m, port.o_page_data, core.i_data)
        connect(m, core.o_write, port.i_page_write)
        connect(m, core.o_lines, port.i_page_lines)
        connect(m, port.o_page_written, core.i_written)
        return m
