"""Our end of the PCIe link, between the hard block and the card: host memory and the registers."""

from __future__ import annotations

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.constants import LINE_BITS
from rtl.memory.bursts import ADDRESS_BITS
from rtl.pcie.completer import Completer
from rtl.pcie.layouts import BEAT, SEQUENCE
from rtl.pcie.merge import RequestMerge
from rtl.pcie.reads import ReadSide
from rtl.pcie.restart import Restart
from rtl.pcie.settings import LinkSettings
from rtl.pcie.tag_table import MOST_TAGS
from rtl.pcie.writes import WriteSide
from rtl.rings.csr import ADDRESS_BITS as REGISTER_ADDRESS_BITS
from rtl.rings.csr import WORD_BITS
from rtl.stream.axi import AxiLiteSignature, AxiSignature

BLOCK = {
    "max_payload": In(2),
    "max_read_request": In(3),
    "bus_master": In(1),
    "credit": Out(1),
    "mgmt_address": Out(10),
    "mgmt_read": Out(1),
    "mgmt_data": In(32),
    "mgmt_done": In(1),
    "reset_asked": In(1),
    "reset_done": Out(1),
}
"""What the block tells and is told beside its streams."""


class PcieEndpoint(wiring.Component):
    """Requester and completer on the streams of the UltraScale+ PCIe block, without a bridge in between.

    Host memory is an AXI slave here, for the port that :class:`rtl.memory.host_port.HostPort` drives: reads are
    answered in the order in which they were asked for; writes are posted, and answered when nothing can overtake them
    any more (:class:`rtl.pcie.writes.WriteSide`). The registers are an AXI4-Lite master, which the host reaches word by
    word through BAR 0 (:class:`rtl.pcie.completer.Completer`). Neither leads to the other.

    Whatever is wrong with a read is an AXI error, and so a bus fault of the engine. Requests that the host does not
    let out wait; :class:`~rtl.memory.host_port.HostPort` notices.

    Parameters
    ----------
    id_bits : int
        Width of an AXI id.
    tags : int
        Most reads under way, as for :class:`rtl.pcie.reads.ReadSide`. Above 32 the host must allow it.
    settings_every : int
        As for :class:`rtl.pcie.settings.LinkSettings`.
    patience : int
        As for :class:`rtl.pcie.restart.Restart`.

    Members
    -------
    s_axi : In(AxiSignature(addr_width=64, data_width=512, id_width=id_bits))
        Host memory.
    m_axi : Out(AxiLiteSignature(addr_width=12))
        The registers.
    o_rq, o_cc : Out(stream.Signature(BEAT[...]))
    i_rc : In(stream.Signature(BEAT["rc"], always_ready=True))
    i_cq : In(stream.Signature(BEAT["cq"]))
        The block's streams, see :mod:`rtl.pcie.layouts`.
    sent : In(SEQUENCE).array(2)
        Sequence numbers that come back from the block.
    max_payload : In(2)
    max_read_request : In(3)
    bus_master : In(1)
        What the host has set: limits of requests, and whether there may be any.
    credit : Out(1)
        Credit for a request that asks for a completion, as of :class:`rtl.pcie.completer.Completer`.
    mgmt_address : Out(10)
    mgmt_read : Out(1)
    mgmt_data : In(32)
    mgmt_done : In(1)
        Reads of the configuration space.
    reset_asked : In(1)
        The host resets the function, until ``reset_done``.
    reset_done : Out(1)
        That is done: one cycle.
    card_reset : Out(1)
        All on the other side of ``s_axi`` and ``m_axi`` must be in reset.
    """

    def __init__(
        self, *, id_bits: int, tags: int = MOST_TAGS, settings_every: int = 1 << 16, patience: int = 1 << 24
    ) -> None:
        self.reads, self.writes = ReadSide(id_bits=id_bits, tags=tags), WriteSide(id_bits=id_bits)
        self.settings, self.restart = LinkSettings(every=settings_every), Restart(patience=patience)
        super().__init__(
            {
                "s_axi": In(AxiSignature(addr_width=ADDRESS_BITS, data_width=LINE_BITS, id_width=id_bits)),
                "m_axi": Out(AxiLiteSignature(addr_width=REGISTER_ADDRESS_BITS, data_width=WORD_BITS)),
                "o_rq": Out(stream.Signature(BEAT["rq"])),
                "i_rc": In(stream.Signature(BEAT["rc"], always_ready=True)),
                "i_cq": In(stream.Signature(BEAT["cq"])),
                "o_cc": Out(stream.Signature(BEAT["cc"])),
                "sent": In(SEQUENCE).array(2),
                **BLOCK,
                "card_reset": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        settings, restart = self.settings, self.restart
        again = ResetInserter(restart.link)  # the limits too: those of the host are as after a reset
        m.submodules.settings, m.submodules.restart = again(settings), restart
        reads, writes = self.reads, self.writes
        m.submodules.reads, m.submodules.writes = again(reads), again(writes)
        m.submodules.merge = merge = RequestMerge()
        m.submodules.completer = completer = Completer()
        self._axi(m, reads.s_axi)
        self._axi(m, writes.s_axi)
        for inner, outer in (
            (reads.o, merge.i_read),
            (writes.o, merge.i_write),
            (merge.o, wiring.flipped(self.o_rq)),
            (wiring.flipped(self.i_rc), reads.i),
            (wiring.flipped(self.i_cq), completer.i),
            (completer.o, wiring.flipped(self.o_cc)),
            (completer.m_axi, wiring.flipped(self.m_axi)),
        ):
            wiring.connect(m, inner, outer)
        m.d.comb += [
            settings.max_payload.eq(self.max_payload),
            settings.max_read_request.eq(self.max_read_request),
            settings.data.eq(self.mgmt_data),
            settings.done.eq(self.mgmt_done),
            self.mgmt_address.eq(settings.address),
            self.mgmt_read.eq(settings.read),
            reads.limit.eq(settings.read_limit),
            reads.extended.eq(settings.extended),
            writes.limit.eq(settings.write_limit),
            *(inner.eq(outer) for inner, outer in zip(writes.sent, self.sent, strict=True)),
            restart.asked.eq(self.reset_asked),
            restart.ended.eq(merge.idle & completer.idle),
            restart.idle.eq(reads.idle & writes.idle),
            merge.open_.eq(restart.open_ & self.bus_master),
            completer.open_.eq(restart.open_),
            self.credit.eq(completer.credit),
            self.card_reset.eq(restart.card),
            self.reset_done.eq(restart.done),
        ]
        return m

    def _axi(self, m: Module, inner: wiring.PureInterface) -> None:
        """Connect the channels that one side has with those of the port."""
        for name, member in inner.signature.members.items():
            ours, theirs = getattr(self.s_axi, name), getattr(inner, name)
            m.d.comb += theirs.eq(ours) if member.flow is In else ours.eq(theirs)
