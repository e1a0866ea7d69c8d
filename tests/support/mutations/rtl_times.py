"""Removals of what makes the times of the engine public: pacers, and what they count from.

A new label of times has its removal here. Where only a whole engine shows it, the removal names the one test that does.
"""

from tests.support.mutations.removal import Removal

REMOVALS = [
    Removal(
        "EVENT.TIME.PACED",
        "rtl/map/pacer.py",
        "self.o.valid.eq(items.o.valid & some)",
        "self.o.valid.eq(items.o.valid)",
    ),
    Removal(
        "EVENT.TIME.PACED",
        "rtl/map/admission.py",
        '"insecure_unpaced": config.insecure_unpaced',
        '"insecure_unpaced": True',
    ),
    Removal(
        "EVENT.TIME.PACED", "rtl/map/pages.py", "insecure_unpaced=config.insecure_unpaced", "insecure_unpaced=True"
    ),
    Removal(
        "EVENT.TIME.PACED", "rtl/map/merging.py", "insecure_unpaced=config.insecure_unpaced", "insecure_unpaced=True"
    ),
    Removal(
        "PAGE.FOLLOW.PACED",
        "rtl/map/following.py",
        "one_hot(self.entry, n, now & not_out)",
        "one_hot(self.entry, n, 0)",
    ),
    Removal(
        "PAGE.FOLLOW.PACED",
        "rtl/map/pages.py",
        "config.follow_cycles - LEAST_FOLLOW if paced else 0",
        "0",
        ("tests/rtl/map/test_pages.py",),
    ),
    Removal(
        "PAGE.START.PACED",
        "rtl/map/turnaround.py",
        "following.eq(count + path[-1] - self.started)",
        "following.eq(count + self.taken - self.started)",
        ("tests/rtl/map/test_pages.py",),
    ),
    Removal(
        "PAGE.START.PACED",
        "rtl/map/pages.py",
        "bit_select(entries.turn, 1) & ripe & ~entries.started",
        "bit_select(entries.turn, 1) & ~entries.started",
        ("tests/rtl/map/test_pages.py",),
    ),
    Removal(
        "SCAN.TIME.FIXED",
        "rtl/map/scan.py",
        "wait(times.page_cycles if paced else 1)",
        "wait(1)",
    ),
    Removal(
        "SCAN.TIME.FIXED",
        "rtl/map/scan.py",
        "wait(times.slot_cycles if paced else 1)",
        "wait(1)",
    ),
    Removal(
        "FORMAT.TIME.FIXED",
        "rtl/map/format.py",
        "is over\n                with m.If(settled != SETTLE):",
        "is over\n                with m.If(0):",
    ),
]
