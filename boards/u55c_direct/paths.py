"""Where paths may begin and end in the direct target: no path leads from the register BAR to HBM, or back.

The rules of :func:`design` follow paths

* forward from all that the host asks of the BAR: addresses, data, enables, handshakes;
* backward from all that is answered there;
* backward from all that is asked of host memory, which must come from the engine's host port alone;
* forward from all that host memory answers, which must end there, too;
* backward from all else that the PCIe core is told, which must come from its own configuration;
* forward from all that HBM answers to reads, which must end in the map;
* backward from all that reaches a port of HBM, which must come from the map's port for that channel, or from the
  clearing.

One module of ours is not followed: the one that carries a reset of the function through
(:class:`rtl.pcie.restart.Restart`). It hears three bits: that a reset is asked for, that nothing has begun on the
streams or the registers, and that no request to host memory is under way. It resets the card, and through its resets
everything would lead everywhere.
"""

from __future__ import annotations

from boards.check import engine_paths
from boards.check.connectivity import Design, Ends, Rule
from boards.u55c_direct import vendor
from boards.u55c_direct.top import MODULE

CORE = "card.core"
"""Place of the core in the top."""

ENDPOINT = "link.endpoint"
_RESTART = r"link\.endpoint\.restart"

FOLLOWED = (
    *("", "card", "card.hbm_sync", "card.gate", "card.clear", r"card.clear.channel_\d+", "link", ENDPOINT),
    rf"{ENDPOINT}\.(settings|merge|completer|reads|writes)(\.\w+)*",
    *engine_paths.followed(CORE),
)
"""Modules that paths are followed through, by their place below the top; a pattern each."""

_ASKED, _ANSWERED = r"pcie\.m_axis_cq_t\w+", r"pcie\.(s_axis_cc_t\w+|m_axis_cq_tready|pcie_cq_np_req)"
_REQUESTS, _COMPLETIONS = r"pcie\.(s_axis_rq_t\w+|pcie_rq_\w+)", r"pcie\.m_axis_rc_t\w+"
_LIMITS = r"pcie\.cfg_(max_payload|max_read_req|function_status|mgmt_\w+)"
_CARD_RESET = (r"pcie\.user_reset", rf"{_RESTART}\.card")
_LINK_RESET = (r"pcie\.user_reset", rf"{_RESTART}\.(link|open_)")
_CLEARING = (r"hbm\.AXI_\d\d_(AWREADY|WREADY|BRESP|BVALID)", r"hbm\.apb_complete_\d")

TAKES: Ends = {
    "the answer to the BAR": (_ANSWERED,),
    "that a reset waits for it": (rf"{_RESTART}\.ended",),
    **engine_paths.takes(CORE),
}
"""Where a path from the BAR may end."""

GIVES: Ends = {
    "what the BAR is asked": (_ASKED, r"pcie\.s_axis_cc_tready"),
    "reset": (*_CARD_RESET, rf"{_RESTART}\.open_"),
    "how the clearing of HBM goes": _CLEARING,
    **engine_paths.gives(CORE),
}
"""Where a path to the BAR may come from."""

REACHES, SHOWS = "the register BAR reaches {}", "the register BAR shows {}"
"""Findings of the first two rules, by which a report has the ends of their paths."""


def design(channels: int) -> Design:
    """Return what must hold of the top with so many channels of HBM."""
    link = {"what the host allows": (_LIMITS,), "answers": (_COMPLETIONS,), "reset": _LINK_RESET}
    rules = [
        Rule(REACHES, _ASKED, ("output",), False, TAKES),
        Rule(SHOWS, _ANSWERED, ("input",), True, GIVES),
        Rule(
            "host memory is asked {}",
            rf"{_REQUESTS}|pcie\.m_axis_rc_tready",
            ("input",),
            True,
            {"the host port": engine_paths.tells(CORE), "requests": (_REQUESTS,), **link},
            "nothing reaches host memory",
        ),
        Rule(
            "what host memory has answered reaches {}",
            _COMPLETIONS,
            ("output",),
            False,
            {
                "the host port": engine_paths.tells(CORE),
                "requests": (_REQUESTS,),
                "that a reset waits for it": (rf"{_RESTART}\.(idle|ended)",),
            },
            "nothing takes what host memory has answered",
        ),
        Rule(
            "the PCIe core is told {}",
            r"pcie\.cfg_\w+",
            ("input",),
            True,
            {"its configuration": (_LIMITS,), "reset": (*_LINK_RESET, rf"{_RESTART}\.done")},
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
                {"the map": engine_paths.drives(CORE, channel), "reset": _CARD_RESET, "the clearing": _CLEARING},
                f"nothing drives HBM port {channel}",
            ),
        ]
    return Design(MODULE, FOLLOWED, vendor.blocks(channels), tuple(rules))
