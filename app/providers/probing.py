"""Probing: what a registry of which nobody says whose it is shows of itself, without anything being changed there."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from app.providers.profile import Catalog, Deletion, Profile, Referrers, Removal
from app.registry import Denied, Digest, NotFound, RegistryClient, RegistryError, Unauthorized, Unsupported
from app.registry.auth import Challenge
from app.settings import ProviderName


def recognized(challenge: Challenge | None) -> ProviderName | None:
    """Whose registry this most probably is, by the token service that it names; None if that says nothing."""
    if challenge is None or challenge.scheme != "bearer":
        return None
    realm = urlsplit(challenge.realm)
    if challenge.service == "harbor-registry" and realm.path.endswith("/service/token"):
        return ProviderName.HARBOR
    if realm.path.endswith("/jwt/auth") and challenge.service == "container_registry":
        return ProviderName.GITLAB
    if realm.path == "/v2/auth":
        return ProviderName.QUAY
    if realm.path == "/oauth2/token" and challenge.service.rpartition(".azurecr.")[0]:
        return ProviderName.ACR
    return None


def probed(profile: Profile, client: RegistryClient, repository: str, *, deletes: bool) -> Profile:
    """The profile with what this registry answers filled in; what it does not say stays as it was.

    `repository` need not be there. With `deletes` it is asked to delete a manifest that cannot be there, too.
    """
    found = profile
    if profile.catalog is Catalog.YES and not _answers(lambda: next(client.catalog(1))):
        found = replace(found, catalog=Catalog.NO)
    if profile.referrers is Referrers.ASKED and _lists_referrers(client, repository) is False:
        found = replace(found, referrers=Referrers.TAG)
    if deletes and profile.deletion.tag is Removal.TRIED and _deletes(client, repository) is False:
        found = replace(found, deletion=Deletion(Removal.NONE, Removal.NONE))
    return found


def _answers(question: Callable[[], object]) -> bool:
    """Whether that is there at all; an error of another kind leaves it open."""
    try:
        question()
    except (NotFound, Unsupported, Unauthorized, Denied):
        return False
    except RegistryError:
        return True
    return True


def _lists_referrers(client: RegistryClient, repository: str) -> bool | None:
    try:
        return client.referrers(repository, Digest.of(secrets.token_bytes(32))) is not None
    except RegistryError:
        return None


def _deletes(client: RegistryClient, repository: str) -> bool | None:
    try:
        return client.supports_delete(repository)
    except RegistryError:
        return None
