"""The transport ``model``: the model in this process, in a thread or stepped by hand.

Then this process holds the root key. That is acceptable in tests, in trials, and on a machine that is trusted anyway. A
relay takes the transport ``process``.
"""

from __future__ import annotations

import os
import socket
import threading

from host.keyfile import read_root_file
from host.model.choice import choose, maker_of_device
from host.model.shared import WINDOW_BYTES, SharedTransport, device_registers, memory_bytes, run_device
from omap.device import STEP_OPERATIONS
from omap.errors import InputError
from omap.params import Params
from omap.trace import Observer
from omap.wire import RING_LINES, BufferLayout


class ModelTransport(SharedTransport):
    """A :class:`~omap.device.DeviceModel` behind the interface of a transport.

    Parameters
    ----------
    params : Params
        The map.
    root_key : bytes
        32 secret bytes.
    ring_lines : int
        Lines of each ring.
    stepped : bool
        Run the device only in :meth:`wait` and :meth:`step`, not in a thread.
    observer : Observer, optional
        Records every access to the pages.
    model : str, optional
        Which map runs, see :mod:`host.model.choice`.
    journal : bool
        Whether the device writes a journal.

    Attributes
    ----------
    device : DeviceModel
        The device.

    Reveals
        To the host: every access to the shared buffer, and the root key, because it is in this process.
    """

    # Many: a model stands for a card with all its options; all but two have defaults.
    def __init__(
        self,
        params: Params,
        root_key: bytes,
        *,
        ring_lines: int = RING_LINES,
        stepped: bool = False,
        observer: Observer | None = None,
        model: str | None = None,
        journal: bool = False,
    ) -> None:
        layout = BufferLayout(params, ring_lines)
        memory = memoryview(bytearray(memory_bytes(layout)))
        self.device = maker_of_device(choose(model, params))(
            params,
            root_key,
            memory[WINDOW_BYTES:],
            ring_lines=ring_lines,
            journal=journal,
            registers=device_registers(memory),
            observer=observer,
        )
        bell, self._far_end = socket.socketpair()
        super().__init__(layout, memory, bell)
        self._stepped = stepped
        self._thread = threading.Thread(target=self._run, args=(memory,), name="omap-device", daemon=True)
        if not stepped:
            self._thread.start()

    def _run(self, memory: memoryview) -> None:
        try:
            run_device(self.device, memory, self._far_end)
        finally:  # if the model has a defect, the host notices that the device is gone
            self._far_end.close()

    def step(self, limit: int = STEP_OPERATIONS) -> int:
        """Run a stepped device for some records, see :meth:`omap.device.DeviceModel.step`."""
        return self.device.step(limit)

    def wait(self, timeout: float, turn: int = 0) -> None:
        """Sleep until the device rings; run a stepped device."""
        if not self._stepped:
            super().wait(timeout, turn)
            return
        self.check()
        self.step()

    def close(self) -> None:
        """Stop the device. Its keys and the map are gone."""
        super().close()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._far_end.close()


# Many: a model stands for a card with all its options; all but three have defaults.
def open_model(
    params: Params,
    *,
    ring_lines: int,
    key_file: str | os.PathLike[str] | None,
    stepped: bool = False,
    observer: Observer | None = None,
    model: str | None = None,
    journal: bool = False,
) -> ModelTransport:
    """Open the transport with the root key of a file; see :class:`ModelTransport`.

    Raises
    ------
    InputError
        If there is no usable root key file.
    """
    if key_file is None:
        raise InputError("a model needs a root key file: `omap provision FILE` writes one")
    key = read_root_file(key_file)
    return ModelTransport(
        params, key, ring_lines=ring_lines, stepped=stepped, observer=observer, model=model, journal=journal
    )
