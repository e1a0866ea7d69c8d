"""A disk in memory that records every write and sync, and gives back what a crash at any instant may leave.

A crash leaves what was synced, and *any subset* of what was not: names one by one (a new file, a rename, a removal),
and data in pieces that end at sectors of 512 bytes. A file may have its new length without its new data; then there
are zeros. So later writes may survive that earlier ones did not.
"""

import errno
import hashlib
import io
import os
import random

SECTOR = 512


class Inode:
    """A file, whatever its name is.

    Attributes
    ----------
    now, durable : bytes
        What programs see, and what is on disk for certain.
    pending : list
        Writes ``(offset, data)`` and cuts ``(size, None)`` since the last sync.
    """

    def __init__(self, data=b""):
        self.now, self.durable, self.pending = bytearray(data), bytes(data), []


class CrashFile:
    def __init__(self, disk, path, inode):
        self.disk, self.path, self.inode = disk, path, inode

    def write(self, data):
        room = self.disk.allow("write", self.path, len(data))
        done = bytes(data)[:room]
        if done:
            self.inode.pending.append((len(self.inode.now), done))
            self.inode.now += done
        self.disk.changed("write", self.path)
        if room < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self):
        self.disk.allow("sync", self.path)
        self.inode.durable, self.inode.pending = bytes(self.inode.now), []
        self.disk.changed("sync", self.path)

    def truncate(self, size):
        self.disk.allow("truncate", self.path)
        del self.inode.now[size:]
        self.inode.pending.append((size, None))
        self.disk.changed("truncate", self.path)

    def close(self):
        pass


class CrashDisk:
    """A layer of :mod:`host.data.files` in memory.

    Parameters
    ----------
    image : dict of str to bytes
        What is on it: the contents of each file by its path.

    Attributes
    ----------
    watch : callable or None
        Called after each change with its kind and path.
    room : int or None
        Bytes that may still be written before the disk is full; None if it never is.
    failing : set of str
        Kinds of operations that fail with an I/O error. A sync that fails leaves what it should have synced in doubt.
    """

    def __init__(self, image=None):
        self.names_now = {path: Inode(data) for path, data in (image or {}).items()}
        self.names_durable = dict(self.names_now)
        self.names_pending = []
        self.locks, self.folders = set(), set()
        self.watch, self.room, self.failing = None, None, set()

    # -- the layer ----------------------------------------------------------------------------------------------

    def names(self, folder):
        self.allow("names", folder)
        return [os.path.basename(path) for path in self.names_now if os.path.dirname(path) == folder]

    def make_folder(self, folder):
        self.allow("folder", folder)

    def lock(self, path):
        if path in self.locks:
            raise BlockingIOError(errno.EAGAIN, "locked")
        self.locks.add(path)
        return lambda: self.locks.discard(path)

    def reader(self, path):
        self.allow("read", path)
        if path not in self.names_now:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return io.BytesIO(bytes(self.names_now[path].now))

    def start(self, path, size):
        return self.reader(path).read(size) if path in self.names_now else None

    def create(self, path):
        self.allow("create", path, 1)
        if path in self.names_now:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        self._name(path, Inode())
        self.changed("create", path)
        return CrashFile(self, path, self.names_now[path])

    def replace(self, old, new):
        self.allow("replace", new)
        inode = self.names_now.pop(old)
        self.names_now[new] = inode
        self.names_pending.append({old: None, new: inode})
        self.changed("replace", new)

    def unlink(self, path):
        self.allow("unlink", path)
        if path not in self.names_now:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        del self.names_now[path]
        self.names_pending.append({path: None})
        self.changed("unlink", path)

    def sync_file(self, path):
        self.allow("sync", path)
        inode = self.names_now[path]
        inode.durable, inode.pending = bytes(inode.now), []

    def sync_folder(self, folder):
        self.allow("sync", folder)
        rest = []
        for change in self.names_pending:
            if os.path.dirname(next(iter(change))) == folder:
                self._apply(self.names_durable, change)
            else:
                rest.append(change)
        self.names_pending = rest
        self.changed("sync", folder)

    # -- what it does ---------------------------------------------------------------------------------------------

    def _name(self, path, inode):
        self.names_now[path] = inode
        self.names_pending.append({path: inode})

    @staticmethod
    def _apply(names, change):
        for path, inode in change.items():
            if inode is None:
                names.pop(path, None)
            else:
                names[path] = inode

    def allow(self, kind, path, size=0):
        """Raise an error if the operation is to fail; return how many bytes of it are done."""
        if kind in self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.room is None or kind not in ("write", "create"):
            return size
        done = min(size, self.room)
        self.room -= done if kind == "write" else 0
        if kind == "create" and not done:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return done

    def changed(self, kind, path):
        if self.watch is not None:
            self.watch(kind, path)

    # -- crashes ------------------------------------------------------------------------------------------------

    def killed(self):
        """Return the disk as it is if all programs end now, and the machine goes on: what is pending stays so."""
        other, inodes = CrashDisk(), {}

        def copy(inode):
            if inode is not None and id(inode) not in inodes:
                twin = inodes[id(inode)] = Inode()
                twin.now, twin.durable, twin.pending = bytearray(inode.now), inode.durable, list(inode.pending)
            return inode and inodes[id(inode)]

        other.names_now, other.names_durable, *other.names_pending = (
            {path: copy(inode) for path, inode in names.items()}
            for names in (self.names_now, self.names_durable, *self.names_pending)
        )
        return other

    def contents(self):
        """Return what programs see."""
        return {path: bytes(inode.now) for path, inode in self.names_now.items()}

    def image(self, rng: random.Random):
        """Return what a power cut may leave, as rng draws it."""
        names, keep = dict(self.names_durable), rng.choice((0.0, 0.15, 0.5, 0.85, 1.0))
        for change in self.names_pending:
            if rng.random() < keep:
                self._apply(names, change)
        return {path: self._content(inode, rng, keep) for path, inode in names.items()}

    @staticmethod
    def _content(inode, rng, keep):
        data, longest = bytearray(inode.durable), len(inode.durable)
        for at, written in inode.pending:
            if written is None:
                if rng.random() < keep:
                    del data[at:]
                continue
            longest, start = max(longest, at + len(written)), 0
            while start < len(written):
                end = min(len(written), start + SECTOR - (at + start) % SECTOR)
                if rng.random() < keep:
                    data.extend(bytes(max(0, at + end - len(data))))
                    data[at + start : at + end] = written[start:end]
                start = end
        if inode.pending and rng.random() < 0.3:  # the length is there, and the data is not
            data.extend(bytes(max(0, longest - len(data))))
        return bytes(data)


def digest(image):
    """Return what tells images apart."""
    whole = hashlib.sha256()
    for path, data in sorted(image.items()):
        whole.update(f"{path} {len(data)} ".encode() + data)
    return whole.digest()
