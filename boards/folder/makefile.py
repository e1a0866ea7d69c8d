"""Makefile of a build folder: the steps of its README.md, with what each needs before it."""

from __future__ import annotations

import shlex

from boards.folder import disk as folders
from boards.folder.steps import DEVICE, PREPARE, no_key
from boards.target import Plan, Step


def text(plan: Plan) -> str:
    """Return the Makefile of a folder."""
    target = plan.target
    steps, variants, into_card = target.build_steps(plan), target.variants(plan), target.goals(plan)
    sources = " ".join(("$(wildcard *.v)", "$(wildcard secret/*.v)", *sorted(target.scripts(plan))))
    lines = [
        "# The steps of README.md. Each needs the vendor's tools on PATH.",
        "",
        f"{DEVICE} ?= ",
        "",
        f".PHONY: {' '.join(['all', *into_card, *variants])}",
        f"all: {' '.join(steps[-1].makes)}",
    ]
    before = sources
    for step in steps:
        lines += ["", f"{step.makes[0]}: {before}", f"\t{PREPARE}"]
        if step.key:
            lines.append(f"\t@test -f {folders.SECRET} || {{ echo '{no_key()}' >&2; exit 1; }}")
        lines.append(f"\t{step.shown}")
        lines += [line for made in step.makes[1:] for line in ("", f"{made}: {step.makes[0]}")]
        before = step.makes[0]
    for name, variant in variants.items():
        made, script = variant.makes[0], variant.command[-1]
        lines += ["", f"{name}: {made}", "", f"{made}: {steps[0].makes[0]} {script}", f"\t{variant.shown}"]
    for name, wanted in into_card.items():
        lines += ["", f"{name}: {' '.join(steps[-1].makes)}", *_recipe(wanted)]
    return "\n".join(lines) + "\n"


def _recipe(wanted: tuple[Step, ...]) -> list[str]:
    """Return the lines that bring the program into a card; steps of root are shown and not run."""
    lines = []
    if any(DEVICE in step.command for step in wanted):
        lines.append(
            f"\t@test -n '$({DEVICE})' || {{ echo 'give {DEVICE}=, the PCIe address of the card' >&2; exit 1; }}"
        )
    for step in wanted:
        shown = step.shown.replace(f" {DEVICE}", f" $({DEVICE})")
        told = f"{step.title}, as root: {shown}"
        lines.append(f"\t@echo {shlex.quote(told)}" if step.root else f"\t{shown}")
    return lines
