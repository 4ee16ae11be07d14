"""Referrers: what is attached to a manifest (signatures, attestations, SBOMs) travels with it.

OCI distribution specification 1.1, "Listing Referrers" and "Pushing Manifests with Subject": a registry with the
referrers API keeps the list itself; for one without, whoever pushes keeps it in an index under a tag made from the
digest. Such a tag of the primary is a tag like any other and is copied as one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.registry import Descriptor, Manifest, NotFound, RegistryClient, Rejected
from app.registry.media_types import OCI_INDEX
from app.replication.copying.copy import MAX_DEPTH, MAX_MANIFESTS, GraphCopy, GraphTooLarge
from app.replication.copying.referrers_api import Support
from app.replication.copying.route import Route


class FallbackTagTaken(Exception):
    """The tag that should list the referrers of a digest holds something else. It is nobody's to overwrite."""

    reason = "fallback_tag_taken"
    temporary = False


@dataclass(frozen=True)
class Referrers:
    """Copies what refers to manifests, and what refers to that, with the graph of one reference.

    `put_tag` writes a tag on the destination, with whatever guards the tags of a repository. Like the graph it may be
    asked again after `UnderWay`, and goes on where it was.
    """

    graph: GraphCopy
    support: Support
    put_tag: Callable[[str, Manifest], None]
    _listed: dict[str, tuple[Descriptor, ...]] = field(default_factory=dict)
    #: Digests of all that is listed.
    _named: set[str] = field(default_factory=set)
    _brought: set[str] = field(default_factory=set)

    def bring(self, manifest: Manifest) -> None:
        """Copy all that the source lists as referring to `manifest` or to anything below it, and see it listed.

        For a manifest whose graph is on the destination. If something refers to it, it is put there by digest too:
        what refers to it comes after it, as it did on the source.

        Raises:
            RegistryError: from either side.
            GraphTooLarge: for chains and crowds that no honest artifact has.
            UnderWay: others carry some of the blobs.
        """
        route = self.graph.route
        if not self.support.has(route.source, route.repository, manifest.digest):
            return
        seen: set[str] = set()
        level: Sequence[Descriptor] = [manifest.descriptor]
        for _ in range(MAX_DEPTH):
            subjects = [each for each in self._with_children(level, manifest) if each not in seen]
            seen.update(subjects)
            found = self._find(subjects)
            if not found:
                return
            if len(seen) + sum(map(len, found.values())) > MAX_MANIFESTS:
                raise GraphTooLarge(f"more than {MAX_MANIFESTS} manifests refer to {manifest.digest}")
            if manifest.digest in found:
                self._put(manifest)
            level = list({each.digest: each for referrers in found.values() for each in referrers}.values())
            self._copy(level)
            for subject, referrers in found.items():
                self._list(subject, [each.digest for each in referrers if each.digest in self._brought])
        raise GraphTooLarge(f"what refers to {manifest.digest} is referred to more than {MAX_DEPTH} deep")

    def attach(self, manifest: Manifest) -> None:
        """See that the destination lists `manifest`, which is there, under its subject.

        Raises:
            RegistryError: from either side.
            FallbackTagTaken: where no list can be kept.
        """
        route = self.graph.route
        if manifest.subject is not None and self.support.has(route.source, route.repository, manifest.subject.digest):
            self._list(manifest.subject.digest, [manifest.digest])

    # --- what there is ----------------------------------------------------------------------------------------------

    def _with_children(self, level: Iterable[Descriptor], top: Manifest) -> list[str]:
        """Digests of these manifests and of all below them, as far as they are on the destination."""
        route = self.graph.route
        found: dict[str, None] = {}
        pending = list(level)
        while pending:
            descriptor = pending.pop()
            if descriptor.digest in found:
                continue
            found[descriptor.digest] = None
            if not descriptor.is_index:
                continue
            try:
                index = top if descriptor.digest == top.digest else self._near(descriptor.digest)
            except NotFound:
                continue
            pending.extend(index.manifests)
            if len(found) + len(pending) > MAX_MANIFESTS:
                raise GraphTooLarge(f"more than {MAX_MANIFESTS} manifests below {top.digest} in {route.repository}")
        return list(found)

    def _near(self, digest: str) -> Manifest:
        return self.graph.route.destination.get_manifest(self.graph.route.repository, digest)

    def _find(self, subjects: Sequence[str]) -> Mapping[str, tuple[Descriptor, ...]]:
        """What the source lists for these, by subject; nothing for those that nothing refers to."""
        wanted = [each for each in subjects if each not in self._listed]
        if wanted:
            self._listed.update(zip(wanted, self.graph.route.lanes.each(self._ask, wanted), strict=True))
        return {each: self._listed[each] for each in subjects if self._listed.get(each)}

    def _ask(self, subject: str) -> tuple[Descriptor, ...]:
        route = self.graph.route
        self._require_few(subject)
        # What says that it is its own subject, or is listed twice, is no reason to go round.
        listed = self.support.referrers(route.source, route.repository, subject) or ()
        found = {each.digest: each for each in listed if each.digest != subject}
        self._named.update(found)
        self._require_few(subject)
        return tuple(found.values())

    def _require_few(self, subject: str) -> None:
        # With each list, for those of a level may be more than there is memory.
        if len(self._named) > MAX_MANIFESTS:
            raise GraphTooLarge(f"more than {MAX_MANIFESTS} manifests refer to {subject} and others of the same image")

    # --- copying ----------------------------------------------------------------------------------------------------

    def _copy(self, referrers: Sequence[Descriptor]) -> None:
        wanted = [each for each in referrers if each.digest not in self._brought]
        for manifest in self.graph.route.lanes.each(self._lacking, wanted):
            if manifest is not None:
                self.graph.below(manifest)
                self._put(manifest)
                self._brought.add(manifest.digest)

    def _lacking(self, referrer: Descriptor) -> Manifest | None:
        """The manifest, if the destination does not have it."""
        route = self.graph.route
        try:
            with route.writing.of(referrer.digest):
                route.destination.head_manifest(route.repository, referrer.digest)
        except NotFound:
            try:
                return route.source.get_manifest(route.repository, referrer.digest)
            except NotFound as error:
                # Deleted since it was listed, or a list that was never true: nothing is attached then.
                error.require_witness()
                return None
        self._brought.add(referrer.digest)
        return None

    def _put(self, manifest: Manifest) -> None:
        route = self.graph.route

        def put() -> None:
            route.destination.put_manifest(route.repository, manifest.digest, manifest)

        self.graph.put(manifest, manifest.digest, put)

    # --- listing ----------------------------------------------------------------------------------------------------

    def _list(self, subject: str, digests: Sequence[str]) -> None:
        """See that the destination lists these under their subject: by itself, or by a tag that is kept for it."""
        route = self.graph.route
        if not digests or self.support.has(route.destination, route.repository, subject):
            return
        tag = fallback_tag(subject)
        with route.writing.of(tag, *digests):
            standing = self._standing(tag)
            document = json.loads(standing.data) if standing else _EMPTY_INDEX
            entries = document.get("manifests") or []
            listed = {entry.get("digest") for entry in entries if isinstance(entry, dict)}
            missing = [digest for digest in digests if digest not in listed]
            if not missing or _there(route.source, route.repository, tag):
                # A tag that the primary has too is copied from there, byte for byte.
                return
            fresh = [_entry(self._near(digest)) for digest in missing]
            try:
                self._put_index(tag, {**document, "manifests": [*entries, *fresh]})
            except Rejected as error:
                if error.reason != "manifest_blob_unknown":
                    raise
                # What the list named before is gone by now.
                left = [each for each in entries if _there(route.destination, route.repository, str(each["digest"]))]
                self._put_index(tag, {**document, "manifests": [*left, *fresh]})

    def _standing(self, tag: str) -> Manifest | None:
        try:
            standing = self._near(tag)
        except NotFound:
            return None
        if not standing.is_index:
            raise FallbackTagTaken(
                f"the tag {tag} on {self.graph.route.destination.name} should list what refers to that digest, and is"
                f" {standing.media_type}; delete or rename it"
            )
        return standing

    def _put_index(self, tag: str, document: Mapping[str, Any]) -> None:
        self.put_tag(tag, Manifest.parse(json.dumps(document).encode(), OCI_INDEX))


