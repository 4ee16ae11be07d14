"""Transfer: one blob from one registry to another, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from app.registry.client import RegistryClient
from app.registry.errors import InvalidResponse, Stopped
from app.registry.manifests import Descriptor


@dataclass(frozen=True, slots=True)
class TransferResult:
    """How a blob got there: bytes sent, or mounted, or skipped since it was there."""

    bytes_copied: int = 0
    mounted: bool = False
    skipped: bool = False


def copy_blob(
    source: RegistryClient,
    destination: RegistryClient,
    repository: str,
    descriptor: Descriptor,
    *,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> TransferResult:
    """Copy the blob into the same repository of the destination, unless it says that it has it in this size.

    `progress` is told the bytes of each chunk as it is sent; `stop` is asked before each and ends the transfer with
    `Stopped`. Whatever fails, nothing is committed: the last bytes leave only when the whole hashes right, and the
    upload is cancelled. Raises `RegistryError`; its `url` tells which side.
    """
    present = destination.head_blob(repository, descriptor.digest)
    if present is not None and descriptor.size in (None, present):
        return TransferResult(skipped=True)
    with source.open_blob(repository, descriptor.digest) as stream:
        size = stream.size if stream.size is not None else descriptor.size
        if descriptor.size is not None and size != descriptor.size:
            raise InvalidResponse(
                f"the source says that {descriptor.digest} has {size} bytes, its manifest says {descriptor.size}",
                reason="size_mismatch",
            )
        upload = destination.start_upload(repository)
        if upload is None:
            return TransferResult(mounted=True)
        try:
            upload.put(_told(stream, progress, stop), size, descriptor.digest)
        except BaseException:
            upload.cancel()
            raise
        return TransferResult(bytes_copied=stream.position)


def _told(
    chunks: Iterable[bytes], progress: Callable[[int], None] | None, stop: Callable[[], bool] | None
) -> Iterator[bytes]:
    for chunk in chunks:
        if stop is not None and stop():
            raise Stopped("the transfer was told to stop")
        yield chunk
        if progress is not None:
            progress(len(chunk))
