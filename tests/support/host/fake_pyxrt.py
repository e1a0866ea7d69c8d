"""A stand-in for ``pyxrt`` with a card behind it, which fails as the real one does.

Its behaviour follows XRT's ``pyxrt.cpp``, ``xrt_kernel.cpp`` and ``xrt_bo.cpp``, and the issues that
`host.device.preflight` answers. The card works on the buffer it was given; its registers can't be reached, as with the
real binding. A program that is on the card is not loaded again (XRT issue 5833): it is as it was left, until
:meth:`FakeXrt.reset`.
"""

import enum
import itertools
import sys
import threading
import time
import types
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from omap.regmap import BY_NAME
from omap.wire import BufferLayout
from tests.support.host.cards import START, BusFaultError, ModelCard

CARD_NAME = "xilinx_u55c_gen3x16_xdma_base_3"
XSA_NAME = "xilinx_u55c_gen3x16_xdma_3_202210_1"
ADDRESS = 0x2_0000_0000
"""Where a buffer is for the card; never at 0."""


LATE = 500


class BusError(Exception):
    """Stands for SIGBUS, which would end the process."""


class State(enum.Enum):
    """As in pyxrt, which has no name for the state of a kernel that is running."""

    ERT_CMD_STATE_NEW = 1
    ERT_CMD_STATE_QUEUED = 2
    ERT_CMD_STATE_COMPLETED = 4
    ERT_CMD_STATE_ERROR = 5
    ERT_CMD_STATE_ABORT = 6
    ERT_CMD_STATE_SUBMITTED = 7
    ERT_CMD_STATE_TIMEOUT = 8


class Running:
    """What pybind11 gives for a value without a name."""

    name = "???"


