"""README.md of a build folder: what is in it, and the steps from it to a card that serves."""

from __future__ import annotations

import shlex
import textwrap

from boards.folder import disk as folders
from boards.folder import registers, steps
from boards.folder.manifest import Plan
from omap.board import BOARDS

WIDTH = 120
"""Of lines."""


def text(plan: Plan) -> str:
    """Return the README of a folder."""
    params, target, board = plan.params, plan.target, BOARDS[plan.target.board]
    config = target.config(params)
    used = sum(config.channels.values())
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
        f"| HBM | {used} of the card's pseudo-channels |",
        f"| digest | `{params.digest.hex()}` |",
        f"| what the card will claim | {claims} |",
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
    for name, what in steps.environment(plan).items():
        add(f"Name {what} (`omap board build --plain` does without)", f"export {name}=../../card.nky")
    first, *further = steps.build_steps(plan)
    add(first.title, steps.PREPARE, first.shown)
    for step in (*further, *steps.flash_steps(plan, None), steps.serve_step(plan, None)):
        add(step.title, step.shown)
    lines += [*_otherwise(plan)]
    lines += [
        f"`{steps.DEVICE}` is the card's PCIe address, such as `0000:3b:00.{0 if target.hbm_private else 1}`.",
        "",
        *_guard(plan),
        "## Registers",
        "",
        registers.table(),
        "",
    ]
    return "\n".join(lines)


def _otherwise(plan: Plan) -> list[str]:
    """Say what else can be done with what was built."""
    emulation = steps.emulation_step(plan)
    if emulation is not None:
        return [
            f"`make hw_emu`, which is `{emulation.shown}`, links the packaged kernel for emulation, thousands of times",
            f"slower than a card. With `XCL_EMULATION_MODE=hw_emu` in the environment and `{folders.OUT}/` as working",
            "directory XRT takes the emulator for a card. Its noise is a stand-in, so that every key made there can be",
            "known beforehand: it is for trials alone.",
            "",
        ]
    load, restart, *_ = steps.flash_steps(plan, None, volatile=True)
    return [
        *textwrap.wrap(" ".join(steps.flash_notes(plan)), WIDTH),
        f"That is `omap board flash --volatile .`, or `make load`: {load.title[0].lower()}{load.title[1:]}.",
        "",
        "```sh",
        load.shown,
        restart.shown,
        "```",
        "",
    ]


def _guard(plan: Plan) -> list[str]:
    """Say what the folder does not protect by itself."""
    if not plan.target.hbm_private:
        return [
            "The host of this target loads the program, which holds the root key, and can read HBM: it is for bring-up",
            "and for measuring, not for secrets.",
            "",
        ]
    return [
        "The bitstream holds the root key. HBM is private only on a card that boots this bitstream alone.",
        "",
    ]
