"""The ways to store a table that the demo compares."""

from __future__ import annotations

from omap import map as reference
from omap import sizing
from omap.backends import Backend
from omap.demo.run import Contestant
from omap.demo.table import Table
from omap.params import Params, Rule
from omap.plain import PlainTable
from omap.sizing.planner import plan

LEAST_CAPACITY = 512
"""Least capacity of a map, even for a smaller table, because a few pages show no picture."""

PAGE_TUPLES = 8
"""Tuples that a page of the oblivious map has room for, at least; the usual number (see ``omap plan``)."""


def contestants(table: Table, backend: Backend) -> list[Contestant]:
    """Return the plain table, the oblivious map on ``backend`` and the published rule, in this order."""
    one_choice = sized(table, Rule.ONE_CHOICE)
    return [
        Contestant(
            name="plain",
            title="Encrypted hash table",
            story="A row's page follows from its key, once and for all.",
            oblivious=False,
            params=one_choice,
            create=PlainTable,
        ),
        Contestant(
            name="one_choice",
            title="Oblivious map",
            story="A row moves to a fresh random page each time it is touched.",
            oblivious=True,
            params=one_choice,
            create=backend,
        ),
        Contestant(
            name="two_choice",
            title="Published rule (BOLT)",
            story="A row lives in the emptier of two random bins; both are touched.",
            oblivious=True,
            params=sized(table, Rule.TWO_CHOICE),
            create=reference.create,
        ),
    ]


def sized(table: Table, rule: Rule) -> Params:
    """Return parameters for ``table`` under ``rule``. ``two_choice`` is as published, with the page that it needs."""
    page_bytes = sizing.page_bytes_for(PAGE_TUPLES, table.key_bytes + table.value_bytes)
    return plan(
        capacity=max(len(table), LEAST_CAPACITY),
        key_bytes=table.key_bytes,
        value_bytes=table.value_bytes,
        rule=rule,
        page_bytes=page_bytes if rule is Rule.ONE_CHOICE else None,
    ).params
