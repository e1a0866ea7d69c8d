"""Removals of the countermeasures of ``rtl/crypto/``."""

from tests.support.mutations.removal import Removal

REMOVALS = [
    Removal(
        "AES.KEY.ERASE",
        "rtl/crypto/aes.py",
        "self.o_blocks.p.eq(Cat(states))]\n        return ResetInserter(self.erase)(m)",
        "self.o_blocks.p.eq(Cat(states))]\n        return m",
    ),
    Removal("AES.KEY.ERASE", "rtl/crypto/aes.py", "write.eq(erasing | self.forget", "write.eq(self.forget"),
    Removal(
        "AES.KEY.ERASE",
        "rtl/crypto/aes.py",
        "the key window and the block among them\n        return ResetInserter(self.erase)(m)",
        "\n        return m",
    ),
    Removal(
        "AES.KEY.UNREADABLE",
        "rtl/crypto/aes.py",
        "with m.If(valid):\n                    m.d.sync += [\n                        after",
        "with m.If(1):\n                    m.d.sync += [\n                        after",
    ),
    Removal(
        "AES.KEY.UNREADABLE",
        "rtl/crypto/aes.py",
        'with m.State("ROUND"):\n',
        'with m.State("ROUND"):\n                m.d.comb += self.o.p.eq(state)\n',
    ),
    Removal(
        "AES.TIME.CONST",
        "rtl/crypto/aes.py",
        "with m.If(key_round == self.rounds):",
        "with m.If((key_round == self.rounds) | (expander.key == 0)):",
    ),
    Removal(
        "AES.TIME.CONST",
        "rtl/crypto/aes.py",
        "with m.If(done == self.rounds):",
        "with m.If((done == self.rounds) | (state == 0)):",
    ),
    Removal("GHASH.KEY.ERASE", "rtl/crypto/ghash.py", "return ResetInserter(self.erase)(m)", "return m"),
    Removal("GHASH.KEY.ERASE", "rtl/crypto/ghash.py", "clear = erasing | forgetting", "clear = forgetting"),
    Removal("GHASH.KEY.UNREADABLE", "rtl/crypto/ghash.py", "Mux(done, swap_bytes(total), 0)", "swap_bytes(total)"),
    Removal(
        "GHASH.TIME.CONST",
        "rtl/crypto/ghash.py",
        "with m.If(place == last_place):",
        "with m.If((place == last_place) | (power == 0)):",
    ),
    Removal("SIPHASH.KEY.ERASE", "rtl/crypto/siphash.py", "return ResetInserter(self.erase)(m)", "return m"),
    Removal("SIPHASH.KEY.UNREADABLE", "rtl/crypto/siphash.py", " & valid.replicate(WORD)", ""),
    Removal(
        "SIPHASH.TIME.CONST",
        "rtl/crypto/siphash.py",
        "self.o_hash.valid.eq(valid)",
        "self.o_hash.valid.eq(valid | (self.i_message.valid & (self.i_message.p == 0)))",
    ),
    Removal("DRBG.SEED.ERASE", "rtl/crypto/drbg.py", "return ResetInserter(self.erase)(m)", "return m"),
    Removal(
        "DRBG.SEED.UNREADABLE",
        "rtl/crypto/drbg.py",
        "Mux(draws.o.valid, Value.cast(draws.o.p), 0)",
        "Value.cast(draws.o.p)",
    ),
    Removal(
        "DRBG.TIME.CONST",
        "rtl/crypto/drbg.py",
        "self._scaled(m, drawn, words)",
        "self._scaled(m, drawn & block[0], words)",
    ),
    Removal("CMAC.KEY.ERASE", "rtl/crypto/cmac.py", "return ResetInserter(self.erase)(m)", "return m"),
    Removal(
        "CMAC.KEY.UNREADABLE",
        "rtl/crypto/cmac.py",
        'with m.State("BLOCK"):\n',
        'with m.State("BLOCK"):\n                m.d.comb += self.o_tag.p.eq(chain)\n',
    ),
    Removal(
        "CMAC.TIME.CONST",
        "rtl/crypto/cmac.py",
        'keyed.eq(1)]\n                    m.next = "IDLE"\n',
        "keyed.eq(1)]\n"
        '                    m.next = "IDLE"\n'
        "                    with m.If(aes.o.p[7]):\n"
        '                        m.next = "REDUCE"\n'
        '            with m.State("REDUCE"):\n'
        '                m.next = "IDLE"\n',
    ),
    Removal("KDF.KEY.ERASE", "rtl/crypto/kdf.py", "return ResetInserter(self.erase)(m)", "return m"),
    Removal(
        "KDF.KEY.UNREADABLE",
        "rtl/crypto/kdf.py",
        "m.d.comb += cmac.o_tag.ready.eq(1)",
        "m.d.comb += [cmac.o_tag.ready.eq(1), self.o.p.eq(output)]",
    ),
    Removal(
        "KDF.TIME.CONST",
        "rtl/crypto/kdf.py",
        "with m.If(counter == rounds):",
        "with m.If((counter == rounds) | (fixed == 0)):",
    ),
    Removal(
        "GCM.KEY.PRESENT",
        "rtl/crypto/gcm_core.py",
        "self.i_request.ready.eq(present & (~active",
        "self.i_request.ready.eq((~active",
    ),
    Removal(
        "GCM.KEY.UNREADABLE",
        "rtl/crypto/gcm_core.py",
        "keystream.i.valid.eq(aes.o_blocks.valid & ~of_probe)",
        "keystream.i.valid.eq(aes.o_blocks.valid)",
    ),
    Removal("GCM.TEXT.VERIFIED", "rtl/crypto/gcm.py", "text.o.valid & (judgements != 0)", "text.o.valid"),
    Removal("GCM.TEXT.VERIFIED", "rtl/crypto/gcm.py", "text.o.valid & judged", "text.o.valid"),
    Removal(
        "GCM.TEXT.ZERO_ON_FAULT",
        "rtl/crypto/gcm.py",
        "shown.eq(judged & (verdicts.o.p | begins))",
        "shown.eq(judged)",
    ),
    Removal("GCM.TEXT.ZERO_ON_FAULT", "rtl/crypto/gcm.py", "Mux(verified[0], text.o.p, 0)", "text.o.p"),
    Removal(
        "GCM.TEXT.ZERO_ON_FAULT",
        "rtl/crypto/gcm.py",
        "good.eq(right & ~dead.bit_select(key_index, 1))",
        "good.eq(right)",
    ),
    Removal("GCM.FAULT.KEY_ERASE", "rtl/crypto/gcm.py", "self._core.erase.eq(failed)", "self._core.erase.eq(0)"),
    Removal("GCM.FAULT.KEY_ERASE", "rtl/crypto/gcm.py", "self._core.forget.eq(self.forget | lost)", "lost.eq(lost)"),
    Removal("GCM.KEY.ERASE", "rtl/crypto/gcm_core.py", "return ResetInserter(self.erase)(m)", "return m"),
    Removal(
        "GCM.KEY.ERASE",
        "rtl/crypto/gcm.py",
        "self._elaborate_out(m, text, verdict, good)\n        return ResetInserter(self.erase)(m)",
        "self._elaborate_out(m, text, verdict, good)\n        return m",
    ),
    Removal(
        "GCM.KEY.ERASE",
        "rtl/crypto/gcm_core.py",
        "[aes.forget.eq(1), ghash.forget.eq(1)]",
        "ghash.forget.eq(1)",
    ),
    Removal(
        "GCM.KEY.ERASE",
        "rtl/crypto/gcm_core.py",
        "[aes.forget.eq(1), ghash.forget.eq(1)]",
        "aes.forget.eq(1)",
    ),
    Removal(
        "GCM.KEY.ERASE",
        "rtl/crypto/gcm.py",
        "core.o_digest.p)),\n        ]\n        return ResetInserter(self.erase)(m)",
        "core.o_digest.p)),\n        ]\n        return m",
    ),
    Removal(
        "GCM.TIME.CONST",
        "rtl/crypto/gcm.py",
        "text.o.valid & (judgements != 0)",
        "text.o.valid & verified[0]",
        error="CycleLimitError",  # a message with a wrong tag never comes out
    ),
    Removal(
        "GCM.TIME.CONST",
        "rtl/crypto/gcm.py",
        "text.o.valid & judged",
        "text.o.valid & judged & verdicts.o.p",
        error="CycleLimitError",
    ),
    Removal(
        "GCM.TIME.CONST",
        "rtl/crypto/gcm.py",
        "free = keystream.valid & (room != 0)",
        "free = keystream.valid & (room != 0) & keystream.p.data[:2].any()",
    ),
]
