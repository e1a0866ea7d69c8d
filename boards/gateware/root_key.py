"""The root key of a card is a constant in its bitstream, in a module that a build has only if a key file is given."""

from __future__ import annotations

from amaranth.hdl import Instance, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out

from omap.errors import InputError
from omap.session import ROOT_KEY_BYTES

MODULE = "omap_root_key"
"""The Verilog module that holds the key; its one port is :data:`PORT`."""

PORT = "o_key"
BITS = 8 * ROOT_KEY_BYTES


class RootKey(wiring.Component):
    """Offers the key from the first cycle on; the engine takes it once.

    Members
    -------
    o : Out(stream.Signature(256))
        The key, byte 0 in the lowest bits.
    """

    def __init__(self) -> None:
        super().__init__({"o": Out(stream.Signature(BITS))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.key = Instance(MODULE, **{f"o_{PORT}": self.o.p})
        m.d.comb += self.o.valid.eq(1)
        return m


def verilog(key: bytes) -> str:
    """Return the module with a key. It is SECRET: whoever reads the text has the card.

    Raises
    ------
    InputError
        If the key has another size.
    """
    if len(key) != ROOT_KEY_BYTES:
        raise InputError(f"a root key has {ROOT_KEY_BYTES} bytes; {len(key)} came")
    value = int.from_bytes(key, "little")
    return (
        f"module {MODULE}({PORT});\n"
        f"  output [{BITS - 1}:0] {PORT};\n"
        f"  assign {PORT} = {BITS}'h{value:0{BITS // 4}x};\n"
        "endmodule\n"
    )
