"""Pushing to and pulling from a registry by plain HTTP, without the application's client.

Every call opens and closes its own connection and asks for its own token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import requests

from tests.support.images import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    SCHEMA1,
    SCHEMA1_SIGNED,
    Image,
    raw,
    sha256,
)
from tests.support.registries import Registry

#: Distribution calls a manifest unknown whose type is not accepted.
ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST, SCHEMA1_SIGNED, SCHEMA1))

TIMEOUT = 30


class WireError(Exception):
    """A registry answered what the test did not ask for."""

    def __init__(self, method: str, url: str, answer: requests.Response) -> None:
        super().__init__(f"{method} {url}: {answer.status_code} {answer.text[:500]}")
        self.status = answer.status_code
        self.body = answer.text


class Fetched(NamedTuple):
    """A manifest as the registry gave it."""

    body: bytes
    media_type: str
    #: Of `body`, computed here.
    digest: str


def push(registry: Registry, repository: str, tag: str | None, image: Image, *, token: str | None = None) -> str:
    """Push `image` and everything below it, and return its digest.

    :param tag: None pushes it by its digest alone; a digest too.
    :param token: a bearer token in place of one that is made for the registry.
    """
    for part in image.walk():
        for blob in part.blobs:
            if blob.pushed:
                push_blob(registry, repository, blob.data, digest=blob.digest, token=token)
        reference = (tag or part.digest) if part is image else part.digest
        push_manifest(registry, repository, reference, part, token=token)
    return image.digest


def push_blob(
    registry: Registry, repository: str, data: bytes, *, digest: str | None = None, token: str | None = None
) -> str:
    """Upload a blob by POST and one PUT, whether or not it is there, and return its digest."""
    scope = f"repository:{repository}:pull,push"
    started = _request(registry, "POST", f"/v2/{repository}/blobs/uploads/", scope, token=token)
    location = started.headers["Location"]
    digest = digest or sha256(data)
    _request(
        registry,
        "PUT",
        f"{location}{'&' if '?' in location else '?'}digest={digest}",
        scope,
        token=token,
        data=data,
        headers={"Content-Type": "application/octet-stream"},
    )
    return digest


def push_manifest(
    registry: Registry, repository: str, reference: str, image: Image, *, token: str | None = None
) -> str:
    """Put the manifest alone and return its digest."""
    _request(
        registry,
        "PUT",
        f"/v2/{repository}/manifests/{reference}",
        f"repository:{repository}:pull,push",
        token=token,
        data=image.manifest,
        headers={"Content-Type": image.media_type},
    )
    return image.digest


def retag(registry: Registry, repository: str, reference: str, tag: str) -> str:
    """Give what `reference` names the further tag `tag`, and return its digest."""
    fetched = fetch(registry, repository, reference)
    return push_manifest(registry, repository, tag, raw(fetched.body, fetched.media_type))


def delete_tag(registry: Registry, repository: str, tag: str) -> None:
    """Delete the tag alone. Distribution 2.8 cannot: WireError with status 400."""
    _request(registry, "DELETE", f"/v2/{repository}/manifests/{tag}", f"repository:{repository}:delete,pull,push")


def delete_digest(registry: Registry, repository: str, digest: str) -> None:
    """Delete the manifest and with it every tag that points at it."""
    _request(registry, "DELETE", f"/v2/{repository}/manifests/{digest}", f"repository:{repository}:delete")


def delete_blob(registry: Registry, repository: str, digest: str) -> None:
    """Unlink the blob from the repository."""
    _request(registry, "DELETE", f"/v2/{repository}/blobs/{digest}", f"repository:{repository}:delete")


def fetch(registry: Registry, repository: str, reference: str, *, token: str | None = None) -> Fetched:
    """Return the manifest that `reference` (a tag or a digest) names; WireError with status 404 if none."""
    answer = _request(
        registry,
        "GET",
        f"/v2/{repository}/manifests/{reference}",
        f"repository:{repository}:pull",
        token=token,
        headers={"Accept": ACCEPT},
    )
    media_type = answer.headers["Content-Type"].partition(";")[0].strip()
    return Fetched(answer.content, media_type, sha256(answer.content))


def fetch_blob(registry: Registry, repository: str, digest: str) -> bytes:
    """Return the blob's bytes; WireError with status 404 if it is not there."""
    answer = _request(
        registry,
        "GET",
        f"/v2/{repository}/blobs/{digest}",
        f"repository:{repository}:pull",
        headers={"Accept-Encoding": "identity"},
    )
    return answer.content


def digest_of(registry: Registry, repository: str, reference: str) -> str | None:
    """Return the digest of what `reference` names, or None if it is not there.

    Or not yet: Distribution answers 500 to who asks just while it writes the file that a tag or digest is.
    """
    try:
        return fetch(registry, repository, reference).digest
    except WireError as error:
        if error.status in {404, 500}:
            return None
        raise


def tags(registry: Registry, repository: str) -> list[str]:
    """Return the repository's tags in order; none for a repository that the registry does not know."""
    path = f"/v2/{repository}/tags/list"
    try:
        answer = _request(registry, "GET", path, f"repository:{repository}:pull")
    except WireError as error:
        if error.status == 404:
            return []
        raise
    return sorted(answer.json()["tags"] or [])


def catalog(registry: Registry) -> list[str]:
    """Return the registry's repositories (the first 1000)."""
    answer = _request(registry, "GET", "/v2/_catalog?n=1000", "registry:catalog:*")
    return sorted(answer.json()["repositories"] or [])


def _request(
    registry: Registry,
    method: str,
    path: str,
    scope: str,
    *,
    token: str | None = None,
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> requests.Response:
    url = path if path.startswith(("http://", "https://")) else registry.url + path
    granted: Mapping[str, Any] = (
        registry.authorization(scope) if token is None else {"Authorization": f"Bearer {token}"}
    )
    with requests.Session() as session:
        session.trust_env = False
        answer = session.request(
            method, url, data=data, headers={**granted, **(headers or {})}, timeout=TIMEOUT, verify=registry.verify
        )
    if not answer.ok:
        raise WireError(method, url, answer)
    return answer
