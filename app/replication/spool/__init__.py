"""The spool: a read-through cache of the primary on the local disk, for large blobs, and where there are several sites
for all of them.

Shared by all processes of a machine. It only ever helps: when it cannot, the blob is streamed as if there were none.
"""

from __future__ import annotations

import logging
import threading

from app.registry import BlobReader, Descriptor, Digest, Opener, RegistryClient, Source, Watch, holds, straight
from app.replication.spool.directory import SpoolDirectory
from app.replication.spool.extra import Extra
from app.replication.spool.fetch import Fetch
from app.replication.spool.file import SpoolFile
from app.replication.spool.pace import MOST, Pace
from app.replication.spool.small import SmallBlobs
from app.replication.spool.source import FOLLOW_PATIENCE, SpooledBlob

__all__ = ["LARGE", "PARALLEL", "SMALL", "Spool", "SpoolDirectory"]

#: Bytes from which on a blob goes through the spool: a smaller one is fetched again sooner than it is kept.
LARGE = 16 * 1024 * 1024

#: Bytes from which on a blob may come by several connections.
PARALLEL = 64 * 1024 * 1024

#: Bytes below which a blob is in memory whole, where several sites want the same ones.
SMALL = 1024 * 1024

#: The part of the limit that small blobs may take.
SMALL_SHARE = 8

#: Connections that a process opens beside the first ones of its blobs, however many those are.
EXTRA = 16

log = logging.getLogger(__name__)


class Spool:
    """Opens large blobs through the directory. One for each process; shared by its threads.

    With `everything` the small ones too: several sites want them, and the primary is read once. `follow_patience` is
    for how many seconds another process may get nowhere with a blob that is wanted here, too.
    """

    def __init__(
        self, directory: SpoolDirectory, *, everything: bool = False, follow_patience: float = FOLLOW_PATIENCE
    ) -> None:
        self._directory = directory
        self._small: SmallBlobs | None = None
        if everything:
            budget = directory.limit // SMALL_SHARE
            directory.limit -= budget
            self._small = SmallBlobs(directory.path / "small", budget, patience=follow_patience)
        self._follow_patience = follow_patience
        self._extra = threading.BoundedSemaphore(EXTRA)
        self._complained = False

    def opener(
        self, source: RegistryClient, repository: str, descriptor: Descriptor, watch: Watch | None = None
    ) -> Opener:
        """Return what opens this blob for `copy_blob`: through the spool where that helps.

        The spool goes by content: it gives what this repository of the source `holds`, and no other's.
        """

        plain = straight(source, repository, descriptor, watch)

        def opener(whole: bool) -> Source:
            if whole:
                return plain(True)
            if self._small is not None and descriptor.size is not None and descriptor.size < SMALL:
                return self._whole(source, repository, descriptor, plain, watch or Watch())
            return self._open(source, repository, descriptor, watch or Watch()) or plain(False)

        return opener

    def _whole(
        self, source: RegistryClient, repository: str, descriptor: Descriptor, plain: Opener, watch: Watch
    ) -> Source:
        """A blob that fits into memory."""
        digest, found = descriptor.digest, True

        def load() -> bytes:
            nonlocal found
            found = False
            with plain(False) as stream:
                return b"".join(stream)

        assert self._small is not None
        if not Digest.supported(digest):
            return plain(False)
        try:
            blob = self._small.get(digest, load, watch)
        except OSError as error:
            self._unusable(error)
            return plain(False)
        return plain(False) if found and not holds(source, repository, descriptor) else blob

    def _open(
        self, source: RegistryClient, repository: str, descriptor: Descriptor, watch: Watch
    ) -> SpooledBlob | None:
        digest, size = descriptor.digest, descriptor.size
        least = LARGE if self._small is None else SMALL
        if size is None or size < least or not Digest.supported(digest):
            return None
        file = self._file(digest, size)
        if file is None:
            return None

        def reader(start: int, end: int | None = None, may_skip: bool = True) -> BlobReader:
            return BlobReader(
                source, repository, digest, start=start, end=end, size=size, may_skip=may_skip, watch=watch
            )

        extra = Extra(self._extra, source.roomy)

        def fetch(file: SpoolFile) -> Fetch:
            return Fetch(file, reader, Pace(MOST if size >= PARALLEL else 1), extra, self._unusable)

        blob = SpooledBlob(digest, file, fetch, reader, watch, follow_patience=self._follow_patience)
        try:
            blob.begin()
            if blob.found and not holds(source, repository, descriptor):
                blob.close()
                return None
        except OSError as error:
            blob.close()
            self._unusable(error)
            return None
        except BaseException:
            blob.close()
            raise
        return blob

    def _file(self, digest: str, size: int) -> SpoolFile | None:
        try:
            file = self._directory.file(digest, size)
        except OSError as error:
            self._unusable(error)
            return None
        if file is None:
            self._complain(f"has no room for {size} bytes now (check its disk and GEO_SPOOL_MAX_BYTES)")
        else:
            self._complained = False
        return file

    def _unusable(self, error: OSError) -> None:
        self._complain(f"cannot be used: {error}")

    def _complain(self, trouble: str) -> None:
        """Say it once, until the spool is of use again."""
        if not self._complained:
            self._complained = True
            log.warning("the spool %s %s; blobs are streamed without it", self._directory.path, trouble)
