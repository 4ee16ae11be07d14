"""BlobStream: one answer to a request for a blob, as it comes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

import requests
import urllib3.exceptions

from app.registry.errors import DigestMismatch, Unreachable
from app.registry.failures import unreachable
from app.registry.limits import Meter
from app.registry.references import Digest

#: Bytes of a blob in memory at a time.
CHUNK = 256 * 1024


class BlobStream:
    """The bytes of a blob, as they come. A context manager and an iterator, to be run through once.

    `offset` is where it really starts: 0 when the registry answered a range with everything; `end` is where it ends,
    None if the registry does not say. `size` is that of the whole blob. Iterating verifies what runs from 0 to the
    blob's end: on a mismatch the last chunk is never handed out and `DigestMismatch` raised; a body that breaks off
    raises `Unreachable`.
    """

    def __init__(
        self,
        response: requests.Response,
        digest: str,
        offset: int,
        size: int | None,
        end: int | None = None,
        *,
        meter: Meter | None = None,
    ) -> None:
        self.digest = digest
        self.offset = offset
        self.size = size
        self.end = size if end is None else end
        #: Where the next chunk starts.
        self.position = offset
        self._response = response
        self._meter = meter

    def __enter__(self) -> BlobStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where the bytes come from, after redirects."""
        return self._response.url

    def close(self) -> None:
        """Give the connection back, or close it when the blob was not read to its end."""
        self._response.close()

    def abort(self) -> None:
        """Make a `read` that waits in another thread, and every later one, fail or end at once."""
        # It raises when the connection has been given back meanwhile, or was never one's own.
        with contextlib.suppress(RuntimeError, ValueError, OSError, AttributeError):
            self._response.raw.shutdown()

    def __iter__(self) -> Iterator[bytes]:
        whole = self.offset == 0 and self.end == self.size
        return held_back(self._chunks(), self.digest, self._verify) if whole else self._chunks()

    def read(self) -> bytes:
        """Return the next chunk, unverified; nothing at the end.

        Raises `Unreachable` when the body breaks off, also when it just ends before `end`.
        """
        request = self._response.request
        try:
            # What has come by now: waiting until a chunk is full would keep a slow link from being told to stop.
            data: bytes = self._response.raw.read1(CHUNK, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(error, request.method or "", self._response.url) from error
        self.position += len(data)
        if self._meter is not None:
            # Afterwards: nobody knows before how many will come, and the sender waits just the same.
            self._meter(len(data))
        if not data and self.end is not None and self.position != self.end:
            raise Unreachable(
                f"the blob ended after {self.position} of {self.end} bytes",
                reason="connection_lost",
                method=request.method,
                url=self._response.url,
            )
        return data

    def _chunks(self) -> Iterator[bytes]:
        while chunk := self.read():
            yield chunk

    def _verify(self, actual: str) -> None:
        if actual != self.digest:
            raise DigestMismatch(
                f"the blob hashes to {actual}, asked was {self.digest}",
                method=self._response.request.method,
                url=self._response.url,
            )


def held_back(chunks: Iterable[bytes], digest: str, verify: Callable[[str], None]) -> Iterator[bytes]:
    """Hand the chunks on, the last one only after `verify` accepted the digest of them all.

    So whoever sends the bytes on with a promised length can still break off. A digest of an algorithm that cannot be
    computed is accepted unseen.
    """
    hasher = Digest.hasher(digest) if Digest.supported(digest) else None
    held = b""
    for chunk in chunks:
        if hasher is not None:
            hasher.update(chunk)
        if held:
            yield held
        held = chunk
    verify(f"{Digest.algorithm(digest)}:{hasher.hexdigest()}" if hasher is not None else digest)
    if held:
        yield held
