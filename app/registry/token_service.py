"""Authenticators that get their tokens from a token service, as a registry's challenge says.

Source: the token specification of CNCF Distribution (docs/spec/auth/token.md, oauth.md).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from app.registry.auth import TOKENS_KEPT, Challenge, Fetch, Scope
from app.registry.credential import Alone, Credential, Credentials, Fixed, Issued, TokenShare, Use
from app.registry.errors import InvalidResponse, RegistryError, Rejected, Unauthorized
from app.registry.token_request import request_token

#: Concurrent requests of one scope share one request to the token service; the locks are as many as this.
_LOCKS = 32

#: Seconds before another try to renew a token that is still good, after the token service failed.
_PAUSE = 5.0

#: Seconds between two renewals because of a 403, which is said far more often to who lacks a right.
_DENIED_PAUSE = 600.0


class Account:
    """Whoever `credentials` says: shown to the registry itself, or exchanged where it names a token service.

    Tokens are kept per scope, and in common with other processes where there is a `share`. The service is remembered,
    so later requests come with a token at once. The credentials go to the registry and to the realm it names, which
    must not be plain http when the registry is not; `fetch` has its own word on which hosts that may be.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        clock: Callable[[], float] = time.monotonic,
        share: TokenShare | None = None,
    ) -> None:
        #: Where the present credential comes from.
        self.credentials = credentials
        self._tokens = _TokenService(credentials, clock, share or Alone())

    def authorization(self, scope: Scope, fetch: Fetch) -> str | None:
        """Return a token once a token service is known, the credential itself until then."""
        return self._tokens.authorization(scope, fetch)

    def renew(self, scope: Scope, challenge: Challenge, rejected: str | None, fetch: Fetch) -> str | None:
        """Return a token as the challenge says, or the credential itself if it has not been refused yet."""
        return self._tokens.renew(scope, challenge, rejected, fetch)

    def denied(self, rejected: str | None, fetch: Fetch) -> str | None:
        """Return another credential after 403 to one that was shown to the registry itself, None where that is no help.

        So Amazon answers to one that has ended, without a challenge. Now and then alone: most who are denied lack a
        right.
        """
        return self._tokens.denied(rejected, fetch)


class Basic(Account):
    """A user and a password."""

    def __init__(
        self,
        username: str,
        password: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        share: TokenShare | None = None,
    ) -> None:
        super().__init__(Fixed(Credential(username, password)), clock=clock, share=share)


