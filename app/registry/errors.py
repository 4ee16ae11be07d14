"""What can go wrong between us and a registry, as types.

Every error has a bounded `reason` (a metric label), says whether trying again later can help, and reads as one
line that names the request and what a person can check.
"""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import urlsplit

#: How much of a registry's error body is kept; registries behind proxies answer with whole HTML pages.
BODY_LIMIT = 64 * 1024

#: How much of that body is quoted in the message when the registry gave no error codes.
EXCERPT_LIMIT = 300


class RegistryError(Exception):
    """A request to a registry that failed.

    `str()` of it is one line. `url` never holds a query (upload and storage URLs carry secrets there) or userinfo.
    """

    #: The default reason of the type; bounded over the whole library, fit for a metric label.
    default_reason: ClassVar[str] = "registry_error"
    #: Whether the same request may succeed later without a person changing the content it is about.
    default_temporary: ClassVar[bool] = True
    #: What a person can check, appended to the message.
    advice: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        temporary: bool | None = None,
        status: int | None = None,
        codes: tuple[str, ...] = (),
        method: str | None = None,
        url: str | None = None,
        body: bytes = b"",
        retry_after: float | None = None,
    ) -> None:
        self.message = " ".join(message.split())
        self.reason = reason or self.default_reason
        self.temporary = self.default_temporary if temporary is None else temporary
        self.status = status
        self.codes = codes
        self.method = method
        self.url = None if url is None else redacted(url)
        self.body = body[:BODY_LIMIT]
        #: Seconds to wait as the registry asked, at most an hour; None when it did not ask.
        self.retry_after = retry_after
        super().__init__(self.message)

    @property
    def told(self) -> str:
        """What happened, without advice: for who knows better what to do."""
        request = " ".join(part for part in (self.method, _without_scheme(self.url)) if part)
        return f"{request}: {self.message}" if request else self.message

    def __str__(self) -> str:
        return f"{self.told}; {self.advice}" if self.advice else self.told

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.reason}: {self}>"


class Unreachable(RegistryError):
    """The registry could not be talked to, or the talk broke off: nothing is known about what was asked."""

    default_reason = "unreachable"
    advice = "check that the registry runs and that its address, name resolution and firewalls are right"


class TimedOut(Unreachable):
    """The registry was silent for longer than the idle limit, or a limit on the whole request ran out."""

    default_reason = "timeout"
    advice = "check that the registry and the network between are not overloaded"


class TLSFailed(Unreachable):
    """The TLS handshake failed, most often because the registry's certificate is not trusted."""

    default_reason = "tls"
    advice = "check the CA path set for this registry, the name in its certificate and the certificate's dates"


class Unauthorized(RegistryError):
    """401 even with a renewed token: credentials or keys are wrong, which only configuration heals."""

    default_reason = "unauthorized"
    advice = "check issuer, service, key pair (or user and password) and the clocks of both sides"


class NoCredentials(RegistryError):
    """Who we are there could not be found out, so nothing was sent. `fix` is what a person can change."""

    default_reason = "no_credentials"

    def __init__(self, message: str, *, fix: str = "", temporary: bool | None = None) -> None:
        super().__init__(message, temporary=temporary)
        self.fix = " ".join(fix.split())

    def __str__(self) -> str:
        return f"{self.message}; {self.fix}" if self.fix else self.message


class Denied(RegistryError):
    """403: who we are is known, but not allowed; quotas and immutable tags are said this way too."""

    default_reason = "denied"
    advice = "check the permissions, quota and immutability rules of this account and repository"


class ActionNotAllowed(Denied):
    """The client was built for fewer actions than this operation needs; nothing was sent."""

    default_reason = "action_not_allowed"
    default_temporary = False
    advice = "check which site this client was built for"


class NotFound(RegistryError):
    """404. Evidence of absence only when `witnessed`; a proxy or a wrong path says 404 just as well."""

    default_reason = "not_found"

    #: The codes by which a registry itself, in its own JSON, says that something is not there.
    WITNESSES: ClassVar[frozenset[str]] = frozenset({"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN"})

    @property
    def witnessed(self) -> bool:
        """True only when the registry's own JSON body says that the manifest, name or blob is unknown."""
        return not self.WITNESSES.isdisjoint(self.codes)

    def require_witness(self) -> None:
        """Make sure that this is evidence of absence: a 404 of a proxy's does not mean that the thing is gone.

        Raises:
            NotFound: this error, where it is not the registry's own word.
        """
        if not self.witnessed:
            raise self


class TooManyRequests(RegistryError):
    """429 (or the code for it): everyone who talks to this registry should wait `retry_after`."""

    default_reason = "too_many_requests"


class RateLimited(TooManyRequests):
    """No permit in time: the registry has asked for a pause, or others use up what it takes. Nothing was sent."""

    default_reason = "rate_limited"


class Unsupported(RegistryError):
    """405, or code UNSUPPORTED: this registry does not do that."""

    default_reason = "unsupported"
    default_temporary = False
    advice = "check the registry's settings (deletion, for one, must be enabled) or leave the operation out"


class ServerError(RegistryError):
    """5xx: the registry or its storage is in trouble."""

    default_reason = "server_error"
    advice = "check the registry's log and its storage"


class Rejected(RegistryError):
    """Any other 4xx: the registry does not want this content or this request."""

    default_reason = "rejected"
    default_temporary = False


class TooLarge(RegistryError):
    """413, or an answer larger than we are ready to hold in memory."""

    default_reason = "too_large"
    default_temporary = False


class InvalidResponse(RegistryError):
    """An answer that is not what the distribution specification says; it is evidence of nothing."""

    default_reason = "invalid_response"
    advice = "check that the address is a registry's and what proxies stand before it"


class DigestMismatch(RegistryError):
    """The bytes do not hash to what was promised."""

    default_reason = "digest_mismatch"
    advice = "check the registry's storage and caching proxies; the content there may be damaged"


class PatchedMismatch(DigestMismatch):
    """Bytes that came by several requests, or were kept from an earlier try, do not hash to what was promised.

    What was kept is discarded; fetched whole, once more, the blob may well be right.
    """

    default_reason = "patched_mismatch"


class InvalidReference(RegistryError):
    """A repository name, tag or digest outside the grammar of the specification; nothing was sent."""

    default_reason = "invalid_reference"
    default_temporary = False


class UnsupportedDigest(RegistryError):
    """A digest of an algorithm that we cannot compute, so nothing under it can be verified."""

    default_reason = "unsupported_digest"
    default_temporary = False


class InvalidManifest(RegistryError):
    """Bytes that are no manifest, or one beyond the limits of what we handle."""

    default_reason = "invalid_manifest"
    default_temporary = False


class Stopped(RegistryError):
    """The caller asked for the transfer to stop; nothing was committed."""

    default_reason = "stopped"


class InvalidKey(ValueError):
    """A key or certificate file that cannot be used; the message names the path and never the key."""


def redacted(url: str) -> str:
    """Return the URL without userinfo, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(an unreadable URL)"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}{parts.path}" if host else parts.path


def _without_scheme(url: str | None) -> str:
    return "" if url is None else url.partition("://")[2] or url
