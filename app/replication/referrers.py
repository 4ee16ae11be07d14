"""Referrers: what is attached to a manifest (signatures, attestations, SBOMs) travels with it.

OCI distribution specification, "Listing Referrers" and "Pushing Manifests with Subject": a registry with the referrers
API keeps the list itself; for one without, whoever pushes keeps it in an index under a tag made from the digest.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from app.registry import Manifest, NotFound, RegistryClient
from app.registry.media_types import OCI_INDEX
from app.replication.copy import MAX_DEPTH, MAX_MANIFESTS, GraphCopy, GraphTooLarge

#: Seconds after which a registry that had no referrers API is asked again; registries get updated.
ASK_AGAIN = 600.0


@dataclass
class Support:
    """Remembers which registries have the referrers API, so that the others are not asked for every manifest."""

    clock: Callable[[], float] = time.monotonic
    _without: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def referrers(self, registry: RegistryClient, repository: str, digest: str) -> list[str] | None:
        """Digests of the manifests whose subject is `digest`; None where the registry has no such API."""
        with self._lock:
            if self._without.get(registry.name, float("-inf")) > self.clock():
                return None
        found = registry.referrers(repository, digest)
        if found is None:
            with self._lock:
                self._without[registry.name] = self.clock() + ASK_AGAIN
            return None
        return [descriptor.digest for descriptor in found]


@dataclass(frozen=True)
class Referrers:
    """Copies what refers to manifests, and what refers to that, within one repository."""

    graph: GraphCopy
    support: Support

    def bring(self, subjects: Iterable[str]) -> int:
        """Copy all referrers of `subjects` that the source lists; return how many manifests were put.

        Raises:
            RegistryError: from either side.
            GraphTooLarge: for chains and crowds that no honest artifact has.
        """
        source, repository = self.graph.source, self.graph.repository
        seen = set(subjects)
        level = list(seen)
        put = 0
        for _ in range(MAX_DEPTH):
            if not level:
                return put
            following = []
            for subject in level:
                for digest in self.support.referrers(source, repository, subject) or ():
                    if digest not in seen:
                        seen.add(digest)
                        following.append(digest)
            if len(seen) > MAX_MANIFESTS:
                raise GraphTooLarge(f"more than {MAX_MANIFESTS} referrers")
            for digest in following:
                put += self._one(digest)
            level = following
        raise GraphTooLarge(f"referrers of referrers more than {MAX_DEPTH} deep")

    def _one(self, digest: str) -> int:
        repository, destination = self.graph.repository, self.graph.destination
        try:
            destination.head_manifest(repository, digest)
        except NotFound:
            manifest = self.graph.source.get_manifest(repository, digest)
            self.graph.below(manifest)
            destination.put_manifest(repository, digest, manifest)
            self.attach(manifest)
            return 1
        return 0

    def attach(self, manifest: Manifest) -> None:
        """See that the destination lists `manifest` under its subject: by its API, or by the fallback tag.

        Where the source keeps fallback tags as well, they are tags like any other and are copied as they are.
        """
        if manifest.subject is None:
            return
        repository, destination = self.graph.repository, self.graph.destination
        if self.support.referrers(destination, repository, manifest.subject.digest) is not None:
            return
        if self.support.referrers(self.graph.source, repository, manifest.subject.digest) is None:
            return
        tag = fallback_tag(manifest.subject.digest)
        entries = self._entries(tag)
        if any(entry.get("digest") == manifest.digest for entry in entries):
            return
        data = json.dumps(
            {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*entries, _entry(manifest)]}
        ).encode()
        destination.put_manifest(repository, tag, Manifest.parse(data, OCI_INDEX))

    def _entries(self, tag: str) -> list[dict[str, Any]]:
        try:
            standing = self.graph.destination.get_manifest(self.graph.repository, tag)
        except NotFound:
            return []
        return list(json.loads(standing.data).get("manifests") or [])


def fallback_tag(digest: str) -> str:
    """The tag of the "Referrers Tag Schema"."""
    algorithm, _, encoded = digest.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"


def _entry(manifest: Manifest) -> dict[str, Any]:
    """The descriptor that a fallback index holds of a referrer, annotations included."""
    document = json.loads(manifest.data)
    entry: dict[str, Any] = {"mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.size}
    artifact_type = manifest.artifact_type or (None if manifest.is_index else manifest.config_media_type)
    if artifact_type:
        entry["artifactType"] = artifact_type
    if isinstance(document.get("annotations"), dict):
        entry["annotations"] = document["annotations"]
    return entry
