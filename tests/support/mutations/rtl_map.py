"""Removals of the countermeasures of ``rtl/map/`` and of the engine, but for those of times."""

from tests.support.mutations.removal import Removal

REMOVALS = [
    Removal("POSMAP.KEY.ERASE", "rtl/map/position_map.py", "self.hash.erase.eq(self.erase)", "self.hash.erase.eq(0)"),
    Removal("POSMAP.KEY.ERASE", "rtl/map/position_map.py", "ResetInserter(forget)(inner)", "inner"),
    Removal(
        "POSMAP.KEY.UNREADABLE",
        "rtl/map/lookup.py",
        "Mux(results.o.valid, Value.cast(results.o.p), 0)",
        "Value.cast(results.o.p)",
    ),
    Removal(
        "POSMAP.LOOKUP.CONST_TIME",
        "rtl/map/position_map.py",
        "room[0] & spacing.free",
        "room[0] & spacing.free & ~moves.valid",
        error="CycleLimitError",
    ),
    Removal(
        "WAITING.PLACE.RANDOM",
        "rtl/memory/free_list.py",
        "unused[: self.group] ^ Mux(whole, order, 0)",
        "unused[: self.group]",
    ),
    Removal(
        "WAITING.PLACE.RANDOM",
        "rtl/map/core.py",
        "memory.order.eq(admission.spare)",
        "memory.order.eq(0)",
        tests=("tests/rtl/test_engine_timing.py::test_draws_decide_the_order_in_which_slots_are_handed_out",),
    ),
    Removal("WAITING.TUPLE.ERASE", "rtl/map/waiting.py", "ResetInserter(forget)(inner)", "inner"),
    Removal(
        "WAITING.TUPLE.UNREADABLE",
        "rtl/map/bin_touch.py",
        "Mux(offers & ~at_end, current.entry, 0)",
        "current.entry",
    ),
    Removal("MERGE.TEXT.ERASE", "rtl/map/page.py", "ResetInserter(self.erase)(inner)", "inner"),
    Removal(
        "MERGE.TEXT.UNREADABLE",
        "rtl/map/page.py",
        "Mux(results.o.valid, results.o.p, 0)",
        "results.o.p",
    ),
    Removal(
        "OVERRUN.COUNT.SEALED",
        "rtl/map/merging.py",
        "overruns.eq(overruns + sum(self.late) + self.reply_pacer.late)",
        "overruns.eq(0)",
    ),
    Removal(
        "PAGE.ADDR.FRESH",
        "rtl/map/admission.py",
        "fresh.i.p.eq(draws.p.next)",
        "fresh.i.p.eq(Mux(command.p.kind == 1, draws.p.dummy, draws.p.next))",
    ),
    Removal(
        "PAGE.MISS.DUMMY",
        "rtl/map/lookup.py",
        "found[0] | found[1] | found[2], seen.item.dummy)",
        "found[0] | found[1] | found[2], 0)",
    ),
    Removal(
        "PAGE.NONCE.UNIQUE", "rtl/map/sealing.py", "(version, VERSION_BITS))", "(Const(0, VERSION_BITS), VERSION_BITS))"
    ),
    Removal(
        "PAGE.NONCE.UNIQUE",
        "rtl/map/sealing.py",
        "((page, PAGE_NONCE_BITS)",
        "((Const(0, PAGE_NONCE_BITS), PAGE_NONCE_BITS)",
    ),
    Removal(
        "PAGE.VERSION.FRESH",
        "rtl/map/sealing.py",
        "page_nonce(opens.o.p.page, opens.o.p.version)",
        "page_nonce(opens.o.p.page, Const(0, VERSION_BITS))",
    ),
    Removal("PAGE.KEY.EPOCH", "rtl/map/epoch_keys.py", "swap_bytes(epoch))", "swap_bytes(Mux(0, epoch, 0)))"),
    Removal("PAGE.SECRET.ERASE", "rtl/map/epoch_keys.py", "return ResetInserter(self.erase)(m)", "return m"),
    Removal("FORMAT.KEY.CLEARED", "rtl/map/secrets.py", "[words.eq(0), offered.eq(0)]", "offered.eq(0)"),
    Removal(
        "SCAN.SLOTS.ALL",
        "rtl/map/scan.py",
        'gives["waiting"] & entries.o.valid & self._used',
        'gives["waiting"] & entries.o.valid',
        ("tests/rtl/map/test_scan.py::test_free_slots_leave_as_used_ones_do",),
    ),
    Removal(
        "ENGINE.DROP.ERASE",
        "rtl/map/core.py",
        "self.erase | formatter.forget",
        "self.erase",
        ("tests/rtl/map/test_core_scan.py::test_a_dropped_map_opens_no_page_any_more",),
    ),
    Removal("ENGINE.STATE.ERASE", "rtl/map/core.py", "ResetInserter(self.erase)(inner)", "inner"),
    Removal(
        "ENGINE.FAULT.LATCH",
        "rtl/rings/control.py",
        "with m.If((self.found != Fault.NONE) & ~self.erase):",
        "with m.If(self.found != Fault.NONE):",
    ),
    Removal("ENGINE.FAULT.LATCH", "rtl/engine.py", "core.erase.eq(control.erase)", "core.erase.eq(0)"),
    Removal("ENGINE.FAULT.LATCH", "rtl/engine.py", "sessions.erase.eq(control.erase)", "sessions.erase.eq(0)"),
    Removal("RESTORES.FAIL.ERASE", "rtl/rings/control.py", "self.drop.eq(1)", "self.drop.eq(0)"),
]
