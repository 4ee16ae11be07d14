"""Resuming: a blob read to its end through as many requests as that takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from app.registry.blob_stream import BlobStream, held_back
from app.registry.client import RegistryClient
from app.registry.errors import (
    DigestMismatch,
    InvalidResponse,
    PatchedMismatch,
    RateLimited,
    RegistryError,
    Rejected,
    ServerError,
    Stopped,
    TLSFailed,
    TooManyRequests,
    Unreachable,
)

#: The reason of the error when a registry answered a range with the whole blob, and the reader must not skip.
RANGE_IGNORED = "range_ignored"

#: Seconds between two looks at `stop` while a break is waited out.
_SLICE = 0.2

_BREAKS = (Unreachable, ServerError, TooManyRequests)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a reader that gets nowhere goes on. Times in seconds."""

    #: Breaks in a row without progress that are waited out; the next one is raised.
    tries: int = 5
    #: Bytes between two breaks that make the second count as the first again.
    progress: int = 1024 * 1024
    #: The first break is answered at once; then the pause begins here and doubles.
    pause: float = 0.5
    longest: float = 15.0

    def before(self, breaks: int) -> float:
        """Return the pause after so many breaks in a row."""
        return 0.0 if breaks <= 1 else min(self.pause * 2.0 ** (breaks - 2), self.longest)


@dataclass(frozen=True, slots=True)
class Watch:
    """What the owner of a transfer is told and asked while it runs."""

    #: Asked in every pause and between chunks; true ends the transfer with `Stopped`.
    stop: Callable[[], bool] = lambda: False
    #: Told of bytes that came from the registry, those that had to be skipped too.
    received: Callable[[int], None] = lambda _: None
    sleep: Callable[[float], None] = time.sleep


