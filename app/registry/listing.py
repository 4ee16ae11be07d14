"""Listings: tags, repositories and referrers, whole or not at all.

Sources: OCI distribution specification, "Listing Tags" and "Listing Referrers"; for the catalog, which is not in it,
the API specification of CNCF Distribution; RFC 8288 for `Link`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests

from app.registry import media_types
from app.registry.auth import Scope
from app.registry.documents import read_json
from app.registry.endpoint import Endpoint
from app.registry.errors import InvalidReference, InvalidResponse, NotFound, RegistryError, Unsupported
from app.registry.manifests import Descriptor
from app.registry.references import is_digest, is_repository, is_tag
from app.registry.transport import Redirects, read

#: The largest page in bytes; Distribution 2.8 lists all tags of a repository on one.
PAGE_BYTES = 64 * 1024 * 1024

#: The most pages of one listing.
PAGES_LIMIT = 10_000

#: The most names of one listing, and the most that may refer to one digest: all of them are in memory. GitLab.com has
#: some millions of repositories, and nobody has as many tags in one of them.
NAMES_LIMIT, REFERRERS_LIMIT = 5_000_000, 10_000

#: Characters of a link to the next page: the patterns below try every place of a longer one again and again.
LINK_LIMIT = 8192

#: Smaller page sizes tried when a registry says that one is too large; the last is to name none.
_SMALLER = (100, None)

#: What registries and proxies answer to a path that they do not know.
_NO_SUCH_API = frozenset({400, 404, 405, 406, 501})

_LINK = re.compile(r"<([^>]*)>([^<]*)")
#: A single link without the angle brackets that RFC 8288 wants.
_BARE = re.compile(r"""([^<>;\s"]+)\s*;\s*rel\s*=\s*"?next"?""", re.IGNORECASE)
#: That there is a next page, wherever: taken for the end, what stands on it would count as gone.
_SAYS_NEXT = re.compile(r"""\brel\s*=[\s"']*[^;,]*\bnext\b""", re.IGNORECASE)
_NEXT = re.compile(r"""(?:^|;)\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,]+))""", re.IGNORECASE)


def list_tags(endpoint: Endpoint, repository: str, page_size: int | None) -> list[str]:
    """Return all tags, each once, in the registry's order."""
    scope = endpoint.scope(repository, "pull")
    tags: dict[str, None] = {}
    for page in _pages(endpoint, f"{repository}/tags/list", scope, page_size):
        tags.update(dict.fromkeys(_fresh(page, _names(page, "tags", is_tag), tags.keys())))
        _require_few(page, len(tags), NAMES_LIMIT)
    return list(tags)


@dataclass(frozen=True, slots=True)
class CatalogPage:
    """A page of the catalog. `following` leads to the next one, for `after`; None: this is the last."""

    repositories: tuple[str, ...]
    following: str | None


def catalog(endpoint: Endpoint, page_size: int | None, after: str | None) -> Iterator[CatalogPage]:
    """Yield the catalog page by page, from its beginning or from where an earlier page said that it goes on.

    Each repository comes once. Raises in the middle when a page is not right.
    """
    seen: set[str] = set()
    for page in _pages(endpoint, "_catalog", endpoint.catalog_scope(), page_size, after):
        fresh = _fresh(page, _names(page, "repositories", is_repository), seen)
        seen.update(fresh)
        _require_few(page, len(seen), NAMES_LIMIT)
        following = page.next_url()
        yield CatalogPage(tuple(fresh), None if following is None else _below_host(following))


def referrers(endpoint: Endpoint, repository: str, digest: str) -> list[Descriptor] | None:
    """Return what refers to the digest, or None where the registry has no such API.

    404 is how a registry without it answers (distribution-spec, "Unavailable Referrers API"); proxies and old
    registries say other things to a path that they do not know. One that calls the manifest invalid has looked it up:
    so Quay says that it does not have it. Raises `NotFound` where repository or manifest are called unknown, which
    leaves open whether there is an API.
    """
    scope = endpoint.scope(repository, "pull")
    found: dict[str, Descriptor] = {}
    try:
        for page in _pages(endpoint, f"{repository}/referrers/{digest}", scope, None):
            for each in _descriptors(page):
                found[each.digest] = each
                _require_few(page, len(found), REFERRERS_LIMIT)
    except RegistryError as error:
        if found or (isinstance(error, NotFound) and error.witnessed):
            raise
        if error.status == 400 and "MANIFEST_INVALID" in error.codes:
            return []
        if isinstance(error, Unsupported) or error.status in _NO_SUCH_API:
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
            document = read_json(self.body)
        except ValueError:
            raise self.wrong("a listing that is not JSON" if self.body else "a listing without a body") from None
        if not isinstance(document, dict):
            raise self.wrong("a listing that is not a JSON object")
        self.document: dict[str, Any] = document

    def next_url(self) -> str | None:
        """Return the URL of the next page. Only a link says that there is one: a short page does not mean the end."""
        header = self._response.headers.get("Link", "")
        if len(header) > LINK_LIMIT:
            raise self.wrong("a listing whose link to the next page is too long")
        link = _next_link(header)
        if link is None:
            if _SAYS_NEXT.search(header):
                raise self.wrong("a listing whose link to the next page cannot be read")
            return None
        url = self._endpoint.resolve(self._response.url, link)
        if not self._endpoint.is_own(url):
            raise self.wrong("a listing that goes on at another host")
        return url

    def wrong(self, message: str) -> InvalidResponse:
        return self._endpoint.invalid(self._response, message, reason="invalid_listing")


def _pages(
    endpoint: Endpoint, path: str, scope: Scope, page_size: int | None, after: str | None = None
) -> Iterator[_Page]:
    page = _first(endpoint, path, scope, page_size) if after is None else _get(endpoint, _own(endpoint, after), scope)
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


def _own(endpoint: Endpoint, after: str) -> str:
    url = endpoint.resolve(endpoint.root, after)
    if not endpoint.is_own(url):
        raise InvalidReference("this page is at another host")
    return url


def _below_host(url: str) -> str:
    return urlsplit(url)._replace(scheme="", netloc="", fragment="").geturl()


def _fresh(page: _Page, names: list[str], seen: Set[str]) -> list[str]:
    """What earlier pages did not have. Pages overlap while somebody pushes; one with nothing new leads nowhere."""
    fresh = [name for name in dict.fromkeys(names) if name not in seen]
    if names and not fresh:
        raise page.wrong("a listing that repeats a page")
    return fresh


def _require_few(page: _Page, count: int, limit: int) -> None:
    if count > limit:
        raise page.wrong(f"a listing of more than {limit} entries")


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
    bare = _BARE.fullmatch(header.strip())
    if bare is not None:
        return str(bare.group(1))
    # The parameter is quoted or not; both are met.
    for target, parameters in _LINK.findall(header):
        relation = _NEXT.search(parameters)
        if relation and "next" in (relation.group(1) or relation.group(2)).lower().split():
            return str(target)
    return None
