"""Syncing a tracking row: whoever holds it brings its references in order until none is due."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from peewee import PeeweeException

from app import tracing
from app.database import DatabaseUnavailable, connection
from app.models import Reference
from app.registry import Stopped
from app.replication import claim as claims
from app.replication import closing, outcome, planner, sync_log
from app.replication.attempt import URGENT, Attempts, Parked, failure, utcnow
from app.replication.backlog import Backlog
from app.replication.claim import Claim, LeaseLost
from app.replication.closing import Closed
from app.replication.context import Context
from app.replication.copying.moving import Moving
from app.replication.lease import heartbeat
from app.replication.marking import BACKFILL, FRESH
from app.replication.movements import Held
from app.replication.outcome import Done, Equal, Failed
from app.replication.removals import Gone, Removals

T = TypeVar("T")

log = logging.getLogger(__name__)

#: References of one repository that are copied beside each other.
SLOTS = 4

#: Copies of one repository that may wait for blobs that others carry before only urgent ones are begun, and with
#: those. Each keeps its manifests in memory.
PARKED, PARKED_IN_ALL = 32, 256

#: Seconds for which a row whose copies all wait for others keeps its thread from other rows.
PATIENCE = 1.0

#: Seconds between looks at the database while a copy is under way and a slot is free: for a row of which something was
#: pushed just now, since more may come, and for any other.
PROMPT, POLL = 0.015, 0.05

#: Seconds that what is under way gets when the process has to end; then it is given back.
GRACE = 8.0

#: References in a row that fail for a reason of the registry before the rest of the repository is left for later.
GIVE_UP_AFTER = 3


class _Slots(ThreadPoolExecutor):
    """Work runs in the context of whoever submits it: it is the same occasion's (app.correlation)."""

    def submit(self, work: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return super().submit(copy_context().run, work, *args, **kwargs)


def sync(claim: Claim, context: Context, *, gives_way: bool = False) -> Closed:
    """Bring the claimed row in order and close it. Never raises for what a registry does: that is in the outcome.

    With `gives_way` the row is given back unfinished where another one needs the thread more.
    """
    context = context.at(claim.site.name)
    held = Held(claim.site.name, claim.path, claim.token)
    about: dict[str, tracing.Value] = {
        "geo.site": claim.site.name,
        "geo.repository": claim.path,
        "geo.full_sync": claim.full_sync,
    }
    with (
        tracing.span("sync_repository", about) as span,
        heartbeat.keeping(claim.lease),
        context.generations.holding(claim.registry_id),
        context.movements.of(held) as moving,
    ):
        closed = _Sync(claim, context, gives_way, moving).run()
        span.note({"geo.state": None if closed.state is None else closed.state.name.lower()})
        return closed


@dataclass
class _Sync:
    claim: Claim
    context: Context
    gives_way: bool
    moving: Moving
    running: dict[Future[Done | Failed], Reference] = field(default_factory=dict)
    #: Copies that go on when others' flights have landed. They hold no slot.
    parked: list[Parked] = field(default_factory=list)
    #: A look at many references.
    checking: Future[list[Equal]] | None = None
    in_check: list[Reference] = field(default_factory=list)
    attempts: Attempts = field(init=False)
    removals: Removals = field(init=False)
    planning: Future[Failed | None] | None = None
    backlog: Backlog = field(init=False)
    failures: int = 0
    failures_in_a_row: int = 0
    registry_failure: Failed | None = None
    #: The listing of a full sync failed; what events named goes on without it.
    plan_failure: Failed | None = None
    stopped_at: float | None = None
    #: How the row is given back before it is in order, because another one needs the thread more.
    giving_back: Callable[[], Closed] | None = None
    #: What is not urgent may go on in this thread, although the row was claimed as urgent.
    unhurried: bool = False
    only_parked_since: float | None = None

    def __post_init__(self) -> None:
        self.attempts = Attempts(self.claim, self.context, self._stop, moving=self.moving)
        self.removals = Removals(self.claim, self.context, utcnow)
        self.backlog = Backlog(self.claim, self.context.generations)

    def run(self) -> Closed:
        try:
            with _Slots(SLOTS + 2, thread_name_prefix="reference") as slots:
                if self.claim.full_sync:
                    # Beside the copies: a fresh push must not wait for the listing of ten thousand old tags.
                    self.planning = slots.submit(self._plan, self.claim.generation)
                self._references(slots)
            return self.giving_back() if self.giving_back else self._close()
        except LeaseLost as error:
            log.warning("sync was taken over: %s", error)
            return Closed(None)
        except (PeeweeException, DatabaseUnavailable) as error:
            log.error("the database failed during a sync of %s: %s", self.claim.path, error)
            return self._let_go(f"{self.claim.path}: the database failed: {error}")
        finally:
            if self.unhurried:
                self.context.unhurried.release()

    def _let_go(self, failure: str) -> Closed:
        """Close the row as failed, if the database takes it by now; else its lease ends by itself.

        Not released, to be taken up at once: what the database refuses once it may refuse for ever.
        """
        try:
            return closing.close(self.claim, failure=failure)
        except (PeeweeException, DatabaseUnavailable):
            return Closed(None)

    def _plan(self, generation: int) -> Failed | None:
        started = utcnow()
        try:
            planner.plan(
                self.claim,
                self.context.primary,
                generation,
                destination=self.context.destination(),
                vacant=self.attempts.vacant,
            )
        except (LeaseLost, PeeweeException, DatabaseUnavailable):
            raise
        except Exception as error:  # noqa: BLE001 - a bug here must not leave the row to its lease, again and again
            return failure(self.claim.path, error, started)
        return None

    def _close(self) -> Closed:
        if self.context.stopping.is_set() or self.claim.withdrawn():
            return closing.release(self.claim)
        failed = self.registry_failure or self.plan_failure
        if failed is not None:
            return closing.close(
                self.claim, failure=failed.message, retry_after=failed.retry_after, outage=failed.registry_wide
            )
        return closing.close(self.claim, tried=self.failures > 0)

    # --- references -------------------------------------------------------------------------------------------------

    def _references(self, slots: ThreadPoolExecutor) -> None:
        try:
            while True:
                self._take_up(slots)
                if self.running or self.planning or self.checking or self.parked:
                    self._wait()
                elif self.removals and not (self.giving_back or self._ending()):
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
        self._give_way_while_parked()
        free = SLOTS - len(self.running) if len(self.parked) < PARKED_IN_ALL else 0
        if free <= 0 or self.giving_back:
            return
        self._read_on()
        if self.backlog.references and self._may_go_on(self.backlog.references[0]):
            self._fill(slots, free)

    def _read_on(self) -> None:
        """Read what is due, if there may be anything new."""
        if not self.backlog.behind():
            return
        with connection():
            self.removals.reconsider(self.backlog.generation)
            self._reconsider_parked()
            busy = [*self.running.values(), *self.in_check]
            waiting = [parked.reference for parked in self.parked]
            self.backlog.read(busy, [reference.id for reference in waiting] + self.removals.ids, self.removals.full)

    def _take_up_parked(self, slots: ThreadPoolExecutor) -> None:
        flights = self.context.flights
        for parked in [each for each in self.parked if flights.over(each.flights)][: SLOTS - len(self.running)]:
            self.parked.remove(parked)
            self.running[slots.submit(self.attempts.go_on, parked)] = parked.reference

    def _reconsider_parked(self) -> None:
        """A copy of what has moved on meanwhile is dropped: the reference is due like any other."""
        ids = [parked.reference.id for parked in self.parked]
        if ids:
            rows = Reference.select(Reference.id, Reference.generation).where(Reference.id.in_(ids))
            current = {row.id: row.generation for row in rows}
            self.parked = [each for each in self.parked if current.get(each.reference.id) == each.reference.generation]

    def _give_way_while_parked(self) -> None:
        """Who only waits for others' flights holds no thread that somebody else needs."""
        if not self.parked or self.running or self.planning or self.checking:
            self.only_parked_since = None
            return
        clock = self.claim.lease.clock
        self.only_parked_since = self.only_parked_since or clock()
        if self.gives_way and clock() - self.only_parked_since > PATIENCE:
            self.only_parked_since = clock()
            if claims.count_due(1, at_most=self.claim.priority):
                self.parked.clear()
                self.giving_back = partial(closing.release, self.claim, after=PATIENCE)

    def _may_go_on(self, first: Reference) -> bool:
        """Whether this thread may go on with what is not urgent: one of the process is left for what is."""
        if not self.gives_way or self.unhurried or self.claim.priority > FRESH or first.trigger in URGENT:
            return True
        self.unhurried = self.context.unhurried.acquire(blocking=False)
        if not self.unhurried and not (self.running or self.parked):
            self.giving_back = partial(closing.release, self.claim, priority=BACKFILL)
        return self.unhurried

    def _fill(self, slots: ThreadPoolExecutor, free: int) -> None:
        """Take from what was read, in its order."""
        looks, left = [], []
        for reference in self.backlog.references:
            if self._only_to_look_at(reference):
                looks.append(reference)
            elif free > 0 and (len(self.parked) < PARKED or reference.trigger in URGENT):
                free -= 1
                self.running[slots.submit(self.attempts.copy, reference)] = reference
            else:
                left.append(reference)
        if looks and self.checking is None:
            # Last: the look notes them as unequal until it knows better, and then nothing here may ask of them.
            self.checking, self.in_check, looks = slots.submit(self.attempts.look, looks), looks, []
        self.backlog.references = left + looks

    def _only_to_look_at(self, reference: Reference) -> bool:
        """Whether nobody said that it changed: it is probably in order."""
        return (
            reference.trigger not in URGENT
            and reference.is_tag
            and reference.delete_witness is None
            and reference.id not in self.attempts.unequal
            and not self.attempts.lacking(reference)
        )

    def _wait(self) -> None:
        free = len(self.running) < SLOTS
        beside = [future for future in (self.planning, self.checking) if future]
        # Without a free slot nothing that has landed can go on, and looking would be all that is done.
        flying = [flight for parked in self.parked for flight in parked.flights.here] if free else []
        landing = [flight for flight in flying if not flight.done()]
        under_way: set[Future[Any]] = {*self.running, *beside, *landing}
        poll = PROMPT if self.claim.priority <= FRESH else POLL
        done, _ = wait(under_way, timeout=poll if free else 1.0, return_when=FIRST_COMPLETED)
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
            self.backlog.ended(reference)
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
        self.backlog.out_of_date()
        if failure is None:
            return
        self.failures += 1
        self.plan_failure = failure
        if failure.registry_wide:
            self.registry_failure = failure

    def _checked(self, equal: list[Equal]) -> None:
        outcome.record_equal(self.claim, equal)
        in_order = {each.reference.id for each in equal}
        for reference in self.in_check:
            self.backlog.ended(reference)
            if reference.id in in_order:
                self.attempts.unequal.pop(reference.id, None)
            else:
                self.backlog.references.append(reference)
        self.checking, self.in_check = None, []

    def _record(self, reference: Reference, result: Done | Failed) -> None:
        outcome.record(self.claim, reference, result)
        sync_log.tell(self.claim, reference, result)
        self.attempts.unequal.pop(reference.id, None)
        if isinstance(result, Done):
            self.failures_in_a_row = 0
            return
        self.failures += reference.is_tag
        self.failures_in_a_row = self.failures_in_a_row + 1 if result.registry_wide else 0
        if self.failures_in_a_row >= GIVE_UP_AFTER:
            self.registry_failure = result

    def _ending(self) -> bool:
        over = self.registry_failure is not None or self.context.stopping.is_set() or self.claim.lease.remaining() <= 0
        return over or self.claim.withdrawn()

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
        self.backlog.more = True
        try:
            result = self.attempts.guarded(reference, self.removals.carry_out)
        except Stopped:
            return
        # A garbage collection may follow, and what the registry remembers of it hides that.
        self.context.presence.forget(self.context.destination().name, self.claim.path)
        self._record(reference, replace(result, action="delete") if isinstance(result, Failed) else result)
