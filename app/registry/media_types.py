"""Media types of manifests and layers, as the image specification and Docker's registry name them."""

from __future__ import annotations

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
#: Removed from the image specification before 1.1, still stored in registries.
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
#: What ORAS used before OCI artifacts, still stored in Azure's registry.
ORAS_ARTIFACT = "application/vnd.cncf.oras.artifact.manifest.v1+json"

OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCTET_STREAM = "application/octet-stream"

_INDEXES = (OCI_INDEX, DOCKER_MANIFEST_LIST)
_MANIFESTS = (
    OCI_INDEX,
    OCI_MANIFEST,
    DOCKER_MANIFEST_LIST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1_SIGNED,
    DOCKER_SCHEMA1,
    OCI_ARTIFACT,
    ORAS_ARTIFACT,
)

#: The `Accept` of every manifest request, one header with everything: a registry says 404 MANIFEST_UNKNOWN of an
#: existing manifest whose type is not accepted, and turns a list into one platform's image. The wildcard is for
#: manifests of types that nobody knows yet.
ACCEPT = ", ".join((*_MANIFESTS, "*/*"))

_FOREIGN = (
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
)

_SCHEMA1 = (DOCKER_SCHEMA1_SIGNED, DOCKER_SCHEMA1)

#: Content types that say nothing about what the body is.
_GENERIC = ("", "application/json", "text/plain", "text/html", OCTET_STREAM, "binary/octet-stream")


def essence(content_type: str | None) -> str:
    """Return a Content-Type without its parameters, in lower case; empty when there is none."""
    return (content_type or "").partition(";")[0].strip().lower()


def is_manifest(media_type: str) -> bool:
    """Tell whether content of this type lives behind the manifests endpoint; everything else is a blob."""
    return media_type in _MANIFESTS


def may_be_manifest(media_type: str) -> bool:
    """Tell whether something of this type in an index is a manifest, or may be one: manifests are JSON."""
    return is_manifest(media_type) or media_type.endswith("+json")


def is_index(media_type: str) -> bool:
    """Tell whether this is an OCI index or a Docker manifest list."""
    return media_type in _INDEXES


def is_schema1(media_type: str) -> bool:
    """Tell whether this is Docker's first manifest format, signed or not."""
    return media_type in _SCHEMA1


def is_foreign_layer(media_type: str) -> bool:
    """Tell whether a layer of this type should not be uploaded (image-spec, layer.md, non-distributable layers)."""
    return media_type in _FOREIGN


def is_generic(media_type: str) -> bool:
    """Tell whether a Content-Type leaves open what the content is."""
    return media_type in _GENERIC
