"""The sessions block and the reference side by side: records in, what both make of them compared."""

from functools import cache

import numpy as np

from omap.batch import CommandBatch
from omap.bodies import PREAMBLE, read_reply
from omap.columns import Answers
from omap.credentials import ALL_RIGHTS, Credential
from omap.fresh import Fresh
from omap.operations import Kind, Operation, Status
from omap.presets import preset
from omap.sessions import DeviceSessions
from omap.wire import (
    ENDS_SESSION,
    LINE_BYTES,
    Header,
    RecordCodec,
    RecordType,
    Refusal,
    read_header,
    refusal,
)
from rtl.rings.record import command_layout, reply_layout
from rtl.rings.sessions import Sessions
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.compiled import Design
from sim.device.known import DEVICE_ID
from sim.device.map_bench import secret_words
from tests.support.rtl import session_ends
from tests.support.rtl.session_ends import MAP_ID, ROOT_KEY, number

BEAT_BYTES = 16
OWNER = Credential(ALL_RIGHTS)
"""Who may do everything."""

IN_FLIGHT = 8


@cache
def design(name):
    """Return the block for a preset, compiled, and the preset."""
    return Design(Sessions(preset(name), in_flight=IN_FLIGHT)), preset(name)


class Interpreted:
    """In the place of a compiled design: a bench that sees inside."""

    def __init__(self, *, journal=False):
        self.journal = journal

    def bench(self, *, seed):
        return AmaranthBench(Sessions(preset("TINY"), in_flight=4, journal=self.journal), seed=seed)


UNERASED = ["fifo.py", "handshake.py"]
"""Memories that no erasure reaches: what has passed, and the public part of pending handshakes."""


def records_of(beats):
    """Return the records of which a stream has carried the beats, all of them to their ends."""
    whole, record = [], b""
    for beat in beats:
        record += (beat & (1 << 128) - 1).to_bytes(BEAT_BYTES, "little")
        if beat >> 128:
            whole.append(record)
            record = b""
    assert not record
    return whole


def packed(layout, fields):
    """Return fields as the number that a stream carries, as :func:`sim.models.streams.pack` does in much longer."""
    return sum(int(fields[name]) << field.offset for name, field in layout)


class Client(session_ends.Client):
    """A client that draws its operations."""

    def __init__(self, params, rng, root_key, *, credential=OWNER, replaces=0):
        super().__init__(params, rng, credential, root_key=root_key, replaces=replaces)

    def draw(self, rng, kind=None):
        """Return an operation. A client with a prefix keeps to it in half of them."""
        params, prefix = self.codec.params, self.credential.prefix
        kind = rng.randrange(4) if kind is None else kind
        value = rng.randbytes(params.value_bytes) if kind == Kind.PUT else b""
        own = prefix if rng.random() < 0.5 else b""
        return Operation(kind, own + rng.randbytes(params.key_bytes - len(own)), value)

    def operation(self, rng, kind=None):
        """Return the record of an operation."""
        return self.seal([self.draw(rng, kind)])

    def operations(self, rng, count=None):
        """Return the record of so many operations; by default mostly of a few, or of any number, or of all that fit."""
        most = self.codec.most_operations
        if count is None:
            count = rng.choice([*[rng.randint(1, min(6, most))] * 6, rng.randint(1, most), most])
        return self.seal([self.draw(rng) for _ in range(count)])


