# amaranth: UnusedElaboratable=no
"""AES-GCM (NIST SP 800-38D) of pages, which have one length, and of records of many lengths, at one beat a cycle."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.constants import BLOCK_BITS
from rtl.crypto.gcm_core import GcmBlock
from rtl.crypto.ghash import Ghash
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import page_beat

DEEPEST_LUT_FIFO = 64

LEAST_TEXT_BEATS = 2
"""Beats of the shortest text of messages with lengths of their own: a header and a block."""


class GcmOpen(GcmBlock):
    """Opens pages: decrypts, and lets out what is verified. Must equal :meth:`omap.crypto.PageCipher.open`.

    One beat a cycle, back to back, whatever the lengths. The first plaintext of a message is on offer :attr:`latency`
    cycles after its last beat was taken, good or bad, unless earlier plaintext is still waiting to be taken. A message
    that fails comes out as zeros marked ``fault``, behind its header if it has one, which is in the clear anyway, and
    with zeros in place of ``more_header_bytes``; the block then erases its keys, latches :py:`fault` and takes nothing
    more.

    Parameters
    ----------
    sealed_bytes : :class:`int`
        Bytes of a sealed message, header and tag included: a multiple of 16 * ``lanes``, from 32 (48 with a header)
        to 262144.
    aad_bytes : :class:`int`
        Bytes of additional data that come with the key, 0 to 16, the same for all its messages.
    header_bytes : :class:`int`
        Bytes of additional data at the start of every message, in the clear, 0 or 16; 16 only if ``aad_bytes`` is 0.
    key_bits : :class:`int`
        128 or 256.
    keys : :class:`int`
        Keys in the table, 1 to 64: one for pages, one for every ring.
    lanes : :class:`int`
        Blocks a beat, 1, 2 or 4.
    lengths : :class:`bool`
        Every message has a length of its own, from 48 bytes to ``sealed_bytes``. Needs ``lanes`` 1, ``header_bytes``
        16 and ``aad_bytes`` 0.
    more_header_bytes : :class:`int`
        Bytes of additional data behind the header of those messages whose requests say ``more``, in the clear: a
        multiple of 16. 0 if none has them. Needs ``lengths``. They count as bytes of a sealed message.

    Members
    -------
    i_key : :py:`In(stream.Signature(StructLayout({"key_index": range(keys), "key": key_bits, "aad": 128})))`
        A key, its index and its additional data, see :class:`rtl.crypto.gcm_core.GcmCore`.
    i_request : :py:`In(stream.Signature(StructLayout({"key_index": range(keys), "nonce": 96})))`
        Announces a message, in the order in which they come. May run ahead of the data: keystream of 32 beats is
        made beforehand, which hides the latency of the cipher. With ``lengths`` there is a further field, ``beats``:
        those of the whole message, header and tag included, from 3 to :attr:`beats`. With ``more_header_bytes`` there
        is ``more``, a bit: the message has them, and ``beats`` counts them too.
    i_sealed : :py:`In(stream.Signature(128 * lanes))`
        Headers, ciphertext and tag, :attr:`beats` for every request, or as many as it says.
    o_text : :py:`Out(stream.Signature(StructLayout({"data": 128 * lanes, "last": 1, "fault": 1})))`
        Headers and plaintext, verified, :attr:`text_beats` for every message, or one less than its request said;
        ``last`` marks the last beat. With more than one lane the last beat ends in 16 zero bytes, where the tag was.
    fault : :py:`Out(1)`
        A tag was wrong. Stays until ``erase``.
    forget : :py:`In(keys)`
        A bit a key: overwrites these keys, see :class:`rtl.crypto.gcm_core.GcmCore`.
    erase : :py:`In(1)`
        Overwrites all keys, drops all messages and clears the fault.

    Countermeasures
    ---------------
    GCM.TEXT.VERIFIED
        No bit that depends on plaintext leaves before the tag of its message was found right.
    GCM.TEXT.ZERO_ON_FAULT
        A message with a wrong tag comes out as zeros, and so would everything after it.
    GCM.FAULT.KEY_ERASE
        A wrong tag erases all keys of the block.
    GCM.KEY.UNREADABLE
        No output depends on a key before a message was sealed or opened under it.
    GCM.TIME.CONST
        All times depend on the handshakes and the lengths alone, not on data, keys or verdicts.
    """

    def _own_ports(self) -> dict[str, wiring.Member]:
        text = StructLayout({"data": self.lanes * BLOCK_BITS, "last": 1, "fault": 1})
        return {
            "i_sealed": In(stream.Signature(self.lanes * BLOCK_BITS)),
            "o_text": Out(stream.Signature(text)),
            "fault": Out(1),
        }

    @property
    def latency(self) -> int:
        """Cycles from the last sealed beat of a message to the first beat of its text."""
        return Ghash.latency + 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = core = self._core
        # Room for a whole message and for what comes in while its tag is being checked.
        depth = 1 << (self.text_beats + self.latency + 1).bit_length()
        style = "distributed" if depth <= DEEPEST_LUT_FIFO else "block"
        text_shape = page_beat(1) if self.lengths else self.lanes * BLOCK_BITS
        m.submodules.text = text = Fifo(shape=text_shape, depth=depth, ram_style=style)
        connect(m, core.i_request, flipped(self.i_request))
        m.d.comb += [
            core.i_key.p.eq(self.i_key.p),
            core.i_key.valid.eq(self.i_key.valid & ~self.fault),
            self.i_key.ready.eq(core.i_key.ready & ~self.fault),
        ]

        take = Signal()
        keystream = core.o_keystream
        last = self._elaborate_last(m, take)
        clear = Signal(self.lanes * BLOCK_BITS)
        tag_place = clear[-BLOCK_BITS:]
        m.d.comb += [
            take.eq(self.i_sealed.valid & self.i_sealed.ready),
            self.i_sealed.ready.eq(keystream.valid & text.i.ready & ~self.fault),
            keystream.ready.eq(take),
            clear.eq(self.i_sealed.p ^ keystream.p.data),
            core.i_hash.valid.eq(take),
            core.i_hash.p.eq(keystream.p),
            core.i_hash.p.data.eq(self.i_sealed.p),
            text.i.valid.eq(take & ~last if self.lanes == 1 else take),
        ]
        if self.lengths:
            m.d.comb += [text.i.p.data.eq(clear), text.i.p.last.eq(keystream.p.ends_text)]
        else:
            m.d.comb += text.i.p.eq(clear if self.lanes == 1 else Cat(clear[:-BLOCK_BITS], Mux(last, 0, tag_place)))

        # SEC_CM: GCM.TIME.CONST -- the tag without its mask waits for the digest, which takes a fixed time
        awaits = StructLayout({"tag": BLOCK_BITS, "key_index": range(self.keys)})
        expected, awaited = tag_place, keystream.p.key_index
        for stage in range(Ghash.latency):
            delayed = Signal(awaits, name=f"awaits{stage}", reset_less=True)
            m.d.sync += [delayed.tag.eq(expected), delayed.key_index.eq(awaited)]
            expected, awaited = delayed.tag, delayed.key_index
        judged, right, key_index = Signal(), Signal(), Signal(range(self.keys))
        m.d.sync += [
            judged.eq(core.o_digest.valid),
            right.eq(core.o_digest.p == expected),
            key_index.eq(awaited),
        ]
        verdict, good = Signal(), Signal()  # a message is judged, and is found good
        m.d.comb += verdict.eq(judged & ~self.fault)
        self._judge(m, verdict & ~good, key_index, right, good)

        if self.lengths:
            self._elaborate_lengths_out(m, text, verdict, good)
        else:
            self._elaborate_out(m, text, verdict, good)
        return ResetInserter(self.erase)(m)

    def _elaborate_out(self, m: Module, text: Fifo, verdict: Signal, good: Signal) -> None:
        """Let the text of a message out, or as many zeros, once there is a ``verdict`` on it."""
        most = text.depth // self.text_beats + 2
        judgements = Signal(range(most + 1))  # of messages in the buffer
        verified = Signal(most)  # what they are, oldest first
        text_beat = Signal(range(self.text_beats))
        text_last = Signal()
        leave = Signal()
        done = Signal()
        m.d.comb += [
            text_last.eq(text_beat == self.text_beats - 1),
            leave.eq(self.o_text.valid & self.o_text.ready),
            done.eq(leave & text_last),
            text.o.ready.eq(leave),
            # SEC_CM: GCM.TEXT.VERIFIED -- the buffer opens for whole messages, when their verdict is there
            self.o_text.valid.eq(text.o.valid & (judgements != 0)),
            # SEC_CM: GCM.TEXT.ZERO_ON_FAULT -- in order: the verdict is the one of the message that is on offer
            self.o_text.p.data.eq(Mux(verified[0], text.o.p, 0)),
            self.o_text.p.fault.eq((judgements != 0) & ~verified[0]),
            self.o_text.p.last.eq(text_last),
        ]
        if self.header_bytes:
            with m.If((judgements != 0) & (text_beat == 0)):
                m.d.comb += self.o_text.p.data[:BLOCK_BITS].eq(text.o.p[:BLOCK_BITS])
        m.d.sync += [
            judgements.eq(judgements + verdict - done),
            verified.eq((verified >> done) | ((verdict & good) << (judgements - done)[: len(judgements)])),
        ]
        with m.If(leave):
            m.d.sync += text_beat.eq(Mux(text_last, 0, text_beat + 1))

    def _elaborate_lengths_out(self, m: Module, text: Fifo, verdict: Signal, good: Signal) -> None:
        """Do the same for messages whose lengths are their own: their last beats are marked in the buffer."""
        # Room for the verdicts of all messages that the buffer holds, and of the one that is about to leave it.
        m.submodules.verdicts = verdicts = Fifo(shape=1, depth=text.depth // LEAST_TEXT_BEATS + 2)
        judged = Signal()  # as verdicts.o.valid, from a register: what leaves depends on it
        begins = Signal(init=1)
        leave, done, shown = Signal(), Signal(), Signal()
        m.d.comb += [
            verdicts.i.valid.eq(verdict),
            verdicts.i.p.eq(good),
            leave.eq(self.o_text.valid & self.o_text.ready),
            text.o.ready.eq(leave),
            done.eq(leave & text.o.p.last),
            verdicts.o.ready.eq(done),
            # SEC_CM: GCM.TEXT.VERIFIED -- the buffer opens for whole messages, when their verdict is there
            self.o_text.valid.eq(text.o.valid & judged),
            # SEC_CM: GCM.TEXT.ZERO_ON_FAULT -- in order: the verdict is the one of the message that is on offer
            shown.eq(judged & (verdicts.o.p | begins)),
            self.o_text.p.data.eq(Mux(shown, text.o.p.data, 0)),
            self.o_text.p.fault.eq(judged & ~verdicts.o.p),
            self.o_text.p.last.eq(text.o.p.last),
        ]
        m.d.sync += judged.eq(verdict | (verdicts.level > 1) | (judged & ~done))
        with m.If(leave):
            m.d.sync += begins.eq(text.o.p.last)

    def _judge(self, m: Module, failed: Value, key_index: Value, right: Value, good: Signal) -> None:
        """Say whether a message is good, and erase what one that is not demands."""
        m.d.comb += [
            good.eq(right),
            self._core.forget.eq(self.forget),
            # SEC_CM: GCM.FAULT.KEY_ERASE -- without keys the core takes no request, so nothing is decrypted any more
            self._core.erase.eq(failed),
        ]
        with m.If(failed):
            m.d.sync += self.fault.eq(1)


class GcmOpenEach(GcmOpen):
    """Opens records, each under the key of its session, and goes on after a wrong tag.

    As :class:`GcmOpen`, but a message that fails costs the key that it was to be opened under, and no other. Messages
    under that key that come later, or are under way already, fail as well, until the key is loaded again. All others
    are opened as if nothing had happened, in the same times. ``fault`` stays low.

    Parameters
    ----------
    sealed_bytes, aad_bytes, header_bytes, key_bits, keys, lanes, more_header_bytes : :class:`int`
        As :class:`GcmOpen`.
    lengths : :class:`bool`
        As :class:`GcmOpen`.

    Members
    -------
    i_key, i_request, i_sealed, o_text, fault, forget, erase
        As :class:`GcmOpen`. Messages under a key that ``forget`` named fail, too.
    lenient : :py:`In(1)`
        The message that is judged costs no key if it fails: it will come again.

    Countermeasures
    ---------------
    GCM.FAULT.KEY_ERASE
        A wrong tag erases the key that was to open the message.
    GCM.TEXT.ZERO_ON_FAULT
        After a wrong tag nothing comes out under that key but zeros.
    SESSIONS.EARLY.FORGOTTEN
        A wrong tag costs no key while the block is ``lenient``.
    """

    def _own_ports(self) -> dict[str, wiring.Member]:
        return super()._own_ports() | {"lenient": In(1)}

    def _judge(self, m: Module, failed: Value, key_index: Value, right: Value, good: Signal) -> None:
        dead, lost = Signal(self.keys), Signal(self.keys)
        m.d.comb += [
            # SEC_CM: GCM.TEXT.ZERO_ON_FAULT -- a forgotten key is no secret: whoever knows it could make a right tag
            good.eq(right & ~dead.bit_select(key_index, 1)),
            # SEC_CM: SESSIONS.EARLY.FORGOTTEN -- the record comes again under this key
            lost.bit_select(key_index, 1).eq(failed & ~self.lenient),
            # SEC_CM: GCM.FAULT.KEY_ERASE -- this key alone; messages of others are under way
            self._core.forget.eq(self.forget | lost),
            self._core.go_on.eq(1),
        ]
        with m.If(self.i_key.valid & self.i_key.ready):
            m.d.sync += dead.bit_select(self.i_key.p.key_index, 1).eq(0)
        for index in range(self.keys):
            with m.If(self.forget[index] | lost[index]):
                m.d.sync += dead[index].eq(1)


class GcmSeal(GcmBlock):
    """Seals pages or records: encrypts and appends the tag. Must equal :meth:`omap.crypto.PageCipher.seal`.

    One beat a cycle, back to back. A beat of text is on offer as ciphertext :attr:`latency` cycles after it was taken,
    and the tag follows its text without a gap.

    Parameters
    ----------
    sealed_bytes, aad_bytes, header_bytes, key_bits, keys, lanes, more_header_bytes : :class:`int`
        As :class:`GcmOpen`.
    lengths : :class:`bool`
        As :class:`GcmOpen`.

    Members
    -------
    i_key : :py:`In(stream.Signature(StructLayout({"key_index": range(keys), "key": key_bits, "aad": 128})))`
        A key, its index and its additional data, see :class:`rtl.crypto.gcm_core.GcmCore`.
    i_request : :py:`In(stream.Signature(StructLayout({"key_index": range(keys), "nonce": 96})))`
        Announces a message, in the order in which they come. A nonce must never come twice under one key. With
        ``lengths`` there is a further field, ``beats``, and with ``more_header_bytes``, ``more``; see :class:`GcmOpen`.
    i_text : :py:`In(stream.Signature(128 * lanes))`
        Headers and plaintext, :attr:`text_beats` for every request, or one less than it says. With more than one lane
        the last 16 bytes of the last beat, where the tag goes, are ignored.
    o_sealed : :py:`Out(stream.Signature(StructLayout({"data": 128 * lanes, "last": 1})))`
        Headers, ciphertext and tag, :attr:`beats` for every request, or as many as it says; ``last`` marks the last.
    forget : :py:`In(keys)`
        A bit a key: overwrites these keys, see :class:`rtl.crypto.gcm_core.GcmCore`. Only when no message under them is
        under way.
    erase : :py:`In(1)`
        Overwrites all keys and drops all messages.

    Countermeasures
    ---------------
    GCM.KEY.UNREADABLE
        No output depends on a key before a message was sealed or opened under it.
    GCM.TIME.CONST
        All times depend on the handshakes and the lengths alone, not on data or keys.
    """

    def _own_ports(self) -> dict[str, wiring.Member]:
        return {
            "i_text": In(stream.Signature(self.lanes * BLOCK_BITS)),
            "o_sealed": Out(stream.Signature(page_beat(self.lanes))),
        }

    @property
    def latency(self) -> int:
        """Cycles from a beat of text to the beat of ciphertext it becomes."""
        return Ghash.latency + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = core = self._core
        m.submodules.sealed = sealed = Fifo(shape=page_beat(self.lanes), depth=16)
        m.d.comb += core.forget.eq(self.forget)
        connect(m, core.i_key, flipped(self.i_key))
        connect(m, core.i_request, flipped(self.i_request))
        connect(m, sealed.o, flipped(self.o_sealed))

        room = Signal(range(sealed.depth + 1), init=sealed.depth)
        move = Signal()
        keystream = core.o_keystream
        last = self._elaborate_last(m, move)
        cipher = Signal(self.lanes * BLOCK_BITS)
        free = keystream.valid & (room != 0)
        if self.lanes == 1:  # the last beat is the tag alone and takes no text
            m.d.comb += [
                self.i_text.ready.eq(free & ~last),
                move.eq(free & (self.i_text.valid | last)),
                cipher.eq(keystream.p.data ^ Mux(last, 0, self.i_text.p)),
            ]
        else:
            text_last = Mux(last, 0, self.i_text.p[-BLOCK_BITS:])
            m.d.comb += [
                self.i_text.ready.eq(free),
                move.eq(free & self.i_text.valid),
                cipher.eq(keystream.p.data ^ Cat(self.i_text.p[:-BLOCK_BITS], text_last)),
            ]
        m.d.comb += [
            keystream.ready.eq(move),
            core.i_hash.valid.eq(move),
            core.i_hash.p.eq(keystream.p),
            core.i_hash.p.data.eq(cipher),
        ]
        m.d.sync += room.eq(room - move + (self.o_sealed.valid & self.o_sealed.ready))

        # Ciphertext keeps step with its hash; in the place of the tag goes the tag's mask, which meets the digest.
        valid, of_last, data = move, last, cipher
        for stage in range(Ghash.latency):
            later = Signal(name=f"valid{stage}"), Signal(name=f"last{stage}", reset_less=True)
            later_data = Signal(self.lanes * BLOCK_BITS, name=f"cipher{stage}", reset_less=True)
            m.d.sync += [later[0].eq(valid), later[1].eq(of_last), later_data.eq(data)]
            (valid, of_last), data = later, later_data
        m.d.comb += [
            sealed.i.valid.eq(valid),
            sealed.i.p.last.eq(of_last),
            sealed.i.p.data.eq(Cat(data[:-BLOCK_BITS], data[-BLOCK_BITS:] ^ core.o_digest.p)),
        ]
        return ResetInserter(self.erase)(m)
