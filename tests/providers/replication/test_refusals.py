"""What a vendor's registry refuses, and what becomes of it: a failure that names what to do, and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.models import SyncState
from tests.emulators.acr import Acr
from tests.emulators.bundle_bar import BundleBar
from tests.emulators.docker_hub import DockerHub
from tests.emulators.ecr import Ecr
from tests.emulators.emulator import Emulator
from tests.emulators.gar import Gar
from tests.emulators.ghcr import Ghcr
from tests.emulators.harbor import Harbor
from tests.providers.replication.conftest import Meet
from tests.providers.replication.vendors import VENDORS, amazon
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment
from tests.support.images import Blob
from tests.support.registries import DistributionRegistry
from tests.support.wire import delete_digest, digest_of, push, tags

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]


def reason(geo: Deployment, repository: str, tag: str) -> str | None:
    reference = geo.reference(repository, tag)
    assert reference is not None
    assert (reference.failure_reason is None) is (reference.state == SyncState.SYNCED)
    return reference.failure_reason


def replicate(geo: Deployment, primary: DistributionRegistry, repository: str, tag: str, image: images.Image) -> None:
    """Push the image and let the deployment know."""
    geo.event("push", repository, tag, push(primary, repository, tag, image))
    geo.settle()


# --- places that must be made first -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "repository"), [("gar", "my-project/new-repo/app"), ("harbor", "new/app")])
def test_a_missing_place_is_named_and_what_waits_for_it_goes_on(
    meet: Meet, distribution: DistributionRegistry, name: str, repository: str
) -> None:
    # Given a secondary that lacks the project, or repository, that the path begins with
    missing: Gar | Harbor
    with Gar() if name == "gar" else Harbor() as missing:
        geo = meet(distribution, missing, VENDORS[name].settings(missing, "SECONDARY")).geo

        # When something is pushed into it
        replicate(geo, distribution, repository, "v1", images.image())

        # Then it is said what has to be made
        assert reason(geo, repository, "v1") == "repository_not_created"
        assert repository.split("/")[-2] in geo.failure(repository)

        # And once it is there, it arrives
        if isinstance(missing, Gar):
            missing.created.add("my-project/new-repo")
        else:
            missing.projects.add("new")
        geo.retry(repository)
        assert_same(distribution, missing, repository, "v1")


def test_amazon_may_end_the_connection_in_place_of_an_answer(
    meet: Meet, distribution: DistributionRegistry, amazons: Ecr, repository: str
) -> None:
    # Given a amazons that only closes the connection of a push to a missing repository
    amazons.abrupt = True
    geo = meet(distribution, amazons, VENDORS["ecr"].settings(amazons, "SECONDARY")).geo

    # When something is pushed
    replicate(geo, distribution, repository, "v1", images.index())

    # Then the repository was made, and it arrived
    assert reason(geo, repository, "v1") is None
    assert_same(distribution, amazons, repository, "v1")
    assert amazons.control.operations.count("CreateRepository") == 1


# --- tags that never move ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ecr", "gar", "harbor"])
def test_an_immutable_tag_fails_alone(
    meet: Meet, distribution: DistributionRegistry, name: str, request: pytest.FixtureRequest
) -> None:
    # Given a secondary whose tags never move, and one of them replicated
    immutable: Emulator
    if name == "ecr":
        immutable = request.getfixturevalue("amazons")
    elif name == "gar":
        immutable = request.getfixturevalue("fixed")
    else:
        immutable = request.getfixturevalue("ruled")
    repository = f"{'my-project/fixed' if name == 'gar' else 'library'}/{request.getfixturevalue('repository')[5:]}"
    if isinstance(immutable, Ecr):
        client = amazon(immutable)
        client.create_repository(repositoryName=repository, imageTagMutability="IMMUTABLE")
        client.close()
    geo = meet(distribution, immutable, VENDORS[name].settings(immutable, "SECONDARY")).geo
    first = images.image()
    replicate(geo, distribution, repository, "v1", first)
    assert reason(geo, repository, "v1") is None

    # When it is pushed again, the same, nothing is wrong
    replicate(geo, distribution, repository, "v1", first)
    assert reason(geo, repository, "v1") is None

    # When it moves on the primary, that is said, and others arrive
    replicate(geo, distribution, repository, "v1", images.image())
    replicate(geo, distribution, repository, "v2", images.image())
    assert reason(geo, repository, "v1") == "tag_immutable"
    assert digest_of(immutable, repository, "v1") == first.digest
    assert_same(distribution, immutable, repository, "v2")


@pytest.fixture
def fixed() -> Iterator[Gar]:
    with Gar(immutable=["my-project/fixed"]) as registry:
        yield registry


@pytest.fixture
def ruled() -> Iterator[Harbor]:
    with Harbor("library", immutable=".*") as registry:
        yield registry


# --- what does not fit ------------------------------------------------------------------------------------------------


def test_what_is_too_large_is_not_even_sent(meet: Meet, distribution: DistributionRegistry, repository: str) -> None:
    # Given a registry of small artifacts
    repository = f"geo/{repository}"
    with BundleBar() as small:
        geo = meet(distribution, small, VENDORS["bundle-bar"].settings(small, "SECONDARY")).geo

        # When a large one is pushed, and a small one
        replicate(geo, distribution, repository, "large", images.image([Blob(bytes(small.limit))]))
        sent = small.count(r"^(POST|PUT) ")
        replicate(geo, distribution, repository, "small", images.image())

        # Then the large one is refused by ourselves, and the small one arrives
        assert reason(geo, repository, "large") == "beyond_limit"
        assert sent == 0
        assert_same(distribution, small, repository, "small")


def test_amazon_takes_no_manifest_without_its_media_type(
    meet: Meet, distribution: DistributionRegistry, amazons: Ecr, repository: str
) -> None:
    geo = meet(distribution, amazons, VENDORS["ecr"].settings(amazons, "SECONDARY")).geo
    replicate(geo, distribution, repository, "nameless", images.image(media_type_in_body=False))
    replicate(geo, distribution, repository, "named", images.image())
    assert reason(geo, repository, "nameless") == "media_type_missing"
    assert_same(distribution, amazons, repository, "named")


# --- what is not deleted ----------------------------------------------------------------------------------------------


def test_the_last_tag_of_a_package_stays_at_github(
    meet: Meet, distribution: DistributionRegistry, repository: str
) -> None:
    # Given a package with a single tag
    with Ghcr() as github:
        geo = meet(distribution, github, VENDORS["ghcr"].settings(github, "SECONDARY")).geo
        image = images.image()
        replicate(geo, distribution, repository, "v1", image)

        # When that is deleted on the primary
        delete_digest(distribution, repository, image.digest)
        geo.event("delete", repository, digest=image.digest)
        geo.event("delete", repository, "v1")
        geo.settle()

        # Then it stays, and the row says so: GitHub deletes the package, but not its last tag
        assert tags(github, repository) == ["v1"]
        assert "keeps the last tag" in geo.failure(repository)

        # And it is deleted as soon as there is another
        replicate(geo, distribution, repository, "v2", images.image())
        geo.retry(repository)
        assert tags(github, repository) == ["v2"]


def test_an_image_of_an_index_goes_after_it_at_amazon(
    meet: Meet, distribution: DistributionRegistry, amazons: Ecr, repository: str
) -> None:
    # Given an index, and a tag of its own on one of its children
    env = {**VENDORS["ecr"].settings(amazons, "SECONDARY"), "GEO_DELETION": "tags+untagged"}
    geo = meet(distribution, amazons, env).geo
    index = images.index()
    child = index.children[0]
    replicate(geo, distribution, repository, "all", index)
    replicate(geo, distribution, repository, "amd64", child)

    # When both are deleted on the primary, the child first
    for tag, digest in (("amd64", child.digest), ("all", index.digest)):
        delete_digest(distribution, repository, digest)
        geo.event("delete", repository, digest=digest)
        geo.event("delete", repository, tag)
    geo.settle()
    for _ in range(2):
        geo.retry(repository)

    # Then both are deleted there
    assert tags(amazons, repository) == []


@pytest.mark.parametrize("mutability", ["MUTABLE", "IMMUTABLE"])
def test_amazon_keeps_a_digest_that_its_last_tag_has_left_where_tags_move(
    meet: Meet, distribution: DistributionRegistry, amazons: Ecr, repository: str, mutability: str
) -> None:
    # Given two tags, each the only one on its image
    client = amazon(amazons)
    client.create_repository(repositoryName=repository, imageTagMutability=mutability)
    client.close()
    geo = meet(distribution, amazons, VENDORS["ecr"].settings(amazons, "SECONDARY")).geo
    kept, gone = images.image(), images.image()
    replicate(geo, distribution, repository, "kept", kept)
    replicate(geo, distribution, repository, "gone", gone)

    # When one is deleted on the primary
    delete_digest(distribution, repository, gone.digest)
    geo.event("delete", repository, "gone")
    geo.settle()

    # Then the tag is gone; a deployment that is pinned to its digest goes on, unless tags do not move there
    assert (tags(amazons, repository), geo.failure(repository)) == (["kept"], "")
    left = {kept.digest, gone.digest} if mutability == "MUTABLE" else {kept.digest}
    assert set(amazons.repositories[repository].manifests) == left


def test_who_may_not_delete_at_amazon_overwrites_nothing(
    meet: Meet, distribution: DistributionRegistry, amazons: Ecr, repository: str
) -> None:
    # Given an account without BatchDeleteImage
    geo = meet(distribution, amazons, VENDORS["ecr"].settings(amazons, "SECONDARY")).geo
    image = images.image()
    replicate(geo, distribution, repository, "v1", image)
    replicate(geo, distribution, repository, "v2", images.image())
    amazons.control.denied.add("BatchDeleteImage")

    # When a tag is deleted on the primary, Then that is told, and the tag stands where it stood
    delete_digest(distribution, repository, image.digest)
    geo.event("delete", repository, "v1")
    geo.settle()
    assert reason(geo, repository, "v1") == "control_plane_denied"
    assert digest_of(amazons, repository, "v1") == image.digest


# --- what is too much -------------------------------------------------------------------------------------------------


def test_a_pull_limit_is_left_to_others(
    meet: Meet, theirs_limited: DockerHub, distribution: DistributionRegistry
) -> None:
    # Given a primary at Docker Hub where few pulls are left
    repository, names = "team/limited", [f"v{number}" for number in range(10)]
    geo = meet(theirs_limited, distribution, VENDORS["docker-hub"].settings(theirs_limited, "PRIMARY")).geo

    # When more is to be copied than that
    for name in names:
        geo.event("push", repository, name, push(theirs_limited, repository, name, images.index()))
    geo.settle()

    # Then the last of them are not touched: what was copied is whole, and the rest waits for others to come
    assert theirs_limited.pulls > 0
    theirs_limited.pulls = 1000
    copied = tags(distribution, repository)
    assert len(copied) < len(names)
    references = geo.references(repository)
    left = {references[name].failure_reason for name in names if name not in copied}
    assert {"rate_limited"} <= left <= {"rate_limited", None}
    for name in copied:
        assert_same(theirs_limited, distribution, repository, name)


@pytest.fixture
def theirs_limited() -> Iterator[DockerHub]:
    with DockerHub(limit=30) as registry:
        yield registry


def test_azure_is_given_the_time_that_it_asks_for(
    meet: Meet, distribution: DistributionRegistry, repository: str
) -> None:
    # Given a registry that refuses the next requests for a second
    with Acr() as azure:
        geo = meet(distribution, azure, VENDORS["acr"].settings(azure, "SECONDARY")).geo
        azure.throttled = 3

        # When something is pushed
        replicate(geo, distribution, repository, "v1", images.image())
        geo.retry(repository)

        # Then it arrives all the same
        assert reason(geo, repository, "v1") is None
        assert_same(distribution, azure, repository, "v1")
