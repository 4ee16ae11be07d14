"""Deleting on the secondary: only what is ours, by name, and never much at once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from app.database import connection
from app.models import Reference, Site
from app.providers import Provider, Removal
from app.providers.control import ControlPlaneDiffers
from app.registry import Digest, Manifest, NotFound, RegistryClient, Rejected, Stopped, Unsupported
from app.registry.media_types import OCI_MANIFEST
from app.replication import brake
from app.replication.brake import DeletionUnsupported
from app.replication.claim import Claim
from app.replication.copying.tag_write import TagImmutable, put_tag
from app.replication.in_use import in_use
from app.replication.policy import Policy, Verdict

#: Seconds that a tag may take to be written or deleted; begun only while the lease lasts longer.
TAG_WRITE_LIMIT = 15.0

#: Nothing is known of whose registry it is.
ANY = Provider()

#: What a throw-away manifest calls itself.
DELETION = "application/vnd.geo-registry.deletion.v1+json"

#: An empty JSON object: OCI's empty descriptor.
EMPTY = b"{}"


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was found and done. `digest` stood on the secondary before; `drift_digest` still stands there."""

    digest: str | None = None
    drift_digest: str | None = None
    #: The policy keeps it.
    kept: bool = False


def delete(claim: Claim, reference: Reference, destination: RegistryClient, provider: Provider = ANY) -> Deleted:
    """Remove `reference` from the secondary, after both witnesses have spoken, as far as the policy lets us.

    In the way of the registry's `provider`.

    Raises:
        Stopped: the site was paused or retired, or the repository has left its scope; nothing was done.
        DeletionHeld: the brake is on.
        DeletionUnsupported: the registry has deletion switched off, or never had it.
        TagImmutable: a tag that can only be moved away must not move.
        ControlPlaneDenied: the provider's control plane deletes nothing for us; the tag stands where it stood.
        ControlPlaneDiffers: the provider's control plane knows nothing of what the registry still has.
        LeaseLost: before anything was written.
        RegistryError: from the secondary.
    """
    if claim.withdrawn(at_once=True):
        raise Stopped(f"nothing more is deleted of {claim.path} on site {claim.site.name}: it was paused or left out")
    way = _Way(claim, destination, provider)
    judge = _judge(claim, reference)
    if keeps(claim, reference):
        return Deleted(reference.observed_digest, kept=True)
    standing = destination.standing(claim.path, reference.name)
    if standing is None:
        return Deleted()
    if standing == reference.throwaway_digest:
        # A former attempt ended between its two steps; the tag already stands on what is to be deleted.
        way.delete_manifest(standing)
        return Deleted(reference.observed_digest or standing)
    ours = standing == reference.observed_digest
    if judge(ours=ours) is Verdict.KEEP and ours:
        return Deleted(standing, kept=True)
    if judge(ours=ours) is not Verdict.DELETE:
        return Deleted(reference.observed_digest, drift_digest=standing)
    if not reference.is_tag and in_use(standing, claim.path, destination):
        return Deleted(standing, kept=True)
    with brake.reserved(claim, reference):
        if reference.is_tag:
            way.delete_tag(reference)
        else:
            way.delete_manifest(standing)
    return Deleted(standing)


def keeps(claim: Claim, reference: Reference) -> bool:
    """Whether the policy keeps what is ours, so that no registry need be asked.

    What a former attempt overwrote is no image any more: it is seen to the end whatever the policy says by now.
    """
    ours = reference.observed_digest is not None and reference.throwaway_digest is None
    return ours and _judge(claim, reference)(ours=True) is not Verdict.DELETE


def _judge(claim: Claim, reference: Reference) -> Callable[..., Verdict]:
    with connection():
        # Read again: the policy may have changed since the row was claimed.
        site = Site.get_by_id(claim.site.id)
    policy = Policy.of(site)
    return lambda ours: policy.judge(name=reference.name, is_tag=reference.is_tag, ours=ours)[0]


