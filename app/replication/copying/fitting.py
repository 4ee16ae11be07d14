"""Fitting: what the destination is known not to take is told before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Iterable

from app.providers import Profile
from app.providers.profile import megabytes
from app.registry import Manifest
from app.registry.media_types import OCI_INDEX, OCI_MANIFEST


class BeyondLimit(Exception):
    """Larger than the destination takes it, by what its provider says."""

    reason = "beyond_limit"
    temporary = False


class MediaTypeMissing(Exception):
    """The manifest does not name its own media type, which the destination wants. To add it would change the digest."""

    reason = "media_type_missing"
    temporary = False


def require_fit(profile: Profile, manifests: Iterable[Manifest]) -> None:
    """Let these manifests with their blobs pass.

    Raises:
        BeyondLimit: one of them is too large.
        MediaTypeMissing: one of them lacks its media type.
    """
    limits = profile.limits
    for manifest in manifests:
        _within(profile, f"the manifest {manifest.digest}", manifest.size, limits.manifest)
        for blob in manifest.blobs:
            _within(profile, f"the blob {blob.digest}", blob.size or 0, limits.blob)
        whole = manifest.size + sum(blob.size or 0 for blob in manifest.blobs)
        _within(profile, f"{manifest.digest} with its blobs", whole, limits.artifact)
        if profile.requires_media_type and _nameless(manifest):
            raise MediaTypeMissing(
                f"{manifest.digest} has no `mediaType` of its own, and {profile.title} refuses such manifests;"
                " build it anew with a tool that writes it"
            )


def _within(profile: Profile, what: str, size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise BeyondLimit(f"{what} has {size} bytes, and {profile.title} takes {megabytes(limit)} at most")


def _nameless(manifest: Manifest) -> bool:
    return manifest.media_type in (OCI_MANIFEST, OCI_INDEX) and "mediaType" not in json.loads(manifest.data)
