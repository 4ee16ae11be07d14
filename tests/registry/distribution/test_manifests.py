"""Manifests of each format, in and out, and what is refused."""

from __future__ import annotations

import pytest

from app.registry import Digest, Manifest, NotFound, RegistryClient, RegistryError, Rejected, media_types
from tests.registry.conftest import Connect
from tests.registry.distribution.stage import both, push
from tests.support import images, wire
from tests.support.registries import DistributionRegistry, RegistryFactory, Version
from tests.support.schema1 import schema1


@both
@pytest.mark.parametrize(
    "image",
    [
        images.image(),
        images.image(media="docker", count=3),
        images.index(),
        images.index(media="docker"),
        images.index([images.index(), images.image()]),
        images.image(media_type_in_body=False),
        images.index(media_type_in_body=False),
        images.artifact(),
        images.buildkit_cache(),
        images.artifact(subject=images.image()),
    ],
    ids=[
        "oci",
        "docker",
        "index",
        "list",
        "nested",
        "no media type",
        "index without media type",
        "artifact",
        "cache",
        "referrer",
    ],
)
def test_formats_go_in_and_come_out_unchanged(
    image: images.Image, registry: DistributionRegistry, client: RegistryClient
) -> None:
    push(client, "a/x", "v1", image)

    for reference in ("v1", image.digest):
        fetched = client.get_manifest("a/x", reference)
        assert (fetched.data, fetched.media_type, fetched.digest) == (
            image.manifest,
            image.media_type,
            image.digest,
        )
        assert client.head_manifest("a/x", reference) == fetched.descriptor.__class__(
            image.media_type, image.digest, image.size
        )
    for part in image.walk():
        for blob in part.blobs:
            assert client.head_blob("a/x", blob.digest) == len(blob.data)
            assert client.blob_present("a/x", blob.digest, len(blob.data))
            with client.open_blob("a/x", blob.digest) as stream:
                assert b"".join(stream) == blob.data
    # And another client of the registry sees the same.
    assert wire.fetch(registry, "a/x", "v1").body == image.manifest


@pytest.mark.parametrize("version", ["2.8"])
def test_schema_1_has_one_digest_however_it_is_signed(
    registry_factory: RegistryFactory, connect: Connect, version: Version
) -> None:
    registry = registry_factory("registry", version=version, schema1=True)
    client = connect(registry.url)
    image = schema1("a/x", "v1")
    manifest = push(client, "a/x", "v1", image)

    first, second = client.get_manifest("a/x", "v1"), client.get_manifest("a/x", image.digest)

    assert first.digest == second.digest == manifest.digest == image.digest
    assert client.head_manifest("a/x", "v1").digest == image.digest


@both
def test_absence_is_witnessed_by_the_registry(registry: DistributionRegistry, client: RegistryClient) -> None:
    image = images.image()
    wire.push(registry, "a/x", "v1", image)

    for ask in (
        lambda: client.get_manifest("a/x", "v2"),
        lambda: client.get_manifest("no/such", "v1"),
        lambda: client.get_manifest("a/x", Digest.of(b"none")),
        lambda: client.list_tags("no/such"),
        lambda: client.open_blob("a/x", Digest.of(b"none")),
    ):
        with pytest.raises(NotFound) as raised:
            ask()
        assert raised.value.witnessed
        assert not raised.value.temporary
    assert client.head_blob("a/x", Digest.of(b"none")) is None
    assert not client.blob_present("a/x", Digest.of(b"none"), 5)
    assert client.referrers("a/x", image.digest) is None


@both
def test_a_manifest_whose_blobs_are_missing_is_refused_for_now(client: RegistryClient) -> None:
    image = images.image()

    with pytest.raises(Rejected) as raised:
        client.put_manifest("a/x", "v1", Manifest.parse(image.manifest, image.media_type))
    assert (raised.value.reason, raised.value.temporary) == ("manifest_blob_unknown", True)


@both
def test_a_manifest_that_is_too_large_is_refused_for_good(client: RegistryClient) -> None:
    data = b'{"schemaVersion": 2, "layers": []' + b" " * (4 * 1024 * 1024) + b"}"

    with pytest.raises(Rejected) as raised:
        client.put_manifest("a/x", "v1", Manifest.parse(data, media_types.OCI_MANIFEST))
    assert not raised.value.temporary


@both
def test_layers_with_urls_that_are_not_allowed_are_refused_for_good(client: RegistryClient) -> None:
    config = images.Blob(b"{}", images.OCI_CONFIG)
    foreign = images.Blob(
        b"windows",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        {"urls": ["https://example.com/layer"]},
    )
    image = images.image([foreign], media="docker", config=config)
    upload = client.start_upload("a/x")
    assert upload is not None
    upload.put([config.data], len(config.data), config.digest)

    with pytest.raises(RegistryError, match="MANIFEST_BLOB_UNKNOWN") as raised:
        client.put_manifest("a/x", "v1", Manifest.parse(image.manifest, image.media_type))
    assert raised.value.reason == "manifest_blob_unknown"
    assert (raised.value.status == 500) == (not raised.value.temporary)
