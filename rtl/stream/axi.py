"""AXI ports as Amaranth signatures, with the standard's signal names, and the layouts of their channels.

Only what this project drives is there: INCR bursts of full beats, no lock, cache, protection, quality or region signals
(the board tops tie those off), and no WID: write data comes in the order of its addresses, as the HBM ports demand.
Sources: Arm IHI 0022 (AMBA AXI and ACE), AMD PG276 (AXI3 ports of the HBM controller).
"""

from typing import ClassVar

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from omap.errors import ParamsError

__all__ = [
    "BURST_INCR",
    "CHANNELS",
    "RESP_DECERR",
    "RESP_OKAY",
    "RESP_SLVERR",
    "AxiLiteSignature",
    "AxiReadSignature",
    "AxiSignature",
    "AxiWriteSignature",
    "connect_channel",
]

BURST_INCR = 0b01
"""AxBURST of an incrementing burst, the only kind used."""

RESP_OKAY, RESP_SLVERR, RESP_DECERR = 0b00, 0b10, 0b11
"""Values of RRESP and BRESP."""

CHANNELS = {
    "aw": ("id", "addr", "len", "size", "burst"),
    "w": ("data", "strb", "last"),
    "b": ("id", "resp"),
    "ar": ("id", "addr", "len", "size", "burst"),
    "r": ("id", "data", "resp", "last"),
}
"""Payload signals of each channel, without the channel's prefix."""

MAX_BURST = {3: 16, 4: 256}
"""Longest burst in beats, by version of AXI."""


class _AxiSignature(wiring.Signature):
    """Signals of a set of channels as the master sees them; the base of the three signatures below."""

    channels: tuple[str, ...] = ()

    def __init__(self, *, addr_width, data_width, id_width, version=4):
        if version not in MAX_BURST:
            raise ParamsError(f"version is {version!r}; AXI {' and '.join(map(str, MAX_BURST))} are known")
        if data_width not in (32, 64, 128, 256, 512, 1024):
            raise ParamsError(f"data_width is {data_width!r}; AXI allows powers of two from 32 to 1024 here")
        if not 12 <= addr_width <= 64:
            raise ParamsError(f"addr_width is {addr_width!r}; it must be 12 (one 4 KB window) to 64")
        if not 1 <= id_width <= 16:
            raise ParamsError(f"id_width is {id_width!r}; it must be 1 to 16")
        self.addr_width, self.data_width, self.id_width, self.version = addr_width, data_width, id_width, version
        members = {}
        for channel in self.channels:
            forward, backward = (In, Out) if channel in "br" else (Out, In)
            for name, shape in self.layout(channel).members.items():
                members[channel + name] = forward(shape)
            members[channel + "valid"] = forward(1)
            members[channel + "ready"] = backward(1)
        super().__init__(members)

    @property
    def max_burst(self):
        """Longest burst in beats."""
        return MAX_BURST[self.version]

    @property
    def beat_bytes(self):
        """Bytes of one beat."""
        return self.data_width // 8

    @property
    def full_size(self):
        """AxSIZE of a full beat."""
        return (self.beat_bytes - 1).bit_length()

    def layout(self, channel):
        """Return the payload of ``channel`` (a key of :data:`CHANNELS`) as a ``StructLayout``."""
        shapes = {
            "id": self.id_width,
            "addr": self.addr_width,
            "len": (self.max_burst - 1).bit_length(),
            "size": 3,
            "burst": 2,
            "data": self.data_width,
            "strb": self.data_width // 8,
            "last": 1,
            "resp": 2,
        }
        return data.StructLayout({name: shapes[name] for name in CHANNELS[channel]})

    def stream(self, channel):
        """Return the stream signature that carries the payload of ``channel``."""
        return stream.Signature(self.layout(channel))

    def __eq__(self, other):
        return type(self) is type(other) and repr(self) == repr(other)

    def __repr__(self):
        return (
            f"{type(self).__name__}(addr_width={self.addr_width}, data_width={self.data_width}, "
            f"id_width={self.id_width}, version={self.version})"
        )


class AxiReadSignature(_AxiSignature):
    """Read channels of an AXI master: ``ar*`` out, ``r*`` in.

    Parameters
    ----------
    addr_width, data_width, id_width : int
        Bits of an address (12 to 64), of a beat (32 to 1024, a power of two) and of an ID (1 to 16).
    version : int
        4, or 3 for bursts of at most 16 beats.

    Raises
    ------
    ParamsError
        If a width or the version is out of range.
    """

    channels = ("ar", "r")


class AxiWriteSignature(_AxiSignature):
    """Write channels of an AXI master: ``aw*`` and ``w*`` out, ``b*`` in. Parameters as :class:`AxiReadSignature`."""

    channels = ("aw", "w", "b")


class AxiSignature(_AxiSignature):
    """All five channels of an AXI master. Parameters as :class:`AxiReadSignature`."""

    channels = ("aw", "w", "b", "ar", "r")


class AxiLiteSignature(wiring.Signature):
    """All channels of an AXI4-Lite master; a slave has it as ``In``. No protection signals: all access is alike.

    Parameters
    ----------
    addr_width, data_width : int
        Bits of an address (12 to 64) and of a word (32 or 64).

    Raises
    ------
    ParamsError
        If a width is out of range.
    """

    channels: ClassVar = {
        "aw": ("addr",),
        "w": ("data", "strb"),
        "b": ("resp",),
        "ar": ("addr",),
        "r": ("data", "resp"),
    }

    def __init__(self, *, addr_width, data_width=32):
        if data_width not in (32, 64):
            raise ParamsError(f"data_width is {data_width!r}; AXI4-Lite allows 32 or 64")
        if not 12 <= addr_width <= 64:
            raise ParamsError(f"addr_width is {addr_width!r}; it must be 12 (one 4 KB window) to 64")
        self.addr_width, self.data_width = addr_width, data_width
        shapes = {"addr": addr_width, "data": data_width, "strb": data_width // 8, "resp": 2}
        members = {}
        for channel, names in self.channels.items():
            forward, backward = (In, Out) if channel in "br" else (Out, In)
            members |= {channel + name: forward(shapes[name]) for name in names}
            members |= {channel + "valid": forward(1), channel + "ready": backward(1)}
        super().__init__(members)

    def __eq__(self, other):
        return type(self) is type(other) and repr(self) == repr(other)

    def __repr__(self):
        return f"AxiLiteSignature(addr_width={self.addr_width}, data_width={self.data_width})"


def connect_channel(m, axi, channel, flow):
    """Connect one channel of an AXI port with a stream of its layout, whichever way the channel runs.

    Parameters
    ----------
    m : Module
        Where to add the statements.
    axi : interface object of one of the signatures above
        The port of a master (or the flipped port of a slave).
    channel : str
        Key of :data:`CHANNELS`.
    flow : stream interface
        Payload as ``layout`` of the port gives it. A producer for ``aw``, ``w``, ``ar``; a consumer for ``b``, ``r``.
    """
    names = CHANNELS[channel]
    valid, ready = getattr(axi, channel + "valid"), getattr(axi, channel + "ready")
    if channel in ("b", "r"):
        m.d.comb += [flow.valid.eq(valid), ready.eq(flow.ready)]
        m.d.comb += [flow.p[name].eq(getattr(axi, channel + name)) for name in names]
    else:
        m.d.comb += [valid.eq(flow.valid), flow.ready.eq(ready)]
        m.d.comb += [getattr(axi, channel + name).eq(flow.p[name]) for name in names]
