"""Content: the repositories of an OCI 1.1 registry in memory, by the rules of the distribution specification."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.images import DOCKER_LIST, OCI_INDEX

#: Hexadecimal digits of the digests that are taken.
ALGORITHMS = {"sha256": 64, "sha512": 128}

_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_HEX = re.compile(r"[0-9a-f]+")


class Refused(Exception):
    """A request that the registry answers with an error, in the form that the specification gives errors."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        #: Of the answer, beside its type.
        self.headers = headers or {}

    @property
    def body(self) -> bytes:
        return json.dumps({"errors": [{"code": self.code, "message": self.message, "detail": None}]}).encode()


@dataclass
class Features:
    """What this registry can do. A test, or an emulator of some cloud's registry, switches it off and on."""

    #: The referrers API, and the OCI-Subject header that announces it.
    referrers: bool = True
    #: Take an index although children of it are missing.
    sparse: bool = False
    #: Take a manifest although blobs of it are missing.
    missing_blobs: bool = False
    mount: bool = True
    delete: bool = True
    #: Delete a tag alone; without it only digests can be deleted.
    tag_delete: bool = True
    #: Manifests by sha512 digest. Blobs are always taken.
    sha512_manifests: bool = True
    #: The catalog, which is Docker's and not in the specification.
    catalog: bool = True
    #: The most entries of a page, of tags, repositories and referrers alike.
    page_size: int = 1000
    #: Bytes.
    manifest_limit: int = 4 * 1024 * 1024
    #: Whether a media type is taken for a manifest; the specification wants no limits.
    takes: Callable[[str], bool] = lambda _media_type: True


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest as it was pushed."""

    data: bytes = field(repr=False)
    media_type: str
    digest: str

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.data)
        return document

    @property
    def subject(self) -> str | None:
        subject = self.document.get("subject")
        return str(subject["digest"]) if isinstance(subject, dict) else None

    def described(self) -> dict[str, Any]:
        """The descriptor in a list of referrers (distribution-spec, "Listing Referrers")."""
        document = self.document
        entry: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}
        config = document.get("config")
        artifact_type = document.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else None)
        if artifact_type:
            entry["artifactType"] = artifact_type
        if document.get("annotations"):
            entry["annotations"] = document["annotations"]
        return entry


class Repository:
    """One repository. Not locked: whoever serves it lets one request in at a time."""

    def __init__(self, features: Features) -> None:
        self.features = features
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, Stored] = {}
        self.tags: dict[str, str] = {}

    def manifest(self, reference: str) -> Stored:
        """The manifest behind a tag or digest."""
        stored = self.manifests.get(self.tags.get(reference, reference))
        if stored is None:
            raise Refused(404, "MANIFEST_UNKNOWN", f"no manifest {reference}")
        return stored

    def put_manifest(self, reference: str, data: bytes, media_type: str) -> Stored:
        """Store it, under a tag if `reference` is one."""
        if len(data) > self.features.manifest_limit:
            raise Refused(413, "SIZE_INVALID", f"a manifest of {len(data)} bytes")
        if not media_type or not self.features.takes(media_type):
            raise Refused(400, "MANIFEST_INVALID", f"the media type {media_type!r} is not taken")
        if not is_digest(reference) and _TAG.fullmatch(reference) is None:
            raise Refused(400, "MANIFEST_INVALID", f"{reference!r} is neither tag nor digest")
        stored = Stored(data, media_type, self._digest(reference, data))
        self._check(stored)
        self.manifests[stored.digest] = stored
        if not is_digest(reference):
            self.tags[reference] = stored.digest
        return stored

    def delete_manifest(self, reference: str) -> None:
        """Delete a tag alone, or a manifest with all its tags."""
        if not self.features.delete or not (is_digest(reference) or self.features.tag_delete):
            raise Refused(405, "UNSUPPORTED", "deletion is switched off")
        stored = self.manifest(reference)
        if reference in self.tags:
            del self.tags[reference]
            return
        del self.manifests[stored.digest]
        self.tags = {tag: digest for tag, digest in self.tags.items() if digest != stored.digest}

    def blob(self, digest: str) -> bytes:
        if digest not in self.blobs:
            raise Refused(404, "BLOB_UNKNOWN", f"no blob {digest}")
        return self.blobs[digest]

    def put_blob(self, digest: str, data: bytes) -> None:
        if not is_digest(digest) or digest_of(data, digest) != digest:
            raise Refused(400, "DIGEST_INVALID", f"what was sent is not {digest}")
        self.blobs[digest] = data

    def delete_blob(self, digest: str) -> None:
        if not self.features.delete:
            raise Refused(405, "UNSUPPORTED", "deletion is switched off")
        self.blob(digest)
        del self.blobs[digest]

    def referrers(self, digest: str, artifact_type: str | None = None) -> list[dict[str, Any]]:
        """Descriptors of the manifests whose subject is `digest`, which need not be there itself."""
        if not is_digest(digest):
            raise Refused(400, "DIGEST_INVALID", f"{digest!r} is no digest")
        found = [stored.described() for stored in self.manifests.values() if stored.subject == digest]
        return [entry for entry in found if artifact_type in (None, entry.get("artifactType"))]

    def _digest(self, reference: str, data: bytes) -> str:
        if not is_digest(reference):
            return digest_of(data)
        if not (reference.startswith("sha256:") or self.features.sha512_manifests):
            raise Refused(400, "DIGEST_INVALID", "manifests are known by sha256 alone")
        if digest_of(data, reference) != reference:
            raise Refused(400, "DIGEST_INVALID", f"what was sent is not {reference}")
        return reference

    def _check(self, stored: Stored) -> None:
        try:
            document = stored.document
            stated = document.get("mediaType")
        except (ValueError, AttributeError):
            raise Refused(400, "MANIFEST_INVALID", "no JSON object") from None
        if stated is not None and stated != stored.media_type:
            raise Refused(400, "MANIFEST_INVALID", f"{stated} was sent as {stored.media_type}")
        if stored.media_type in (OCI_INDEX, DOCKER_LIST):
            # By place and not by type: an index may hold anything that is there.
            missing = [] if self.features.sparse else self._lacks(document.get("manifests"), anything=True)
        else:
            named = [document.get("config"), *(document.get("layers") or ()), *(document.get("blobs") or ())]
            missing = [] if self.features.missing_blobs else self._lacks([entry for entry in named if entry])
        if missing:
            raise Refused(400, "MANIFEST_BLOB_UNKNOWN", f"not here: {', '.join(missing)[:200]}")

    def _lacks(self, entries: Sequence[Mapping[str, Any]] | None, *, anything: bool = False) -> list[str]:
        held = self.blobs.keys() | (self.manifests.keys() if anything else set())
        # A layer that lives elsewhere says where.
        return [entry["digest"] for entry in entries or () if entry["digest"] not in held and not entry.get("urls")]


def is_digest(text: str) -> bool:
    """Whether this is a digest that the registry can verify."""
    algorithm, _, encoded = text.partition(":")
    return len(encoded) == ALGORITHMS.get(algorithm) and _HEX.fullmatch(encoded) is not None


def digest_of(data: bytes, like: str = "sha256:") -> str:
    """The digest of `data` by the algorithm of the digest `like`."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def page(names: Iterator[str], last: str | None, size: int) -> tuple[list[str], bool]:
    """The names after `last`, at most `size`, in order, and whether there are more."""
    following = sorted(name for name in names if last is None or name > last)
    return following[:size], len(following) > size
