"""Replication to and from registries that have peculiarities, by the profiles of their providers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import SyncState
from app.providers import PROFILES, ControlPlaneError, Provider
from app.providers.control import StillReferenced
from app.registry import Anonymous, Denied, Manifest, NotFound, RegistryClient, Rejected, Unreachable
from app.replication import backfill, survey
from app.replication.creation import Creations, RepositoryNotCreated, says_missing
from app.replication.politeness import Politeness
from app.replication.tag_write import TagImmutable, put_tag
from app.settings import ProviderName, Settings
from tests.replication.conftest import Deploy
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, offline_environment
from tests.support.github import TOKEN, GitHub
from tests.support.oci_content import Refused
from tests.support.oci_registry import OciRegistry
from tests.support.peculiar import Fixed, Narrow, Strict, Unmade
from tests.support.replicated import replicated
from tests.support.wire import delete_tag, digest_of, push, retag, tags

pytestmark = pytest.mark.timeout(90)

PROVIDER = "GEO_SECONDARY_REGISTRY_PROVIDER"


@pytest.fixture
def one() -> Iterator[OciRegistry]:
    """The primary."""
    with OciRegistry() as registry:
        yield registry


def bring(geo: Deployment, primary: OciRegistry, repository: str, tag: str, image: images.Image) -> str | None:
    """Push it, replicate it, and return the reason if that failed."""
    digest = push(primary, repository, tag, image)
    geo.event("push", repository, tag, digest)
    geo.settle()
    reference = geo.reference(repository, tag)
    assert reference is not None
    return reference.failure_reason


def gone(geo: Deployment, primary: OciRegistry, repository: str, tag: str) -> str | None:
    """Delete the tag, replicate that, and return the reason if it failed."""
    delete_tag(primary, repository, tag)
    geo.event("delete", repository, tag)
    geo.settle()
    reference = geo.reference(repository, tag)
    return None if reference is None else reference.failure_reason


# --- uploads ----------------------------------------------------------------------------------------------------------


def test_what_azure_takes_in_no_request_goes_in_chunks(deploy: Deploy, one: OciRegistry) -> None:
    # Given a registry that takes 20 MB in one request
    with Narrow(20_000_000) as secondary:
        geo = deploy(one, secondary, **{PROVIDER: "acr", "GEO_SPOOL_MAX_BYTES": "0"})

        # When an image with a larger layer is replicated
        large = images.image(layers=[images.layer(33 * 1024**2)])
        assert bring(geo, one, "team/app", "v1", large) is None

        # Then it is there, by chunks of 16 MiB, and nothing was refused on the way
        assert_same(one, secondary, "team/app", "v1")
        assert secondary.count("^PATCH ") == 3


def test_a_proxy_with_a_limit_costs_one_refusal(deploy: Deploy, one: OciRegistry) -> None:
    # Given a registry of which nobody knows that a proxy before it takes 10 MB at most
    with Narrow(10_000_000) as secondary:
        geo = deploy(one, secondary, GEO_SPOOL_MAX_BYTES="0")
        assert bring(geo, one, "team/app", "v1", images.image(layers=[images.layer(12 * 1024**2)])) is None
        assert_same(one, secondary, "team/app", "v1")


# --- what is not taken ------------------------------------------------------------------------------------------------


def test_what_is_too_large_for_bundle_bar_is_not_sent(deploy: Deploy, one: OciRegistry) -> None:
    # Given a registry for small artifacts
    with OciRegistry() as secondary:
        geo = deploy(one, secondary, **{PROVIDER: "bundle-bar"})

        # When an artifact of 6 MB in two layers comes, and a small one
        large = images.image(layers=[images.layer(3 * 10**6), images.layer(3 * 10**6)])
        reason = bring(geo, one, "me/app", "large", large)
        assert secondary.repositories == {}
        small = bring(geo, one, "me/app", "small", images.image())

        # Then nothing of the large one was sent, it is said why, and the small one is there
        assert (reason, small) == ("beyond_limit", None)
        assert "Bundle Bar takes 5 MB at most" in (geo.references("me/app")["large"].failure or "")
        assert tags(secondary, "me/app") == ["small"]


def test_a_manifest_without_media_type_is_named(deploy: Deploy, one: OciRegistry) -> None:
    # Given an image whose manifest does not say what it is, below an index that does
    made = images.image()
    document = {name: value for name, value in made.document.items() if name != "mediaType"}
    nameless = images.Image(json.dumps(document).encode(), made.media_type, blobs=made.blobs)
    with OciRegistry() as secondary:
        geo = deploy(one, secondary, **{PROVIDER: "ecr"})

        # When it is replicated to where that is refused, Then it fails by itself and for good
        assert bring(geo, one, "team/app", "v1", nameless) == "media_type_missing"
        assert bring(geo, one, "team/app", "v2", images.image()) is None
        assert secondary.count("^PUT /v2/team/app/manifests/v1") == 0


# --- repositories that are not there ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [
        Refused(404, "NAME_UNKNOWN", "repository name not known to registry"),
        Refused(404, "NOT_FOUND", "project team not found"),
        Refused(401, "UNAUTHORIZED", "project team not found: project team not found"),
    ],
)
def test_what_a_person_has_to_make_is_named(refusal: Refused, deploy: Deploy, one: OciRegistry) -> None:
    # Given a Harbor without the project
    there: set[str] = set()
    with Unmade(lambda name: name in there) as secondary:
        secondary.refusal = refusal
        geo = deploy(one, secondary, **{PROVIDER: "harbor"})

        # When something is replicated, Then it is said what is missing, of this repository alone
        assert bring(geo, one, "team/app", "v1", images.image()) == "repository_not_created"
        reference = geo.reference("team/app", "v1")
        assert reference is not None
        assert "it needs the project team" in (reference.failure or "")

        # And once somebody has made it, it arrives
        there.add("team/app")
        geo.retry("team/app")
        assert geo.row("team/app").state == SyncState.SYNCED
        assert_same(one, secondary, "team/app", "v1")


def test_amazon_makes_repositories(deploy: Deploy, one: OciRegistry, amazon: str) -> None:
    # Given a registry that knows the repositories that Amazon's API has made
    theirs = boto3.session.Session().client("ecr")
    pages = theirs.get_paginator("describe_repositories")

    def known(name: str) -> bool:
        return name in {each["repositoryName"] for page in pages.paginate() for each in page["repositories"]}

    with Unmade(known) as secondary:
        geo = deploy(one, secondary, **{PROVIDER: "ecr"})

        # When an index with two images is replicated to a repository that it does not know
        made = images.index([images.image(), images.image()])
        assert bring(geo, one, "team/made-by-amazon", "v1", made) is None

        # Then it is there now, at the first try
        assert_same(one, secondary, "team/made-by-amazon", "v1")
        assert [each.outcome for each in geo.attempts("team/made-by-amazon", "v1")] == ["synced"]
    theirs.close()


class Plane:
    """A control plane that notes what it is asked."""

    def __init__(self, registry: OciRegistry | None = None, error: ControlPlaneError | None = None) -> None:
        self.registry = registry
        self.error = error
        self.made: list[str] = []

    def ready(self) -> None:
        pass

    def close(self) -> None:
        pass

    def create(self, repository: str) -> bool:
        if self.error is not None:
            raise self.error
        self.made.append(repository)
        return self.made.count(repository) == 1

    def delete_tag(self, repository: str, tag: str) -> bool:
        if self.error is not None:
            raise self.error
        known = self.registry.repositories.get(repository) if self.registry is not None else None
        return known is not None and known.tags.pop(tag, None) is not None

    def delete_digest(self, repository: str, digest: str) -> bool:
        raise AssertionError("no digest was to be deleted")

    def catalog(self, page_size: int = 1000, after: str | None = None) -> Any:
        raise AssertionError("nothing was to be listed")


def given(geo: Deployment, name: ProviderName, plane: Plane) -> None:
    """Have the secondary's control plane be this one."""
    geo.context.secondary_provider = Provider(PROFILES[name], control=plane)
    geo.context.creations = Creations(geo.context.secondary_provider)


