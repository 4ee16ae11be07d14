"""What is copied: images pushed to the primary, and the proof that a destination has them."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support import images
from tests.support.images import Blob, Image
from tests.support.registries import DistributionRegistry
from tests.support.wire import ACCEPT

MIB = 1024 * 1024

_OCTETS = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag with the digests of all that is below it."""

    repository: str
    name: str
    digest: str
    media_type: str
    manifests: frozenset[str]
    blobs: frozenset[str]

    @classmethod
    def of(cls, repository: str, name: str, image: Image, blobs: frozenset[str] | None = None) -> Tag:
        """`blobs` are those that were pushed by another way than with the image."""
        parts = list(image.walk())
        held = frozenset(blob.digest for part in parts for blob in part.blobs) | (blobs or frozenset())
        return cls(repository, name, image.digest, image.media_type, frozenset(part.digest for part in parts), held)


@dataclass(slots=True)
class Corpus:
    """Tags that are on the primary."""

    tags: list[Tag] = field(default_factory=list)
    #: Bytes of the blobs, each counted once, which is what a registry's storage takes.
    size: int = 0

    @property
    def repositories(self) -> list[str]:
        return sorted({tag.repository for tag in self.tags})

    @property
    def listings(self) -> int:
        """Requests that find out what there is: the catalog, and one listing of each repository."""
        return 1 + len(self.repositories)

    @property
    def least_cold(self) -> int:
        """The fewest requests that bring all of it: listings, each manifest once, each blob once."""
        manifests = {(tag.repository, digest) for tag in self.tags for digest in tag.manifests}
        return self.listings + len(manifests) + len({blob for tag in self.tags for blob in tag.blobs})

    @property
    def least_unchanged(self) -> int:
        """The fewest that find that nothing changed: a listing names tags without digests."""
        return self.listings + len(self.tags)


