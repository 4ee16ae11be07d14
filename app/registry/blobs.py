"""Blobs: streamed out of a registry, and uploaded into one."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterable, Iterator

import requests
import urllib3.exceptions

from app.registry.auth import Scope
from app.registry.blob_stream import BlobStream
from app.registry.endpoint import Endpoint
from app.registry.errors import DigestMismatch, InvalidResponse, RegistryError, TooLarge
from app.registry.failures import causes, unreachable
from app.registry.limits import metered
from app.registry.media_types import OCTET_STREAM
from app.registry.references import Digest
from app.registry.transport import Body, Redirects, SizedBody, discard

#: Seconds more than the idle limit that the answer to an upload may take, for each GiB of it: an object storage
#: copies the whole blob to its place before the registry answers.
_COMMIT_SECONDS = 60.0

_GIB = 1024**3

#: The registry may still be taking in what was sent before a `put` broke off, so that the session moves on meanwhile.
_CANCEL_TRIES = 3

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")


class Upload:
    """An upload session of one blob: `put` it all, or `cancel`."""

    def __init__(self, endpoint: Endpoint, repository: str, location: str, *, least: int = 0) -> None:
        self.repository = repository
        #: Where the next request of the session goes, its query as the registry gave it.
        self.location = location
        self._endpoint = endpoint
        #: Bytes that each chunk but the last must have, as the registry says.
        self._least = least

    def put(self, chunks: Iterable[bytes], size: int | None, digest: str) -> None:
        """Send the whole blob and commit it under the digest, which the registry verifies.

        In one request, or in chunks where the registry's manners say so. With `size` that length is promised, and kept
        to if `chunks` give fewer bytes or more; None is sent in chunked encoding, which not every registry takes. An
        error that `chunks` raises is raised unchanged, and then nothing is committed.
        """
        endpoint = self._endpoint
        with endpoint.observed("put_blob"):
            source = metered(chunks, endpoint.meter)
            patience = _COMMIT_SECONDS * (size or 0) / _GIB
            if size is not None and endpoint.in_chunks(size):
                self._append(source, size)
                self._commit(b"", 0, digest, patience)
                return
            try:
                self._commit(_body(source, size), size, digest, patience)
            except TooLarge:
                endpoint.refused(size)
                raise

    def _append(self, source: Iterable[bytes], size: int) -> None:
        """Send all bytes, in requests that each say where theirs belong."""
        endpoint, pieces = self._endpoint, _Pieces(source)
        scope = endpoint.scope(self.repository, "pull", "push")
        chunk = max(endpoint.manners.chunk or 1, self._least)
        for start in range(0, size, chunk):
            length = min(chunk, size - start)
            response = endpoint.call(
                "PATCH",
                self.location,
                scope,
                # By the specification 202; others are met.
                expect=(202, 201, 204),
                headers={"Content-Type": OCTET_STREAM, "Content-Range": f"{start}-{start + length - 1}"},
                body=SizedBody(pieces.take(length), length),
                size=length,
            )
            discard(response)
            location = response.headers.get("Location")
            if location:
                self.location = endpoint.resolve(response.url, location)
        pieces.end()

    def _commit(self, body: bytes | Body, size: int | None, digest: str, patience: float) -> None:
        endpoint = self._endpoint
        joint = "&" if "?" in self.location else "?"
        response = endpoint.call(
            "PUT",
            # A colon is plain in a query (RFC 3986, 3.4), and not every registry decodes it.
            f"{self.location}{joint}digest={digest}",
            endpoint.scope(self.repository, "pull", "push"),
            expect=(201, 204),
            headers={"Content-Type": OCTET_STREAM},
            body=body,
            patience=patience,
            size=size,
        )
        stored = response.headers.get("Docker-Content-Digest")
        discard(response)
        if stored and Digest.supported(stored) and Digest.differs(stored, digest):
            raise DigestMismatch(f"the registry stored {stored}, sent was {digest}", method="PUT", url=self.location)

    def cancel(self) -> bool:
        """Give the session up, and tell whether the registry said yes. Never raises.

        After a `put` that broke off, Distribution 2.x no longer knows the session: what was sent stays there until the
        registry purges old uploads.
        """
        endpoint = self._endpoint
        # Distribution wants `delete` for it, others `push`.
        actions = [action for action in ("pull", "push", "delete") if endpoint.allows(action)]
        scope = endpoint.scope(self.repository, *actions)
        for _ in range(_CANCEL_TRIES):
            try:
                with endpoint.observed("cancel_upload"):
                    discard(endpoint.call("DELETE", self.location, scope, expect=(200, 202, 204)))
                return True
            except RegistryError:
                # Distribution 3 refuses a Location that is behind what it received, and tells the current one.
                if not self._look_up(scope):
                    return False
        return False

    def _look_up(self, scope: Scope) -> bool:
        try:
            response = self._endpoint.call("GET", self.location, scope, expect=(204,), resend=True)
            discard(response)
            location = response.headers.get("Location")
            if location:
                self.location = self._endpoint.resolve(response.url, location)
            return bool(location)
        except RegistryError:
            return False


def start_upload(endpoint: Endpoint, repository: str, mount: str | None, from_repository: str | None) -> Upload | None:
    """Open an upload session; None if the blob could be mounted instead."""
    url = endpoint.url(f"{repository}/blobs/uploads/")
    if mount is not None and from_repository is not None:
        scope = endpoint.scope(repository, "pull", "push", mount_from=from_repository)
        try:
            return _post(endpoint, f"{url}?mount={mount}&from={from_repository}", repository, scope)
        except RegistryError as error:
            # Distribution refuses the whole request with 401 when the source must not be read. What else can be
            # wrong with a mount has as many statuses as there are registries; the plain request tells the truth.
            if error.status not in (400, 401, 403, 404, 405):
                raise
    return _post(endpoint, url, repository, endpoint.scope(repository, "pull", "push"))


def _post(endpoint: Endpoint, url: str, repository: str, scope: Scope) -> Upload | None:
    # Sent again over a dead connection, at worst, it leaves a session that the registry forgets.
    response = endpoint.call("POST", url, scope, expect=(201, 202), resend=True)
    discard(response)
    if response.status_code == 201:
        if "?mount=" in url:
            return None
        raise endpoint.invalid(response, "201 to an upload that has not begun")
    location = response.headers.get("Location")
    if not location:
        raise endpoint.invalid(response, "an upload session without a Location")
    least = response.headers.get("OCI-Chunk-Min-Length", "")
    bound = int(least) if least.isdecimal() and len(least) < 10 else 0
    return Upload(endpoint, repository, endpoint.resolve(response.url, location), least=bound)


def head_blob(endpoint: Endpoint, repository: str, digest: str) -> int | None:
    """Return the blob's size as the registry says, None if it says 404."""
    response = endpoint.call(
        "HEAD",
        endpoint.url(f"{repository}/blobs/{digest}"),
        endpoint.scope(repository, "pull"),
        expect=(200, 404),
        redirects=Redirects.ANY,
        resend=True,
    )
    discard(response)
    if response.status_code == 404:
        return None
    length = response.headers.get("Content-Length", "")
    if not length.isdecimal():
        raise endpoint.invalid(response, "a blob without a Content-Length")
    return int(length)


