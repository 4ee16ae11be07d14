"""Images, indexes and artifacts built in memory, without the application's code.

Content is random unless it is given, so that no two images share a blob by accident.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Media = Literal["oci", "docker"]
Algorithm = Literal["sha256", "sha512"]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
BUILDKIT_CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"
COSIGN_LAYER = "application/vnd.dev.cosign.simplesigning.v1+json"

#: The content of the empty descriptor (image-spec, manifest.md).
EMPTY = b"{}"

_MANIFEST = {"oci": OCI_MANIFEST, "docker": DOCKER_MANIFEST}
_INDEX = {"oci": OCI_INDEX, "docker": DOCKER_LIST}
_CONFIG = {"oci": OCI_CONFIG, "docker": DOCKER_CONFIG}
_LAYER = {"oci": OCI_LAYER, "docker": DOCKER_LAYER}


def sha256(data: bytes) -> str:
    return digest_of(data, "sha256")


def digest_of(data: bytes, algorithm: Algorithm) -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob and the media type that manifests call it."""

    data: bytes = field(repr=False)
    media_type: str = OCI_LAYER
    #: Put in the descriptor too: `annotations`, `urls`, `data`, ...
    extra: Mapping[str, Any] = field(default_factory=dict)
    algorithm: Algorithm = "sha256"
    #: False: manifests name it, and nobody pushes it.
    pushed: bool = True

    @property
    def digest(self) -> str:
        return digest_of(self.data, self.algorithm)

    @property
    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data), **self.extra}


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest's bytes with all that it refers to: blobs, and children if it is an index."""

    manifest: bytes = field(repr=False)
    media_type: str
    blobs: tuple[Blob, ...] = ()
    children: tuple[Image, ...] = ()
    platform: Mapping[str, str] | None = None
    #: Of the descriptor in an index.
    annotations: Mapping[str, str] = field(default_factory=dict)
    #: What the digest is of, where that is not the manifest itself: a signed schema 1 manifest without signatures.
    payload: bytes | None = field(default=None, repr=False)
    #: What it is pushed by as a child, or without a tag.
    algorithm: Algorithm = "sha256"

    @property
    def digest(self) -> str:
        return digest_of(self.payload or self.manifest, self.algorithm)

    @property
    def size(self) -> int:
        return len(self.manifest)

    @property
    def document(self) -> dict[str, Any]:
        """The manifest, decoded."""
        document: dict[str, Any] = json.loads(self.manifest)
        return document

    @property
    def descriptor(self) -> dict[str, Any]:
        described: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.annotations:
            described["annotations"] = dict(self.annotations)
        if self.platform is not None:
            described["platform"] = dict(self.platform)
        return described

    def walk(self) -> Iterator[Image]:
        """Yield the children, deepest first, and then itself: the order of a push."""
        for child in self.children:
            yield from child.walk()
        yield self


def layer(size: int = 256) -> bytes:
    """Return a gzipped tar of one file of `size` random bytes (it does not compress)."""
    # Truly an archive: skopeo compresses what is not, and so changes the digest.
    content = os.urandom(size)
    member = tarfile.TarInfo(f"data/{os.urandom(4).hex()}")
    member.size = size
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def image(
    layers: Sequence[bytes | Blob] | None = None,
    *,
    media: Media = "oci",
    config: bytes | Blob | None = None,
    count: int = 1,
    size: int = 256,
    architecture: str = "amd64",
    annotations: Mapping[str, str] | None = None,
    subject: Image | None = None,
    artifact_type: str | None = None,
    media_type_in_body: bool = True,
) -> Image:
    """Build an image.

    :param layers: bytes (of the usual media type) or blobs; without them, `count` random layers of about `size`
        bytes each.
    :param config: bytes or a blob; a plausible configuration otherwise.
    :param subject: makes it a referrer of that image.
    :param media_type_in_body: False leaves `mediaType` out, which OCI allows.
    """
    blobs = [_blob(given, _LAYER[media]) for given in _layers(layers, count, size)]
    configured = _blob(_config(architecture, blobs) if config is None else config, _CONFIG[media])
    document: dict[str, Any] = {"schemaVersion": 2}
    if media_type_in_body:
        document["mediaType"] = _MANIFEST[media]
    if artifact_type is not None:
        document["artifactType"] = artifact_type
    document["config"] = configured.descriptor
    document["layers"] = [blob.descriptor for blob in blobs]
    if subject is not None:
        document["subject"] = _weak(subject)
    if annotations:
        document["annotations"] = dict(annotations)
    platform = {"os": "linux", "architecture": architecture}
    return Image(_encode(document), _MANIFEST[media], (configured, *blobs), platform=platform)