class Twin:
    """A run of the block, and the reference that says what must come out of it.

    ``feed`` gives a record to both and returns the reference's answer, so that clients can go on at once; ``settle``
    runs the block until it has answered everything, and compares.
    """

    def __init__(self, design, params, rng, *, schedule=None, root_key=ROOT_KEY, chunk=5, in_flight=IN_FLIGHT):
        self.params, self.rng, self.chunk, self.in_flight = params, rng, chunk, in_flight
        self.schedule = schedule or rng
        self.codec = RecordCodec(params)
        self.bench = design.bench(seed=self.schedule.randrange(1 << 30))
        self.root_key = root_key
        self.command, self.reply = command_layout(params), reply_layout(params)
        self.commands, self.answers, self.replies = [], [], []
        self.got_commands, self.got_beats = [], []
        self.replied = 0
        self.ahead = 0  # how far the numbers that clients see are ahead of the map's own
        self.secrets = []
        self.fresh = Fresh(root_key, device_id=DEVICE_ID, noise=self._noise)
        self.format()
        self.bench.set("map_id", number(MAP_ID))
        self.bench.set("device_id", number(DEVICE_ID))
        self.bench.set("open_", 1)
        self.bench.source("i_root_key").push([root_key])

    def format(self):
        """End all sessions of the reference, and of a block that has settled."""
        if self.bench.cycle:
            self.bench.set("open_", 0)
            self.bench.set("clear", 1)
            self.bench.run(1)
            self.bench.set("clear", 0)
            self.bench.set("open_", 1)
            secrets = secret_words(self.fresh.secrets())
            self.secrets += secrets
            self.bench.run_until(limit=1 << 16, transfers={"o_secrets": len(secrets)})
        self.model = DeviceSessions(self.params, self.root_key, nonce=self.fresh.nonce)

    def _noise(self):
        noise = self.rng.randbytes(32)
        self.bench.source("i_noise").push([noise[:16], noise[16:]])
        return noise

    def client(self, **options):
        return Client(self.params, self.rng, self.root_key, **options)

    def opened(self, **options):
        """Open a session."""
        client = self.client(**options)
        client.opened(self.feed(client.confirm(self.feed(client.hello()))))
        return client

    def feed(self, record):
        """Give a record to both; return the reference's answer. Of a malformed one both get the first line."""
        header = read_header(record)
        malformed = not self.codec.command_lines(header.type, header.lines, header.count)
        record = record[: LINE_BYTES if malformed else LINE_BYTES * header.lines]
        self.push(record, malformed=malformed)
        answer = refusal(header, Refusal.MALFORMED) if malformed else self._answer(record, header)
        self.answers.append(answer)
        return answer

    def push(self, record, *, malformed=False):
        """Give a record to the block."""
        width = BEAT_BYTES
        last = len(record) - width
        self.bench.source("i_record").push(
            [
                {"data": number(record[at : at + width]), "last": at == last, "malformed": malformed}
                for at in range(0, len(record), width)
            ]
        )

    def _answer(self, record, header):
        """As DeviceModel._serve, with replies that are drawn."""
        if header.type == RecordType.HELLO:
            return self.model.hello(record, MAP_ID)
        if header.type == RecordType.CONFIRM:
            return self.model.confirm(record)
        text = self.model.open(record, header)
        if isinstance(text, Refusal):
            if text in ENDS_SESSION:
                self.model.close(header)
            return refusal(header, text)
        batch, credential = CommandBatch(self.codec), self.model.credential(header)
        closes = batch.add(header, credential, text)
        columns = batch.columns()
        for kind, key, value in zip(*columns, strict=True):
            fields = {"kind": int(kind), "key": number(bytes(key)), "value": number(bytes(value))}
            self.commands.append(packed(self.command, fields))
        answer = self.model.seal(header, self._reply(batch, columns.kinds, credential))
        if closes:
            self.model.close(header)
        return answer

    def _reply(self, batch, kinds, credential):
        """Draw the replies to a record, and return the text that answers it."""
        rng, count, size = self.rng, len(kinds), self.params.value_bytes
        first, overruns = rng.randrange((1 << 64) - count), [rng.getrandbits(32) for _ in kinds]
        live = [rng.getrandbits(rng.choice([10, 32, 63])) for _ in kinds]
        statuses = [Status.OK if kind == Kind.NOP else rng.randrange(3) for kind in kinds]
        found = [kind != Kind.NOP and rng.random() < 0.5 for kind in kinds]
        values = [rng.randbytes(size) for _ in kinds]
        for index in range(count):
            fields = {
                "status": statuses[index],
                "found": found[index],
                "value": number(values[index]),
                "overruns": overruns[index],
                "operation": (first + index - self.ahead) % (1 << 64),
                "live": live[index],
            }
            self.replies.append(packed(self.reply, fields))
        previous = np.frombuffer(b"".join(values), np.uint8).reshape(count, size) * np.array(found)[:, None]
        answers = Answers(np.array(statuses, np.uint8), np.array(found), previous)
        self.ran(batch.columns(), answers, first)
        (text,) = batch.replies(answers, first, np.array(live, np.int64))
        reply = read_reply(text, count)  # the reference has no time, so it counts no overruns
        told = overruns[-1] if credential.sees_map else 0
        return PREAMBLE.pack(reply.sequence, told, reply.live) + text[PREAMBLE.size :]

    def ran(self, columns, answers, first):
        """Take note of the operations of a record, and of the answers to them."""

    def step(self, cycles):
        """Run the block, then reply to commands that it gave out, maybe not to all."""
        self.bench.run(cycles)
        self.got_commands += self.bench.sink("o_command").take()
        self.got_beats += self.bench.sink("o_record").take()
        waiting = len(self.got_commands) - self.replied
        assert waiting <= self.in_flight
        more = self.schedule.randint(0, waiting)
        self.bench.source("i_reply").push(self.replies[self.replied : self.replied + more])
        self.replied += more

    def got_answers(self):
        return records_of(self.got_beats)

    def turns(self, limit):
        """Run until everything is answered, and nothing more comes; lets the caller act after each step until then."""
        wanted = sum(map(len, self.answers)) // BEAT_BYTES
        end = self.bench.cycle + limit
        while len(self.got_beats) < wanted or not self.bench.get("idle"):
            assert self.bench.cycle < end, (len(self.got_beats), wanted, len(self.got_commands), len(self.commands))
            busy = self.replied < len(self.got_commands)
            self.step(self.schedule.randint(1, self.chunk) if busy else 40)
            yield
        self.step(400)

    def settle(self, limit=200000):
        """Run until everything is answered, and compare."""
        for _ in self.turns(limit):
            pass
        assert self.got_commands == self.commands
        assert self.bench.sink("o_secrets").take() == self.secrets
        self.secrets.clear()
        assert self.got_answers() == self.answers
        assert self.bench.get("idle") == 1


def flipped(record, bit):
    altered = bytearray(record)
    altered[bit // 8 % len(altered)] ^= 1 << bit % 8
    return bytes(altered)


def code(answer):
    """Return why an answer refuses, or 0 if it does not."""
    header = read_header(answer)
    return header.count if header.type == RecordType.REFUSED else 0


def data(twin, index, session, sequence, count=1):
    """A DATA record that nobody sealed."""
    lines = twin.codec.lines(count)
    header = Header(RecordType.DATA, index, lines, count, session, sequence)
    return header.pack() + twin.rng.randbytes(lines * LINE_BYTES - BEAT_BYTES)


def is_open(twin, client):
    return any(entry is not None and entry.session == client.session for entry in twin.model._table)
