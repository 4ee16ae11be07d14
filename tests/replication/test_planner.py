"""A full sync where one side does not know what the other has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from app.models import SyncState
from tests.replication.conftest import Deploy
from tests.support import images
from tests.support.oci_registry import OciRegistry
from tests.support.replicated import replicated
from tests.support.wire import delete_tag, push, tags

REPOSITORY = "team/app"


@pytest.fixture
def between() -> Iterator[tuple[OciRegistry, OciRegistry]]:
    with ExitStack() as stack:
        yield stack.enter_context(OciRegistry()), stack.enter_context(OciRegistry())


@pytest.mark.parametrize("env", [{"GEO_DELETION": "off"}, {"GEO_PROTECTED_TAGS": "v*"}], ids=["off", "protected"])
def test_what_is_kept_of_a_deleted_repository_is_nothing_missing(
    deploy: Deploy, between: tuple[OciRegistry, OciRegistry], env: dict[str, str]
) -> None:
    # Given a repository that was deleted by event, and whose tags the policy keeps
    primary, secondary = between
    geo = deploy(primary, secondary, **env)
    replicated(geo, primary, REPOSITORY, "v1", "v2")
    del primary.repositories[REPOSITORY]
    geo.event("delete", REPOSITORY)
    geo.settle()
    assert geo.row(REPOSITORY).state == SyncState.SYNCED

    # When everything is looked at, then it is in order
    assert geo.row(REPOSITORY).replicator.sync().state == SyncState.SYNCED
    assert tags(secondary, REPOSITORY) == ["v1", "v2"]


def test_a_repository_that_went_without_an_event_is_forgotten_once_it_is_deleted_on_the_secondary_too(
    deploy: Deploy, between: tuple[OciRegistry, OciRegistry]
) -> None:
    # Given a repository that the primary no longer knows, and no event of it
    primary, secondary = between
    geo = deploy(primary, secondary)
    replicated(geo, primary, REPOSITORY, "v1", "v2")
    del primary.repositories[REPOSITORY]
    for left in ("v1", "v2"):
        # When a person does as the failure says, one tag after the other, then it fails as long as any is left
        failed = geo.row(REPOSITORY).replicator.sync()
        assert failed.state == SyncState.FAILED
        assert "delete these tags on the secondary too" in str(failed.failure)
        assert left in tags(secondary, REPOSITORY)
        delete_tag(secondary, REPOSITORY, left)

    # Then it is in order
    assert geo.row(REPOSITORY).replicator.sync().state == SyncState.SYNCED
    assert geo.references(REPOSITORY) == {}


@pytest.mark.parametrize("there", [True, False])
def test_drift_of_which_an_event_told_and_that_never_came_is_drift_again(
    deploy: Deploy, between: tuple[OciRegistry, OciRegistry], there: bool
) -> None:
    # Given an extra on the secondary that was pushed to the primary too, and deleted there before it was copied
    primary, secondary = between
    geo = deploy(primary, secondary)
    replicated(geo, primary, REPOSITORY, "v1")
    push(secondary, REPOSITORY, "theirs", images.image())
    geo.row(REPOSITORY).replicator.sync()
    geo.event("push", REPOSITORY, "theirs", images.image().digest)
    geo.settle()
    assert geo.row(REPOSITORY).state == SyncState.FAILED
    if not there:
        delete_tag(secondary, REPOSITORY, "theirs")

    # When a complete listing says that it is not there, then nothing waits for it
    assert geo.row(REPOSITORY).replicator.sync().state == SyncState.SYNCED
    assert ("theirs" in geo.references(REPOSITORY)) is there
