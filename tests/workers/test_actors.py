"""The actors between two real registries: called, and sent to a worker in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker

from app.database import connection
from app.models import Site, SyncState
from app.replication.context import Nobody
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment
from tests.support.registries import DistributionRegistry
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push


@pytest.fixture
def worker(stub: StubBroker) -> Iterator[Worker]:
    worker = Worker(stub, worker_timeout=50, worker_threads=2)
    worker.start()
    yield worker
    worker.stop()


def test_with_an_id_it_looks_at_everything_in_the_repository(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    from workers import sync_repository

    # Given a synced repository, and a tag that no event told of
    push(primary, "team/app", "v1", images.image())
    geo.event("push", "team/app", "v1")
    geo.settle()
    push(primary, "team/app", "v2", images.image())

    # When the row is synced by its id
    sync_repository(geo.row("team/app").id)

    # Then the tag is there
    assert_same(primary, secondary, "team/app", "v2")

    # And a failed row is tried whatever its time
    secondary.stop()
    push(primary, "team/app", "v3", images.image())
    geo.event("push", "team/app", "v3")
    geo.settle()
    assert geo.row("team/app").state == SyncState.FAILED
    secondary.start()
    sync_repository(geo.row("team/app").id)
    assert_same(primary, secondary, "team/app", "v3")


def test_called_by_hand(geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry) -> None:
    from workers import process_events, sync_repository

    # Given a push whose event is in the log
    push(primary, "team/app", "v1", images.image())
    geo.event("push", "team/app", "v1")

    # When the actor is called as a function
    process_events()

    # Then it has read the event and synced the row
    assert_same(primary, secondary, "team/app", "v1")
    assert geo.row("team/app").state == SyncState.SYNCED

    # And the other syncs a row whatever its state, or all that is due
    push(primary, "team/app", "v1", images.image())
    geo.event("push", "team/app", "v1")
    geo.mark()
    sync_repository(geo.row("team/app").id)
    assert_same(primary, secondary, "team/app", "v1")
    push(primary, "team/app", "v2", images.image())
    geo.event("push", "team/app", "v2")
    geo.mark()
    sync_repository()
    assert_same(primary, secondary, "team/app", "v2")

    # And a row that is not there is nobody's error
    sync_repository(999_999)


def test_sent_to_a_worker(
    geo: Deployment, worker: Worker, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    from workers import process_events, sync_repository

    # Given
    for number in range(3):
        push(primary, f"team/app{number}", "v1", images.image())
        geo.event("push", f"team/app{number}", "v1")

    # When
    process_events.send()

    # Then
    names = [f"team/app{number}" for number in range(3)]
    wait_until(lambda: all(digest_of(secondary, name, "v1") == digest_of(primary, name, "v1") for name in names))

    # And by the row's id, as at the console
    push(primary, "team/app0", "v2", images.image())
    geo.event("push", "team/app0", "v2")
    geo.mark()
    sync_repository.send(geo.row("team/app0").id)
    wait_until(lambda: digest_of(secondary, "team/app0", "v2") is not None)
    assert_same(primary, secondary, "team/app0", "v2")


def test_many_rows_wake_many_threads(geo: Deployment, primary: DistributionRegistry) -> None:
    from workers import process_events

    # Given
    asked: list[int] = []

    class Wakes(Nobody):
        def events(self) -> None:
            raise AssertionError("nothing is unread any more")

        def rows(self, count: int) -> None:
            asked.append(count)

        def bulk(self, count: int, busy: int = 0) -> None:
            raise AssertionError("the scheduler asks for those")

        def verifications(self, count: int) -> None:
            raise AssertionError("the scheduler asks for those")

    geo.context.wake = Wakes()
    for number in range(5):
        push(primary, f"team/app{number}", "v1", images.image())
        geo.event("push", f"team/app{number}", "v1")

    # When
    process_events()

    # Then it asked for others to help with all but one, and did what it could itself
    assert asked == [4]
    assert geo.due() == 0


def test_a_paused_site_keeps_its_events(geo: Deployment, primary: DistributionRegistry) -> None:
    from workers import process_events

    push(primary, "team/app", "v1", images.image())
    geo.event("push", "team/app", "v1")
    with connection():
        Site.update(enabled=False).where(~Site.primary).execute()
    process_events()
    with connection():
        Site.update(enabled=True).where(~Site.primary).execute()
    process_events()
    assert geo.row("team/app").state == SyncState.SYNCED
