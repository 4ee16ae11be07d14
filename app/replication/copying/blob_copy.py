"""BlobCopy: brings the blobs of one image, each by whoever has it under way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial

from app import tracing
from app.database import in_batches
from app.providers import Mount
from app.registry import Descriptor, TransferResult, Watch, copy_blob, holds, straight
from app.replication.copying.flights import Elsewhere
from app.replication.copying.lanes import finish, is_small
from app.replication.copying.route import Route
from app.replication.copying.tally import Tally

#: Small blobs whose landing is told to other processes together: one lands soon after the other, and telling costs as
#: much as a small request. Not more: who needs one of them waits for the others.
TOGETHER = 4


class UnderWay(Exception):
    """Others carry blobs of this graph: no failure, the copy goes on when they have landed."""

    def __init__(self, flights: Elsewhere) -> None:
        super().__init__("others carry blobs of this image")
        self.flights = flights


class BlobCopy:
    """The blobs of one copy. It may be asked again after `UnderWay`, and goes on where it was."""

    def __init__(self, route: Route, tally: Tally) -> None:
        self._route = route
        self._tally = tally
        self._landed: set[str] = set()
        #: Nothing is believed but a blob's own byte.
        self.doubtful = False

    def doubt(self) -> None:
        """Begin again, without anything that the destination is known to hold in this repository."""
        self._route.presence.forget(self._route.destination.name, self._route.repository)
        self.doubtful = True
        self._landed.clear()

    def bring(self, blobs: Mapping[str, Descriptor]) -> None:
        """Have every blob carried: those that nobody has under way by us, now.

        Raises:
            RegistryError: from either side.
            Stopped: when the route says so.
            UnderWay: others carry some of them; ours have landed.
        """
        wanted = {digest: blob for digest, blob in blobs.items() if digest not in self._landed}
        if not wanted:
            return
        route = self._route
        registry, repository = route.destination.name, route.repository
        keys = {route.flights.key(registry, repository, digest): digest for digest in wanted}
        # In this order: who ended a flight before we took ours has said before that the blob is there.
        ours, elsewhere = route.flights.begin(list(keys))
        try:
            known = route.presence.look(registry, repository, [keys[key] for key in ours])
        except BaseException:
            route.flights.end(ours)
            raise
        present = set() if self.doubtful else {key for key in ours if keys[key] in known.present}
        self._tally.add(skipped=len(present))
        self._landed |= {keys[key] for key in present}
        route.flights.end(present)
        # In the manifest's order, which is the same each time; that of a set is another in every process.
        carried = [(key, digest) for key, digest in keys.items() if key in ours - present]
        self._carry({key: (wanted[digest], known.sources.get(digest)) for key, digest in carried})
        if elsewhere:
            raise UnderWay(elsewhere)

    def _carry(self, flights: Mapping[str, tuple[Descriptor, str | None]]) -> None:
        begun: dict[str, Future[None]] = {}
        try:
            for key, (blob, source) in flights.items():
                self._route.moving.expect(blob.size or 0)
                begun[key] = self._route.lanes.of(blob.size).submit(self._transfer, blob, source)
        finally:
            small = [key for key in begun if is_small(flights[key][0].size)]
            large = [[key] for key in begun if key not in small]
            for group in [*in_batches(small, TOGETHER), *large]:
                digests = [flights[key][0].digest for key in group]
                _when_all([begun[key] for key in group], partial(self._ended, group, digests))
            self._route.flights.end(flights.keys() - begun.keys())
        try:
            finish(list(begun.values()))
        finally:
            for key, future in begun.items():
                if future.cancelled():
                    self._route.moving.expect(-(flights[key][0].size or 0))

    def _ended(self, keys: Sequence[str], digests: Sequence[str]) -> None:
        route = self._route
        try:
            # Before the flights end: who waits for them looks there.
            route.presence.proven(
                route.destination.name, route.repository, [digest for digest in digests if digest in self._landed]
            )
        finally:
            route.flights.end(keys)

    def _transfer(self, blob: Descriptor, mount_from: str | None) -> None:
        about = {"geo.digest": blob.digest, "geo.size": blob.size}
        with self._route.moving.blob(blob.digest, blob.size or 0) as moved, tracing.span("copy_blob", about) as span:
            self._route.check()
            mounts = not self.doubtful and self._route.profile.mount is not Mount.NO
            result = self._move(blob, mount_from if mounts else None, moved)
            span.note({"geo.bytes": result.bytes_copied, "geo.mounted": result.mounted, "geo.skipped": result.skipped})

    def _move(self, blob: Descriptor, mount_from: str | None, moved: Callable[[int], None]) -> TransferResult:
        route = self._route
        # What is not there is read from there all the same: that says so as a failure.
        if mount_from is not None and not holds(route.source, route.repository, blob):
            mount_from = None
        watch = Watch(stop=route.stop, received=self._tally.received)
        opener = route.spool.opener if route.spool is not None else straight
        result = copy_blob(
            opener(route.source, route.repository, blob, watch),
            route.destination,
            route.repository,
            blob,
            mount_from=mount_from,
            probe=not (is_small(blob.size) and route.vacancy.holds()),
            progress=moved,
            stop=route.stop,
        )
        registry = route.destination.name
        if mount_from is not None and result.bytes_copied:
            route.presence.forget(registry, mount_from, blob.digest)
            route.flights.part(registry)
        self._landed.add(blob.digest)
        self._count(result)
        return result

    def _count(self, result: TransferResult) -> None:
        self._tally.add(
            size=result.bytes_copied,
            copied=int(result.bytes_copied > 0),
            mounted=int(result.mounted),
            skipped=int(result.skipped),
        )


def _when_all(futures: Sequence[Future[None]], then: Callable[[], None]) -> None:
    """Call `then` once all have ended, whatever became of them, also when they were cancelled."""
    lock, left = threading.Lock(), len(futures)

    def one_less(_: Future[None]) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            then()

    for future in futures:
        future.add_done_callback(one_less)
