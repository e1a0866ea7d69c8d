"""What the engine takes from the registers, what it shows in them, and what it says to its memories, as ends of paths.

The lists are for every target whose top has a :class:`boards.gateware.core.BoardCore`; see
:mod:`boards.check.connectivity`. Each is the whole list: what it does not name must not be reached.
"""

from __future__ import annotations

from boards.check.connectivity import Ends


def followed(core: str) -> tuple[str, ...]:
    """Return the modules that hold the registers, by their places; ``core`` is the place of the core in the top."""
    return (core, *(f"{core}.engine{part}" for part in ("", ".csr", ".control")))


def takes(core: str) -> Ends:
    """Return where a path from the registers may end in the core, also through the registers' control state."""
    return {
        "where the shared buffer is, and how long its rings are": _parts(core, core="base", ring="base ring_lines"),
        "what is kept of the map": _parts(core, core="scan drop", sessions="begin export restore", ring="restore"),
        "whether it runs": _parts(core, ring="run serve", sessions="open_"),
        "requests": _parts(
            core,
            core="format",
            sessions="(clear|format)",  # one port: the generator may name it after the input inside that it drives
            ring="o_request__ready i_request_done__valid i_mirror__valid i_mirror__payload",
        ),
        "erasure": _parts(core, core="erase", sessions="erase", port="abort"),
    }


def gives(core: str) -> Ends:
    """Return where a path to the registers may come from: single bits, but for a request that came through the ring."""
    return {
        "faults": (
            *_parts(core, core="page_fault exhausted bus_fault", port="error"),
            rf"{core}\.entropy\.failed",
        ),
        "progress of requests": _parts(
            core,
            core="formatted idle",
            sessions="idle begun exported restored failed",
            ring="journal_told i_mirror__ready o_request__valid o_request__payload i_request_done__ready",
        ),
    }


def drives(core: str, channel: int) -> tuple[str, ...]:
    """Return where a path to an HBM channel may come from in the core: the map."""
    return (rf"{core}\.engine\.core\.m_axi_hbm__{channel}__\w+",)


def tells(core: str) -> tuple[str, ...]:
    """Return where a path to host memory may come from: the host port, by whatever names its outputs have."""
    return (rf"{core}\.engine\.port\.\w+",)


def hears(core: str) -> tuple[str, ...]:
    """Return where a path from what HBM has read may end: the map, which may name its inputs after its insides."""
    return (rf"{core}\.engine\.core\.\w+",)


def _parts(place: str, **ports: str) -> tuple[str, ...]:
    """Return patterns of ports of the engine's parts."""
    return tuple(rf"{place}\.engine\.{part}\.{name}" for part, names in ports.items() for name in names.split())
