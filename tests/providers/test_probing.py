"""Probing: what a registry shows of itself, and that nothing is changed by it."""

from __future__ import annotations

import pytest

from app.providers import GENERIC, Catalog, Deletion, Profile, Referrers, Removal
from app.providers.probing import probed, recognized
from app.registry import Anonymous, RegistryClient
from app.registry.auth import Challenge
from app.settings import ProviderName
from tests.support import wire
from tests.support.oci_registry import OciRegistry
from tests.support.registries import RegistryFactory


def ask(registry: OciRegistry | str, *, deletes: bool = True) -> Profile:
    url = registry if isinstance(registry, str) else registry.url
    with RegistryClient(url, Anonymous(), actions=("pull", "push", "delete"), read_timeout=5.0) as client:
        return probed(GENERIC, client, "geo-check/probe", deletes=deletes)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('Bearer realm="https://h.example/service/token",service="harbor-registry"', ProviderName.HARBOR),
        ('Bearer realm="https://gitlab.example/jwt/auth",service="container_registry"', ProviderName.GITLAB),
        ('Bearer realm="https://quay.example/v2/auth",service="quay.example"', ProviderName.QUAY),
        ('Bearer realm="https://a.azurecr.io/oauth2/token",service="a.azurecr.io"', ProviderName.ACR),
        ('Bearer realm="https://auth.example/token",service="registry"', None),
        ('Basic realm="harbor-registry"', None),
        ("", None),
    ],
)
def test_a_token_service_tells_whose_registry_it_is(header: str, name: ProviderName | None) -> None:
    assert recognized(Challenge.parse(header, "https://registry.example/v2/")) is name


def test_a_registry_that_can_everything() -> None:
    with OciRegistry() as registry:
        assert ask(registry) == GENERIC


def test_what_it_cannot_do_is_found() -> None:
    with OciRegistry(catalog=False, referrers=False, delete=False) as registry:
        # It looks for the repository before it looks at its settings.
        wire.push_blob(registry, "geo-check/probe", b"x")
        found = ask(registry)
        assert found.catalog is Catalog.NO
        assert found.referrers is Referrers.TAG
        assert found.deletion == Deletion(Removal.NONE, Removal.NONE)
        assert list(found.lacking()) == ["no catalog", "deletes nothing", "no referrers API"]


def test_nothing_is_changed() -> None:
    # Given an empty registry
    with OciRegistry() as registry:
        # When it is probed, without the right to delete
        ask(registry, deletes=False)

        # Then it was read alone, and holds what it held
        assert registry.repositories == {}
        assert registry.count("^(?!GET|HEAD)") == 0


def test_who_does_not_answer_has_said_nothing() -> None:
    assert ask("http://127.0.0.1:9") == GENERIC


@pytest.mark.parametrize("version", ["2.8", "3"])
def test_distribution(version: str, registry_factory: RegistryFactory) -> None:
    # Given a real one, with deletion and without
    found = ask(registry_factory("deletes", version=version).url)
    kept = ask(registry_factory("keeps", version=version, delete=False).url)

    # Then it has a catalog, no referrers API, and deletes as it is set
    assert (found.catalog, found.referrers, found.deletion.tag) == (Catalog.YES, Referrers.TAG, Removal.TRIED)
    assert kept.deletion.tag is Removal.NONE
