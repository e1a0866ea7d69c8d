"""Messages as the reference seals them, for the blocks that open and seal, and both blocks in one rig."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from omap.crypto import PageCipher
from rtl.crypto.gcm import GcmOpen, GcmOpenEach, GcmSeal

STREAMS = ["open__i_request", "open__i_sealed", "open__o_text", "seal__i_request", "seal__i_text", "seal__o_sealed"]
"""All streams of a :class:`Pair` but those of keys."""


def number(data):
    return int.from_bytes(data, "little")


class Pair(wiring.Component):
    """Both blocks of one kind, so that they are compiled together."""

    def __init__(self, *, each=False, **parameters):
        self.opener = (GcmOpenEach if each else GcmOpen)(**parameters)
        self.sealer = GcmSeal(**parameters)
        super().__init__({"open": Out(self.opener.signature), "seal": Out(self.sealer.signature)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.opener, m.submodules.sealer = self.opener, self.sealer
        connect(m, flipped(self.open), self.opener)
        connect(m, flipped(self.seal), self.sealer)
        return m


class Messages:
    """Messages of one kind under drawn keys, as the reference seals them.

    If they have lengths of their own, ``beats`` are those of each, or else they are drawn. ``more`` says of each
    whether it has more headers; none has, if it is empty.
    """

    def __init__(self, design, seed, count, beats=(), more=()):
        self.design = design
        self.keys = [seed.randbytes(design.key_bits // 8) for _ in range(design.keys)]
        self.aads = [seed.randbytes(16) for _ in self.keys]
        self.indices = [seed.randrange(design.keys) for _ in range(count)]
        self.nonces, self.clear, self.sealed = [], [], []
        if design.lengths and not beats:
            beats = [seed.choice([3, 4, 8, seed.randint(3, design.beats)]) for _ in range(count)]
        self.lengths = [16 * length for length in beats] or [design.sealed_bytes] * count
        self.more = list(more) or [False] * count
        for key_index, length, longer in zip(self.indices, self.lengths, self.more, strict=True):
            header = seed.randbytes(design.header_bytes + longer * design.more_header_bytes)
            text = seed.randbytes(length - 16 - len(header))
            if design.header_bytes:
                nonce = seed.randbytes(12)
                sealed = header + AESGCM(self.keys[key_index]).encrypt(nonce, text, header)
            elif design.key_bits == 256:  # a page
                page, version = seed.randrange(1 << 32), seed.randrange(1 << 64)
                nonce = page.to_bytes(4, "big") + version.to_bytes(8, "big")
                sealed = PageCipher(self.keys[key_index], self.aads[key_index]).seal(page, version, text)
            else:
                nonce = seed.randbytes(12)
                aad = self.aads[key_index][: design.aad_bytes]
                sealed = AESGCM(self.keys[key_index]).encrypt(nonce, text, aad)
            self.nonces.append(nonce)
            self.clear.append(header + text)
            self.sealed.append(sealed)

    def load(self, bench, prefix):
        stream = f"{prefix}i_key"
        keys = enumerate(zip(self.keys, self.aads, strict=True))
        bench.source(stream).push(
            [{"key_index": key_index, "key": number(key), "aad": number(aad)} for key_index, (key, aad) in keys]
        )
        limit = 200 + len(self.keys) * (self.design.load_cycles + 1)
        bench.run_until(limit=limit, transfers={stream: len(self.keys)})
        bench.run_until(limit=limit, values={f"{stream}__ready": 1})

    def request(self, bench, prefix):
        requests = []
        for key_index, nonce, length, more in zip(self.indices, self.nonces, self.lengths, self.more, strict=True):
            beats = {"beats": length // 16} if self.design.lengths else {}
            longer = {"more": more} if self.design.more_header_bytes else {}
            requests.append({"key_index": key_index, "nonce": number(nonce), **beats, **longer})
        bench.source(f"{prefix}i_request").push(requests)

    def push(self, bench, stream, messages):
        width = 16 * self.design.lanes
        beats = [number(message[at : at + width]) for message in messages for at in range(0, len(message), width)]
        bench.source(stream).push(beats)

    def keep(self, places):
        """Drop all messages but those at these places."""
        for name in ("indices", "nonces", "clear", "sealed", "lengths", "more"):
            setattr(self, name, [getattr(self, name)[place] for place in places])

    @property
    def sealed_beats(self):
        """Beats of all sealed messages."""
        return sum(self.lengths) // (16 * self.design.lanes)

    @property
    def text_beats(self):
        """Beats of all texts."""
        return sum(map(len, self.texts())) // (16 * self.design.lanes)

    def texts(self):
        """The clear messages in whole beats, as they leave ``o_text``."""
        return [text + bytes(-len(text) % (16 * self.design.lanes)) for text in self.clear]

    def beats(self, messages):
        """What an output stream shows for messages: data, and whether it is the last beat."""
        width = 16 * self.design.lanes
        return [
            (number(message[at : at + width]), at + width == len(message))
            for message in messages
            for at in range(0, len(message), width)
        ]


def taken(bench, stream, lanes):
    """Return (data, last, fault) of all items taken from a stream."""
    items = bench.sink(stream).take()
    width = 128 * lanes
    return [(item & ((1 << width) - 1), bool(item >> width & 1), bool(item >> width + 1)) for item in items]


def open_all(bench, messages, prefix="", sealed=None):
    messages.request(bench, prefix)
    messages.push(bench, f"{prefix}i_sealed", messages.sealed if sealed is None else sealed)


def spoil(messages, bad, bit):
    """Return the sealed messages with one bit of some changed."""
    sealed = [bytearray(message) for message in messages.sealed]
    for place in bad:
        sealed[place][bit // 8 % len(sealed[place])] ^= 1 << bit % 8
    return sealed


def expected_each(messages, sealed, bad):
    """Return what must come out: zeros behind the header once a message under the same key was bad."""
    dead, wanted = set(), []
    for place, key_index in enumerate(messages.indices):
        text = messages.texts()[place]
        dead |= {key_index} if place in bad else set()
        if key_index in dead:
            text = bytes(sealed[place][:16]) + bytes(len(text) - 16)
        wanted += [(*beat, key_index in dead) for beat in messages.beats([text])]
    return wanted


def run(pair, bench, messages):
    """Open and seal all messages at once, check what comes out, and return the cycles of both."""
    messages.load(bench, "open__")
    messages.load(bench, "seal__")
    open_all(bench, messages, "open__")
    messages.request(bench, "seal__")
    messages.push(bench, "seal__i_text", messages.texts())
    wanted = {"open__o_text": messages.text_beats, "seal__o_sealed": messages.sealed_beats}
    bench.run_until(limit=1000 + 10 * messages.sealed_beats, transfers=wanted)
    texts, sealed = messages.beats(messages.texts()), messages.beats(messages.sealed)
    assert taken(bench, "open__o_text", 1) == [(*beat, False) for beat in texts]
    assert taken(bench, "seal__o_sealed", 1) == [(*beat, False) for beat in sealed]
    return (
        int(bench.sink("open__o_text").cycles[-1] - bench.source("open__i_sealed").cycles[0]),
        int(bench.sink("seal__o_sealed").cycles[-1] - bench.source("seal__i_text").cycles[0]),
    )


def no_text_before_the_tag(pair, bench, messages):
    """Give the opener of a pair a message, its tag last and late, and look for text before the tag was judged."""
    messages.load(bench, "open__")
    messages.request(bench, "open__")
    head, tag = messages.sealed[0][:-16], messages.sealed[0][-16:]
    messages.push(bench, "open__i_sealed", [head])
    data = (1 << 128) - 1

    def nothing_shows():
        assert bench.get("open__o_text__valid") == 0
        assert bench.get("open__o_text__payload") & data == 0

    for _ in range(messages.sealed_beats + 120):  # the tag is held back
        bench.run(1)
        nothing_shows()
    messages.push(bench, "open__i_sealed", [tag])
    bench.run_until(limit=5, transfers={"open__i_sealed": 1})
    for _ in range(pair.opener.latency - 1):
        nothing_shows()
        bench.run(1)
    assert bench.get("open__o_text__valid") == 1
    assert bench.get("open__o_text__payload") & data == number(messages.clear[0][:16])
