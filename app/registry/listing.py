"""Listings: tags, repositories and referrers, whole or not at all.

Sources: OCI distribution specification, "Listing Tags" and "Listing Referrers"; for the catalog, which is not in it,
the API specification of CNCF Distribution; RFC 8288 for `Link`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import requests

from app.registry import media_types
from app.registry.auth import Scope
from app.registry.endpoint import Endpoint
from app.registry.errors import InvalidResponse, RegistryError, Unsupported
from app.registry.manifests import Descriptor
from app.registry.references import is_digest, is_repository, is_tag
from app.registry.transport import Redirects, read

#: The largest page in bytes; Distribution 2.8 lists all tags of a repository on one.
PAGE_BYTES = 64 * 1024 * 1024

#: The most pages of one listing.
PAGES_LIMIT = 10_000

#: Smaller page sizes tried when a registry says that one is too large; the last is to name none.
_SMALLER = (100, None)

_LINK = re.compile(r"<([^>]*)>([^<]*)")
_NEXT = re.compile(r"""(?:^|;)\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,]+))""", re.IGNORECASE)


def list_tags(endpoint: Endpoint, repository: str, page_size: int | None) -> list[str]:
    """Return all tags, each once, in the registry's order."""
    scope = endpoint.scope(repository, "pull")
    tags: dict[str, None] = {}
    for page in _pages(endpoint, f"{repository}/tags/list", scope, page_size):
        tags.update(dict.fromkeys(_names(page, "tags", is_tag)))
    return list(tags)


def list_repositories(endpoint: Endpoint, page_size: int | None) -> Iterator[str]:
    """Yield all repositories, each once, page by page; raises in the middle when a page is not right."""
    seen: set[str] = set()
    for page in _pages(endpoint, "_catalog", Scope.catalog(), page_size):
        for name in _names(page, "repositories", is_repository):
            if name not in seen:
                seen.add(name)
                yield name


def referrers(endpoint: Endpoint, repository: str, digest: str) -> list[Descriptor] | None:
    """Return what refers to the digest, or None where the registry has no such API.

    404 is how a registry without it answers (distribution-spec, "Unavailable Referrers API"), with or without
    JSON, so here it is no word on the repository.
    """
    scope = endpoint.scope(repository, "pull")
    found: dict[str, Descriptor] = {}
    try:
        for page in _pages(endpoint, f"{repository}/referrers/{digest}", scope, None):
            found.update((each.digest, each) for each in _descriptors(page))
    except Unsupported:
        return None
    except RegistryError as error:
        if error.status == 404 and not found:
            return None
        raise
    return list(found.values())


class _Page:
    """One page: the response that brought it and the JSON object that it is."""

    def __init__(self, endpoint: Endpoint, response: requests.Response) -> None:
        self._endpoint = endpoint
        self._response = response
        self.body = read(response, PAGE_BYTES)
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            raise self.wrong("a listing that is not JSON" if self.body else "a listing without a body") from None
        if not isinstance(document, dict):
            raise self.wrong("a listing that is not a JSON object")
        self.document: dict[str, Any] = document

    def next_url(self) -> str | None:
        """Return the URL of the next page. Only a link says that there is one: a short page does not mean the end."""
        link = _next_link(self._response.headers.get("Link", ""))
        if link is None:
            return None
        url = self._endpoint.resolve(self._response.url, link)
        if not self._endpoint.is_own(url):
            raise self.wrong("a listing that goes on at another host")
        return url

    def wrong(self, message: str) -> InvalidResponse:
        return self._endpoint.invalid(self._response, message, reason="invalid_listing")


def _pages(endpoint: Endpoint, path: str, scope: Scope, page_size: int | None) -> Iterator[_Page]:
    page = _first(endpoint, path, scope, page_size)
    urls: set[str] = set()
    for _ in range(PAGES_LIMIT):
        yield page
        url = page.next_url()
        if url is None:
            return
        if url in urls:
            raise page.wrong("a listing that goes round in circles")
        urls.add(url)
        following = _get(endpoint, url, scope)
        if following.body == page.body and following.next_url() is not None:
            raise page.wrong("a listing that repeats a page")
        page = following
    raise page.wrong(f"a listing of more than {PAGES_LIMIT} pages")


def _first(endpoint: Endpoint, path: str, scope: Scope, page_size: int | None) -> _Page:
    sizes = [page_size, *(size for size in _SMALLER if page_size is not None and (size or 0) < page_size)]
    for size in sizes:
        url = endpoint.url(path) + (f"?{urlencode({'n': size})}" if size is not None else "")
        try:
            return _get(endpoint, url, scope)
        except RegistryError as error:
            if "PAGINATION_NUMBER_INVALID" not in error.codes or size is None:
                raise
    raise AssertionError("the last size is None")


def _get(endpoint: Endpoint, url: str, scope: Scope) -> _Page:
    headers = {"Accept": f"application/json, {media_types.OCI_INDEX}"}
    return _Page(endpoint, endpoint.call("GET", url, scope, headers=headers, redirects=Redirects.SAFE, resend=True))


def _names(page: _Page, key: str, valid: Callable[[str], bool]) -> list[str]:
    # Distribution says `null` after the last tag is deleted: that is a listing. No such key at all is none.
    if key not in page.document:
        raise page.wrong(f"a listing without {key}")
    names = page.document[key]
    if names is None:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise page.wrong(f"a listing whose {key} are no list of names")
    for name in names:
        if not valid(name):
            raise page.wrong(f"a listing with {name[:100]!r} among its {key}")
    return names


def _descriptors(page: _Page) -> Iterator[Descriptor]:
    entries = page.document.get("manifests")
    if entries is None and page.document.get("schemaVersion") == 2:
        return
    if not isinstance(entries, list):
        raise page.wrong("referrers that are no index")
    for entry in entries:
        fields = entry if isinstance(entry, dict) else {}
        digest, size, media_type = fields.get("digest"), fields.get("size"), fields.get("mediaType")
        artifact_type = fields.get("artifactType")
        if not (isinstance(digest, str) and is_digest(digest) and isinstance(media_type, str)):
            raise page.wrong("referrers with an entry that is no descriptor")
        yield Descriptor(
            media_type,
            digest,
            size if isinstance(size, int) else None,
            artifact_type if isinstance(artifact_type, str) else None,
        )


def _next_link(header: str) -> str | None:
    # The parameter is quoted or not; both are met.
    for target, parameters in _LINK.findall(header):
        relation = _NEXT.search(parameters)
        if relation and "next" in (relation.group(1) or relation.group(2)).lower().split():
            return str(target)
    return None
