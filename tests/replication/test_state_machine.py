"""The tracking row and the cursor against a model: whatever happens in whatever order, no update is lost."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.database import connection, database, is_sqlite
from app.replication import marking
from tests.replication.model import HOLDERS, REPOSITORIES, TARGETS, Target, Worker, World
from tests.support.deployment import Deployment

#: The same examples at each run.
SETTINGS = settings(
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)

#: Steps between two times at which everything comes to rest.
LULL = 15

#: How far an event comes at once.
HOW = st.sampled_from(["read", "read", "told", "kept back"])

PLACES = st.integers(0, 5)
ANY_TAG = st.sampled_from(TARGETS)
ANY_REPOSITORY = st.sampled_from(REPOSITORIES)


class Machine(RuleBasedStateMachine):
    """Everything that may happen. A place says which of several is meant, counted round."""

    deployment: Deployment

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.deployment)
        self.steps = 0

    def teardown(self) -> None:
        try:
            self.world.settle()
        finally:
            self.world.close()

    @invariant()
    def synced_means_there(self) -> None:
        self.steps += 1
        self.world.check()

    @initialize(told=st.booleans())
    def begin(self, told: bool) -> None:
        """Something is there, and perhaps copied already."""
        for tag in TARGETS:
            self.world.push(tag)
            self.world.deliver(-1)
        if told:
            self.world.read(200)

    # --- the primary ----------------------------------------------------------------------------------------------

    @rule(tag=ANY_TAG, pushed=st.sampled_from([True, True, False]), how=HOW)
    def change(self, tag: Target, pushed: bool, how: str) -> None:
        before = len(self.world.undelivered)
        if pushed:
            self.world.push(tag)
        else:
            self.world.delete(tag)
        if len(self.world.undelivered) > before and how != "kept back":
            self.world.deliver(-1)
        if how == "read":
            self.world.read(200)

    @precondition(lambda self: self.world.undelivered)
    @rule(place=PLACES, times=st.integers(1, 2), how=HOW)
    def deliver(self, place: int, times: int, how: str) -> None:
        self.world.deliver(place, times)
        if how == "read":
            self.world.read(200)

    @precondition(lambda self: self.world.delivered)
    @rule(place=PLACES, lost=st.booleans())
    def repeat_or_lose(self, place: int, lost: bool) -> None:
        if not lost:
            self.world.repeat(place)
        elif self.world.undelivered:
            self.world.lose(place)

    # PostgreSQL alone lets others write meanwhile.
    @precondition(lambda self: self.world.undelivered and len(self.world.late) < 2 and not is_sqlite())
    @rule(place=PLACES, overtaken=st.booleans(), tag=ANY_TAG)
    def store_late(self, place: int, overtaken: bool, tag: Target) -> None:
        self.world.store_late(place)
        if overtaken:
            self.change(tag, True, "read")

    @precondition(lambda self: self.world.late)
    @rule(place=PLACES, commit=st.booleans())
    def end_late(self, place: int, commit: bool) -> None:
        self.world.end_late(place, commit=commit)

    # --- the deployment -------------------------------------------------------------------------------------------

    @rule(limit=st.sampled_from([200, 1, 2]))
    def read(self, limit: int) -> None:
        self.world.read(limit)

    @rule(repository=ANY_REPOSITORY, priority=st.sampled_from([marking.BACKFILL, marking.MANUAL]))
    def resync(self, repository: str, priority: int) -> None:
        self.world.resync(repository, priority)

    @rule(seconds=st.sampled_from([50.0, 10.0, 35.0, 7200.0]), tidy=st.booleans())
    def elapse(self, seconds: float, tidy: bool) -> None:
        self.world.elapse(seconds)
        if tidy:
            self.world.tidy()

    # It takes as long as all else, and ends most of what could go wrong.
    @precondition(lambda self: self.steps > LULL)
    @rule()
    def settle(self) -> None:
        self.steps = 0
        self.world.settle()

    # --- workers --------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.world.workers) < HOLDERS)
    @rule(by_hand=st.sampled_from([None, *REPOSITORIES]), take_up=st.booleans())
    def claim(self, by_hand: str | None, take_up: bool) -> None:
        worker = self.world.claim_by_hand(by_hand) if by_hand else self.world.claim()
        if worker is not None and take_up:
            self.world.take_up(worker)

    @precondition(lambda self: self.world.workers)
    @rule(place=PLACES)
    def take_up(self, place: int) -> None:
        self.world.take_up(self._worker(place))

    @precondition(lambda self: any(worker.copies for worker in self.world.workers))
    @rule(place=PLACES, copy=PLACES, steps=st.integers(1, 4))
    def go_on(self, place: int, copy: int, steps: int) -> None:
        copying = [worker for worker in self.world.workers if worker.copies]
        worker = copying[place % len(copying)]
        for _ in range(steps):
            if worker in self.world.workers and worker.copies:
                self.world.go_on(worker, copy)

    @precondition(lambda self: any(worker.copies for worker in self.world.workers))
    @rule(place=PLACES, copy=PLACES, temporary=st.booleans())
    def fail(self, place: int, copy: int, temporary: bool) -> None:
        copying = [worker for worker in self.world.workers if worker.copies]
        self.world.fail(copying[place % len(copying)], copy, temporary=temporary)

    @precondition(lambda self: any(worker.planning for worker in self.world.workers))
    @rule(place=PLACES)
    def listed(self, place: int) -> None:
        planning = [worker for worker in self.world.workers if worker.planning]
        self.world.listed(planning[place % len(planning)])

    @precondition(lambda self: any(not worker.busy for worker in self.world.workers))
    @rule(place=PLACES, how=st.sampled_from(["in order", "failed", "unfinished"]))
    def let_go(self, place: int, how: str) -> None:
        idle = [worker for worker in self.world.workers if not worker.busy]
        failure = "the registry does not answer" if how == "failed" else None
        self.world.let_go(idle[place % len(idle)], failure=failure, unfinished=how == "unfinished")

    @precondition(lambda self: any(not worker.busy for worker in self.world.workers) and not is_sqlite())
    @rule(place=PLACES)
    def let_go_while_events_are_read(self, place: int) -> None:
        idle = [worker for worker in self.world.workers if not worker.busy]
        self.world.let_go_while_events_are_read(idle[place % len(idle)])

    @precondition(lambda self: self.world.workers)
    @rule(place=PLACES, killed=st.booleans())
    def beat_or_kill(self, place: int, killed: bool) -> None:
        if killed:
            self.world.kill(self._worker(place))
        else:
            self.world.beat(self._worker(place))

    def _worker(self, place: int) -> Worker:
        return self.world.workers[place % len(self.world.workers)]


def run(deployment: Deployment, examples: int, steps: int) -> None:
    if is_sqlite():
        # What survives a power failure is not asked here.
        with connection():
            database.obj.pragma("synchronous", 0, permanent=True)
    bound = type("Bound", (Machine,), {"deployment": deployment})
    run_state_machine_as_test(bound, settings=settings(SETTINGS, max_examples=examples, stateful_step_count=steps))


@pytest.mark.timeout(300)
def test_no_interleaving_loses_an_update(state: Deployment) -> None:
    run(state, examples=10, steps=30)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_no_interleaving_loses_an_update_however_long_one_looks(state: Deployment) -> None:
    run(state, examples=250, steps=60)
