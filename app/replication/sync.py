"""Syncing a tracking row: whoever holds it brings its references in order until none is due."""

from __future__ import annotations

import logging
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any

from peewee import Case, PeeweeException

from app.database import DatabaseUnavailable, connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, SyncState
from app.registry import RegistryError, Stopped
from app.replication import claim as claims
from app.replication import outcome, planner
from app.replication.attempt import REGISTRY_WIDE, URGENT, Attempts, Parked, utcnow
from app.replication.claim import Claim, Closed, LeaseLost
from app.replication.context import Context
from app.replication.lease import heartbeat
from app.replication.marking import TRIGGERS
from app.replication.outcome import Done, Equal, Failed
from app.replication.removals import Gone, Removals

log = logging.getLogger(__name__)

#: References of one repository that are copied beside each other.
SLOTS = 4

#: References that are only looked at, in one go: a listing names thousands that are in order already.
BATCH = 64

#: Copies of one repository that may wait for blobs that others carry; each keeps its manifests in memory.
PARKED = 32

#: Seconds between looks at the database while a copy is under way and a slot is free.
POLL = 0.05

#: Seconds that what is under way gets when the process has to end; then it is given back.
GRACE = 8.0

#: References in a row that fail for a reason of the registry before the rest of the repository is left for later.
GIVE_UP_AFTER = 3


def sync(claim: Claim, context: Context) -> Closed:
    """Bring the claimed row in order and close it. Never raises for what a registry does: that is in the outcome."""
    with heartbeat.keeping(claim.lease):
        return _Sync(claim, context).run()


