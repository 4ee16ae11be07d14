"""The walk: everything below a reference, looked for on the secondary."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from app.registry import (
    Descriptor,
    DigestMismatch,
    InvalidManifest,
    Manifest,
    NotFound,
    RegistryClient,
    RegistryError,
    Rejected,
    ServerError,
    Stopped,
    Unreachable,
    media_types,
)
from app.replication.copying.copy import MAX_DEPTH, MAX_MANIFESTS, GraphTooLarge
from app.replication.verification.finding import Finding, Findings, Kind
from app.replication.verification.references import Due
from app.settings import VerificationLevel as Level

#: Digests found whole that are remembered, about 100 bytes each. Beyond it they are forgotten and looked for again.
REMEMBERED = 200_000


class PrimaryUnsure(Exception):
    """The primary did not say whether it has what the secondary lacks: an index may be sparse on purpose."""

    temporary = True

    def __init__(self, error: RegistryError) -> None:
        super().__init__(f"the primary could not be asked: {error}")
        self.reason = f"primary_{error.reason}"
        self.retry_after = error.retry_after


@dataclass(frozen=True, slots=True)
class Place:
    """Where is looked: one repository of the secondary. `primary` is asked only of what is missing there.

    `pace` returns when one more request may go; `stop` is asked while large blobs are read.
    """

    secondary: RegistryClient
    primary: RegistryClient
    repository: str
    pace: Callable[[], None]
    stop: Callable[[], bool]


class Memory:
    """What was found of each digest: those that tags share are looked for once. Shared by threads."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._lock = threading.Lock()
        self._whole: set[bytes] = set()
        self._broken: dict[str, Findings] = {}
        self._failed: dict[str, Exception] = {}
        self._looking: dict[str, Future[Findings]] = {}

    def knows(self, digest: str) -> bool:
        with self._lock:
            return _key(digest) in self._whole or digest in self._broken or digest in self._failed

    def once(self, digest: str, look: Callable[[], Findings]) -> Findings:
        """What `look` found of this digest, now or before. Who asks meanwhile waits: a digest is never below itself."""
        with self._lock:
            if _key(digest) in self._whole:
                return ()
            if digest in self._broken:
                return self._broken[digest]
            if digest in self._failed:
                raise self._failed[digest]
            under_way = self._looking.get(digest)
            mine: Future[Findings] = Future()
            if under_way is None:
                self._looking[digest] = mine
        if under_way is not None:
            return under_way.result()
        try:
            found = look()
        except BaseException as error:
            self._end(digest, error=error)
            mine.set_exception(error)
            raise
        self._end(digest, found)
        mine.set_result(found)
        return found

    def doubt(self) -> None:
        """Forget what was not found whole: it is to be looked for once more."""
        with self._lock:
            self._broken.clear()
            self._failed.clear()

    def _end(self, digest: str, found: Findings = (), error: BaseException | None = None) -> None:
        with self._lock:
            del self._looking[digest]
            if len(self._whole) >= self._remembered:
                self._whole.clear()
            if isinstance(error, Stopped) or (error is not None and not isinstance(error, Exception)):
                return
            if isinstance(error, Exception):
                self._failed[digest] = error
            elif found:
                self._broken[digest] = found
            else:
                self._whole.add(_key(digest))


def _key(digest: str) -> bytes:
    algorithm, _, encoded = digest.partition(":")
    try:
        return algorithm.encode() + bytes.fromhex(encoded)
    except ValueError:
        return digest.encode()


