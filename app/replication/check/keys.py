"""Keys: our certificate's dates, and why a registry does not take a token of ours.

Distribution answers every bad token alike, with 401 `invalid_token`. What is wrong is found by what it does say (the
service, in its challenge; the time), by what its own token service hands out, and by tokens that differ in one thing.
Source: the order in which Distribution verifies (registry/auth/token): issuer, audience, dates, key, signature.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.registry import InvalidKey, RegistryError, SigningKey
from app.registry.auth import Challenge
from app.replication.check.examination import Examination
from app.replication.check.finding import Finding, Id, error, warning
from app.replication.check.probe import Probe
from app.replication.credentials import key_token
from app.settings import AuthKind, RegistrySettings

#: Before the end of a certificate there is something to be done.
NOTICE = timedelta(days=14)

#: Issuers that registries are commonly set up with: GitLab's packages and charts, Harbor, Docker's examples, ours.
COMMON_ISSUERS = (
    "geo-registry",
    "gitlab-issuer",
    "omnibus-gitlab-issuer",
    "harbor-token-issuer",
    "registry-token-issuer",
    "Auth Service",
)


def dates(examination: Examination, side: str) -> Finding | None:
    """What is to be said of the dates of our certificate for this registry.

    Raises:
        InvalidKey: when it cannot be read.
    """
    registry = examination.registry(side)
    path = registry.certificate_path
    if registry.auth is not AuthKind.TOKEN or path is None:
        return None
    certificate = _certificate(registry)
    instant = datetime.fromtimestamp(examination.clock(), UTC)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    why = "The registry verifies the certificate in each token, and refuses tokens with one that is not valid."
    again = (
        f"A new certificate of the same key, in {path} and in the registry's `auth.token.rootcertbundle`:"
        f" openssl req -x509 -key {registry.key_path} -days 3650 -subj /CN=geo-registry -out {path}"
    )
    if instant > ends:
        return error(Id.CERTIFICATE_EXPIRED, side, f"our certificate expired at {ends:%Y-%m-%d %H:%M} UTC", why, again)
    if instant < begins:
        title = f"our certificate is valid only from {begins:%Y-%m-%d %H:%M} UTC on"
        return error(Id.CERTIFICATE_NOT_YET_VALID, side, title, why, f"Set the clock by NTP. If it is right: {again}")
    if ends - instant < NOTICE:
        return warning(Id.CERTIFICATE_EXPIRING, side, f"our certificate expires at {ends:%Y-%m-%d}", why, again)
    return None


def expiry(registry: RegistrySettings) -> datetime | None:
    """When our certificate for this registry ends; None without one.

    Raises:
        InvalidKey: when it cannot be read.
    """
    return None if registry.certificate_path is None else _certificate(registry).not_valid_after_utc


def refused(examination: Examination, side: str, probe: Probe, challenge: Challenge | None) -> Finding:
    """Why the registry answers 401 to our token: what is provably wrong, else what is left. Dates are right."""
    registry = examination.registry(side)
    if challenge is not None and challenge.scheme == "bearer" and challenge.service != registry.service:
        return error(
            Id.SERVICE_WRONG,
            side,
            f"it wants tokens for the service {challenge.service!r}, and ours are for {registry.service!r}",
            _WHY,
            f"export {_variable(examination, side, 'SERVICE')}={challenge.service}",
        )
    issuer = _issuer_that_is_taken(examination, side)
    if issuer is not None:
        return _issuer(examination, side, issuer)
    if registry.certificate_path is not None and _accepted(examination, side, with_certificate=False):
        return error(
            Id.CERTIFICATE_UNTRUSTED,
            side,
            "it trusts our key, and not the certificate that we send with it",
            _WHY,
            f"auth.token.rootcertbundle: add the certificate in {registry.certificate_path}, and restart the registry",
        )
    theirs = _token_of_their_own(probe, challenge)
    if theirs is not None and theirs[0] != registry.issuer:
        return _issuer(examination, side, theirs[0])
    trust = (
        f"auth.token.rootcertbundle: add the certificate of our key"
        f" ({registry.certificate_path or f'key {registry.key_path}'}), and restart the registry"
    )
    if theirs is not None and not _is_ours(theirs[1], registry):
        return error(Id.KEY_UNTRUSTED, side, "it does not trust our key: its own tokens have another", _WHY, trust)
    return error(
        Id.KEY_OR_ISSUER_UNTRUSTED,
        side,
        f"it does not trust our key, or its issuer is not {registry.issuer!r}; service, clock and dates are right",
        f"{_WHY} Its log says which: `token from untrusted issuer`, or `token signed by untrusted key` and"
        " `unable to verify certificate chain`.",
        f"{trust}; or export {_variable(examination, side, 'ISSUER')}=what `auth.token.issuer` says there",
    )


_WHY = "Every request there is answered with 401, so nothing can be replicated."


def _issuer(examination: Examination, side: str, issuer: str) -> Finding:
    ours = examination.registry(side).issuer
    title = f"it trusts the issuer {issuer!r}, and our tokens are by {ours!r}"
    return error(
        Id.ISSUER_UNTRUSTED, side, title, _WHY, f"export {_variable(examination, side, 'ISSUER')}={_quoted(issuer)}"
    )


def _issuer_that_is_taken(examination: Examination, side: str) -> str | None:
    settings = examination.settings
    others = [each.issuer for each in (settings.primary, settings.secondary) if each is not None]
    ours = examination.registry(side).issuer
    for issuer in dict.fromkeys([*others, *COMMON_ISSUERS]):
        if issuer != ours and _accepted(examination, side, issuer=issuer):
            return issuer
    return None


def _accepted(examination: Examination, side: str, *, issuer: str | None = None, with_certificate: bool = True) -> bool:
    registry = examination.registry(side)
    token = key_token(registry, examination.clock, issuer=issuer, with_certificate=with_certificate)
    with Probe(registry, token, examination) as probe:
        return probe.accepts()


def _token_of_their_own(probe: Probe, challenge: Challenge | None) -> tuple[str, dict[str, Any]] | None:
    """Issuer and JOSE header of what the registry's token service gives to anybody; None where it gives nothing."""
    if challenge is None or challenge.scheme != "bearer" or not challenge.realm:
        return None
    try:
        answer = json.loads(probe.token_of(challenge))
        token = answer.get("token") or answer.get("access_token")
        claims = jwt.decode(token, options={"verify_signature": False})
        issuer, header = claims["iss"], jwt.get_unverified_header(token)
    except (RegistryError, ValueError, AttributeError, KeyError, jwt.PyJWTError):
        return None
    return (issuer, header) if isinstance(issuer, str) else None


