"""The hard block and a host, as cocotbext-pcie models them, around our end of PCIe; and what that model lacks.

Nobody here wrote the model. Ours is a root complex that answers as badly as a host may: completions of different
requests in any order, cut at any multiple of 64 bytes, late, refused, aborted, poisoned, or none at all.
"""

import itertools
import logging
import random

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge, Timer
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteRam, AxiMaster, AxiStreamBus
from cocotbext.pcie.core import RootComplex
from cocotbext.pcie.core.tlp import Tlp
from cocotbext.pcie.core.utils import PcieId
from cocotbext.pcie.xilinx.us import UltraScalePlusPcieDevice
from cocotbext.pcie.xilinx.us.tlp import ErrorCode, Tlp_us

from tests.support.designs.pcie_flat import SETTINGS_EVERY

LINE = 64
BAR_BYTES = 1 << 16
RAM_BYTES = 1 << 16
REGISTER_BYTES = 4096
PLENTY = (64, 1024, 64, 64, 64, 1024)
"""Credits of the root port: headers and data of posted, of other requests, and of completions."""


class Host(RootComplex):
    """A root complex whose completions overtake each other.

    Attributes
    ----------
    latest : int
        Nanoseconds that an answer may take.
    boundary : int
        Completions are cut at some multiples of it.
    bad : dict
        What happens to a read of an address: ``refuse``, ``abort``, ``poison`` or ``lose``.
    held : Event or None
        While it is there and not set, nothing is answered.
    under_way : int
        Reads that are not answered.
    order : list of int
        Tags, in the order in which they were answered.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.latest, self.boundary, self.bad, self.held = 800, LINE, {}, None
        self.under_way, self.lost, self.order = 0, [], []

    async def handle_mem_read_tlp(self, tlp):
        """Answer a read by and by; the next request is handled at once."""
        assert tlp.length * 4 <= 128 << self.max_read_request_size
        assert tlp.attr == 0  # strictly ordered
        self.under_way += 1
        cocotb.start_soon(self._answer(tlp))

    async def handle_mem_write_tlp(self, tlp):
        """Write, and hold the write to the limits."""
        assert tlp.length * 4 <= 128 << self.max_payload_size
        assert tlp.attr == 0
        await super().handle_mem_write_tlp(tlp)

    async def _answer(self, tlp):
        kind = self.bad.get(tlp.address)
        regions = self.mem_address_space.find_regions(tlp.address, tlp.length * 4)
        data = await self.mem_address_space.read(tlp.address, tlp.length * 4) if regions else None
        if self.held is not None:
            await self.held.wait()
        await self._pause()
        self.order.append(tlp.tag)
        if kind == "lose":
            self.lost.append(tlp)
        elif data is None or kind in ("refuse", "abort"):
            make = Tlp.create_ca_completion_for_tlp if kind == "abort" else Tlp.create_ur_completion_for_tlp
            await self.send(make(tlp, PcieId(0, 0, 0)))
        else:
            await self._complete(tlp, data, kind)
        self.under_way -= 1

    async def _complete(self, tlp, data, kind):
        """Send all of a read, in some completions; those of other reads may come in between."""
        at, end = tlp.address, tlp.address + tlp.length * 4
        while at < end:
            cuts = range(at // self.boundary * self.boundary + self.boundary, end, self.boundary)
            most = 128 << self.max_payload_size
            to = random.choice([cut for cut in [*cuts, end] if cut - at <= most])
            part = Tlp.create_completion_data_for_tlp(tlp, PcieId(0, 0, 0))
            part.byte_count, part.lower_address = end - at, at & 0x7F
            part.set_data(data[at - tlp.address : to - tlp.address])
            part.ep = kind == "poison" and at == tlp.address
            await self.send(part)
            at = to
            if random.random() < 0.3:
                await self._pause()

    async def _pause(self):
        if self.latest:
            await Timer(random.randint(1, self.latest), "ns")


class NoPort:
    """In the place of a port of the block: the model looks at it between requests alone, and would miss some cycles."""

    value = 0

    def __len__(self):
        return 2


class Slot:
    """A host and the hard block.

    Parameters
    ----------
    dut : cocotb handle
        A design with the block's streams, and with the members of :data:`rtl.pcie.endpoint.BLOCK`.
    payload : int
        Largest payload of the block, bytes.
    extended : bool
        Whether the block offers tags of 8 bits; the host then switches them on.
    credits : tuple of int
        What the root port has room for, as :data:`PLENTY`.
    """

    def __init__(self, dut, *, payload=512, extended=True, credits=PLENTY):
        logging.getLogger("cocotb").setLevel(logging.WARNING)  # the models tell of every TLP
        self.dut, self.host, self.payload = dut, Host(), (payload // 128).bit_length() - 1
        for name in ("reset_asked", "mgmt_done"):
            getattr(dut, name).value = 0
        self.block = UltraScalePlusPcieDevice(
            pcie_generation=3,
            pcie_link_width=16,
            user_clk_frequency=250e6,
            max_payload_size=payload,
            enable_client_tag=True,
            enable_extended_tag=extended,
            user_clk=dut.clk,
            user_reset=dut.rst,
            rq_bus=AxiStreamBus.from_prefix(dut, "s_axis_rq"),
            rc_bus=AxiStreamBus.from_prefix(dut, "m_axis_rc"),
            cq_bus=AxiStreamBus.from_prefix(dut, "m_axis_cq"),
            cc_bus=AxiStreamBus.from_prefix(dut, "s_axis_cc"),
            pcie_rq_seq_num0=dut.pcie_rq_seq_num0,
            pcie_rq_seq_num_vld0=dut.pcie_rq_seq_num_vld0,
            pcie_rq_seq_num1=dut.pcie_rq_seq_num1,
            pcie_rq_seq_num_vld1=dut.pcie_rq_seq_num_vld1,
            pcie_cq_np_req=NoPort(),
            cfg_max_payload=dut.max_payload,
            cfg_max_read_req=dut.max_read_request,
        )
        self.function = self.block.functions[0]
        self.function.configure_bar(0, BAR_BYTES)
        port = self.host.make_port()
        room = port.downstream_port.fc_state[0]
        for kind, count in zip(("ph", "pd", "nph", "npd", "cplh", "cpld"), credits, strict=True):
            state = getattr(room, kind)
            state.rx_initial_allocation = state.rx_credits_allocated = count
        port.connect(self.block)
        cocotb.start_soon(self._configuration())

    async def start(self, *, read_request=2):
        """Have the host find the card and let it ask for memory."""
        await RisingEdge(self.dut.rst)
        while self.dut.rst.value:
            await RisingEdge(self.dut.clk)
        await self.host.enumerate()
        self.device = self.host.find_device(self.function.pcie_id)
        await self.device.enable_device()
        await self.device.set_master()
        self.host.max_payload_size, self.host.max_read_request_size = self.payload, read_request
        await self.device.set_mps(self.payload)
        await self.device.set_readrq(read_request)
        self.bar = self.device.bar_window[0]

    async def _configuration(self):
        """Drive what the model of the block has no ports for, or under other names."""
        while True:
            await RisingEdge(self.dut.clk)
            self.dut.bus_master.value = int(self.function.bus_master_enable)
            if self.dut.rst.value:
                self.block.cq_np_req_count = 0
            elif self.dut.credit.value:
                assert self.block.cq_np_req_count == 0
                self.block.cq_np_req_count = 1
            if self.dut.mgmt_read.value and not self.dut.mgmt_done.value:
                word = await self.function.read_config_register(int(self.dut.mgmt_address.value))
                self.dut.mgmt_data.value = word
                self.dut.mgmt_done.value = 1
            else:
                self.dut.mgmt_done.value = 0

    def pause(self, *others):
        """Have the streams, and other ends, wait now and then."""
        for end in (self.block.rq_sink, self.block.rc_source, self.block.cq_source, self.block.cc_sink, *others):
            drawn = random.Random(random.getrandbits(32))
            end.set_pause_generator(drawn.random() < 0.3 for _ in itertools.count())

    async def time_out(self, tlp):
        """Have the block give up a read, as PG213 describes it; the model waits for ever."""
        lost = Tlp_us()
        lost.fmt_type = Tlp.create_completion_for_tlp(tlp, PcieId(0, 0, 0)).fmt_type
        lost.tag, lost.requester_id = tlp.tag, tlp.requester_id
        lost.error_code, lost.request_completed = ErrorCode.TIMEOUT, True
        self.block.active_request[tlp.tag] = None
        self.block.rc_queue.put_nowait(lost)


class Bench(Slot):
    """The same, and whoever drives the two AXI ports of a :class:`tests.support.designs.pcie_flat.PcieFlat`."""

    def __init__(self, dut, **options):
        super().__init__(dut, **options)
        ends = {"clock": dut.clk, "reset": dut.axi_reset}
        self.master = AxiMaster(AxiBus.from_prefix(dut, "s_axi_"), **ends)
        self.registers = AxiLiteRam(AxiLiteBus.from_prefix(dut, "m_axi_"), size=REGISTER_BYTES, **ends)

    async def start(self, **options):
        """Have the host find the card; return its memory."""
        await super().start(**options)
        self.base, self.ram = self.host.alloc_region(RAM_BYTES)
        self.ram[:] = random.randbytes(RAM_BYTES)
        await ClockCycles(self.dut.clk, 2 * SETTINGS_EVERY + 20)
        return self.ram

    def pause(self):
        """Have all streams and channels wait now and then."""
        sides = [side for port in (self.master, self.registers) for side in (port.write_if, port.read_if)]
        super().pause(*(getattr(side, name) for side in sides for name in vars(side) if name.endswith("_channel")))
