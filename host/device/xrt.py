"""The transport ``xrt``: an AMD card behind XRT, through ``pyxrt``.

``pyxrt`` comes with XRT and gives no access to registers (XRT issue 7863). Therefore the kernel is of the kind
``ap_ctrl_hs``: it is started once and runs until it is stopped. All traffic is in one buffer of host memory that both
sides see (``host_only``):

* rings and counters, as with every transport;
* registers that the host reads: the device repeats them at :data:`omap.regmap.MIRROR`;
* REQUEST, the only register that is written while the kernel runs: the host writes a number into the counter REQUESTS
  (:class:`omap.wire.Counter`), and the device acknowledges it in REQUESTS_DONE.

The kernel has more arguments than are given here: one for each HBM port, because the linker connects a port only if it
has an argument. The kernel ignores these arguments, so the transport leaves them out. ``pyxrt`` sets the arguments that
it is given and starts (XRT's pyxrt.cpp, ``kernel.__call__``); XRT's native interface does not check whether all are set
(xrt_kernel.cpp, ``run_impl``), and writes all words up to the last argument, whatever they hold. This was read in XRT's
source and is unverified on a card.

XRT does not load a program with the UUID of the program on the card (XRT issue 5833). A kernel that has run is
then in the state in which its last user left it. If it is stopped, a start ends at once; if it still runs for a process
that has ended, a start has to wait. The transport reports either, and the card must be reset.

The buffer belongs to this process. When the process ends, or :meth:`XrtTransport.close` is called, pages and map are
gone, so that no other driver can take over. The host's processor sees what the card writes without further calls (x86:
coherent); only the zeros of the start are flushed.

It was tested against a stand-in for ``pyxrt``, not against a card.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, suppress
from types import ModuleType
from typing import Any

from host.device import preflight
from host.device.hold import held
from host.device.transport import MAP_LOST, Transport, refuse_key
from omap.errors import DeviceError, InputError
from omap.params import Params
from omap.regmap import MIRROR, REGISTER_BYTES, RegisterFile, Request, State
from omap.wire import BufferLayout, Counter, read_counter, write_counter

KERNEL = "omap_kernel"
"""Name of the kernel in the xclbin."""

_SHOW_SECONDS = 5.0
"""How long a started kernel may take to write its registers into the buffer."""

_STOP_SECONDS = 5.0
"""How long a kernel may take until it has stopped."""

EMULATION_VARIABLE = "XCL_EMULATION_MODE"
"""Environment variable by which XRT takes an emulator for a card (AMD UG1393, *Running Emulation Targets*)."""

_EMULATION_PATIENCE = 1000.0
"""An emulator simulates each cycle. Nobody has measured how slow it is: unverified with the tools."""

_ENDED = {"COMPLETED", "ERROR", "ABORT", "TIMEOUT", "NORESPONSE", "SKERROR", "SKCRASHED"}
"""States of a run, without their prefix, in which no kernel is running."""


def scalar(value: int) -> int:
    """Return what to pass to a kernel for a 32-bit argument.

    ``pyxrt`` takes signed C ints, and silently leaves out an argument that is none.
    """
    if not 0 <= value < 1 << 32:
        raise InputError(f"{value} is no 32-bit argument: pass 64-bit numbers in two")
    return value - (value >> 31 << 32)


def halves(value: int) -> tuple[int, int]:
    """Return a 64-bit argument as two 32-bit ones, low half first."""
    return scalar(value & 0xFFFFFFFF), scalar(value >> 32)


class XrtTransport(Transport):
    """A kernel that runs on a card, and the buffer that the kernel shares with this process.

    Parameters
    ----------
    layout : BufferLayout
        Where things lie in the buffer.
    pyxrt : module
        The binding.
    card : Any
        ``pyxrt.device``, with its program loaded.
    kernel : Any
        ``pyxrt.kernel``.
    holding : ExitStack, optional
        What to let go of at the end.

    Raises
    ------
    DeviceError
        If XRT gives no buffer or the kernel shows no sign of life. The error says what to look at.
    """

    def __init__(
        self, layout: BufferLayout, pyxrt: ModuleType, card: Any, kernel: Any, holding: ExitStack | None = None
    ) -> None:
        super().__init__(layout)
        self._holding = holding or ExitStack()
        if os.environ.get(EMULATION_VARIABLE):
            self.patience = _EMULATION_PATIENCE
        self._pyxrt, self._card, self._kernel = pyxrt, card, kernel
        self._run: Any = None
        self._bo = self._allocate()
        self.buffer = memoryview(self._bo.map()).cast("B")
        if len(self.buffer) < layout.size:
            raise DeviceError(f"XRT gave a buffer of {len(self.buffer)} bytes; rings and pages need {layout.size}")
        self._control = self.buffer[: layout.commands]
        self._control[:] = bytes(layout.commands)
        self._mirror = RegisterFile(self._control[MIRROR : MIRROR + REGISTER_BYTES])
        self._start()

    def _allocate(self) -> Any:
        pyxrt, size = self._pyxrt, self.layout.size
        try:
            return pyxrt.bo(self._card, size, pyxrt.bo.flags.host_only, self._kernel.group_id(0))
        except Exception as error:
            raise DeviceError(
                f"XRT gave no host memory for {size} bytes ({error}): the kernel's port must be linked to HOST[0], and "
                f"{preflight.ENABLE_HOST_MEMORY}"
            ) from None

    def _start(self) -> None:
        try:
            self._bo.sync(self._pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE, self.layout.commands, 0)
            self._run = self._kernel(self._bo, scalar(self.layout.ring_lines), scalar(Request.NONE))
        except Exception as error:
            raise DeviceError(f"XRT could not start the kernel: {error}") from None
        end = time.monotonic() + _SHOW_SECONDS * self.patience
        while not self._mirror.read("IDENTITY"):
            self.check()
            if time.monotonic() > end:
                raise DeviceError(
                    "the kernel was started and has written nothing into host memory: it may still be running for an "
                    f"earlier process, then {self._reset}; is m_axi_host linked to HOST[0], and is this an omap "
                    f"kernel? Otherwise {preflight.ENABLE_HOST_MEMORY}, and reset the card"
                )
            time.sleep(1e-3)
        # STATUS lies in the same 64 bytes as IDENTITY, so it was written too; XRT may notice the kernel's end later.
        if self._mirror.read("STATUS") == State.STOPPED:
            raise DeviceError(self._ended("COMPLETED"))

    @property
    def _reset(self) -> str:
        return preflight.reset_card(self._pyxrt, self._card)

    def _ended(self, state: str) -> str:
        """Return the text about a kernel that has ended."""
        why = "see `dmesg` and `xrt-smi examine`"
        if state == "COMPLETED":  # not an end that this process asked for: then nobody calls this
            why = "an earlier run has stopped it, and XRT does not load again what is on the card already"
        return (
            f"the kernel is not running any more, XRT says {state}: {why}; {self._reset}, then start again; {MAP_LOST}"
        )

    def check(self) -> None:
        """Raise DeviceError if the kernel is not running any more."""
        if self._run is None:
            raise DeviceError("the device is gone: the transport was closed; open it again")
        state = str(getattr(self._run.state(), "name", "")).removeprefix("ERT_CMD_STATE_")
        if state in _ENDED:
            raise DeviceError(self._ended(state))

    def read(self, name: str) -> int:
        """Return a register's value, from its copy in the buffer."""
        if self._run is None:
            self.check()
        if name == "REQUEST":
            asked, done = (read_counter(self._control, c) for c in (Counter.REQUESTS, Counter.REQUESTS_DONE))
            return Request.NONE if asked == done else asked & 0xFF
        return self._mirror.read(name)

    def write(self, name: str, value: int) -> None:
        """Ask the device for something. Only REQUEST can be written while a kernel runs.

        Raises
        ------
        DeviceError
            For another register, or while an earlier request is being served.
        """
        self.check()
        if name != "REQUEST":
            raise DeviceError(f"{name} can't be written: XRT gives no access to registers while a kernel runs")
        if self.read("REQUEST") != Request.NONE:
            raise DeviceError("the device is still serving an earlier request: wait until REQUEST reads 0")
        number = read_counter(self._control, Counter.REQUESTS) >> 8
        write_counter(self._control, Counter.REQUESTS, number + 1 << 8 | value)

    def close(self) -> None:
        """Stop the kernel, which erases its keys, before its memory goes: the map is lost."""
        if self._run is None:
            return
        with suppress(DeviceError):  # the kernel does not run
            self._stopped(_STOP_SECONDS * self.patience)
        self._run = None
        self._holding.close()