def _is_ours(header: dict[str, Any], registry: RegistrySettings) -> bool:
    """Whether a token with this header was signed by our key; one that does not say which counts as ours."""
    assert registry.key_path is not None
    key = SigningKey.load(registry.key_path)
    chain = header.get("x5c")
    if chain:
        try:
            leaf = x509.load_der_x509_certificate(base64.b64decode(chain[0]))
        except (ValueError, TypeError):
            return True
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return leaf.public_key().public_bytes(*form) == key.key.public_key().public_bytes(*form)
    return header.get("kid") in {None, key.libtrust_kid, key.thumbprint}


def _certificate(registry: RegistrySettings) -> x509.Certificate:
    assert registry.certificate_path is not None
    try:
        return x509.load_pem_x509_certificates(registry.certificate_path.read_bytes())[0]
    except (OSError, ValueError):
        raise InvalidKey(f"{registry.certificate_path} holds no PEM certificate that can be read") from None


def _variable(examination: Examination, side: str, name: str) -> str:
    """The variable to set: the shared one, unless only one of the two sides is wrong while they share it."""
    settings = examination.settings
    two = settings.secondary is not None and settings.primary.auth is settings.secondary.auth
    return f"GEO_{side.upper()}_REGISTRY_{name}" if two else f"GEO_REGISTRY_{name}"


def _quoted(value: str) -> str:
    return f"'{value}'" if " " in value else value
