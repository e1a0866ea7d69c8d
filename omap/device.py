"""The card as a program: it does what the accelerator does with rings and registers, but has no clock.

It polls a counter in the shared buffer, fetches records, opens them, runs them on the reference map, seals the
responses and writes them back. The host only moves ciphertext and counters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from omap.batch import CommandBatch
from omap.device_rings import DeviceRings, Fetched, Output
from omap.errors import ExhaustedError, InputError, PageAlteredError
from omap.fresh import NO_DEVICE_ID, Fresh, system_noise
from omap.interface import DeviceMap
from omap.journal import Journal
from omap.lineage import NO_ANCESTORS, Lineage
from omap.map import create
from omap.operations import Kind, Status
from omap.params import Params
from omap.regmap import MIRROR, REGISTER_BYTES, Fault, RegisterFile, Request, State, identity
from omap.restore import Restore
from omap.session import ROOT_KEY_BYTES
from omap.sessions import DeviceSessions
from omap.snapshot import snapshot
from omap.source import Source
from omap.trace import Observer
from omap.wire import (
    ENDS_SESSION,
    LINE_BYTES,
    MOST_COUNT,
    RING_LINES,
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


_PUT, _DELETE, _OK = map(int, (Kind.PUT, Kind.DELETE, Status.OK))  # an array is slow to compare with an enumeration


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
    journal : bool
        Write a journal, and export and restore the map when the host asks for it (:mod:`omap.journal`,
        :mod:`omap.snapshot`, :mod:`omap.restore`). Without it the device knows no such requests.
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
        How many records came and when, and the pages touched. A journal and a snapshot show how many operations ran,
        and how many ancestors the map has. Keys, values, kinds and results stay hidden.

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
        journal: bool = False,
        registers: RegisterFile | None = None,
        observer: Observer | None = None,
        device_id: bytes = NO_DEVICE_ID,
        noise: Callable[[], bytes] = system_noise,
        create: Callable[..., DeviceMap] = create,
    ) -> None:
        if len(root_key) != ROOT_KEY_BYTES:
            raise InputError(f"a root key has {ROOT_KEY_BYTES} bytes, not {len(root_key)}: provision a new one")
        self.params = params
        self.codec = RecordCodec(params)
        self.buffer = memoryview(buffer)
        self.rings = DeviceRings(params, self.buffer, ring_lines=ring_lines, journal=journal)
        self.layout = self.rings.layout
        self.journalled = journal
        self.registers = registers or RegisterFile()
        self._observer, self._create = observer, create
        self._fresh: Fresh | None = Fresh(root_key, device_id=device_id, noise=noise)
        self._map: DeviceMap | None = None
        self._root_key = root_key
        self._sessions: DeviceSessions | None = None
        self._journal: Journal | None = None
        self._restore: Restore | None = None  # under way, or failed
        self._job: Output | None = None
        self._ahead = 0  # how far the numbers that clients see are ahead of the map's own
        for name, value in identity(params, hbm_private=False, attested=False, hardware=False, journal=journal).items():
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
        """What the device is doing. The host sees it."""
        return State(self.registers.read("STATUS"))

    def _serve_request(self) -> bool:
        """Serve a request of the host, by register or in the buffer; return whether anything was done for one."""
        register, twin = self.registers.read("REQUEST"), read_counter(self.buffer, Counter.REQUESTS)
        asked = register != Request.NONE or twin != read_counter(self.buffer, Counter.REQUESTS_DONE)
        request = (register or twin & 0xFF) if asked else Request.NONE
        if self._job is not None and request != Request.STOP:
            return self._go_on(self._job)
        if not asked:
            return False

        def done() -> None:
            if register != Request.NONE:
                self.registers.write("REQUEST", Request.NONE)
            else:
                write_counter(self.buffer, Counter.REQUESTS_DONE, twin)

        self._do(request, done)
        return True

    def _do(self, request: int, done: Callable[[], None]) -> None:
        """Serve a request, and call ``done`` when nothing of it is left to do."""
        state = self.state  # after a fault or a stop the keys stay erased
        if request == Request.FORMAT and state in (State.IDLE, State.READY, State.RESTORING):
            self._format()
            self._begin_journal(done)
        elif request == Request.RESTORE and state in (State.IDLE, State.READY, State.RESTORING) and self.journalled:
            self._format()
            self._restore = Restore(self.codec, self._root_key)
            self._set_state(State.RESTORING)
            done()
        elif request == Request.EXPORT and state is State.READY and self.journalled:
            self._set_state(State.EXPORTING)
            self._job = self._export(done)
            self._go_on(self._job)
        else:
            if request == Request.STOP and state is not State.FAULT:
                self._erase()
                self._set_state(State.STOPPED)
            done()

    def _format(self) -> None:
        """Have an empty map with fresh secrets, and no session."""
        assert self._fresh is not None
        self._set_state(State.FORMATTING)
        self._restore = None
        if self._map is None:
            pages = self.buffer[self.layout.pages : self.layout.pages + self.params.host_bytes]
            # SEC_CM: RESTORE.DRAWS.FRESH -- a restored map has secrets of its own, so nothing links it to what it was
            self._map = self._create(self.params, observer=self._observer, memory=pages, secrets=self._fresh.secrets)
        else:
            self._map.format()
        self._descend(NO_ANCESTORS, 0)

    def _descend(self, lineage: Lineage, operation: int) -> None:
        """Give the map its ancestors, and ``operation`` as the number of its next operation that clients see."""
        assert self._map is not None
        assert self._fresh is not None
        self._ahead = operation - self._map.sequence
        # SEC_CM: SESSION.FORMAT.ENDS -- no client takes the emptied map for the old one
        self._sessions = DeviceSessions(self.params, self._root_key, nonce=self._fresh.nonce, lineage=lineage)
        self._journal = Journal(self.codec, self._root_key, self._map.map_id, lineage) if self.journalled else None

    def _begin_journal(self, done: Callable[[], None]) -> None:
        """Write how the map's journal begins, if it has one; then the map is ready."""
        self._job = Output(iter(self._journal.begin() if self._journal else []), done)
        self._go_on(self._job)

    def _export(self, done: Callable[[], None]) -> Output:
        assert self._map is not None
        assert self._fresh is not None
        assert self._journal is not None
        operation = self._map.sequence + self._ahead
        # SEC_CM: SNAPSHOT.KEY.OWN -- chunk n of another snapshot has another key, so that no nonce repeats under one
        export_id = self._fresh.export_id()
        of_map, size = (self._map.map_id, export_id, self.params.digest), self.codec.chunks
        source = Source(*of_map, operation, self._journal.next, size)
        records = snapshot(self.codec, self._root_key, source, self._map.export(), self._journal.lineage)
        return Output(records, done)

    def _go_on(self, job: Output) -> bool:
        """Write more of an output; when it ends, the map is ready. Return whether anything was done."""
        busy = True
        with self._latching():
            busy = self.rings.write_output(job)
        if self._job is not job:  # a fault has ended it
            job.done()
        elif job.record is None:
            self._job = None
            self._set_state(State.READY)
            job.done()
        return busy or self._job is None

    # -- rings --------------------------------------------------------------------------------------------------

    def step(self, limit: int = STEP_OPERATIONS) -> int:
        """Serve requests and some records; return how many lines were fetched and requests worked for.

        A fault of the map is latched, shows in STATUS and FAULT, and stops the device; it does not raise. An exception
        that has nothing to do with the map (an interrupt, no memory) latches a fault too, and is raised again.

        Parameters
        ----------
        limit : int
            Operations after which no further record is fetched. A handshake or a refusal counts as one. While it
            restores a map, the device takes all that is there.

        Reveals
            That records were fetched and answered, of how many lines, and the pages that their operations touched.
        """
        busy = self._serve_request()
        if self._job is not None:
            return int(busy)
        if self._restore is not None:
            records, lines = self.rings.fetch(self.layout.ring_lines * MOST_COUNT, self._restore.lines, single=True)
            serve = self._restore_from
        elif self.state is State.READY:
            (records, lines), serve = self.rings.fetch(limit, self._lines), self._serve
        else:
            return int(busy)
        if records:
            with self._latching():
                serve(records)
        return lines + busy

    @contextmanager
    def _latching(self) -> Iterator[None]:
        """Latch what the map raises inside."""
        try:
            yield
        except PageAlteredError:
            self._latch(Fault.PAGE_TAG)
        except ExhaustedError:
            self._latch(Fault.EXHAUSTED)
        except BaseException:  # half a batch can't be undone, whatever stopped it
            self._latch(Fault.INTERNAL)
            raise

    def _lines(self, header: Header) -> int:
        return self.codec.command_lines(header.type, header.lines, header.count)

    def _serve(self, records: list[Fetched]) -> None:
        """Run records and write one answer for each."""
        batch, answer = CommandBatch(self.codec), self.rings.answer
        for fetched in records:
            header = fetched.header
            if fetched.fits and header.type == RecordType.DATA:
                self._open(fetched, batch)
            elif fetched.fits:
                self._run(batch)  # what follows may close a session of the batch
                answer([self._shake(header, fetched.data)], header.lines)
            else:
                self._run(batch)
                answer([refusal(header, Refusal.MALFORMED)], 1)
        self._run(batch)

    def _open(self, fetched: Fetched, batch: CommandBatch) -> None:
        """Open DATA records and add their commands to a batch; refuse those that can't be opened."""
        sessions, (header, data, _, records) = self._sessions, fetched
        assert sessions is not None
        while True:
            texts, why = sessions.open_run(data, header, records)
            done = len(texts)
            if texts and batch.add(header, sessions.credential(header), *texts):
                done = batch.parts[-1].records  # those behind find no session, whatever they are
                self._run(batch)
                sessions.close(header)
            elif why is not None:
                self._run(batch)
                refused = read_header(data[done * header.lines * LINE_BYTES :])
                if why in ENDS_SESSION:
                    # SEC_CM: SESSION.TAMPER.ENDS -- the records before are answered; now its other key goes too
                    sessions.close(header)
                self.rings.answer([refusal(refused, why)], header.lines)
                done += 1
            records -= done
            if not records:
                return
            data = data[done * header.lines * LINE_BYTES :]
            header = read_header(data)

    def _shake(self, header: Header, record: bytes) -> bytes:
        """Return the answer to a record of a handshake."""
        assert self._sessions is not None
        assert self._map is not None
        if header.type == RecordType.HELLO:
            return self._sessions.hello(record, self._map.map_id)
        return self._sessions.confirm(record)

    def _run(self, batch: CommandBatch) -> None:
        """Run the commands of a batch, write what they changed and their responses, and empty the batch."""
        if not batch.parts:
            return
        assert self._map is not None
        assert self._sessions is not None
        start, live, seal = self._map.sequence + self._ahead, len(self._map), self._sessions.seal
        work = batch.take()  # emptied before anything can fail, because running it again would hide which fault it was
        columns = work.columns()
        answers = self._map.execute_arrays(*columns)
        ok = answers.statuses == _OK
        change = ((columns.kinds == _PUT) & ok & ~answers.found).astype(np.int64)
        change -= (columns.kinds == _DELETE) & ok
        texts = work.replies(answers, start, live + change.cumsum())
        records: list[bytes] = []
        counts: list[int] = []
        for part in work.parts:
            at = len(counts)
            counts += [part.header.count] * part.records
            records.append(seal(part.header, *texts[at : len(counts)]))
        journal = self._journal.records(counts, columns, answers, start) if self._journal is not None else []
        # SEC_CM: JOURNAL.BEFORE.RESPONSE -- no client learns of an operation that no journal holds
        self.rings.journal(journal)
        self.rings.answer(records, sum([part.header.lines * part.records for part in work.parts]))

    # -- restore ------------------------------------------------------------------------------------------------

    def _restore_from(self, records: list[Fetched]) -> None:
        """Take records that restore a map, run their operations, and write one answer for each."""
        restore = self._restore
        assert restore is not None
        answers = restore.run(self._map, records)
        lines = [restore.lines(header) or 1 for header, *_ in records]
        if not restore.complete:
            # SEC_CM: RESTORE.FAIL.ERASE -- a host that can choose where a restore ends has no use of what is there
            if restore.failed and self._map is not None:
                self._drop_map()
                self._set_state(State.IDLE)
            self.rings.answer(answers, sum(lines))
            return
        self.rings.answer(answers[:-1], sum(lines[:-1]))
        self._restore = None
        self._descend(restore.lineage, restore.operation)
        self._begin_journal(lambda: self.rings.answer(answers[-1:], lines[-1]))

    # -- faults -------------------------------------------------------------------------------------------------

    def _latch(self, fault: Fault) -> None:
        # SEC_CM: DEVICE.FAULT.LATCH -- keys are erased before the host is told; only a restart ends this state
        self._erase()
        self._set_state(State.FAULT, fault)

    def _erase(self) -> None:
        self._fresh, self._root_key, self._restore, self._job = None, b"", None, None
        self._drop_map()

    def _drop_map(self) -> None:
        """Erase the map, and forget what belongs to it."""
        self._sessions, self._journal = None, None
        if self._map is not None:
            self._map.erase()
        self._map = None
