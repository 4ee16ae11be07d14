"""GitHubPackages: GitHub's REST API of container packages, which deletes what its registry does not.

Source: GitHub REST API, "REST API endpoints for packages": a version of a package is a manifest with all its tags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import requests

from app.providers.control import ANSWER, ControlPlaneError, ControlPlaneMissing
from app.providers.permitted import permitted
from app.registry import (
    Denied,
    Limiter,
    NoLimit,
    Quota,
    RegistryError,
    TooManyRequests,
    Unsupported,
    from_response,
)
from app.registry.connections import Deadline
from app.registry.listing import CatalogPage
from app.registry.transport import Transport, read

#: The API of github.com.
API = "https://api.github.com"

#: Registries of GitHub's cloud for enterprises, each of which has an API of its own.
_TENANT = re.compile(r"containers\.(?P<tenant>[\w-]+(?:\.[\w-]+)*\.ghe\.com)", re.IGNORECASE)

#: Versions asked for on a page, which is the most that there are, and the most pages.
_PAGE, _PAGES = 100, 1000

#: Listings until two that follow each other tell of the same versions.
_LISTINGS = 4

#: Seconds to wait where GitHub names none ("Rate limits for the REST API": at least a minute).
_MINUTE = 60.0

#: Bytes of such a page: a version is told with its tags.
_PAGE_BYTES = 16 * 1024**2

_HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}


def api_of(host: str) -> str | None:
    """The REST API beside the registry of this host, if that is one of GitHub's; the token goes to no other's."""
    if host.lower() == "ghcr.io":
        return API
    found = _TENANT.fullmatch(host)
    return f"https://api.{found['tenant'].lower()}" if found else None


class GitHubPackages:
    """The container packages that a token may delete."""

    def __init__(
        self, token: str | None, *, api: str | None, ca_path: str | None = None, limiter: Limiter | None = None
    ) -> None:
        """Connect to nothing yet.

        :param token: a classic personal access token with `delete:packages` and `read:packages`.
        :param api: the address of the REST API; None where nobody has said it.
        :param limiter: permits each request.
        """
        self._token = token
        self._limiter = limiter or NoLimit()
        self._api = (api or "").rstrip("/")
        self._transport = Transport(ca_path=ca_path, read_timeout=ANSWER)
        #: `orgs` or `users`, by owner.
        self._kinds: dict[str, str] = {}

    def ready(self) -> None:
        """Make sure that there is a token, and an API that may have it.

        Raises:
            ControlPlaneMissing: without one of them.
        """
        if not self._api:
            raise ControlPlaneMissing(
                "this registry is not that of github.com, so its token is not sent there: set the address of its REST"
                " API as the registry's …_CONTROL_URL"
            )
        if not self._token:
            raise ControlPlaneMissing(
                "GitHub deletes by its REST API, which wants a personal access token with `delete:packages`:"
                " set it as the registry's …_PASSWORD"
            )

    def require_deletion(self, repository: str) -> None:  # noqa: ARG002
        """As `ready`: nothing tells what a token may do but doing it."""
        self.ready()

    def create(self, repository: str) -> bool:
        """Packages come to be by the first push."""
        raise Unsupported(f"GitHub has no call that makes {repository}")

    def delete_tag(self, repository: str, tag: str) -> bool:
        """There is no such thing: a version goes with all its tags."""
        raise Unsupported(f"GitHub does not delete the tag {tag} of {repository} alone")

    def delete_digest(self, repository: str, digest: str) -> bool:
        """Delete the version that is this digest."""
        self.ready()
        with Deadline(ANSWER) as deadline:
            versions = self._versions(repository, deadline)
            found = self._find(versions, digest, deadline)
            if found is not None:
                self._ask("DELETE", f"{versions}/{found}", deadline, expect=(204, 404))
            return found is not None

    def catalog(self, page_size: int = 1000, after: str | None = None) -> Iterator[CatalogPage]:  # noqa: ARG002
        """Not by this: it lists the packages of one owner, and nobody has said which."""
        raise Unsupported("GitHub lists no repositories")

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def _versions(self, repository: str, deadline: Deadline) -> str:
        owner, _, package = repository.partition("/")
        if owner not in self._kinds:
            told = self._json(f"{self._api}/users/{quote(owner)}", deadline)
            self._kinds[owner] = "orgs" if isinstance(told, dict) and told.get("type") == "Organization" else "users"
        return f"{self._api}/{self._kinds[owner]}/{owner}/packages/container/{quote(package, safe='')}/versions"

    def _find(self, versions: str, digest: str, deadline: Deadline) -> int | None:
        """The id of the version. None only after a whole listing: 404 is also said to who may not see the package.

        A version that is deleted while pages are read moves all older ones up, and one of them to a page that has been
        read. So a listing of several pages is whole only where the next one still has all that it had.
        """
        known: set[int] | None = None
        for _ in range(_LISTINGS):
            seen: set[int] = set()
            pages = 0
            for entries in self._pages(versions, deadline):
                pages += 1
                for entry in entries:
                    if not isinstance(entry.get("id"), int):
                        continue
                    if entry.get("name") == digest:
                        return int(entry["id"])
                    seen.add(entry["id"])
            if pages == 1 or (known is not None and known <= seen):
                return None
            known = seen
        raise ControlPlaneError("its versions change while they are listed", method="GET", url=versions)

    def _pages(self, versions: str, deadline: Deadline) -> Iterator[Sequence[dict[str, Any]]]:
        for page in range(1, _PAGES + 1):
            entries = self._json(f"{versions}?per_page={_PAGE}&page={page}", deadline)
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise ControlPlaneError("a listing of versions that is none", method="GET", url=versions)
            yield entries
            if len(entries) < _PAGE:
                return
        raise ControlPlaneError(f"more than {_PAGE * _PAGES} versions", method="GET", url=versions)

    def _json(self, url: str, deadline: Deadline) -> Any:
        try:
            return json.loads(self._ask("GET", url, deadline))
        except (ValueError, RecursionError):
            raise ControlPlaneError("an answer that is not JSON", method="GET", url=url) from None

    def _ask(self, method: str, url: str, deadline: Deadline, expect: tuple[int, ...] = (200,)) -> bytes:
        return permitted(self._limiter, lambda: self._send(method, url, deadline, expect), deadline)

    def _send(self, method: str, url: str, deadline: Deadline, expect: tuple[int, ...]) -> bytes:
        response = self._transport.send(
            method,
            url,
            headers=_HEADERS,
            authorization=f"Bearer {self._token}",
            resend=method == "GET",
            deadline=deadline,
        )
        if response.status_code not in expect:
            raise _refusal(response)
        return read(response, _PAGE_BYTES, deadline=deadline)


def _refusal(response: requests.Response) -> RegistryError:
    """GitHub says 403, too, to who has asked too often (REST API, "Rate limits")."""
    headers, error = response.headers, from_response(response)
    quota = Quota.read(headers)
    spent = quota is not None and quota.remaining == 0
    too_many = isinstance(error, TooManyRequests)
    if isinstance(error, Denied):
        too_many = spent or error.retry_after is not None or b"rate limit" in error.body.lower()
    if not too_many:
        return error
    wait = error.retry_after
    if wait is None:
        wait = quota.reset if quota is not None and spent and quota.reset is not None else _MINUTE
    return TooManyRequests(error.message, status=error.status, method=error.method, url=error.url, retry_after=wait)
