"""Whether two registries hold the same, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from tests.support.images import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, SCHEMA1, SCHEMA1_SIGNED
from tests.support.registries import Registry
from tests.support.wire import Fetched, WireError, fetch, fetch_blob

T = TypeVar("T")

_MANIFESTS = frozenset({OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST, SCHEMA1, SCHEMA1_SIGNED})


def same(
    primary: Registry,
    secondary: Registry,
    repository: str,
    reference: str,
    secondary_repository: str | None = None,
) -> bool:
    """Whether `reference` with all below it is on both sides and equal: bytes, media types, blobs."""
    return not difference(primary, secondary, repository, reference, secondary_repository)


def assert_same(
    primary: Registry,
    secondary: Registry,
    repository: str,
    reference: str,
    secondary_repository: str | None = None,
) -> None:
    """Fail with the difference unless `same`."""
    found = difference(primary, secondary, repository, reference, secondary_repository)
    assert not found, found


def difference(
    primary: Registry,
    secondary: Registry,
    repository: str,
    reference: str,
    secondary_repository: str | None = None,
) -> str:
    """Say what differs, in one line; empty when nothing does.

    What the primary itself lacks below the manifest (a sparse index, a foreign layer) must be lacking on the
    secondary too. What it lacks altogether is an error: WireError.
    """
    return _Walk(primary, secondary, repository, secondary_repository or repository).manifest(reference)


class _Walk:
    def __init__(self, primary: Registry, secondary: Registry, repository: str, target: str) -> None:
        self.primary = primary
        self.secondary = secondary
        self.repository = repository
        self.target = target
        self.seen: set[str] = set()

    def manifest(self, reference: str) -> str:
        ours = fetch(self.primary, self.repository, reference)
        theirs = _or_none(lambda: fetch(self.secondary, self.target, reference))
        if theirs is None:
            return f"{self.target}:{reference} is not on the secondary"
        if ours.media_type != theirs.media_type:
            return f"{reference}: media type {ours.media_type} became {theirs.media_type}"
        # Distribution signs a schema 1 manifest anew for every GET.
        if ours.body != theirs.body and _unsigned(ours) != _unsigned(theirs):
            return f"{reference}: manifest {ours.digest} became {theirs.digest}"
        document = json.loads(ours.body)
        listed = map(self.listed, document.get("manifests") or [])
        return next(filter(None, [*listed, *map(self.below, _blobs(document))]), "")

    def listed(self, descriptor: dict[str, Any]) -> str:
        """What an index lists: a manifest, a blob, or of an unknown type either."""
        digest, media_type = str(descriptor["digest"]), str(descriptor.get("mediaType"))
        if media_type not in _MANIFESTS:
            blob = _or_none(lambda: fetch_blob(self.primary, self.repository, digest))
            if blob is not None or not media_type.endswith("+json"):
                return self.below(descriptor)
        if digest in self.seen:
            return ""
        self.seen.add(digest)
        if _or_none(lambda: fetch(self.primary, self.repository, digest)) is None:
            return ""
        return self.manifest(digest)

    def below(self, descriptor: dict[str, Any]) -> str:
        digest = str(descriptor["digest"])
        if digest in self.seen:
            return ""
        self.seen.add(digest)
        ours = _or_none(lambda: fetch_blob(self.primary, self.repository, digest))
        theirs = _or_none(lambda: fetch_blob(self.secondary, self.target, digest))
        if ours is not None and theirs is None:
            return f"blob {digest} is not on the secondary"
        return "" if ours == theirs else f"blob {digest} differs"


def _blobs(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if isinstance(document.get("config"), dict):
        yield document["config"]
    for name in ("layers", "blobs"):
        yield from document.get(name) or []
    for layer in document.get("fsLayers") or []:
        yield {"digest": layer["blobSum"]}


def _unsigned(fetched: Fetched) -> object:
    if fetched.media_type not in (SCHEMA1, SCHEMA1_SIGNED):
        return fetched.body
    document: dict[str, Any] = json.loads(fetched.body)
    document.pop("signatures", None)
    return document


def _or_none(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except WireError as error:
        if error.status == 404:
            return None
        raise
