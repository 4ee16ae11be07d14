"""Several schedulers: one acts, and another follows it when it ends, dies, or reaches nobody."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from app.database import connection, now
from app.models import Lease
from app.replication.context import Context
from app.replication.lease import TTL
from tests.support.deployment import Deployment, offline_environment
from tests.support.postgres import Postgres
from tests.support.wait import wait_until
from tests.workers.scheduling import Wakes, settle_reconcile

pytestmark = pytest.mark.usefixtures("stub_broker")


class Ticking:
    """A scheduler in a thread of its own that counts its ticks."""

    def __init__(self, context: Context) -> None:
        from workers.scheduler import Scheduler

        ticking = self
        self.ticks = 0

        class Counting(Scheduler):
            def tick(self) -> None:
                super().tick()
                ticking.ticks += 1

        self.scheduler = Counting(context)
        self.thread = threading.Thread(target=self.scheduler.run)

    def stop(self) -> None:
        self.scheduler.stop.set()
        if self.thread.is_alive():
            self.thread.join(20)


@pytest.fixture
def schedulers(state: Deployment, wakes: Wakes, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Ticking]]:
    monkeypatch.setattr("workers.scheduler.INTERVAL", 0.05)
    settle_reconcile(state)
    made = [Ticking(state.context), Ticking(state.context)]
    yield made
    for one in made:
        one.stop()


def test_of_two_schedulers_one_acts_and_the_other_takes_over(schedulers: list[Ticking]) -> None:
    # Given
    first, second = schedulers
    first.thread.start()
    wait_until(lambda: first.ticks > 0)
    second.thread.start()
    wait_until(lambda: first.ticks > 20)
    assert second.ticks == 0

    # When the acting one ends
    first.stop()

    # Then the other acts at once
    wait_until(lambda: second.ticks > 0, timeout=5)
    assert not first.thread.is_alive()


def test_a_scheduler_that_reaches_no_worker_leaves_it_to_another(
    schedulers: list[Ticking], state: Deployment, wakes: Wakes
) -> None:
    # Given a row that waits, and a scheduler that cannot reach the queue
    class Unheard(Wakes):
        def rows(self, count: int) -> None:
            self.failures += 1

    deaf, other = schedulers
    deaf.scheduler.context = replace(state.context, wake=Unheard())
    state.event("push", "team/app", "v1")
    state.mark()

    # When it has tried for a while, and there is another
    deaf.thread.start()
    wait_until(lambda: deaf.ticks > 0)
    other.thread.start()

    # Then the other acts, wakes a worker, and keeps at it
    wait_until(lambda: len(wakes.rows_sent) > 0, timeout=10)
    ticks = deaf.ticks
    wait_until(lambda: len(wakes.rows_sent) > 20, timeout=10)
    assert deaf.ticks == ticks


def test_a_scheduler_that_dies_is_replaced_when_its_lease_ends(schedulers: list[Ticking]) -> None:
    # Given the lease in a dead scheduler's hands
    first = schedulers[0]
    with connection():
        Lease.create(name="scheduler", owner="gone", token=5, expires_at=now() + timedelta(seconds=TTL))
    first.thread.start()
    with pytest.raises(AssertionError):
        wait_until(lambda: first.ticks > 0, timeout=0.5)

    # When it is over
    with connection():
        Lease.update(expires_at=now()).execute()

    # Then another acts
    wait_until(lambda: first.ticks > 0, timeout=5)


def test_a_scheduler_goes_on_as_soon_as_its_database_is_back(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a scheduler at work
    monkeypatch.setattr("workers.scheduler.INTERVAL", 0.05)
    deployment = Deployment.start(offline_environment(postgres.create_database()))
    with contextlib.ExitStack() as stack:
        stack.callback(deployment.close)
        settle_reconcile(deployment)
        ticking = Ticking(deployment.context)
        stack.callback(ticking.stop)
        ticking.thread.start()
        wait_until(lambda: ticking.ticks > 2)

        # When its database is restarted under it
        postgres.kill()
        at_loss = ticking.ticks
        postgres.start()

        # Then it goes on without waiting for the end of its own lease
        wait_until(lambda: ticking.ticks > at_loss + 2, timeout=10)
