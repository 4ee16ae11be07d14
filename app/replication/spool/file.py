"""SpoolFile: one blob on its way to being whole on the local disk, shared by the processes of a machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import threading
import zlib
from pathlib import Path

from app.replication.spool.extents import Extents

#: Stands behind the room for the blob, so that a file that is not whole never has the blob's size.
_HEADER = b"geo spool 1\n".ljust(16, b"\0")

#: A ledger entry: start and end of what is there, and a checksum, since a reader may see half an entry.
_RANGE = struct.Struct("<QQ")
_ENTRY = struct.Struct("<QQL")


class SpoolFile:
    """The blob's bytes at their places, then a header, then a ledger of the ranges that are there.

    All in one file, so that one lock, one name and one rename cover it. When the blob is whole and right, header and
    ledger are cut off and the file gets its final name. Nothing is synced to the disk: a file of a killed process is
    what the process wrote, one found after a power failure may be anything, and whoever reads it hashes it.

    Threads may share it. Whoever holds the lock (flock, so it ends with the process) writes; others read and follow.
    Every method may raise OSError.
    """

    def __init__(self, partial: Path, final: Path, size: int, descriptor: int) -> None:
        self.size = size
        self._partial = partial
        self._final = final
        self._descriptor = descriptor
        self._holders = 1
        self._writer = False
        self._extents = Extents()
        #: Entries of the ledger that have been read or written.
        self._entries = 0
        self._lock = threading.Lock()

    @classmethod
    def open(cls, partial: Path, final: Path, size: int, *, create: bool = False) -> SpoolFile:
        """Open the file, whole or not, and see what is there.

        Raises:
            FileNotFoundError: if neither name exists and it is not to be created.
        """
        try:
            descriptor = os.open(final, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            flags = os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
            descriptor = os.open(partial, flags, 0o600)
        opened = cls(partial, final, size, descriptor)
        try:
            if create and os.fstat(descriptor).st_size == 0:
                os.pwrite(descriptor, _HEADER, size)
            opened.refresh()
        except OSError:
            opened.release()
            if create:
                # Its name alone would keep room.
                partial.unlink(missing_ok=True)
            raise
        return opened

    @property
    def whole(self) -> bool:
        """Every byte is there; nobody said yet that they are the right ones."""
        return self.reach(0) == self.size

    @property
    def named(self) -> bool:
        """One of the names still leads to this very file."""
        mine = os.fstat(self._descriptor)
        for path in (self._partial, self._final):
            with contextlib.suppress(FileNotFoundError):
                found = path.stat(follow_symlinks=False)
                if (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino):
                    return True
        return False

    @property
    def total(self) -> int:
        """Bytes that are there."""
        with self._lock:
            return self._extents.total

    def reach(self, position: int) -> int:
        """Return the end of what is there without a gap from `position` on."""
        with self._lock:
            return self._extents.reach(position)

    def missing(self) -> list[tuple[int, int]]:
        """Return the ranges that are not there, in order."""
        with self._lock:
            return self._extents.missing(self.size)

    def read(self, position: int, limit: int) -> bytes:
        """Return bytes from `position` on, at most `limit` and as many as are there; nothing if none is."""
        length = min(limit, self.reach(position) - position)
        data = os.pread(self._descriptor, length, position) if length > 0 else b""
        if length > 0 and not data:
            raise OSError(f"the spool file ends before byte {position}")
        return data

    # --- the writer -------------------------------------------------------------------------------------------------

    def try_lock(self) -> bool:
        """Become the writer unless somebody else is, or the file has lost its name; never waits."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not self.named:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            return False
        self.refresh()
        with self._lock:
            self._writer = True
            if os.fstat(self._descriptor).st_size != self.size:
                # The last entry of a killed writer may be torn.
                os.pwrite(self._descriptor, _HEADER, self.size)
                os.ftruncate(self._descriptor, self._ledger_end())
        return True

    def write(self, position: int, data: bytes) -> None:
        """Put bytes in their place. They count as there at once here, for others and after a crash by `note`."""
        view = memoryview(data)
        start = position
        while view:
            written = os.pwrite(self._descriptor, view, position)
            position += written
            view = view[written:]
        with self._lock:
            self._extents.add(start, position)

    def note(self, start: int, end: int) -> None:
        """Enter into the ledger that this range has been written; does nothing once the file is let go of."""
        ranged = _RANGE.pack(start, end)
        with self._lock:
            if self._writer and start < end:
                os.pwrite(self._descriptor, ranged + struct.pack("<L", zlib.crc32(ranged)), self._ledger_end())
                self._entries += 1

    def complete(self) -> None:
        """Give the file its final name; the writer calls it when the blob hashes right."""
        with self._lock:
            if self._writer and os.fstat(self._descriptor).st_size != self.size:
                os.ftruncate(self._descriptor, self.size)
                # Not there: what a power failure left under the final name was filled anew.
                with contextlib.suppress(FileNotFoundError):
                    self._partial.rename(self._final)
                self._writer = False

    def discard(self) -> None:
        """Remove the file and its content, which is wrong or has no room; who still reads it fails."""
        with self._lock:
            self._writer = False
            if self.named:
                self._partial.unlink(missing_ok=True)
                self._final.unlink(missing_ok=True)
            os.ftruncate(self._descriptor, 0)

    # --- whoever ----------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """See what the writer, in whatever process, has entered since."""
        with self._lock:
            if os.fstat(self._descriptor).st_size == self.size:
                self._extents.add(0, self.size)
                return
            if os.pread(self._descriptor, len(_HEADER), self.size) != _HEADER:
                return
            while entry := os.pread(self._descriptor, _ENTRY.size * 1024, self._ledger_end()):
                if not self._take_in(entry):
                    return

    def _take_in(self, entries: bytes) -> int:
        taken = 0
        for at in range(0, len(entries) - _ENTRY.size + 1, _ENTRY.size):
            start, end, checksum = _ENTRY.unpack_from(entries, at)
            if not start < end <= self.size or checksum != zlib.crc32(entries[at : at + _RANGE.size]):
                break
            self._extents.add(start, end)
            taken += 1
        self._entries += taken
        return taken

    def _ledger_end(self) -> int:
        return self.size + len(_HEADER) + self._entries * _ENTRY.size

    def touch(self, at: float) -> None:
        """Note when the file was of use, in seconds since the epoch, so that it is evicted late."""
        os.utime(self._descriptor, (at, at))

    def hold(self) -> None:
        """Keep the file open for one more `release`."""
        with self._lock:
            self._holders += 1

    def unlock(self) -> None:
        """Let somebody else be the writer."""
        with self._lock:
            self._writer = False
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def release(self) -> None:
        """Close the file when nobody holds it any more.

        A thread that still waits for the network holds it: a descriptor closed under it might be another file's by
        the time it writes.
        """
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                os.close(self._descriptor)
