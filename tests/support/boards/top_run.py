"""Runs the generated tops in the compiled simulator, as :class:`sim.device.engine_run.EngineRun` runs an engine."""

from functools import cache, partial

from boards.gateware import root_key
from boards.gateware.ports import port_table
from boards.targets import TARGETS
from boards.u55c_direct import top as direct
from boards.u55c_vitis import top as vitis
from rtl.engine import host_axi
from rtl.memory.hbm import HBM_AXI
from rtl.synth.verilog import to_verilog
from sim.bench.flat_top import FlatDesign, FlatTop
from sim.cache import kept_text
from sim.device.engine_run import EngineRun
from tests.support.boards.noise import known_noise

KEY = bytes(range(1, 33))
"""The root key of these designs. It is part of their text, so that another one would have to be compiled again."""

ENTROPY_INTERVAL = 1
CLEARED_BYTES = 2048
"""Zeroed in each HBM channel: no memory of a channel is smaller, see :func:`sim.device.map_bench.channel_memories`."""

RESET_CYCLES = 16
"""More than a top stays in reset when its reset pin no longer asks for it."""

CARD = "omap_direct_card"

SETTINGS_EVERY, PATIENCE = 64, 4000
"""Cycles of the link in simulation, see :class:`rtl.pcie.endpoint.PcieEndpoint`."""


def top(target, config):
    """Return a top for simulation, and the name of its module; of the direct target the card without its link."""
    if target == "u55c_vitis":
        return vitis.VitisKernel(config, entropy_interval=ENTROPY_INTERVAL), vitis.MODULE
    card = direct.DirectCard(config, channel_bytes=CLEARED_BYTES, entropy_interval=ENTROPY_INTERVAL)
    return card, CARD


def whole_card(config):
    """Return the direct target with its pins, as for a build, but quick to be ready."""
    card, _ = top("u55c_direct", config)
    return direct.DirectTop(card, settings_every=SETTINGS_EVERY, patience=PATIENCE)


def kept_verilog(component, module):
    """Return the Verilog of a top, from a file if nothing has changed since it was made: to make it takes a minute."""
    return kept_text(component, partial(to_verilog, name=module))


def top_verilog(target, config, *, built=False):
    """Return the Verilog of :func:`top`, or of a build with its pins."""
    known = TARGETS[target]
    return kept_verilog(*((known.top(config.params), known.module) if built else top(target, config)))


def whole_verilog(target, config):
    """Return the Verilog of a top for simulation with all its pins: what cocotb runs."""
    if target == "u55c_direct":
        return kept_verilog(whole_card(config), direct.MODULE)
    return top_verilog(target, config)


def models():
    """Return the modules that a top leaves out: the key, and noise as the simulator of the vendor gets it."""
    return root_key.verilog(KEY) + known_noise()


@cache
def top_design(target, config):
    """Return a compiled top."""
    component, module = top(target, config)
    component._MustUse__silence = True
    channels = sum(config.channels.values())
    place = vitis if target == "u55c_vitis" else direct
    return FlatDesign(
        FlatTop(
            verilog=top_verilog(target, config) + models(),
            module=module,
            ports=port_table(component),
            clock=place.CLOCK,
            reset=place.RESET,
            axi={place.HOST: host_axi(config.host_ids), **{place.hbm_port(n): HBM_AXI for n in range(channels)}},
        )
    )


class TopRun(EngineRun):
    """A top with its memories. Noise and root key are built in: ``noise`` and ``root_key`` can't be given."""

    target = registers = ""

    def __init__(self, config, **options):
        super().__init__(top_design(self.target, config), config, KEY, noise=(), **options)

    def provision(self, root_key):
        self.bench.run(RESET_CYCLES)

    def _feed(self):
        pass

    def _port(self, signal):
        return f"{self.registers}_{signal.upper()}"


class VitisRun(TopRun):
    """The Vitis kernel."""

    target, registers = "u55c_vitis", vitis.CONTROL
    hbm_port = staticmethod(vitis.hbm_port)


class DirectRun(TopRun):
    """The card without a shell and without its link; it is opened when HBM was zeroed, unless ``opened`` is False."""

    target, registers = "u55c_direct", direct.BAR
    hbm_port = staticmethod(direct.hbm_port)

    def __init__(self, config, *, opened=True, start=True, **options):
        super().__init__(config, start=False, **options)
        if opened:
            self.hbm_up()
            self.open()
            if start:
                self.start()

    def hbm_up(self):
        """Let HBM have come up."""
        self.bench.set("hbm_up", 1)

    def open(self, *, limit=20_000):
        """Wait as a driver does until the registers can be read."""
        self.until(lambda: self.read("IDENTITY") != 0, limit=limit)
