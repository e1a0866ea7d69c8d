"""Runs the generated tops in the compiled simulator, as :class:`sim.device.engine_run.EngineRun` runs an engine."""

from functools import cache, partial

from boards.gateware import root_key
from boards.gateware.ports import port_table
from boards.targets import TARGETS
from boards.u55c_direct import top as direct
from boards.u55c_vitis import top as vitis
from rtl.engine import HOST_AXI
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


def top(target, config):
    """Return a top for simulation, and the name of its module."""
    if target == "u55c_vitis":
        return vitis.VitisKernel(config, entropy_interval=ENTROPY_INTERVAL), vitis.MODULE
    card = direct.DirectCard(config, channel_bytes=CLEARED_BYTES, entropy_interval=ENTROPY_INTERVAL)
    return card, CARD


def top_verilog(target, config, *, built=False):
    """Return the Verilog of a top, from a file if nothing has changed since it was made, because that takes a minute.

    It is the text of :func:`top`, or the one of a build, with its pins.
    """
    known = TARGETS[target]
    component, module = (known.top(config.params), known.module) if built else top(target, config)
    return kept_text(component, partial(to_verilog, name=module))


def models():
    """Return the modules that a top leaves out: the key, and noise as the simulator of the vendor gets it."""
    return root_key.verilog(KEY) + known_noise()


@cache
def top_design(target, config):
    """Return a compiled top."""
    component, module = top(target, config)
    component._MustUse__silence = True
    channels = sum(config.channels.values())
    hbm_port = vitis.hbm_port if target == "u55c_vitis" else direct.hbm_port
    return FlatDesign(
        FlatTop(
            verilog=top_verilog(target, config) + models(),
            module=module,
            ports=port_table(component),
            clock=vitis.CLOCK if target == "u55c_vitis" else direct.CLOCK,
            reset=vitis.RESET if target == "u55c_vitis" else direct.RESET,
            axi={"m_axi_host": HOST_AXI} | {hbm_port(channel): HBM_AXI for channel in range(channels)},
        )
    )


class TopRun(EngineRun):
    """A top with its memories. Noise and root key are built in: ``noise`` and ``root_key`` can't be given."""

    target = ""

    def __init__(self, config, **options):
        super().__init__(top_design(self.target, config), config, KEY, noise=(), **options)

    def provision(self, root_key):
        self.bench.run(RESET_CYCLES)

    def _feed(self):
        pass


class VitisRun(TopRun):
    """The Vitis kernel, by its AXI4-Lite port."""

    target = "u55c_vitis"
    hbm_port = staticmethod(vitis.hbm_port)

    @staticmethod
    def _port(signal):
        return f"{vitis.CONTROL}_{signal.upper()}"

    def read_word(self, offset):
        return self._read_bus(self._port, {"araddr": offset})

    def write_word(self, offset, value):
        self._write_bus(self._port, {"awaddr": offset}, {"wdata": value, "wstrb": 0xF})


class DirectRun(TopRun):
    """The card without a shell, by its BAR; it is opened when HBM was zeroed, unless ``opened`` is False."""

    target = "u55c_direct"
    hbm_port = staticmethod(direct.hbm_port)
    base = 0x9_0000_0000
    """Where the BAR lies; the card must not look at it."""

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

    @staticmethod
    def _port(signal):
        return f"{direct.BAR}_{signal.upper()}"

    def _address(self, way, offset):
        return {f"a{way}addr": self.base + offset, f"a{way}len": 0, f"a{way}size": 2, f"a{way}burst": 1, f"a{way}id": 5}

    def read_word(self, offset):
        beat = self._read_bus(self._port, self._address("r", offset))
        assert self.bench.get(self._port("rid")) == 5
        return beat >> 8 * (offset % 64) & 0xFFFF_FFFF

    def write_word(self, offset, value):
        lane = offset % 64
        data = {"wdata": value << 8 * lane, "wstrb": 0xF << lane, "wlast": 1}
        self._write_bus(self._port, self._address("w", offset), data)
