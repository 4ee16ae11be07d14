"""Transfer: one blob from one registry to another, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from app.registry.blobs import Upload
from app.registry.client import RegistryClient
from app.registry.errors import (
    InvalidResponse,
    PatchedMismatch,
    RegistryError,
    Stopped,
    TooLarge,
    TooManyRequests,
    Unreachable,
)
from app.registry.manifests import Descriptor
from app.registry.resume import ResumingStream, Watch


@dataclass(frozen=True, slots=True)
class TransferResult:
    """How a blob got there: bytes sent, or mounted, or skipped since it was there."""

    bytes_copied: int = 0
    mounted: bool = False
    skipped: bool = False


class Source(AbstractContextManager["Source"], Protocol):
    """The bytes of a blob on their way out, verified: the last chunk leaves only when all of them hash right."""

    @property
    def size(self) -> int | None:
        """Bytes of the whole blob, None if nobody knows."""

    def __iter__(self) -> Iterator[bytes]: ...


#: Opens the source of a blob. True asks for it whole from the registry, since what was patched together hashed wrong.
Opener = Callable[[bool], Source]


def copy_blob(
    source: RegistryClient | Opener,
    destination: RegistryClient,
    repository: str,
    descriptor: Descriptor,
    *,
    mount_from: str | None = None,
    probe: bool = True,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> TransferResult:
    """Copy the blob into the same repository of the destination, unless that gives a byte of it in this size; without
    `probe` it is not asked first.

    The source is a registry, which is read with patience, or whatever opens the blob. `mount_from` is a repository of
    the destination that probably holds it: then it is mounted, and carried only where that fails; the source is not
    asked, so the caller has to know that this repository of it `holds` the blob. `progress` is told the bytes of each
    chunk as it is sent; `stop` is asked before each and ends the transfer with `Stopped`. Whatever fails, nothing is
    committed: the last bytes leave only when the whole hashes right, and the upload is cancelled. What was patched
    together and hashes wrong is fetched whole, once; what is too large for one request is sent in chunks, where that
    may help. Raises `RegistryError`; its `url` tells which side.
    """
    upload = None
    if mount_from is not None:
        upload = destination.start_upload(repository, mount=descriptor.digest, from_repository=mount_from)
        # A registry mounts from its cache what its storage no longer has; and one that does not mount may hold it.
        if destination.blob_present(repository, descriptor.digest, descriptor.size):
            if upload is not None:
                upload.cancel()
            return TransferResult(mounted=upload is None, skipped=upload is not None)
    elif probe and destination.blob_present(repository, descriptor.digest, descriptor.size):
        return TransferResult(skipped=True)
    opener = source
    if isinstance(opener, RegistryClient):
        opener = straight(opener, repository, descriptor, Watch() if stop is None else Watch(stop=stop))
    sending = _Sending(destination, repository, descriptor, progress, stop)
    chunked = destination.in_chunks(descriptor.size)
    try:
        return sending.send(opener, upload)
    except PatchedMismatch:
        return sending.send(opener, None, whole=True)
    except TooLarge:
        # Of the registry, or of a proxy before it: more often the latter, which limits a request and not a blob.
        if chunked or not destination.in_chunks(descriptor.size):
            raise
        return sending.send(opener, None)


def holds(source: RegistryClient, repository: str, descriptor: Descriptor) -> bool:
    """Tell whether this very repository of the registry gives the blob, without reading it.

    For who takes the bytes from elsewhere (a mount, a cache by digest): whoever may push names any digest in a
    manifest, and we may read every repository; only this keeps the blob of one from being given to the readers of
    another. Raises `RegistryError` where neither HEAD nor one byte of it is an answer.
    """
    try:
        return source.head_blob(repository, descriptor.digest) is not None
    except (Unreachable, TooManyRequests):
        raise
    except RegistryError:
        # A storage may have signed the address to which a HEAD was led for GET alone.
        return source.blob_present(repository, descriptor.digest, descriptor.size)


def straight(source: RegistryClient, repository: str, descriptor: Descriptor, watch: Watch | None = None) -> Opener:
    """Return an opener that reads the blob straight from the registry."""

    def opener(_whole: bool) -> ResumingStream:
        return ResumingStream(source, repository, descriptor.digest, descriptor.size, watch=watch)

    return opener


@dataclass(frozen=True, slots=True)
class _Sending:
    destination: RegistryClient
    repository: str
    descriptor: Descriptor
    progress: Callable[[int], None] | None
    stop: Callable[[], bool] | None

    def send(self, opener: Opener, upload: Upload | None, *, whole: bool = False) -> TransferResult:
        """Send what `opener` opens, by this upload session or a new one."""
        sent = 0

        def count(size: int) -> None:
            nonlocal sent
            sent += size
            if self.progress is not None:
                self.progress(size)

        try:
            with opener(whole) as stream:
                # The source first: most of what fails fails there, and then nothing is left open here.
                upload = upload or self._start()
                upload.put(_told(stream, count, self.stop), stream.size, self.descriptor.digest)
        except BaseException:
            if upload is not None:
                upload.cancel()
            raise
        return TransferResult(bytes_copied=sent)

    def _start(self) -> Upload:
        upload = self.destination.start_upload(self.repository)
        if upload is None:
            raise InvalidResponse("a mount was reported that was not asked for")
        return upload


def _told(chunks: Iterable[bytes], progress: Callable[[int], None], stop: Callable[[], bool] | None) -> Iterator[bytes]:
    for chunk in chunks:
        if stop is not None and stop():
            raise Stopped("the transfer was told to stop")
        yield chunk
        progress(len(chunk))
