"""RegistryClient: the OCI distribution API of one registry.

Source: the OCI distribution specification 1.1, and what registries do beside it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType

import requests

from app.registry import blobs, listing
from app.registry.auth import Authenticator, Scope
from app.registry.blob_stream import BlobStream
from app.registry.blobs import Upload
from app.registry.connections import Deadline
from app.registry.endpoint import Endpoint, Observer
from app.registry.errors import DigestMismatch, NotFound, Unsupported
from app.registry.limits import Limiter, Meter
from app.registry.listing import CatalogPage
from app.registry.manifests import SIZE_LIMIT, Descriptor, Manifest
from app.registry.manners import Manners
from app.registry.media_types import ACCEPT, essence, is_generic
from app.registry.references import (
    Digest,
    is_digest,
    require_digest,
    require_reference,
    require_repository,
)
from app.registry.transport import Redirects, Transport, discard, read


class RegistryClient:
    """One registry as one account sees it. Shared by threads; connections are kept alive between requests.

    Every operation raises a `RegistryError`, and an error is never an answer: no listing is cut short, no digest made
    up. Nothing is tried twice but one refused with 401, and one that reads, pushes a manifest or begins an upload over
    a kept-alive connection that turns out dead.

    `actions` is the most that is ever asked of the registry; an operation that needs more raises `ActionNotAllowed`
    and sends nothing. `read_timeout` is idle time, in seconds, in both directions; there is no total limit but where a
    `total_timeout` is given. `ca_path` (file or directory) replaces the system's trust. `observe` is told of every
    request-making operation. `limiter` and `meter` hold the client back (app.registry.limits). `manners` say how this
    registry wants to be asked. `token_hosts` may be the registry's token service wherever they are
    (app.registry.realms).
    """

    def __init__(
        self,
        url: str,
        authenticator: Authenticator,
        *,
        ca_path: str | None = None,
        connect_timeout: float = 10.0,
        read_timeout: float = 60.0,
        pool_size: int = 32,
        user_agent: str = "geo-registry",
        actions: tuple[str, ...] = ("pull",),
        observe: Observer | None = None,
        limiter: Limiter | None = None,
        meter: Meter | None = None,
        manners: Manners | None = None,
        token_hosts: Iterable[str] = (),
    ) -> None:
        self._transport = Transport(
            ca_path=ca_path,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            pool_size=pool_size,
            user_agent=user_agent,
        )
        self._endpoint = Endpoint(
            url,
            authenticator,
            self._transport,
            actions=actions,
            observe=observe,
            limiter=limiter,
            meter=meter,
            manners=manners,
            token_hosts=token_hosts,
        )

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    @property
    def name(self) -> str:
        """Host and port, for messages."""
        return self._endpoint.name

    def roomy(self) -> bool:
        """Tell whether requests that could be done without are welcome now."""
        return self._endpoint.limiter.roomy()

    def ping(self) -> None:
        """Make sure that a registry answers at the URL and accepts who we are."""
        with self._endpoint.observed("ping"):
            discard(self._endpoint.call("GET", self._endpoint.root, Scope(), resend=True))

    def get_manifest(self, repository: str, reference: str) -> Manifest:
        """Return the manifest behind a tag or digest, its digest computed from its bytes.

        Raises `NotFound`, `DigestMismatch` (not what was asked, or not what the registry says it is), `TooLarge`
        and `InvalidManifest`.
        """
        with self._endpoint.observed("get_manifest"):
            return self._get_manifest(repository, reference, None)

    def head_manifest(self, repository: str, reference: str) -> Descriptor:
        """Return type, digest and size of the manifest behind a tag or digest.

        Fetches and hashes the manifest when the registry does not say a digest that can be used. A `NotFound`
        is never witnessed here: an answer to HEAD has no body.
        """
        with self._endpoint.observed("head_manifest"):
            return self._head_manifest(repository, reference, None)

    def standing(self, repository: str, reference: str) -> str | None:
        """Return the digest that a tag, or a digest, stands on; None only where the registry itself says on none.

        Raises `NotFound` for any other 404.
        """
        try:
            return self.head_manifest(repository, reference).digest
        except NotFound:
            try:
                # An answer to HEAD has no body, and so no word of the registry's own.
                return self.get_manifest(repository, reference).digest
            except NotFound as error:
                error.require_witness()
                return None

    def put_manifest(
        self, repository: str, reference: str, manifest: Manifest, *, total_timeout: float | None = None
    ) -> str:
        """Push the manifest's bytes under a tag or digest, and return the digest that the registry has it under.

        `total_timeout`, in seconds, limits the whole of it, renewed tokens and all: past it the connection is reset,
        nothing more is sent and `TimedOut` raised. Raises `DigestMismatch` when the registry made other content of it.
        """
        with self._endpoint.observed("put_manifest"), _limit(total_timeout) as deadline:
            response = self._endpoint.call(
                "PUT",
                self._manifest_url(repository, reference),
                self._endpoint.scope(repository, "pull", "push"),
                expect=(201, 200),
                headers={"Content-Type": manifest.media_type},
                body=manifest.data,
                resend=True,
                deadline=deadline,
            )
            read(response, SIZE_LIMIT, deadline=deadline)
            stored = _stated_digest(response)
            if stored is None:
                stored = self._head_manifest(repository, reference, deadline).digest
            if Digest.differs(stored, manifest.digest):
                raise DigestMismatch(
                    f"the registry stored {stored}, sent was {manifest.digest}",
                    method="PUT",
                    url=response.url,
                )
            return stored

    def delete_manifest(self, repository: str, reference: str, *, total_timeout: float | None = None) -> None:
        """Delete a tag (where the registry can) or a manifest with all its tags, by digest.

        `total_timeout` as for `put_manifest`. Raises `NotFound` when it is not there, `Unsupported` when deletion is
        switched off, `Rejected` (DIGEST_INVALID) for a tag on Distribution 2.x.
        """
        with self._endpoint.observed("delete_manifest"), _limit(total_timeout) as deadline:
            self._delete(repository, reference, deadline)

    def in_chunks(self, size: int | None) -> bool:
        """Tell whether a blob of this size is sent in chunks; it may be from when one was refused as too large."""
        return self._endpoint.in_chunks(size)

    def list_tags(self, repository: str, page_size: int | None = None) -> list[str]:
        """Return all tags of the repository, complete or an error. No page is larger than the registry likes.

        Raises `InvalidResponse` for anything that is no well-formed listing, `NotFound` when there is no such
        repository.
        """
        with self._endpoint.observed("list_tags"):
            return listing.list_tags(self._endpoint, require_repository(repository), self._page(page_size))

    def tags_or_none(self, repository: str) -> list[str] | None:
        """Return all tags as `list_tags` does; None only where the registry itself says that it has no such repository.

        Raises `NotFound` for any other 404.
        """
        try:
            return self.list_tags(repository)
        except NotFound as error:
            error.require_witness()
            return None

    def list_repositories(self, page_size: int = 1000) -> Iterator[str]:
        """Yield the names of all repositories (the catalog); an error in the middle means that it is not complete."""
        for page in self.catalog(page_size):
            yield from page.repositories

    def catalog(self, page_size: int = 1000, after: str | None = None) -> Iterator[CatalogPage]:
        """Yield the catalog page by page, from its beginning or `after` an earlier page (its `following`).

        An error in the middle means that it is not complete. A registry may refuse an old `after`, with any 4xx.
        """
        with self._endpoint.observed("list_repositories"):
            yield from listing.catalog(self._endpoint, self._page(page_size), after)

    def referrers(self, repository: str, digest: str) -> list[Descriptor] | None:
        """Return the manifests whose subject is this digest; None where the registry has no referrers API.

        Raises `NotFound`, witnessed, where it calls the repository or manifest unknown: some with the API say so of a
        subject that is not there, and some without it of everything.
        """
        with self._endpoint.observed("referrers"):
            return listing.referrers(self._endpoint, require_repository(repository), require_digest(digest))

    def head_blob(self, repository: str, digest: str) -> int | None:
        """Return the blob's size in bytes as the registry says, None when it says 404.

        No proof that the blob can be read (see `blob_present`).
        """
        with self._endpoint.observed("head_blob"):
            return blobs.head_blob(self._endpoint, require_repository(repository), require_digest(digest))

    def open_blob(
        self, repository: str, digest: str, offset: int = 0, end: int | None = None, *, size: int | None = None
    ) -> BlobStream:
        """Start reading a blob at `offset`, which must be below its size, to `end` (exclusive) or its own end.

        Where the registry cannot do ranges the stream starts at 0: look at its `offset`. It may end before `end`: look
        at its own. Redirects are followed without credentials. `size` is the whole blob's, for the limiter.
        """
        with self._endpoint.observed("open_blob"):
            return blobs.open_blob(
                self._endpoint, require_repository(repository), require_digest(digest), offset, end, size=size
            )

    def blob_present(self, repository: str, digest: str, size: int | None) -> bool:
        """Tell whether the blob can really be read and has this size, if one is given, by asking for one byte of it."""
        with self._endpoint.observed("blob_present"):
            return blobs.blob_present(self._endpoint, require_repository(repository), require_digest(digest), size)

    def start_upload(
        self, repository: str, mount: str | None = None, from_repository: str | None = None
    ) -> Upload | None:
        """Begin the upload of a blob, or mount it from another repository of this registry: None means mounted.

        A mount that is refused gives a plain upload.
        """
        if mount is not None:
            require_digest(mount)
        if from_repository is not None:
            require_repository(from_repository)
        with self._endpoint.observed("start_upload"):
            return blobs.start_upload(self._endpoint, require_repository(repository), mount, from_repository)

    def supports_delete(self, repository: str) -> bool:
        """Tell whether manifests can be deleted here, by deleting one that does not exist.

        Raises `NotFound` for a 404 that is not the registry's own word: a proxy's says nothing of what is behind it.
        """
        with self._endpoint.observed("supports_delete"):
            try:
                self._delete(repository, Digest.of(secrets.token_bytes(32)), None)
            except NotFound as error:
                error.require_witness()
                return True
            except Unsupported:
                return False
            return True

    def _page(self, size: int | None) -> int:
        largest = self._endpoint.manners.page_size
        return largest if size is None else min(size, largest)

    def _get_manifest(self, repository: str, reference: str, deadline: Deadline | None) -> Manifest:
        response = self._endpoint.call(
            "GET",
            self._manifest_url(repository, reference),
            self._endpoint.scope(repository, "pull"),
            headers={"Accept": ACCEPT},
            redirects=Redirects.SAFE,
            resend=True,
            deadline=deadline,
        )
        data = read(response, SIZE_LIMIT, deadline=deadline)
        stated = _stated_digest(response)
        asked = reference if is_digest(reference) else stated
        manifest = Manifest.parse(data, response.headers.get("Content-Type"), asked)
        if stated is not None and Digest.differs(stated, manifest.digest):
            raise DigestMismatch(
                f"the manifest hashes to {manifest.digest}, the registry says {stated}",
                method="GET",
                url=response.url,
            )
        return manifest

    def _head_manifest(self, repository: str, reference: str, deadline: Deadline | None) -> Descriptor:
        response = self._endpoint.call(
            "HEAD",
            self._manifest_url(repository, reference),
            self._endpoint.scope(repository, "pull"),
            headers={"Accept": ACCEPT},
            redirects=Redirects.SAFE,
            resend=True,
            deadline=deadline,
        )
        discard(response)
        stated = _stated_digest(response)
        if stated is not None and is_digest(reference) and Digest.differs(stated, reference):
            raise DigestMismatch(f"the registry says {stated}, asked was {reference}", method="HEAD", url=response.url)
        media_type = essence(response.headers.get("Content-Type"))
        length = response.headers.get("Content-Length", "")
        comparable = not is_digest(reference) or stated == reference
        if stated is None or not comparable or is_generic(media_type) or not length.isdecimal():
            return self._get_manifest(repository, reference, deadline).descriptor
        return Descriptor(media_type, stated, int(length))

    def _delete(self, repository: str, reference: str, deadline: Deadline | None) -> None:
        response = self._endpoint.call(
            "DELETE",
            self._manifest_url(repository, reference),
            self._endpoint.scope(repository, "delete"),
            expect=(200, 202, 204),
            deadline=deadline,
        )
        discard(response)

    def _manifest_url(self, repository: str, reference: str) -> str:
        return self._endpoint.url(f"{require_repository(repository)}/manifests/{require_reference(reference)}")


def _limit(seconds: float | None) -> AbstractContextManager[Deadline | None]:
    return nullcontext() if seconds is None else Deadline(seconds)


def _stated_digest(response: requests.Response) -> str | None:
    """The digest that the registry says, if it is one that we can compute too."""
    stated = response.headers.get("Docker-Content-Digest", "").strip()
    return stated if Digest.supported(stated) else None