def test_a_control_plane_that_fails_is_the_failure(deploy: Deploy, one: OciRegistry) -> None:
    with Unmade(lambda _: False) as secondary:
        geo = deploy(one, secondary, **{PROVIDER: "ecr"})
        given(geo, ProviderName.ECR, Plane(error=ControlPlaneError("not today")))
        assert bring(geo, one, "team/app", "v1", images.image()) == "control_plane_failed"


def test_a_repository_is_asked_for_once_when_connections_end() -> None:
    # Given a registry in trouble, and two pushes to one repository that have begun
    plane, clock = Plane(), iter(range(100))
    creations = Creations(Provider(PROFILES[ProviderName.ECR], control=plane), lambda: float(next(clock)))
    cut = Unreachable("cut", reason="connection_lost", method="POST")
    first, second = creations.clock(), creations.clock()

    # When their connections end, Then the control plane is asked once, and both are tried again
    assert creations.make("team/app", cut, first)
    assert creations.make("team/app", cut, second)
    assert plane.made == ["team/app"]

    # And what ends later has another reason
    assert not creations.make("team/app", cut, creations.clock())
    assert plane.made == ["team/app"]

    # Nor is it asked for what was read
    reading = Unreachable("cut", reason="connection_lost", method="GET")
    assert not creations.make("team/web", reading, creations.clock())
    assert plane.made == ["team/app"]


