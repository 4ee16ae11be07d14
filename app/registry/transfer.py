"""Transfer: one blob from one registry to another, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from app.registry.client import RegistryClient
from app.registry.errors import PatchedMismatch, Stopped
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
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> TransferResult:
    """Copy the blob into the same repository of the destination, unless it says that it has it in this size.

    The source is a registry, which is read with patience, or whatever opens the blob. `progress` is told the bytes of
    each chunk as it is sent; `stop` is asked before each and ends the transfer with `Stopped`. Whatever fails, nothing
    is committed: the last bytes leave only when the whole hashes right, and the upload is cancelled. What was patched
    together and hashes wrong is fetched whole, once. Raises `RegistryError`; its `url` tells which side.
    """
    present = destination.head_blob(repository, descriptor.digest)
    if present is not None and descriptor.size in (None, present):
        return TransferResult(skipped=True)
    opener = source
    if isinstance(opener, RegistryClient):
        opener = straight(opener, repository, descriptor, Watch() if stop is None else Watch(stop=stop))
    try:
        return _send(opener(False), destination, repository, descriptor, progress, stop)
    except PatchedMismatch:
        return _send(opener(True), destination, repository, descriptor, progress, stop)


def straight(source: RegistryClient, repository: str, descriptor: Descriptor, watch: Watch | None = None) -> Opener:
    """Return an opener that reads the blob straight from the registry."""

    def opener(_whole: bool) -> ResumingStream:
        return ResumingStream(source, repository, descriptor.digest, descriptor.size, watch=watch)

    return opener


def _send(
    opened: Source,
    destination: RegistryClient,
    repository: str,
    descriptor: Descriptor,
    progress: Callable[[int], None] | None,
    stop: Callable[[], bool] | None,
) -> TransferResult:
    sent = 0

    def count(size: int) -> None:
        nonlocal sent
        sent += size
        if progress is not None:
            progress(size)

    with opened as stream:
        upload = destination.start_upload(repository)
        if upload is None:
            return TransferResult(mounted=True)
        try:
            upload.put(_told(stream, count, stop), stream.size, descriptor.digest)
        except BaseException:
            upload.cancel()
            raise
        return TransferResult(bytes_copied=sent)


def _told(chunks: Iterable[bytes], progress: Callable[[int], None], stop: Callable[[], bool] | None) -> Iterator[bytes]:
    for chunk in chunks:
        if stop is not None and stop():
            raise Stopped("the transfer was told to stop")
        yield chunk
        progress(len(chunk))
