"""Who sent a notification: one class for each way in which a vendor can prove it.

Pure but for the keys of `IdentityToken`, which come from a source that it is given. Every secret is compared in the
same time, all of them each time: several are good while they are rotated.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias

import jwt

#: Bounded, for logs and metrics.
RefusalReason: TypeAlias = Literal[
    "no_credential", "wrong_credential", "not_configured", "keys_unavailable", "too_large", "too_slow", "busy"
]

#: What the token of Pub/Sub says of its issuer, either way.
GOOGLE_ISSUERS: Final = ("https://accounts.google.com", "accounts.google.com")
#: Seconds by which two clocks may differ.
LEEWAY: Final = 60


class Refused(Exception):
    """It is not proven who sent this. `temporary`: it could not be found out, so send it again."""

    def __init__(self, reason: RefusalReason, message: str, *, temporary: bool = False) -> None:
        super().__init__(message)
        self.reason: RefusalReason = reason
        self.temporary = temporary


@dataclass(frozen=True, slots=True)
class Sender:
    """What a request shows besides its body. Header names are in lower case, values decoded as Latin-1, as WSGI hands
    them on; the values of the query as UTF-8. Its `repr` shows neither: secrets are among them."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)


class Check(Protocol):
    """A proof that may need the body."""

    @property
    def done(self) -> bool:
        """Whether it is proven already."""

    def update(self, chunk: bytes) -> None:
        """See the next piece of the raw body."""

    def finish(self) -> None:
        """The body was seen whole.

        :raises Refused: it does not fit.
        """


class Scheme(Protocol):
    """A way to prove who sends."""

    def begin(self, sender: Sender) -> Check:
        """Check what there is before the body.

        :raises Refused: nothing that could follow would do.
        """


@dataclass(frozen=True, slots=True)
class Proven:
    """No body is needed any more."""

    done: bool = True

    def update(self, chunk: bytes) -> None:
        pass

    def finish(self) -> None:
        pass


@dataclass(frozen=True, slots=True, repr=False)
class HeaderSecret:
    """A secret in a header: raw as GitLab sends it, as `Bearer`, or as the password of `Basic`."""

    secrets: tuple[bytes, ...]
    #: Headers that may hold it, in lower case.
    names: tuple[str, ...] = ("authorization",)
    #: Of the query, what may hold it: for vendors that can send no header.
    parameters: tuple[str, ...] = ()
    advice: str = ""

    def begin(self, sender: Sender) -> Check:
        values = [sender.headers[name] for name in self.names if name in sender.headers]
        candidates = [one for value in values for one in _candidates(value.encode("latin-1", errors="replace"))]
        for parameter in self.parameters:
            candidates += [value.encode(errors="replace") for value in sender.query.get(parameter, ())[:2]]
        # All pairs are compared, without stopping at the first that fits.
        if sum(_same(given, secret) for given in candidates for secret in self.secrets):
            return Proven()
        raise Refused("wrong_credential" if candidates else "no_credential", self.advice)


@dataclass(frozen=True, slots=True, repr=False)
class HubSignature:
    """GitHub's `X-Hub-Signature-256`: the HMAC of the raw body.

    https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
    """

    secrets: tuple[bytes, ...]
    advice: str = ""

    def begin(self, sender: Sender) -> Check:
        kind, _, given = sender.headers.get("x-hub-signature-256", "").strip().partition("=")
        if kind.lower() != "sha256" or len(given) != hashlib.sha256().digest_size * 2:
            raise Refused("no_credential", self.advice)
        return _Signing(given.lower(), [hmac.new(secret, digestmod="sha256") for secret in self.secrets], self.advice)


@dataclass(slots=True, repr=False)
class _Signing:
    given: str
    expected: list[hmac.HMAC]
    advice: str
    done: bool = False

    def update(self, chunk: bytes) -> None:
        for each in self.expected:
            each.update(chunk)

    def finish(self) -> None:
        if not sum(_same(self.given.encode("utf-8", "replace"), each.hexdigest().encode()) for each in self.expected):
            raise Refused("wrong_credential", self.advice)
        self.done = True


class KeySource(Protocol):
    """Finds public keys."""

    def find(self, kid: str) -> Any:
        """The key with this id, as PyJWT takes it.

        :raises Refused: there is none, or it cannot be found out now.
        """


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """Google's OpenID Connect token as Pub/Sub sends it: for our audience, by Google, of the service account named.

    https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions
    """

    audience: str
    emails: tuple[str, ...]
    keys: KeySource
    issuers: tuple[str, ...] = GOOGLE_ISSUERS
    advice: str = ""

    def begin(self, sender: Sender) -> Check:
        scheme, _, token = sender.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Refused("no_credential", self.advice)
        claims = self._claims(token.strip())
        email = claims.get("email")
        given = email.encode(errors="replace") if isinstance(email, str) else b""
        known = sum(_same(given, each.encode()) for each in self.emails)
        if not known or claims.get("email_verified") is not True:
            raise Refused("wrong_credential", self.advice)
        return Proven()

    def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            if not isinstance(kid, str):
                raise Refused("wrong_credential", self.advice)
            found: Mapping[str, Any] = jwt.decode(
                token,
                self.keys.find(kid),
                # Named here and not taken from the token, which anybody can write.
                algorithms=["RS256"],
                audience=self.audience,
                issuer=list(self.issuers),
                leeway=LEEWAY,
                options={"require": ["exp", "iat", "aud", "iss"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise Refused("wrong_credential", self.advice) from None
        return found


@dataclass(frozen=True, slots=True)
class Closed:
    """Nobody is let in: what the dialect needs is not set."""

    advice: str

    def begin(self, sender: Sender) -> Check:  # noqa: ARG002 - whoever it is
        raise Refused("not_configured", self.advice)


def _candidates(header: bytes) -> Iterator[bytes]:
    yield header
    scheme, _, value = header.partition(b" ")
    if scheme.lower() == b"bearer":
        yield value.strip()
    elif scheme.lower() == b"basic":
        try:
            yield base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return


def _same(given: bytes, expected: bytes) -> bool:
    # Hashed first: compare_digest tells the length of what it compares.
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(expected).digest())


def encoded(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """Secrets as schemes take them."""
    return tuple(secret.encode() for secret in secrets)