_EMPTY_INDEX: Mapping[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX}


def complete(route: Route, support: Support, manifest: Descriptor) -> bool:
    """Tell whether the destination, which has `manifest`, has all that the source lists as referring to it too.

    One request to the source for each manifest, and none where it has no referrers API. Everything in the caller's
    thread.

    Raises:
        RegistryError: from either side.
    """
    if not support.has(route.source, route.repository, manifest.digest):
        return True
    seen: set[str] = set()
    pending = [manifest]
    while pending:
        if len(seen) + len(pending) > MAX_MANIFESTS:
            # Whoever copies it will say so.
            return False
        each = pending.pop()
        if each.digest in seen:
            continue
        seen.add(each.digest)
        if each.is_index:
            pending.extend(route.destination.get_manifest(route.repository, each.digest).manifests)
        found = support.referrers(route.source, route.repository, each.digest) or []
        if found and not _attached(route, support, each.digest, found):
            return False
        pending.extend(found)
    return True


def _attached(route: Route, support: Support, subject: str, referrers: Sequence[Descriptor]) -> bool:
    listed = support.referrers(route.destination, route.repository, subject)
    if listed is None:
        try:
            listed = list(route.destination.get_manifest(route.repository, fallback_tag(subject)).manifests)
        except NotFound:
            return False
    return {each.digest for each in referrers} <= {each.digest for each in listed}


def fallback_tag(digest: str) -> str:
    """The tag that lists what refers to `digest` (distribution-spec, "Referrers Tag Schema")."""
    algorithm, _, encoded = digest.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"


def _there(registry: RegistryClient, repository: str, reference: str) -> bool:
    try:
        registry.head_manifest(repository, reference)
    except NotFound:
        return False
    return True


def _entry(manifest: Manifest) -> dict[str, Any]:
    """The descriptor that lists a referrer (distribution-spec, "Pushing Manifests with Subject")."""
    entry: dict[str, Any] = {"mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.size}
    artifact_type = manifest.artifact_type or (None if manifest.is_index else manifest.config_media_type)
    if artifact_type:
        entry["artifactType"] = artifact_type
    annotations = json.loads(manifest.data).get("annotations")
    if isinstance(annotations, dict) and annotations:
        entry["annotations"] = annotations
    return entry
