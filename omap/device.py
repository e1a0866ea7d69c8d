"""The card as a program: it does what the accelerator does with rings and registers, but has no clock.

It polls a counter in the shared buffer, fetches records, opens them, runs them on the reference map, seals the
responses and writes them back. The host only moves ciphertext and counters.
"""

from __future__ import annotations

from collections.abc import Callable

from omap.errors import ExhaustedError, InputError, PageAlteredError
from omap.fresh import NO_DEVICE_ID, Fresh, system_noise
from omap.map import create
from omap.operations import Kind, Operation
from omap.params import Params
from omap.reference import ReferenceMap
from omap.regmap import MIRROR, REGISTER_BYTES, Fault, RegisterFile, Request, State, identity
from omap.session import ROOT_KEY_BYTES, DeviceSessions
from omap.trace import Observer
from omap.wire import (
    CLOSE,
    ENDS_SESSION,
    BufferLayout,
    Counter,
    Header,
    RecordType,
    Refusal,
    Reply,
    read_counter,
    read_header,
    write_counter,
)

# plain numbers, and a table from the kind of a command to the kind that runs: enumerations cost a microsecond a record
_DATA, _PUT, _DELETE = int(RecordType.DATA), int(Kind.PUT), int(Kind.DELETE)
_KINDS = (*Kind, Kind.NOP)  # CLOSE runs as NOP


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
        At least as many bytes as :class:`~omap.wire.BufferLayout` says for ``ring_entries``.
    ring_entries : int
        Entries in each ring, a power of two.
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
        If ``ring_entries`` is no power of two from 2 to 65536.
    """

    # Many: a device is given memory, registers, noise and observer by whoever stands for its surroundings.
    def __init__(
        self,
        params: Params,
        root_key: bytes,
        buffer: bytearray | memoryview,
        *,
        ring_entries: int = 1024,
        registers: RegisterFile | None = None,
        observer: Observer | None = None,
        device_id: bytes = NO_DEVICE_ID,
        noise: Callable[[], bytes] = system_noise,
        create: Callable[..., ReferenceMap] = create,
    ) -> None:
        self.layout = BufferLayout(params, ring_entries)
        if len(root_key) != ROOT_KEY_BYTES:
            raise InputError(f"a root key has {ROOT_KEY_BYTES} bytes, not {len(root_key)}: provision a new one")
        self.params = params
        self.buffer = memoryview(buffer)
        self.registers = registers or RegisterFile()
        self._observer, self._create = observer, create
        self._fresh: Fresh | None = Fresh(root_key, device_id=device_id, noise=noise)
        self._map: ReferenceMap | None = None
        self._root_key = root_key
        self._sessions: DeviceSessions | None = DeviceSessions(params, root_key, nonce=self._fresh.nonce)
        for name, value in identity(params, hbm_private=False, attested=False, hardware=False).items():
            self.registers.write(name, value)
        self.registers.write("RING_ENTRIES", ring_entries)
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

    def step(self, limit: int = 256) -> int:
        """Serve requests and up to ``limit`` commands; return how many requests and commands there were.

        A fault of the map is latched, shows in STATUS and FAULT, and stops the device; it does not raise. An exception
        that has nothing to do with the map (an interrupt, no memory) latches a fault too, and is raised again.

        Reveals
            That commands were fetched and answered, how many, and the pages that their operations touched.
        """
        busy = self._serve_request()
        if self.state is not State.READY:
            return int(busy)
        fetched = read_counter(self.buffer, Counter.COMMANDS_FETCHED)
        written = read_counter(self.buffer, Counter.COMMANDS_WRITTEN)
        room = read_counter(self.buffer, Counter.RESPONSES_TAKEN) + self.layout.ring_entries - fetched
        # the host writes these counters; whatever they say, no more than a whole ring is fetched
        count = max(0, min(written - fetched, room, self.layout.ring_entries, limit))
        if count:
            entries = self.layout.entries_at(self.layout.commands, fetched, count)
            records = [bytes(self.buffer[entry]) for entry in entries]
            write_counter(self.buffer, Counter.COMMANDS_FETCHED, fetched + count)
            try:
                self._serve(fetched, records)
            except PageAlteredError:
                self._latch(Fault.PAGE_TAG)
            except ExhaustedError:
                self._latch(Fault.EXHAUSTED)
            except BaseException:  # half a batch can't be undone, whatever stopped it
                self._latch(Fault.INTERNAL)
                raise
        return count + busy

    def _serve(self, first: int, records: list[bytes]) -> None:
        """Run records and write one answer for each, from entry ``first`` of the response ring."""
        done = 0
        batch: list[tuple[Header, tuple[int, bytes, bytes]]] = []
        sessions = self._sessions
        assert sessions is not None
        assert self._map is not None
        for place, record in enumerate(records):
            header = read_header(record)
            command = sessions.open(record, header) if header.type == _DATA else None
            if command is not None and not isinstance(command, Refusal):
                batch.append((header, command))
                if command[0] == CLOSE:
                    self._run(first + done, batch)
                    sessions.close(header)
                    done = place + 1
                continue
            self._run(first + done, batch)  # what follows may close a session of the batch
            if command is not None:
                answer = sessions.refuse(header, command)
                if command in ENDS_SESSION:
                    # SEC_CM: SESSION.TAMPER.ENDS -- the records before are answered; now its other key goes too
                    sessions.close(header)
            elif header.type == RecordType.HELLO:
                answer = sessions.hello(record, self._map.map_id)
            elif header.type == RecordType.CONFIRM:
                answer = sessions.confirm(record)
            else:
                answer = sessions.refuse(header, Refusal.MALFORMED)
            self._answer(first + place, [answer])
            done = place + 1
        self._run(first + done, batch)

    def _run(self, first: int, batch: list[tuple[Header, tuple[int, bytes, bytes]]]) -> None:
        """Run commands as one batch, write their responses and empty the list."""
        if not batch:
            return
        # emptied before anything can fail, because running it again after a fault would hide which fault it was
        commands, batch[:] = batch[:], []
        assert self._map is not None
        assert self._sessions is not None
        start, live = self._map.sequence, len(self._map)
        operations = [Operation(_KINDS[kind], key, value) for _, (kind, key, value) in commands]
        answers, seal = [], self._sessions.seal
        responses = self._map.execute(operations)
        for number, (response, (header, (kind, _, _))) in enumerate(zip(responses, commands, strict=True), start):
            if kind == _PUT:
                live += response.previous is None and response.status == 0
            elif kind == _DELETE:
                live -= response.status == 0
            answers.append(seal(header, Reply(response, number, live, 0)))
        self._answer(first, answers)

    def _answer(self, first: int, answers: list[bytes]) -> None:
        entries = self.layout.entries_at(self.layout.responses, first, len(answers))
        for entry, answer in zip(entries, answers, strict=True):
            self.buffer[entry] = answer
        write_counter(self.buffer, Counter.RESPONSES_WRITTEN, first + len(answers))

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