class FakeXrt:
    """Provides a module ``pyxrt`` while it is entered.

    Each option is a property of the machine, and most tests set one, so that there are more than six.

    ``generation`` 1 has no ``hw_context``, 2 does not support ``load_xclbin``. ``host_memory`` is what XRT says is
    enabled: bytes, a text, or None if it does not say. ``card`` is a card of :mod:`tests.support.host.cards`. Flaws:

    ``no device``, ``offline``, ``platform``, ``busy``, ``no kernel``, ``no host bank``, ``no hbm``, ``hbm moved``,
    ``old mems`` (XRT does not say where banks lie), ``bad xclbin``, ``no buffer`` (host memory is not enabled),
    ``silent`` (nothing gets to host memory), ``late`` (nothing does until the driver has asked for the state of the run
    :data:`LATE` times), ``dies`` (soon after start).
    """

    def __init__(self, params, root_key, *, generation=1, host_memory=4 << 30, flaws=(), bdf="0000:3b:00.1", card=None):
        self.params, self.root_key, self.bdf = params, root_key, bdf
        self.generation, self.host_memory, self.flaws = generation, host_memory, set(flaws)
        self.card = ModelCard(params, root_key) if card is None else card
        self.calls, self.faults = [], []
        self.stop = threading.Event()
        self.threads = []
        self.turn, self.lock = threading.Lock(), threading.Lock()
        self.dead = False
        self.loaded = None

    def xclbin(self, folder, uuid=b"one"):
        path = folder / f"omap-{uuid.decode()}.xclbin"
        path.write_bytes(b"xclbin2\0" + uuid)
        return path

    def reset(self):
        """Do as ``xrt-smi reset``: after it no program is on the card."""
        with self.still():
            self.card.reset()
        self.loaded = None

    def __enter__(self):
        self.before = sys.modules.get("pyxrt")
        sys.modules["pyxrt"] = self.module()
        return self

    def __exit__(self, kind, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        if self.before is None:
            del sys.modules["pyxrt"]
        else:
            sys.modules["pyxrt"] = self.before
        if kind is None:
            assert not self.faults

    def module(self):
        fake, module = self, types.ModuleType("pyxrt")
        info = enum.Enum("xrt_info_device", "bdf interface_uuid name offline memory platform pcie_info host")

        class Uuid:
            def __init__(self, path):
                self.text = Path(path).read_bytes()

        class Device:
            def __init__(self, which):
                known = which == 0 if type(which) is int else which == fake.bdf
                if "no device" in fake.flaws or not known:
                    raise RuntimeError(f"Could not open device with index '{which}'")

            def load_xclbin(self, path):
                assert type(path) is str
                if fake.generation == 2:
                    raise RuntimeError("load_xclbin: Operation not supported")
                return fake.load(Uuid(path))

            def get_info(self, key):
                if key is info.name:
                    return CARD_NAME
                if key is info.offline:
                    return str(int("offline" in fake.flaws))
                if key is info.bdf:
                    return fake.bdf
                if key is info.pcie_info:
                    return fake.pcie_info()
                return "NA"

        class NewDevice(Device):
            def register_xclbin(self, program):
                assert type(program) is Xclbin
                return Uuid(program.path)

        class HwContext:
            def __init__(self, device, uuid):
                assert isinstance(device, NewDevice)
                assert type(uuid) is Uuid
                fake.load(uuid)

        class Kernel:
            def __init__(self, where, *rest):
                if type(where) is not HwContext:
                    assert isinstance(where, Device)
                    uuid, *rest = rest
                    assert type(uuid) is Uuid
                (name,) = rest
                if name != "omap_kernel":
                    raise RuntimeError(f"No such kernel '{name}'")

            def group_id(self, argument):
                if argument != 0:
                    raise RuntimeError("Unexpected error memidx == -1")
                return 32

            def __call__(self, *values):
                arguments = {}
                for place, value in enumerate(values):  # a value that is neither is silently ignored
                    if type(value) is Bo or (type(value) is int and -(1 << 31) <= value < 1 << 31):
                        arguments[place] = value
                return fake.start(arguments)

        class Bo:
            flags = enum.Enum("flags", "normal cacheable device_only host_only p2p svm")

            def __init__(self, device, size, flags, group):
                assert isinstance(device, Device)
                assert flags is Bo.flags.host_only
                assert group == 32
                if "no buffer" in fake.flaws:
                    raise RuntimeError("unable to allocate buffer: Operation not permitted")
                self.memory = fake.card.allocate(size)

            def map(self):
                return memoryview(self.memory)

            def sync(self, direction, size, offset):
                assert direction is module.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE
                assert offset + size <= len(self.memory)

        class Named:
            def __init__(self, name, used=True, address=None):
                self.get_name = self.get_tag = lambda: name
                self.get_used = lambda: used
                if address is not None and "old mems" not in fake.flaws:
                    self.get_base_address = lambda: address

        class Xclbin:
            def __init__(self, path):
                assert type(path) is str
                if "bad xclbin" in fake.flaws:
                    raise RuntimeError("Invalid xclbin")
                self.path = path

            def get_xsa_name(self):
                return XSA_NAME.replace("u55c", "u280") if "platform" in fake.flaws else XSA_NAME

            def get_kernels(self):
                return [Named("vadd" if "no kernel" in fake.flaws else "omap_kernel")]

            def get_mems(self):
                moved = (1 << 28) * ("hbm moved" in fake.flaws)
                return [
                    Named("HBM[0]", "no hbm" not in fake.flaws, 0),
                    Named("HBM[1]", False, 1),
                    Named("HBM[2]", "no hbm" not in fake.flaws, (1 << 30) - moved),
                    Named("DDR[0]", False, 0x40_0000_0000),
                    Named("HOST[0]", "no host bank" not in fake.flaws, 0x20_0000_0000),
                ]

        module.xrt_info_device = info
        module.xclBOSyncDirection = enum.Enum(
            "xclBOSyncDirection", "XCL_BO_SYNC_BO_TO_DEVICE XCL_BO_SYNC_BO_FROM_DEVICE"
        )
        module.ert_cmd_state, module.uuid, module.kernel, module.bo, module.xclbin = State, Uuid, Kernel, Bo, Xclbin
        module.device = NewDevice if self.generation == 2 else Device
        if self.generation == 2:
            module.hw_context = HwContext
        return module

    def load(self, uuid):
        if "busy" in self.flaws:
            raise RuntimeError("failed to load xclbin: Device or resource busy")
        if "refused" in self.flaws:
            raise RuntimeError("failed to load xclbin: Invalid argument")
        if self.loaded not in (None, uuid.text):
            self.reset()
        self.loaded = uuid.text
        return uuid

    def pcie_info(self):
        if self.host_memory is None:
            return "NA"
        if isinstance(self.host_memory, str):  # newer releases write units
            return f'{{"shared_host_mem_size_bytes": "0 Byte", "enabled_host_mem_size_bytes": "{self.host_memory}"}}'
        return f'{{"vendor": "0x10ee", "shared_host_mem_size_bytes": "{self.host_memory}"}}'

    def start(self, arguments):
        self.calls.append(arguments)
        if 0 not in arguments:
            raise BusError("the kernel wrote to address 0")
        if self.card.running:  # the card runs for another run, so this one waits
            return types.SimpleNamespace(state=lambda: State.ERT_CMD_STATE_QUEUED)
        run = types.SimpleNamespace(state=self.state)
        begin = partial(self.run_card, arguments[0].memory, arguments.get(1, 0), arguments.get(2, 0))
        if "late" in self.flaws:
            run.state = partial(self.late_state, itertools.count(), begin)
        elif "silent" not in self.flaws:
            begin()
        if "dies" in self.flaws:
            self.dead = True
        return run

    def late_state(self, asked, begin):
        if next(asked) == LATE:
            begin()
        return self.state()

    def state(self):
        """Return the state of the run that was not made to wait."""
        if self.dead:
            return State.ERT_CMD_STATE_ERROR
        if not self.threads:
            return State.ERT_CMD_STATE_SUBMITTED
        return Running() if self.card.running else State.ERT_CMD_STATE_COMPLETED

    def run_card(self, memory, ring_lines, request):
        """Give the card its arguments and start it, as XRT does."""
        size = BufferLayout(self.params, ring_lines).size
        address = self.card.address or ADDRESS

        def bus(at, length):
            if at != address or length > len(memory):
                raise BusFaultError(f"the card has used {length} bytes at {at:#x}; its buffer is at {address:#x}")
            return memory

        assert len(memory) >= size
        self.card.bus = bus
        arguments = {"BUFFER_LOW": address & 0xFFFFFFFF, "BUFFER_HIGH": address >> 32}
        arguments |= {"RING_LINES": ring_lines, "REQUEST": request, "CTRL": START}
        for name, value in arguments.items():
            self.card.store(BY_NAME[name].offset, value)
        self.threads.append(threading.Thread(target=self.work, daemon=True))
        self.threads[-1].start()

    @property
    def device(self):
        """The device model, if the card is one."""
        return self.card.device

    @contextmanager
    def still(self):
        """Keep the card from taking a step, so that it can be looked at."""
        with self.turn, self.lock:
            yield

    def work(self):
        try:
            while not self.stop.is_set():
                with self.turn:  # others that want the card come first
                    pass
                with self.lock:
                    done = self.card.step()
                if not done:
                    time.sleep(50e-6)
        except BusFaultError as fault:
            self.faults.append(str(fault))
            self.dead = True
