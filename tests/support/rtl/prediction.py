"""What a device must make of records: the device model on drawn randomness, and its answers in their order."""

import random
from itertools import count

from host.records import split
from omap.device import DeviceModel
from omap.trace import Observer
from omap.wire import LINE_BYTES, BufferLayout, Counter, RecordCodec, read_counter, write_counter
from sim.device.known import DEVICE_ID
from tests.support.rtl.session_bench import ROOT_KEY


def words(seed):
    """Yield the 16-byte words of noise of a run, for ever."""
    for number in count():
        yield random.Random(f"{seed} {number}").randbytes(16)


class Prediction:
    """The device model on drawn randomness, and its answers in their order.

    Parameters
    ----------
    seed : int
        Of the randomness.
    params : Params
        The map.
    ring_lines : int
        Lines of each ring.
    root_key : bytes
        Shared with the clients.
    device_id : bytes, optional
        Of the device.
    taken : iterable of bytes, optional
        Words of noise to use instead of those of the seed.
    journal : bool
        Whether the device writes a journal. It is kept in :attr:`journal`.
    """

    # Many: each is something that one test or another draws, and most have a default.
    def __init__(self, seed, params, ring_lines, *, root_key=ROOT_KEY, device_id=DEVICE_ID, taken=None, journal=False):
        self.layout, self.codec = BufferLayout(params, ring_lines), RecordCodec(params)
        self.buffer = memoryview(bytearray(self.layout.size))
        self._words = words(seed) if taken is None else iter(taken)
        self.observer = Observer()
        self.device = DeviceModel(
            params,
            root_key,
            self.buffer,
            ring_lines=ring_lines,
            journal=journal,
            observer=self.observer,
            device_id=device_id,
            noise=lambda: next(self._words) + next(self._words),
        )
        self.answers = []
        self.journal = b""

    def request(self, request):
        """Serve a request."""
        self.device.registers.write("REQUEST", request)
        while self.device.registers.read("REQUEST"):
            self.device.step()
            self._take_journal()

    def feed(self, record):
        """Take a record and return the answer; None from a device that has stopped.

        If the record is malformed, each of its lines counts as one, and the answer to the first is returned.
        """
        layout, buffer = self.layout, self.buffer
        number = read_counter(buffer, Counter.COMMANDS_WRITTEN)
        layout.write_lines(buffer, layout.commands, number, record)
        write_counter(buffer, Counter.COMMANDS_WRITTEN, number + len(record) // LINE_BYTES)
        while self.device.step():
            pass
        self._take_journal()
        taken, written = (
            read_counter(buffer, counter) for counter in (Counter.RESPONSES_TAKEN, Counter.RESPONSES_WRITTEN)
        )
        write_counter(buffer, Counter.RESPONSES_TAKEN, written)
        answers = split(layout.read_lines(buffer, layout.responses, taken, written - taken))
        self.answers += answers
        return answers[0] if answers else None

    def _take_journal(self):
        """Keep what the journal has now, and make room for more."""
        taken, written = (
            read_counter(self.buffer, counter) for counter in (Counter.JOURNAL_TAKEN, Counter.JOURNAL_WRITTEN)
        )
        self.journal += self.layout.read_lines(self.buffer, self.layout.journal, taken, written - taken)
        write_counter(self.buffer, Counter.JOURNAL_TAKEN, written)
