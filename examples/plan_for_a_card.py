"""A plan for a card: what a map needs, what an operation moves, and when a plan is refused.

You learn how to go from a number of keys to parameters, how much HBM and host memory they take on an Alveo U55C, how
unlikely it is that anything runs out, and how a refusal names the bound that broke. `omap plan` prints the same.
Run it with `python examples/plan_for_a_card.py`.
"""

import omap
from omap.board import BOARDS
from omap.sizing.planner import plan
from omap.units import format_bytes

SHAPE = {"key_bytes": 8, "value_bytes": 64}


def main() -> None:
    """Plan for growing numbers of keys until the card is too small."""
    card = BOARDS["u55c"]
    for capacity in (1_000_000, 50_000_000, 100_000_000, 1_000_000_000):
        try:
            found = plan(capacity=capacity, board=card, rule="one_choice", **SHAPE)
        except omap.PlanError as error:
            print(f"{capacity:,} keys: refused. {error}")
            continue
        params = found.params
        print(
            f"{capacity:,} keys: {params.pages:,} pages of {params.page_bytes} bytes, "
            f"{format_bytes(params.hbm_bytes)} of HBM, {format_bytes(params.host_bytes)} of host memory"
        )
        for name, risk in found.risks.items():
            print(f"    {name} run out within 2^40 operations: less than once in 2^{risk.bits:.0f}")


if __name__ == "__main__":
    main()
