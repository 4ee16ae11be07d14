"""Repositories that have to be made before something can be pushed there."""

from __future__ import annotations

import boto3
import pytest

from app.models import SyncState
from app.providers import PROFILES, ControlPlaneError, Provider
from app.registry import Denied, NotFound, Unreachable
from app.replication.copying.creation import Creations, RepositoryNotCreated, says_missing
from app.settings import ProviderName
from tests.replication.conftest import Deploy
from tests.replication.providers.stage import PROVIDER, Plane, bring, given
from tests.support import images
from tests.support.compare import assert_same
from tests.support.oci_content import Refused
from tests.support.oci_registry import OciRegistry
from tests.support.peculiar import Unmade

pytestmark = pytest.mark.timeout(90)


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
