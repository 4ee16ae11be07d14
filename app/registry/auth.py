"""Authenticators: who we are to a registry, and how it is told.

Sources: the OCI distribution specification; the token specification of CNCF Distribution (docs/spec/auth).
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import jwt

from app.registry.tokens import KeyId, SigningKey

#: How many tokens one authenticator keeps; each is for one repository and one set of actions.
TOKENS_KEPT = 4096

#: A token that we mint is used until this many seconds before it expires.
_EARLY = 60.0

#: Minted tokens are valid from this many seconds ago, for a registry whose clock is behind ours.
_BACKDATED = 5


@dataclass(frozen=True, slots=True)
class Scope:
    """What one request needs: actions on a repository, and pull of the repository that a blob is mounted from.

    Without a repository, the action `*` is the catalog and no action is only to be known.
    """

    repository: str | None = None
    actions: tuple[str, ...] = ()
    mount_from: str | None = None

    @classmethod
    def catalog(cls) -> Scope:
        """The scope of listing repositories."""
        return cls(None, ("*",))

    @property
    def access(self) -> list[dict[str, Any]]:
        """The `access` claim of a token (docs/spec/auth/jwt.md)."""
        if self.repository is None:
            return [{"type": "registry", "name": "catalog", "actions": ["*"]}] if self.actions else []
        access = [{"type": "repository", "name": self.repository, "actions": list(self.actions)}]
        if self.mount_from is not None:
            access.append({"type": "repository", "name": self.mount_from, "actions": ["pull"]})
        return access

    @property
    def names(self) -> list[str]:
        """The `scope` parameters of a token request (docs/spec/auth/scope.md)."""
        return [f"{each['type']}:{each['name']}:{','.join(each['actions'])}" for each in self.access]


@dataclass(frozen=True, slots=True)
class Challenge:
    """A `WWW-Authenticate` header (RFC 9110, 11.6.1), and the URL of the request that it answered."""

    url: str
    scheme: str
    realm: str = ""
    service: str = ""
    scopes: tuple[str, ...] = ()
    error: str = ""

    @classmethod
    def parse(cls, header: str, url: str) -> Challenge | None:
        """Return the Bearer challenge of the header if it has one, else the Basic one, else None."""
        found = {scheme: fields for scheme, fields in _challenges(header) if scheme in ("bearer", "basic")}
        for scheme in ("bearer", "basic"):
            if scheme in found:
                fields = found[scheme]
                scopes = tuple(fields.get("scope", "").split())
                realm, service = fields.get("realm", ""), fields.get("service", "")
                return cls(url, scheme, realm, service, scopes, fields.get("error", ""))
        return None

    def within(self, scope: Scope, actions: Collection[str]) -> Challenge:
        """The challenge without what a request that needs `scope`, of a client that may ask for `actions`, has no use
        for: whoever answers as the registry chooses what it says, and gets the token.

        What only reads is left (Azure wants `metadata_read`), and the request's repositories under a prefix: behind a
        proxy, or with the registry's host before them, they may be called otherwise.
        """
        kept = (_useful(named, scope, actions) for named in self.scopes)
        return replace(self, scopes=tuple(named for named in kept if named is not None))


def is_token(text: str) -> bool:
    """Tell whether this can be sent as a bearer token."""
    return _TOKEN.fullmatch(text) is not None


class Fetch(Protocol):
    """How an authenticator makes a request of its own, to a token service.

    Returns the body of a 200, at most 64 KiB; raises `RegistryError` for everything else. Redirects are not followed.
    """

    def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> bytes: ...


class Authenticator(Protocol):
    """Gives the `Authorization` header of each request. Shared by threads."""

    def authorization(self, scope: Scope, fetch: Fetch) -> str | None:
        """Return the header's value for a request that needs `scope`, or None to send none."""
        ...

    def renew(self, scope: Scope, challenge: Challenge, rejected: str | None, fetch: Fetch) -> str | None:
        """Return another value after `rejected` was answered with 401, or None when there is nothing else to try."""
        ...


class StaticBearer:
    """One fixed bearer token; raises `ValueError` for what cannot be one."""

    def __init__(self, token: str) -> None:
        if not is_token(token):
            raise ValueError("a bearer token is printable ASCII without spaces")
        self._header = f"Bearer {token}"

    def authorization(self, scope: Scope, fetch: Fetch) -> str | None:  # noqa: ARG002
        """Return the token, whatever is asked."""
        return self._header

    def renew(self, scope: Scope, challenge: Challenge, rejected: str | None, fetch: Fetch) -> str | None:  # noqa: ARG002
        """Return None: there is no other token."""
        return None


