"""What happens beside a sync: pushes, ends of processes, and other holders of the same row."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import SyncState
from app.replication import event_log, marking, replicator
from app.replication import sync as syncs
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, environment
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry
from tests.support.sessions import Session
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

pytestmark = pytest.mark.timeout(90)


def test_an_event_during_a_sync_is_not_lost(
    proxied: tuple[Deployment, Proxy, Proxy],
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, _, before_secondary = proxied
    # Given a sync that is just about to write the tag
    first = push(primary, repository, "v1", images.image())
    geo.event("push", repository, "v1", first)
    gate = before_secondary.rule("PUT .*/manifests/v1$", gate=threading.Event(), times=1)
    with Session() as worker:
        running = worker.start(geo.settle)
        assert gate.arrived.wait(20)

        # When the tag is pushed again, and the sync goes on
        second = push(primary, repository, "v1", images.image())
        geo.event("push", repository, "v1", second)
        geo.mark()
        assert gate.gate is not None
        gate.gate.set()
        running.result(30)

    # Then the second push arrives without another event, and only then is the row synced
    assert digest_of(secondary, repository, "v1") == second
    assert geo.row(repository).state == SyncState.SYNCED
    assert [attempt.new_digest for attempt in geo.attempts(repository)] == [first, second]


def test_a_tag_pushed_during_a_long_copy_is_copied_beside_it(
    proxied: tuple[Deployment, Proxy, Proxy],
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, before_primary, _ = proxied
    # Given a large blob that is under way
    large = images.image([images.layer(400_000)])
    push(primary, repository, "large", large)
    slow = before_primary.rule(f"GET .*{large.blobs[-1].digest}", gate=threading.Event())
    geo.event("push", repository, "large", large.digest)
    with Session() as worker:
        running = worker.start(geo.settle)
        assert slow.arrived.wait(20)

        # When another tag of the same repository is pushed
        small = push(primary, repository, "small", images.image())
        geo.event("push", repository, "small", small)
        geo.mark()

        # Then it is there long before the large one, which is not disturbed
        wait_until(lambda: digest_of(secondary, repository, "small") == small, 10)
        wait_until(lambda: geo.references(repository)["small"].state == SyncState.SYNCED)
        assert not running.done()
        assert geo.row(repository).state == SyncState.STARTED
        assert slow.gate is not None
        slow.gate.set()
        running.result(30)
    assert_same(primary, secondary, repository, "large")
    assert geo.row(repository).state == SyncState.SYNCED


def test_a_process_that_has_to_stop_gives_the_row_back(
    proxied: tuple[Deployment, Proxy, Proxy],
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    geo, before_primary, _ = proxied
    monkeypatch.setattr(syncs, "GRACE", 0.3)
    # Given a long copy, and tags that wait for a slot
    large = images.image([images.layer(3_000_000)])
    push(primary, repository, "large", large)
    slow = before_primary.rule(f"GET .*{large.blobs[-1].digest}", rate=400_000)
    geo.event("push", repository, "large", large.digest)
    with Session() as worker:
        running = worker.start(geo.settle)
        assert slow.arrived.wait(20)

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
    proxied: tuple[Deployment, Proxy, Proxy],
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, before_primary, _ = proxied
    made = images.image([images.layer(200_000)])
    push(primary, repository, "v1", made)
    slow = before_primary.rule(f"GET .*{made.blobs[-1].digest}", rate=200_000)
    geo.event("push", repository, "v1", made.digest)
    with Session() as worker:
        running = worker.start(geo.settle)
        assert slow.arrived.wait(20)
        geo.context.stopping.set()
        running.result(8)
    assert_same(primary, secondary, repository, "v1")
    assert geo.references(repository)["v1"].state == SyncState.SYNCED


def test_a_holder_whose_lease_was_taken_over_writes_no_tag(
    proxied: tuple[Deployment, Proxy, Proxy],
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, before_primary, _ = proxied
    # Given a worker in the middle of a copy
    old = images.image([images.layer(100_000)])
    push(primary, repository, "v1", old)
    slow = before_primary.rule(f"GET .*{old.blobs[-1].digest}", gate=threading.Event(), times=1)
    geo.event("push", repository, "v1", old.digest)
    geo.mark()
    former = geo.take()
    assert former is not None
    with Session() as worker:
        running = worker.start(lambda: syncs.sync(former, geo.context))
        assert slow.arrived.wait(20)

        # When it is thought dead, and another one takes over and copies what is there by now
        with connection():
            past = datetime.now(UTC) - timedelta(seconds=1)
            Registry.update(lease_expires_at=past).where(Registry.id == former.registry_id).execute()
        new = push(primary, repository, "v1", images.image())
        successor = geo.take()
        assert successor is not None
        assert successor.takeover
        assert syncs.sync(successor, geo.context).state == SyncState.SYNCED

        # And the former learns of it by his heartbeat and goes on
        with connection():
            former.lease.beat()
        assert slow.gate is not None
        slow.gate.set()
        closed = running.result(30)

    # Then he wrote nothing, neither there nor in the database
    assert closed.state is None
    assert digest_of(secondary, repository, "v1") == new
    assert geo.row(repository).state == SyncState.SYNCED
    assert [attempt.new_digest for attempt in geo.attempts(repository)] == [new]


def test_a_late_write_of_a_former_holder_is_found_and_overwritten(
    proxied: tuple[Deployment, Proxy, Proxy],
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
    with connection():
        past = datetime.now(UTC) - timedelta(seconds=1)
        Registry.update(lease_expires_at=past).where(Registry.id == former.registry_id).execute()

    # When his write of an older digest arrives just after the new holder's
    written = before_secondary.rule(r"HEAD .*/manifests/v1$", gate=threading.Event(), times=1)
    before_secondary.rule(r"HEAD .*/manifests/v1$", times=1)
    with Session() as worker:
        running = worker.start(geo.settle)
        assert written.arrived.wait(20)
        push(secondary, repository, "v1", images.image())
        assert written.gate is not None
        written.gate.set()
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
            with Session() as first:
                filling = first.start(lambda: replicator.run_due(geo.context))
                assert slow.arrived.wait(20)

                # When another repository is pushed to
                digest = push(primary, repository, "v1", images.image())
                geo.event("push", repository, "v1", digest)

                # Then the second thread brings that, and leaves the backfill to the first
                assert geo.settle() == 1
                assert digest_of(secondary, repository, "v1") == digest
                assert slow.gate is not None
                slow.gate.set()
                assert filling.result(30) == 2
        finally:
            geo.close()