@dataclass
class Walk:
    """Looks for references of one repository, as far down as its level goes. Shared by threads."""

    place: Place
    level: Level
    memory: Memory = field(default_factory=Memory)

    def look(self, due: Due) -> Findings:
        """What is missing of this reference, and of everything below it.

        Raises:
            RegistryError: when the secondary could not tell.
            PrimaryUnsure: when the primary could not tell whether it has what is missing.
            GraphTooLarge: for what no copy would bring either.
        """
        try:
            standing, manifest = self._standing(due)
        except (DigestMismatch, InvalidManifest) as error:
            return (Finding(Kind.MANIFEST_DAMAGED, due.digest, instead=str(error)),)
        if standing is None:
            return (Finding(Kind.TAG_MISSING if due.is_tag else Kind.MANIFEST_MISSING, due.digest),)
        if standing != due.digest:
            return (Finding(Kind.TAG_DIFFERS, due.digest, instead=standing),)
        if manifest is None:
            return () if self.level is Level.TAGS else self.memory.once(due.digest, lambda: self._again(due.digest))
        return self.memory.once(due.digest, lambda: self._below(manifest, _Budget()))

    def _standing(self, due: Due) -> tuple[str | None, Manifest | None]:
        """The digest that stands under the reference, and its manifest if it had to be fetched to know."""
        place = self.place
        known = self.level is Level.TAGS or self.memory.knows(due.digest)
        try:
            if known:
                place.pace()
                return place.secondary.head_manifest(place.repository, due.name).digest, None
            manifest = self._manifest(due.name)
        except NotFound:
            # An answer to HEAD has no body, and so no word of the registry's own; a proxy says 404 just as well.
            return self._there(due.name), None
        return manifest.digest, manifest

    def _there(self, name: str) -> str | None:
        try:
            return self._manifest(name).digest
        except NotFound as error:
            error.require_witness()
            return None

    def _manifest(self, reference: str) -> Manifest:
        self._check()
        self.place.pace()
        return self.place.secondary.get_manifest(self.place.repository, reference)

    def _again(self, digest: str) -> Findings:
        """What was found of the digest under another tag has been forgotten meanwhile."""
        return self._below(self._manifest(digest), _Budget())

    # --- below ------------------------------------------------------------------------------------------------------

    def _below(self, manifest: Manifest, budget: _Budget) -> Findings:
        if budget.depth >= MAX_DEPTH:
            raise GraphTooLarge(f"indexes nest more than {MAX_DEPTH} deep above {manifest.digest}")
        found: dict[Finding, None] = {}
        for child in manifest.manifests:
            found.update(dict.fromkeys(self._remembered(child, budget)))
        if self.level.reaches(Level.BLOBS):
            for blob in manifest.blobs:
                found.update(dict.fromkeys(self.memory.once(blob.digest, lambda blob=blob: self._blob(blob))))  # type: ignore[misc]
            for layer in manifest.foreign:
                found.update(dict.fromkeys(self.memory.once(layer.digest, lambda layer=layer: self._foreign(layer))))  # type: ignore[misc]
        return tuple(found)

    def _remembered(self, child: Descriptor, budget: _Budget) -> Findings:
        return self.memory.once(child.digest, lambda: self._child(child, budget.deeper()))

    def _child(self, child: Descriptor, budget: _Budget) -> Findings:
        try:
            manifest = self._manifest(child.digest)
        except (DigestMismatch, InvalidManifest) as error:
            if self._is_blob(child):
                return self._listed_blob(child)
            return (Finding(Kind.MANIFEST_DAMAGED, child.digest, child.size, str(error)),)
        except (NotFound, Rejected, ServerError) as error:
            if self._is_blob(child):
                return self._listed_blob(child)
            if not (isinstance(error, NotFound) and error.witnessed):
                raise
            missing = Finding(Kind.MANIFEST_MISSING, child.digest, child.size)
            return (missing,) if self._on_primary(child) else ()
        return self._below(manifest, budget)

    def _is_blob(self, child: Descriptor) -> bool:
        """Whether what an index lists under a type that nobody knows is a blob. Of a blob asked for as a manifest
        Distribution 2.8 says 500."""
        if media_types.is_manifest(child.media_type):
            return False
        self.place.pace()
        return self.place.secondary.head_blob(self.place.repository, child.digest) is not None

    def _listed_blob(self, child: Descriptor) -> Findings:
        return self._blob(child) if self.level.reaches(Level.BLOBS) else ()

    def _on_primary(self, child: Descriptor) -> bool:
        """Whether the primary has it, as manifest or blob: an index may name what nobody pushed."""
        place = self.place
        try:
            place.primary.get_manifest(place.repository, child.digest)
        except NotFound as error:
            if not error.witnessed:
                raise PrimaryUnsure(error) from error
            if media_types.is_manifest(child.media_type):
                return False
        except RegistryError as error:
            if media_types.is_manifest(child.media_type):
                raise PrimaryUnsure(error) from error
        else:
            return True
        return self._blob_on_primary(child)

    # --- blobs ------------------------------------------------------------------------------------------------------

    def _blob(self, blob: Descriptor) -> Findings:
        place = self.place
        self._check()
        place.pace()
        if not place.secondary.blob_present(place.repository, blob.digest, blob.size):
            return (Finding(Kind.BLOB_MISSING, blob.digest, blob.size),)
        return self._content(blob) if self.level is Level.CONTENT else ()

    def _foreign(self, layer: Descriptor) -> Findings:
        """A layer that should not be distributed is copied where the primary holds it all the same."""
        found = self._blob(layer)
        if found and found[0].kind is Kind.BLOB_MISSING and not self._blob_on_primary(layer):
            return ()
        return found

    def _blob_on_primary(self, blob: Descriptor) -> bool:
        try:
            return self.place.primary.head_blob(self.place.repository, blob.digest) is not None
        except RegistryError as error:
            raise PrimaryUnsure(error) from error

    def _content(self, blob: Descriptor) -> Findings:
        try:
            first = self._read(blob)
            second = None if first is None else self._read(blob)
        except DigestMismatch as error:
            return (Finding(Kind.BLOB_DAMAGED, blob.digest, blob.size, error.message),)
        if first is None or second is None:
            return ()
        if first != second:
            raise Unreachable(
                f"the blob {blob.digest} broke off twice, after {first} and {second} bytes", reason="connection_lost"
            )
        return (Finding(Kind.BLOB_DAMAGED, blob.digest, blob.size, f"it ends after {first} bytes"),)

    def _read(self, blob: Descriptor) -> int | None:
        """Read and hash all of it; None when it is right, or where it broke off."""
        place = self.place
        place.pace()
        with place.secondary.open_blob(place.repository, blob.digest, size=blob.size) as stream:
            try:
                for _ in stream:
                    self._check()
            except Unreachable as error:
                if error.reason != "connection_lost":
                    raise
                return stream.position
        return None

    def _check(self) -> None:
        if self.place.stop():
            raise Stopped("the verification was told to stop")


@dataclass
class _Budget:
    """How deep the walk is below one reference, and how many manifests it has fetched."""

    depth: int = 0
    manifests: Iterator[int] = field(default_factory=lambda: iter(range(MAX_MANIFESTS)))

    def deeper(self) -> _Budget:
        if next(self.manifests, None) is None:
            raise GraphTooLarge(f"more than {MAX_MANIFESTS} manifests below one reference")
        return _Budget(self.depth + 1, self.manifests)
