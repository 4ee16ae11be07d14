"""Who we are to a registry: what is used, until when it is good, and what to change where it is not to be had."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

from app.providers.credentials import Renewal
from app.registry import Account, Authenticator, NoCredentials, RegistryError
from app.registry.auth import Challenge
from app.replication.check import keys
from app.replication.check.examination import Examination
from app.replication.check.finding import Finding, Id, error
from app.settings import AuthKind, RegistrySettings

_WHY = "Every request there is answered with 401, so nothing can be replicated."

#: Reasons for which a token service is not asked.
REALM_REASONS = frozenset({"foreign_realm", "private_realm", "insecure_realm"})

_ACCOUNTS = {
    AuthKind.TOKEN: "the token that our key signs",
    AuthKind.BASIC: "our user and password",
    AuthKind.BEARER: "our fixed token",
    AuthKind.ANONYMOUS: "us without credentials",
    AuthKind.SITE: "the token that the primary's deployment gives us",
    AuthKind.ECR: "our token of Amazon ECR",
    AuthKind.ACR: "our credentials of Azure",
    AuthKind.GAR: "our credentials of Google Cloud",
    AuthKind.GHCR: "our personal access token",
    AuthKind.DOCKER: "what Docker has for it",
}


def account(kind: AuthKind) -> str:
    """Who we are, in a few words."""
    return _ACCOUNTS[kind]


def used(examination: Examination, registry: RegistrySettings, authenticator: Authenticator) -> str:
    """Which credentials have just been taken, and until when they are good where that is known."""
    now = examination.clock()
    if isinstance(authenticator, Account) and isinstance(authenticator.credentials, Renewal):
        standing = authenticator.credentials.standing()
        if standing is not None:
            ends, renewed = now + standing.lifetime, now + standing.renewed_in
            if not standing.ends:
                return f"{standing.what}, good until they are changed there"
            return f"{standing.what}, good until {_instant(ends)}, renewed from {_instant(renewed)} on"
    if registry.auth is AuthKind.TOKEN:
        ends_at = keys.expiry(registry)
        return account(registry.auth) + (f", by a certificate good until {ends_at:%Y-%m-%d}" if ends_at else "")
    if registry.username and registry.password and registry.auth is not AuthKind.ANONYMOUS:
        return f"{account(AuthKind.BASIC)} ({registry.username}), good until they are changed there"
    return account(registry.auth)


def missing(side: str, problem: NoCredentials) -> Finding:
    """There is nothing to show to the registry."""
    return error(
        Id.REGISTRY_CREDENTIALS_MISSING,
        side,
        f"we have no credentials for it: {problem.message}",
        "Nothing is asked there without them, so nothing can be replicated.",
        problem.fix.replace("GEO_…_", f"GEO_{side.upper()}_") or "Look at the log, then run `geo check` again.",
    )


def refused(side: str, kind: AuthKind, challenge: Challenge | None) -> Finding:
    """The registry answers 401 to what we have."""
    wanted = "a user and password" if challenge is not None and challenge.scheme == "basic" else "a token"
    prefix = f"GEO_{side.upper()}_REGISTRY_"
    if kind in _FIXES:
        fix = _FIXES[kind].format(prefix=prefix)
    elif wanted == "a token":
        fix = f"export {prefix}KEY_PATH=… (`geo keygen`), or {prefix}AUTH=basic with {prefix}USERNAME and …_PASSWORD"
    else:
        fix = f"export {prefix}AUTH=basic {prefix}USERNAME=… {prefix}PASSWORD=…"
    return error(Id.REGISTRY_CREDENTIALS, side, f"it wants {wanted}, and does not take {account(kind)}", _WHY, fix)


def token_service(side: str, kind: AuthKind, problem: RegistryError) -> Finding:
    """The token service that the registry names gives us nothing, or is not asked."""
    prefix = f"GEO_{side.upper()}_REGISTRY_"
    if problem.reason in REALM_REASONS:
        return _realm(side, prefix, problem)
    if kind is AuthKind.SITE:
        fix = (
            "export GEO_PRIMARY_URL=… GEO_SITE_NAME=… GEO_SITE_TOKEN=…: `geo sites token NAME`, at the primary's"
            " deployment, makes a new token"
        )
    elif kind in _FIXES:
        fix = _FIXES[kind].format(prefix=prefix)
    else:
        fix = (
            f"export {prefix}KEY_PATH=… to sign tokens without it (`geo keygen`); or put {prefix}USERNAME and"
            " …_PASSWORD right, and let us reach `auth.token.realm`"
        )
    return error(
        Id.REGISTRY_CREDENTIALS,
        side,
        f"its token service gives us no token: {problem}",
        "Without one every request there is answered with 401, so nothing can be replicated.",
        fix,
    )


def _realm(side: str, prefix: str, problem: RegistryError) -> Finding:
    host = urlsplit(problem.url or "").netloc
    if problem.reason == "insecure_realm":
        fix = f"Let the registry's `auth.token.realm` be https, as {host} should be"
    else:
        fix = f"If {host} is right, export {prefix}TOKEN_HOSTS={host}; else mend the registry's `auth.token.realm`"
    return error(
        Id.REGISTRY_REALM,
        side,
        problem.message,
        "Whoever answers as the registry could have our credentials sent anywhere, or have us ask what only we can"
        " reach. Without a token nothing can be replicated.",
        fix,
    )


_FIXES = {
    AuthKind.ECR: "Let the policy of the repositories, and of our role, allow it: the managed policy"
    " AmazonEC2ContainerRegistryPullOnly (primary) or …PowerUser (secondary); and is the account in its address right?",
    AuthKind.ACR: "Give our identity the role AcrPull (primary), AcrPush and AcrDelete (secondary) on it; or put"
    " {prefix}USERNAME and …_PASSWORD right",
    AuthKind.GAR: "Give our service account the role Artifact Registry Reader (primary) or Repository Administrator"
    " (secondary); or put {prefix}USERNAME and …_PASSWORD right",
    AuthKind.GHCR: "export {prefix}USERNAME=… {prefix}PASSWORD=a personal access token (classic) with read:packages"
    " (primary) or write:packages (secondary); one with SSO has to be authorized for the organization",
    AuthKind.DOCKER: "Log in again: docker login HOST (as the user that geo-registry runs as), with the file of"
    " {prefix}DOCKER_CONFIG",
}


def _instant(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
