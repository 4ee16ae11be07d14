"""The kinds of content that the OCI conformance suite pushes, made by us from the specification's text.

OCI distribution specification 1.1 ("Pushing Blobs", "Pushing Manifests", "Listing Referrers") and image specification
1.1. A registry need not take all of it: what it refuses is named and left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tests.interop import uploads
from tests.interop.results import refusal
from tests.replication.formats.catalogue import NONDISTRIBUTABLE
from tests.support import images
from tests.support.images import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, Blob, Image
from tests.support.referring import attach
from tests.support.registries import Registry
from tests.support.wire import WireError, push, push_blob, push_manifest

#: Names that the grammar of the specification allows, and careless programs do not expect.
ODD_TAGS = ("_", "0", "A.b-C_d", "v1..", "a__b--c..d", "_-.", "sha256", "latest-", "t" * 128)

#: The same of repositories.
REPOSITORY = "interop/content"
ODD_REPOSITORY = "0/a__b/c.d-e---f/g"


@dataclass(frozen=True, slots=True)
class Item:
    """One kind of content that stands on the primary."""

    name: str
    repository: str
    #: The tag, or the digest of what has none.
    reference: str
    #: A listing of the repository's tags leads to it; of anything else only a notification tells.
    listed: bool = True
    #: The digest whose referrers are compared too.
    subject: str | None = None
    #: The digest that a tag stands on which was pushed more than once.
    moved_to: str | None = None


#: Pushes one kind of content and says what is where.
Maker = Callable[[Registry], Iterator[Item]]


def push_all(registry: Registry) -> tuple[list[Item], dict[str, str]]:
    """Push everything. Return what stands there, and by name what the registry did not take, with its answer."""
    items: list[Item] = []
    refused: dict[str, str] = {}
    for name, maker in MAKERS.items():
        try:
            items += list(maker(registry))
        except WireError as error:
            refused[name] = refusal(error)
    return items, refused


# --- ways of a blob ---------------------------------------------------------------------------------------------------


def _uploaded(upload: Callable[[Registry, str, Blob], None], name: str, registry: Registry) -> Iterator[Item]:
    """An image whose layer came by this way."""
    layer = Blob(images.layer(3 * uploads.CHUNK), pushed=False)
    upload(registry, REPOSITORY, layer)
    yield from _tagged(images.image([layer]), name, registry)


def _mounted(named: bool, name: str, registry: Registry) -> Iterator[Item]:
    """An image whose layer is in another repository already."""
    layer = Blob(images.layer(), pushed=False)
    push_blob(registry, ODD_REPOSITORY, layer.data)
    uploads.mounted(registry, REPOSITORY, layer, ODD_REPOSITORY if named else None)
    yield from _tagged(images.image([layer]), name, registry)


# --- manifests --------------------------------------------------------------------------------------------------------


def _tagged(image: Image, name: str, registry: Registry) -> Iterator[Item]:
    push(registry, REPOSITORY, name, image)
    yield Item(name, REPOSITORY, name)


def _made(make: Callable[[], Image], name: str, registry: Registry) -> Iterator[Item]:
    yield from _tagged(make(), name, registry)


def _untagged(make: Callable[[], Image], name: str, registry: Registry) -> Iterator[Item]:
    yield Item(name, REPOSITORY, push(registry, REPOSITORY, None, make()), listed=False)


def _referrer(make: Callable[[Image], Image], name: str, registry: Registry) -> Iterator[Item]:
    """An image, and what refers to it."""
    subject = images.image()
    push(registry, REPOSITORY, name, subject)
    referrer = make(subject)
    attach(registry, REPOSITORY, referrer)
    yield Item(name, REPOSITORY, name, subject=subject.digest)


def _referrer_of_nothing(name: str, registry: Registry) -> Iterator[Item]:
    """What refers to a manifest that never comes, which a registry must take."""
    subject = images.image()
    referrer = images.artifact(subject=subject)
    attach(registry, REPOSITORY, referrer)
    yield Item(name, REPOSITORY, referrer.digest, listed=False, subject=subject.digest)


def _custom_fields() -> Image:
    """Fields that no specification has, at every level."""
    layer = Blob(images.layer(), extra={"org.example.layer": ["x"]})
    config = Blob(b'{"org.example":1}', images.OCI_CONFIG)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.descriptor,
        "layers": [layer.descriptor],
        "org.example": {"nested": [1, 2.5, None, True]},
    }
    return images.raw(document, OCI_MANIFEST, [config, layer])


def _odd_bytes() -> Image:
    """JSON as no encoder of ours writes it: blanks, escapes, letters of all kinds, a line end behind it."""
    config, layer = Blob(b"{}", OCI_EMPTY), Blob(images.layer())
    text = (
        '\n\t{ "layers" : [ %s ],\r\n"config":%s, "mediaType":"application\\/vnd.oci.image.manifest.v1+json",'
        ' "annotations": {"org.example.text": "gr\\u00fc\u00df \U0001f40b"}, "schemaVersion": 2 }\n\n'
    )
    body = text % (json.dumps(layer.descriptor), json.dumps(config.descriptor))
    return images.raw(body.encode(), OCI_MANIFEST, [config, layer])


def _data_field() -> Image:
    """Descriptors that carry their content."""
    return images.image(config=Blob(images.EMPTY, OCI_EMPTY, {"data": "e30="}), artifact_type="application/vnd.example")


def _nondistributable() -> Image:
    return images.image([Blob(images.layer(), NONDISTRIBUTABLE)])


def _artifacts() -> Image:
    """An index of artifacts, with a type of its own."""
    children = [images.artifact(), images.artifact("application/vnd.example.other.v1", [b"content"])]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "artifactType": "application/vnd.example.bundle.v1",
        "manifests": [child.descriptor for child in children],
    }
    index = images.raw(document, OCI_INDEX)
    return Image(index.manifest, OCI_INDEX, children=tuple(children))


def _by_sha512() -> Image:
    made = images.image()
    return Image(made.manifest, made.media_type, made.blobs, algorithm="sha512")


# --- tags -------------------------------------------------------------------------------------------------------------


def _odd_tags(name: str, registry: Registry) -> Iterator[Item]:
    """Many tags on one image."""
    image = images.image()
    for tag in ODD_TAGS:
        push(registry, REPOSITORY, tag, image)
        yield Item(name, REPOSITORY, tag)


def _odd_repository(name: str, registry: Registry) -> Iterator[Item]:
    push(registry, ODD_REPOSITORY, "v1", images.index())
    yield Item(name, ODD_REPOSITORY, "v1")


def _moved_tag(name: str, registry: Registry) -> Iterator[Item]:
    """A tag that is pushed twice; what it left stays."""
    first = images.image()
    push(registry, REPOSITORY, name, first)
    yield Item(name, REPOSITORY, name, moved_to=push(registry, REPOSITORY, name, images.index()))


def _tag_first(name: str, registry: Registry) -> Iterator[Item]:
    """A tag that is given to what was pushed by its digest before."""
    image = images.image()
    push(registry, REPOSITORY, None, image)
    push_manifest(registry, REPOSITORY, name, image)
    yield Item(name, REPOSITORY, name)


#: By name, which is most often the tag too.
_BY_NAME: dict[str, Callable[[str, Registry], Iterator[Item]]] = {
    "upload-whole": partial(_uploaded, uploads.whole),
    "upload-chunked": partial(_uploaded, uploads.chunked),
    "upload-streamed": partial(_uploaded, uploads.streamed),
    "upload-single-post": partial(_uploaded, uploads.at_once),
    "mounted": partial(_mounted, True),
    "mounted-from-anywhere": partial(_mounted, False),
    "image": partial(_made, images.image),
    "index": partial(_made, images.index),
    "nested-index": partial(_made, lambda: images.index([images.index()])),
    "sparse-index": partial(_made, lambda: images.index(sparse=[images.image()])),
    "no-layers": partial(_made, lambda: images.image([], config=os.urandom(30))),
    "empty-blob": partial(_made, lambda: images.image([b""])),
    "artifact": partial(_made, lambda: images.artifact(layers=[os.urandom(30)])),
    "artifact-without-content": partial(_made, images.artifact),
    "artifacts-in-index": partial(_made, _artifacts),
    "data-field": partial(_made, _data_field),
    "custom-fields": partial(_made, _custom_fields),
    "odd-bytes": partial(_made, _odd_bytes),
    "nondistributable": partial(_made, _nondistributable),
    "sha512-blob": partial(_made, lambda: images.image([Blob(images.layer(), algorithm="sha512")])),
    "sha512-manifest": partial(_untagged, _by_sha512),
    "no-tag": partial(_untagged, images.image),
    "subject": partial(_referrer, lambda subject: images.artifact(subject=subject)),
    "subject-of-image": partial(_referrer, lambda subject: images.image(subject=subject)),
    "subject-of-index": partial(_referrer, lambda subject: images.index(subject=subject)),
    "subject-missing": _referrer_of_nothing,
    "odd-tags": _odd_tags,
    "odd-repository": _odd_repository,
    "moved-tag": _moved_tag,
    "tag-after-digest": _tag_first,
}

MAKERS: dict[str, Maker] = {name: partial(make, name) for name, make in _BY_NAME.items()}