def open_blob(
    endpoint: Endpoint,
    repository: str,
    digest: str,
    offset: int = 0,
    end: int | None = None,
    *,
    size: int | None = None,
) -> BlobStream:
    """Start reading the blob, from `offset` to `end` (exclusive) where the registry can. `size` is the whole blob's."""
    stop = size if end is None else end
    headers = {"Range": f"bytes={offset}-{'' if end is None else end - 1}"} if offset or end is not None else {}
    response = _get(endpoint, repository, digest, headers, None if stop is None else stop - offset)
    if response.status_code == 200:
        return BlobStream(response, digest, 0, _length(response), meter=endpoint.meter)
    first, last, whole = _content_range(endpoint, response)
    if first != offset or last < first or (end is not None and last >= end):
        raise endpoint.invalid(response, f"the range {first}-{last}, which is not the one that was asked")
    return BlobStream(response, digest, offset, whole, last + 1, meter=endpoint.meter)


def blob_present(endpoint: Endpoint, repository: str, digest: str, size: int | None) -> bool:
    """Tell whether the blob can really be read and is of this size (None: whatever it is), by its first byte.

    HEAD, mount and the push of a manifest say yes of blobs that are gone: Distribution answers them from its cache.
    So does the head of its answer to a range, size and all; then the connection ends without the byte. That is asked
    twice, since a broken connection looks the same.
    """
    for _ in range(2):
        found = _first_byte(endpoint, repository, digest, size)
        if found is not None:
            return found
    return False


