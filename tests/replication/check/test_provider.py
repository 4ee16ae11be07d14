"""What `geo check` says of whose registries these are."""

from __future__ import annotations

import pytest

from app.replication.check import Id, pair, provider
from app.replication.check import registry as registry_check
from app.replication.check import secondary as secondary_check
from tests.replication.check.conftest import Examine, only, troubles
from tests.support.registries import DistributionRegistry

pytestmark = pytest.mark.timeout(60)


def test_a_registry_that_nobody_has_named_is_asked(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine
) -> None:
    # Given two of Distribution, at addresses that say nothing
    found = provider.check(examine(primary, secondary))

    # Then it is told what they cannot do, as they answered, in a line each
    assert troubles(found) == []
    assert [finding.title for finding in found] == [
        "provider: another registry (nothing says which); no referrers API"
    ] * 2


def test_what_is_set_is_told_with_what_it_lacks(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine
) -> None:
    # Given a primary that tells of no deletions, and a secondary with a project to be made
    named = {"GEO_PRIMARY_REGISTRY_PROVIDER": "quay", "GEO_SECONDARY_REGISTRY_PROVIDER": "harbor"}
    one, two = provider.check(examine(primary, secondary, **named))

    # Then that is said, without asking
    told = "its events tell of no deletions, the others are found within 1 d"
    assert one.title == f"provider: Quay (as set); no uploads in chunks; {told}"
    lacking = "lists repositories to administrators only; needs the project PROJECT first; tags may be immutable"
    assert two.title == f"provider: Harbor (as set); {lacking}"


@pytest.mark.parametrize(("interval", "said"), [("6h", "within 6 h"), ("off", "by `geo reconcile` alone")])
def test_when_other_deletions_are_found_is_as_it_is_set(
    interval: str, said: str, primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine
) -> None:
    named = {"GEO_PRIMARY_REGISTRY_PROVIDER": "acr", "GEO_RECONCILE_INTERVAL": interval}
    one, _ = provider.check(examine(primary, secondary, **named))
    assert "its events tell of some deletions only" in one.title
    assert said in one.title


def test_a_control_plane_that_cannot_be_asked_is_an_error(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine
) -> None:
    # Given GitHub without a token for its API
    found = only(provider.check(examine(primary, secondary, GEO_SECONDARY_REGISTRY_PROVIDER="ghcr")))

    # Then that is told, with what to set
    assert found.id is Id.CONTROL_PLANE
    assert "export GEO_SECONDARY_REGISTRY_PASSWORD=" in found.fix


@pytest.mark.parametrize(
    "named",
    [
        {"GEO_PRIMARY_REGISTRY_PROVIDER": "ghcr"},
        {"GEO_SECONDARY_REGISTRY_PROVIDER": "ghcr", "GEO_DELETION": "off"},
    ],
)
def test_a_control_plane_that_nobody_asks_need_not_be_there(
    named: dict[str, str], primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine
) -> None:
    # Given GitHub without a token where nothing is deleted: as the primary, or as it is set
    # When it is looked at, Then nothing is wrong
    assert troubles(provider.check(examine(primary, secondary, **named))) == []


def test_a_control_plane_that_can_be_asked_is_fine(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine, amazon: str
) -> None:
    found = provider.check(examine(primary, secondary, GEO_SECONDARY_REGISTRY_PROVIDER="ecr"))
    assert troubles(found) == []
    assert found[-1].title == "the control plane of Amazon ECR can be asked"


def test_nothing_is_written_where_every_name_is_somebodys(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine
) -> None:
    # Given a registry where no repository can be tried
    examination = examine(primary, secondary, GEO_SECONDARY_REGISTRY_PROVIDER="docker-hub")

    # When uploads and the two registries are looked at
    found = secondary_check.check(examination)
    both = pair.check(examination)

    # Then it is said, and that no tag is deleted there is an error as long as deletions are wanted
    assert found[0].title == "uploads are not tried: Docker Hub has no repository that is nobody's"
    assert only(found).id is Id.DELETION_DISABLED
    assert [each.title for each in both] == ["are two, by their addresses"]
    kept = examine(primary, secondary, GEO_SECONDARY_REGISTRY_PROVIDER="docker-hub", GEO_DELETION="off")
    assert troubles(secondary_check.check(kept)) == []


def test_a_primary_that_lists_nothing_wants_names(
    primary: DistributionRegistry, secondary: DistributionRegistry, examine: Examine
) -> None:
    # Given a primary without a catalog, and no names
    found = only(registry_check.primary(examine(primary, secondary, GEO_PRIMARY_REGISTRY_PROVIDER="bundle-bar")))

    # Then they are asked for, and not a right that nobody can give
    assert found.id is Id.REGISTRY_CATALOG
    assert found.fix.startswith("name the repositories: export GEO_REPOSITORIES=")
