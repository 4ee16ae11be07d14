"""What happens beside a sync: pushes, ends of processes, and other holders of the same row."""

from __future__ import annotations

import threading

import pytest

from app.database import connection, now
from app.models import SyncState
from app.replication import event_log, marking, work
from app.replication import sync as syncs
from tests.replication.coming import coming
from tests.replication.conftest import Proxied
from tests.replication.holding import expire
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, environment
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry
from tests.support.sessions import at_work
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

pytestmark = pytest.mark.timeout(90)


def test_an_event_during_a_sync_is_not_lost(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, _, before_secondary = proxied
    # Given a sync that is just about to write the tag
    first = push(primary, repository, "v1", images.image())
    geo.event("push", repository, "v1", first)
    gate = before_secondary.rule("PUT .*/manifests/v1$", gate=threading.Event(), times=1)
    with at_work(geo.settle, gate) as running:
        # When the tag is pushed again, and the sync goes on
        second = push(primary, repository, "v1", images.image())
        geo.event("push", repository, "v1", second)
        geo.mark()
        gate.open()
        running.result(30)

    # Then the second push arrives without another event, and only then is the row synced
    assert digest_of(secondary, repository, "v1") == second
    assert geo.row(repository).state == SyncState.SYNCED
    assert [attempt.new_digest for attempt in geo.attempts(repository)] == [first, second]


def test_a_tag_pushed_during_a_long_copy_is_copied_beside_it(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, _, _ = proxied
    # Given a large blob that is under way
    slow = coming(proxied, primary, repository, 400_000, tag="large", gate=threading.Event())
    with at_work(geo.settle, slow) as running:
        # When another tag of the same repository is pushed
        small = push(primary, repository, "small", images.image())
        geo.event("push", repository, "small", small)
        geo.mark()

        # Then it is there long before the large one, which is not disturbed
        wait_until(lambda: digest_of(secondary, repository, "small") == small, 10)
        wait_until(lambda: geo.references(repository)["small"].state == SyncState.SYNCED)
        assert not running.done()
        assert geo.row(repository).state == SyncState.STARTED
        slow.open()
        running.result(30)
    assert_same(primary, secondary, repository, "large")
    assert geo.row(repository).state == SyncState.SYNCED


def test_a_process_that_has_to_stop_gives_the_row_back(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    geo, before_primary, _ = proxied
    monkeypatch.setattr(syncs, "GRACE", 0.3)
    # Given a long copy, and tags that wait for a slot
    slow = coming(proxied, primary, repository, 3_000_000, tag="large", rate=400_000)
    with at_work(geo.settle, slow) as running:
        # When the process has to end
        geo.context.stopping.set()

        # Then it lets go soon, and the row is due at once, for somebody else
        running.result(6)
    row = geo.row(repository)
    assert (row.state, row.lease_owner, row.retry_at, row.retry_count) == (SyncState.PENDING, None, None, 0)
    assert geo.references(repository)["large"].state == SyncState.PENDING
    assert geo.due() == 1
    assert digest_of(secondary, repository, "large") is None

    # And that one brings it to its end
    geo.context.stopping.clear()
    before_primary.clear()
    geo.settle()
    assert_same(primary, secondary, repository, "large")


def test_a_process_that_has_to_stop_ends_what_is_nearly_done(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, _, _ = proxied
    slow = coming(proxied, primary, repository, 200_000, rate=200_000)
    with at_work(geo.settle, slow) as running:
        geo.context.stopping.set()
        running.result(8)
    assert_same(primary, secondary, repository, "v1")
    assert geo.references(repository)["v1"].state == SyncState.SYNCED


def test_a_holder_whose_lease_was_taken_over_writes_no_tag(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, _, _ = proxied
    # Given a worker in the middle of a copy
    slow = coming(proxied, primary, repository, 100_000, gate=threading.Event(), times=1)
    geo.mark()
    former = geo.take()
    assert former is not None
    with at_work(lambda: syncs.sync(former, geo.context), slow) as running:
        # When it is thought dead, and another one takes over and copies what is there by now
        expire(former)
        new = push(primary, repository, "v1", images.image())
        successor = geo.take()
        assert successor is not None
        assert successor.takeover
        assert syncs.sync(successor, geo.context).state == SyncState.SYNCED

        # And the former learns of it by his heartbeat and goes on
        with connection():
            former.lease.beat()
        slow.open()
        closed = running.result(30)

    # Then he wrote nothing, neither there nor in the database
    assert closed.state is None
    assert digest_of(secondary, repository, "v1") == new
    assert geo.row(repository).state == SyncState.SYNCED
    assert [attempt.new_digest for attempt in geo.attempts(repository)] == [new]


def test_a_late_write_of_a_former_holder_is_found_and_overwritten(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, _, before_secondary = proxied
    # Given a row that is taken over from a holder who is not quite dead
    new = push(primary, repository, "v1", images.image())
    geo.event("push", repository, "v1", new)
    geo.mark()
    former = geo.take()
    assert former is not None
    expire(former)

    # When his write of an older digest arrives just after the new holder's
    written = before_secondary.rule(r"HEAD .*/manifests/v1$", gate=threading.Event(), times=1)
    before_secondary.rule(r"HEAD .*/manifests/v1$", times=1)
    with at_work(geo.settle, written) as running:
        push(secondary, repository, "v1", images.image())
        written.open()
        running.result(30)

    # Then the new holder sees it, and puts it right the next time
    assert geo.references(repository)["v1"].failure_reason == "overwritten"
    geo.retry(repository)
    assert digest_of(secondary, repository, "v1") == new
    assert geo.row(repository).state == SyncState.SYNCED


def test_one_thread_is_left_for_what_was_just_pushed(
    primary: DistributionRegistry, secondary: DistributionRegistry, database_url: str, repository: str
) -> None:
    # Given two threads, and two repositories to fill, of which the first does not get on
    with Proxy(primary) as before_primary:
        env = environment(primary, secondary, database_url, WORKER_THREADS="2")
        geo = Deployment.start(env | {"GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": before_primary.url})
        try:
            old = [f"{repository}-old-{number}" for number in range(2)]
            for name in old:
                push(primary, name, "v1", images.image())
            with connection():
                ids = event_log.repository_ids(old, now())
            marking.mark_full(geo.fresh_site(), list(ids.values()), priority=marking.BACKFILL)
            slow = before_primary.rule(f"GET .*{repository}-old-.*/tags/list", gate=threading.Event())
            with at_work(lambda: work.run_due(geo.context), slow) as filling:
                # When another repository is pushed to
                digest = push(primary, repository, "v1", images.image())
                geo.event("push", repository, "v1", digest)

                # Then the second thread brings that, and leaves the backfill to the first
                assert geo.settle() == 1
                assert digest_of(secondary, repository, "v1") == digest
                slow.open()
                assert filling.result(30) == 2
        finally:
            geo.close()