def _first_byte(endpoint: Endpoint, repository: str, digest: str, size: int | None) -> bool | None:
    try:
        response = _get(endpoint, repository, digest, {} if size == 0 else {"Range": "bytes=0-0"}, 1)
    except RegistryError as error:
        # 404 is the word for it; 416 says that not even the first byte is there.
        if error.status in (404, 416):
            return False
        raise
    try:
        stated = _content_range(endpoint, response)[2] if response.status_code == 206 else _length(response)
        # Who does not say the size does not prove that it is all there.
        if stated is None or size not in (None, stated):
            return False
        return len(response.raw.read(1, decode_content=False)) == min(stated, 1)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        if any(isinstance(cause, http.client.IncompleteRead) for cause in causes(error)):
            return None
        raise unreachable(error, "GET", response.url) from error
    finally:
        response.close()


def _get(
    endpoint: Endpoint, repository: str, digest: str, headers: dict[str, str], size: int | None
) -> requests.Response:
    return endpoint.call(
        "GET",
        endpoint.url(f"{repository}/blobs/{digest}"),
        endpoint.scope(repository, "pull"),
        expect=(200, 206) if headers else (200,),
        headers=headers,
        redirects=Redirects.ANY,
        resend=True,
        size=size,
    )


def _length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _content_range(endpoint: Endpoint, response: requests.Response) -> tuple[int, int, int | None]:
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        raise endpoint.invalid(response, "a range without a Content-Range")
    return int(match[1]), int(match[2]), None if match[3] == "*" else int(match[3])


class _Pieces:
    """What `source` gives, in pieces of any length: nothing is kept but the rest of one chunk."""

    def __init__(self, source: Iterable[bytes]) -> None:
        self._source = iter(source)
        self._rest = memoryview(b"")

    def take(self, length: int) -> Iterator[bytes]:
        """The next `length` bytes, or as many as there are."""
        while length:
            if not self._rest:
                chunk = next(self._source, None)
                if chunk is None:
                    return
                self._rest = memoryview(chunk)
            piece, self._rest = self._rest[:length], self._rest[length:]
            length -= len(piece)
            yield bytes(piece)

    def end(self) -> None:
        """Raise unless there is nothing more. Run through to its end the source has verified itself."""
        if self._rest or any(self._source):
            raise InvalidResponse("the source gave more bytes of a blob than were promised", reason="size_mismatch")


def _body(chunks: Iterable[bytes], size: int | None) -> bytes | Body:
    if size is None:
        return Body(chunks)
    if size:
        return SizedBody(chunks, size)
    # Nothing to stream, and a stream of nothing would be sent in chunked encoding. It is still run through: the
    # source verifies itself at its end.
    if any(chunks):
        raise InvalidResponse("the source gave bytes of a blob that should be empty", reason="size_mismatch")
    return b""
