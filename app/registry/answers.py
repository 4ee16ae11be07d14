"""A registry's refusal, read into the right error: tables of status and code, and the traps between them."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, quote_plus

import requests

from app.registry.bodies import read_some
from app.registry.errors import (
    BODY_LIMIT,
    EXCERPT_LIMIT,
    Denied,
    InvalidResponse,
    NotFound,
    RegistryError,
    Rejected,
    ServerError,
    TimedOut,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unsupported,
)

#: Characters from which a secret of ours is looked for in what a registry says; a shorter one is in every other word.
SHORTEST_SECRET = 8

#: How fields are sent to a token service, and which of them are secrets.
FORM = "application/x-www-form-urlencoded"
_FORM_SECRETS = frozenset({"refresh_token", "access_token", "password"})

#: The longest wait that a registry can ask of us, in seconds.
RETRY_AFTER_LIMIT = 3600.0


@dataclass(frozen=True, slots=True)
class _Verdict:
    kind: type[RegistryError]
    reason: str | None = None
    temporary: bool | None = None


#: By status. What is missing is a `Rejected` (4xx) or a `ServerError` (5xx).
_BY_STATUS = {
    401: _Verdict(Unauthorized),
    403: _Verdict(Denied),
    404: _Verdict(NotFound),
    405: _Verdict(Unsupported),
    408: _Verdict(TimedOut),
    413: _Verdict(TooLarge),
    # Of a range or an upload session, both of which are made anew by the next try.
    416: _Verdict(Rejected, "range", temporary=True),
    425: _Verdict(ServerError),
    429: _Verdict(TooManyRequests),
}

#: By code; these say more than the status that comes with them, which differs between registries: Distribution 2.8
#: says BLOB_UPLOAD_INVALID with 404, some clouds say TOOMANYREQUESTS with 400.
_BY_CODE = {
    "TOOMANYREQUESTS": _Verdict(TooManyRequests),
    "BLOB_UPLOAD_UNKNOWN": _Verdict(Rejected, "upload_lost", temporary=True),
    "BLOB_UPLOAD_INVALID": _Verdict(Rejected, "upload_lost", temporary=True),
    # A blob or child vanished between its copy and this manifest, or was never there: the next sync copies it.
    "MANIFEST_BLOB_UNKNOWN": _Verdict(Rejected, "manifest_blob_unknown", temporary=True),
    "UNSUPPORTED": _Verdict(Unsupported),
    "UNAVAILABLE": _Verdict(ServerError),
}

#: Codes of permanent refusals that become the reason; any other is "rejected", so that a label stays bounded.
_REASONS = frozenset(
    {
        "DIGEST_INVALID",
        "MANIFEST_INVALID",
        "MANIFEST_UNVERIFIED",
        "NAME_INVALID",
        "PAGINATION_NUMBER_INVALID",
        "PRECONDITION",
        "SIZE_INVALID",
        "TAG_INVALID",
    }
)

#: What some registries say in place of the specification's codes: the code, how its message reads, and what it means.
#: Quay says of a tag that was deleted that it has expired; Harbor has one code for all that is not there.
_MEANS = (
    ("TAG_EXPIRED", re.compile(r""), "MANIFEST_UNKNOWN"),
    ("NOT_FOUND", re.compile(r"artifact \S+ not found"), "MANIFEST_UNKNOWN"),
    ("NOT_FOUND", re.compile(r"repository \S+ not found"), "NAME_UNKNOWN"),
)


def from_response(response: requests.Response, *, body: bytes | None = None, own: bool = True) -> RegistryError:
    """Build the error that a refusing (or unexpected) response stands for, and close the response.

    `own` is False when the answer came from a host that the registry redirected to: what a storage service says is
    no word of the registry's, so it is never a witness and always worth another try.
    """
    method = response.request.method or ""
    status = response.status_code
    if body is None:
        body = _error_body(response, method)
    codes, words = _codes(body) if own else ((), "")
    verdict = _verdict(status, codes) if own or status == 429 else _Verdict(ServerError, "storage_error")
    reason = verdict.reason
    if verdict.kind is Rejected and reason is None:
        reason = next((code.lower() for code in codes if code in _REASONS), None)
    return verdict.kind(
        _message(status, response, codes, words, body),
        reason=reason,
        temporary=_temporary(verdict, codes),
        status=status,
        codes=codes,
        method=method,
        url=response.url,
        body=body,
        retry_after=retry_after(response.headers.get("Retry-After")),
    )


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Read a `Retry-After` header, seconds or an HTTP date (RFC 9110, 10.2.3); seconds from 0 to one hour."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            # The latter for a year or an offset that no C integer holds.
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = (date - (now or datetime.now(UTC))).total_seconds()
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_LIMIT)


def _verdict(status: int, codes: tuple[str, ...]) -> _Verdict:
    # With 401 and 403 the status is the clearer word: their codes vary (GitLab says DENIED with 401).
    if status not in (401, 403):
        if status >= 500 and "MANIFEST_BLOB_UNKNOWN" in codes:
            # Distribution says 500 to layers with `urls` that its configuration does not allow; no try heals that.
            return _Verdict(ServerError, "manifest_blob_unknown", temporary=False)
        for code in codes:
            if code in _BY_CODE:
                return _BY_CODE[code]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return _Verdict(ServerError)
    if status >= 400:
        return _Verdict(Rejected)
    return _Verdict(InvalidResponse, "redirect" if 300 <= status < 400 else None)


def _temporary(verdict: _Verdict, codes: tuple[str, ...]) -> bool | None:
    if verdict.kind is NotFound:
        return NotFound.WITNESSES.isdisjoint(codes)
    return verdict.temporary


def _message(status: int, response: requests.Response, codes: tuple[str, ...], words: str, body: bytes) -> str:
    parts = [f"HTTP {status}"]
    # Cleaned before it is cut: half a secret is not found any more.
    secrets = _credentials(response.request)
    if codes:
        parts.append(_without(secrets, " ".join(codes))[:EXCERPT_LIMIT])
    excerpt = _without(secrets, words or " ".join(body.decode("utf-8", "replace").split()))
    if excerpt:
        parts.append(excerpt[:EXCERPT_LIMIT])
    if 300 <= status < 400:
        parts.append("a redirect that is not followed")
    challenge = response.headers.get("WWW-Authenticate")
    if status == 401 and challenge:
        parts.append(f"challenge {_without(secrets, challenge)[:EXCERPT_LIMIT]}")
    return ": ".join(parts)


def _credentials(request: requests.PreparedRequest) -> list[str]:
    """The credentials of the request in the forms in which a server may quote them, the longest first."""
    header = str(request.headers.get("Authorization", ""))
    scheme, _, value = header.partition(" ")
    found = {header, value}
    if scheme.lower() == "basic":
        with contextlib.suppress(ValueError):
            found.add(base64.b64decode(value).decode().partition(":")[2])
    found |= _of_form(request)
    return sorted((each for each in found if len(each) >= SHORTEST_SECRET), key=len, reverse=True)


def _of_form(request: requests.PreparedRequest) -> set[str]:
    """The tokens of a request to a token service that wants them in a form, as they are and as they were sent."""
    if request.headers.get("Content-Type") != FORM or not isinstance(request.body, bytes):
        return set()
    fields = parse_qsl(request.body.decode("latin-1"))
    tokens = {value for name, value in fields if name in _FORM_SECRETS}
    return tokens | {quote_plus(token) for token in tokens}


def _without(secrets: Sequence[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "[secret]")
    return text


def _error_body(response: requests.Response, method: str) -> bytes:
    # Distribution announces the blob's length with an empty body on 416: reading it waits until the idle limit.
    try:
        if method == "HEAD" or response.status_code == 416:
            return b""
        return read_some(response, BODY_LIMIT)
    finally:
        response.close()


def _codes(body: bytes) -> tuple[tuple[str, ...], str]:
    try:
        errors = json.loads(body)["errors"]
        entries = [entry for entry in errors if isinstance(entry, dict)]
    except (ValueError, LookupError, TypeError, RecursionError):
        return (), ""
    codes = [code for entry in entries if isinstance(code := entry.get("code"), str)]
    words = "; ".join(text for entry in entries if isinstance(text := entry.get("message"), str))
    codes += [means for code, said, means in _MEANS if code in codes and said.match(words)]
    return tuple(codes), " ".join(words.split())
