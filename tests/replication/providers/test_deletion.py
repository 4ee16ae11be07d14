"""How each provider's registry deletes: by name, by a throw-away manifest, by its control plane."""

from __future__ import annotations

import pytest

from app.providers.control import ControlPlaneDenied, StillReferenced
from app.settings import ProviderName
from tests.replication.conftest import Deploy
from tests.replication.providers.stage import PROVIDER, Plane, given, gone
from tests.support.github import TOKEN, GitHub
from tests.support.oci_registry import OciRegistry
from tests.support.peculiar import Fixed, Strict
from tests.support.replicated import replicated
from tests.support.wire import digest_of, retag, tags

pytestmark = pytest.mark.timeout(90)


def test_github_deletes_by_its_rest_api(deploy: Deploy, one: OciRegistry) -> None:
    # Given a registry that deletes nothing by itself, and an API beside it that knows versions alone
    with OciRegistry(delete=False, referrers=False, catalog=False) as secondary, GitHub(secondary) as api:
        account = {
            "AUTH": "basic",
            "USERNAME": "octocat",
            "PASSWORD": TOKEN,
            "PROVIDER": "ghcr",
            "CONTROL_URL": api.url,
        }
        geo = deploy(one, secondary, **{f"GEO_SECONDARY_REGISTRY_{name}": value for name, value in account.items()})
        digests = replicated(geo, one, "octocat/app", "v1", "other")
        retag(one, "octocat/app", "v1", "latest")
        geo.event("push", "octocat/app", "latest", digests["v1"])
        geo.settle()

        # When one of two tags on a digest is deleted
        assert gone(geo, one, "octocat/app", "v1") is None

        # Then it alone is gone, and the digest that it stood on is not
        assert tags(secondary, "octocat/app") == ["latest", "other"]
        assert digest_of(secondary, "octocat/app", digests["v1"]) == digests["v1"]
        assert geo.reference("octocat/app", "v1") is None

        # And the registry was never asked for what it cannot do
        assert secondary.count("^DELETE .*manifests|/referrers/|_catalog") == 0

        # When all tags are deleted, Then the last one stays as it is, and it is said why
        assert gone(geo, one, "octocat/app", "latest") is None
        assert gone(geo, one, "octocat/app", "other") == "deletion_unsupported"
        assert digest_of(secondary, "octocat/app", "other") == digests["other"]


def test_amazon_keeps_the_image_of_a_tag_that_is_deleted(deploy: Deploy, one: OciRegistry) -> None:
    # Given two tags at Amazon
    with OciRegistry(delete=False) as secondary:
        geo = deploy(one, secondary, **{PROVIDER: "ecr"})
        plane = Plane(secondary)
        given(geo, ProviderName.ECR, plane)
        digests = replicated(geo, one, "team/app", "v1", "other")

        # When one is deleted, the only one on its image
        assert gone(geo, one, "team/app", "v1") is None

        # Then whoever is pinned to the digest still has it, and nothing but the throw-away manifest was deleted
        assert tags(secondary, "team/app") == ["other"]
        assert set(secondary.repositories["team/app"].manifests) == set(digests.values())
        assert len(plane.deleted) == 1
        assert plane.deleted[0] not in digests.values()
        assert geo.reference("team/app", "v1") is None
        assert secondary.count("^DELETE ") == 0


def test_where_tags_do_not_move_amazon_deletes_them_by_name(deploy: Deploy, one: OciRegistry) -> None:
    # Given a repository of immutable tags
    with Fixed(delete=False) as secondary:
        geo = deploy(one, secondary, **{PROVIDER: "ecr"})
        plane = Plane(secondary)
        given(geo, ProviderName.ECR, plane)
        digests = replicated(geo, one, "team/app", "v1", "other")

        # When a tag is deleted while an index names its image, Then it waits, on the image
        plane.error = StillReferenced("first the list")
        assert gone(geo, one, "team/app", "v1") == "still_referenced"
        assert digest_of(secondary, "team/app", "v1") == digests["v1"]
        reference = geo.reference("team/app", "v1")
        assert reference is not None
        assert reference.throwaway_digest is None

        # And goes when that is over
        plane.error = None
        geo.retry("team/app")
        assert tags(secondary, "team/app") == ["other"]
        assert geo.reference("team/app", "v1") is None
        assert plane.deleted == []