@dataclass(frozen=True, slots=True)
class _Way:
    """How something is deleted on this registry."""

    claim: Claim
    destination: RegistryClient
    provider: Provider

    def delete_tag(self, reference: Reference) -> None:
        """Delete the tag alone."""
        claim, way = self.claim, self.provider.profile.deletion.tag
        if way is Removal.NONE:
            raise DeletionUnsupported(
                f"{self.provider.profile.title} lets no tag be deleted by this; delete"
                f" {claim.path}:{reference.name} there by hand, or set GEO_DELETION=off here"
            )
        if way is Removal.CONTROL_PLANE:
            self._delete_tag_by_control_plane(reference.name)
            return
        if way in (Removal.THROWAWAY, Removal.THROWAWAY_OR_CONTROL_PLANE):
            try:
                self._overwrite_and_delete(reference)
            except TagImmutable:
                if way is Removal.THROWAWAY:
                    raise
                # Not at once: with the last tag of an image that goes, too, and somebody may be pinned to it.
                self._delete_tag_by_control_plane(reference.name)
            return
        claim.require(TAG_WRITE_LIMIT)
        try:
            self.destination.delete_manifest(claim.path, reference.name, total_timeout=TAG_WRITE_LIMIT)
        except NotFound as error:
            error.require_witness()
        except (Unsupported, Rejected) as error:
            if way is Removal.REGISTRY:
                raise DeletionUnsupported(str(error)) from error
            # Distribution 2.x deletes by digest only, and deleting the digest would take every other tag on it away.
            self._overwrite_and_delete(reference)

    def _delete_tag_by_control_plane(self, tag: str) -> None:
        plane = self.provider.plane()
        plane.ready()
        self.claim.require(TAG_WRITE_LIMIT)
        if not plane.delete_tag(self.claim.path, tag):
            self._require_absent(tag)

    def delete_manifest(self, digest: str) -> None:
        """Delete the manifest with whatever tags stand on it."""
        claim, way = self.claim, self.provider.profile.deletion.digest
        if way is Removal.CONTROL_PLANE:
            plane = self.provider.plane()
            plane.ready()
            claim.require(TAG_WRITE_LIMIT)
            if not plane.delete_digest(claim.path, digest):
                self._require_absent(digest)
            return
        claim.require(TAG_WRITE_LIMIT)
        try:
            self.destination.delete_manifest(claim.path, digest, total_timeout=TAG_WRITE_LIMIT)
        except NotFound as error:
            error.require_witness()
        except Unsupported as error:
            raise DeletionUnsupported(str(error)) from error

    def _require_absent(self, name: str) -> None:
        """The control plane knows nothing of it: it may be another account's, or hear late of what was just pushed."""
        path = self.claim.path
        if self.destination.standing(path, name) is not None:
            raise ControlPlaneDiffers(
                f"the control plane of {self.provider.profile.title} knows nothing of {name} in {path}, which"
                f" {self.destination.name} has"
            )

    def _overwrite_and_delete(self, reference: Reference) -> None:
        claim, destination = self.claim, self.destination
        self._require_deletion(reference)
        throwaway = _throwaway(reference.name)
        upload = destination.start_upload(claim.path)
        if upload is not None:
            upload.put([EMPTY], len(EMPTY), Digest.of(EMPTY))
        # Written down first: after a crash between the steps the tag must still be known as ours.
        with connection():
            Reference.update(throwaway_digest=throwaway.digest).where(Reference.id == reference.id).execute()
        claim.require(TAG_WRITE_LIMIT)
        try:
            put_tag(destination, claim.path, reference.name, throwaway, total_timeout=TAG_WRITE_LIMIT)
        except TagImmutable:
            # The tag still stands on the image.
            ours = (Reference.id == reference.id) & (Reference.throwaway_digest == throwaway.digest)
            with connection():
                Reference.update(throwaway_digest=None).where(ours).execute()
            raise
        self.delete_manifest(throwaway.digest)

    def _require_deletion(self, reference: Reference) -> None:
        """Before the tag is overwritten: it would stay on what nobody wants."""
        path, profile = self.claim.path, self.provider.profile
        if profile.deletion.last_tag_stays and set(self.destination.list_tags(path)) <= {reference.name}:
            raise DeletionUnsupported(
                f"{profile.title} keeps the last tag of a package; delete {path} there by hand,"
                f" if nothing but {reference.name} was in it"
            )
        if profile.deletion.digest is Removal.CONTROL_PLANE:
            self.provider.plane().require_deletion(path)
        elif not self.destination.supports_delete(path):
            raise DeletionUnsupported(
                f"{self.destination.name} does not delete; set storage.delete.enabled: true in its configuration"
                " (REGISTRY_STORAGE_DELETE_ENABLED=true), or GEO_DELETION=off here"
            )


def _throwaway(tag: str) -> Manifest:
    """A manifest that nobody else has, so that deleting its digest removes this one tag."""
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest.of(EMPTY), "size": len(EMPTY)}
    data = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            # Must be there with an empty configuration, as a layer should (image-spec, manifest.md).
            "artifactType": DELETION,
            "config": empty,
            "layers": [empty],
            "annotations": {"geo-registry.deletes": tag, "geo-registry.unique": str(uuid.uuid4())},
        }
    ).encode()
    return Manifest.parse(data, OCI_MANIFEST)
