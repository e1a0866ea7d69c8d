"""How many operations a second the PCIe link carries: a model, not a measurement.

Every operation moves its pages, and its share of a full record in each direction. A transfer is cut into payloads of at
most 256 bytes. While reads and writes run together, the direction from the device carries, beside each payload, the
header of the write and the request of a read, 24 bytes each. If payloads and these headers have 113.7 Gb/s, then PCIe
Gen3 x16 carries 65.0, 82.7 and 95.7 Gb/s of payload in each direction at 64, 128 and 256 bytes. These are the ceilings
of pcie-bench (Neugebauer et al., SIGCOMM 2018); the model interpolates between them.
"""

from __future__ import annotations

from omap.params import Params
from omap.wire import LINE_BYTES, RecordCodec

LINK_BITS_PER_SECOND = 113.7e9
"""Bits a second of PCIe Gen3 x16 in each direction, without line code and link-layer packets."""

PAYLOAD_BYTES = 256
"""Most bytes of payload in one packet."""

HEADER_BYTES = 48
"""Bytes beside one payload in the busier direction: 24 for the header of a write, 24 for the request of a read."""


def transfer_seconds(count: int) -> float:
    """Return for how many seconds a read of ``count`` bytes and a write of as many keep the link busy together."""
    return 8 * (count + HEADER_BYTES * -(-count // PAYLOAD_BYTES)) / LINK_BITS_PER_SECOND


def operations_per_second(params: Params) -> float:
    """Return the most operations a second that the link allows. Engine, HBM and host memory may allow fewer."""
    pages = params.page_touches * transfer_seconds(params.page_bytes)
    codec = RecordCodec(params)
    record = transfer_seconds(LINE_BYTES * codec.lines(codec.most_operations)) / codec.most_operations
    return 1 / (pages + record)
