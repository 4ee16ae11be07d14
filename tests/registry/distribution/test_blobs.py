"""Blobs: up, down, from the middle, and broken off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.registry import Digest, DigestMismatch, RegistryClient, RegistryError, Rejected, Unreachable, Upload
from tests.registry.conftest import Connect
from tests.registry.distribution.stage import both
from tests.support import images, wire
from tests.support.registries import DistributionRegistry, RegistryFactory, Version
from tests.support.wait import wait_until


@both
@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_a_blob_of_another_length_of_sha2(client: RegistryClient, algorithm: str) -> None:
    data = os.urandom(1000)
    digest = Digest.of(data, algorithm)
    upload = client.start_upload("a/x")
    assert upload is not None
    upload.put([data], len(data), digest)

    assert client.blob_present("a/x", digest, len(data))
    with client.open_blob("a/x", digest) as stream:
        assert b"".join(stream) == data


@both
def test_a_blob_can_be_read_from_the_middle(registry: DistributionRegistry, client: RegistryClient) -> None:
    data = os.urandom(100_000)
    digest = wire.push_blob(registry, "a/x", data)

    with client.open_blob("a/x", digest, offset=99_000) as stream:
        assert (stream.offset, stream.size) == (99_000, 100_000)
        assert b"".join(stream) == data[99_000:]
    with pytest.raises(Rejected) as raised:
        client.open_blob("a/x", digest, offset=100_001)
    assert raised.value.status == 416


@both
def test_bytes_under_a_wrong_digest_are_refused(client: RegistryClient) -> None:
    upload = client.start_upload("a/x")
    assert upload is not None
    with pytest.raises(Rejected) as raised:
        upload.put([b"abc"], 3, Digest.of(b"other"))
    assert raised.value.reason == "digest_invalid"
    assert client.head_blob("a/x", Digest.of(b"abc")) is None


def broken_off(client: RegistryClient) -> Upload:
    """A session whose request broke off in the middle."""
    upload = client.start_upload("a/x")
    assert upload is not None

    def chunks() -> Iterator[bytes]:
        yield os.urandom(1_000_000)
        raise Unreachable("the source broke off")

    with pytest.raises(Unreachable, match="the source broke off"):
        upload.put(chunks(), 2_000_000, Digest.of(b""))
    return upload


def uploads(registry: DistributionRegistry) -> list[Path]:
    return list(registry.storage.glob("docker/registry/v2/repositories/a/x/_uploads/*/data"))


@both
def test_an_upload_is_cancelled_for_real(registry: DistributionRegistry, client: RegistryClient) -> None:
    upload = client.start_upload("a/x")
    assert upload is not None
    assert len(uploads(registry)) == 1

    assert upload.cancel()
    assert uploads(registry) == []


@pytest.mark.parametrize("version", ["3"])
def test_what_was_sent_of_a_broken_upload_is_given_up_too(
    registry: DistributionRegistry, client: RegistryClient
) -> None:
    upload = broken_off(client)

    # How much of it the registry takes in before the cut is its own matter, and on a busy machine it may still be at it
    # when the first word to give it up has been answered.
    def given_up() -> bool:
        upload.cancel()
        return not uploads(registry)

    wait_until(given_up)


@pytest.mark.parametrize("version", ["2.8"])
def test_2_8_forgets_a_broken_session_and_keeps_its_bytes(client: RegistryClient) -> None:
    assert not broken_off(client).cancel()


@both
def test_a_mount_from_where_nothing_is_becomes_an_upload(client: RegistryClient) -> None:
    upload = client.start_upload("a/x", Digest.of(b"nowhere"), "b/y")
    assert upload is not None
    upload.put([b"nowhere"], 7, Digest.of(b"nowhere"))
    assert client.head_blob("a/x", Digest.of(b"nowhere")) == 7


@both
def test_a_blob_that_vanished_behind_the_cache(
    version: Version, registry_factory: RegistryFactory, connect: Connect
) -> None:
    # Given a registry with its cache, and a blob whose file is gone
    registry = registry_factory("registry", version=version, cache=True)
    client = connect(registry.url)
    image = images.image()
    wire.push(registry, "a/x", "v1", image)
    blob = image.blobs[1]
    assert client.blob_present("a/x", blob.digest, len(blob.data))
    registry.blob_path(blob.digest).unlink()

    # Then HEAD still says yes, and the byte says no
    assert client.head_blob("a/x", blob.digest) == len(blob.data)
    assert not client.blob_present("a/x", blob.digest, len(blob.data))


@both
def test_damaged_content_is_found_out(registry: DistributionRegistry, client: RegistryClient) -> None:
    # Given a manifest and a blob that changed on the registry's disk
    image = images.image()
    wire.push(registry, "a/x", "v1", image)
    layer = image.blobs[1]
    registry.blob_path(layer.digest).write_bytes(layer.data[:-1] + bytes([layer.data[-1] ^ 1]))
    damaged = image.manifest.replace(b'"schemaVersion"', b'"schemaversion"')
    registry.blob_path(image.digest).write_bytes(damaged)

    with client.open_blob("a/x", layer.digest) as stream, pytest.raises(DigestMismatch):
        b"".join(stream)
    with pytest.raises(RegistryError) as raised:
        client.get_manifest("a/x", image.digest)
    assert raised.value.temporary
