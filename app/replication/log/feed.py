"""The log of the primary's deployment, asked for over HTTP; and all else that a secondary asks of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from app.registry import RegistryError, Rejected, ServerError, TooManyRequests, Unauthorized, Unreachable, Unsupported
from app.registry.answers import RETRY_AFTER_LIMIT
from app.registry.documents import read_json
from app.registry.errors import BODY_LIMIT, InvalidResponse
from app.registry.listing import CatalogPage
from app.registry.references import is_repository
from app.registry.transport import Transport, read
from app.replication.log import LogUnavailable, Reading
from app.replication.log.wire import Unreadable, load

EVENTS = "/api/v4/geo/events"
REPOSITORIES = "/api/v4/geo/repositories"
STATUS = "/api/v4/geo/site_status"
TOKENS = "/jwt/auth"

#: The largest answer in bytes: 1,000 events of the longest kind.
ANSWER_LIMIT = 16 * 1024 * 1024

#: The longest position that goes into a URL; a longer one, with thousands of open gaps, is sent as a form.
_URL_LIMIT = 6000

#: Pages of repositories in one listing.
_PAGES_LIMIT = 100_000


class PrimaryUnreachable(Unreachable):
    """The primary's deployment could not be talked to."""

    advice = "check that the primary's deployment runs, GEO_PRIMARY_URL and GEO_PRIMARY_CA_PATH"


class SiteRefused(Unauthorized):
    """The primary's deployment does not know our token, or not under our name."""

    advice = (
        "check GEO_SITE_NAME and GEO_SITE_TOKEN; `geo sites token NAME` makes a new token at the primary's deployment"
    )


class NoPrimary(InvalidResponse):
    """What answered does not know the paths of a primary's deployment."""

    advice = "check that GEO_PRIMARY_URL is a deployment with GEO_ROLE=primary or both, of this version"


class PrimaryClient:
    """The primary's deployment, as our site. Shared by threads. Every method raises a `RegistryError`."""

    def __init__(self, url: str, token: str, *, ca_path: str | None = None, read_timeout: float = 20.0) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._transport = Transport(ca_path=ca_path, read_timeout=read_timeout)

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def events(self, position: str | None, limit: int, wait: float) -> Mapping[str, Any]:
        """The feed's answer; with a member `reset` when the position leads nowhere."""
        asked = {"limit": str(limit), "wait": f"{wait:g}"}
        if position is not None:
            asked["after"] = position
        method = "POST" if len(position or "") > _URL_LIMIT else "GET"
        return self._ask(method, EVENTS, asked, patience=wait, expect=(200, 410))

    def catalog(self, page_size: int = 0, after: str | None = None) -> Iterator[CatalogPage]:  # noqa: ARG002
        """The primary's repositories in our scope, as `Catalog` says."""
        for _ in range(_PAGES_LIMIT):
            # Its registry's catalog is asked behind this, and may take its time.
            answer = self._ask("GET", REPOSITORIES, {} if after is None else {"after": after}, patience=60.0)
            paths, following = answer.get("repositories"), answer.get("next")
            if not isinstance(paths, list) or not all(isinstance(path, str) and is_repository(path) for path in paths):
                raise NoPrimary("a list of repositories that is none", url=self.url + REPOSITORIES)
            if following is not None and (not isinstance(following, str) or following == after):
                raise NoPrimary("a list of repositories that leads nowhere", url=self.url + REPOSITORIES)
            yield CatalogPage(tuple(paths), following)
            if following is None:
                return
            after = following

    def report(self, status: Mapping[str, Any]) -> None:
        """Tell how our site is (`site_reports.dump`)."""
        body, url = json.dumps(status).encode(), self.url + STATUS
        self._send("POST", url, f"Bearer {self._token}", body, 0.0, (200,), BODY_LIMIT, content_type="application/json")

    def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> bytes:
        """A request of an authenticator to our token endpoint (`app.registry.auth.Fetch`)."""
        sent = dict(headers or {})
        body = urlencode(form).encode() if form is not None else None
        return self._send(method, url, sent.pop("Authorization", None), body, 0.0, (200,), BODY_LIMIT)

    def _ask(
        self,
        method: str,
        path: str,
        asked: Mapping[str, str],
        *,
        patience: float = 0.0,
        expect: tuple[int, ...] = (200,),
    ) -> dict[str, Any]:
        url, query = self.url + path, urlencode(asked)
        body = query.encode() if method == "POST" else None
        target = url if body is not None or not query else f"{url}?{query}"
        data = self._send(method, target, f"Bearer {self._token}", body, patience, expect, ANSWER_LIMIT)
        try:
            answer = read_json(data)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise NoPrimary("an answer that is not a JSON object", method=method, url=url)
        return answer

    def _send(
        self,
        method: str,
        url: str,
        authorization: str | None,
        body: bytes | None,
        patience: float,
        expect: tuple[int, ...],
        limit: int,
        content_type: str = "application/x-www-form-urlencoded",
    ) -> bytes:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            response = self._transport.send(
                method, url, headers=headers, authorization=authorization, body=body, resend=True, patience=patience
            )
            data = read(response, limit)
        except Unreachable as error:
            raise PrimaryUnreachable(error.message, reason=error.reason, method=method, url=url) from error
        if response.status_code in expect:
            return data
        raise _refused(response.status_code, data, response.headers.get("Retry-After"), method, url)


class FeedLog:
    """The `EventLog` that the primary's deployment serves."""

    def __init__(self, client: PrimaryClient) -> None:
        self._client = client

    def read(self, position: str | None, *, limit: int, wait: float = 0.0) -> Reading:
        """As `EventLog.read`."""
        try:
            return load(self._client.events(position, limit, wait))
        except RegistryError as error:
            raise LogUnavailable(str(error), error.reason, error.retry_after) from error
        except Unreadable as error:
            raise LogUnavailable(f"{error}; {NoPrimary.advice}", "invalid_response") from error


def _refused(status: int, body: bytes, retry_after: str | None, method: str, url: str) -> RegistryError:
    """The error for an answer with this status, told in the words of the primary's deployment."""
    kinds: dict[int, type[RegistryError]] = {
        401: SiteRefused,
        404: NoPrimary,
        405: NoPrimary,
        429: TooManyRequests,
        501: Unsupported,
    }
    kind = kinds.get(status, ServerError if status >= 500 else Rejected)
    seconds = float(retry_after) if retry_after and re.fullmatch(r"[0-9]{1,6}", retry_after) else None
    told = _told(body) or f"status {status}"
    # A scope can be widened and a token renewed: trying again is never in vain.
    return kind(
        told,
        reason="denied" if status == 403 else None,
        temporary=True,
        status=status,
        method=method,
        url=url,
        retry_after=None if seconds is None else min(seconds, RETRY_AFTER_LIMIT),
    )


def _told(body: bytes) -> str:
    try:
        document = json.loads(body)
        detail = document.get("detail") or document["errors"][0]["message"]
    except (ValueError, AttributeError, KeyError, IndexError, TypeError, RecursionError):
        return ""
    return str(detail)[:500].rstrip(".")
