from __future__ import annotations

import base64
import json
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.registry import Digest, DigestMismatch, InvalidManifest, Manifest, media_types
from app.registry.documents import PARTS_LIMIT
from app.registry.manifests import CHILDREN_LIMIT, SIZE_LIMIT
from tests.support import images
from tests.support.schema1 import schema1

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def descriptor(content: bytes = b"x", media_type: str = LAYER) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": Digest.of(content), "size": len(content)}


def encoded(**members: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, **members}).encode()


@pytest.mark.parametrize("media", ["oci", "docker"])
def test_an_image_refers_to_its_configuration_and_layers(media: images.Media) -> None:
    image = images.image(media=media, count=2)

    manifest = Manifest.parse(image.manifest, image.media_type)

    assert manifest.data == image.manifest
    assert (manifest.media_type, manifest.digest, manifest.size) == (image.media_type, image.digest, image.size)
    assert {blob.digest for blob in manifest.blobs} == {blob.digest for blob in image.blobs}
    assert manifest.config_media_type == image.blobs[0].media_type
    assert manifest.manifests == ()
    assert manifest.subject is None
    assert not manifest.is_index


@pytest.mark.parametrize("media", ["oci", "docker"])
def test_an_index_refers_to_manifests(media: images.Media) -> None:
    index = images.index(media=media)

    manifest = Manifest.parse(index.manifest, index.media_type)

    assert [child.digest for child in manifest.manifests] == [child.digest for child in index.children]
    assert manifest.blobs == ()
    assert manifest.is_index


def test_buildkit_lists_blobs_in_an_index() -> None:
    cache = images.buildkit_cache(as_index=True)

    manifest = Manifest.parse(cache.manifest, cache.media_type)

    assert {blob.digest for blob in manifest.blobs} == {blob.digest for blob in cache.blobs}
    assert manifest.manifests == ()


def test_what_an_index_lists_under_an_unknown_type_may_be_a_manifest() -> None:
    named = ["application/vnd.example.manifest.v9+json", "application/vnd.example.thing.v1"]
    entries = [descriptor(name.encode(), name) for name in named]

    manifest = Manifest.parse(encoded(manifests=entries), media_types.OCI_INDEX)

    assert [child.media_type for child in manifest.manifests] == named[:1]
    assert [blob.media_type for blob in manifest.blobs] == named[1:]


def test_a_layer_is_a_blob_whatever_its_type() -> None:
    layer = descriptor(b"an image", media_types.OCI_MANIFEST)

    manifest = Manifest.parse(encoded(config=descriptor(), layers=[layer]), media_types.OCI_MANIFEST)

    assert manifest.manifests == ()
    assert [blob.digest for blob in manifest.blobs] == [layer["digest"], descriptor()["digest"]]


def test_a_subject_is_no_child() -> None:
    image = images.image()
    signature = images.artifact(subject=image)

    manifest = Manifest.parse(signature.manifest, signature.media_type)

    assert manifest.subject is not None
    assert manifest.subject.digest == image.digest
    assert image.digest not in {child.digest for child in (*manifest.manifests, *manifest.blobs)}
    assert manifest.artifact_type == "application/vnd.example.artifact.v1"
    # The empty configuration is also the only layer: one blob.
    assert len(manifest.blobs) == 1