def open_xrt(
    params: Params,
    *,
    ring_lines: int,
    key_file: str | os.PathLike[str] | None,
    xclbin: str | os.PathLike[str] | None = None,
    device: str | int = "0",
    kernel: str = KERNEL,
) -> XrtTransport:
    """Load a card's program and start its kernel, after the checks of :mod:`host.device.preflight`.

    Parameters
    ----------
    params : Params
        The map.
    ring_lines : int
        Lines of each ring.
    key_file : path or None
        Must be None: a card holds its own root key.
    xclbin : path
        The card's program.
    device : str or int
        The card, by number or by PCIe address such as ``0000:3b:00.1``.
    kernel : str
        Name of the kernel.

    Raises
    ------
    InputError
        For a root key, or without an xclbin.
    DeviceError
        If something is missing or does not fit. The error says what to do.
    """
    refuse_key(key_file)
    if xclbin is None:
        raise InputError("a card needs its program: give --xclbin")
    layout = BufferLayout(params, ring_lines)
    pyxrt = preflight.find_pyxrt()
    card = preflight.find_card(pyxrt, device)
    with ExitStack() as stack:
        stack.enter_context(held(preflight.address(pyxrt, card)))
        preflight.check_xclbin(pyxrt, card, xclbin, kernel)
        preflight.check_host_memory(pyxrt, card, layout.size)
        loaded = load(pyxrt, card, os.fspath(xclbin), kernel)
        return XrtTransport(layout, pyxrt, card, loaded, stack.pop_all())


def load(pyxrt: ModuleType, card: Any, xclbin: str, kernel: str) -> Any:
    """Load an xclbin and return its kernel, by the older or the newer interface, whichever this XRT supports."""
    try:
        try:
            return pyxrt.kernel(card, card.load_xclbin(xclbin), kernel)
        except (AttributeError, RuntimeError) as error:
            if not hasattr(pyxrt, "hw_context") or not _unsupported(error):
                raise
            uuid = card.register_xclbin(pyxrt.xclbin(xclbin))
            return pyxrt.kernel(pyxrt.hw_context(card, uuid), kernel)
    except Exception as error:
        raise DeviceError(preflight.load_failed(pyxrt, card, xclbin, error)) from None


def _unsupported(error: Exception) -> bool:
    return isinstance(error, AttributeError) or "not supported" in str(error).lower()
