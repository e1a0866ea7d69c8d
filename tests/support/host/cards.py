"""Cards to put behind a stand-in for VFIO or XRT: a device model, or a run of a simulated top.

A card has these methods: ``allocate(size)`` returns the memory that its host will share with it; ``load`` and ``store``
access registers by offset; ``step()`` lets time pass and returns how much there was to do; ``reset()``. A card reaches
host memory only through ``bus(address, size)``, which its machine sets. ``bus`` raises :class:`BusFaultError` for
memory that the card was not given.
"""

from omap.device import DeviceModel
from omap.regmap import BY_NAME, MIRROR, REGISTER_BYTES, REGISTERS, RegisterFile, State, identity
from omap.wire import BufferLayout

BY_OFFSET = {register.offset: register for register in REGISTERS}
START, DONE, IDLE, READY = (1 << field.low for field in BY_NAME["CTRL"].fields)
STEPS = 16


class BusFaultError(Exception):
    """A card has used the bus when it must not, or an address that it was not given."""


class ModelCard:
    """A device model with the registers of a card: it starts when CTRL says so, and stops until it is reset.

    Attributes
    ----------
    device : DeviceModel or None
        The model; None until the card is started.
    """

    threaded = True
    """Its machine steps it in a thread."""

    address = None
    """The only bus address at which the card takes its buffer; None if it takes any."""

    def __init__(self, params, root_key, *, observer=None, journal=False):
        self.params, self.root_key, self.observer, self.journal = params, root_key, observer, journal
        self.bus = None
        self.reset()

    def allocate(self, size):
        return memoryview(bytearray(b"\xa5" * size))  # fresh memory need not hold zeros

    def reset(self):
        self.device, self.running = None, False
        self.registers = RegisterFile()
        claims = {"hbm_private": False, "attested": False, "hardware": False, "journal": self.journal}
        for name, value in identity(self.params, **claims).items():
            self.registers.write(name, value)
        self.registers.write("CTRL", IDLE)

    def load(self, offset):
        register = BY_OFFSET.get(offset)
        return 0 if register is None else self.registers.read(register.name)

    def store(self, offset, value):
        name = BY_OFFSET[offset].name
        if name != "CTRL":
            self.registers.write(name, value)
        elif value & START and not self.running:
            self.start()

    def start(self):
        if self.device is not None:  # it was stopped before: it shows that, and ends
            self._buffer()[MIRROR : MIRROR + REGISTER_BYTES] = self.registers.memory
            return
        self.registers.write("CTRL", START)
        entries = self.registers.read("RING_LINES")
        self.device = DeviceModel(
            self.params,
            self.root_key,
            self._buffer(),
            ring_lines=entries,
            registers=self.registers,
            observer=self.observer,
            journal=self.journal,
        )
        self.running = True  # last, because the thread of an earlier run may take a step at any time

    def _buffer(self):
        address = self.registers.read("BUFFER_HIGH") << 32 | self.registers.read("BUFFER_LOW")
        return self.bus(address, BufferLayout(self.params, self.registers.read("RING_LINES")).size)

    def step(self):
        if not self.running:
            return 0
        self._buffer()  # it polls host memory all the time
        done = self.device.step(STEPS)
        if self.device.state is State.STOPPED:
            self.running = False
            self.registers.write("CTRL", DONE | IDLE | READY)
        return done


class RunCard:
    """A simulated top, such as :class:`sim.device.engine_run.EngineRun`.

    The run has ``layout``, ``memory``, ``read``, ``write``, ``step``, and ``hbm_up`` if it waits for HBM.

    Parameters
    ----------
    make_run : callable
        Returns a run that was not started; called again at every reset.
    cycles : int
        Clock cycles that pass between two accesses of the host to a register.
    hbm_late : int
        Accesses after a reset until HBM has come up, for a top that waits for it.
    """

    threaded = False
    """Its time passes when its registers are read. Behind XRT they can't be read, so its time passes in a thread."""

    def __init__(self, make_run, cycles=256, hbm_late=0):
        self.make_run, self.cycles, self.hbm_late = make_run, cycles, hbm_late
        self.bus = None
        self.reset()
        self.address = self.run.memory.base

    def allocate(self, size):
        memory = self.run.memory
        if size > memory.size:
            raise MemoryError(f"the run has {memory.size} bytes of host memory, not {size}")
        return memoryview(memory.data)[:size]

    def reset(self):
        self.run, self.running, self.waits = self.make_run(), False, self.hbm_late

    def load(self, offset):
        self.step()
        return self.run.read(BY_OFFSET[offset].name)

    def store(self, offset, value):
        name = BY_OFFSET[offset].name
        if name == "CTRL" and value & START:
            address = self.run.read("BUFFER_HIGH") << 32 | self.run.read("BUFFER_LOW")
            assert address == self.address, f"the buffer is at {address:#x}, the run's host memory at {self.address:#x}"
            self.running = True
        self.run.write(name, value)

    def step(self):
        if self.waits:
            self.waits -= 1
            if not self.waits:
                self.run.hbm_up()
        if self.running:
            self.bus(self.address, self.run.layout.size)
            self.running = not self.run.read("CTRL") & IDLE
        self.run.step(self.cycles)
        return 1