def test_foreign_layers_are_apart_from_the_blobs() -> None:
    foreign = descriptor(b"windows", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    data = encoded(config=descriptor(b"c"), layers=[foreign, descriptor(b"l")])

    manifest = Manifest.parse(data, media_types.DOCKER_MANIFEST)

    assert [each.digest for each in manifest.foreign] == [foreign["digest"]]
    assert {each.digest for each in manifest.blobs} == {Digest.of(b"c"), Digest.of(b"l")}


def test_an_artifact_manifest_refers_to_its_blobs() -> None:
    data = encoded(artifactType="a/b", blobs=[descriptor(b"one")])

    manifest = Manifest.parse(data, media_types.OCI_ARTIFACT)

    assert [blob.digest for blob in manifest.blobs] == [Digest.of(b"one")]


def test_schema_1_is_hashed_without_its_signatures_and_its_layers_have_no_size() -> None:
    image = schema1("a/x", "v1")

    manifest = Manifest.parse(image.manifest, image.media_type)

    assert manifest.digest == image.digest != Digest.of(image.manifest)
    assert {(blob.digest, blob.size) for blob in manifest.blobs} == {(blob.digest, None) for blob in image.blobs}


def test_schema_1_with_an_unreadable_signature_is_no_manifest() -> None:
    data = json.dumps({"schemaVersion": 1, "fsLayers": [], "signatures": [{"protected": "!"}]}).encode()

    with pytest.raises(InvalidManifest, match="signature"):
        Manifest.parse(data, media_types.DOCKER_SCHEMA1_SIGNED)


def test_a_signature_of_things_by_the_million_is_none() -> None:
    # Given a signature that is small as text
    protected = base64.urlsafe_b64encode(b"[" + b"[]," * PARTS_LIMIT + b"[]]").decode()
    data = json.dumps({"schemaVersion": 1, "fsLayers": [], "signatures": [{"protected": protected}]}).encode()

    # When it is read, Then little is made of it on the way
    tracemalloc.start()
    try:
        with pytest.raises(InvalidManifest, match="signature"):
            Manifest.parse(data, media_types.DOCKER_SCHEMA1_SIGNED)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 8 * 1024 * 1024


@pytest.mark.parametrize(
    ("content_type", "members", "expected"),
    [
        (f"{media_types.OCI_MANIFEST}; charset=utf-8", {"layers": []}, media_types.OCI_MANIFEST),
        ("application/json", {"mediaType": media_types.DOCKER_MANIFEST}, media_types.DOCKER_MANIFEST),
        ("text/plain", {"manifests": []}, media_types.OCI_INDEX),
        (None, {"config": descriptor(), "layers": []}, media_types.OCI_MANIFEST),
        ("", {"blobs": []}, media_types.OCI_ARTIFACT),
        ("application/vnd.example.thing+json", {}, "application/vnd.example.thing+json"),
    ],
)
def test_the_media_type_is_what_the_registry_says_else_what_the_content_says(
    content_type: str | None, members: dict[str, Any], expected: str
) -> None:
    assert Manifest.parse(encoded(**members), content_type).media_type == expected


def test_an_unknown_format_passes_with_what_can_be_read_from_it() -> None:
    data = encoded(layers=[descriptor(), "what?", {"digest": 5}], config="none", manifests={"a": 1})

    manifest = Manifest.parse(data, "application/vnd.example.thing+json")

    assert [blob.digest for blob in manifest.blobs] == [Digest.of(b"x")]


@pytest.mark.parametrize(
    "broken",
    [
        {"digest": "sha256:short"},
        {"digest": None},
        {"size": -1},
        {"size": "7"},
        {"size": True},
        {"size": None},
        {"size": 2**63},
        {"size": 10**4000},
    ],
)
def test_a_broken_descriptor_is_no_manifest(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidManifest, match="layers") as raised:
        Manifest.parse(encoded(layers=[{**descriptor(), **broken}]), media_types.OCI_MANIFEST)
    assert (raised.value.reason, raised.value.temporary) == ("invalid_manifest", False)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"[]",
        b"\xff\xfe",
        b'{"a":' * 100_000,
        b'{"schemaVersion": ' + b"9" * 5000 + b"}",
        json.dumps({"layers": {}}).encode(),
        b" " * (SIZE_LIMIT + 1),
    ],
)
def test_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(InvalidManifest):
        Manifest.parse(data, media_types.OCI_MANIFEST)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/x\r\nX-Injected: 1",
        "application/x\r\n X-Folded: 1",
        "application/x y",
        "application/\N{SNOWMAN}",
        "application/\x00",
        "a" * 256,
    ],
)
def test_a_media_type_that_cannot_be_sent_is_none(media_type: str) -> None:
    # Given one that stands in the content, and one that the registry says
    for content_type in (None, "application/json", media_type):
        with pytest.raises(InvalidManifest, match="media type"):
            Manifest.parse(encoded(mediaType=media_type, layers=[]), content_type)


def test_nothing_tells_what_it_is() -> None:
    with pytest.raises(InvalidManifest, match="kind"):
        Manifest.parse(b"{}", "application/json")


def test_the_number_of_references_is_limited() -> None:
    layers = [descriptor(str(number).encode()) for number in range(CHILDREN_LIMIT + 1)]

    Manifest.parse(encoded(layers=layers[1:]), media_types.OCI_MANIFEST)
    with pytest.raises(InvalidManifest, match="references"):
        Manifest.parse(encoded(layers=layers), media_types.OCI_MANIFEST)


def test_a_promised_digest_must_hold_in_its_own_algorithm() -> None:
    data = encoded(layers=[])
    wanted = Digest.of(data, "sha512")

    assert Manifest.parse(data, media_types.OCI_MANIFEST, wanted).digest == wanted
    with pytest.raises(DigestMismatch):
        Manifest.parse(data + b"\n", media_types.OCI_MANIFEST, wanted)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_any_json_is_parsed_or_refused_by_type(value: Any) -> None:
    document = {"schemaVersion": 2, "layers": [value], "config": value, "subject": value, "manifests": value}
    with suppress(InvalidManifest):
        assert Manifest.parse(json.dumps(document).encode(), media_types.OCI_INDEX).blobs == ()
