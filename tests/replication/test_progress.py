"""Progress of a backfill, from what the rows say."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.database import connection, now
from app.models import CatalogWalk, Follower, Site, SyncState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import backfill, marking
from app.replication.progress import Backfill, halted
from app.replication.progress import backfill as progress
from tests.support.deployment import Deployment

pytestmark = pytest.mark.timeout(60)


def told(state: Deployment) -> Backfill:
    with connection():
        found = progress(state.fresh_site())
    assert found is not None
    return found


@pytest.fixture
def begun(state: Deployment) -> Deployment:
    """A backfill that began a hundred seconds ago and has found ten repositories."""
    for number in range(11):
        state.event("push", f"team/app-{number}", "v1")
    state.mark()
    with connection():
        ids = [row.container_repository_id for row in Registry.select().order_by(Registry.id).limit(10)]
        marking.mark_full(state.fresh_site(), ids, priority=marking.BACKFILL)
        Site.update(reconcile_started_at=now() - timedelta(seconds=100)).where(Site.id == state.site.id).execute()
    return state


def finish(state: Deployment, count: int, outcome: SyncState = SyncState.SYNCED) -> None:
    with connection():
        waiting = Registry.select(Registry.id).where(Registry.full_sync).order_by(Registry.id).limit(count)
        ids = [row.id for row in waiting]
        Registry.update(full_sync=False, state=outcome).where(Registry.id.in_(ids)).execute()


def test_there_is_none_before_the_first(state: Deployment) -> None:
    with connection():
        assert progress(state.fresh_site()) is None


def test_what_it_found_is_done_or_left(begun: Deployment) -> None:
    assert (told(begun).found, told(begun).left, told(begun).ends_at) == (10, 10, None)

    # When four are done and one has failed
    finish(begun, 4)
    finish(begun, 1, SyncState.FAILED)

    # Then the other five should take as long as these
    found = told(begun)
    assert (found.found, found.left, found.failed, found.synced, found.done) == (10, 5, 1, 4, False)
    assert found.ends_at is not None
    with connection():
        assert 80 < (found.ends_at - now()).total_seconds() < 130

    # And when all are, it is over
    finish(begun, 5)
    assert told(begun).done
    assert told(begun).ends_at is None


def test_while_repositories_are_found_it_is_not_over(begun: Deployment) -> None:
    finish(begun, 10)
    with connection():
        instant = now()
        CatalogWalk.insert(site=begun.site.id, priority=10, started_at=instant, updated_at=instant).execute()
    assert told(begun).finding
    assert not told(begun).done


def test_the_next_is_due_when_the_last_was_long_ago_and_is_over(begun: Deployment) -> None:
    # Given a backfill that has something left
    with connection():
        Site.update(reconcile_requested_at=None, reconcile_reason=None).execute()
    interval = timedelta(seconds=50)
    assert backfill.request_overdue(interval) == 0

    # When it is done, then the next is due after the interval, and asked for once
    finish(begun, 10)
    assert backfill.request_overdue(None) == 0
    assert backfill.request_overdue(timedelta(hours=1)) == 0
    assert backfill.request_overdue(interval) == 1
    assert begun.fresh_site().reconcile_requested_at is not None
    assert backfill.request_overdue(interval) == 0


def test_whoever_waits_learns_that_nobody_works(state: Deployment) -> None:
    def why(*, replication_enabled: bool = True) -> str | None:
        with connection():
            return halted(state.site, replication_enabled=replication_enabled)

    # Given a site at which work is done
    assert why() is None
    assert "GEO_REGISTRY_REPLICATION_ENABLED" in (why(replication_enabled=False) or "")

    # When it is paused, here or at the primary's deployment, or is no site any more
    with connection():
        Site.update(enabled=False).where(Site.id == state.site.id).execute()
    assert why() == "secondary is paused; `geo sites resume secondary` lets it go on"
    with connection():
        Follower.insert(site=state.site, paused=True, created_at=now()).execute()
    assert why() == "secondary is paused at the primary's deployment; `geo sites resume secondary` there lets it go on"
    with connection():
        Site.update(retired=True).where(Site.id == state.site.id).execute()
    assert why() == "secondary is no longer a site of this deployment"
