"""Google Artifact Registry: an access token of Google Cloud for an hour, from its own credentials (google-auth).

Sources: Artifact Registry, "Configure authentication to Artifact Registry for Docker"; google-auth's user guide.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from app.providers.credentials.issuer import Granted
from app.providers.credentials.library import load, words
from app.registry import Credential, Fetch, NoCredentials, Use

#: The user name that goes with an access token.
USERNAME = "oauth2accesstoken"

SCOPE = "https://www.googleapis.com/auth/cloud-platform"

#: Seconds that a token is taken to be good when its end is not known, or past by our clock; they live an hour.
LIFETIME = 600.0

#: Seconds for an answer of what google-auth asks.
TIMEOUT = 10


class GoogleTokens:
    """Access tokens as whoever google-auth finds: the service account of the machine or pod (metadata server), or what
    GOOGLE_APPLICATION_CREDENTIALS names: a service account's key, or workload identity federation. `path` is such a
    file for this registry alone."""

    shared = True
    ends = True

    def __init__(self, *, path: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self.what = f"an access token of Google Cloud by {path or 'its own credentials'}"

    def issue(self, fetch: Fetch) -> Granted:  # noqa: ARG002
        """Ask Google."""
        auth, exceptions = load("google.auth", "gar"), load("google.auth.exceptions", "gar")
        transport = load("google.auth.transport.requests", "gar")
        with closing(requests.Session()) as session:
            request = _Patient(transport.Request(session))
            try:
                credentials = self._credentials(auth, request)
                credentials.refresh(request)
            except (exceptions.GoogleAuthError, OSError, LookupError, TypeError, ValueError) as error:
                raise NoCredentials(
                    f"Google gives no access token: {words(error)}",
                    fix="give this machine or pod a service account, or set GOOGLE_APPLICATION_CREDENTIALS (or"
                    " GEO_…_REGISTRY_GOOGLE_CREDENTIALS) to a file with one; it needs the role Artifact Registry Reader"
                    " (primary) or Repository Administrator (secondary)",
                ) from None
        return Granted(Credential(USERNAME, str(credentials.token), Use.ACCESS), self._lifetime(credentials.expiry))

    def _credentials(self, auth: Any, request: Any) -> Any:
        if self._path is None:
            return auth.default(scopes=[SCOPE], request=request)[0]
        # By its kind, as the library wants it: what a file of any kind may bring about is more than we want.
        info = json.loads(self._path.read_bytes())
        kind = info.get("type") if isinstance(info, dict) else None
        if kind == "service_account":
            module = load("google.oauth2.service_account", "gar")
            return module.Credentials.from_service_account_info(info, scopes=[SCOPE])
        if kind == "external_account":
            source = info.get("credential_source")
            aws = isinstance(source, dict) and str(source.get("environment_id", "")).startswith("aws")
            module = load("google.auth.aws" if aws else "google.auth.identity_pool", "gar")
            return module.Credentials.from_info(info, scopes=[SCOPE])
        raise ValueError(f"{self._path} is neither a service account's key nor a configuration of federation")

    def _lifetime(self, expiry: object) -> float:
        if not isinstance(expiry, datetime):
            return LIFETIME
        # The library's instants are in UTC and do not say so.
        lifetime = expiry.replace(tzinfo=expiry.tzinfo or UTC).timestamp() - self._clock()
        return lifetime if lifetime > 0 else LIFETIME


class _Patient:
    """The library's way to make a request, with less patience than its own two minutes."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self.session = request.session

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        options["timeout"] = min(options.get("timeout") or TIMEOUT, TIMEOUT)
        return self._request(*arguments, **options)