class Client:
    """`with Client(registry) as client: ...`: one kept-alive connection to an open registry."""

    def __init__(self, registry: DistributionRegistry) -> None:
        self._host = registry.host
        self._connection = http.client.HTTPConnection("127.0.0.1", registry.port, timeout=60)

    def push(self, repository: str, name: str | None, image: Image) -> None:
        """Push the image with all below it; `name` None leaves it without a tag."""
        for part in image.walk():
            for blob in part.blobs:
                self.push_blob(repository, blob)
            self.push_manifest(repository, (name or part.digest) if part is image else part.digest, part)

    def push_blob(self, repository: str, blob: Blob) -> None:
        location = self._upload(repository)
        self._expect(201, "PUT", _with_digest(location, blob.digest), blob.data, _OCTETS)

    def push_manifest(self, repository: str, reference: str, image: Image) -> None:
        headers = {"Content-Type": image.media_type}
        self._expect(201, "PUT", f"/v2/{repository}/manifests/{reference}", image.manifest, headers)

    def push_layer(self, repository: str, size: int) -> tuple[dict[str, object], str]:
        """Make a layer of about `size` bytes while it is sent; return its descriptor and its diff id."""
        location = self._upload(repository)
        whole, plain, sent = hashlib.sha256(), hashlib.sha256(), 0

        def packed() -> Iterator[bytes]:
            # A gzip stream of stored blocks: skopeo compresses what is not compressed, and nobody should spend
            # minutes on deflating random bytes.
            packer = zlib.compressobj(0, zlib.DEFLATED, 31)
            for piece in _archive(size):
                plain.update(piece)
                yield packer.compress(piece)
            yield packer.flush()

        def counted() -> Iterator[bytes]:
            nonlocal sent
            for chunk in filter(None, packed()):
                whole.update(chunk)
                sent += len(chunk)
                yield chunk

        self._connection.request("PATCH", location, counted(), _OCTETS, encode_chunked=True)
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != 202:
            raise RuntimeError(f"PATCH of a layer: {answer.status}")
        digest = f"sha256:{whole.hexdigest()}"
        self._expect(201, "PUT", _with_digest(answer.headers["Location"], digest), b"", _OCTETS)
        descriptor = {"mediaType": images.OCI_LAYER, "digest": digest, "size": sent}
        return descriptor, f"sha256:{plain.hexdigest()}"

    def fetch(self, repository: str, reference: str) -> bytes | None:
        """The manifest's bytes, None if it is not there."""
        headers = {"Accept": ACCEPT}
        status, body, _ = self._request("GET", f"/v2/{repository}/manifests/{reference}", None, headers)
        return body if status == 200 else None

    def has_blob(self, repository: str, digest: str) -> bool:
        return self._request("HEAD", f"/v2/{repository}/blobs/{digest}", None, {})[0] == 200

    def missing(self, corpus: Corpus) -> list[str]:
        """Tags that are not there as they should be: bytes of the manifests, presence of the blobs."""
        return [f"{tag.repository}:{tag.name}" for tag in corpus.tags if not self._holds(tag)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def _holds(self, tag: Tag) -> bool:
        for digest in tag.manifests:
            body = self.fetch(tag.repository, tag.name if digest == tag.digest else digest)
            if body is None or images.sha256(body) != digest:
                return False
        return all(self.has_blob(tag.repository, digest) for digest in tag.blobs)

    def _upload(self, repository: str) -> str:
        _, _, headers = self._expect(202, "POST", f"/v2/{repository}/blobs/uploads/", None, {})
        return headers["Location"]

    def _expect(
        self, status: int, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        answer = self._request(method, target, body, headers)
        if answer[0] != status:
            raise RuntimeError(f"{method} {target}: {answer[0]} {answer[1][:200]!r}")
        return answer

    def _request(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        self._connection.request(method, target.removeprefix(f"http://{self._host}"), body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read(), answer.headers


def shared_base(
    primary: DistributionRegistry, repositories: int, tags: int, *, base: int = 4 * MIB, own: int = MIB // 4
) -> Corpus:
    """Push `repositories` x `tags` images that share a base layer of `base` bytes and have two of `own` bytes."""
    corpus = Corpus(size=base + repositories * tags * 2 * own)
    with Client(primary) as client:
        layer = Blob(images.layer(base))
        for repository in (f"bench/app-{number:02}" for number in range(repositories)):
            client.push_blob(repository, layer)
            for name in (f"v{number}" for number in range(tags)):
                corpus.tags.append(push_on(client, repository, name, layer, own))
    return corpus


def push_on(client: Client, repository: str, name: str, base: Blob, own: int) -> Tag:
    """Push an image of two new layers of `own` bytes on a base that the repository has."""
    layers = [Blob(images.layer(own)) for _ in range(2)]
    image = images.image([base, *layers])
    for blob in image.blobs:
        if blob.digest != base.digest:
            client.push_blob(repository, blob)
    client.push_manifest(repository, name, image)
    return Tag.of(repository, name, image)


def large(primary: DistributionRegistry, names: Sequence[str], layers: int, size: int) -> Corpus:
    """Push one image, tag `v1`, of so many layers of about `size` bytes each to every repository."""
    corpus = Corpus(size=len(names) * layers * size)
    with Client(primary) as client:
        for repository in names:
            pushed = [client.push_layer(repository, size) for _ in range(layers)]
            config = Blob(_config([diff_id for _, diff_id in pushed]), images.OCI_CONFIG)
            client.push_blob(repository, config)
            document = {
                "schemaVersion": 2,
                "mediaType": images.OCI_MANIFEST,
                "config": config.descriptor,
                "layers": [descriptor for descriptor, _ in pushed],
            }
            image = images.raw(document, images.OCI_MANIFEST, [config])
            client.push_manifest(repository, "v1", image)
            held = frozenset(str(descriptor["digest"]) for descriptor, _ in pushed)
            corpus.tags.append(Tag.of(repository, "v1", image, held))
    return corpus


def _archive(size: int) -> Iterator[bytes]:
    """A tar of one file that does not compress, in pieces."""
    member = tarfile.TarInfo("data")
    member.size = size // MIB * MIB
    yield member.tobuf()
    block = os.urandom(MIB)
    for number in range(member.size // MIB):
        yield number.to_bytes(16, "big") + block[16:]
    yield bytes(2 * tarfile.BLOCKSIZE)


def _config(diff_ids: Sequence[str]) -> bytes:
    rootfs = {"type": "layers", "diff_ids": list(diff_ids)}
    created = "2026-01-01T00:00:00Z"
    return json.dumps({"architecture": "amd64", "os": "linux", "created": created, "rootfs": rootfs}).encode()


def _with_digest(location: str, digest: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"
