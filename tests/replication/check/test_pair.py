"""Two registries that are one, and two that trust the same tokens."""

from __future__ import annotations

import pytest

from app.replication.check import Examination, Id, Severity
from app.replication.check import pair as pair_check
from app.settings import Settings
from tests.replication.check.conftest import Examine, only, troubles
from tests.support.deployment import environment
from tests.support.keys import KeyPair, TokenAuth
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry, RegistryFactory

pytestmark = pytest.mark.timeout(60)


def test_one_address(primary: DistributionRegistry) -> None:
    # Given one address, spelled in two ways
    env = environment(primary, primary, "sqlite:///nowhere.db")
    env["GEO_SECONDARY_REGISTRY_URL"] = f"{primary.url}/"

    # When they are looked at, Then
    assert only(pair_check.check(Examination(Settings.from_env(env)))).id is Id.SAME_REGISTRY


def test_one_registry_at_two_addresses(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine
) -> None:
    # Given the primary behind another address as secondary
    with Proxy(primary) as proxy:
        examination = examine(primary, secondary, GEO_SECONDARY_REGISTRY_URL=proxy.url)

        # When they are looked at, Then it is found by what it does
        found = only(pair_check.check(examination))
        assert (found.id, found.severity) == (Id.SAME_REGISTRY, Severity.ERROR)
        # And the upload is not left there
        assert proxy.count("^DELETE /v2/geo-check/") == 1


def test_a_push_token_for_one_is_good_on_the_other(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine
) -> None:
    # Given two registries with one key, issuer and service
    found = only(pair_check.check(examine(primary, secondary)))

    # Then it is a warning, with the line for each side
    assert (found.id, found.severity) == (Id.SHARED_TRUST, Severity.WARNING)
    assert "GEO_SECONDARY_REGISTRY_SERVICE=container_registry-secondary" in found.fix


def test_a_service_of_its_own(
    primary: DistributionRegistry, registry_factory: RegistryFactory, keys: KeyPair, examine: Examine
) -> None:
    # Given the change that the warning asks for
    secondary = registry_factory("own", token=TokenAuth(keys, service="container_registry-secondary"))
    examination = examine(primary, secondary, GEO_SECONDARY_REGISTRY_SERVICE="container_registry-secondary")

    # When they are looked at, Then nothing is left to say
    assert troubles(pair_check.check(examination)) == []


def test_open_registries_are_not_said_to_share_a_key(registry_factory: RegistryFactory, examine: Examine) -> None:
    examination = examine(registry_factory("one"), registry_factory("two"))
    assert troubles(pair_check.check(examination)) == []
