"""Syncing a tracking row: whoever holds it brings its references in order until none is due."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from peewee import Case, PeeweeException

from app.database import DatabaseUnavailable, connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, SyncState
from app.registry import Manifest, NotFound, RegistryError, Stopped, TooManyRequests, Unauthorized, Unreachable
from app.replication import claim as claims
from app.replication import deletion, outcome, planner
from app.replication.claim import Claim, Closed, LeaseLost
from app.replication.context import Context
from app.replication.copy import GraphCopy
from app.replication.deletion import TAG_WRITE_LIMIT
from app.replication.flights import Flights
from app.replication.lease import heartbeat
from app.replication.marking import TRIGGERS
from app.replication.outcome import Done, Failed

log = logging.getLogger(__name__)

#: References of one repository that are copied beside each other.
SLOTS = 4

#: Seconds between looks at the database while a copy is under way and a slot is free.
POLL = 0.05

#: Seconds that what is under way gets when the process has to end; then it is given back.
GRACE = 8.0

#: What says something of a registry rather than of one reference.
REGISTRY_WIDE = (Unreachable, Unauthorized, TooManyRequests)

#: References in a row that fail for a reason of the registry before the rest of the repository is left for later.
GIVE_UP_AFTER = 3


class DigestMoved(Exception):
    """After a takeover the tag stood on another digest than the one just written: a late write of the former holder."""

    reason = "overwritten"
    temporary = True


class NotThereYet(Exception):
    """The primary does not have what an event says was pushed. Its storage may be late; nothing is deleted for it."""

    reason = "not_on_primary"
    temporary = True


def sync(claim: Claim, context: Context) -> Closed:
    """Bring the claimed row in order and close it. Never raises for what a registry does: that is in the outcome."""
    with heartbeat.keeping(claim.lease):
        return _Sync(claim, context, Flights()).run()


@dataclass
class _Sync:
    claim: Claim
    context: Context
    flights: Flights
    running: dict[Future[Done | Failed], Reference] = field(default_factory=dict)
    #: Gone from the primary, by both witnesses; done alone, when nothing is being copied.
    deletions: dict[int, Reference] = field(default_factory=dict)
    planning: Future[Failed | None] | None = None
    seen_generation: int = -1
    failures: int = 0
    failures_in_a_row: int = 0
    registry_failure: Failed | None = None
    #: The listing of a full sync failed; what events named goes on without it.
    plan_failure: Failed | None = None
    stopped_at: float | None = None

    def run(self) -> Closed:
        try:
            with ThreadPoolExecutor(SLOTS + 1, thread_name_prefix="reference") as slots:
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
        started = _utcnow()
        try:
            planner.plan(self.claim, self.context.primary, generation)
        except (RegistryError, planner.RepositoryMissing) as error:
            return Failed(
                error.reason,
                f"{self.claim.path}: {error}",
                error.temporary,
                started,
                _utcnow(),
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
                if self.running or self.planning:
                    self._wait()
                elif self.deletions and not self._ending():
                    self._delete_one()
                else:
                    return
        except BaseException:
            # The threads of this row must not write once nobody holds it; `_stop` tells them.
            self.claim.lease.lost = True
            raise

    def _take_up(self, slots: ThreadPoolExecutor) -> None:
        """Fill the free slots with what is due, a fresh push before anything else."""
        free = SLOTS - len(self.running)
        if free <= 0 or self._ending():
            return
        with connection():
            generation = Registry.select(Registry.generation).where(Registry.id == self.claim.registry_id).scalar()
            if generation == self.seen_generation and (self.running or self.planning):
                return
            self._reconsider_deletions()
            due = self._due(free)
        # Read before the references: closing compares it, and an event between the two makes the row pending again.
        self.claim.generation = generation
        # A full slot table means there may be more that is due at the same generation.
        self.seen_generation = generation if len(due) < free else -1
        for reference in due:
            self.running[slots.submit(self._attempt, reference)] = reference

    def _due(self, limit: int) -> list[Reference]:
        busy = [reference.id for reference in self.running.values()] + list(self.deletions)
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
        under_way: set[Future[Any]] = {*self.running, *([self.planning] if self.planning else [])}
        done, _ = wait(under_way, timeout=POLL if free else 1.0, return_when=FIRST_COMPLETED)
        if self.context.stopping.is_set():
            # The grace runs from here: a slow transfer may not ask for a long time.
            self._since_stop()
        if self.planning in done and self.planning is not None:
            self._planned(self.planning.result())
        for future in done & self.running.keys():
            reference = self.running.pop(future)
            self.seen_generation = -1
            try:
                result = future.result()
            except _Gone as gone:
                self.deletions[reference.id] = gone.reference
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

    # --- one reference ----------------------------------------------------------------------------------------------

    def _attempt(self, reference: Reference) -> Done | Failed:
        return self._guarded(reference, self._copy)

    def _guarded(self, reference: Reference, work: Callable[[Reference, datetime], Done]) -> Done | Failed:
        started = _utcnow()
        try:
            return work(reference, started)
        except (_Gone, Stopped, LeaseLost, PeeweeException, DatabaseUnavailable):
            raise
        except Exception as error:
            if self._stop():
                raise Stopped(str(error)) from error
            return self._failure(reference, error, started)

    def _failure(self, reference: Reference, error: Exception, started: datetime) -> Failed:
        known = isinstance(getattr(error, "reason", None), str)
        if not known:
            log.error("unexpected error while syncing %s:%s", self.claim.path, reference.name, exc_info=error)
        separator = ":" if reference.is_tag else "@"
        return Failed(
            reason=getattr(error, "reason", "internal"),
            message=f"{self.claim.path}{separator}{reference.name}: {error}"
            if known
            else f"{self.claim.path}{separator}{reference.name}: internal error: {error!r}",
            temporary=bool(getattr(error, "temporary", True)),
            started_at=started,
            finished_at=_utcnow(),
            retry_after=getattr(error, "retry_after", None),
            registry_wide=isinstance(error, REGISTRY_WIDE),
        )

    def _copy(self, reference: Reference, started: datetime) -> Done:
        source, destination, path = self.context.primary, self.context.destination(), self.claim.path
        if reference.trigger != "event" and (equal := self._equal(reference, started)):
            return equal
        try:
            manifest = source.get_manifest(path, reference.name)
        except NotFound as error:
            return self._absent(reference, error, started)
        standing = self._standing(reference.name)
        if standing == manifest.digest:
            return self._done("keep", manifest, standing, started)
        context = self.context
        graph = GraphCopy(source, destination, path, context.lanes, self.flights, self._stop, spool=context.spool)
        graph.below(manifest)
        self._put(reference, manifest)
        return self._done("copy", manifest, standing, started, graph)

    def _equal(self, reference: Reference, started: datetime) -> Done | None:
        """Two HEADs for what is probably in order already: a listing names thousands of those."""
        try:
            wanted = self.context.primary.head_manifest(self.claim.path, reference.name)
        except NotFound:
            return None
        if self._standing(reference.name) != wanted.digest:
            return None
        return Done("keep", started, _utcnow(), wanted.digest, reference.observed_digest, wanted.media_type)

    def _absent(self, reference: Reference, error: NotFound, started: datetime) -> Done:
        """The primary does not have it. One more witness makes that a deletion; alone it is a failure."""
        if error.witnessed and reference.delete_witness:
            raise _Gone(reference)
        if error.witnessed and not reference.is_tag and reference.observed_digest is None:
            # A digest that went before we ever copied it leaves nothing to do.
            return Done("forget", started, _utcnow())
        if error.witnessed:
            raise NotThereYet(f"{error}; no event and no listing says that it was deleted") from error
        raise error

    def _standing(self, name: str) -> str | None:
        try:
            return self.context.destination().head_manifest(self.claim.path, name).digest
        except NotFound:
            return None

    def _put(self, reference: Reference, manifest: Manifest) -> None:
        destination = self.context.destination()
        with self.flights.writing(manifest.digest, *(child.digest for child in manifest.manifests)):
            if reference.name in self.flights.written:
                return
            self.claim.require(TAG_WRITE_LIMIT)
            destination.put_manifest(self.claim.path, reference.name, manifest, total_timeout=TAG_WRITE_LIMIT)
        if self.claim.takeover:
            standing = self._standing(reference.name)
            if standing != manifest.digest:
                raise DigestMoved(f"written as {manifest.digest}, found as {standing}; a stalled worker wrote after us")

    def _done(
        self,
        action: outcome.Action,
        manifest: Manifest,
        standing: str | None,
        started: datetime,
        graph: GraphCopy | None = None,
    ) -> Done:
        return Done(
            action,
            started,
            _utcnow(),
            manifest.digest,
            standing,
            manifest.media_type,
            tally=graph.tally if graph else None,
        )

    # --- deletion ---------------------------------------------------------------------------------------------------

    def _reconsider_deletions(self) -> None:
        """An event since the witnesses spoke (the tag was pushed again, say) makes the reference due like any other."""
        now_at = Reference.select(Reference.id, Reference.generation).where(Reference.id.in_(list(self.deletions)))
        current = {row.id: row.generation for row in now_at} if self.deletions else {}
        self.deletions = {i: r for i, r in self.deletions.items() if current.get(i) == r.generation}

    def _delete_one(self) -> None:
        _, reference = self.deletions.popitem()
        try:
            result = self._guarded(reference, self._delete)
        except Stopped:
            return
        self._record(reference, replace(result, action="delete") if isinstance(result, Failed) else result)

    def _delete(self, reference: Reference, started: datetime) -> Done:
        gone = deletion.delete(self.claim, reference, self.context.destination())
        if gone.kept or gone.drift_digest:
            digest = gone.digest or gone.drift_digest
            return Done("keep", started, _utcnow(), digest, gone.digest, drift_digest=gone.drift_digest, kept=True)
        action: outcome.Action = "delete" if gone.digest else "forget"
        return Done(action, started, _utcnow(), None, gone.digest)


class _Gone(Exception):
    """The reference is gone from the primary, by both witnesses."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference.name)
        self.reference = reference


def _utcnow() -> datetime:
    return datetime.now(UTC)