def index(
    children: Sequence[Image | Blob] | None = None,
    *,
    media: Media = "oci",
    annotations: Mapping[str, str] | None = None,
    subject: Image | None = None,
    sparse: Sequence[Image] = (),
    media_type_in_body: bool = True,
) -> Image:
    """Build an OCI index or a Docker manifest list.

    :param children: images, indexes, or blobs (as BuildKit's cache has them); without them, two images for amd64
        and arm64.
    :param sparse: images that the index names and that are not pushed.
    """
    if children is None:
        children = [image(media=media), image(media=media, architecture="arm64")]
    document: dict[str, Any] = {"schemaVersion": 2}
    if media_type_in_body:
        document["mediaType"] = _INDEX[media]
    document["manifests"] = [child.descriptor for child in (*children, *sparse)]
    if subject is not None:
        document["subject"] = _weak(subject)
    if annotations:
        document["annotations"] = dict(annotations)
    return Image(
        _encode(document),
        _INDEX[media],
        tuple(child for child in children if isinstance(child, Blob)),
        tuple(child for child in children if isinstance(child, Image)),
    )


def artifact(
    artifact_type: str = "application/vnd.example.artifact.v1",
    layers: Sequence[bytes | Blob] = (),
    *,
    subject: Image | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """Build an OCI artifact: the empty configuration, and without `layers` the empty blob as the only layer."""
    # Annotated at random: an artifact without layers is otherwise always the same bytes.
    return image(
        list(layers) or [Blob(EMPTY, OCI_EMPTY)],
        config=Blob(EMPTY, OCI_EMPTY),
        artifact_type=artifact_type,
        subject=subject,
        annotations=annotations or {"org.example.serial": os.urandom(8).hex()},
    )


def cosign_signature(of: Image | str) -> tuple[str, Image]:
    """Build a signature as cosign 2 keeps it and return (`sha256-<hex>.sig`, the image to push under that tag)."""
    digest = of if isinstance(of, str) else of.digest
    payload = {
        "critical": {
            "identity": {"docker-reference": ""},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    signature = {"dev.cosignproject.cosign/signature": os.urandom(32).hex()}
    signed = image([Blob(_encode(payload), COSIGN_LAYER, {"annotations": signature})])
    return f"{digest.replace(':', '-')}.sig", signed


def buildkit_cache(*, as_index: bool = False, media: Media = "oci") -> Image:
    """Build a BuildKit cache: an image manifest (since 0.21), or an index whose children are blobs (before)."""
    blobs = [Blob(layer(), _LAYER[media]) for _ in range(2)]
    config = Blob(_encode({"layers": [{"blob": blob.digest} for blob in blobs]}), BUILDKIT_CACHE_CONFIG)
    return index([*blobs, config], media=media) if as_index else image(blobs, config=config, media=media)


def raw(document: Mapping[str, Any] | bytes, media_type: str, blobs: Sequence[Blob] = ()) -> Image:
    """Wrap any manifest of any media type."""
    body = document if isinstance(document, bytes) else _encode(document)
    return Image(body, media_type, tuple(blobs))


def _layers(layers: Sequence[bytes | Blob] | None, count: int, size: int) -> Sequence[bytes | Blob]:
    return [layer(size) for _ in range(count)] if layers is None else layers


def _blob(given: bytes | Blob, media_type: str) -> Blob:
    return given if isinstance(given, Blob) else Blob(given, media_type)


def _config(architecture: str, blobs: Sequence[Blob]) -> bytes:
    diff_ids = [_diff_id(blob.data) for blob in blobs]
    return _encode(
        {
            "created": "2026-01-01T00:00:00Z",
            "architecture": architecture,
            "os": "linux",
            "config": {"Labels": {"serial": os.urandom(8).hex()}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created": "2026-01-01T00:00:00Z"} for _ in diff_ids],
        }
    )


def _diff_id(data: bytes) -> str:
    try:
        return sha256(gzip.decompress(data))
    except (OSError, EOFError):
        return sha256(data)


def _weak(subject: Image) -> dict[str, Any]:
    return {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size}


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=3).encode()
