"""Copying one reference with everything below it: blobs and child manifests first, the reference last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from app.registry import (
    Descriptor,
    DigestMismatch,
    InvalidManifest,
    Manifest,
    NotFound,
    RegistryError,
    Rejected,
    ServerError,
    media_types,
)
from app.replication.copying.blob_copy import BlobCopy
from app.replication.copying.fitting import require_fit
from app.replication.copying.route import Route
from app.replication.copying.tally import Tally

#: Indexes inside indexes. Real ones have one level, nested ones two.
MAX_DEPTH = 8

#: Manifests below one reference, and their bytes, which are all in memory; a hostile index must not make us fetch
#: for ever.
MAX_MANIFESTS, MAX_BYTES = 10_000, 64 * 1024 * 1024


class GraphTooLarge(Exception):
    """An index nests too deeply, or names too many manifests, to be an honest image."""

    reason = "graph_too_large"
    temporary = False


class ChildMissing(Exception):
    """The destination refuses an index of which the source does not hold every manifest."""

    reason = "child_missing"
    temporary = True


class NotKept(Exception):
    """The destination says that it took a manifest, and does not give it."""

    reason = "not_kept"
    temporary = True


class GraphCopy:
    """Copies what a manifest needs. It may be asked again after `UnderWay`, and goes on where it was."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.tally = Tally()
        #: Manifests of the source that were read, by digest, and their bytes.
        self._read: dict[str, Manifest] = {}
        self._held_bytes = 0
        self._lock = threading.Lock()
        #: Named by an index, and neither on the source nor on the destination: the index is a sparse one.
        self._missing: set[str] = set()
        #: Taken for manifests, and blobs.
        self._unlisted: dict[str, Descriptor] = {}
        #: Whether the source holds a layer that should not be distributed.
        self._held: dict[str, bool] = {}
        self._settled: set[str] = set()
        self._blobs = BlobCopy(route, self.tally)

    def below(self, manifest: Manifest) -> None:
        """Bring everything that `manifest` names to the destination; the manifest itself is left to the caller.

        Raises:
            RegistryError: from either side.
            Stopped: when the route says so.
            GraphTooLarge, BeyondLimit, MediaTypeMissing: before anything was written.
            ChildMissing: an index below names manifests that the source does not hold, and the destination wants them.
            UnderWay: others carry some of the blobs; all else has been brought.
        """
        self._repairing(manifest, partial(self._below, manifest))

    def _below(self, manifest: Manifest) -> None:
        children = self._children(manifest)
        levels = _levels(children)
        require_fit(self.route.profile, (manifest, *children))
        named = [blob for one in (manifest, *children) for blob in (*one.blobs, *self._distributed(one))]
        self._blobs.bring({blob.digest: blob for blob in (*named, *self._unlisted.values())})
        for level in levels:
            self.route.lanes.each(self._write, level)

    def put(self, manifest: Manifest, name: str, put: Callable[[], None]) -> None:
        """Have the caller `put` the manifest, under a name that only he may write; and once more, when the
        destination finds something missing below it that it claimed to hold.

        Raises:
            ChildMissing: the index names manifests that the source does not hold, and the destination wants them.
        """
        self._repairing(manifest, partial(self._put, manifest, name, put))

    def _repairing(self, manifest: Manifest, work: Callable[[], None]) -> None:
        try:
            work()
        except Rejected as error:
            if error.reason != "manifest_blob_unknown":
                raise
            self.doubt()
            try:
                self._below(manifest)
                work()
            except Rejected as again:
                if again.reason != "manifest_blob_unknown" or not self._missing:
                    raise
                named = ", ".join(sorted(self._missing)[:3])
                raise ChildMissing(
                    f"the source holds {len(self._missing)} of the manifests in this index no longer, or not yet"
                    f" ({named}), and the destination takes no index without them: {again}"
                ) from again

    def doubt(self) -> None:
        """Forget what the destination is known to hold in this repository, and from here on believe only bytes."""
        self._blobs.doubt()
        self._settled.clear()

    @property
    def _doubt(self) -> bool:
        return self._blobs.doubtful

    def _put(self, manifest: Manifest, name: str, put: Callable[[], None]) -> None:
        writing = self.route.writing
        with writing.of(manifest.digest, *(child.digest for child in manifest.manifests)):
            if name in writing.written and not self._doubt:
                return
            self._kept(manifest, put)
            if name == manifest.digest:
                writing.written.add(name)

    # --- manifests --------------------------------------------------------------------------------------------------

    def _children(self, manifest: Manifest) -> list[Manifest]:
        """All manifests below that the destination lacks, each once."""
        found: dict[str, Manifest] = {}
        seen = {manifest.digest}
        level = [manifest]
        for _ in range(MAX_DEPTH):
            wanted = {child.digest: child for parent in level for child in parent.manifests}
            wanted = {digest: child for digest, child in wanted.items() if digest not in seen}
            seen |= wanted.keys()
            if len(seen) > MAX_MANIFESTS:
                raise GraphTooLarge(f"more than {MAX_MANIFESTS} manifests below {manifest.digest}")
            level = [child for child in self.route.lanes.each(self._child, list(wanted.values())) if child is not None]
            if not level:
                return list(found.values())
            found |= {child.digest: child for child in level}
        raise GraphTooLarge(f"indexes nest more than {MAX_DEPTH} deep below {manifest.digest}")

    def _child(self, descriptor: Descriptor) -> Manifest | None:
        digest, route = descriptor.digest, self.route
        if digest in self._settled:
            return None
        if digest in self._read:
            return self._read[digest]
        self.route.check()
        # Of a blob that it is no manifest Distribution 2.8 says with 500: what may be one is not asked for.
        if not self._doubt and media_types.is_manifest(descriptor.media_type):
            try:
                with route.writing.of(digest):
                    route.destination.head_manifest(route.repository, digest)
                self._settled.add(digest)
                return None
            except NotFound:
                pass
        self._require_room()
        try:
            child = route.source.get_manifest(route.repository, digest)
        except RegistryError as error:
            if self._is_blob(descriptor, error):
                self._unlisted[digest] = descriptor
                self._settled.add(digest)
                return None
            if not (isinstance(error, NotFound) and error.witnessed):
                raise
            # A sparse index, which some keep on purpose; the destination decides whether it takes it.
            self._missing.add(digest)
            self._settled.add(digest)
            return None
        self._hold(child)
        return child

    def _hold(self, child: Manifest) -> None:
        # With each, for a level of an index may be all there is of it.
        with self._lock:
            if child.digest not in self._read:
                self._held_bytes += child.size
            self._read[child.digest] = child
        self._require_room()

    def _require_room(self) -> None:
        if self._held_bytes > MAX_BYTES:
            raise GraphTooLarge(f"more than {MAX_BYTES} bytes of manifests below one reference")

    def _is_blob(self, descriptor: Descriptor, error: RegistryError) -> bool:
        """Whether what an index lists under a type that nobody knows is a blob, `error` being that it is no manifest.

        Of a blob Distribution 2.8 says so with 500.
        """
        if media_types.is_manifest(descriptor.media_type):
            return False
        if not isinstance(error, (NotFound, InvalidManifest, Rejected, ServerError)):
            return False
        return self.route.source.head_blob(self.route.repository, descriptor.digest) is not None

    def _distributed(self, manifest: Manifest) -> list[Descriptor]:
        """The layers that should not be distributed and that the source holds all the same: then others need them."""
        source, repository = self.route.source, self.route.repository
        for layer in manifest.foreign:
            if layer.digest not in self._held:
                self._held[layer.digest] = source.head_blob(repository, layer.digest) is not None
        return [layer for layer in manifest.foreign if self._held[layer.digest]]

    def _write(self, child: Manifest) -> None:
        self.route.check()
        route = self.route
        with route.writing.of(child.digest, *(each.digest for each in child.manifests)):
            if child.digest not in route.writing.written or self._doubt:
                put = partial(route.destination.put_manifest, route.repository, child.digest, child)
                self._kept(child, put)
                route.writing.written.add(child.digest)
                self.tally.add(manifests=1)
        self._settled.add(child.digest)

    def _kept(self, manifest: Manifest, put: Callable[[], Any]) -> None:
        """Put it; and in doubt see that it is there: Distribution takes a manifest that its cache alone knows, and
        stores nothing. As a blob it does.

        In doubt it is put although it may be served: Distribution 3 serves by its cache what another node of the same
        storage knows to be gone."""
        put()
        if not self._doubt or self._readable(manifest):
            return
        destination, repository = self.route.destination, self.route.repository
        upload = destination.start_upload(repository)
        if upload is not None:
            upload.put([manifest.data], manifest.size, manifest.digest)
        put()
        if not self._readable(manifest):
            raise NotKept(f"{destination.name} took {manifest.digest} into {repository} twice and does not have it")

    def _readable(self, manifest: Manifest) -> bool:
        """Whether the destination serves these very bytes."""
        try:
            found = self.route.destination.get_manifest(self.route.repository, manifest.digest)
            return found.digest == manifest.digest
        except (NotFound, DigestMismatch, InvalidManifest, ServerError):
            return False


def _levels(manifests: Iterable[Manifest]) -> list[list[Manifest]]:
    """The manifests in an order in which a registry that checks an index's children takes them: those of a level name
    only those of levels before it.

    Raises:
        GraphTooLarge: for too many levels. An index that names at once all that is below it hides how deep that is.
    """
    left = {manifest.digest: manifest for manifest in manifests}
    levels: list[list[Manifest]] = []
    while left:
        ready = [each for each in left.values() if left.keys().isdisjoint(child.digest for child in each.manifests)]
        if len(levels) == MAX_DEPTH or not ready:
            raise GraphTooLarge(f"indexes nest more than {MAX_DEPTH} deep above {next(iter(left))}")
        for each in ready:
            del left[each.digest]
        levels.append(ready)
    return levels
