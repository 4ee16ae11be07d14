"""A registry: is it one, does it take who we are, and does it list what it has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice

from app.providers import Catalog, provider_of
from app.registry import (
    Denied,
    InvalidKey,
    InvalidResponse,
    NoCredentials,
    RegistryError,
    TLSFailed,
    Unauthorized,
    Unreachable,
)
from app.replication.check import credentials, keys
from app.replication.check.examination import Examination
from app.replication.check.finding import Finding, Id, Severity, error, fine, warning
from app.replication.check.probe import Greeting, Probe, authenticator
from app.replication.scope import Scope
from app.settings import AuthKind

#: Seconds that Distribution tolerates between its clock and the dates of a token.
LEEWAY = 60.0

#: Seconds after which two clocks are worth a word.
DRIFTING = 15.0

#: Repositories, and tags of one, that are walked page by page.
_WALKED = 3
_TAGS_WALKED = 20

ADDRESS = {"primary": "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL", "secondary": "GEO_SECONDARY_REGISTRY_URL"}


def primary(examination: Examination) -> Sequence[Finding]:
    """The primary registry, down to its listings."""
    return list(_findings(examination, "primary"))


def secondary(examination: Examination) -> Sequence[Finding]:
    """The secondary registry, as far as it can be told without writing there."""
    if examination.settings.secondary is None:
        return [fine("secondary", "none in this deployment (GEO_ROLE=primary)")]
    return list(_findings(examination, "secondary"))


def _findings(examination: Examination, side: str) -> Iterator[Finding]:
    registry = examination.registry(side)
    try:
        account = authenticator(examination, side)
        dated = keys.dates(examination, side)
    except InvalidKey as problem:
        yield error(
            Id.KEY_UNUSABLE,
            side,
            str(problem),
            "No token can be signed, and no process starts.",
            f"export GEO_{side.upper()}_REGISTRY_KEY_PATH=…, and …_CERTIFICATE_PATH=the certificate of that very key;"
            " `geo keygen` makes both",
        )
        return
    with Probe(registry, account, examination) as probe:
        try:
            greeting = probe.greet()
        except RegistryError as problem:
            yield _unreached(side, registry.url, problem)
            return
        strange = _strange(side, registry.url, greeting)
        if strange is not None:
            yield strange
            return
        told = [each for each in (dated, _clock(side, greeting)) if each is not None]
        yield from told
        try:
            probe.client.ping()
        except NoCredentials as problem:
            yield credentials.missing(side, problem)
            return
        except Unauthorized:
            # An error that was told already is the reason.
            if not any(each.severity is Severity.ERROR for each in told):
                yield _refused(examination, side, probe, greeting)
            return
        except Denied as problem:
            yield _denied(side, problem)
            return
        except RegistryError as problem:
            elsewhere = problem.url is not None and not probe.endpoint.is_own(problem.url)
            yield credentials.token_service(side, registry.auth, problem) if elsewhere else _failing(side, problem)
            return
        yield fine(side, f"{registry.url} answers, and takes {credentials.used(examination, registry, account)}")
        if side == "primary":
            yield from _listings(examination, probe)


def _unreached(side: str, url: str, problem: RegistryError) -> Finding:
    variable = ADDRESS[side]
    if isinstance(problem, TLSFailed):
        return error(
            Id.REGISTRY_TLS,
            side,
            problem.message,
            "The connection is refused by us: whoever answers there could be anybody.",
            f"export GEO_{side.upper()}_REGISTRY_CA_PATH=/path/to/the/authority.pem that signed its certificate; if it"
            f" speaks plain http there: export {variable}={url.replace('https://', 'http://')}",
        )
    if isinstance(problem, Unreachable):
        return error(
            Id.REGISTRY_UNREACHABLE,
            side,
            f"{url} cannot be reached: {problem.message}",
            "Nothing can be replicated; what is owed waits.",
            f"Start the registry, look at the firewall between, or put the address right: export {variable}=…",
        )
    return _failing(side, problem)


def _strange(side: str, url: str, greeting: Greeting) -> Finding | None:
    """What is wrong when no registry answers as one does."""
    variable, status = ADDRESS[side], greeting.status
    if status in {301, 302, 303, 307, 308}:
        target = greeting.headers.get("Location", "").partition("?")[0]
        return error(
            Id.REGISTRY_REDIRECTS,
            side,
            f"{url} redirects to {target or 'somewhere else'}",
            "Our token is not sent to another address than the one that was set.",
            f"export {variable}={target.rstrip('/').removesuffix('/v2') or '…'}",
        )
    if status >= 500:
        return error(
            Id.REGISTRY_FAILING,
            side,
            f"{url} answers {status}",
            "Nothing can be replicated; what is owed waits.",
            "Look at the registry's log, and at the proxy before it.",
        )
    if status in {401, 403} or (status == 200 and _is_registry(greeting)):
        return None
    https = b"HTTPS server" in greeting.body
    right = url.replace("http://", "https://") if https else "the registry's root, such as https://HOST:5050"
    return error(
        Id.REGISTRY_ADDRESS,
        side,
        f"what answers at {url} is no registry: {status} to /v2/{', it wants https' if https else ''}",
        "Nothing can be replicated.",
        f"export {variable}={right}",
    )


def _is_registry(greeting: Greeting) -> bool:
    if "Docker-Distribution-Api-Version".lower() in {name.lower() for name in greeting.headers}:
        return True
    try:
        json.loads(greeting.body or b"{}")
    except ValueError:
        return False
    return True


def _clock(side: str, greeting: Greeting) -> Finding | None:
    ahead = greeting.ahead
    if ahead is None or abs(ahead) <= DRIFTING:
        return None
    title = f"its clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} ours"
    fix = "Set the clocks of both machines by NTP: timedatectl set-ntp true"
    if abs(ahead) > LEEWAY:
        return error(
            Id.REGISTRY_CLOCK, side, title, "To the registry our tokens are of the past or the future: 401.", fix
        )
    why = f"Beyond {LEEWAY:.0f} s the registry refuses our tokens, and lag is told wrong by as much."
    return warning(Id.REGISTRY_CLOCK, side, title, why, fix)


def _refused(examination: Examination, side: str, probe: Probe, greeting: Greeting) -> Finding:
    registry, challenge = examination.registry(side), greeting.challenge
    if registry.auth is AuthKind.TOKEN and (challenge is None or challenge.scheme == "bearer"):
        return keys.refused(examination, side, probe, challenge)
    return credentials.refused(side, registry.auth, challenge)


def _denied(side: str, problem: RegistryError) -> Finding:
    return error(
        Id.REGISTRY_DENIED,
        side,
        f"it knows us and refuses: {problem.message}",
        "Nothing can be replicated.",
        f"Give the account of GEO_{side.upper()}_REGISTRY_USERNAME the right to pull"
        f"{', push and delete' if side == 'secondary' else ''} there.",
    )


def _failing(side: str, problem: RegistryError) -> Finding:
    return error(
        Id.REGISTRY_FAILING,
        side,
        str(problem),
        "Nothing can be replicated; what is owed waits.",
        "Look at the registry's log, and at the proxy before it.",
    )


def _listings(examination: Examination, probe: Probe) -> Iterator[Finding]:
    """The catalog and tags, whole and page by page: what is not listed is never reconciled."""
    if examination.settings.primary.auth is AuthKind.SITE or Scope(examination.settings.repositories).is_list:
        return
    provider = provider_of(examination.settings.primary)
    kind = provider.profile.catalog
    try:
        whole = next(provider.lister(probe.client).catalog()).repositories
    except RegistryError as problem:
        yield error(
            Id.REGISTRY_CATALOG,
            "primary",
            f"it does not list its repositories: {problem.message}",
            "What no event told of is never found: neither what was there before, nor what was lost.",
            ("" if kind is Catalog.NO else "Give our account the catalog (`registry:catalog:*`), or ")
            + "name the repositories: export GEO_REPOSITORIES='team/app team/web'",
        )
        return
    finally:
        provider.close()
    if kind is Catalog.CONTROL_PLANE:
        yield fine("primary", "its control plane lists its repositories")
        return
    try:
        problem_seen = _pages_differ(probe, whole)
    except InvalidResponse as problem:
        problem_seen = problem.message
    if problem_seen is not None:
        yield error(
            Id.REGISTRY_PAGINATION,
            "primary",
            f"its listings are not whole: {problem_seen}",
            "A listing that is cut short hides repositories and tags; nothing is deleted by one, nothing found either.",
            "Let the proxy before it pass on the query (`n`, `last`) and the `Link` header unchanged.",
        )
        return
    yield fine("primary", "lists its repositories and tags, page by page as well")


def _pages_differ(probe: Probe, whole: Sequence[str]) -> str | None:
    walked = [name for page in islice(probe.client.catalog(1), _WALKED) for name in page.repositories]
    # Others may push meanwhile: only what is there both times can be compared.
    if whole and not set(walked) & set(whole):
        return "one repository a page gives others than all at once"
    if len(whole) >= _WALKED > len(set(walked)):
        return f"{len(set(walked))} repositories by pages of one, where there are {len(whole)} at least"
    for repository in whole[:_WALKED]:
        try:
            tags = probe.client.list_tags(repository)
        except InvalidResponse:
            raise
        except RegistryError:
            continue
        if not 1 < len(tags) <= _TAGS_WALKED:
            continue
        if set(probe.client.list_tags(repository, 1)) != set(tags) == set(probe.client.list_tags(repository)):
            return f"the tags of {repository} differ by pages of one"
        break
    return None
