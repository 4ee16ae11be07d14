"""Work: what a worker takes up, within its reach."""

from __future__ import annotations

import pytest

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import SyncState
from app.replication import event_log, marking, work
from app.replication.work import Reach
from tests.support import images
from tests.support.deployment import Deployment, environment
from tests.support.registries import DistributionRegistry
from tests.support.wire import push
from tests.workers.scheduling import Wakes

pytestmark = pytest.mark.timeout(90)


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
    assert work.run_due(geo.context, reach=Reach.FRESH) == 1
    assert synced() == {pushed}

    # And one that is for the rest leaves a fresh push, and takes what a person asked for first
    push(primary, pushed, "v2", images.image())
    geo.event("push", pushed, "v2")
    geo.mark()
    assert work.run_due(geo.context, limit=1, reach=Reach.BULK) == 1
    assert synced() == {asked}
    assert work.run_due(geo.context, reach=Reach.BULK) == 1
    assert synced() == {asked, owed}

    # And one that is for everything leaves nothing
    assert work.run_due(geo.context) == 1
    assert synced() == {pushed, asked, owed}


def test_after_its_time_a_message_begins_no_further_row_and_wakes_for_the_rest(
    geo: Deployment, primary: DistributionRegistry, repository: str
) -> None:
    # Given three rows that were just pushed and two that nobody waits for, of which each takes more than a third of it
    names = [f"{repository}/{number}" for number in range(5)]
    for name in names:
        push(primary, name, "v1", images.image())
    with connection():
        ids = event_log.repository_ids(names[3:], now())
    marking.mark_full(geo.fresh_site(), list(ids.values()), priority=marking.BACKFILL)
    for name in names[:3]:
        geo.event("push", name, "v1")
    geo.mark()
    wakes = geo.context.wake = Wakes()

    def clock() -> float:
        return sum(geo.row(name).state == SyncState.SYNCED for name in names) * (work.TURN / 3 + 1)

    # When a message is at it, then it ends in time, and another is sent for what it was at
    assert work.run_due(geo.context, clock=clock) == 3
    assert (wakes.rows_sent, wakes.bulk_sent) == ([1], [])

    # And one that has time enough for the rest sends none
    assert work.run_due(geo.context, clock=clock) == 2
    assert (wakes.rows_sent, wakes.bulk_sent) == ([1], [])

    # And one that was at what nobody waits for wakes for that
    marking.mark_full(geo.fresh_site(), list(ids.values()), priority=marking.BACKFILL)
    times = iter([0.0, work.TURN])
    assert work.run_due(geo.context, clock=lambda: next(times)) == 1
    assert (wakes.rows_sent, wakes.bulk_sent) == ([1], [(1, 0)])
    assert geo.due() == 1


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
