"""Removals of the countermeasures of ``rtl/rings/``."""

from tests.support.mutations.removal import Removal

REMOVALS = [
    Removal("FRESH.VALUE.KEYED", "rtl/rings/fresh.py", "kdf.i.p.key.eq(self.root_key)", "kdf.i.p.key.eq(0)"),
    Removal("FRESH.VALUE.KEYED", "rtl/rings/fresh.py", "kdf.o.p.word_select(word, BLOCK_BITS)", "noise[:BLOCK_BITS]"),
    Removal("FRESH.VALUE.UNIQUE", "rtl/rings/fresh.py", ", counter.eq(counter + 1)]", "]"),
    Removal("FRESH.VALUE.UNIQUE", "rtl/rings/fresh.py", "context = self.device_id,", "context = self.device_id & 0,"),
    Removal("FRESH.SECRET.ERASE", "rtl/rings/fresh.py", "return ResetInserter(self.erase)(m)", "return m"),
    Removal(
        "FRESH.SECRET.UNREADABLE",
        "rtl/rings/fresh.py",
        "self.o_nonce.valid.eq(0), self.o_nonce.p.eq(0)]",
        "self.o_nonce.valid.eq(0)]",
    ),
    Removal(
        "FRESH.SECRET.UNREADABLE",
        "rtl/rings/fresh.py",
        "m.d.comb += kdf.o.ready.eq(1)\n                    with m.If(kdf.o.valid):",
        "m.d.comb += [kdf.o.ready.eq(1), self.o_secrets.p.eq(kdf.o.p[:BLOCK_BITS])]\n"
        "                    with m.If(kdf.o.valid):",
    ),
    Removal(
        "FRESH.TIME.CONST",
        "rtl/rings/fresh.py",
        "with m.If(self.present & whole & (~self.o_nonce.valid | wanted)):",
        "m.d.sync += noise[0].eq(noise[0] | whole)\n"
        "                with m.If(self.present & whole & noise[0] & (~self.o_nonce.valid | wanted)):",
    ),
    Removal(
        "SESSIONS.ROOT.ONCE",
        "rtl/rings/handshake.py",
        "self.i_root_key.ready.eq(~self.present & ~self.dead & ~self.erase)",
        "self.i_root_key.ready.eq(~self.dead & ~self.erase)",
    ),
    Removal(
        "SESSIONS.ROOT.ONCE", "rtl/rings/handshake.py", "self.present.eq(0), self.dead.eq(1)]", "self.present.eq(0)]"
    ),
    Removal(
        "SESSIONS.KEY.ERASE",
        "rtl/rings/sessions.py",
        "ResetInserter(self.erase | self.clear)",
        "ResetInserter(self.clear)",
    ),
    Removal(
        "SESSIONS.KEY.ERASE",
        "rtl/rings/handshake.py",
        "[self.root_key.eq(0), self.present.eq(0), self",
        "[self.present.eq(0), self",
        tests=("tests/rtl/rings/test_sessions_safety.py::test_an_erased_block_holds_nothing_of_its_keys",),
    ),
    Removal(
        "SESSIONS.KEY.UNREADABLE",
        "rtl/rings/handshake.py",
        "with m.If(~confirm & (refusal == 0)):\n                    # SEC_CM: SESSIONS.KEY.UNREADABLE",
        "with m.If(~proven):\n                    #",
    ),
    Removal(
        "SESSIONS.KEY.OWN",
        "rtl/rings/session_keys.py",
        "fixed_input(CLIENT, shake.credential)",
        "fixed_input(CLIENT, Const(0, CREDENTIAL_FIELDS.size))",
    ),
    Removal(
        "SESSIONS.KEY.OWN",
        "rtl/rings/session_keys.py",
        "session.i.p.key.eq(client.o.p)",
        "session.i.p.key.eq(self.root_key)",
    ),
    Removal("SESSIONS.KEY.CLEARED", "rtl/rings/session_keys.py", "client.erase.eq(1)", "client.o.ready.eq(1)"),
    Removal("SESSIONS.KEY.CLEARED", "rtl/rings/session_keys.py", "session.erase.eq(1)", "session.o.ready.eq(1)"),
    Removal(
        "SESSIONS.CREDENTIAL.CHECKED",
        "rtl/rings/handshake.py",
        "with m.If(~confirm & allowed):",
        "with m.If(~confirm):",
    ),
    Removal("SESSIONS.CREDENTIAL.CHECKED", "rtl/rings/handshake.py", "& ~Cat(beyond).any()", ""),
    Removal(
        "SESSIONS.KEY.CONFIRM", "rtl/rings/handshake.py", "expected.eq(tag == self.i.p.body.first)", "expected.eq(1)"
    ),
    Removal(
        "SESSIONS.CONFIRM.CONST_TIME",
        "rtl/rings/handshake.py",
        'expected.eq(tag == self.i.p.body.first)\n                m.next = "VERDICT"\n',
        "expected.eq(tag == self.i.p.body.first)\n"
        '                m.next = "VERDICT"\n'
        "                with m.If(tag[:64] == self.i.p.body.first[:64]):\n"
        '                    m.next = "SECOND HALF"\n'
        '            with m.State("SECOND HALF"):\n'
        '                m.next = "VERDICT"\n',
    ),
    Removal(
        "SESSIONS.LINEAGE.PROVEN",
        "rtl/rings/handshake.py",
        "Mux(names_map, self.known, block)",
        "Mux(names_map, 0, block)",
    ),
    Removal(
        "SESSIONS.LINEAGE.PROVEN",
        "rtl/rings/handshake.py",
        "Mux(proven, kept, Mux(confirm",
        "Mux(proven, 0, Mux(confirm",
    ),
    Removal(
        "SESSIONS.OLD.FENCED", "rtl/rings/session_table.py", "m.d.sync += self.open.bit_select(place, 1).eq(0)", "pass"
    ),
    Removal(
        "SESSIONS.OLD.OWN",
        "rtl/rings/session_table.py",
        "closes.eq(self.row.open & named & own)",
        "closes.eq(self.row.open & named)",
    ),
    Removal("SESSIONS.OLD.OWN", "rtl/rings/session_table.py", "own.eq(credential == self.credential)", "own.eq(1)"),
    Removal("SESSIONS.SHARE.BOUNDED", "rtl/rings/session_table.py", "own_open >= SHARE", "0"),
    Removal(
        "SESSIONS.RECORD.TURN",
        "rtl/rings/record_front.py",
        "with m.If(data & known & ~over & turn & ~doubt):",
        "with m.If(data & known & ~over & ~doubt):",
    ),
    Removal(
        "SESSIONS.CLOSED.REFUSED",
        "rtl/rings/record_commands.py",
        "running.eq(self.open_sessions.bit_select(kept.session_index, 1))",
        "running.eq(1)",
    ),
    Removal(
        "SESSIONS.TAMPER.ENDS",
        "rtl/rings/record_commands.py",
        "left.eq(Mux(context.refused, 0, context.count))",
        "left.eq(Mux(context.refused & ~fault, 0, context.count))",
    ),
    Removal("SESSIONS.TAMPER.ENDS", "rtl/rings/record_commands.py", "closes.eq(context.altered)", "closes.eq(0)"),
    Removal(
        "SESSIONS.TAMPER.ENDS",
        "rtl/rings/record_front.py",
        "ending.eq(data & known & ~over)",
        "ending.eq(0)",
    ),
    Removal(
        "SESSIONS.TAMPER.ENDS",
        "rtl/rings/record_back.py",
        "self.forget.bit_select(context.session_index, 1).eq(1)",
        "self.forget.eq(0)",
        tests=("tests/rtl/rings/test_sessions_safety.py::test_the_keys_of_a_session_that_was_tampered_with_are_gone",),
    ),
    Removal(
        "SESSIONS.FORMAT.ENDS",
        "rtl/rings/sessions.py",
        "ResetInserter(self.erase | self.clear)",
        "ResetInserter(self.erase)",
    ),
    Removal(
        "SESSIONS.RIGHTS.ENFORCED",
        "rtl/rings/record_commands.py",
        "~(Mux(is_get, rights.read, rights.write) & own.all())",
        "~own.all()",
    ),
    Removal("SESSIONS.RIGHTS.ENFORCED", "rtl/rings/record_commands.py", " & own.all()", ""),
    Removal("SESSIONS.RIGHTS.ENFORCED", "rtl/rings/record_commands.py", "Mux(idle, 0, value)", "value"),
    Removal(
        "SESSIONS.PREVIOUS.HIDDEN",
        "rtl/rings/record_replies.py",
        "(reply.status == Status.NOT_FOUND) & ~expected.sees_values",
        "0",
    ),
    Removal(
        "SESSIONS.PREVIOUS.HIDDEN",
        "rtl/rings/record_replies.py",
        "reply.found & expected.sees_values",
        "reply.found",
    ),
    Removal(
        "SESSIONS.TOLD.BOUNDED",
        "rtl/rings/record_replies.py",
        "Mux(expected.sees_map, reply.overruns, 0)",
        "reply.overruns",
    ),
    Removal(
        "SESSIONS.TOLD.BOUNDED", "rtl/rings/record_replies.py", "Mux(expected.sees_map, reply.live, 0)", "reply.live"
    ),
    Removal(
        "SESSIONS.TIME.CONST",
        "rtl/rings/record_replies.py",
        "there = replies.o.valid",
        "tick = Signal()\n        m.d.sync += tick.eq(~tick)\n        there = (reply.found | tick) & replies.o.valid",
    ),
    Removal(
        "SESSIONS.EARLY.FORGOTTEN",
        "rtl/rings/record_front.py",
        "with m.Elif(self.early):",
        "with m.Elif(0):",
    ),
    Removal(
        "SESSIONS.EARLY.FORGOTTEN",
        "rtl/rings/record_commands.py",
        "running & fault & ~self.early",
        "running & fault",
    ),
    Removal("SESSIONS.EARLY.FORGOTTEN", "rtl/crypto/gcm.py", "failed & ~self.lenient", "failed"),
    Removal("SESSIONS.EARLY.DOUBTED", "rtl/rings/record_front.py", " & turn & ~doubt", " & turn"),
    Removal("RING.EARLY.ONCE", "rtl/rings/early_reads.py", "self.open_ & ~certain", "self.open_"),
    Removal("RING.COUNTERS.BOUND", "rtl/rings/counter_polls.py", " & (read <= self.responses)", ""),
    Removal("RING.COUNTERS.BOUND", "rtl/rings/counter_polls.py", " & (taken_lines <= self.journal)", ""),
    Removal(
        "JOURNALS.EFFECTS.UNIFORM",
        "rtl/rings/journal_items.py",
        "& (reply.status == Status.OK)",
        "",
    ),
    Removal(
        "JOURNALS.EFFECTS.UNIFORM", "rtl/rings/journal_items.py", "Mux(changed & puts, given", "Mux(changed, given"
    ),
    Removal(
        "JOURNALS.NONCE.UNIQUE",
        "rtl/rings/journal_sealer.py",
        "journal_nonce(which.type, which.number)",
        "journal_nonce(which.type, which.number[:4])",
    ),
    Removal(
        "JOURNALS.NONCE.UNIQUE",
        "rtl/rings/journal_back.py",
        "Mux(exporting, export_id, era)",
        "Mux(exporting, export_id, 0)",
    ),
    Removal("JOURNALS.ROOM.RESERVED", "rtl/rings/journal_back.py", "with m.If(self.fits):", "with m.If(1):"),
    Removal(
        "SNAPSHOTS.SOURCE.BOUND",
        "rtl/rings/journal_sealer.py",
        "gcm.i_text.p.eq(Mux(adds, field, self.i_text.p))",
        "gcm.i_text.p.eq(Mux(adds, 0, self.i_text.p))",
    ),
    Removal(
        "JOURNALS.NONCE.UNIQUE",
        "rtl/rings/durable_keys.py",
        "swap_bytes(which.context[:ERA_FIELD_BITS])",
        "swap_bytes(which.context[:ERA_FIELD_BITS] & 0)",
    ),
    Removal("JOURNALS.KEY.ERASE", "rtl/rings/durable_keys.py", "kdf.erase.eq(self.erase)", "kdf.erase.eq(0)"),
    Removal(
        "SNAPSHOTS.KEY.OWN",
        "rtl/rings/durable_keys.py",
        "fixed_input(SNAPSHOT, which.map_id, which.context)",
        "fixed_input(SNAPSHOT, which.map_id, which.context & 0)",
    ),
    Removal("JOURNALS.BEFORE.RESPONSE", "rtl/rings/sessions.py", "~sealed.p.last | (ahead != 0)", "1"),
    Removal(
        "JOURNALS.BEFORE.RESPONSE",
        "rtl/rings/ring_writer.py",
        "journal.due | (responses.due & (journal.waiting != 0))",
        "journal.due & ~responses.due",
    ),
    Removal("JOURNALS.ROOM.RESERVED", "rtl/rings/ring_commands.py", "reserved + step -", "reserved -"),
    Removal(
        "RESTORES.ITEMS.ALL",
        "rtl/rings/restore_texts.py",
        "self.o_text.valid.eq(passes & ~self.start)",
        "self.o_text.valid.eq(passes & ~self.start & (text.p.data != 0))",
    ),
    Removal("RESTORES.ORDER.STRICT", "rtl/rings/restore_front.py", "~(in_turn | is_source | is_end)", "0"),
    Removal("RESTORES.ORDER.STRICT", "rtl/rings/restore_front.py", "~right_type | ~(", "~("),
    Removal("RESTORES.ORDER.STRICT", "rtl/rings/restore_texts.py", "~journal | (number == self.operation)", "1"),
    Removal("RESTORES.CHAIN.MATCHED", "rtl/rings/restore_texts.py", "(data == self.map_id)", "1"),
    Removal("RESTORES.CHAIN.MATCHED", "rtl/rings/restore_texts.py", "(kept == self.operation)", "1"),
    Removal("RESTORES.FAIL.ENDS", "rtl/rings/restore_texts.py", " & ~stopped & ~self.failed", ""),
    Removal("RESTORES.FAIL.ENDS", "rtl/rings/restore_back.py", "Mux(self.failed, Refusal.RESTORE_FAILED, ", "("),
    Removal("RESTORES.CLIENT.WAITS", "rtl/rings/restore_front.py", "m.Elif(of_client)", "m.Elif(of_client & 0)"),
]
