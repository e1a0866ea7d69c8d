"""What surrounds a top, for cocotb: memories from elsewhere, and the kernel's shell."""

import itertools
import logging
import random

import cocotb
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.triggers import ClockCycles, ValueChange
from cocotbext.axi import AddressSpace, AxiBus, AxiSlave, MemoryRegion, SparseMemoryRegion

from boards.gateware.flat import AXI4_LEN_BITS
from boards.gateware.ports import port_table
from boards.u55c_vitis import top as vitis
from omap.sizing.channels import CHANNEL_BYTES
from rtl.memory.hbm import HBM_AXI
from sim.bench.cocotb_bench import PERIOD_NS
from sim.bench.verilog import TOP
from tests.support.boards.top_run import CLEARED_BYTES, models, top, top_verilog
from tests.support.rtl.engines import TIGHT

TARGET = "u55c_vitis"
CHANNELS = sum(TIGHT.channels.values())
HOST = "m_axi_host"
RESET_CYCLES = 20
WAIT = 256
JUNK = b"\xa5"

PUBLIC = "/*verilator public_flat_rw*/"
"""Marks what cocotb may see: not the inside of the design, which would make Verilator slow."""

SPIED = """
  reg [31:0] spied {public} = 0;
  reg [127:0] spied_word {public};
  always @(posedge {clock})
    if ({core}.entropy.o__valid && {core}.entropy.o__ready) begin
      spied <= spied + 1;
      spied_word <= {core}.entropy.o__payload;
    end
"""
"""The words of noise that the engine takes, which the model needs. It sees nothing else of the inside."""


def design():
    """Return the name of the kernel's top, and its ports."""
    component, module = top(TARGET, TIGHT)
    component._MustUse__silence = True
    return module, port_table(component)


def shell_verilog():
    """Return a top in a module of its own, :data:`sim.bench.verilog.TOP`, with AXI3's lengths as wide as those of AXI4.

    cocotbext-axi knows AXI4 alone. A burst of AXI3 is one of AXI4 with zeros above its length.
    """
    module, table = design()
    ports, joins, pads = [], [], []
    for name, (way, width) in table.items():
        shown = AXI4_LEN_BITS if name[-5:] in ("AWLEN", "ARLEN") else width
        ports.append(f"  {way} {f'[{shown - 1}:0] ' if shown > 1 else ''}{name} {PUBLIC}")
        joins.append(f"    .{name}({name}{f'[{width - 1}:0]' if shown > width else ''})")
        if shown > width:
            pads.append(f"  assign {name}[{shown - 1}:{width}] = 0;\n")
    lines = [f"module {TOP}(\n", ",\n".join(ports), "\n);\n", *pads]
    lines += [f"  {module} design_i(\n", ",\n".join(joins), "\n  );\n"]
    lines += [SPIED.format(public=PUBLIC, clock=vitis.CLOCK, core="design_i.core"), "endmodule\n"]
    return top_verilog(TARGET, TIGHT) + models() + "".join(lines)


class Surroundings:
    """A top under cocotb, with memories on its HBM ports. An access elsewhere is an error, which the engine minds.

    Parameters
    ----------
    dut : cocotb handle
        The design.
    clock, reset : cocotb handle
        Of the HBM ports; the reset is active low.
    hbm_port : callable
        Returns the prefix of the port of a channel.

    Attributes
    ----------
    words : list of bytes
        What the engine has taken of its noise since the last reset.
    """

    def __init__(self, dut, clock, reset, hbm_port):
        dut._log.setLevel(logging.WARNING)  # the models tell of every burst
        self.dut, self.clock, self.reset = dut, clock, reset
        self.hbm_space, self.words = [], []
        self.hbm = [self._memory(channel, hbm_port(channel)) for channel in range(CHANNELS)]
        cocotb.start_soon(self._spy())

    @property
    def ends(self):
        """What a foreign model needs to know: clock, reset, and that this is active low."""
        return {"clock": self.clock, "reset": self.reset, "reset_active_level": False}

    def slave(self, prefix, space):
        """Put a foreign slave on an AXI port."""
        return AxiSlave(AxiBus.from_prefix(self.dut, prefix), target=space, **self.ends)

    def _memory(self, channel, prefix):
        space = AddressSpace(1 << HBM_AXI.addr_width)
        self.hbm_space.append(SparseMemoryRegion(CHANNEL_BYTES))
        space.register_region(self.hbm_space[-1], channel * CHANNEL_BYTES)
        return self.slave(prefix, space)

    async def _spy(self):
        while True:
            await ValueChange(self.dut.spied)
            self.words.append(int(self.dut.spied_word.value).to_bytes(16, "little"))

    async def wait(self, cycles=WAIT):
        """Let time pass."""
        await ClockCycles(self.clock, cycles)

    @property
    def cycle(self):
        """Clock cycles since the start."""
        return int(get_sim_time("ns")) // PERIOD_NS

    def litter(self):
        """Fill the beginning of every HBM channel with what nobody needs."""
        for region in self.hbm_space:
            region.mem.write(0, JUNK * (2 * CLEARED_BYTES))


class Shell(Surroundings):
    """The kernel in its shell, with host memory where :meth:`allocate` puts it.

    Parameters
    ----------
    dut : cocotb handle
        The design, of :func:`shell_verilog`.
    """

    def __init__(self, dut):
        clock, reset = getattr(dut, vitis.CLOCK), getattr(dut, vitis.RESET)
        for name, (way, _) in design()[1].items():
            if way == "input":
                getattr(dut, name).value = 0
        Clock(clock, PERIOD_NS, "ns").start(start_high=False)
        super().__init__(dut, clock, reset, vitis.hbm_port)
        self.host_space = AddressSpace(2**64)
        self.host = self.slave(HOST, self.host_space)

    async def restart(self, *, cycles=RESET_CYCLES):
        """Hold the reset pin low for some cycles; host memory is gone."""
        self.host_space.regions.clear()
        self.reset.value = 0
        await ClockCycles(self.clock, cycles)
        self.words.clear()
        self.reset.value = 1

    def pause(self, *others):
        """Have host memory, and other models with the same ends, hold back each channel now and then from now on."""
        for end in (end for port in (self.host, *others) for end in (port.write_if, port.read_if)):
            for name in ("aw_channel", "w_channel", "b_channel", "ar_channel", "r_channel"):
                if hasattr(end, name):
                    rng = random.Random(random.getrandbits(32))
                    getattr(end, name).set_pause_generator(rng.random() < 0.3 for _ in itertools.count())

    def allocate(self, size, address):
        """Give the card ``size`` bytes of host memory, which hold anything, and return them."""
        memory = bytearray(JUNK) * size
        self.host_space.register_region(MemoryRegion(size, memoryview(memory)), address)
        return memoryview(memory)
