"""Manifest: the exact bytes of one manifest, and what it refers to."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from app.registry import media_types
from app.registry.documents import read_json
from app.registry.errors import DigestMismatch, InvalidManifest
from app.registry.references import Digest, is_digest

#: The largest manifest that is parsed. Registries take 4 MiB by the specification; ours is the double, so that a
#: registry with a looser limit is no failure.
SIZE_LIMIT = 8 * 1024 * 1024

#: The most things that one manifest may refer to.
CHILDREN_LIMIT = 10_000

#: The largest size that a descriptor may name: what is more is no 64-bit integer (image-spec, descriptor.md).
SIZE_MOST = 2**63 - 1

#: What can stand in a header of ours. RFC 6838 (4.2) allows less; whoever goes beyond that must not end the line.
_MEDIA_TYPE = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content: its type, digest and size in bytes (None where the format does not say it)."""

    media_type: str
    digest: str
    size: int | None
    artifact_type: str | None = None

    @property
    def is_index(self) -> bool:
        """Whether it describes an OCI index or a Docker manifest list."""
        return media_types.is_index(self.media_type)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest, byte for byte. Made by `parse`, which checks it and reads its references.

    `manifests` are the children behind the manifests endpoint and `blobs` those behind the blobs endpoint, each
    digest once. What an index lists is routed by its media type: BuildKit lists cache blobs in an index. Of a type
    that nobody knows, there, it may be a manifest, and is among them (`media_types.may_be_manifest`). Everything else
    that is named, as configuration, layer or blob, is a blob whatever its type.
    `foreign` are layers that should not be uploaded, so they are not in `blobs`. `subject` is what this manifest is
    about (a signature, an attestation): a weak reference, never a child.
    """

    data: bytes = field(repr=False)
    media_type: str
    digest: str
    manifests: tuple[Descriptor, ...] = field(default=(), repr=False, compare=False)
    blobs: tuple[Descriptor, ...] = field(default=(), repr=False, compare=False)
    foreign: tuple[Descriptor, ...] = field(default=(), repr=False, compare=False)
    subject: Descriptor | None = field(default=None, repr=False, compare=False)
    config_media_type: str | None = field(default=None, repr=False, compare=False)
    artifact_type: str | None = field(default=None, repr=False, compare=False)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    @property
    def is_index(self) -> bool:
        """Whether this is an OCI index or a Docker manifest list."""
        return media_types.is_index(self.media_type)

    @property
    def descriptor(self) -> Descriptor:
        """What another manifest would say to refer to this one."""
        return Descriptor(self.media_type, self.digest, len(self.data), self.artifact_type)

    @classmethod
    def parse(cls, data: bytes, content_type: str | None, digest: str | None = None) -> Manifest:
        """Read a manifest from the bytes and the Content-Type of a response.

        With `digest`, its algorithm is used and the bytes must hash to it; without, the digest is sha256. Raises
        `InvalidManifest`, `DigestMismatch` or `UnsupportedDigest`. Unknown media types are no error (image-spec,
        considerations.md): they pass unchanged, with whatever references can be read from them.
        """
        if len(data) > SIZE_LIMIT:
            raise InvalidManifest(f"a manifest of {len(data)} bytes, more than {SIZE_LIMIT}")
        document = _document(data)
        media_type = _media_type(content_type, document)
        signed = _schema1_payload(data, document) if media_types.is_schema1(media_type) else data
        own = Digest.of(signed, Digest.algorithm(digest) if digest else "sha256")
        if digest is not None and own != digest:
            raise DigestMismatch(f"the manifest hashes to {own}, promised was {digest}")
        children = _Children(strict=media_types.is_manifest(media_type))
        children.read(document)
        config = document.get("config")
        return cls(
            data=data,
            media_type=media_type,
            digest=own,
            manifests=tuple(children.manifests.values()),
            blobs=tuple(children.blobs.values()),
            foreign=tuple(children.foreign.values()),
            subject=children.descriptor(document["subject"], "subject") if document.get("subject") else None,
            config_media_type=_text(config.get("mediaType")) if isinstance(config, dict) else None,
            artifact_type=_text(document.get("artifactType")),
        )


class _Children:
    """Collects the references of a manifest; in a format that we do not know, what is no descriptor is passed by."""

    def __init__(self, *, strict: bool) -> None:
        self.manifests: dict[str, Descriptor] = {}
        self.blobs: dict[str, Descriptor] = {}
        self.foreign: dict[str, Descriptor] = {}
        self._strict = strict
        self._count = 0

    def read(self, document: dict[str, Any]) -> None:
        for entry in self._entries(document, "manifests"):
            self._add_listed(self.descriptor(entry, "manifests", media_types.OCI_MANIFEST))
        for name in ("layers", "blobs"):
            for entry in self._entries(document, name):
                self._add(self.descriptor(entry, name))
        if document.get("config") is not None:
            self._add(self.descriptor(document["config"], "config"))
        for entry in self._entries(document, "fsLayers"):
            digest = entry.get("blobSum") if isinstance(entry, dict) else None
            self._add(self.descriptor({"digest": digest}, "fsLayers", sized=False))

    def descriptor(self, entry: object, place: str, missing_type: str = "", *, sized: bool = True) -> Descriptor | None:
        fields = entry if isinstance(entry, dict) else {}
        digest, size = fields.get("digest"), fields.get("size")
        media_type = _text(fields.get("mediaType")) or missing_type or media_types.OCTET_STREAM
        sound_size = isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= SIZE_MOST
        if isinstance(digest, str) and is_digest(digest) and (sound_size or not sized):
            return Descriptor(media_type, digest, size if sized else None, _text(fields.get("artifactType")))
        if self._strict:
            raise InvalidManifest(f"what {place} holds is no descriptor (digest {digest!r:.150}, size {size!r:.30})")
        return None

    def _entries(self, document: dict[str, Any], name: str) -> Iterable[object]:
        entries = document.get(name)
        if entries is None:
            return ()
        if not isinstance(entries, list):
            if self._strict:
                raise InvalidManifest(f"{name} is not a list")
            return ()
        self._count += len(entries)
        if self._count > CHILDREN_LIMIT:
            raise InvalidManifest(f"more than {CHILDREN_LIMIT} references in one manifest")
        return entries

    def _add_listed(self, child: Descriptor | None) -> None:
        if child is not None and media_types.may_be_manifest(child.media_type):
            self.manifests.setdefault(child.digest, child)
        else:
            self._add(child)

    def _add(self, child: Descriptor | None) -> None:
        if child is None:
            return
        if media_types.is_foreign_layer(child.media_type):
            self.foreign.setdefault(child.digest, child)
        else:
            self.blobs.setdefault(child.digest, child)


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = read_json(data)
    except ValueError as error:
        raise InvalidManifest(f"a manifest that is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidManifest("a manifest that is not a JSON object")
    return document


def _media_type(content_type: str | None, document: dict[str, Any]) -> str:
    stated = media_types.essence(content_type)
    if media_types.is_generic(stated):
        stated = _text(document.get("mediaType")) or _guess(document)
    # It becomes a header of the push.
    if _MEDIA_TYPE.fullmatch(stated) is None:
        raise InvalidManifest(f"a manifest whose media type is none: {stated!r:.100}")
    return stated


def _guess(document: dict[str, Any]) -> str:
    if document.get("schemaVersion") == 1:
        return media_types.DOCKER_SCHEMA1_SIGNED if "signatures" in document else media_types.DOCKER_SCHEMA1
    if isinstance(document.get("manifests"), list):
        return media_types.OCI_INDEX
    if isinstance(document.get("layers"), list) or isinstance(document.get("config"), dict):
        return media_types.OCI_MANIFEST
    if isinstance(document.get("blobs"), list):
        return media_types.OCI_ARTIFACT
    raise InvalidManifest("neither Content-Type nor content tells what kind of manifest this is")


def _schema1_payload(data: bytes, document: dict[str, Any]) -> bytes:
    """Return what the signatures of a schema 1 manifest cover, which is what its digest is taken over."""
    signatures = document.get("signatures")
    if not signatures:
        return data
    try:
        protected = read_json(_unpadded(signatures[0]["protected"]))
        length, tail = protected["formatLength"], _unpadded(protected["formatTail"])
        if not isinstance(length, int) or not 0 <= length <= len(data):
            raise ValueError(length)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise InvalidManifest("a schema 1 manifest whose signature cannot be read") from None
    return data[:length] + tail


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
