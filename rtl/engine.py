# amaranth: UnusedElaboratable=no
"""The accelerator: rings, sessions, core and registers. Outside are buses, a root key, an id and noise alone."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from omap.fresh import DEVICE_ID_BYTES
from omap.regmap import Fault, State
from omap.wire import CONTROL_BYTES, RINGS
from rtl.config import EngineConfig
from rtl.constants import BLOCK_BITS, LINE_BITS, LINE_BYTES, RING_IDS
from rtl.map.core import PROGRESS, Core
from rtl.memory.bursts import ADDRESS_BITS
from rtl.memory.hbm import HBM_AXI
from rtl.memory.host_port import HostPort
from rtl.rings.control import Control
from rtl.rings.csr import Csr
from rtl.rings.handshake import KEY_BITS
from rtl.rings.ring_port import RingPort
from rtl.rings.sessions import Sessions
from rtl.stream.axi import AxiSignature


def host_axi(ids: int) -> AxiSignature:
    """Return what the port on host memory is, with so many ids: :attr:`rtl.config.EngineConfig.host_ids`."""
    return AxiSignature(addr_width=ADDRESS_BITS, data_width=LINE_BITS, id_width=(ids - 1).bit_length())


ENGINE_PROGRESS = ("fetched", "answered", *PROGRESS)
"""Bits of :attr:`Engine.progress`. Each turns over when a record or an operation passes this point."""

ALIGNMENT_BITS = (CONTROL_BYTES - 1).bit_length()


class Engine(wiring.Component):
    """The whole accelerator. It must behave as :class:`omap.device.DeviceModel` does, and its times must tell nothing.

    Parameters
    ----------
    config : EngineConfig
        What to build.
    hbm_private, attested, hardware : bool
        What register MODE says. The board decides.

    Members
    -------
    s_axi_control : In(AxiLiteSignature)
        Registers, see :mod:`omap.regmap`.
    m_axi_host : Out(AxiSignature(addr_width=64, data_width=512, id_width=6 or 7))
        Host memory: the shared buffer of :class:`omap.wire.BufferLayout`.
    m_axi_hbm : Out(AxiSignature).array(n)
        HBM, see :attr:`rtl.config.EngineConfig.channels`.
    i_root_key : In(stream.Signature(256))
        The root key, given once; byte 0 is in the lowest bits.
    device_id : In(96)
        The device's id, constant; byte 0 in the lowest bits. No other device with this root key has it.
    i_noise : In(stream.Signature(128))
        Noise, two words for each format and each handshake. Nothing but :class:`rtl.rings.fresh.Fresh` takes it.
    broken : In(1)
        The board has found something broken that it depends on, such as its source of entropy. Latches a fault.
    progress : Out(len(ENGINE_PROGRESS))
        For simulation alone; no board connects it.
    """

    def __init__(
        self, config: EngineConfig, *, hbm_private: bool = False, attested: bool = False, hardware: bool = False
    ) -> None:
        self.config = config
        mode = {
            "hbm_private": hbm_private,
            "attested": attested,
            "hardware": hardware,
            "journal": config.journal,
        }
        self.core = Core(config)
        self.sessions = Sessions(config.params, in_flight=config.in_flight, journal=config.journal)
        self.ring = RingPort(config.params, max_lines=config.host_lines, early=True, **mode)
        self.csr = Csr(config.params, **mode)
        self.control = Control(journal=config.journal)
        self.port = HostPort(
            page_ids=config.page_ids,
            ring_ids=RING_IDS,
            max_lines=config.host_lines,
            timeout=config.timeout,
            bus_ids=config.host_ids,
        )
        super().__init__(
            {
                "s_axi_control": self.csr.signature.members["s_axi_control"],
                "m_axi_host": Out(host_axi(config.host_ids)),
                "m_axi_hbm": Out(HBM_AXI).array(len(self.core.m_axi_hbm)),
                "i_root_key": In(stream.Signature(KEY_BITS)),
                "device_id": In(8 * DEVICE_ID_BYTES),
                "i_noise": In(stream.Signature(BLOCK_BITS)),
                "broken": In(1),
                "progress": Out(len(ENGINE_PROGRESS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        core, sessions, ring, csr, port = self.core, self.sessions, self.ring, self.csr, self.port
        m.submodules.core, m.submodules.sessions, m.submodules.ring = core, sessions, ring
        m.submodules.csr, m.submodules.port, m.submodules.control = csr, port, self.control
        connect(m, flipped(self.s_axi_control), csr.s_axi_control)
        connect(m, port.m_axi, flipped(self.m_axi_host))
        for place in range(len(self.m_axi_hbm)):
            connect(m, core.m_axi_hbm[place], flipped(self.m_axi_hbm[place]))
        for client, block in (("page", core), ("ring", ring)):
            connect(m, block.o_read, getattr(port, f"i_{client}_read"))
            connect(m, getattr(port, f"o_{client}_data"), block.i_data)
            connect(m, block.o_write, getattr(port, f"i_{client}_write"))
            connect(m, block.o_lines, getattr(port, f"i_{client}_lines"))
            connect(m, getattr(port, f"o_{client}_written"), block.i_written)
        connect(m, ring.o_record, sessions.i_record)
        connect(m, sessions.o_record, ring.i_record)
        if self.config.journal:
            connect(m, sessions.o_journal, ring.i_journal)
            connect(m, core.o_slot, sessions.i_slot)
        connect(m, sessions.o_command, core.i_command)
        connect(m, core.o_reply, sessions.i_reply)
        connect(m, flipped(self.i_root_key), sessions.i_root_key)
        connect(m, flipped(self.i_noise), sessions.i_noise)
        connect(m, sessions.o_secrets, core.i_secrets)
        m.d.comb += [sessions.device_id.eq(self.device_id), sessions.map_id.eq(core.map_id)]
        self._place(m)
        self._control(m)

        marks, ends = Signal(2), [ring.o_record, sessions.o_record]
        m.d.sync += marks.eq(marks ^ Cat(flow.valid & flow.ready & flow.p.last for flow in ends))
        m.d.comb += self.progress.eq(Cat(marks, core.progress))
        return m

    def _place(self, m: Module) -> None:
        """Derive the address of the pages from the address of the buffer. Neither changes while the kernel runs."""
        csr = self.csr
        rings, pages = Signal(32), Signal(ADDRESS_BITS)
        m.d.sync += [
            rings.eq(csr.ring_lines * (RINGS * LINE_BYTES) + (CONTROL_BYTES - 1)),
            pages.eq(csr.base + CONTROL_BYTES + Cat(rings[:ALIGNMENT_BITS] & 0, rings[ALIGNMENT_BITS:])),
        ]
        m.d.comb += [
            self.core.base.eq(pages),
            self.ring.base.eq(csr.base),
            self.ring.ring_lines.eq(csr.ring_lines),
        ]

    def _control(self, m: Module) -> None:
        """Connect what serves requests and latches faults with all that it rules."""
        control, core, sessions, ring, csr, port = (
            self.control, self.core, self.sessions, self.ring, self.csr, self.port
        )  # fmt: skip
        connect(m, csr.o_request, control.i_register)
        connect(m, ring.o_request, control.i_twin)
        connect(m, control.o_register_done, csr.i_request_done)
        connect(m, control.o_twin_done, ring.i_request_done)
        with m.If(core.page_fault):
            m.d.comb += control.found.eq(Fault.PAGE_TAG)
        with m.Elif(core.exhausted):
            m.d.comb += control.found.eq(Fault.EXHAUSTED)
        with m.Elif(core.bus_fault | port.error):
            m.d.comb += control.found.eq(Fault.BUS)
        with m.Elif(self.broken):
            m.d.comb += control.found.eq(Fault.INTERNAL)
        m.d.comb += [
            control.idle.eq(sessions.idle & core.idle),
            control.formatted.eq(core.formatted),
            control.shown.eq(self._show(m, control.state, control.fault)),
            control.mute.eq(port.error),
            core.format.eq(control.clear),
            sessions.clear.eq(control.clear),
            core.erase.eq(control.erase),
            sessions.erase.eq(control.erase),
            port.abort.eq(control.erase),
            sessions.open_.eq(control.serve),
            sessions.early.eq(ring.early),
            ring.sure.eq(sessions.sure),
            ring.again.eq(sessions.again),
            ring.serve.eq(control.serve),
            ring.run.eq(csr.running),
            csr.stopped.eq(control.stopped),
            csr.state.eq(control.state),
            csr.fault.eq(control.fault),
        ]
        if self.config.journal:
            m.d.comb += [
                sessions.begin.eq(control.begin),
                control.begun.eq(sessions.begun),
                control.told.eq(ring.journal_told),
                sessions.room.eq(ring.journal_room),
                sessions.fits.eq(ring.journal_fits),
                core.scan.eq(control.export),
                sessions.export.eq(control.export),
                control.exported.eq(sessions.exported),
                core.drop.eq(control.drop),
                sessions.restore.eq(control.restore),
                ring.restore.eq(control.restore),
                ring.failed.eq(sessions.failed),
                control.restored.eq(sessions.restored),
                control.failed.eq(sessions.failed),
            ]

    def _show(self, m: Module, state: Value, fault: Value) -> Signal:
        """Have state and fault written to the buffer whenever they change; return whether the buffer shows them."""
        mirror = self.ring.i_mirror
        once, shown, shown_state, shown_fault = Signal(), Signal(), Signal(State), Signal(Fault)
        m.d.comb += shown.eq(once & (shown_state == state) & (shown_fault == fault) & ~mirror.valid)
        with m.If(~self.csr.running):
            m.d.sync += once.eq(0)
        with m.If(mirror.valid):
            with m.If(mirror.ready):
                m.d.sync += [mirror.valid.eq(0), once.eq(1)]
        with m.Elif(self.csr.running & ~shown):
            m.d.sync += [
                mirror.valid.eq(1),
                mirror.p.state.eq(state),
                mirror.p.fault.eq(fault),
                shown_state.eq(state),
                shown_fault.eq(fault),
            ]
        return shown
