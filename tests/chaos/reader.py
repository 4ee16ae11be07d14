"""A registry read by plain HTTP, without the application's client: whole listings, and every byte."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import requests

from tests.support.registries import Registry

#: What a client that knows every format accepts.
ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)

#: Seconds that a registry gets for an answer, and repositories and tags asked for at a time.
_TIMEOUT = 60
_PAGE = 100


class Unreadable(Exception):
    """A registry gave no usable answer; nothing can be said about what it holds."""


class Reader:
    """Reads one registry by plain HTTP, over one connection: `with Reader(registry) as reader: ...`."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._session = requests.Session()
        self._session.trust_env = False
        self._granted: dict[str, Mapping[str, str]] = {}

    def repositories(self) -> list[str]:
        """All repositories, by the whole paged catalog."""
        found: list[str] = []
        for page in self._pages(f"/v2/_catalog?n={_PAGE}", "registry:catalog:*"):
            found += page["repositories"] or []
        return found

    def tags(self, repository: str) -> list[str]:
        """All tags of a repository, by the whole paged listing; none of one that is not there."""
        found: list[str] = []
        for page in self._pages(f"/v2/{repository}/tags/list?n={_PAGE}", f"repository:{repository}:pull"):
            found += page["tags"] or []
        return found

    def manifest(self, repository: str, reference: str) -> tuple[bytes, str] | None:
        """Bytes and media type, or None if it is not there."""
        answer = self._get(f"/v2/{repository}/manifests/{reference}", f"repository:{repository}:pull")
        if answer is None:
            return None
        return answer.content, answer.headers["Content-Type"].partition(";")[0].strip()

    def blob(self, repository: str, digest: str) -> tuple[str, int] | None:
        """The digest of the bytes, by the algorithm of `digest`, and their number; None if it is not there."""
        answer = self._get(f"/v2/{repository}/blobs/{digest}", f"repository:{repository}:pull", stream=True)
        if answer is None:
            return None
        algorithm = digest.partition(":")[0]
        hashed, size = hashlib.new(algorithm), 0
        with answer:
            for piece in answer.iter_content(1 << 20):
                hashed.update(piece)
                size += len(piece)
        return f"{algorithm}:{hashed.hexdigest()}", size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def _pages(self, path: str, scope: str) -> Iterator[dict[str, Any]]:
        following: str | None = path
        while following is not None:
            answer = self._get(following, scope)
            if answer is None:
                return
            yield answer.json()
            link = re.match(r'<([^>]*)>; *rel="next"', answer.headers.get("Link", ""))
            following = re.sub(r"^https?://[^/]*", "", link.group(1)) if link else None

    def _get(self, path: str, scope: str, *, stream: bool = False) -> requests.Response | None:
        url = self.registry.url + path
        answer = self._ask(url, scope, stream)
        if answer.status_code == 401:
            # The token that was asked for first has run out.
            del self._granted[scope]
            answer = self._ask(url, scope, stream)
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise Unreadable(f"GET {url}: {answer.status_code} {answer.text[:300]}")
        return answer

    def _ask(self, url: str, scope: str, stream: bool) -> requests.Response:
        if scope not in self._granted:
            self._granted[scope] = self.registry.authorization(scope)
        headers = {"Accept": ACCEPT, "Accept-Encoding": "identity", **self._granted[scope]}
        try:
            return self._session.get(url, headers=headers, timeout=_TIMEOUT, stream=stream, verify=self.registry.verify)
        except requests.RequestException as error:
            raise Unreadable(f"GET {url}: {error}") from error
