"""The sessions block and the reference side by side: records in, what both make of them compared."""

from functools import cache

from omap.fresh import Fresh
from omap.operations import Operation, Response
from omap.presets import preset
from omap.session import ClientSession, DeviceSessions
from omap.wire import CLOSE, ENDS_SESSION, Header, RecordCodec, RecordType, Refusal, Reply, read_header
from rtl.rings.record import command_layout, reply_layout
from rtl.rings.sessions import Sessions
from sim.bench.compiled import Design
from sim.device.known import DEVICE_ID
from sim.device.map_bench import secret_words
from sim.models.streams import pack

ROOT_KEY = bytes(range(32))
MAP_ID = bytes(range(16, 32))


IN_FLIGHT = 8


@cache
def design(name):
    """Return the block for a preset, compiled, and the preset."""
    return Design(Sessions(preset(name), in_flight=IN_FLIGHT)), preset(name)


def number(data):
    return int.from_bytes(data, "little")


class Client(ClientSession):
    """A client's end with a drawn nonce."""

    def __init__(self, params, rng, root_key, *, replaces=0):
        super().__init__(params, root_key, replaces=replaces)
        self._nonce = rng.randbytes(16)

    def operation(self, rng, kind=None):
        """Return the record of an operation."""
        params = self.codec.params
        kind = rng.randrange(4) if kind is None else kind
        value = rng.randbytes(params.value_bytes) if kind == 2 else b""
        return self.seal(Operation(kind, rng.randbytes(params.key_bytes), value))


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
        self.commands, self.answers, self.replies = [], [], []
        self.got_commands, self.got_beats = [], []
        self.replied = 0
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
        """Give a record to both; return the reference's answer."""
        width = 16
        last = len(record) - width
        self.bench.source("i_record").push(
            [{"data": number(record[at : at + width]), "last": at == last} for at in range(0, len(record), width)]
        )
        answer = self._answer(record, read_header(record))
        self.answers.append(answer)
        return answer

    def _answer(self, record, header):
        """As DeviceModel._serve, with a reply that is drawn."""
        if header.type == RecordType.HELLO:
            return self.model.hello(record, MAP_ID)
        if header.type == RecordType.CONFIRM:
            return self.model.confirm(record)
        if header.type != RecordType.DATA:
            return self.model.refuse(header, Refusal.MALFORMED)
        command = self.model.open(record, header)
        if isinstance(command, Refusal):
            if command in ENDS_SESSION:
                self.model.close(header)
            return self.model.refuse(header, command)
        kind, key, value = command
        fields = {"kind": 0 if kind == CLOSE else int(kind), "key": number(key), "value": number(value)}
        self.commands.append(pack(command_layout(self.params), fields))
        answer = self.model.seal(header, self._reply())
        if kind == CLOSE:
            self.model.close(header)
        return answer

    def _reply(self):
        rng = self.rng
        value, found = rng.randbytes(self.params.value_bytes), rng.random() < 0.5
        reply = Reply(
            Response(rng.randrange(3), value if found else None),
            rng.getrandbits(64),
            rng.getrandbits(64),
            rng.getrandbits(32),
        )
        fields = {
            "status": reply.response.status,
            "found": found,
            "value": number(value),
            "overruns": reply.overruns,
            "operation": reply.sequence,
            "live": reply.live,
        }
        self.replies.append(pack(reply_layout(self.params), fields))
        return reply

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
        beats = self.codec.record_bytes // 16
        whole = [self.got_beats[at : at + beats] for at in range(0, len(self.got_beats), beats)]
        assert [[beat >> 128 for beat in record] for record in whole] == [[0] * (beats - 1) + [1]] * len(whole)
        return [b"".join((beat & (1 << 128) - 1).to_bytes(16, "little") for beat in record) for record in whole]

    def settle(self, limit=200000):
        """Run until everything is answered, and compare."""
        wanted = len(self.answers) * self.codec.record_bytes // 16
        end = self.bench.cycle + limit
        while len(self.got_beats) < wanted or not self.bench.get("idle"):
            assert self.bench.cycle < end, (len(self.got_beats), wanted, len(self.got_commands), len(self.commands))
            busy = self.replied < len(self.got_commands)
            self.step(self.schedule.randint(1, self.chunk) if busy else 40)
        self.step(400)  # nothing more comes
        assert self.got_commands == self.commands
        assert self.bench.sink("o_secrets").take() == self.secrets
        self.secrets.clear()
        assert self.got_answers() == self.answers
        assert self.bench.get("idle") == 1


def flipped(record, bit):
    altered = bytearray(record)
    altered[bit // 8 % len(altered)] ^= 1 << bit % 8
    return bytes(altered)


def data(twin, index, session, sequence):
    """A DATA record that nobody sealed."""
    return Header(RecordType.DATA, index, twin.rng.getrandbits(16), session, sequence).pack() + twin.rng.randbytes(
        twin.codec.record_bytes - 16
    )


def is_open(twin, client):
    return any(entry is not None and entry.session == client.session for entry in twin.model._table)
