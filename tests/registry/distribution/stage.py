"""What the tests of the client against real registries do again and again."""

from __future__ import annotations

import pytest

from app.registry import Manifest, RegistryClient
from tests.support import images

both = pytest.mark.parametrize("version", ["2.8", "3"])


def push(client: RegistryClient, repository: str, reference: str, image: images.Image) -> Manifest:
    """Push an image and its children through the client."""
    for part in image.walk():
        for blob in part.blobs:
            upload = client.start_upload(repository)
            assert upload is not None
            upload.put([blob.data], len(blob.data), blob.digest)
        manifest = Manifest.parse(part.manifest, part.media_type)
        assert (
            client.put_manifest(repository, reference if part is image else part.digest, manifest, total_timeout=30)
            == part.digest
        )
    return manifest
