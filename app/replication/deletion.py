"""Deleting on the secondary: only what is ours, by name, and never much at once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from app.database import connection
from app.models import Reference, Site
from app.registry import Digest, Manifest, NotFound, RegistryClient, Rejected, Stopped, Unsupported
from app.registry.media_types import OCI_MANIFEST
from app.replication import brake
from app.replication.brake import DeletionUnsupported
from app.replication.claim import Claim
from app.replication.in_use import in_use, require_witness
from app.replication.policy import Policy, Verdict

#: Seconds that a tag may take to be written or deleted; begun only while the lease lasts longer.
TAG_WRITE_LIMIT = 15.0

#: An empty JSON object: OCI's empty descriptor.
EMPTY = b"{}"


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was found and done. `digest` stood on the secondary before; `drift_digest` still stands there."""

    digest: str | None = None
    drift_digest: str | None = None
    #: The policy keeps it.
    kept: bool = False


def delete(claim: Claim, reference: Reference, destination: RegistryClient) -> Deleted:
    """Remove `reference` from the secondary, after both witnesses have spoken, as far as the policy lets us.

    Raises:
        Stopped: the site was paused or retired, or the repository has left its scope; nothing was done.
        DeletionHeld: the brake is on.
        DeletionUnsupported: the registry has deletion switched off.
        LeaseLost: before anything was written.
        RegistryError: from the secondary.
    """
    if claim.withdrawn(at_once=True):
        raise Stopped(f"nothing more is deleted of {claim.path} on site {claim.site.name}: it was paused or left out")
    judge = _judge(claim, reference)
    if keeps(claim, reference):
        return Deleted(reference.observed_digest, kept=True)
    standing = _standing(claim, reference.name, destination)
    if standing is None:
        return Deleted()
    if standing == reference.throwaway_digest:
        # A former attempt ended between its two steps; the tag already stands on what is to be deleted.
        _delete_manifest(claim, destination, standing)
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
            _delete_tag(claim, reference, destination)
        else:
            _delete_manifest(claim, destination, standing)
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


def _standing(claim: Claim, name: str, destination: RegistryClient) -> str | None:
    """The digest that `name` stands on; None only when the registry itself says that it is not there."""
    try:
        return destination.head_manifest(claim.path, name).digest
    except NotFound:
        try:
            # An answer to HEAD has no body, and so no word of the registry's own.
            return destination.get_manifest(claim.path, name).digest
        except NotFound as error:
            require_witness(error)
            return None


def _delete_tag(claim: Claim, reference: Reference, destination: RegistryClient) -> None:
    claim.require(TAG_WRITE_LIMIT)
    try:
        destination.delete_manifest(claim.path, reference.name, total_timeout=TAG_WRITE_LIMIT)
    except NotFound as error:
        require_witness(error)
    except (Unsupported, Rejected):
        # Distribution 2.x deletes by digest only, and deleting the digest would take every other tag on it away.
        _overwrite_and_delete(claim, reference, destination)


def _overwrite_and_delete(claim: Claim, reference: Reference, destination: RegistryClient) -> None:
    if not destination.supports_delete(claim.path):
        raise DeletionUnsupported(
            f"{destination.name} does not delete; set storage.delete.enabled: true in its configuration"
            " (REGISTRY_STORAGE_DELETE_ENABLED=true), or GEO_DELETION=off here"
        )
    throwaway = _throwaway(reference.name)
    upload = destination.start_upload(claim.path)
    if upload is not None:
        upload.put([EMPTY], len(EMPTY), Digest.of(EMPTY))
    # Written down first: after a crash between the steps the tag must still be known as ours.
    with connection():
        Reference.update(throwaway_digest=throwaway.digest).where(Reference.id == reference.id).execute()
    claim.require(TAG_WRITE_LIMIT)
    destination.put_manifest(claim.path, reference.name, throwaway, total_timeout=TAG_WRITE_LIMIT)
    _delete_manifest(claim, destination, throwaway.digest)


def _throwaway(tag: str) -> Manifest:
    """A manifest that nobody else has, so that deleting its digest removes this one tag."""
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest.of(EMPTY), "size": len(EMPTY)}
    data = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": empty,
            "layers": [],
            "annotations": {"geo-registry.deletes": tag, "geo-registry.unique": str(uuid.uuid4())},
        }
    ).encode()
    return Manifest.parse(data, OCI_MANIFEST)


def _delete_manifest(claim: Claim, destination: RegistryClient, digest: str) -> None:
    claim.require(TAG_WRITE_LIMIT)
    try:
        destination.delete_manifest(claim.path, digest, total_timeout=TAG_WRITE_LIMIT)
    except NotFound as error:
        require_witness(error)
    except Unsupported as error:
        raise DeletionUnsupported(str(error)) from error