def test_a_repository_that_was_deleted_is_made_again() -> None:
    # Given one that was made, and is gone since
    plane = Plane()
    creations = Creations(Provider(PROFILES[ProviderName.ECR], control=plane))
    missing = NotFound("gone", method="POST", codes=("NAME_UNKNOWN",))
    assert creations.make("team/app", missing, creations.clock())

    # When a push says so, Then it is made, and tried again
    assert creations.make("team/app", missing, creations.clock())
    assert plane.made == ["team/app"] * 2


def test_a_denial_is_not_taken_for_a_missing_repository() -> None:
    assert not says_missing(Denied("no", method="POST", body=b'{"errors": [{"code": "DENIED", "message": "quota"}]}'))
    creations = Creations(Provider(PROFILES[ProviderName.HARBOR]))
    assert not creations.make("team/app", Denied("no", method="POST", body=b"quota exceeded"), 0.0)
    with pytest.raises(RepositoryNotCreated):
        creations.make("team/app", Denied("no", method="POST", body=b"project not found"), 0.0)


# --- tags that do not move --------------------------------------------------------------------------------------------


@pytest.fixture
def fixed() -> Iterator[tuple[Fixed, RegistryClient]]:
    with Fixed() as registry, RegistryClient(registry.url, Anonymous(), actions=("pull", "push")) as client:
        yield registry, client


def test_an_immutable_tag_that_stands_right_is_a_success(fixed: tuple[Fixed, RegistryClient]) -> None:
    # Given a tag that must not move
    registry, client = fixed
    made = images.image()
    push(registry, "a/x", "v1", made)

    # When the same is written there again, Then that is as it should be, although the registry refuses it
    manifest = Manifest.parse(made.manifest, made.media_type)
    put_tag(client, "a/x", "v1", manifest, total_timeout=10)

    # And anything else is not
    other = images.image()
    push(registry, "a/x", None, other)
    with pytest.raises(TagImmutable, match=manifest.digest) as raised:
        put_tag(client, "a/x", "v1", Manifest.parse(other.manifest, other.media_type), total_timeout=10)
    assert (raised.value.reason, raised.value.temporary) == ("tag_immutable", False)


def test_another_refusal_stays_what_it_is(one: OciRegistry) -> None:
    # Given a registry that takes no such manifest
    one.features.takes = lambda _: False
    made = images.image()
    with RegistryClient(one.url, Anonymous(), actions=("pull", "push")) as client, pytest.raises(Rejected) as raised:
        put_tag(client, "a/x", "v1", Manifest.parse(made.manifest, made.media_type), total_timeout=10)
    assert raised.value.reason == "manifest_invalid"


def test_an_immutable_tag_that_stands_wrong_waits_for_a_person(deploy: Deploy, one: OciRegistry) -> None:
    # Given a secondary where somebody has taken the tag
    with Fixed() as secondary:
        push(secondary, "team/app", "v1", images.image())
        geo = deploy(one, secondary)

        # When it is replicated, Then it fails with a reason of its own, and other tags go on
        assert bring(geo, one, "team/app", "v1", images.image()) == "tag_immutable"
        assert bring(geo, one, "team/app", "v2", images.image()) is None

        # And once it is deleted there, it arrives
        delete_tag(secondary, "team/app", "v1")
        geo.retry("team/app")
        assert_same(one, secondary, "team/app", "v1")


