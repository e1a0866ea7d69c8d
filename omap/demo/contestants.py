"""The ways to store the table that the demo compares."""

from __future__ import annotations

from omap import map as reference
from omap.backends import Backend
from omap.demo.run import Contestant
from omap.demo.table import Table
from omap.params import Params, Rule
from omap.plain import PlainTable


def contestants(table: Table, backend: Backend) -> list[Contestant]:
    """Return the plain table, the oblivious map on ``backend``, and the published rule, in this order."""
    one_choice = sized(table, Rule.ONE_CHOICE)
    return [
        Contestant(
            name="plain",
            title="Encrypted hash table",
            story="A record's page follows from its key, once and for all.",
            oblivious=False,
            params=one_choice,
            create=PlainTable,
        ),
        Contestant(
            name="one_choice",
            title="Oblivious map",
            story="A record moves to a fresh random page each time it is touched.",
            oblivious=True,
            params=one_choice,
            create=backend,
        ),
        Contestant(
            name="two_choice",
            title="Oblivious map, published rule (BOLT)",
            story="A record lives in the emptier of two random bins; both are touched.",
            oblivious=True,
            params=sized(table, Rule.TWO_CHOICE),
            create=reference.create,
        ),
    ]


def sized(table: Table, rule: Rule) -> Params:
    """Return parameters for ``table`` under ``rule``."""
    import math

    from omap import sizing

    t = table.key_bytes + table.value_bytes
    n = len(table)
    if rule is Rule.ONE_CHOICE:
        return sizing.one_choice(
            capacity=n, key_bytes=table.key_bytes, value_bytes=table.value_bytes, page_bytes=-(-(8 * t + 16) // 64) * 64
        )
    bins = n // 8
    hb = bins // 5
    return Params(
        rule=rule,
        capacity=n,
        key_bytes=table.key_bytes,
        value_bytes=table.value_bytes,
        page_bytes=-(-(13 * t + 16) // 64) * 64,
        pages=bins - hb,
        hbm_bins=hb,
        descriptor_bytes=64,
        waiting_slots=n,
        further_lines=n // 8,
        bucket_bytes=64,
        buckets=math.ceil(n / 0.9 / 2 / 4),
    )
