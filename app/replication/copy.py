"""Copying one reference with everything below it: blobs and child manifests first, the reference last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from app.registry import Descriptor, Manifest, NotFound, RegistryClient, Stopped, Watch, copy_blob, straight
from app.replication.flights import Flights, Transfer
from app.replication.lanes import Lanes
from app.replication.spool import Spool

T = TypeVar("T")
R = TypeVar("R")

#: Indexes inside indexes. Real ones have one level, nested ones two.
MAX_DEPTH = 8

#: Manifests below one reference; a hostile index must not make us fetch for ever.
MAX_MANIFESTS = 10_000


class GraphTooLarge(Exception):
    """An index nests too deeply, or names too many manifests, to be an honest image."""

    reason = "graph_too_large"
    temporary = False


@dataclass
class Tally:
    """What one copy moved. Shared by the threads that carry its blobs."""

    #: Sent to the destination; and received from the source's blobs, which is less where the spool had them, and
    #: more where a transfer was cut and the registry knows no ranges.
    bytes_copied: int = 0
    bytes_received: int = 0
    blobs_copied: int = 0
    blobs_mounted: int = 0
    blobs_skipped: int = 0
    manifests_copied: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def received(self, size: int) -> None:
        with self._lock:
            self.bytes_received += size

    def add(self, *, size: int = 0, copied: int = 0, mounted: int = 0, skipped: int = 0, manifests: int = 0) -> None:
        with self._lock:
            self.bytes_copied += size
            self.blobs_copied += copied
            self.blobs_mounted += mounted
            self.blobs_skipped += skipped
            self.manifests_copied += manifests


@dataclass(frozen=True)
class GraphCopy:
    """Copies what a manifest needs, from one registry to another, within one repository.

    `lanes` run the requests in parallel; no task in them waits for another. `flights` are shared with the other
    copies of the same sync. `stop` is asked between chunks. Large blobs pass through the `spool`, if there is one.
    """

    source: RegistryClient
    destination: RegistryClient
    repository: str
    lanes: Lanes
    flights: Flights
    stop: Callable[[], bool]
    tally: Tally = field(default_factory=Tally)
    spool: Spool | None = None

    def below(self, manifest: Manifest) -> None:
        """Bring everything that `manifest` names to the destination; the manifest itself is left to the caller.

        Raises:
            RegistryError: from either side.
            Stopped: when `stop` says so.
            GraphTooLarge: before anything was written.
        """
        children = self._children(manifest)
        blobs = {blob.digest: blob for one in (manifest, *children) for blob in one.blobs}
        self.flights.bring(
            {digest: Transfer(self.lanes.of(blob.size), partial(self._blob, blob)) for digest, blob in blobs.items()}
        )
        for child in children:
            self._check()
            with self.flights.writing(child.digest, *(each.digest for each in child.manifests)):
                if child.digest in self.flights.written:
                    continue
                self.destination.put_manifest(self.repository, child.digest, child)
                self.flights.written.add(child.digest)
            self.tally.add(manifests=1)

    def _children(self, manifest: Manifest) -> list[Manifest]:
        """All manifests below that the destination lacks, each once and after all that it names itself."""
        found: dict[str, Manifest] = {}
        seen = {manifest.digest}
        level = [manifest]
        for _ in range(MAX_DEPTH):
            wanted = {child.digest: child for parent in level for child in parent.manifests}
            wanted = {digest: child for digest, child in wanted.items() if digest not in seen}
            seen |= wanted.keys()
            if len(seen) > MAX_MANIFESTS:
                raise GraphTooLarge(f"more than {MAX_MANIFESTS} manifests below {manifest.digest}")
            level = [child for child in self._each(self._child, list(wanted.values())) if child is not None]
            if not level:
                return _children_first(manifest, found)
            found |= {child.digest: child for child in level}
        raise GraphTooLarge(f"indexes nest more than {MAX_DEPTH} deep below {manifest.digest}")

    def _child(self, descriptor: Descriptor) -> Manifest | None:
        self._check()
        try:
            with self.flights.writing(descriptor.digest):
                self.destination.head_manifest(self.repository, descriptor.digest)
        except NotFound:
            return self.source.get_manifest(self.repository, descriptor.digest)
        return None

    def _blob(self, descriptor: Descriptor) -> None:
        self._check()
        watch = Watch(stop=self.stop, received=self.tally.received)
        opener = self.spool.opener if self.spool is not None else straight
        source = opener(self.source, self.repository, descriptor, watch)
        result = copy_blob(source, self.destination, self.repository, descriptor, stop=self.stop)
        self.tally.add(
            size=result.bytes_copied,
            copied=int(result.bytes_copied > 0),
            mounted=int(result.mounted),
            skipped=int(result.skipped),
        )

    def _each(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Run `work` on all items in parallel; the first error stops those not begun and is raised."""
        if len(items) == 1:
            return [work(items[0])]
        futures = [self.lanes.small.submit(work, item) for item in items]
        done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
        waiting = {future for future in waiting if not future.cancel()}
        errors: Iterable[BaseException | None] = (future.exception() for future in done)
        error = next((e for e in errors if e is not None), None)
        if error is not None:
            # What has begun is awaited: nothing of this copy may write once its caller has moved on.
            wait(waiting)
            raise error
        return [future.result() for future in futures]

    def _check(self) -> None:
        if self.stop():
            raise Stopped("the copy was told to stop")


def _children_first(top: Manifest, found: dict[str, Manifest]) -> list[Manifest]:
    """The manifests of `found` in an order in which a registry that checks an index's children takes them."""
    ordered: dict[str, Manifest] = {}

    def visit(manifest: Manifest) -> None:
        for child in manifest.manifests:
            if child.digest in found and child.digest not in ordered:
                visit(found[child.digest])
                ordered[child.digest] = found[child.digest]

    visit(top)
    return list(ordered.values())
