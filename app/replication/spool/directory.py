"""SpoolDirectory: where the spool files are, how much they may take, and which of them go."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.replication.spool.file import SpoolFile

#: Bytes of the disk that the spool leaves free: the state database is often on the same one.
RESERVE = 1024**3

#: Seconds after which what a failed transfer left behind goes in any case, and goes when its room is needed.
STALE = 24 * 3600.0
ABANDONED = 3600.0

#: Seconds to wait for another process that makes room at the same time.
_TURN = 1.0

_NAME = re.compile(r"(sha256-[0-9a-f]{64}|sha384-[0-9a-f]{96}|sha512-[0-9a-f]{128})\.([0-9]{1,15})(\.partial)?")


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    #: Of the whole blob: a file that is not whole yet has room kept for the rest.
    size: int
    allocated: int
    used_at: float
    partial: bool

    @property
    def outstanding(self) -> int:
        return max(self.size - self.allocated, 0) if self.partial else 0


class SpoolDirectory:
    """Spool files by content, at most `limit` bytes of them. Shared by processes; methods may raise OSError.

    `free` tells the free bytes of the disk that a path is on, `clock` the time in seconds since the epoch.
    """

    def __init__(
        self,
        path: Path,
        limit: int,
        *,
        reserve: int = RESERVE,
        free: Callable[[Path], int] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.limit = limit
        self._reserve = reserve
        self._free = free or free_bytes
        self._clock = clock

    def file(self, digest: str, size: int) -> SpoolFile | None:
        """Return the blob's file, a new one if there is none; None when there is no room for it."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        final = self.path / f"{digest.replace(':', '-')}.{size}"
        partial = final.with_name(f"{final.name}.partial")
        try:
            found = SpoolFile.open(partial, final, size)
        except FileNotFoundError:
            with self._turn() as ours:
                return SpoolFile.open(partial, final, size, create=True) if ours and self._make_room(size) else None
        found.touch(self._clock())
        return found

    @contextlib.contextmanager
    def _turn(self) -> Iterator[bool]:
        """Be the only one who makes room; False when somebody else does for too long."""
        descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            ends = time.monotonic() + _TURN
            while not (ours := _locked(descriptor)) and time.monotonic() < ends:
                time.sleep(0.01)
            yield ours
        finally:
            os.close(descriptor)

    def _make_room(self, size: int) -> bool:
        if size > self.limit:
            return False
        now = self._clock()
        kept = []
        for entry in sorted(self._entries(), key=lambda entry: (entry.partial, entry.used_at)):
            if not (entry.partial and now - entry.used_at > STALE and _remove(entry)):
                kept.append(entry)
        taken = sum(entry.size for entry in kept)
        available = self._free(self.path) - sum(entry.outstanding for entry in kept) - self._reserve
        for entry in kept:
            if taken + size <= self.limit and size <= available:
                break
            if (not entry.partial or now - entry.used_at > ABANDONED) and _remove(entry):
                taken -= entry.size
                available += entry.size
        return taken + size <= self.limit and size <= available

    def _entries(self) -> list[_Entry]:
        found = []
        with os.scandir(self.path) as entries:
            for entry in entries:
                match = _NAME.fullmatch(entry.name)
                if match is None:
                    continue
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    allocated = status.st_blocks * 512
                    found.append(
                        _Entry(Path(entry.path), int(match[2]), allocated, status.st_mtime, match[3] is not None)
                    )
        return found


def _remove(entry: _Entry) -> bool:
    """Delete the file unless it is being written; who reads it still can."""
    try:
        descriptor = os.open(entry.path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        if entry.partial and not _locked(descriptor):
            return False
        entry.path.unlink(missing_ok=True)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def free_bytes(path: Path) -> int:
    """Bytes that are free on the disk that the path is on."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize
