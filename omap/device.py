"""The card as a program: it does what the accelerator does with rings and registers, but has no clock.

It polls a counter in the shared buffer, fetches records, opens them, runs them on the reference map, seals the
responses and writes them back. The host only moves ciphertext and counters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from omap.batch import CommandBatch
from omap.columns import Answers, Bytes
from omap.errors import ExhaustedError, InputError, PageAlteredError
from omap.fresh import NO_DEVICE_ID, Fresh, system_noise
from omap.map import create
from omap.operations import Kind, Status
from omap.params import Params
from omap.regmap import MIRROR, REGISTER_BYTES, Fault, RegisterFile, Request, State, identity
from omap.session import ROOT_KEY_BYTES
from omap.sessions import DeviceSessions
from omap.trace import Observer
from omap.wire import (
    ENDS_SESSION,
    LINE_BYTES,
    RING_LINES,
    BufferLayout,
    Counter,
    Header,
    RecordCodec,
    RecordType,
    Refusal,
    read_counter,
    read_header,
    refusal,
    write_counter,
)

STEP_OPERATIONS = 1024
"""Operations after which a step fetches no further record, unless it is told another number."""


class DeviceMap(Protocol):
    """What a device asks of its map. A :class:`~omap.reference.ReferenceMap` is one."""

    map_id: bytes
    sequence: int

    def __len__(self) -> int: ...

    def format(self) -> None:
        """Empty the map under fresh secrets."""

    def execute_arrays(self, kinds: Bytes, keys: Bytes, values: Bytes) -> Answers:
        """Run operations in order."""
        ...

    def erase(self) -> None:
        """Forget all keys and contents."""


class _Record(NamedTuple):
    """A command as it was fetched, and whether its lines fit its type and count."""

    header: Header
    data: bytes
    fits: bool


class DeviceModel:
    """Behaves like a card. The host must ask for a format, by register, before the first command.

    The first three arguments are what every device needs. The others have defaults, and callers that share memory with
    another process, or test, replace one or two of them by name.

    Parameters
    ----------
    params : Params
        Parameters of the map.
    root_key : bytes
        32 secret bytes, as a card is provisioned with.
    buffer : bytearray or memoryview
        At least as many bytes as :class:`~omap.wire.BufferLayout` says for ``ring_lines``.
    ring_lines : int
        Lines of each ring, a power of two.
    registers : RegisterFile, optional
        Registers that the host reads and writes.
    observer : Observer, optional
        Told of every access to the pages.
    device_id : bytes, optional
        12 bytes that no other device with this root key has, see :mod:`omap.fresh`.
    noise : callable, optional
        Gives 32 random bytes, for each format and each handshake. Use anything but the default only in tests.
    create : callable, optional
        Makes the map, as :func:`omap.map.create` does.

    Reveals
        How many records came and when, and the pages touched. Keys, values, kinds and results stay hidden.

    Raises
    ------
    InputError
        If the root key or the device id has another length.
    ParamsError
        If ``ring_lines`` is no power of two from 128 to 65536.
    """

    # Many: a device is given memory, registers, noise and observer by whoever stands for its surroundings.
    def __init__(
        self,
        params: Params,
        root_key: bytes,
        buffer: bytearray | memoryview,
        *,
        ring_lines: int = RING_LINES,
        registers: RegisterFile | None = None,
        observer: Observer | None = None,
        device_id: bytes = NO_DEVICE_ID,
        noise: Callable[[], bytes] = system_noise,
        create: Callable[..., DeviceMap] = create,
    ) -> None:
        self.layout = BufferLayout(params, ring_lines)
        if len(root_key) != ROOT_KEY_BYTES:
            raise InputError(f"a root key has {ROOT_KEY_BYTES} bytes, not {len(root_key)}: provision a new one")
        self.params = params
        self.codec = RecordCodec(params)
        self._saved = 0  # lines by which responses were shorter than their commands
        self.buffer = memoryview(buffer)
        self.registers = registers or RegisterFile()
        self._observer, self._create = observer, create
        self._fresh: Fresh | None = Fresh(root_key, device_id=device_id, noise=noise)
        self._map: DeviceMap | None = None
        self._root_key = root_key
        self._sessions: DeviceSessions | None = DeviceSessions(params, root_key, nonce=self._fresh.nonce)
        for name, value in identity(params, hbm_private=False, attested=False, hardware=False).items():
            self.registers.write(name, value)
        self.registers.write("RING_LINES", ring_lines)
        self._set_state(State.IDLE)

    # -- registers ----------------------------------------------------------------------------------------------

    def _set_state(self, state: State, fault: Fault = Fault.NONE) -> None:
        self.registers.write("FAULT", fault)
        self.registers.write("STATUS", state)
        self.buffer[MIRROR : MIRROR + REGISTER_BYTES] = self.registers.memory

    @property
    def state(self) -> State:
        """State in the register STATUS."""
        return State(self.registers.read("STATUS"))

    def _serve_request(self) -> bool:
        """Serve a request of the register REQUEST or of its twin in the control block; return whether there was one."""
        request, twin = self.registers.read("REQUEST"), read_counter(self.buffer, Counter.REQUESTS)
        if request != Request.NONE:
            self._do(request)
            self.registers.write("REQUEST", Request.NONE)
        elif twin != read_counter(self.buffer, Counter.REQUESTS_DONE):
            self._do(twin & 0xFF)
            write_counter(self.buffer, Counter.REQUESTS_DONE, twin)
        else:
            return False
        return True

    def _do(self, request: int) -> None:
        if request == Request.FORMAT and self.state in (
            State.IDLE,
            State.READY,
        ):  # after a fault or a stop the keys stay erased
            assert self._fresh is not None
            self._set_state(State.FORMATTING)
            if self._map is None:
                pages = self.buffer[self.layout.pages : self.layout.pages + self.params.host_bytes]
                self._map = self._create(
                    self.params, observer=self._observer, memory=pages, secrets=self._fresh.secrets
                )
            else:
                self._map.format()
                # SEC_CM: SESSION.FORMAT.ENDS -- no client takes the emptied map for the old one
                self._sessions = DeviceSessions(self.params, self._root_key, nonce=self._fresh.nonce)
            self._set_state(State.READY)
        elif request == Request.STOP and self.state is not State.FAULT:
            self._erase()
            self._set_state(State.STOPPED)

    # -- rings --------------------------------------------------------------------------------------------------

    def step(self, limit: int = STEP_OPERATIONS) -> int:
        """Serve requests and some records; return how many lines were fetched and requests served.

        A fault of the map is latched, shows in STATUS and FAULT, and stops the device; it does not raise. An exception
        that has nothing to do with the map (an interrupt, no memory) latches a fault too, and is raised again.

        Parameters
        ----------
        limit : int
            Operations after which no further record is fetched. A handshake or a refusal counts as one.

        Reveals
            That records were fetched and answered, of how many lines, and the pages that their operations touched.
        """
        busy = self._serve_request()
        if self.state is not State.READY:
            return int(busy)
        fetched = read_counter(self.buffer, Counter.COMMANDS_FETCHED)
        records, lines = self._fetch(fetched, limit)
        if records:
            write_counter(self.buffer, Counter.COMMANDS_FETCHED, fetched + lines)
            try:
                self._serve(records)
            except PageAlteredError:
                self._latch(Fault.PAGE_TAG)
            except ExhaustedError:
                self._latch(Fault.EXHAUSTED)
            except BaseException:  # half a batch can't be undone, whatever stopped it
                self._latch(Fault.INTERNAL)
                raise
        return lines + busy

    def _fetch(self, fetched: int, limit: int) -> tuple[list[_Record], int]:
        """Return whole records from line ``fetched`` of the command ring on, and how many lines they have."""
        layout, ring = self.layout, self.layout.ring_lines
        written = read_counter(self.buffer, Counter.COMMANDS_WRITTEN)
        answered = read_counter(self.buffer, Counter.RESPONSES_WRITTEN)
        # what can't have been taken is not believed; whatever the host writes, no more than a whole ring is fetched
        taken = min(read_counter(self.buffer, Counter.RESPONSES_TAKEN), answered)
        available = max(0, min(written - fetched, taken + self._saved + ring - fetched, ring))
        data = layout.read_lines(self.buffer, layout.commands, fetched, available)  # each line is read once
        records: list[_Record] = []
        at = 0
        while at < len(data) and limit > 0:
            header = read_header(data[at : at + LINE_BYTES])
            lines = self.codec.command_lines(header.type, header.lines, header.count)
            end = at + LINE_BYTES * (lines or 1)
            if end > len(data):
                break  # the rest is not there yet, or there is no room for its response
            records.append(_Record(header, data[at:end], lines > 0))
            limit -= max(1, header.count)
            at = end
        return records, at // LINE_BYTES

    def _serve(self, records: list[_Record]) -> None:
        """Run records and write one answer for each."""
        sessions, batch = self._sessions, CommandBatch(self.codec)
        assert sessions is not None
        for header, record, fits in records:
            if not fits:
                self._run(batch)
                self._answer([refusal(header, Refusal.MALFORMED)], 1)
                continue
            if header.type != RecordType.DATA:
                self._run(batch)  # what follows may close a session of the batch
                self._answer([self._shake(header, record)], header.lines)
                continue
            text = sessions.open(record, header)
            if isinstance(text, Refusal):
                self._run(batch)
                if text in ENDS_SESSION:
                    # SEC_CM: SESSION.TAMPER.ENDS -- the records before are answered; now its other key goes too
                    sessions.close(header)
                self._answer([refusal(header, text)], header.lines)
            elif batch.add(header, sessions.credential(header), text):
                self._run(batch)
                sessions.close(header)
        self._run(batch)

    def _shake(self, header: Header, record: bytes) -> bytes:
        """Return the answer to a record of a handshake."""
        assert self._sessions is not None
        assert self._map is not None
        if header.type == RecordType.HELLO:
            return self._sessions.hello(record, self._map.map_id)
        return self._sessions.confirm(record)

    def _run(self, batch: CommandBatch) -> None:
        """Run the commands of a batch, write their responses and empty the batch."""
        if not batch.parts:
            return
        assert self._map is not None
        assert self._sessions is not None
        start, live, seal = self._map.sequence, len(self._map), self._sessions.seal
        work = batch.take()  # emptied before anything can fail, because running it again would hide which fault it was
        columns = work.columns()
        answers = self._map.execute_arrays(*columns)
        ok = answers.statuses == Status.OK
        change = ((columns.kinds == Kind.PUT) & ok & ~answers.found).astype(np.int64)
        change -= (columns.kinds == Kind.DELETE) & ok
        texts = work.replies(answers, start, live + np.cumsum(change))
        records = [seal(part.header, text) for part, text in zip(work.parts, texts, strict=True)]
        self._answer(records, sum(part.header.lines for part in work.parts))

    def _answer(self, answers: list[bytes], lines: int) -> None:
        """Write the answers to commands of so many lines."""
        layout, data = self.layout, b"".join(answers)
        written = read_counter(self.buffer, Counter.RESPONSES_WRITTEN)
        layout.write_lines(self.buffer, layout.responses, written, data)
        answered = len(data) // LINE_BYTES
        self._saved += lines - answered
        write_counter(self.buffer, Counter.RESPONSES_WRITTEN, written + answered)

    # -- faults -------------------------------------------------------------------------------------------------

    def _latch(self, fault: Fault) -> None:
        # SEC_CM: DEVICE.FAULT.LATCH -- keys are erased before the host is told; only a restart ends this state
        self._erase()
        self._set_state(State.FAULT, fault)

    def _erase(self) -> None:
        self._sessions, self._fresh, self._root_key = None, None, b""
        if self._map is not None:
            self._map.erase()
        self._map = None
