"""Where paths may begin and end in the direct target: no path leads from the register BAR to HBM, or back.

The rules of :func:`design` follow paths

* forward from all that the PCIe block says on the BAR's channels: addresses, data, strobes, handshakes;
* backward from all that is answered there;
* backward from all that the PCIe block hears for host memory, which must come from the engine's host port alone;
* forward from all that HBM answers to reads, which must end in the map;
* backward from all that reaches a port of HBM, which must come from the map's port for that channel, or from the
  clearing.
"""

from __future__ import annotations

from boards.check import engine_paths
from boards.check.connectivity import Design, Ends, Rule
from boards.u55c_direct import vendor
from boards.u55c_direct.top import MODULE

CORE = "card.core"
"""Place of the core in the top."""

FOLLOWED = (
    *("", "card", "card.hbm_sync", "card.bar", "card.gate", "card.clear", r"card.clear.channel_\d+"),
    *engine_paths.followed(CORE),
)
"""Modules that paths are followed through, by their place below the top; a pattern each."""

_BAR = r"pcie\.m_axib_\w+"
_RESET = r"pcie\.axi_aresetn"
_CLEARING = (r"hbm\.AXI_\d\d_(AWREADY|WREADY|BRESP|BVALID)", r"hbm\.apb_complete_\d")

TAKES: Ends = {"the answer to the BAR": (_BAR,), **engine_paths.takes(CORE)}
"""Where a path from the BAR may end."""

GIVES: Ends = {
    "what the BAR is asked": (_BAR,),
    "reset": (_RESET,),
    "how the clearing of HBM goes": _CLEARING,
    **engine_paths.gives(CORE),
}
"""Where a path to the BAR may come from."""

REACHES, SHOWS = "the register BAR reaches {}", "the register BAR shows {}"
"""Findings of the first two rules, by which a report has the ends of their paths."""


def design(channels: int) -> Design:
    """Return what must hold of the top with so many channels of HBM."""
    rules = [
        Rule(REACHES, _BAR, ("output",), False, TAKES),
        Rule(SHOWS, _BAR, ("input",), True, GIVES),
        Rule(
            "host memory is told {}",
            r"pcie\.s_axib_\w+",
            ("input",),
            True,
            {"the host port": engine_paths.tells(CORE)},
            "nothing reaches host memory",
        ),
    ]
    for channel in range(channels):
        port = rf"hbm\.{vendor.hbm_prefix(channel)}"
        rules += [
            Rule(
                f"what HBM port {channel} has read reaches {{}}",
                rf"{port}R(DATA|ID|LAST|RESP|VALID)",
                ("output",),
                False,
                {"the map": engine_paths.hears(CORE)},
                f"nothing takes what HBM port {channel} has read",
            ),
            Rule(
                f"HBM port {channel} depends on {{}}",
                rf"{port}(?!ACLK|ARESET_N)\w+",
                ("input", "output"),
                True,
                {"the map": engine_paths.drives(CORE, channel), "reset": (_RESET,), "the clearing": _CLEARING},
                f"nothing drives HBM port {channel}",
            ),
        ]
    return Design(MODULE, FOLLOWED, vendor.blocks(channels), tuple(rules))
