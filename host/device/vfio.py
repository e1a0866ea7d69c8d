"""The transport ``vfio``: a card that is a plain PCIe device, without XRT (the target ``u55c_direct``).

Registers are BAR 0, read and written by single loads and stores of 32 bits. The shared buffer belongs to this process:
huge pages if there are any. The IOMMU maps the buffer for the card, and lets the card reach nothing else. There are no
interrupts: the host polls.

The order of the steps keeps the machine safe. A card may use the bus only after it was reset, after its identity was
checked, and after its buffer was zeroed and mapped; it loses the bus before the buffer is freed. If this process ends
in any other way, the kernel takes the same steps.

When the process ends, pages and map are gone, so that no other driver can take over. Opening a card resets it, so that
the map of an earlier driver is lost as well. The host's processor sees what the card writes without further calls
(x86: coherent).

The host learns every access to the buffer, and the public registers, as with any device. Whether the host can reach
device memory is what the board says in MODE; this module can't verify it.

It was tested against a stand-in for the kernel, not against a card.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import time
from contextlib import ExitStack

from host.device import preflight_vfio as preflight
from host.device.transport import MAP_LOST, Transport, refuse_key
from host.device.vfio_card import SUPERPAGE, VfioCard
from host.device.vfio_system import Mapping, Memory, System
from omap.board import BOARDS, DIRECT_DEVICE, LINK_RATES
from omap.errors import DeviceError
from omap.params import Params
from omap.regmap import BY_NAME, IDENTITY, MIRROR, REGISTER_BYTES, RegisterFile, Request, State
from omap.wire import BufferLayout

WINDOW_BYTES = 4096
"""Bytes of BAR 0 that are mapped: one page, the least that can be mapped."""

_BOARD = BOARDS["u55c"]
WANTED = preflight.Wanted(
    vendor=_BOARD.pci_vendor,
    device=DIRECT_DEVICE,
    speed=LINK_RATES[_BOARD.pcie_generation],
    width=_BOARD.pcie_lanes,
)
"""How the card identifies itself on its bus."""

REACH = range(1 << 64)
"""Bus addresses that the card can form."""

_ONES = 0xFFFFFFFF
"""What a load returns if no device answers."""

_GIGABYTE = 1 << 30
_WAKE_SECONDS = 10.0
"""How long a card may take after a reset until its link and HBM are up and HBM is zeroed."""
_SHOW_SECONDS = 5.0
"""How long a started card may take to write its registers into the buffer."""
_STOP_SECONDS = 5.0
"""How long a card may take until it has stopped."""

_log = logging.getLogger("omap.vfio")


class VfioTransport(Transport):
    """A card that runs, and the buffer that it shares with this process.

    Parameters
    ----------
    layout : BufferLayout
        Where things lie in the buffer.
    system : System
        The machine.
    card : VfioCard
        The card, just opened. The transport closes it, also if this fails.

    Reveals
        To the host: every access to the buffer, and the public registers.

    Raises
    ------
    DeviceError
        If the card is no map, can't be given memory, or shows no sign of life. The error says what to look at.
    """

    def __init__(self, layout: BufferLayout, system: System, card: VfioCard) -> None:
        super().__init__(layout)
        self._system, self._card = system, card
        self._registers: Mapping | None = None
        self._stack = ExitStack()
        try:
            self._stack.callback(card.close)
            self._bring_up()
            memory = self._share()
            self.buffer = memory.view[: layout.size]
            self._start()
        except BaseException:
            self._let_go()
            raise

    # -- opening --------------------------------------------------------------------------------------------------

    def _bring_up(self) -> None:
        """Find out what the card is, and reset it. It does not use the bus yet."""
        card = self._card
        ids = card.ids()
        if ids == (_ONES & 0xFFFF, _ONES >> 16):
            raise self._gone()
        if ids != (WANTED.vendor, WANTED.device):
            raise DeviceError(
                f"{card.address} is {ids[0]:04x}:{ids[1]:04x}, not {WANTED.ids}: check the address, and that the "
                "bitstream of the direct target is loaded"
            )
        card.enable(bus_master=False)
        self._registers = registers = card.registers(WINDOW_BYTES)
        self._stack.callback(registers.close)
        if self._is_running():
            _log.warning("%s was running: its driver has died; %s", card.address, MAP_LOST)
        if card.resets:
            card.reset()
            card.enable(bus_master=False)
        self._wait_until_awake()
        if self._is_running():
            raise DeviceError(
                f"{card.address} runs for a driver that has died and can't be reset through VFIO: load its bitstream "
                f"again, or restart the machine; {MAP_LOST}"
            )

    def _wait_until_awake(self) -> None:
        """Wait for the link (before that, reads give ones) and for HBM (before that, 0); then check the identity."""
        end = time.monotonic() + _WAKE_SECONDS
        while (identity := self._load("IDENTITY")) in (0, _ONES):
            if identity == 0 and BY_NAME["STATUS"].field("state", self._load("STATUS")) == State.FAULT:
                raise DeviceError(
                    f"{self._card.address} has failed before it was ready: its HBM could not be zeroed; load its "
                    "bitstream again, and try another card if that does not help"
                )
            if time.monotonic() > end:
                if identity:
                    raise self._gone()
                raise DeviceError(
                    f"{self._card.address} is not ready after {_WAKE_SECONDS:g} s: does HBM have its clock, and is "
                    "this an omap card at all?"
                )
            time.sleep(1e-3)
        if identity != IDENTITY:
            raise DeviceError(
                f"{self._card.address} is no oblivious map: its identity is {identity:#010x}, not {IDENTITY:#010x}; "
                "check which bitstream is loaded"
            )

    def _is_running(self) -> bool:
        if self._load("IDENTITY") != IDENTITY:
            return False
        return not BY_NAME["CTRL"].field("idle", self._load("CTRL"))

    def _share(self) -> Memory:
        """Make the buffer, zero it, and map it for the card."""
        memory = self._allocate()
        self._stack.callback(memory.close)
        memory.clear()
        address = self._card.share(memory, REACH)
        self._stack.callback(self._card.unshare, address, len(memory.view))
        self._store("BUFFER_LOW", address & 0xFFFFFFFF)
        self._store("BUFFER_HIGH", address >> 32)
        self._store("RING_LINES", self.layout.ring_lines)
        return memory

    def _allocate(self) -> Memory:
        size = self.layout.size
        for page in (_GIGABYTE, SUPERPAGE):
            if page <= max(size, SUPERPAGE):  # no gigabyte for less
                with contextlib.suppress(OSError):
                    return self._system.allocate(size, page)
        _log.warning("%s", preflight.huge_pages_missing(self._system, size, SUPERPAGE))
        try:
            return self._system.allocate(size, mmap.PAGESIZE)
        except OSError as error:
            raise DeviceError(f"there is no memory for {size} bytes ({error.strerror}): plan a smaller map") from None

    def _start(self) -> None:
        self._stack.callback(self._take_bus)
        self._card.enable(bus_master=True)
        self._store("CTRL", 1 << BY_NAME["CTRL"].fields[0].low)
        mirror = RegisterFile(self.buffer[MIRROR : MIRROR + REGISTER_BYTES])
        end = time.monotonic() + _SHOW_SECONDS
        while not mirror.read("IDENTITY"):
            self.check()
            if time.monotonic() > end:
                raise DeviceError(
                    f"{self._card.address} was started and has written nothing into host memory: `dmesg` shows whether "
                    "the IOMMU refused an access (DMAR, AMD-Vi) or the link had errors (AER)"
                )
            time.sleep(1e-3)
        self.check()

    # -- registers ------------------------------------------------------------------------------------------------

    def _load(self, name: str) -> int:
        if self._registers is None:
            raise DeviceError("the device is gone: the transport was closed; open it again")
        return self._registers.load(BY_NAME[name].offset)

    def _store(self, name: str, value: int) -> None:
        self.check()
        assert self._registers is not None
        self._registers.store(BY_NAME[name].offset, value)

    def _gone(self) -> DeviceError:
        address = self._card.address
        return DeviceError(
            f"the card {address} is gone: every read gives ones, so it has fallen off the bus or its bitstream was "
            f"replaced; `lspci -s {address}` and `dmesg` say more; load its bitstream and restart the machine; "
            f"{MAP_LOST}"
        )

    def check(self) -> None:
        """Raise DeviceError if the card does not answer any more."""
        if self._load("IDENTITY") == _ONES:
            raise self._gone()

    def read(self, name: str) -> int:
        """Return a register's value."""
        value = self._load(name)
        if value == _ONES:
            self.check()
        return value

    def write(self, name: str, value: int) -> None:
        """Set a register.

        Raises
        ------
        DeviceError
            If the card is gone, or if REQUEST is written while the card serves an earlier request.
        """
        if name == "REQUEST" and self.read(name) != Request.NONE:
            raise DeviceError("the device is still serving an earlier request: wait until REQUEST reads 0")
        self._store(name, value)

    # -- closing --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop the card, which erases its keys, then take the bus and the buffer from the card. The map is lost."""
        if self._registers is None:
            return
        try:
            self._stop()
        finally:
            self._let_go()

    def _stop(self) -> None:
        try:
            if self._is_running() and not self._stopped(_STOP_SECONDS):
                _log.warning("%s did not stop; the bus is taken from it", self._card.address)
        except DeviceError:
            pass  # the card does not answer

    def _take_bus(self) -> None:
        with contextlib.suppress(OSError):  # a card that fell off the bus
            self._card.enable(bus_master=False)

    def _let_go(self) -> None:
        self._registers = None
        self.buffer = memoryview(b"")
        self._stack.close()


def open_vfio(
    params: Params,
    *,
    ring_lines: int,
    key_file: str | os.PathLike[str] | None,
    device: str | None = None,
    system: System | None = None,
) -> VfioTransport:
    """Open a card and start it, after the checks of :mod:`host.device.preflight_vfio`.

    Parameters
    ----------
    params : Params
        The map.
    ring_lines : int
        Lines of each ring.
    key_file : path or None
        Must be None: a card holds its own root key.
    device : str, optional
        The card's PCIe address, such as ``0000:3b:00.0``; needed only if there are several.
    system : System, optional
        The machine; anything but the default is for tests.

    Raises
    ------
    InputError
        For a root key, or for a name that is no address.
    DeviceError
        If something is missing or does not fit. The error says what to do.
    """
    refuse_key(key_file)
    layout = BufferLayout(params, ring_lines)
    system = System() if system is None else system
    address = preflight.find_card(system, device, WANTED)
    group = preflight.check_card(system, address)
    preflight.check_limit(system, layout.size)
    for remark in preflight.remarks(system, address, WANTED):
        _log.warning("%s", remark)
    return VfioTransport(layout, system, VfioCard(system, address, group))