@dataclass
class _Sync:
    claim: Claim
    context: Context
    running: dict[Future[Done | Failed], Reference] = field(default_factory=dict)
    #: Copies that go on when others' flights have landed. They hold no slot.
    parked: list[Parked] = field(default_factory=list)
    #: A look at many references.
    checking: Future[list[Equal]] | None = None
    in_check: list[Reference] = field(default_factory=list)
    attempts: Attempts = field(init=False)
    removals: Removals = field(init=False)
    planning: Future[Failed | None] | None = None
    seen_generation: int = -1
    failures: int = 0
    failures_in_a_row: int = 0
    registry_failure: Failed | None = None
    #: The listing of a full sync failed; what events named goes on without it.
    plan_failure: Failed | None = None
    stopped_at: float | None = None

    def __post_init__(self) -> None:
        self.attempts = Attempts(self.claim, self.context, self._stop)
        self.removals = Removals(self.claim, self.context, utcnow)

    def run(self) -> Closed:
        try:
            with ThreadPoolExecutor(SLOTS + 2, thread_name_prefix="reference") as slots:
                if self.claim.full_sync:
                    # Beside the copies: a fresh push must not wait for the listing of ten thousand old tags.
                    self.planning = slots.submit(self._plan, self.claim.generation)
                self._references(slots)
            return self._close()
        except LeaseLost as error:
            log.warning("sync was taken over: %s", error)
            return Closed(None)
        except (PeeweeException, DatabaseUnavailable) as error:
            log.error("the database failed during a sync of %s: %s", self.claim.path, error)
            return self._let_go()

    def _let_go(self) -> Closed:
        """Give the row back, if the database takes it by now; else its lease ends by itself."""
        try:
            return claims.release(self.claim)
        except (PeeweeException, DatabaseUnavailable):
            return Closed(None)

    def _plan(self, generation: int) -> Failed | None:
        started = utcnow()
        try:
            planner.plan(self.claim, self.context.primary, generation, destination=self.context.destination())
        except (RegistryError, planner.RepositoryMissing) as error:
            return Failed(
                error.reason,
                f"{self.claim.path}: {error}",
                error.temporary,
                started,
                utcnow(),
                getattr(error, "retry_after", None),
                registry_wide=isinstance(error, REGISTRY_WIDE),
            )
        return None

    def _close(self) -> Closed:
        if self.context.stopping.is_set():
            return claims.release(self.claim)
        failed = self.registry_failure or self.plan_failure
        if failed is not None:
            return claims.close(
                self.claim, failure=failed.message, retry_after=failed.retry_after, outage=failed.registry_wide
            )
        return claims.close(self.claim, tried=self.failures > 0)

    # --- references -------------------------------------------------------------------------------------------------

    def _references(self, slots: ThreadPoolExecutor) -> None:
        try:
            while True:
                self._take_up(slots)
                if self.running or self.planning or self.checking or self.parked:
                    self._wait()
                elif self.removals and not self._ending():
                    self._remove_one()
                else:
                    return
        except BaseException:
            # The threads of this row must not write once nobody holds it; `_stop` tells them.
            self.claim.lease.lost = True
            raise

    def _take_up(self, slots: ThreadPoolExecutor) -> None:
        """Fill the free slots with what is due, a fresh push before anything else."""
        if self._ending():
            self.parked.clear()
            return
        self._take_up_parked(slots)
        free = SLOTS - len(self.running) if len(self.parked) < PARKED else 0
        if free <= 0:
            return
        with connection():
            generation = Registry.select(Registry.generation).where(Registry.id == self.claim.registry_id).scalar()
            if generation == self.seen_generation and (self.running or self.planning or self.checking or self.parked):
                return
            self.removals.reconsider()
            due = self._due(BATCH)
        # Read before the references: closing compares it, and an event between the two makes the row pending again.
        self.claim.generation = generation
        left = self._fill(slots, due, free)
        # What did not fit, or was not even read, is due at the same generation.
        self.seen_generation = -1 if left or len(due) == BATCH else generation

    def _take_up_parked(self, slots: ThreadPoolExecutor) -> None:
        flights = self.context.flights
        for parked in [each for each in self.parked if flights.over(each.flights)][: SLOTS - len(self.running)]:
            self.parked.remove(parked)
            self.running[slots.submit(self.attempts.go_on, parked)] = parked.reference

    def _fill(self, slots: ThreadPoolExecutor, due: list[Reference], free: int) -> bool:
        """Take from `due`, in its order; tell whether anything is left."""
        for place, reference in enumerate(due):
            if self._only_to_look_at(reference):
                if self.checking is None:
                    self.in_check = [each for each in due[place:] if self._only_to_look_at(each)]
                    self.checking = slots.submit(self.attempts.look, list(self.in_check))
                continue
            if free == 0:
                return True
            free -= 1
            self.running[slots.submit(self.attempts.copy, reference)] = reference
        return False

    def _only_to_look_at(self, reference: Reference) -> bool:
        """Whether nobody said that it changed: it is probably in order."""
        return (
            reference.trigger not in URGENT
            and reference.is_tag
            and reference.delete_witness is None
            and reference.id not in self.attempts.unequal
        )

    def _due(self, limit: int) -> list[Reference]:
        taken = [*self.running.values(), *self.in_check, *(parked.reference for parked in self.parked)]
        busy = [reference.id for reference in taken] + self.removals.ids
        instant = now()
        waiting = Reference.state.in_([SyncState.PENDING, SyncState.STARTED])
        query = Reference.select().where(
            (Reference.registry == self.claim.registry_id)
            & (
                (waiting & (Reference.retry_at.is_null() | (Reference.retry_at <= instant)))
                | ((Reference.state == SyncState.FAILED) & (Reference.retry_at <= instant))
            )
        )
        if busy:
            query = query.where(Reference.id.not_in(busy))
        urgency = Case(Reference.trigger, [(name, place) for place, name in enumerate(TRIGGERS)], len(TRIGGERS))
        order = (Reference.is_tag.desc(), urgency, Reference.pending_since, Reference.id)
        return list(query.order_by(*order).limit(limit))

    def _wait(self) -> None:
        free = len(self.running) < SLOTS
        beside = [future for future in (self.planning, self.checking) if future]
        landing = [flight for parked in self.parked for flight in parked.flights.here]
        under_way: set[Future[Any]] = {*self.running, *beside, *landing}
        done, _ = wait(under_way, timeout=POLL if free else 1.0, return_when=FIRST_COMPLETED)
        if not under_way:
            self.context.stopping.wait(POLL)
        if self.context.stopping.is_set():
            # The grace runs from here: a slow transfer may not ask for a long time.
            self._since_stop()
        if self.planning in done and self.planning is not None:
            self._planned(self.planning.result())
        if self.checking in done and self.checking is not None:
            self._checked(self.checking.result())
        for future in done & self.running.keys():
            reference = self.running.pop(future)
            self.seen_generation = -1
            try:
                result = future.result()
            except Gone as gone:
                self.removals.add(gone.reference)
            except Parked as parked:
                self.parked.append(parked)
            except Stopped:
                continue
            else:
                self._record(reference, result)

    def _planned(self, failure: Failed | None) -> None:
        self.planning = None
        self.seen_generation = -1
        if failure is None:
            return
        self.failures += 1
        self.plan_failure = failure
        if failure.registry_wide:
            self.registry_failure = failure

    def _checked(self, equal: list[Equal]) -> None:
        outcome.record_equal(self.claim, equal)
        for each in equal:
            self.attempts.unequal.pop(each.reference.id, None)
        self.checking, self.in_check, self.seen_generation = None, [], -1

    def _record(self, reference: Reference, result: Done | Failed) -> None:
        outcome.record(self.claim, reference, result)
        if isinstance(result, Done):
            self.failures_in_a_row = 0
            log.info("synced", extra={"reference": f"{self.claim.path}:{reference.name}", "action": result.action})
            return
        self.failures += reference.is_tag
        self.failures_in_a_row = self.failures_in_a_row + 1 if result.registry_wide else 0
        if self.failures_in_a_row >= GIVE_UP_AFTER:
            self.registry_failure = result
        log.warning("failed", extra={"reference": f"{self.claim.path}:{reference.name}", "reason": result.reason})

    def _ending(self) -> bool:
        return self.registry_failure is not None or self.context.stopping.is_set() or self.claim.lease.remaining() <= 0

    def _stop(self) -> bool:
        """Asked between chunks: is there still a point in going on?"""
        if self.claim.lease.remaining() <= 0:
            return True
        if not self.context.stopping.is_set():
            return False
        return self._since_stop() > GRACE

    def _since_stop(self) -> float:
        """Seconds since this sync learned that the process has to end."""
        clock = self.claim.lease.clock
        self.stopped_at = self.stopped_at or clock()
        return clock() - self.stopped_at

    def _remove_one(self) -> None:
        reference = self.removals.pop()
        try:
            result = self.attempts.guarded(reference, self.removals.carry_out)
        except Stopped:
            return
        self._record(reference, replace(result, action="delete") if isinstance(result, Failed) else result)