# --- deletion ---------------------------------------------------------------------------------------------------------


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


def test_amazon_deletes_by_its_control_plane(deploy: Deploy, one: OciRegistry) -> None:
    with OciRegistry(delete=False) as secondary:
        geo = deploy(one, secondary, **{PROVIDER: "ecr"})
        plane = Plane(secondary)
        given(geo, ProviderName.ECR, plane)
        replicated(geo, one, "team/app", "v1", "other")

        # When a tag is deleted while an index names its image, Then it waits
        plane.error = StillReferenced("first the list")
        assert gone(geo, one, "team/app", "v1") == "still_referenced"

        # And goes when that is over
        plane.error = None
        geo.retry("team/app")
        assert tags(secondary, "team/app") == ["other"]
        assert geo.reference("team/app", "v1") is None
        assert secondary.count("^DELETE ") == 0


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


# --- mounts, referrers, catalogs, requests at once --------------------------------------------------------------------


@pytest.mark.parametrize(("name", "mounts"), [("gar", False), ("generic", True)])
def test_nothing_is_mounted_where_that_is_not_honoured(
    name: str, mounts: bool, deploy: Deploy, one: OciRegistry
) -> None:
    # Given two repositories with a layer in common
    base = images.layer()
    with OciRegistry() as secondary:
        geo = deploy(one, secondary, **{PROVIDER: name})
        for repository in ("project/images/one", "project/images/two"):
            assert bring(geo, one, repository, "v1", images.image(layers=[base])) is None

        # Then it is mounted from one into the other, or sent twice
        assert (secondary.count("mount=") > 0) == mounts


def test_a_primary_without_catalog_is_not_asked_for_it(deploy: Deploy, one: OciRegistry) -> None:
    # Given a primary that is known to list nothing, and the names of its repositories
    push(one, "team/app", "v1", images.image())
    with OciRegistry() as secondary:
        geo = deploy(one, secondary, GEO_PRIMARY_REGISTRY_PROVIDER="ghcr", GEO_REPOSITORIES="team/app team/*")

        # When it is backfilled
        backfill.mark_all(geo.site, geo.context.repositories())
        geo.settle()

        # Then by the names
        assert tags(secondary, "team/app") == ["v1"]
        assert one.count("_catalog") == 0


def test_a_primary_at_amazon_is_listed_by_its_control_plane(deploy: Deploy, one: OciRegistry, amazon: str) -> None:
    # Given repositories that Amazon's API knows
    theirs = boto3.session.Session().client("ecr")
    for name in ("listed/one", "listed/two"):
        theirs.create_repository(repositoryName=name)
        push(one, name, "v1", images.image())
    with OciRegistry() as secondary:
        geo = deploy(one, secondary, GEO_PRIMARY_REGISTRY_PROVIDER="ecr", GEO_REPOSITORIES="listed/*")

        # When a plan looks for them, and it is backfilled
        planned = survey.in_scope(geo.site, survey.Repositories(geo.context.registry_catalog()))
        backfill.mark_all(geo.site, geo.context.repositories())
        geo.settle()

        # Then all of them are there
        assert planned == ["listed/one", "listed/two"]
        with connection():
            assert Registry.select().count() == 2
        assert tags(secondary, "listed/one") == tags(secondary, "listed/two") == ["v1"]
        assert one.count("_catalog") == 0
    theirs.close()


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, (64, 0)),
        ({"PROVIDER": "docker-hub"}, (8, 20)),
        ({"PROVIDER": "docker-hub", "RATELIMIT_FLOOR": "0"}, (8, 0)),
        ({"PROVIDER": "docker-hub", "MAX_CONNECTIONS": "40", "RATELIMIT_FLOOR": "5"}, (40, 5)),
    ],
)
def test_a_provider_is_asked_as_it_likes_unless_it_is_set(env: dict[str, str], expected: tuple[int, int]) -> None:
    named = {f"GEO_SECONDARY_REGISTRY_{name}": value for name, value in env.items()}
    settings = Settings.from_env(offline_environment("sqlite:///none.db") | named)
    polite = Politeness(settings, None, threading.Event())
    assert settings.secondary is not None
    terms = polite.gate(settings.secondary)._terms
    assert (terms.maximum, terms.floor) == expected