class BlobReader:
    """Reads a blob from `start` to `end`, going on with `Range` where a connection broke off. Verifies nothing.

    There is no total limit; a reader that makes progress goes on for ever. `size` is that of the whole blob; where it
    is unknown at first, the registry tells. A registry that cannot do ranges begins at 0 again: then the bytes before
    `position` are read and dropped, unless `may_skip` is False. What was handed out before and what comes now might
    be different content then, so that only the hash over what was handed out can tell.

    `end` may be lowered by another thread while the reader runs, and raised again up to what it was.
    """

    def __init__(
        self,
        client: RegistryClient,
        repository: str,
        digest: str,
        *,
        start: int = 0,
        end: int | None = None,
        size: int | None = None,
        may_skip: bool = True,
        patience: Patience | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.position = start
        self.size = size
        self.end = size if end is None else end
        #: Where the bytes came from last, after redirects.
        self.url: str | None = None
        #: How often the reader had to ask again.
        self.resumed = 0
        self._client = client
        self._repository = repository
        self._digest = digest
        self._may_skip = may_skip
        self._patience = patience or Patience()
        self._watch = watch or Watch()
        self._stream: BlobStream | None = None
        self._aborted = False
        self._breaks = 0
        self._broke_at = start

    def open(self) -> None:
        """Ask for the first bytes, with no patience: raises what the registry answers."""
        if self._stream is None and (self.end is None or self.position < self.end):
            self._stream = self._open()

    def read(self) -> bytes:
        """Return the next chunk, at most up to `end`; nothing there.

        Raises `RegistryError`: what a registry refuses for good at once, a break when patience ran out, and `Stopped`
        when told to stop or aborted.
        """
        while self.end is None or self.position < self.end:
            if self._aborted or self._watch.stop():
                raise Stopped("the transfer was told to stop")
            try:
                chunk = self._next()
            except _BREAKS as error:
                self._wait_out(error)
                continue
            if chunk is None:
                continue
            if self.end is not None:
                chunk = chunk[: max(self.end - self.position, 0)]
            self.position += len(chunk)
            if not chunk:
                break
            return chunk
        self.close()
        return b""

    def abort(self) -> None:
        """Make a `read` in another thread end soon, with `Stopped`. `close` is still the reading thread's to call."""
        self._aborted = True
        stream = self._stream
        if stream is not None:
            stream.abort()

    def close(self) -> None:
        """Let go of the connection."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _next(self) -> bytes | None:
        """The next bytes from `position` on; None to look again, nothing at the end of a blob of unknown size."""
        if self._stream is None:
            try:
                self._stream = self._open()
                if self._aborted:
                    raise Stopped("the transfer was told to stop")
            except Rejected as error:
                if error.status == 416 and self.size is None:
                    # The break came after the last byte of a blob whose size nobody said.
                    return b""
                raise
        before = self._stream.position
        chunk = self._stream.read()
        self._watch.received(len(chunk))
        if not chunk:
            whole = self._stream.end is None
            self.close()
            return b"" if whole else None
        # Below `position` only after a registry began at 0 again.
        return chunk[max(self.position - before, 0) :] or None

    def _open(self) -> BlobStream:
        # Bounded only where something is left out: a blob read from 0 to its end is asked for the plain way.
        bound = self.end if self.end != self.size else None
        stream = self._client.open_blob(self._repository, self._digest, self.position, bound, size=self.size)
        try:
            self._check(stream)
        except BaseException:
            stream.close()
            raise
        return stream

    def _check(self, stream: BlobStream) -> None:
        self.url = stream.url
        if stream.size is not None:
            if self.size is not None and stream.size != self.size:
                raise InvalidResponse(
                    f"the source says that {self._digest} has {stream.size} bytes, expected were {self.size}",
                    reason="size_mismatch",
                    method="GET",
                    url=stream.url,
                )
            if self.end is None:
                self.end = stream.size
            self.size = stream.size
        if stream.offset != self.position and not self._may_skip:
            raise InvalidResponse(
                "the registry answers a range with the whole blob", reason=RANGE_IGNORED, url=stream.url
            )

    def _wait_out(self, error: RegistryError) -> None:
        self.close()
        if self._aborted:
            raise Stopped("the transfer was told to stop") from error
        if isinstance(error, TLSFailed | RateLimited):
            # Of a limit: that wait had its own end.
            raise error
        if self.position - self._broke_at >= self._patience.progress:
            self._breaks = 0
        self._breaks += 1
        self._broke_at = self.position
        asked = error.retry_after or 0.0
        if self._breaks > self._patience.tries or asked > self._patience.longest:
            raise error
        self.resumed += 1
        self._pause(max(self._patience.before(self._breaks), asked))

    def _pause(self, seconds: float) -> None:
        while seconds > 0:
            if self._aborted or self._watch.stop():
                raise Stopped("the transfer was told to stop")
            self._watch.sleep(min(seconds, _SLICE))
            seconds -= _SLICE


class ResumingStream:
    """A whole blob, verified, through as many requests as it takes. A context manager and an iterator, for one run.

    The last chunk leaves only when all of them hash right. `PatchedMismatch` if they do not and came by more than one
    request, `DigestMismatch` if by one.
    """

    def __init__(
        self,
        client: RegistryClient,
        repository: str,
        digest: str,
        size: int | None,
        *,
        patience: Patience | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.digest = digest
        self._reader = BlobReader(client, repository, digest, size=size, patience=patience, watch=watch)
        self._reader.open()

    @property
    def size(self) -> int | None:
        """Bytes of the blob, None while nobody has said it."""
        return self._reader.size

    def __enter__(self) -> ResumingStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._reader.close()

    def __iter__(self) -> Iterator[bytes]:
        return held_back(iter(self._reader.read, b""), self.digest, self._verify)

    def _verify(self, actual: str) -> None:
        if actual == self.digest:
            return
        message = f"the blob hashes to {actual}, asked was {self.digest}"
        if self._reader.resumed:
            message = f"{message}; it came in {self._reader.resumed + 1} parts"
            raise PatchedMismatch(message, method="GET", url=self._reader.url)
        raise DigestMismatch(message, method="GET", url=self._reader.url)
