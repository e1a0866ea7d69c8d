"""The whole direct top for cocotb: the vendor's blocks are empty, and what they would do comes from models."""

from boards.gateware.flat import AXI4_LEN_BITS
from boards.gateware.ports import stub
from boards.u55c_direct import top as direct
from boards.u55c_direct import vendor
from boards.u55c_direct.link import PLACES
from boards.u55c_direct.link import PORTS as CORE_PORTS
from rtl.pcie.endpoint import BLOCK
from sim.bench.verilog import TOP
from tests.support.boards.shell import CHANNELS, PUBLIC, SPIED
from tests.support.boards.top_run import models, whole_verilog
from tests.support.rtl.engines import TIGHT

STREAMS = (*vendor.TO_CORE, *vendor.FROM_CORE)
CLOCK, RESET, HBM_RESET = "clk", "rst", f"{vendor.hbm_prefix(0)}ARESET_N"


class Block:
    """A block whose ports are those of the module around the top: what it says comes in there, what it hears goes out.

    Parameters
    ----------
    name, instance : str
        The module, and its place in the top.
    ports : Ports
        Its ports.
    """

    def __init__(self, name, instance, ports):
        self.name, self.instance, self.ports = name, instance, ports
        self.outer, self.inside, self.outside = [], [], []

    def show(self, port, outer=None, *, width=None, low=0):
        """Have the module around the top show a port, or some bits of it, under another name and with another width."""
        way, whole = self.ports[port]
        outer, width = outer or port, width or whole
        back = "input" if way == "output" else "output"
        self.outer.append(f"  {back} {f'[{width - 1}:0] ' if width > 1 else ''}{outer} {PUBLIC}")
        if way == "output":
            self.inside.append(f"  assign {port} = {TOP}.{outer}{f' << {low}' if low else ''};")
        else:
            self.outside.append(f"  assign {outer} = design_i.{self.instance}.{port}{f' >> {low}' if low else ''};")

    def copy(self, port, outer):
        """Have every bit of a port be one that comes in outside."""
        self.outer.append(f"  input {outer} {PUBLIC}")
        self.inside.append(f"  assign {port} = {{{self.ports[port][1]}{{{TOP}.{outer}}}}};")

    def verilog(self):
        """Return the module."""
        return stub(self.name, self.ports).replace("endmodule", "\n".join([*self.inside, "endmodule"]))


def pcie():
    """Return the PCIe core, with its streams and with what else :mod:`tests.support.designs.pcie_model` drives."""
    core = Block(vendor.PCIE, "pcie", vendor.pcie_ports())
    core.show("user_clk", CLOCK)
    core.show("user_reset", RESET)
    for port in core.ports:
        if port.endswith("_tready") and port.startswith(tuple(vendor.TO_CORE)):
            core.copy(port, port)
        elif port.startswith((*STREAMS, "pcie_rq_")):
            core.show(port)
    for name, port in CORE_PORTS.items():
        core.show(port, name, width=BLOCK[name].shape, low=PLACES.get(name, 0))
    return core


def hbm():
    """Return the HBM core. Lengths of bursts are as wide as those of AXI4, because cocotbext-axi knows nothing else."""
    core = Block(vendor.HBM, "hbm", vendor.hbm_ports(CHANNELS))
    for port in core.ports:
        if port.startswith("AXI_") and not port.endswith("ACLK"):
            core.show(port, width=AXI4_LEN_BITS if port.endswith(("AWLEN", "ARLEN")) else None)
    core.show("apb_complete_0", "hbm_up")
    return core


def card_verilog():
    """Return the top in a module of its own, :data:`sim.bench.verilog.TOP`."""
    blocks = [pcie(), hbm()]
    outer = ",\n".join(line for block in blocks for line in block.outer)
    lines = [f"module {TOP}(\n{outer}\n);", *(line for block in blocks for line in block.outside)]
    lines += [f"  {direct.MODULE} design_i(.pcie_rst_n(1'b1));"]
    lines += [SPIED.format(public=PUBLIC, clock=CLOCK, core="design_i.card.core"), "endmodule\n"]
    primitives = "".join(stub(name, ports) for name, ports in vendor.PRIMITIVES.items())
    design = whole_verilog("u55c_direct", TIGHT)
    return "\n".join([design, models(), primitives, *(block.verilog() for block in blocks), *lines])