class Anonymous(Account):
    """Nobody: no credentials, but an anonymous token where the registry asks for one."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, share: TokenShare | None = None) -> None:
        super().__init__(Fixed(None), clock=clock, share=share)


class OwnTokenService:
    """A user and a password at a token service of our own choice, whatever realm the registry names.

    Nothing is asked before the registry has asked for a token: it may want none. The credentials go to `realm` alone,
    by `fetch`, which knows how that is reached; never to the registry.
    """

    def __init__(
        self, username: str, password: str, realm: str, fetch: Fetch, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tokens = _TokenService(Fixed(Credential(username, password)), clock, Alone())
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


@dataclass(frozen=True, slots=True)
class _Token:
    """A token for one scope, as the header that shows it, and instants by our clock."""

    header: str = field(repr=False)
    renew_at: float
    ends_at: float


class _TokenService:
    """The tokens of one account at the token service of one registry."""

    def __init__(self, credentials: Credentials, clock: Callable[[], float], share: TokenShare) -> None:
        self._credentials = credentials
        self._clock = clock
        self._share = share
        self._known: Challenge | None = None
        self._wants_basic = False
        self._denied_until = float("-inf")
        self._kept: OrderedDict[Scope, _Token] = OrderedDict()
        self._lock = threading.Lock()
        self._scope_locks = tuple(threading.Lock() for _ in range(_LOCKS))

    def authorization(self, scope: Scope, fetch: Fetch) -> str | None:
        known = self._known
        if known is None:
            credential = self._credentials.current(fetch)
            return None if credential is None else self._direct(credential)
        with self._scope_locks[hash(scope) % _LOCKS]:
            return self._fresh(scope) or self._obtain(scope, known, scope.names, None, fetch)

    def renew(self, scope: Scope, challenge: Challenge, rejected: str | None, fetch: Fetch) -> str | None:
        if challenge.scheme != "bearer" or not challenge.realm:
            self._known = None
            self._wants_basic = challenge.scheme == "basic"
            return self._other(rejected, fetch)
        _require_safe_realm(challenge)
        with self._scope_locks[hash(scope) % _LOCKS]:
            fresh = self._fresh(scope)
            if fresh is not None and fresh != rejected:
                return fresh  # another thread has renewed it
            # What the registry says it misses comes first: some services look at the first scope alone.
            names = [*challenge.scopes, *(name for name in scope.names if name not in challenge.scopes)]
            header = self._obtain(scope, challenge, names, rejected, fetch)
            self._known = challenge
            return header

    def denied(self, rejected: str | None, fetch: Fetch) -> str | None:
        if self._known is not None or rejected is None:
            return None
        credential = self._credentials.current(fetch)
        if credential is None:
            return None
        header = self._direct(credential)
        if header != rejected:
            return header  # another thread has renewed it
        with self._lock:
            if self._clock() < self._denied_until:
                return None
            self._denied_until = self._clock() + _DENIED_PAUSE
        renewed = self._credentials.renewed(credential, fetch)
        return None if renewed is None else self._direct(renewed)

    def _direct(self, credential: Credential) -> str | None:
        if self._wants_basic and credential.use is not Use.REFRESH:
            return credential.basic
        return credential.direct

    def _other(self, rejected: str | None, fetch: Fetch) -> str | None:
        """The credential itself, a new one if the present one was refused."""
        credential = self._credentials.current(fetch)
        if credential is None:
            return None
        header = self._direct(credential)
        if header != rejected:
            return header
        renewed = self._credentials.renewed(credential, fetch)
        return None if renewed is None else self._direct(renewed)

    def _fresh(self, scope: Scope) -> str | None:
        with self._lock:
            kept = self._kept.get(scope)
            return kept.header if kept is not None and self._clock() < kept.renew_at else None

    def _obtain(
        self, scope: Scope, challenge: Challenge, names: Sequence[str], rejected: str | None, fetch: Fetch
    ) -> str:
        # The realm is a part of the name: what one service gave is not shown where another is named.
        name = " ".join((challenge.realm, challenge.service, *names))
        besides = rejected.removeprefix("Bearer ") if rejected else None
        try:
            issued = self._share.obtain(name, lambda: self._issue(challenge, names, fetch), besides)
        except RegistryError:
            if (good := self._still_good(scope, rejected)) is None:
                raise
            return good
        now = self._clock()
        token = _Token(f"Bearer {issued.secret}", now + issued.lifetime - issued.early, now + issued.lifetime)
        self._keep(scope, token)
        return token.header

    def _issue(self, challenge: Challenge, names: Sequence[str], fetch: Fetch) -> Issued:
        credential = self._credentials.current(fetch)
        try:
            return request_token(challenge, names, credential, fetch)
        except (Unauthorized, Rejected) as error:
            # A refresh token that is no longer good is answered with 400 (RFC 6749, 5.2).
            refused = isinstance(error, Unauthorized) or (credential is not None and credential.use is Use.REFRESH)
            renewed = self._credentials.renewed(credential, fetch) if credential is not None and refused else None
            if renewed is None:
                raise
            return request_token(challenge, names, renewed, fetch)

    def _still_good(self, scope: Scope, rejected: str | None) -> str | None:
        """The former token, while it has not ended and nobody refused it; the service is then left alone for a bit."""
        now = self._clock()
        with self._lock:
            kept = self._kept.get(scope)
            if kept is None or kept.header == rejected or now >= kept.ends_at:
                return None
            self._kept[scope] = replace(kept, renew_at=min(now + _PAUSE, kept.ends_at))
            return kept.header

    def _keep(self, scope: Scope, token: _Token) -> None:
        with self._lock:
            self._kept[scope] = token
            self._kept.move_to_end(scope)
            now = self._clock()
            while self._kept and (len(self._kept) > TOKENS_KEPT or next(iter(self._kept.values())).ends_at <= now):
                self._kept.popitem(last=False)


def _require_safe_realm(challenge: Challenge) -> None:
    try:
        realm = urlsplit(challenge.realm)
        usable = realm.scheme in ("http", "https") and bool(realm.hostname) and realm.username is None
    except ValueError:
        usable = False
    if not usable:
        raise InvalidResponse("the token service that the registry names is no URL", url=challenge.realm)
    if realm.scheme == "http" and urlsplit(challenge.url).scheme == "https":
        raise InvalidResponse(
            "the registry is https but names a token service over plain http; no credentials are sent there",
            reason="insecure_realm",
            url=challenge.realm,
        )
