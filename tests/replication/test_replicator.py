"""The replicator: what a command, a worker and a person at the console ask for by the name of a repository."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, SyncState
from app.replication import event_log, marking, replicator
from app.replication.planner import RepositoryMissing
from app.replication.replicator import Reach
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, environment, event
from tests.support.registries import DistributionRegistry
from tests.support.replicated import replicated
from tests.support.wire import push

pytestmark = pytest.mark.timeout(90)


def test_names_that_are_no_repositories_are_refused(geo: Deployment, repository: str) -> None:
    site = geo.fresh_site()
    for name in ("", "Team/App", "registry.example.com/app:v1", "../etc"):
        with pytest.raises(replicator.UnknownRepository):
            replicator.find(site, name, geo.context.primary)
    with pytest.raises(RepositoryMissing):
        replicator.find(site, repository, geo.context.primary)


def test_failed_digests_of_a_synced_row_are_taken_up_again(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a row that is synced although a digest without a tag failed
    made = images.image()
    push(primary, repository, None, made)
    primary.blob_path(made.blobs[-1].digest).unlink()
    geo.store(event(repository=repository, digest=made.digest))
    geo.settle()
    assert geo.row(repository).state == SyncState.SYNCED
    assert replicator.awaken_digests() == 0

    # When its time comes, and it can be had again
    primary.blob_path(made.blobs[-1].digest).write_bytes(made.blobs[-1].data)
    with connection():
        Reference.update(retry_at=now() - timedelta(seconds=1)).execute()
    assert replicator.awaken_digests() == 1
    geo.settle()

    # Then it is copied
    assert_same(primary, secondary, repository, made.digest)


def test_a_process_takes_up_what_is_within_its_reach(
    geo: Deployment, primary: DistributionRegistry, repository: str
) -> None:
    # Given a repository that was just pushed to, one that a person asked for, and one of a backfill
    pushed, asked, owed = (f"{repository}/{name}" for name in ("pushed", "asked", "owed"))
    for name in (pushed, asked, owed):
        push(primary, name, "v1", images.image())
    site = geo.fresh_site()
    with connection():
        ids = event_log.repository_ids([asked, owed], now())
    marking.mark_full(site, [ids[owed]], priority=marking.BACKFILL)
    marking.mark_full(site, [ids[asked]], priority=marking.MANUAL)
    geo.event("push", pushed, "v1")
    geo.mark()

    def synced() -> set[str]:
        return {name for name in (pushed, asked, owed) if geo.row(name).state == SyncState.SYNCED}

    # When one that is for fresh pushes alone works until nothing is due for it, then the rest is left
    assert replicator.run_due(geo.context, reach=Reach.FRESH) == 1
    assert synced() == {pushed}

    # And one that is for the rest leaves a fresh push, and takes what a person asked for first
    push(primary, pushed, "v2", images.image())
    geo.event("push", pushed, "v2")
    geo.mark()
    assert replicator.run_due(geo.context, limit=1, reach=Reach.BULK) == 1
    assert synced() == {asked}
    assert replicator.run_due(geo.context, reach=Reach.BULK) == 1
    assert synced() == {asked, owed}

    # And one that is for everything leaves nothing
    assert replicator.run_due(geo.context) == 1
    assert synced() == {pushed, asked, owed}


def test_replication_switched_off_syncs_nothing(
    primary: DistributionRegistry, secondary: DistributionRegistry, database_url: str, repository: str
) -> None:
    env = environment(primary, secondary, database_url, GEO_REGISTRY_REPLICATION_ENABLED="false")
    geo = Deployment.start(env)
    try:
        assert not Registry.replication_enabled()
        geo.event("push", repository, "v1", push(primary, repository, "v1", images.image()))
        assert geo.settle() == 0
        assert geo.due() == 1
    finally:
        geo.close()


def test_attempts_are_forgotten_in_time(geo: Deployment, primary: DistributionRegistry, repository: str) -> None:
    replicated(geo, primary, repository, "v1", "v2")
    assert replicator.prune_attempts(timedelta(days=1)) == 0
    assert replicator.prune_attempts(timedelta(seconds=-5), limit=1) == 1
    assert len(geo.attempts(repository)) == 1
