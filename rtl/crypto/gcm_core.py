# amaranth: UnusedElaboratable=no
"""What opening and sealing have in common: keystream, hash, and the keys of both."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.constants import BLOCK_BITS, BLOCK_BYTES, LANES
from rtl.crypto.aes import Aes
from rtl.crypto.ghash import SEGMENT, Ghash
from rtl.stream.fifo import Fifo
from rtl.stream.interfaces import NONCE_BITS, require, require_one_of, require_whole, swap_bytes

MAX_SEALED_BYTES = 1 << 18
"""Largest page or record; what the power tables of GHASH allow."""

FIRST_TEXT_COUNTER = 2
"""Counter of the first text block; counter 1 masks the tag (NIST SP 800-38D, section 7.1, with a 96-bit nonce)."""


class GcmCore(wiring.Component):
    """Keystream and GHASH for messages of ``sealed_bytes``, or at most so many, tag included, a beat of each a cycle.

    The place of the tag in the last beat gets the block that masks the tag, so that a message of n blocks and a tag
    costs n + 1 encryptions in as many places: the cipher never falls behind the data. Headers get zeros: they pass
    in the clear.

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
        Keys in the table, 1 to 64.
    lanes : :class:`int`
        Blocks a beat, 1, 2 or 4.
    lengths : :class:`bool`
        Every message has a length of its own, from 48 bytes to ``sealed_bytes``, which comes with its request. Needs
        ``lanes`` 1, ``header_bytes`` 16 and ``aad_bytes`` 0.
    more_header_bytes : :class:`int`
        Bytes of additional data behind the header of those messages whose requests say ``more``, in the clear: a
        multiple of 16. 0 if none has them. Needs ``lengths``.

    Members
    -------
    i_key : :py:`In(stream.Signature(StructLayout({"key_index": range(keys), "key": key_bits, "aad": 128})))`
        A key, its index and its additional data. ``ready`` returns after :attr:`load_cycles`; requests under the key
        are taken from then on. A key may be replaced only when no message under it is under way.
    i_request : :py:`In(stream.Signature(StructLayout({"key_index": range(keys), "nonce": 96})))`
        Asks for the keystream of one message. Not taken while there is no key at its index. With ``lengths`` there is
        a further field, ``beats``: those of the whole message, from 3 to :attr:`beats`. With ``more_header_bytes``
        there is ``more``, a bit: the message has so many bytes behind its header, and ``beats`` counts them too.
    o_keystream : :py:`Out(stream.Signature(Ghash.beat_shape))`
        Keystream, a beat for each beat of the message, and the index of its key. With ``lengths`` it says as well
        where in its message a beat stands, and with ``more_header_bytes``, whether that message has them.
    i_hash : :py:`In(stream.Signature(Ghash.beat_shape, always_ready=True))`
        Ciphertext to hash, beat by beat; what lies in the place of the tag does not count. All but ``data`` as it
        came with the keystream.
    o_digest : :py:`Out(stream.Signature(128, always_ready=True))`
        Digest, ``Ghash.latency`` cycles after the last beat of a message; else zero.
    forget : :py:`In(keys)`
        A bit a key: these keys are overwritten with zeros, one after the other. No request is taken under them until
        they are loaded again, nor any key until they are overwritten. Messages under other keys go on.
    go_on : :py:`In(1)`
        Requests under a forgotten key are taken all the same, and get the keystream of some key that is no secret. For
        a block that throws away what comes of them.
    erase : :py:`In(1)`
        Overwrites all keys and forgets all messages under way.

    Countermeasures
    ---------------
    GCM.KEY.PRESENT
        Without a key there is no keystream: nothing is ever sealed under an erased or half-loaded key.
    GCM.KEY.ERASE
        ``erase`` overwrites all keys, ``forget`` those that it names.
    """

    # Many: each is one size of messages or tables, and most have defaults.
    def __init__(
        self,
        *,
        sealed_bytes: int,
        aad_bytes: int,
        header_bytes: int,
        key_bits: int,
        keys: int,
        lanes: int,
        lengths: bool = False,
        more_header_bytes: int = 0,
    ) -> None:
        require_one_of("lanes", lanes, LANES)
        require_whole("sealed_bytes", sealed_bytes, 2 * BLOCK_BYTES, MAX_SEALED_BYTES)
        beat_bytes = lanes * BLOCK_BYTES
        require(
            sealed_bytes % beat_bytes == 0,
            f"sealed_bytes is {sealed_bytes}; it must be whole beats of {beat_bytes} bytes, lanes is {lanes}",
        )
        self._aes = Aes(key_bits=key_bits, keys=keys, lanes=lanes)
        self._ghash = Ghash(
            blocks=sealed_bytes // BLOCK_BYTES,
            aad_bytes=aad_bytes,
            header_bytes=header_bytes,
            keys=keys,
            lanes=lanes,
            lengths=lengths,
            more_header_bytes=more_header_bytes,
        )
        self.sealed_bytes = sealed_bytes
        self.aad_bytes = aad_bytes
        self.header_bytes = header_bytes
        self.key_bits = key_bits
        self.keys = keys
        self.lanes = lanes
        self.lengths = lengths
        self.more_header_bytes = more_header_bytes
        self.beats = sealed_bytes // beat_bytes
        key_index = range(keys)
        self.beat_shape = self._ghash.beat_shape
        length = {"beats": range(self.beats + 1)} if lengths else {}
        length |= {"more": 1} if more_header_bytes else {}
        super().__init__(
            {
                "i_key": In(
                    stream.Signature(StructLayout({"key_index": key_index, "key": key_bits, "aad": BLOCK_BITS}))
                ),
                "i_request": In(
                    stream.Signature(StructLayout({"key_index": key_index, "nonce": NONCE_BITS, **length}))
                ),
                "o_keystream": Out(stream.Signature(self.beat_shape)),
                "i_hash": In(stream.Signature(self.beat_shape, always_ready=True)),
                "o_digest": Out(stream.Signature(BLOCK_BITS, always_ready=True)),
                "forget": In(keys),
                "go_on": In(1),
                "erase": In(1),
            }
        )

    @property
    def load_cycles(self) -> int:
        """Cycles from an accepted key to the return of ``i_key.ready``."""
        return (self._aes.rounds + 2) + 1 + self._aes.latency + self._ghash.load_cycles + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.aes = aes = self._aes
        m.submodules.ghash = ghash = self._ghash
        # The cipher can't be held back: a beat enters it only when the FIFO will have room. Twice its latency lets
        # requests run ahead of the data, and is a power of two for both key sizes.
        m.submodules.keystream = keystream = Fifo(shape=self.beat_shape, depth=32)
        connect(m, ghash.i_blocks, flipped(self.i_hash))
        connect(m, ghash.o_digest, flipped(self.o_digest))
        connect(m, keystream.o, flipped(self.o_keystream))

        present, probe, new_index, hash_key_here = self._elaborate_keys(m)
        active = Signal()
        key_index = Signal(range(self.keys))
        nonce = Signal(NONCE_BITS)
        counter = Signal(32)  # of the first lane
        room = Signal(range(keystream.depth + 1), init=keystream.depth)
        issue, begin = Signal(), Signal()
        header, last, places = self._elaborate_places(m, issue, begin)
        header_blocks = self.header_bytes // BLOCK_BYTES
        m.d.comb += [
            issue.eq(active & (room != 0) & ~probe),
            begin.eq(self.i_request.valid & self.i_request.ready),
            # SEC_CM: GCM.KEY.PRESENT -- a request waits until its key is loaded, for ever if keys were erased
            self.i_request.ready.eq(present & (~active | (issue & last)) & ~self.erase),
            aes.i_blocks.valid.eq(issue | probe),
            aes.i_blocks.p.key_index.eq(Mux(probe, new_index, key_index)),
        ]
        for lane in range(self.lanes):
            block = Cat(nonce, swap_bytes((counter + lane)[:32]))
            if lane == self.lanes - 1:
                block = Mux(last, Cat(nonce, swap_bytes(Const(1, 32))), block)
            m.d.comb += aes.i_blocks.p.blocks[lane].eq(Mux(probe, 0, block))
        with m.If(issue):
            m.d.sync += counter.eq(counter + self.lanes)
            with m.If(last):
                m.d.sync += active.eq(0)
        with m.If(begin):
            m.d.sync += [
                active.eq(1),
                key_index.eq(self.i_request.p.key_index),
                nonce.eq(self.i_request.p.nonce),
                counter.eq(FIRST_TEXT_COUNTER - header_blocks),
            ]
            if self.more_header_bytes:
                with m.If(self.i_request.p.more):
                    m.d.sync += counter.eq(FIRST_TEXT_COUNTER - header_blocks - self.more_header_bytes // BLOCK_BYTES)
        taken = self.o_keystream.valid & self.o_keystream.ready
        m.d.sync += room.eq(room - issue + taken)

        index_bits = len(key_index)
        companions = [Cat(aes.i_blocks.p.key_index, places, header, probe)]
        for stage in range(aes.latency):
            companions.append(Signal.like(companions[-1], name=f"companion{stage}", reset_less=True))
            m.d.sync += companions[-1].eq(companions[-2])
        index_after, places_after = (companions[-1][part] for part in (slice(index_bits), slice(index_bits, -2)))
        of_header, of_probe = companions[-1][-2:]
        stream_blocks = [aes.o_blocks.p[lane] for lane in range(self.lanes)]
        if self.header_bytes:
            stream_blocks[0] = Mux(of_header, 0, stream_blocks[0])
        m.d.comb += [
            hash_key_here.eq(aes.o_blocks.valid & of_probe),
            # SEC_CM: GCM.KEY.UNREADABLE -- the block that is the hash key goes to the hash alone
            keystream.i.valid.eq(aes.o_blocks.valid & ~of_probe),
            keystream.i.p.key_index.eq(index_after),
            keystream.i.p.data.eq(Cat(stream_blocks)),
        ]
        if self.lengths:
            of_places = [keystream.i.p.more] if self.more_header_bytes else []
            m.d.comb += Cat(keystream.i.p.places, keystream.i.p.ends_text, of_places).eq(places_after)
        # SEC_CM: GCM.KEY.ERASE -- cipher and hash, which erase themselves on a reset, and all that is under way
        return ResetInserter(self.erase)(m)

    def _elaborate_places(self, m: Module, issue: Signal, begin: Signal) -> tuple[Value, Value, Value]:
        """Count the beats that are issued, from ``begin`` on.

        Return whether the next one is of a header and whether it is the last of its message; and, if messages have
        lengths of their own, where it stands, as a beat of keystream says it.
        """
        if not self.lengths:
            beat, last = Signal(range(self.beats)), Signal()
            m.d.comb += last.eq(beat == self.beats - 1)
            with m.If(issue):
                m.d.sync += beat.eq(beat + 1)
            with m.If(begin):
                m.d.sync += beat.eq(0)
            return beat == 0, last, Cat()
        behind, header, last = Signal(range(self.beats)), Signal(), Signal()
        ends_text = behind == 1
        places = Cat(behind[: (SEGMENT - 1).bit_length()], ends_text)
        with m.If(issue):
            m.d.sync += [behind.eq(behind - 1), header.eq(0), last.eq(ends_text)]
        with m.If(begin):
            m.d.sync += [behind.eq(self.i_request.p.beats - 1), header.eq(1), last.eq(0)]
        if not self.more_header_bytes:
            return header, last, places
        more, blocks = Signal(), self.more_header_bytes // BLOCK_BYTES
        headers = Signal(range(blocks + 1))  # behind this beat
        with m.If(issue & (headers != 0)):
            m.d.sync += [headers.eq(headers - 1), header.eq(1)]
        with m.If(begin):
            m.d.sync += [more.eq(self.i_request.p.more), headers.eq(Mux(self.i_request.p.more, blocks, 0))]
        return header, last, Cat(places, more)

    def _elaborate_keys(self, m: Module) -> tuple[Signal, Signal, Signal, Signal]:
        """Load and forget keys, one at a time.

        Return whether the key of the request on offer is there; whether the input of the cipher belongs to the zero
        block that makes a hash key, and under which key; and, to be driven, whether that block has come out.
        """
        aes, ghash, indices = self._aes, self._ghash, range(self.keys)
        loaded = Signal(self.keys)
        doomed = Signal(self.keys)  # still to be overwritten
        forgotten = Signal(self.keys)
        sweep = Signal(indices)
        free = Signal()  # no key is being loaded or overwritten
        probe = Signal()  # the cipher's input belongs to the zero block that makes a hash key
        new_index = Signal(indices)
        aad = Signal(BLOCK_BITS)
        hash_key_here, present = Signal(), Signal()
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [
                    free.eq(aes.i_key.ready & ghash.i_key.ready),
                    self.i_key.ready.eq(free & ~doomed.any() & ~self.forget.any() & ~self.erase),
                    aes.i_key.valid.eq(self.i_key.valid & self.i_key.ready),
                ]
                with m.If(aes.i_key.valid):
                    m.d.sync += [
                        new_index.eq(self.i_key.p.key_index),
                        aad.eq(self.i_key.p.aad),
                        loaded.bit_select(self.i_key.p.key_index, 1).eq(0),
                        forgotten.bit_select(self.i_key.p.key_index, 1).eq(0),
                    ]
                    m.next = "EXPAND"
                with m.Elif(free & doomed.any()):
                    with m.If(doomed.bit_select(sweep, 1)):
                        # SEC_CM: GCM.KEY.ERASE -- round keys, hash key and powers of one key; the others serve on
                        m.d.comb += [aes.forget.eq(1), ghash.forget.eq(1)]
                        m.d.sync += doomed.bit_select(sweep, 1).eq(0)
                    with m.Else():
                        m.d.sync += sweep.eq(Mux(sweep == self.keys - 1, 0, sweep + 1))
            with m.State("EXPAND"), m.If(aes.i_key.ready):
                m.next = "PROBE"
            with m.State("PROBE"):
                m.d.comb += probe.eq(1)
                m.next = "HASH_KEY"
            with m.State("HASH_KEY"):
                m.d.comb += ghash.i_key.valid.eq(hash_key_here)
                with m.If(hash_key_here):
                    m.next = "POWERS"
            with m.State("POWERS"), m.If(ghash.i_key.ready):
                m.d.sync += loaded.bit_select(new_index, 1).eq(~doomed.bit_select(new_index, 1))
                m.next = "IDLE"
        for index in indices:
            with m.If(self.forget[index]):
                m.d.sync += [loaded[index].eq(0), doomed[index].eq(1), forgotten[index].eq(1)]
        request = self.i_request.p.key_index
        m.d.comb += [
            present.eq(loaded.bit_select(request, 1) | (self.go_on & forgotten.bit_select(request, 1))),
            aes.forget_index.eq(sweep),
            ghash.forget_index.eq(sweep),
            aes.i_key.p.key_index.eq(self.i_key.p.key_index),
            aes.i_key.p.key.eq(self.i_key.p.key),
            ghash.i_key.p.key_index.eq(new_index),
            ghash.i_key.p.hash_key.eq(aes.o_blocks.p[0]),
            ghash.i_key.p.aad.eq(aad),
        ]
        return present, probe, new_index, hash_key_here


class GcmBlock(wiring.Component):
    """What opening and sealing share: parameters, core, and the streams of keys and requests.

    A class that adds its own ports returns them from ``_own_ports``.
    """

    # Many: each is one size of messages or tables, and most have defaults.
    def __init__(
        self,
        *,
        sealed_bytes: int,
        aad_bytes: int = 0,
        header_bytes: int = 0,
        key_bits: int = 256,
        keys: int = 1,
        lanes: int = 1,
        lengths: bool = False,
        more_header_bytes: int = 0,
    ) -> None:
        self._core = core = GcmCore(
            sealed_bytes=sealed_bytes,
            aad_bytes=aad_bytes,
            header_bytes=header_bytes,
            key_bits=key_bits,
            keys=keys,
            lanes=lanes,
            lengths=lengths,
            more_header_bytes=more_header_bytes,
        )
        self.sealed_bytes = sealed_bytes
        self.aad_bytes = aad_bytes
        self.header_bytes = header_bytes
        self.key_bits = key_bits
        self.keys = keys
        self.lanes = lanes
        self.lengths = lengths
        self.more_header_bytes = more_header_bytes
        self.beats = core.beats
        super().__init__(
            {
                "i_key": core.signature.members["i_key"],
                "i_request": core.signature.members["i_request"],
                **self._own_ports(),
                "forget": core.signature.members["forget"],
                "erase": In(1),
            }
        )

    def _own_ports(self) -> dict[str, wiring.Member]:
        raise NotImplementedError

    @property
    def text_beats(self) -> int:
        """Beats of a message's text, or of the longest one."""
        return self.beats - (self.lanes == 1)

    @property
    def load_cycles(self) -> int:
        """Cycles from an accepted key to the return of ``i_key.ready``."""
        return self._core.load_cycles

    def _elaborate_last(self, m: Module, move: Value) -> Value:
        """Return whether the beat of keystream on offer is the last of its message; ``move`` takes it."""
        if self.lengths:
            after_text = Signal()
            with m.If(move):
                m.d.sync += after_text.eq(self._core.o_keystream.p.ends_text)
            return after_text
        beat = Signal(range(self.beats))
        last = beat == self.beats - 1
        with m.If(move):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        return last
