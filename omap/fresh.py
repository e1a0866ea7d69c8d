"""Fresh values of a device: the secrets of its formats, its nonces, and the ids of its snapshots.

No such value is noise as it comes. Each is derived under the root key, from the device's id, 32 bytes of noise and a
counter, as :data:`omap.kdf.FORMAT`, :data:`omap.kdf.NONCE` and :data:`omap.kdf.EXPORT` say. So noise that can be
predicted, or stands still, gives nothing away and repeats no value. The counter is one for all values and starts at 0
with the device. If a device is reset and then gets the same noise once more, its values repeat; a device without memory
can't prevent that.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from omap.crypto import Secrets
from omap.errors import InputError
from omap.kdf import EXPORT, FORMAT, NONCE, Derivation

DEVICE_ID_BYTES, NOISE_BYTES, COUNTER_BYTES = FORMAT.context.values()
NO_DEVICE_ID = bytes(DEVICE_ID_BYTES)
"""Id of a device that has none."""


def system_noise() -> bytes:
    """Return noise of the operating system, 32 bytes of it."""
    return secrets.token_bytes(NOISE_BYTES)


class Fresh:
    """Makes the fresh values of one device, from its start on.

    The first value is a nonce. Whenever a nonce has been taken, the next one is made at once, before any other value.
    So a device has a nonce when a client asks for it, and the order of the values follows from what was taken when.

    Parameters
    ----------
    root_key : bytes
        32 secret bytes.
    device_id : bytes
        12 public bytes that no other device with this root key has.
    noise : callable
        Gives 32 bytes for each value.

    Raises
    ------
    InputError
        If the device id has another length.
    """

    def __init__(
        self, root_key: bytes, *, device_id: bytes = NO_DEVICE_ID, noise: Callable[[], bytes] = system_noise
    ) -> None:
        if len(device_id) != DEVICE_ID_BYTES:
            raise InputError(
                f"a device id has {DEVICE_ID_BYTES} bytes, not {len(device_id)}: fill a shorter one up with zeros"
            )
        self._root_key, self._device_id, self._noise = root_key, device_id, noise
        self._counter = 0
        self._nonce = self._derive(NONCE)

    def _derive(self, value: Derivation) -> bytes:
        counter = self._counter.to_bytes(COUNTER_BYTES, "big")
        self._counter += 1
        # SEC_CM: FRESH.VALUE.UNIQUE -- id and counter differ where the noise does not
        context = self._device_id, self._noise(), counter
        # SEC_CM: FRESH.VALUE.KEYED -- whoever knows the noise still needs the root key
        return value.derive(self._root_key, *context)

    def secrets(self) -> Secrets:
        """Return the secrets of a format. Reveals, once the map is used, its id."""
        return Secrets.unpack(self._derive(FORMAT))

    def export_id(self) -> bytes:
        """Return the 16-byte id of a snapshot, which is public."""
        return self._derive(EXPORT)

    def nonce(self) -> bytes:
        """Return the 16-byte nonce of a handshake, which is public."""
        nonce, self._nonce = self._nonce, self._derive(NONCE)
        return nonce
