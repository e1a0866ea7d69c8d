"""The maps that the contract suite runs over: every back end that is done stands in this list."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from host.device.driver import Driver
from host.device.transport import Transport
from host.keyfile import read_root_file, write_root_file
from omap.device import DeviceModel
from omap.hazmat.inspect import contents
from omap.interface import ObliviousMap
from omap.map import create
from omap.params import Rule
from omap.trace import Observer
from sim.device.backend import RtlMap, show_format, show_operations
from sim.device.driver_map import DriverMap
from sim.device.known import fixed_formats
from tests.support.host import transports
from tests.support.omap_maps import tight
from tests.support.rtl.engines import TIGHT
from tests.support.rtl.shared import shared_engines


@dataclass
class Subject:
    """A map under test.

    Attributes
    ----------
    map : ObliviousMap
        The map.
    observer : Observer
        What its host saw.
    check : callable
        Compares the map's state with the dict, as far as the state can be read.
    scans : bool
        Whether a bulk load is a scan over all pages.
    close : callable
        Closes what the map needs.
    """

    map: ObliviousMap
    observer: Observer
    check: Callable[[dict[bytes, bytes]], None]
    scans: bool = True
    close: Callable[[], None] = lambda: None


def reference(name: str, rule: Rule) -> Subject:
    """Return a reference map, its oracle of host traffic included."""
    observer = Observer()
    made = create(tight(name, rule), observer=observer)

    def check(oracle: dict[bytes, bytes]) -> None:
        if rule is not Rule.RESIDENT:
            assert contents(made) == oracle

    return Subject(made, observer, check)


class ShadowedRtl(RtlMap):
    """The accelerator in simulation, and a reference with the same secrets that runs the same operations."""

    shadow: Any = None

    def __init__(self, *, observer: Observer) -> None:
        self.shadow_observer = Observer()
        self.secrets = fixed_formats("contract")
        with shared_engines():
            super().__init__(TIGHT.params, observer=observer, fixed="contract")

    def format(self) -> None:
        if self.shadow is None:
            self.shadow = create(TIGHT.params, observer=self.shadow_observer, secrets=self.secrets)
        else:
            self.shadow.format()
        super().format()
        self.compare()

    def execute(self, batch):
        responses = super().execute(batch)
        assert self.shadow.execute(batch) == responses
        self.compare()
        return responses

    def compare(self) -> None:
        """Compare the page accesses since the last comparison, and host memory byte for byte."""
        ours, theirs = self._observer.trace(), self.shadow_observer.trace()
        count = len(theirs)
        for column in ("address", "length", "write"):
            assert (getattr(ours, column)[len(ours) - count :] == getattr(theirs, column)).all()
        self.shadow_observer.clear()
        assert self.pages() == bytes(self.shadow.host.data)


def rtl() -> Subject:
    """Return the accelerator in simulation, which is compared with a reference after each step."""
    observer = Observer()
    made = ShadowedRtl(observer=observer)

    def check(oracle: dict[bytes, bytes]) -> None:
        assert contents(made.shadow) == oracle  # its host memory equals the accelerator's, see compare()

    return Subject(made, observer, check, scans=False)


class DrivenMap(DriverMap):
    """A map behind a transport. A device model feeds the observer itself; for a top, this class shows it the bus."""

    def __init__(self, transport: Transport, root_key: bytes, observer: Observer) -> None:
        self._machine, self._observer = getattr(transport, "machine", None), observer
        self.run = getattr(getattr(self._machine, "card", None), "run", None)
        driver = Driver(transport, transport.layout.params, timeout=transports.PATIENCE)
        super().__init__(driver, root_key, format_seconds=transports.PATIENCE)

    def format(self) -> None:
        super().format()
        self._show(show_format)

    def execute(self, batch):
        responses = super().execute(batch)
        if batch:
            self._show(show_operations)
        return responses

    def _show(self, show: Any) -> None:
        if self.run is not None:
            with self._machine.still():
                show(self.run, self._observer)


def driven(name: str) -> Subject:
    """Return a map behind a driver and a transport, by the name of the transport."""
    observer = Observer()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        write_root_file(key_file := folder / "root.key")
        params = transports.fitting(name, tight("TINY", Rule.ONE_CHOICE), key_file)
        opened = transports.opened(name, params, key_file, tmp_path=folder, observer=observer)
        transport = stack.enter_context(opened)
        made = DrivenMap(transport, read_root_file(key_file), observer)
        close = stack.pop_all().close

    def check(oracle: dict[bytes, bytes]) -> None:
        card = transport.machine.card if hasattr(transport, "machine") else transport
        device: DeviceModel | None = getattr(card, "device", None)
        if device is not None:
            assert contents(device._map) == oracle

    return Subject(made, observer, check, scans=False, close=close)
