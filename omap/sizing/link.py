"""How many operations a second the PCIe link carries: a model, not a measurement.

Every operation moves its pages and one record each way. A transfer is cut into payloads of at most 256 bytes; while
reads and writes run together, the device's direction carries the write's header and the read's request beside each
payload, 24 bytes each. With 113.7 Gb/s for payloads and these headers, PCIe Gen3 x16 comes to 65.0, 82.7 and 95.7
Gb/s each way at 64, 128 and 256 bytes: the ceilings of pcie-bench (Neugebauer et al., SIGCOMM 2018), which this
interpolates.
"""

from __future__ import annotations

from omap.params import Params, Rule
from omap.wire import RecordCodec

LINK_BITS_PER_SECOND = 113.7e9
"""PCIe Gen3 x16, each way, after line code and link-layer packets."""

PAYLOAD_BYTES = 256
"""Most bytes of one packet."""

HEADER_BYTES = 48
"""What a packet each way costs beside its payload in the busier direction: 24 for the write, 24 for a read request."""


def pages_per_operation(params: Params) -> float:
    """Return how many pages an operation reads, and writes, on average: 1, or Binomial(2, 1 - alpha) for two_choice."""
    if params.rule is Rule.RESIDENT:
        return 0.0
    return 2.0 * params.pages / params.bins if params.rule is Rule.TWO_CHOICE else 1.0


def transfer_seconds(count: int) -> float:
    """Return how long a read of ``count`` bytes together with a write of as many keeps the link busy."""
    return 8 * (count + HEADER_BYTES * -(-count // PAYLOAD_BYTES)) / LINK_BITS_PER_SECOND


def operations_per_second(params: Params) -> float:
    """Return what the link allows at most; engine, HBM and host memory are not in this figure."""
    pages = pages_per_operation(params) * transfer_seconds(params.page_bytes)
    return 1 / (pages + transfer_seconds(RecordCodec(params).record_bytes))
