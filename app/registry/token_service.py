"""Authenticators that get their tokens from a token service, as a registry's challenge says.

Source: the token specification of CNCF Distribution (docs/spec/auth/token.md, oauth.md).
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt

from app.registry.auth import TOKENS_KEPT, Challenge, Fetch, Scope, is_token
from app.registry.errors import InvalidResponse, Rejected

#: Seconds that a token lives when the service does not say (docs/spec/auth/token.md).
_LIFETIME = 60.0

#: A token is renewed this many seconds before it expires, or at three quarters of a short life.
_EARLY = 30.0

#: Concurrent requests of one scope share one request to the token service; the locks are as many as this.
_LOCKS = 32


class Basic:
    """A user and a password: sent as Basic, or exchanged for a token where the registry names a token service.

    Tokens are kept per scope. The service is remembered, so later requests come with a token at once. The
    credentials go to the registry and to the realm it names, which must not be plain http when the registry is not.
    """

    def __init__(self, username: str, password: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        encoded = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._tokens = _TokenService(f"Basic {encoded}", clock)

    def authorization(self, scope: Scope, fetch: Fetch) -> str | None:
        """Return a token once a token service is known, the user and password until then."""
        return self._tokens.authorization(scope, fetch)

    def renew(self, scope: Scope, challenge: Challenge, rejected: str | None, fetch: Fetch) -> str | None:
        """Return a token as the challenge says, or the user and password if they have not been refused yet."""
        return self._tokens.renew(scope, challenge, rejected, fetch)


class OwnTokenService:
    """A user and a password at a token service of our own choice, whatever realm the registry names.

    Nothing is asked before the registry has asked for a token: it may want none. The credentials go to `realm` alone,
    by `fetch`, which knows how that is reached; never to the registry.
    """

    def __init__(
        self, username: str, password: str, realm: str, fetch: Fetch, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        encoded = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._tokens = _TokenService(f"Basic {encoded}", clock)
        self._realm = realm
        self._fetch = fetch
        self._asked = False

    def authorization(self, scope: Scope, fetch: Fetch) -> str | None:  # noqa: ARG002
        """Return a token once the registry has asked for one, nothing until then."""
        return self._tokens.authorization(scope, self._fetch) if self._asked else None

    def renew(self, scope: Scope, challenge: Challenge, rejected: str | None, fetch: Fetch) -> str | None:  # noqa: ARG002
        """Return a token for what the challenge misses; None where it wants no token, or another would say the same."""
        if challenge.scheme != "bearer" or challenge.error == "insufficient_scope":
            return None
        own = replace(challenge, url=self._realm, realm=self._realm)
        header = self._tokens.renew(scope, own, rejected, self._fetch)
        self._asked = True
        return header


class Anonymous:
    """Nobody: no credentials, but an anonymous token where the registry asks for one."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens = _TokenService(None, clock)

    def authorization(self, scope: Scope, fetch: Fetch) -> str | None:
        """Return a token once a token service is known, nothing until then."""
        return self._tokens.authorization(scope, fetch)

    def renew(self, scope: Scope, challenge: Challenge, rejected: str | None, fetch: Fetch) -> str | None:
        """Return an anonymous token as the challenge says."""
        return self._tokens.renew(scope, challenge, rejected, fetch)


class _TokenService:
    """The tokens of one account at the token service of one registry."""

    def __init__(self, credentials: str | None, clock: Callable[[], float]) -> None:
        self._credentials = credentials
        self._clock = clock
        self._known: Challenge | None = None
        self._kept: OrderedDict[Scope, tuple[str, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._scope_locks = tuple(threading.Lock() for _ in range(_LOCKS))

    def authorization(self, scope: Scope, fetch: Fetch) -> str | None:
        known = self._known
        if known is None:
            return self._credentials
        with self._scope_locks[hash(scope) % _LOCKS]:
            return self._fresh(scope) or self._fetch(scope, known, scope.names, fetch)

    def renew(self, scope: Scope, challenge: Challenge, rejected: str | None, fetch: Fetch) -> str | None:
        if challenge.scheme != "bearer" or not challenge.realm:
            self._known = None
            return self._credentials if rejected != self._credentials else None
        _require_safe_realm(challenge)
        with self._scope_locks[hash(scope) % _LOCKS]:
            fresh = self._fresh(scope)
            if fresh is not None and fresh != rejected:
                return fresh  # another thread has renewed it
            # What the registry says it misses comes first: some services look at the first scope alone.
            names = [*challenge.scopes, *(name for name in scope.names if name not in challenge.scopes)]
            header = self._fetch(scope, challenge, names, fetch)
            self._known = challenge
            return header

    def _fresh(self, scope: Scope) -> str | None:
        with self._lock:
            kept = self._kept.get(scope)
            return kept[0] if kept is not None and self._clock() < kept[1] else None

    def _fetch(self, scope: Scope, challenge: Challenge, names: list[str], fetch: Fetch) -> str:
        headers = {"Authorization": self._credentials} if self._credentials else {}
        try:
            body = fetch("GET", _token_url(challenge, names), headers=headers)
        except Rejected:
            # Quay's token service knows no `delete`; it and every other takes `*` for it.
            anything = [re.sub(r":delete$", ":*", name) for name in names]
            if anything == names:
                raise
            body = fetch("GET", _token_url(challenge, anything), headers=headers)
        header, lifetime = _read(body, challenge.realm)
        with self._lock:
            self._kept[scope] = (header, self._clock() + lifetime - min(_EARLY, lifetime / 4))
            self._kept.move_to_end(scope)
            if len(self._kept) > TOKENS_KEPT:
                self._kept.popitem(last=False)
        return header


def _require_safe_realm(challenge: Challenge) -> None:
    realm = urlsplit(challenge.realm)
    if realm.scheme not in ("http", "https") or not realm.hostname or realm.username is not None:
        raise InvalidResponse("the token service that the registry names is no URL", url=challenge.realm)
    if realm.scheme == "http" and urlsplit(challenge.url).scheme == "https":
        raise InvalidResponse(
            "the registry is https but names a token service over plain http; no credentials are sent there",
            reason="insecure_realm",
            url=challenge.realm,
        )


def _token_url(challenge: Challenge, names: list[str]) -> str:
    query = [("service", challenge.service)] if challenge.service else []
    query += [("scope", name) for name in names]
    parts = urlsplit(challenge.realm)
    joined = "&".join(part for part in (parts.query, urlencode(query)) if part)
    return parts._replace(query=joined, fragment="").geturl()


def _read(body: bytes, realm: str) -> tuple[str, float]:
    try:
        reply: dict[str, Any] = json.loads(body)
        token = reply.get("token") or reply.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        reply, token = {}, None
    if not isinstance(token, str) or not is_token(token):
        raise InvalidResponse("the token service answered without a token", url=realm)
    lifetime = reply.get("expires_in")
    if isinstance(lifetime, int | float) and lifetime > 0:
        return f"Bearer {token}", float(lifetime)
    return f"Bearer {token}", _own_lifetime(token)


def _own_lifetime(token: str) -> float:
    """Seconds that a token gives itself, for a service that leaves `expires_in` out (Azure's does)."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
        lifetime = float(claims["exp"] - claims.get("nbf", claims.get("iat")))
    except (jwt.PyJWTError, KeyError, TypeError, ValueError):
        return _LIFETIME
    return lifetime if lifetime > 0 else _LIFETIME
