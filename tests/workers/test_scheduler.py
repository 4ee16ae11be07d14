"""The scheduler on both databases, against registries that nothing is asked of."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from peewee import OperationalError

from app import postgresql
from app.database import connection, now, one_at_a_time, transaction
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Event, Site, SyncState, VerificationState
from app.replication import backfill, claim, event_log, marking, retention
from app.replication.context import Context
from app.replication.log.feed import STATUS
from tests.support.answering import Answer, Request, Server
from tests.support.deployment import Deployment, event, offline_environment
from tests.support.postgres import Postgres
from tests.support.sessions import Session
from tests.support.wait import wait_until
from tests.workers.scheduling import Wakes, settle_reconcile

pytestmark = pytest.mark.usefixtures("stub_broker")


def tick(context: Context) -> None:
    from workers.scheduler import Scheduler

    Scheduler(context).tick()


def test_where_nothing_is_due_nobody_is_woken(state: Deployment, wakes: Wakes) -> None:
    settle_reconcile(state)
    tick(state.context)
    assert wakes == Wakes()


def test_events_that_nobody_has_read_are_read(state: Deployment, wakes: Wakes) -> None:
    # Given an event whose wake was lost
    settle_reconcile(state)
    state.event("push", "team/app", "v1")

    # When
    tick(state.context)

    # Then it is marked, and workers are woken for it
    assert state.row("team/app").state == SyncState.PENDING
    assert wakes.events_sent == 1
    assert wakes.rows_sent == [1]


def test_a_log_that_another_process_reads_for_ever_holds_nobody_up(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an event, and a process that stands still while it reads the log
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT", 0.3)
    monkeypatch.setattr(postgresql, "IDLE_TIMEOUT", 2)
    url = postgres.create_database()
    state = Deployment.start(offline_environment(url))
    settle_reconcile(state)
    state.event("push", "team/app", "v1")
    with Session() as other:
        other.begin()
        other.do(lambda: one_at_a_time(state.site.id))

        # When a scheduler and a worker want to read it, then each comes back without
        from workers.events import process_events
        from workers.scheduler import Scheduler

        scheduler = Scheduler(state.context)
        with pytest.raises(OperationalError, match="lock timeout"):
            scheduler.tick()
        with pytest.raises(OperationalError, match="lock timeout"):
            process_events()

        # And it is read as soon as the server has ended that transaction
        def read() -> bool:
            with suppress(OperationalError):
                scheduler.tick()
            with connection():
                return Registry.select().where(Registry.state == SyncState.PENDING).exists()

        wait_until(read)
        other.lost()
    state.close()
    postgres.drop_database(url)


def test_rows_that_wait_are_counted_up_to_the_limit(state: Deployment, wakes: Wakes) -> None:
    # Given more rows than there are threads for
    settle_reconcile(state)
    for number in range(40):
        state.event("push", f"team/app{number}", "v1")
    state.mark()

    # When
    tick(state.context)

    # Then twice the threads of both worker processes are woken
    assert wakes.rows_sent == [32]


def test_what_was_just_pushed_is_woken_for_apart_from_a_backfill(state: Deployment, wakes: Wakes) -> None:
    # Given more rows of a backfill than there are threads
    settle_reconcile(state)
    site = state.fresh_site()
    with transaction():
        ids = event_log.repository_ids([f"team/app{number}" for number in range(40)], now())
        marking.mark_full(site, list(ids.values()), priority=marking.BACKFILL)
    tick(state.context)

    # Then twice the threads are woken for it, and nobody for what was not pushed
    assert (wakes.rows_sent, wakes.bulk_sent) == ([], [(32, 0)])

    # And it is told how many rows are in somebody's hands
    assert None not in [state.take() for _ in range(14)]
    tick(state.context)
    assert wakes.bulk_sent[-1] == (26, 14)

    # And for each of what was pushed there is a wake
    for number in range(3):
        state.event("push", f"team/fresh{number}", "v1")
    state.mark()
    tick(state.context)
    assert wakes.rows_sent == [3]
    assert wakes.bulk_sent[-1] == (26, 14)


def test_a_row_whose_holder_died_is_due_when_its_lease_ends(state: Deployment, wakes: Wakes) -> None:
    # Given a row in somebody's hands
    settle_reconcile(state)
    state.event("push", "team/app", "v1")
    state.mark()
    assert state.take() is not None
    tick(state.context)
    assert wakes.rows_sent == []

    # When its lease is over
    with connection():
        Registry.update(lease_expires_at=now() - timedelta(seconds=1)).execute()
    tick(state.context)

    # Then somebody is woken for it
    assert wakes.rows_sent == [1]


def test_a_row_that_kills_its_workers_is_failed(state: Deployment, wakes: Wakes) -> None:
    settle_reconcile(state)
    state.event("push", "team/app", "v1")
    state.mark()
    with connection():
        past = now() - timedelta(seconds=1)
        Registry.update(state=SyncState.STARTED, attempts=claim.MAX_ATTEMPTS, lease_expires_at=past).execute()
    tick(state.context)
    row = state.row("team/app")
    assert row.state == SyncState.FAILED
    assert "workers in a row died" in (row.last_sync_failure or "")
    assert wakes.rows_sent == []


def test_a_failure_is_due_at_its_time(state: Deployment, wakes: Wakes) -> None:
    settle_reconcile(state)
    state.event("push", "team/app", "v1")
    state.mark()
    with connection():
        Registry.update(state=SyncState.FAILED, retry_at=now() + timedelta(hours=1)).execute()
    tick(state.context)
    assert wakes.rows_sent == []
    with connection():
        Registry.update(retry_at=now() - timedelta(seconds=1)).execute()
    tick(state.context)
    assert wakes.rows_sent == [1]


def test_a_paused_site_is_left_alone(state: Deployment, wakes: Wakes) -> None:
    state.event("push", "team/app", "v1")
    state.mark()
    with connection():
        Site.update(enabled=False).where(~Site.primary).execute()
    tick(state.context)
    assert wakes == Wakes()


def test_switched_off_nothing_happens(database_url: str) -> None:
    deployment = Deployment.start(offline_environment(database_url, GEO_REGISTRY_REPLICATION_ENABLED="false"))
    try:
        wakes = deployment.context.wake = Wakes()
        deployment.event("push", "team/app", "v1")
        tick(deployment.context)
        assert wakes == Wakes()
    finally:
        deployment.close()


def test_a_reconcile_does_not_hold_the_tick_up_and_its_failure_is_survived(state: Deployment, wakes: Wakes) -> None:
    # Given a site that asked for a reconcile, with a primary that does not answer
    from workers.scheduler import Scheduler

    backfill.request("by a test")
    scheduler = Scheduler(state.context)
    scheduler.stop.set()

    # When
    scheduler.tick()
    scheduler.tick()

    # Then it is tried beside the ticks, and still due
    wait_until(lambda: not scheduler.reconciles.under_way())
    assert state.fresh_site().reconcile_requested_at is not None


def test_a_new_registry_process_makes_a_reconcile_due(state: Deployment, wakes: Wakes) -> None:
    # Given a registry that was restarted
    settle_reconcile(state)
    state.context.instances.note(["before"])
    state.context.instances.note(["after"])

    # When
    from workers.scheduler import Scheduler

    scheduler = Scheduler(state.context)
    scheduler.stop.set()
    scheduler.tick()

    # Then it is asked for, and begun in the same tick
    assert "new" in (state.fresh_site().reconcile_reason or "")
    wait_until(lambda: not scheduler.reconciles.under_way())


def test_old_events_are_forgotten(state: Deployment, wakes: Wakes) -> None:
    settle_reconcile(state)
    state.event("push", "team/app", "v1")
    state.event("push", "team/app", "v2")
    state.mark()
    with connection():
        Event.update(created_at=datetime.now(UTC) - timedelta(days=15)).where(Event.tag == "v1").execute()
    tick(state.context)
    with connection():
        assert [event.tag for event in Event.select()] == ["v2"]


def test_more_than_one_tick_forgets_goes_on_in_the_next(
    state: Deployment, wakes: Wakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given more that is old than a tick has time for
    from workers.scheduler import Scheduler

    settle_reconcile(state)
    monkeypatch.setattr(retention, "MAX_ROWS", 2)
    monkeypatch.setattr(retention, "BUDGET", 0.0)
    state.store(*(event(tag=f"v{number}") for number in range(7)))
    state.mark()
    with connection():
        Event.update(created_at=datetime.now(UTC) - timedelta(days=15)).execute()
    scheduler = Scheduler(state.context, clock=lambda: 0.0)

    # When the ticks of one minute go on, then all is forgotten
    left = []
    for _ in range(5):
        scheduler.tick()
        with connection():
            left.append(Event.select().count())
    assert left == [5, 3, 1, 0, 0]


# --- verification -----------------------------------------------------------------------------------------------


def test_what_is_to_be_verified_wakes_so_many_as_may_verify(state: Deployment, wakes: Wakes) -> None:
    # Given more synced rows than may be verified at once, and one that nobody looked at for a month
    settle_reconcile(state)
    for number in range(10):
        state.event("push", f"team/app{number}", "v1")
    state.mark()
    with connection():
        Registry.update(state=SyncState.SYNCED).execute()
        Registry.update(
            verification_state=VerificationState.SUCCEEDED, fully_verified_at=now() - timedelta(days=30)
        ).where(Registry.id == state.row("team/app0").id).execute()

    # When
    tick(state.context)

    # Then a quarter of the threads of both processes is woken, and the one that was left alone is asked for
    assert wakes.verifications_sent == [4]
    row = state.row("team/app0")
    assert (row.verification_full, row.verification_requested_level) == (True, "blobs")


# --- a secondary's own deployment reports to the primary's ------------------------------------------------------------


class SlowPrimary:
    """Takes reports when it is let."""

    def __init__(self) -> None:
        self.taken = threading.Semaphore(0)
        self.let = threading.Event()
        self.server = Server(self.serve)

    def serve(self, request: Request) -> Answer:
        if request.path != STATUS:
            return Answer(404)
        self.taken.release()
        self.let.wait(30)
        return Answer(200, b"{}")

    def reports(self, timeout: float = 20) -> bool:
        return self.taken.acquire(timeout=timeout)


@pytest.fixture
def slow() -> Iterator[SlowPrimary]:
    made = SlowPrimary()
    made.server.start()
    try:
        yield made
    finally:
        made.let.set()
        made.server.stop()


def test_a_status_is_reported_once_a_minute_and_skipped_minutes_are_not_made_up_for(
    database_url: str, slow: SlowPrimary
) -> None:
    from workers.scheduler import Scheduler

    env = offline_environment(database_url, GEO_ROLE="secondary", GEO_SITE_NAME="berlin")
    state = Deployment.start(env | {"GEO_PRIMARY_URL": f"http://127.0.0.1:{slow.server.port}", "GEO_SITE_TOKEN": "x"})
    settle_reconcile(state)
    seconds = 0.0
    scheduler = Scheduler(state.context, clock=lambda: seconds)

    def ticks(count: int, every: float = 1.0) -> None:
        nonlocal seconds
        for _ in range(count):
            scheduler.tick()
            seconds += every

    def done() -> None:
        thread = scheduler._reporting
        assert thread is not None
        thread.join(20)

    try:
        # Given a scheduler that begins: it reports at once, and the ticks go on though it is not answered
        ticks(2, every=29.0)
        assert slow.reports()

        # When many minutes pass before it is answered
        ticks(3, every=600.0)
        slow.let.set()
        done()
        assert not slow.taken.acquire(blocking=False)

        # Then one more is made, not all that were skipped
        ticks(1)
        assert slow.reports()
        done()
        ticks(3, every=29.0)
        assert not slow.taken.acquire(blocking=False)
        ticks(1)
        assert slow.reports()
        done()
    finally:
        slow.let.set()
        state.close()