class KeyToken:
    """Tokens that we sign ourselves, with a key pair that the registry trusts: it needs no token service.

    Each token grants exactly what one request asks, for `lifetime` seconds, and is used until a minute before it
    expires. With a certificate it carries that (`x5c`), which every version of Distribution takes. With the key
    alone it names the key the way of 2.x (libtrust) first and, when that is answered with 401, the way of 3.x (RFC
    7638); what was accepted is remembered. `issuer` and `service` must equal the registry's settings.
    """

    def __init__(
        self,
        signing_key: SigningKey,
        issuer: str,
        service: str,
        *,
        subject: str = "geo-registry",
        lifetime: int = 300,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = signing_key
        self._issuer = issuer
        self._service = service
        self._subject = subject
        self._lifetime = lifetime
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: OrderedDict[Scope, tuple[str, float]] = OrderedDict()
        self._key_id: KeyId = "x5c" if signing_key.x5c else "libtrust"

    def authorization(self, scope: Scope, fetch: Fetch) -> str | None:  # noqa: ARG002
        """Return a token for exactly this scope, from the cache while it is fresh."""
        return self.header(scope)

    def header(self, scope: Scope) -> str:
        """Return `Bearer …` for exactly this scope, also for people and token services that have no registry to ask."""
        with self._lock:
            kept = self._tokens.get(scope)
            if kept is not None and self._clock() < kept[1] - min(_EARLY, self._lifetime / 2):
                self._tokens.move_to_end(scope)
                return kept[0]
            return self._mint(scope)

    def renew(self, scope: Scope, challenge: Challenge, rejected: str | None, fetch: Fetch) -> str | None:  # noqa: ARG002
        """Return a new token, naming the key the other way where there is one.

        None when the registry took the token but wants more than the request was known to need: a new token would
        say the same.
        """
        if challenge.error == "insufficient_scope":
            return None
        with self._lock:
            kept = self._tokens.get(scope)
            if kept is not None and kept[0] != rejected:
                return kept[0]  # another thread has renewed it
            if rejected is not None and self._key.x5c is None:
                # Judged by the rejected token itself, so that many threads at once come to the same answer.
                kid = jwt.get_unverified_header(rejected.removeprefix("Bearer ")).get("kid")
                self._key_id = "thumbprint" if kid == self._key.libtrust_kid else "libtrust"
            return self._mint(scope)

    @property
    def lifetime(self) -> int:
        """Seconds that a token lives."""
        return self._lifetime

    @property
    def certified(self) -> bool:
        """Whether tokens carry a certificate, so that nothing has to be found out about the registry first."""
        return self._key.x5c is not None

    def grant(self, access: Sequence[Mapping[str, Any]], subject: str) -> str:
        """Return a token with exactly this `access`, for somebody else: what a token service gives."""
        return self._signed(access, subject, int(self._clock()))

    def _mint(self, scope: Scope) -> str:
        # Whole seconds: Distribution's claims are integers, and a fraction makes the whole token malformed there.
        now = int(self._clock())
        header = f"Bearer {self._signed(scope.access, self._subject, now)}"
        self._tokens[scope] = (header, now + self._lifetime)
        self._tokens.move_to_end(scope)
        # Those used longest ago come first, and none is used once it has expired: with a scope for every pair of
        # repositories between which a blob was mounted, what has expired would soon be most of what is kept.
        while len(self._tokens) > TOKENS_KEPT or next(iter(self._tokens.values()))[1] <= now:
            self._tokens.popitem(last=False)
        return header

    def _signed(self, access: Sequence[Mapping[str, Any]], subject: str, now: int) -> str:
        claims = {
            "iss": self._issuer,
            "sub": subject,
            # A string, not a list: Distribution 2.8 cannot read a list.
            "aud": self._service,
            "exp": now + self._lifetime,
            "nbf": now - _BACKDATED,
            "iat": now,
            "jti": str(uuid.uuid4()),
            "access": list(access),
        }
        return self._key.sign(claims, self._key_id)


#: Type with its class, name and actions of a scope (docs/spec/auth/scope.md). A name may hold a host and its port.
_RESOURCE = re.compile(r"(repository(?:\([a-z0-9]+\))?|registry):(.+):([^:]*)")


def _useful(named: str, scope: Scope, actions: Collection[str]) -> str | None:
    """The scope of a challenge with those of its actions that the request may need, None for none."""
    found = _RESOURCE.fullmatch(named)
    if found is None:
        return None
    kind, name, wanted = found.groups()
    if kind == "registry":
        return named if scope.repository is None else None
    if _same(name, scope.repository):
        allowed = actions
    elif _same(name, scope.mount_from):
        allowed = ("pull",)
    else:
        return None
    left = [each for each in wanted.split(",") if each in allowed or each.endswith("read")]
    return f"{kind}:{name}:{','.join(left)}" if left else None


def _same(name: str, asked: str | None) -> bool:
    return asked is not None and (name == asked or name.endswith(f"/{asked}") or asked.endswith(f"/{name}"))


_TOKEN = re.compile(r"[\x21-\x7e]+")

_PART = re.compile(
    r"""([A-Za-z][A-Za-z0-9-]*)\s+(?=[A-Za-z_]+\s*=)   # a scheme, before its first parameter
      | ([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))  # a parameter, quoted or not
    """,
    re.VERBOSE,
)


def _challenges(header: str) -> list[tuple[str, dict[str, str]]]:
    challenges: list[tuple[str, dict[str, str]]] = []
    for scheme, name, quoted, bare in _PART.findall(header):
        if scheme:
            challenges.append((scheme.lower(), {}))
        elif challenges:
            challenges[-1][1][name.lower()] = bare or re.sub(r"\\(.)", r"\1", quoted)
    return challenges
