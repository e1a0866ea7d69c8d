"""README.md of a build folder: what is in it, and the steps from it to a card that serves."""

from __future__ import annotations

import shlex

from boards.folder import disk as folders
from boards.folder import registers, steps
from boards.target import Plan
from omap.board import BOARDS

JOURNALS = "yes: `omap serve --data-dir` keeps the map over a restart; the card is not served without such a folder"
NO_JOURNAL = "no (`--no-journal`): nothing of the map is left when its server ends"


def text(plan: Plan) -> str:
    """Return the README of a folder."""
    params, target, board = plan.params, plan.target, BOARDS[plan.target.board]
    claims = ", ".join(f"{name}: {'yes' if value else 'no'}" for name, value in plan.claims.items())
    lines = [
        f"# {target.name}: an oblivious map of {params.capacity:,} keys",
        "",
        "Written by `omap board build`; the same inputs give the same bytes. `omap board check` tells whether all of",
        "it is as it was and fits together. Nobody has tried this yet: every step is unverified on a card.",
        "",
        "| | |",
        "|---|---|",
        f"| card | {board.part}, top module `{target.module}` |",
        f"| keys, values | {params.key_bytes}, {params.value_bytes} bytes |",
        f"| pages | {params.pages:,} of {params.page_bytes} bytes in host memory |",
        f"| HBM | {target.channels(params)} of the card's pseudo-channels |",
        f"| digest | `{params.digest.hex()}` |",
        f"| what the card will claim | {claims} |",
        f"| journal | {JOURNALS if plan.journal else NO_JOURNAL} |",
        "",
        "## Steps",
        "",
        "Run them in this folder, with the vendor's tools on PATH; `make` does those that build.",
        "",
    ]
    number = 0

    def add(title: str, *commands: str) -> None:
        nonlocal number
        number += 1
        lines.append(f"{number}. {title}:")
        lines.extend(["", "   ```sh", *(f"   {command}" for command in commands), "   ```", ""])

    add(
        f"Put a root key in, if `{folders.SECRET}` is not there; whoever reads that file has the map",
        "omap provision ../root.key",
        shlex.join(
            ("omap", "board", "build", target.name, "--params", "manifest.json", *plan.options)
            + ("--key-file", "../root.key", "--out", ".", "--no-run")
        ),
    )
    for variable in target.environment(plan):
        add(f"Name {variable.what} ({variable.without})", f"export {variable.name}={variable.example}")
    first, *further = target.build_steps(plan)
    add(first.title, steps.PREPARE, first.shown)
    for step in (*further, *target.flash_steps(plan, None), target.serve_step(plan, None)):
        add(step.title, step.shown)
    lines += [
        *target.otherwise(plan),
        f"`{steps.DEVICE}` is the card's PCIe address, such as `{target.device}`.",
        "",
        *target.warning(plan),
        "",
        "## Registers",
        "",
        registers.table(),
        "",
    ]
    return "\n".join(lines)
