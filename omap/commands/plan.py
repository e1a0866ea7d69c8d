"""``omap plan``: what a map of a given size needs, what it moves, and how likely it is to run out."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, cast

import click

from omap.board import BOARDS
from omap.commands.numbers import SIZE
from omap.commands.tables import show
from omap.params import Rule
from omap.sizing.link import HEADER_BYTES, LINK_BITS_PER_SECOND, PAYLOAD_BYTES
from omap.units import format_bytes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from omap.sizing.plan import Plan
    from omap.sizing.planner import Prefer


# click passes every option as an argument of its own, so the signature is as long as the list of options
@click.command()
@click.option("--capacity", type=SIZE, required=True, help="Most keys that can be live at once, such as 100e6 or 2^20.")
@click.option("--key-bytes", type=SIZE, default="8", show_default=True, help="Bytes of every key: 4, 8 or 16.")
@click.option("--value-bytes", type=SIZE, default="64", show_default=True, help="Bytes of every value, 1 to 4096.")
@click.option("--hbm", type=SIZE, help="Bytes of HBM.  [default: 16GiB]")
@click.option(
    "--board", type=click.Choice([*BOARDS]), help="Card that the map is for; structures get whole channels of its HBM."
)
@click.option("--host", type=SIZE, help="Bytes of host memory for pages.  [default: any number]")
@click.option(
    "--rule", type=click.Choice([str(rule) for rule in Rule]), help="Placement rule.  [default: what is best]"
)
@click.option("--page-bytes", type=SIZE, help="Bytes of a page, a multiple of 64.  [default: what is best]")
@click.option(
    "--prefer",
    type=click.Choice(["bytes", "hbm"]),
    default="bytes",
    show_default=True,
    help="Move the fewest bytes, or use the least HBM.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    capacity: int,
    key_bytes: int,
    value_bytes: int,
    hbm: int | None,
    board: str | None,
    host: int | None,
    rule: str | None,
    page_bytes: int | None,
    prefer: str,
    as_json: bool,
) -> None:
    """Choose page size and structures for a map.

    Prints what they take in HBM and host memory, what an operation moves, and how unlikely it is that anything ever
    runs out. Exit code 2 means that nothing fits; the message names the bound that broke, and by how much.
    """
    from omap.sizing.planner import U55C_HBM_BYTES, plan

    chosen = plan(
        capacity=capacity,
        key_bytes=key_bytes,
        value_bytes=value_bytes,
        hbm_bytes=hbm,
        board=BOARDS[board] if board else None,
        host_bytes=host,
        rule=rule,
        page_bytes=page_bytes,
        prefer=cast("Prefer", prefer),
    )
    if as_json:
        click.echo(json.dumps(chosen.to_dict(), indent=2))
    else:
        _show(chosen, chosen.board.hbm_bytes if chosen.board else U55C_HBM_BYTES if hbm is None else hbm)


def _show(plan: Plan, hbm: int) -> None:
    from rich.console import Console

    console = Console()
    params = plan.params
    console.print(f"[bold]{params.rule}[/]: {plan.reason}.")
    if params.rule is Rule.RESIDENT:
        console.print(
            "This rule is for comparison: the accelerator implements one_choice alone. For a map that it can run, add "
            "--board or --rule one_choice."
        )
    for table in (_layout(plan, hbm), _moved(plan), _risks(plan)):
        show(table, console)
    _keys(plan, console)
    _window(plan, console)
    for name, risk in plan.risks.items():
        console.print(f"{name}: {risk.method}.", highlight=False, style="dim")


def _keys(plan: Plan, console: Console) -> None:
    if plan.wear_bits == math.inf:
        return
    console.print(
        f"Page keys: a new one every 2^{plan.params.epoch_bits} operations. After a year at "
        f"{plan.operations_per_second / 1e6:.1f} M operations a second, what the ciphertext of all pages tells has an "
        f"advantage of at most 2^-{math.floor(plan.wear_bits)} over guessing; the masks of tags are counted.\n"
    )


def _window(plan: Plan, console: Console) -> None:
    if plan.fits_host_window is not False:
        return
    assert plan.board is not None
    assert plan.board.host_window_bytes is not None
    console.print(
        f"[bold]Too large for the shell:[/] pages and rings take up to {format_bytes(plan.shared_bytes)} of host "
        f"memory; a kernel under the shell of a {plan.board.name.upper()} reaches "
        f"{format_bytes(plan.board.host_window_bytes)} of it. Build it for a target without the shell, or plan with "
        "--host.\n"
    )


def _grid(title: str, *headings: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=box.SIMPLE)
    table.add_column(headings[0])
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _layout(plan: Plan, hbm: int) -> Table:
    params = plan.params
    table = _grid(f"Memory for {params.capacity:,} keys", "", "count", "bytes each", "bytes", "a key")
    counts = {
        "position map": (f"{2 * params.buckets:,}", f"{params.bucket_bytes}"),
        "page descriptors": (f"{params.bins + params.further_lines:,}", f"{params.descriptor_bytes}"),
        "waiting slots": (f"{params.waiting_slots:,}", f"{params.slot_bytes:,}"),
        "free lists": (f"{params.waiting_slots + params.further_lines:,}", "4"),
    }

    def total(count: int) -> tuple[str, str]:
        return format_bytes(count), f"{count / params.capacity:.2f}"

    for name, count in params.hbm_account.items():
        if count:
            table.add_row(f"HBM: {name}", *counts[name], *total(count))
    table.add_row(f"HBM, {format_bytes(hbm)} given", "", "", *total(params.hbm_bytes), end_section=True)
    if params.pages:
        pages = f"{params.pages:,}", f"{params.page_bytes:,}"
        table.add_row(f"host memory: pages of {params.page_slots} tuples", *pages, *total(params.host_bytes))
    if plan.board and plan.channels:
        each = ", ".join(f"{name} {count}" for name, count in plan.channels.items())
        table.caption = (
            f"HBM channels of {format_bytes(plan.board.channel_bytes)}: {each}; "
            f"{sum(plan.channels.values())} of the {plan.board.pseudo_channels} of a {plan.board.name.upper()}."
        )
        table.caption_justify = "left"
    return table


def _moved(plan: Plan) -> Table:
    table = _grid("One operation", "", "")
    table.show_header = False
    table.add_row("page bytes read, and as many written", f"{plan.page_bytes_each_way:,.0f}")
    table.add_row("record bytes read, and as many written", f"{plan.record_bytes_each_way:,.1f}")
    table.add_row("page bytes, compared with the published rule (BOLT)", f"{plan.ratio_to_paper:.3f}")
    table.add_row("operations a second that PCIe Gen3 x16 allows", f"{plan.operations_per_second / 1e6:.1f} M")
    table.caption = (
        f"PCIe: {LINK_BITS_PER_SECOND / 1e9} Gb/s each way, {HEADER_BYTES} bytes beside each payload of at most "
    )
    table.caption += f"{PAYLOAD_BYTES}: a model fitted to pcie-bench (SIGCOMM 2018), not a measurement."
    table.caption_justify = "left"
    return table


def _risks(plan: Plan) -> Table:
    params = plan.params
    title = "Running out within 2^40 operations of the worst workload"
    table = _grid(title, "", "mean", "%", "provided", "%", "probability")

    def share(count: float) -> tuple[str, str]:
        return f"{count:,.0f}", f"{100 * count / params.capacity:.2f}"

    figures = {
        "position map": (*share(params.capacity), *share(params.entries + params.transit_entries)),
        "waiting slots": (*share(plan.mean_waiting), *share(params.waiting_slots)),
        "further lines": ("", "", *share(params.further_lines)),
    }
    for name, risk in plan.risks.items():
        table.add_row(name, *figures[name], "0" if risk.bits == math.inf else f"2^-{math.floor(risk.bits)}")
    return table
