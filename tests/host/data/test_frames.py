"""Frames: what is too long for one goes into several, at the ends of records."""

from host.data import base
from host.data.frames import FRAME_BYTES, HEAD_BYTES, MOST_FRAME_BYTES, FrameReader
from omap.source import END
from omap.wire import LINE_BYTES, Header, RecordType
from tests.support.host.crash_disk import CrashDisk
from tests.support.host.lives import PARAMS


def record(lines, number):
    return Header(RecordType.JOURNAL, 0, lines, 1, 0, number).pack().ljust(LINE_BYTES * lines, b"\1")


def test_much_at_once_goes_into_frames_that_a_reader_takes(monkeypatch):
    monkeypatch.setattr(base, "SYNC_BYTES", 5 << 20)
    records = b"".join(record(number % 64 + 1, number) for number in range(10000))
    assert len(records) > 2 * MOST_FRAME_BYTES
    disk, synced = CrashDisk(), []
    file = base.BaseFile(disk, "/base", PARAMS)
    disk.watch = lambda kind, path: synced.append(path) if kind == "sync" else None
    file.add(records)
    file.add(record(1, 10000))
    assert synced == ["/base.part"]
    file.finish()
    reader = FrameReader(disk.reader("/base"), "/base")
    *frames, last, end = reader.frames()
    assert last == record(1, 10000)
    assert (b"".join(frames), end, reader.left) == (records, END, 0)
    assert all(len(frame) <= MOST_FRAME_BYTES for frame in frames)
    assert reader.end == HEAD_BYTES + (len(frames) + 2) * FRAME_BYTES + len(records + last + END)
    assert all(frame[0] == RecordType.JOURNAL for frame in frames)