def test_who_may_not_delete_leaves_the_tag_where_it_stood(deploy: Deploy, one: OciRegistry) -> None:
    # Given an account at Amazon without the right to delete
    with OciRegistry(delete=False) as secondary:
        geo = deploy(one, secondary, **{PROVIDER: "ecr"})
        plane = Plane(secondary)
        given(geo, ProviderName.ECR, plane)
        digests = replicated(geo, one, "team/app", "v1", "other")
        plane.denial = ControlPlaneDenied("no")

        # When a tag is deleted, Then it is not even overwritten
        assert gone(geo, one, "team/app", "v1") == "control_plane_denied"
        assert digest_of(secondary, "team/app", "v1") == digests["v1"]

        # And it goes once the right is there
        plane.denial = None
        geo.retry("team/app")
        assert tags(secondary, "team/app") == ["other"]


def test_a_throw_away_manifest_is_one_by_the_specification(deploy: Deploy, one: OciRegistry) -> None:
    with Strict() as secondary:
        geo = deploy(one, secondary, **{PROVIDER: "acr"})
        replicated(geo, one, "team/app", "v1", "other")
        assert gone(geo, one, "team/app", "v1") is None
        assert tags(secondary, "team/app") == ["other"]


def test_what_the_registry_still_has_is_not_deleted(deploy: Deploy, one: OciRegistry) -> None:
    # Given a control plane of another account, which knows nothing of these repositories
    with OciRegistry(delete=False) as secondary:
        geo = deploy(one, secondary, **{PROVIDER: "ecr"})
        given(geo, ProviderName.ECR, Plane())
        replicated(geo, one, "team/app", "v1", "other")

        # When a tag is deleted, Then it is not taken for gone
        assert gone(geo, one, "team/app", "v1") == "control_plane_differs"
        assert tags(secondary, "team/app") == ["other", "v1"]

        # And it goes once the right one is asked
        given(geo, ProviderName.ECR, Plane(secondary))
        geo.retry("team/app")
        assert tags(secondary, "team/app") == ["other"]
        assert geo.reference("team/app", "v1") is None


def test_a_version_that_github_lists_late_is_deleted_by_the_next_try(deploy: Deploy, one: OciRegistry) -> None:
    # Given an API that does not list yet what was just pushed
    with (
        OciRegistry(delete=False, referrers=False, catalog=False) as secondary,
        GitHub(secondary) as api,
    ):
        account = {"AUTH": "basic", "USERNAME": "o", "PASSWORD": TOKEN, "PROVIDER": "ghcr", "CONTROL_URL": api.url}
        geo = deploy(one, secondary, **{f"GEO_SECONDARY_REGISTRY_{name}": value for name, value in account.items()})
        replicated(geo, one, "octocat/app", "v1", "other")
        api.late = True

        # When a tag is deleted, Then the throw-away manifest under it is not taken for deleted
        assert gone(geo, one, "octocat/app", "v1") == "control_plane_differs"
        assert "v1" in tags(secondary, "octocat/app")

        # And it goes with the next try
        api.late = False
        geo.retry("octocat/app")
        assert tags(secondary, "octocat/app") == ["other"]
        assert geo.reference("octocat/app", "v1") is None


def test_where_no_tag_can_be_deleted_that_is_told(deploy: Deploy, one: OciRegistry) -> None:
    with OciRegistry() as secondary:
        geo = deploy(one, secondary, **{PROVIDER: "docker-hub"})
        replicated(geo, one, "team/app", "v1", "other")
        assert gone(geo, one, "team/app", "v1") == "deletion_unsupported"
        assert tags(secondary, "team/app") == ["other", "v1"]
        assert secondary.count("^DELETE ") == 0
        reference = geo.reference("team/app", "v1")
        assert reference is not None
        assert "Docker Hub lets no tag be deleted by this; delete team/app:v1 there" in (reference.failure or "")


@pytest.mark.parametrize(("name", "requests"), [("acr", 2), ("zot", 1), ("generic", 1)])
def test_a_tag_is_deleted_in_the_registrys_way(name: str, requests: int, deploy: Deploy, one: OciRegistry) -> None:
    # Given a registry that would delete by tag
    with OciRegistry() as secondary:
        geo = deploy(one, secondary, **{PROVIDER: name})
        digests = replicated(geo, one, "team/app", "v1", "other")

        # When a tag is deleted, Then it is by its name, or by a throw-away manifest where that is the safe way
        assert gone(geo, one, "team/app", "v1") is None
        assert tags(secondary, "team/app") == ["other"]
        assert digest_of(secondary, "team/app", digests["v1"]) == digests["v1"]
        assert secondary.count("^DELETE .*/manifests/") == requests
        assert (secondary.count("^DELETE .*/manifests/v1$") == 0) == (name == "acr")
