# amaranth: UnusedElaboratable=no
"""The blocks of a restore and the reference side by side; a bench opens records, derives keys and runs operations."""

from functools import cache

from amaranth.hdl import Module, Shape
from amaranth.lib import wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Out
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from omap.kdf import JOURNAL, SNAPSHOT
from omap.operations import Status
from omap.presets import preset
from omap.wire import SESSIONS, RecordCodec, read_header
from rtl.rings.record import RIGHTS
from rtl.rings.record_commands import RecordCommands
from rtl.rings.restore import Restore as Restores
from rtl.stream.ways import through
from sim.bench.compiled import Design
from tests.support.rtl.restore_histories import law_of
from tests.support.rtl.session_bench import BEAT_BYTES, IN_FLIGHT, ROOT_KEY, number


class Rig(wiring.Component):
    """A restore and what unpacks its texts. What opens records, derives keys and runs commands is left to the bench.

    ``forgotten`` counts how often the key was to be forgotten.
    """

    INSIDE = ("o_text", "runs", "i_context", "forget")

    def __init__(self, params):
        self.restore = Restores(params, in_flight=IN_FLIGHT, most=2 * IN_FLIGHT)
        self.commands = RecordCommands(params, in_flight=IN_FLIGHT)
        self.owners = {name: self.restore for name in self.restore.signature.members if name not in self.INSIDE}
        self.owners["o_command"] = self.commands
        members = {name: owner.signature.members[name] for name, owner in self.owners.items()}
        super().__init__(members | {"forgotten": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.restore, m.submodules.commands = restore, commands = self.restore, self.commands
        through(m, self, self.owners)
        wiring.connect(m, restore.o_text, commands.i_text)
        wiring.connect(m, commands.o_context, restore.i_context)
        m.d.sync += self.forgotten.eq(self.forgotten + restore.forget)
        m.d.comb += [
            commands.rights.eq(RIGHTS.const({"read": 1, "write": 1})),
            commands.open_sessions.eq(restore.runs.replicate(SESSIONS)),
            commands.o_denied.ready.eq(self.i_reply.valid & self.i_reply.ready),
        ]
        return m


@cache
def rig(name):
    """Return the rig for a preset, compiled, and the preset."""
    return Design(Rig(preset(name))), preset(name)


class RigRun:
    """One restore in the rig, with a bench that opens records; compared with the reference.

    Parameters
    ----------
    kind : tuple
        What :func:`rig` returns.
    rng : random.Random
        What draws stalls and times.
    records : list of bytes
        What the host gives.
    refused : mapping
        Status of the operations that are not OK, by their place.
    """

    SINKS = ("o_request", "o_sealed", "o_derive", "o_key", "o_command", "o_answer", "o_ancestor")

    def __init__(self, kind, rng, records, refused=None, *, root_key=ROOT_KEY):
        design, self.params = kind
        self.codec, self.root_key, self.rng = RecordCodec(self.params), root_key, rng
        self.law, self.fetched, self.answers, self.new_map = law_of(self.codec, root_key, records, refused or {})
        self.bench = design.bench(seed=rng.randrange(1 << 30))
        for name in self.SINKS:
            self.bench.sink(name, idle=rng.choice([0.0, 0.0, 0.4]))
        for name in ("i_record", "i_text", "i_reply", "i_derived"):
            self.bench.source(name, idle=rng.choice([0.0, 0.0, 0.4]))
        self.bench.set("open_", 1)
        self.got = {name: [] for name in self.SINKS}
        self.layouts = {name: getattr(Rig(self.params), name).p.shape() for name in self.SINKS}
        self.keys, self.dead = [], False
        self.opened = self.replied = self.derived = 0

    def run(self, *, lot=None, limit=300_000):
        """Give the records, some at a time, until all are answered; then compare."""
        waiting = list(self.fetched)
        while waiting or len(self.got["o_answer"]) < len(self.answers) or not self.bench.get("idle"):
            assert self.bench.cycle < limit, (len(self.got["o_answer"]), len(self.answers), self.law._phase)
            count = self.rng.randint(1, lot) if lot else len(waiting)
            for one in waiting[:count]:
                self._push(one)
            del waiting[:count]
            self._step(self.rng.randint(1, 60))
        self._step(300)
        self._compare()
        return self

    def _push(self, one):
        beats = [one.data[at : at + BEAT_BYTES] for at in range(0, len(one.data), BEAT_BYTES)]
        self.bench.source("i_record").push(
            {"data": number(beat), "last": place == len(beats) - 1, "malformed": not one.fits}
            for place, beat in enumerate(beats)
        )

    def _step(self, cycles):
        self.bench.run(cycles)
        for name, items in self.got.items():
            items += [self._fields(name, item) for item in self.bench.sink(name).take()]
        for one in self.got["o_derive"][self.derived :]:
            map_id, context = (one[name].to_bytes(16, "little") for name in ("map_id", "context"))
            era = one["context"].to_bytes(16, "little")[:4][::-1]
            key = (
                SNAPSHOT.derive(self.root_key, map_id, context)
                if one["snapshot"]
                else JOURNAL.derive(self.root_key, map_id, era)
            )
            self.keys.append(key)
            self.bench.source("i_derived").push([number(key)])
            self.derived += 1
        self._open()
        waiting = len(self.got["o_command"]) - self.replied
        assert waiting <= IN_FLIGHT
        more = self.rng.randint(0, waiting)
        self.bench.source("i_reply").push(
            {
                "status": int(self.new_map.refused.get(place, Status.OK)),
                "found": self.rng.getrandbits(1),
                "value": 1,
                "overruns": 2,
                "operation": place,
                "live": 3,
            }
            for place in range(self.replied, self.replied + more)
        )
        self.replied += more
        if self.bench.get("restored") and not self.bench.get("begun"):
            assert len(self.got["o_answer"]) == len(self.answers) - 1  # the answer to END waits for the journal
            self.bench.set("begun", self.rng.random() < 0.3)

    def _fields(self, name, item):
        shape = self.layouts[name]
        if not isinstance(shape, StructLayout):
            return item
        return {key: item >> field.offset & (1 << Shape.cast(field.shape).width) - 1 for key, field in shape}

    def _open(self):
        """Open the records whose beats are all there, as GcmOpenEach does."""
        for request in self.got["o_request"][self.opened :]:
            beats = self.got["o_sealed"]
            if len(beats) < request["beats"]:
                break
            assert request["key_index"] == 0
            sealed = b"".join(beat.to_bytes(BEAT_BYTES, "little") for beat in beats[: request["beats"]])
            del beats[: request["beats"]]
            clear = BEAT_BYTES * (8 if request["more"] else 1)
            try:
                text = AESGCM(self.keys[-1]).decrypt(
                    request["nonce"].to_bytes(12, "little"), sealed[clear:], sealed[:clear]
                )
                fault = self.dead
            except InvalidTag:
                fault = True
            self.dead |= fault
            whole = sealed[:BEAT_BYTES] + bytes(len(sealed) - 2 * BEAT_BYTES) if fault else sealed[:clear] + text
            last = len(whole) - BEAT_BYTES
            self.bench.source("i_text").push(
                {"data": number(whole[at : at + BEAT_BYTES]), "last": at == last, "fault": fault}
                for at in range(0, len(whole), BEAT_BYTES)
            )
            self.opened += 1

    def _compare(self):
        bench, law, got = self.bench, self.law, self.got
        answers = [
            (one["header"].to_bytes(BEAT_BYTES, "little") + bytes(48), one["body"], one["lines"])
            for one in got["o_answer"]
        ]
        assert [(read_header(one), *rest) for one, *rest in answers] == [
            (read_header(answer), 0, 1) for answer in self.answers
        ]
        commands = [
            (one["kind"], *(one[name].to_bytes(size, "little") for name, size in self._sizes()))
            for one in got["o_command"]
        ]
        wanted = self.new_map.operations
        if self.new_map.refused:  # what is behind the operation at fault may run
            assert len(commands) > min(*self.new_map.refused, len(wanted) - 1)
            wanted = wanted[: len(commands)]
        assert commands == wanted
        assert (bench.get("restored"), bench.get("failed")) == (law.complete, law.failed)
        assert bench.get("forgotten") == (law.complete or law.failed)
        assert [one["key"] for one in got["o_key"]] == [number(key) for key in self.keys]
        if law.complete:
            assert bench.get("map_id") == number(law.map_id)
            assert bench.get("operation") == law.operation

    def _sizes(self):
        return ("key", self.params.key_bytes), ("value", self.params.value_bytes)
