"""SmallBlobs: blobs that fit into memory, read from the primary once for all sites of the deployment."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.registry import Digest, Stopped, Watch
from app.replication.spool.directory import RESERVE, free_bytes

#: Seconds between two looks at whether somebody else has brought it.
_POLL = 0.01

#: The part of the limit after which a process looks what has to go, and the part that goes at once.
_STEP = 32

#: What a file is called while it is written.
_PARTIAL = ".partial"


@dataclass(frozen=True, slots=True)
class Whole:
    """The bytes of a blob that hash right, as a source of `copy_blob`."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def __enter__(self) -> Whole:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[bytes]:
        yield self.data


class SmallBlobs:
    """Files of whole blobs by content, about `limit` bytes of them. One for each process; the directory is shared.

    Nothing of it is relied upon: what it gives is hashed, and what it cannot give or keep comes from the primary.
    """

    def __init__(self, path: Path, limit: int, *, patience: float, free: Callable[[Path], int] = free_bytes) -> None:
        self._path = path
        self._limit = limit
        self._patience = patience
        self._free = free
        self._lock = threading.Lock()
        #: Bytes written here since it was last looked what has to go.
        self._written = limit

    def get(self, digest: str, load: Callable[[], bytes], watch: Watch) -> Whole:
        """The blob: kept, or read by `load`, by one of all who want it now.

        Raises whatever `load` does; the others then try it themselves.

        Raises:
            Stopped: when the watch says so.
            OSError: when the directory cannot be used.
        """
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        final = self._path / digest.replace(":", "-")
        ends = time.monotonic() + self._patience
        while True:
            kept = _read(final, digest)
            if kept is not None:
                return Whole(kept)
            with _turn(final.with_name(final.name + _PARTIAL)) as partial:
                if partial is not None:
                    return self._bring(final, digest, partial, load)
            if time.monotonic() > ends:
                return Whole(load())
            if watch.stop():
                raise Stopped("the transfer was told to stop")
            watch.sleep(_POLL)

    def _bring(self, final: Path, digest: str, partial: _Partial, load: Callable[[], bytes]) -> Whole:
        # Whoever had the turn before may have brought it between our look and our turn.
        data = _read(final, digest)
        if data is not None:
            return Whole(data)
        data = load()
        # It only ever helps: a full disk keeps nobody from the blob that is in memory.
        with contextlib.suppress(OSError):
            if self._room(len(data)):
                partial.keep(data, final)
        return Whole(data)

    def _room(self, size: int) -> bool:
        with self._lock:
            self._written += size
            due = self._written >= self._limit // _STEP
            if due:
                self._written = 0
        if due:
            self._make_room()
        return size <= self._limit and self._free(self._path) >= RESERVE + size

    def _make_room(self) -> None:
        """Remove what was used longest ago until a part of the limit is free."""
        found = []
        with os.scandir(self._path) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime, status.st_size, Path(entry.path)))
        taken = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if taken <= self._limit - self._limit // _STEP:
                return
            with contextlib.suppress(OSError):
                path.unlink()
                taken -= size


@dataclass(frozen=True, slots=True)
class _Partial:
    """The file that whoever has the turn may write."""

    path: Path
    descriptor: int

    def keep(self, data: bytes, final: Path) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.descriptor, view) :]
        self.path.rename(final)


@contextlib.contextmanager
def _turn(path: Path) -> Iterator[_Partial | None]:
    """Be the only one who brings it; None when somebody else is. A killed process's turn ends with it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        if not _names(path, descriptor):
            # Renamed or removed between our opening and our turn.
            yield None
            return
        try:
            os.ftruncate(descriptor, 0)
            yield _Partial(path, descriptor)
        finally:
            if _names(path, descriptor):
                path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _names(path: Path, descriptor: int) -> bool:
    """Whether the path still leads to the open file."""
    mine = os.fstat(descriptor)
    try:
        found = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)


def _read(path: Path, digest: str) -> bytes | None:
    """What is kept, if it hashes right; what does not is removed."""
    try:
        with path.open("rb") as file:
            data = file.read()
            if Digest.of(data, Digest.algorithm(digest)) == digest:
                os.utime(file.fileno())
                return data
    except FileNotFoundError:
        return None
    path.unlink(missing_ok=True)
    return None
