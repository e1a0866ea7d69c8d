"""A stand-in for ``pyxrt`` with a card behind it, which fails the way the real one does.

Read for its manner: XRT's ``pyxrt.cpp`` and ``xrt_bo.cpp``, and the issues that `host.preflight` answers. The card is a
device model that works on the buffer it was given; its registers can't be reached, as with the real binding.
"""

import enum
import sys
import threading
import time
import types

from omap.device import DeviceModel
from omap.wire import BufferLayout

CARD_NAME = "xilinx_u55c_gen3x16_xdma_base_3"
XSA_NAME = "xilinx_u55c_gen3x16_xdma_3_202210_1"


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
    """Puts a module ``pyxrt`` in place while it is entered.

    ``generation`` 1 has no ``hw_context``, 2 does not support ``load_xclbin``. ``host_memory`` is what XRT says is
    enabled: bytes, a text, or None if it does not say. Flaws:

    ``no device``, ``offline``, ``platform``, ``busy``, ``no kernel``, ``no host bank``, ``no hbm``, ``bad xclbin``,
    ``no buffer`` (host memory is not enabled), ``silent`` (nothing gets to host memory), ``dies`` (soon after start).
    """

    def __init__(self, params, root_key, *, generation=1, host_memory=4 << 30, flaws=(), bdf="0000:3b:00.1"):
        self.params, self.root_key, self.bdf = params, root_key, bdf
        self.generation, self.host_memory, self.flaws = generation, host_memory, set(flaws)
        self.calls = []
        self.stop = threading.Event()
        self.threads = []
        self.dead = False

    def xclbin(self, folder):
        path = folder / "omap.xclbin"
        path.write_bytes(b"xclbin2\0")
        return path

    def __enter__(self):
        self.before = sys.modules.get("pyxrt")
        sys.modules["pyxrt"] = self.module()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        if self.before is None:
            del sys.modules["pyxrt"]
        else:
            sys.modules["pyxrt"] = self.before

    def module(self):
        fake, module = self, types.ModuleType("pyxrt")
        info = enum.Enum("xrt_info_device", "bdf interface_uuid name offline memory platform pcie_info host")

        class Uuid:
            pass

        class Device:
            def __init__(self, which):
                known = which == 0 if type(which) is int else which == fake.bdf
                if "no device" in fake.flaws or not known:
                    raise RuntimeError(f"Could not open device with index '{which}'")

            def load_xclbin(self, path):
                assert type(path) is str
                if fake.generation == 2:
                    raise RuntimeError("load_xclbin: Operation not supported")
                return fake.load()

            def get_info(self, key):
                if key is info.name:
                    return CARD_NAME
                if key is info.offline:
                    return str(int("offline" in fake.flaws))
                if key is info.pcie_info:
                    return fake.pcie_info()
                return "NA"

        class NewDevice(Device):
            def register_xclbin(self, program):
                assert type(program) is Xclbin
                return Uuid()

        class HwContext:
            def __init__(self, device, uuid):
                assert isinstance(device, NewDevice)
                assert type(uuid) is Uuid
                fake.load()

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
                for place, value in enumerate(values):  # what is neither is left out, without a word
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
                self.memory = bytearray(b"\xa5" * size)  # nobody promises zeros

            def map(self):
                return memoryview(self.memory)

            def sync(self, direction, size, offset):
                assert direction is module.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE
                assert offset + size <= len(self.memory)

        class Named:
            def __init__(self, name, used=True):
                self.get_name = self.get_tag = lambda: name
                self.get_used = lambda: used

        class Xclbin:
            def __init__(self, path):
                assert type(path) is str
                if "bad xclbin" in fake.flaws:
                    raise RuntimeError("Invalid xclbin")

            def get_xsa_name(self):
                return XSA_NAME.replace("u55c", "u280") if "platform" in fake.flaws else XSA_NAME

            def get_kernels(self):
                return [Named("vadd" if "no kernel" in fake.flaws else "omap_kernel")]

            def get_mems(self):
                return [Named("HBM[0]", "no hbm" not in fake.flaws), Named("HBM[1]", False), Named("DDR[0]", False)] + [
                    Named("HOST[0]", "no host bank" not in fake.flaws)
                ]

        module.xrt_info_device = info
        module.xclBOSyncDirection = enum.Enum(
            "xclBOSyncDirection", "XCL_BO_SYNC_BO_TO_DEVICE XCL_BO_SYNC_BO_FROM_DEVICE"
        )
        module.ert_cmd_state, module.uuid, module.kernel, module.bo, module.xclbin = State, Uuid, Kernel, Bo, Xclbin
        module.device = NewDevice if self.generation == 2 else Device
        self.uuid = Uuid
        if self.generation == 2:
            module.hw_context = HwContext
        return module

    def load(self):
        if "busy" in self.flaws:
            raise RuntimeError("failed to load xclbin: Device or resource busy")
        if "refused" in self.flaws:
            raise RuntimeError("failed to load xclbin: Invalid argument")
        return self.uuid()

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
        run = types.SimpleNamespace(
            state=lambda: State.ERT_CMD_STATE_ERROR if self.dead else Running() if self.threads else State(7)
        )
        if "silent" not in self.flaws:
            entries = arguments.get(1, 0)
            self.device = DeviceModel(self.params, self.root_key, arguments[0].memory, ring_entries=entries)
            assert len(arguments[0].memory) >= BufferLayout(self.params, entries).size
            self.threads.append(threading.Thread(target=self.work, daemon=True))
            self.threads[-1].start()
        if "dies" in self.flaws:
            self.dead = True
        return run

    def work(self):
        while not self.stop.is_set():
            if not self.device.step(16):
                time.sleep(50e-6)
