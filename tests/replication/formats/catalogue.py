"""An image of every format, by tag."""

from __future__ import annotations

import os

from tests.support import artifacts, images
from tests.support.images import Blob, Image
from tests.support.schema1 import schema1

DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
ENCRYPTED = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"

#: Where a layer is to be had that registries do not hold.
ELSEWHERE = {"urls": ["https://layers.example/one.tar.gz"]}

#: The largest manifest that a registry must take, in bytes.
LARGEST = 4 * 1024 * 1024


def catalogue(repository: str) -> dict[str, Image]:
    """What Distribution 2.8 can hold, if it is told to take all it can."""
    signed = images.image()
    empty = Blob(images.EMPTY, images.OCI_EMPTY)
    return {
        "schema1": schema1(repository, "schema1"),
        "docker": images.image(media="docker", count=3),
        "docker-list": images.index(media="docker"),
        "oci": images.image(count=3),
        "oci-index": images.index(),
        "nested": images.index([images.index(), images.image(architecture="s390x")]),
        "mixed": images.index([images.image(media="docker"), images.image()]),
        "no-media-type": images.image(media_type_in_body=False),
        "index-no-media-type": images.index(media_type_in_body=False),
        "artifact": images.artifact(layers=[b"a chart"]),
        "empty-artifact": images.artifact(),
        "config-only": images.image([], config=Blob(os.urandom(40), "application/vnd.example.config.v1+json")),
        "empty-config": images.image([images.layer()], config=empty),
        "inline-config": images.image(config=Blob(images.EMPTY, images.OCI_EMPTY, {"data": "e30="})),
        "helm": artifacts.helm_chart(),
        "buildkit": images.buildkit_cache(),
        "buildkit-index": images.buildkit_cache(as_index=True),
        "buildkit-list": images.buildkit_cache(as_index=True, media="docker"),
        "signed": signed,
        **dict([images.cosign_signature(signed)]),
        **dict([artifacts.cosign_attachment(signed, "att")]),
        **dict([artifacts.cosign_attachment(signed, "sbom")]),
        "attested": artifacts.attested(),
        "attested-by-subject": artifacts.attested(by_subject=True),
        "foreign-elsewhere": images.image(
            [images.layer(), Blob(os.urandom(99), DOCKER_FOREIGN, ELSEWHERE, pushed=False)], media="docker"
        ),
        "foreign-held": images.image([Blob(images.layer(), DOCKER_FOREIGN, ELSEWHERE)], media="docker"),
        "nondistributable-elsewhere": images.image([Blob(os.urandom(99), NONDISTRIBUTABLE, ELSEWHERE, pushed=False)]),
        "nondistributable-held": images.image([Blob(images.layer(), NONDISTRIBUTABLE)]),
        "urls": images.image([Blob(images.layer(), images.OCI_LAYER, ELSEWHERE)]),
        "zstd": images.image([Blob(b"\x28\xb5\x2f\xfd" + os.urandom(200), ZSTD)]),
        "encrypted": images.image([Blob(os.urandom(200), ENCRYPTED)]),
        "empty-layer": images.image([b"", images.layer()]),
        "twice": images.image([layer := images.layer(), layer]),
        "sha512-layer": images.image([Blob(images.layer(), algorithm="sha512")]),
        "unknown-layer": images.image([Blob(os.urandom(50), "application/vnd.example.what+json")]),
        "manifest-as-layer": images.image([Blob(images.image().manifest, images.OCI_MANIFEST)]),
        "largest": sized(LARGEST),
    }


def exotic() -> dict[str, Image]:
    """What the specification allows, and Distribution does not take."""
    unknown = images.raw(
        {"schemaVersion": 2, "mediaType": "application/vnd.example.manifest.v9+json", "layers": []},
        "application/vnd.example.manifest.v9+json",
    )
    loose = Blob(os.urandom(50), "application/vnd.example.thing.v1+json")
    blob = Blob(os.urandom(60), "application/vnd.example.thing.v1")
    sha512 = images.image()
    return {
        "unknown": unknown,
        "unknown-in-index": images.index([unknown, images.image(), loose]),
        "no-json": images.raw({"whatever": 1, "blobs": [blob.descriptor]}, "application/vnd.example.what", [blob]),
        "oci-artifact": images.raw(
            {"mediaType": OCI_ARTIFACT, "artifactType": "application/vnd.example.v1", "blobs": [blob.descriptor]},
            OCI_ARTIFACT,
            [blob],
        ),
        "sha512-child": images.index(
            [Image(sha512.manifest, sha512.media_type, sha512.blobs, platform=sha512.platform, algorithm="sha512")]
        ),
        "sparse": images.index(sparse=[images.image(architecture="s390x")]),
        "sparse-nested": images.index([images.index(sparse=[images.image()]), images.image()]),
    }


def sized(size: int) -> Image:
    """An image whose manifest has this many bytes."""
    layer = images.layer()
    frame = images.image([layer], config=b"{}", annotations={"filler": ""})
    return images.image([layer], config=b"{}", annotations={"filler": "x" * (size - frame.size)})
