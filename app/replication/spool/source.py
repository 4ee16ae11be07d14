"""SpooledBlob: the bytes of a blob out of its spool file, while they come in and wherever they come from."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import TracebackType

from app.registry import BlobReader, DigestMismatch, PatchedMismatch, Stopped, Watch
from app.registry.blob_stream import CHUNK, held_back
from app.replication.spool.fetch import Fetch
from app.replication.spool.file import SpoolFile

#: Seconds for which somebody else's writer may get nowhere before we no longer wait for it.
FOLLOW_PATIENCE = 20.0

#: Seconds between two looks at what another process has written.
_POLL = 0.02

#: Seconds between two looks at whether to stop.
_SLICE = 0.5


class SpooledBlob:
    """A blob that is read from its spool file, in order, and verified. A context manager and an iterator, for one run.

    Who holds the file's lock fetches what is missing. Another one follows the writer, takes over from it when it is
    gone, and goes on without the spool when it stands still. When the disk fails, the rest comes straight from the
    registry. The last chunk leaves only when all of them hash right; if they do not, the file is discarded.
    """

    def __init__(
        self,
        digest: str,
        file: SpoolFile,
        fetch: Callable[[SpoolFile], Fetch],
        straight: Callable[[int], BlobReader],
        watch: Watch,
        *,
        follow_patience: float = FOLLOW_PATIENCE,
    ) -> None:
        self.digest = digest
        self._file = file
        self._make_fetch = fetch
        self._straight = straight
        self._watch = watch
        self._follow_patience = follow_patience
        self._position = 0
        self._fetch: Fetch | None = None
        #: Whether bytes of it are, or may be, what another transfer brought: perhaps from another repository.
        self.found = True
        self._seen = 0
        self._seen_at = time.monotonic()

    @property
    def size(self) -> int:
        """Bytes of the blob, as its manifest says."""
        return self._file.size

    def begin(self) -> None:
        """Wait until the first bytes are there, if they are ours to fetch; raises what the registry answers instead."""
        if self._file.try_lock():
            self.found = self._file.total > 0
            fetch = self._lead()
            while not self._file.reach(0) and not fetch.broken:
                self._wait(fetch)

    def __enter__(self) -> SpooledBlob:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what is under way. What has come stays for the next try."""
        if self._fetch is not None:
            self._fetch.close()
        with contextlib.suppress(OSError):
            if self._fetch is not None and self._file.total == 0:
                # Nothing came, so there is nothing to keep room for.
                self._file.discard()
            self._file.unlock()
        self._file.release()

    def __iter__(self) -> Iterator[bytes]:
        return held_back(self._chunks(), self.digest, self._verify)

    def _chunks(self) -> Iterator[bytes]:
        while self._position < self.size:
            try:
                chunk = self._spooled()
            except OSError:
                chunk = None
            if chunk is None:
                yield from self._rest()
                return
            self._position += len(chunk)
            if self._fetch is not None:
                self._fetch.consumed = self._position
            yield chunk

    def _spooled(self) -> bytes | None:
        """The next bytes, waited for; None when the spool will not give them."""
        while not (chunk := self._file.read(self._position, CHUNK)):
            if self._fetch is None:
                if not self._follow():
                    return None
            elif self._fetch.broken:
                return None
            else:
                self._wait(self._fetch)
        return chunk

    def _wait(self, fetch: Fetch) -> None:
        self._check()
        if fetch.failure is not None:
            raise fetch.failure
        fetch.wait(self._position, _SLICE)

    def _lead(self) -> Fetch:
        self._fetch = fetch = self._make_fetch(self._file)
        fetch.consumed = self._position
        fetch.start()
        return fetch

    def _follow(self) -> bool:
        """Look once at what another writer has done, and wait a little; False when there is no use in it."""
        self._check()
        self._file.refresh()
        if self._file.reach(self._position) > self._position:
            return True
        if self._file.try_lock():
            self._lead()
            return True
        total, now = self._file.total, time.monotonic()
        if total != self._seen:
            self._seen, self._seen_at = total, now
        if now - self._seen_at > self._follow_patience or not (self._file.named or self._file.whole):
            return False
        self._watch.sleep(_POLL)
        return True

    def _rest(self) -> Iterator[bytes]:
        """Everything from here on straight from the registry."""
        if self._fetch is not None:
            self._fetch.close()
            self._fetch = None
            with contextlib.suppress(OSError):
                # At once, since it may be a full disk that brought us here.
                self._file.discard()
        reader = self._straight(self._position)
        try:
            while chunk := reader.read():
                self._position += len(chunk)
                yield chunk
        finally:
            reader.close()

    def _check(self) -> None:
        if self._watch.stop():
            raise Stopped("the transfer was told to stop")

    def _verify(self, actual: str) -> None:
        led = self._fetch is not None
        if actual == self.digest:
            if led:
                with contextlib.suppress(OSError):
                    self._file.complete()
            return
        if led or self._file.whole:
            with contextlib.suppress(OSError):
                self._file.discard()
        message = f"the blob hashes to {actual}, asked was {self.digest}"
        if self._fetch is not None and not self._fetch.patched:
            raise DigestMismatch(message)
        raise PatchedMismatch(f"{message}; it was put together in the spool")
