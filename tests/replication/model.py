"""A model of replication: two registries that are dictionaries, events on their way, workers who act in small steps.

The steps are those of a worker; what they write down is written by the product's own functions. Time is moved by moving
the times in the rows and in the workers' hands back.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from unittest import mock

from app.database import connection, now, transaction
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Cursor, Event, MetricValue, Reference, SyncAttempt, SyncState
from app.notifications import RegistryEvent
from app.replication import closing, cursor, event_log, marking, outcome, planner
from app.replication.claim import Claim, LeaseLost
from app.replication.deletion import TAG_WRITE_LIMIT
from app.replication.outcome import Done, Failed
from tests.support import images
from tests.support.deployment import Deployment, event
from tests.support.sessions import Session

#: A tag: its repository and its name.
Target = tuple[str, str]

REPOSITORIES = ("team/a", "team/b")
TARGETS: tuple[Target, ...] = (("team/a", "v1"), ("team/a", "v2"), ("team/b", "v1"))

#: Workers that hold a row at a time, at most.
HOLDERS = 3

#: Rounds in which everything has to come to rest, and after which a reconcile looks at all repositories.
ROUNDS, RECONCILED_AFTER = 60, 12

#: When the first thing happens: long ago, so that nothing happens in the future.
BEGINNING = datetime.now(UTC) - timedelta(days=30)

Stage = Literal["taken", "asked", "gone", "writing", "deleting", "landed"]


class Killed(Exception):
    """The worker is not there any more."""


@dataclass(eq=False)
class Copy:
    """One reference in a worker's hands."""

    reference: Reference
    target: Target
    stage: Stage = "taken"
    #: What the primary had when it was asked.
    digest: str | None = None
    action: Literal["copy", "keep", "delete"] = "copy"
    #: Seconds since the write to the secondary began.
    age: float = 0.0


class Listing:
    """The primary registry as a planner sees it: it answers, and the answer may be long on its way."""

    def __init__(self, tags: dict[Target, str]) -> None:
        self._tags = tags
        self.answered = threading.Event()
        self.arrive = threading.Event()
        self.killed = False

    def list_tags(self, path: str) -> list[str]:
        tags = sorted(name for repository, name in self._tags if repository == path)
        self.answered.set()
        assert self.arrive.wait(20)
        if self.killed:
            raise Killed
        return tags


@dataclass(eq=False)
class Worker:
    """Who believes that he holds a row."""

    claim: Claim
    copies: list[Copy] = field(default_factory=list)
    listing: Listing | None = None
    planning: Future[int] | None = None

    @property
    def busy(self) -> bool:
        return bool(self.copies) or self.planning is not None


class World:
    """Everything there is. Each method is one step, and raises AssertionError if the product broke a promise."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._threads = ThreadPoolExecutor(HOLDERS)
        self.primary: dict[Target, str] = {}
        self.secondary: dict[Target, str] = {}
        #: What stood on the primary one after the other; and how far the secondary has to be once a row is synced.
        self.history: dict[Target, list[str | None]] = {target: [None] for target in TARGETS}
        self.owed: dict[Target, int] = dict.fromkeys(TARGETS, 0)
        #: What each event told of, by its key.
        self.told: dict[str, tuple[Target, int]] = {}
        self.undelivered: list[RegistryEvent] = []
        self.delivered: list[RegistryEvent] = []
        #: Transactions that have stored an event and not ended.
        self.late: list[tuple[Session, RegistryEvent]] = []
        self.workers: list[Worker] = []
        self._lost_an_event = False
        self._happened = 0
        self._start()

    def _start(self) -> None:
        """Empty what an earlier world left, and begin to read where its events ended."""
        with transaction():
            last = Event.select(Event.id).order_by(Event.id.desc()).first()
            for model in (SyncAttempt, Reference, Registry, Event, MetricValue):
                model.delete().execute()
            position = {"gaps": {}} | ({"position": last.id} if last else {})
            Cursor.update(**position).execute()
            # Two who make the same new repository wait for each other, as they must.
            repositories = event_log.repository_ids(REPOSITORIES, now())
        self._repository_ids = repositories
        self._paths = {row_id: path for path, row_id in repositories.items()}

    def close(self) -> None:
        for session, _ in self.late:
            session.__exit__(None, None, None)
        for worker in self.workers:
            self._kill(worker)
        self._threads.shutdown()

    # --- the primary ----------------------------------------------------------------------------------------------

    def push(self, target: Target) -> None:
        """A tag is pushed; its event is on its way."""
        self._happened += 1
        digest = images.sha256(str(self._happened).encode())
        self.primary[target] = digest
        self._tell("push", target, digest)

    def delete(self, target: Target) -> None:
        """A tag is deleted; its event is on its way."""
        if self.primary.pop(target, None) is not None:
            self._happened += 1
            self._tell("delete", target, None)

    def _tell(self, action: str, target: Target, digest: str | None) -> None:
        self.history[target].append(digest)
        at = BEGINNING + timedelta(seconds=self._happened)
        told = event(action, target[0], target[1], digest, at)
        self.told[told.id] = (target, len(self.history[target]) - 1)
        self.undelivered.append(told)

    def deliver(self, place: int, times: int = 1) -> None:
        """An event arrives, perhaps before one that happened earlier, perhaps more than once."""
        told = self.undelivered.pop(place % len(self.undelivered))
        for _ in range(times):
            self._deployment.store(told)
        self.delivered.append(told)

    def repeat(self, place: int) -> None:
        """The registry did not hear the answer."""
        stored = self._deployment.store(self.delivered[place % len(self.delivered)])
        assert (stored.accepted, stored.duplicate) == (0, 1)

    def lose(self, place: int) -> None:
        """The registry died with its queue."""
        self.undelivered.pop(place % len(self.undelivered))
        self._lost_an_event = True

    def store_late(self, place: int) -> None:
        """An event is stored, in a transaction that does not end yet: later ids are seen before its own."""
        told = self.undelivered.pop(place % len(self.undelivered))
        session = Session()
        session.begin()
        session.do(lambda: event_log.append([told]))
        self.late.append((session, told))

    def end_late(self, place: int, *, commit: bool) -> None:
        """Such a transaction ends. What was not stored is sent again."""
        session, told = self.late.pop(place % len(self.late))
        if commit:
            session.commit()
        session.__exit__(None, None, None)
        (self.delivered if commit else self.undelivered).append(told)

    # --- the deployment -------------------------------------------------------------------------------------------

    def read(self, limit: int) -> None:
        """The cursor advances."""
        cursor.advance(self._deployment.fresh_site(), limit)
        self._note_what_was_read()

    def _note_what_was_read(self) -> None:
        with connection():
            position = cursor.position_of(Cursor.get(Cursor.site == self._deployment.site))
            rows = list(Event.select(Event.id, Event.event_key).where(Event.id <= position.last))
        for row in rows:
            if row.id not in position.gaps:
                target, place = self.told[row.event_key]
                self.owed[target] = max(self.owed[target], place)

    def resync(self, repository: str, priority: int) -> None:
        """A person, or a reconcile, asks for a full sync."""
        marking.mark_full(self._deployment.fresh_site(), [self._repository_ids[repository]], priority=priority)
        for target in TARGETS:
            if target[0] == repository:
                self.owed[target] = len(self.history[target]) - 1

    def tidy(self) -> None:
        """The scheduler looks for rows whose workers die one after the other."""
        closing.fail_poisonous()

    def elapse(self, seconds: float) -> None:
        """Time passes. What is being written is there, or is not, before its time limit is over."""
        for worker in list(self.workers):
            worker.claim.lease.deadline -= seconds
            for copy in worker.copies:
                copy.age += seconds
                if copy.stage in {"writing", "deleting"} and copy.age >= TAG_WRITE_LIMIT:
                    self._land(worker, copy)
        passed = timedelta(seconds=seconds)
        with transaction():
            for row in Registry.select():
                times = {"lease_expires_at": row.lease_expires_at, "retry_at": row.retry_at}
                Registry.update(**_earlier(times, passed)).where(Registry.id == row.id).execute()
            for reference in Reference.select():
                times = {"retry_at": reference.retry_at}
                Reference.update(**_earlier(times, passed)).where(Reference.id == reference.id).execute()

    # --- workers --------------------------------------------------------------------------------------------------

    def claim(self) -> Worker | None:
        """A worker takes the next row, if there is one."""
        return self._holding(self._deployment.take())

    def claim_by_hand(self, repository: str) -> Worker | None:
        """A person's command takes a row whatever its state."""
        with connection():
            row = Registry.get_or_none(Registry.container_repository == self._repository_ids[repository])
        return self._holding(self._deployment.take_row(row.id) if row else None)

    def _holding(self, claim: Claim | None) -> Worker | None:
        if claim is None:
            return None
        for other in self.workers:
            assert other.claim.registry_id != claim.registry_id or other.claim.lease.remaining() == 0, (
                f"{claim.path} has two holders who both believe it"
            )
        worker = Worker(claim)
        self.workers.append(worker)
        if claim.full_sync:
            self._list(worker)
        return worker

    def _list(self, worker: Worker) -> None:
        listing = Listing(self.primary)
        source: Any = listing
        worker.listing = listing
        worker.planning = self._threads.submit(planner.plan, worker.claim, source, worker.claim.generation)
        assert listing.answered.wait(20)

    def listed(self, worker: Worker) -> None:
        """The listing of the primary arrives, and is written down."""
        assert worker.listing is not None
        assert worker.planning is not None
        worker.listing.arrive.set()
        planning, worker.planning = worker.planning, None
        planning.result(20)

    def beat(self, worker: Worker) -> None:
        with connection():
            worker.claim.lease.beat()

    def take_up(self, worker: Worker) -> None:
        """Read what is due: first how often the row was asked for, then the references."""
        with connection():
            row = Registry.get_by_id(worker.claim.registry_id)
            held = [copy.reference.id for copy in worker.copies]
            instant = now()
            waits = (Reference.state == SyncState.PENDING) | (Reference.state == SyncState.FAILED)
            ready = Reference.retry_at.is_null() | (Reference.retry_at <= instant)
            due = list(
                Reference.select().where((Reference.registry == row) & waits & ready & Reference.id.not_in(held))
            )
        worker.claim.generation = row.generation
        worker.copies += [Copy(reference, (worker.claim.path, reference.name)) for reference in due]

    def go_on(self, worker: Worker, place: int) -> None:
        """One of the worker's copies goes one step further."""
        copy = worker.copies[place % len(worker.copies)]
        try:
            if copy.stage == "taken":
                self._ask(worker, copy)
            elif copy.stage == "asked":
                worker.claim.require(TAG_WRITE_LIMIT)
                copy.stage = "writing"
            elif copy.stage == "gone":
                self._begin_deletion(worker, copy)
            elif copy.stage == "landed":
                self._record(worker, copy)
            else:
                self._land(worker, copy)
        except LeaseLost:
            self.kill(worker)

    def fail(self, worker: Worker, place: int, *, temporary: bool) -> None:
        """One of the worker's copies fails, whatever it was at. A write that was begun may have been carried out."""
        copy = worker.copies[place % len(worker.copies)]
        if copy.stage in {"writing", "deleting"}:
            self._land(worker, copy)
        try:
            self._failed(worker, copy, "broken", temporary=temporary)
        except LeaseLost:
            self.kill(worker)

    def let_go(self, worker: Worker, *, failure: str | None = None, unfinished: bool = False) -> None:
        """The worker lets go of the row, in order, failed or unfinished."""
        self.workers.remove(worker)
        with connection():
            asked_for = Registry.get_by_id(worker.claim.registry_id).generation != worker.claim.generation
        closed = closing.release(worker.claim) if unfinished else closing.close(worker.claim, failure=failure)
        if asked_for:
            assert closed.state in {None, SyncState.PENDING}, "what was asked for meanwhile waits for a retry"

    def let_go_while_events_are_read(self, worker: Worker) -> None:
        """The same, and the cursor advances after the worker has seen that nothing is left, and before he says so."""
        summary = closing._summary

        def overtaken(registry_id: int) -> Any:
            found = summary(registry_id)
            with Session() as other:
                other.do(lambda: cursor.advance(self._deployment.fresh_site()))
            return found

        with mock.patch.object(closing, "_summary", overtaken):
            self.let_go(worker)
        self._note_what_was_read()

    def kill(self, worker: Worker) -> None:
        """The worker is gone without a word. What he has begun to write may still be carried out, in its time."""
        for copy in worker.copies:
            if copy.stage in {"writing", "deleting"} and copy.age < TAG_WRITE_LIMIT:
                self._land(worker, copy)
        self.workers.remove(worker)
        self._kill(worker)

    def _kill(self, worker: Worker) -> None:
        if worker.listing is not None and worker.planning is not None:
            worker.listing.killed = True
            worker.listing.arrive.set()
            assert isinstance(worker.planning.exception(20), Killed)

    def _ask(self, worker: Worker, copy: Copy) -> None:
        copy.digest = self.primary.get(copy.target)
        if copy.digest is None and copy.reference.delete_witness is None:
            self._failed(worker, copy, "not_on_primary", temporary=True)
        elif copy.digest is None:
            copy.stage = "gone"
        elif copy.digest == self.secondary.get(copy.target):
            copy.stage, copy.action = "landed", "keep"
        else:
            copy.stage = "asked"

    def _begin_deletion(self, worker: Worker, copy: Copy) -> None:
        """Nothing else is under way, nobody has asked for the tag since, and the primary still says no."""
        if any(other.stage != "gone" for other in worker.copies):
            return
        same = (Reference.id == copy.reference.id) & (Reference.generation == copy.reference.generation)
        with connection():
            asked_for = Reference.get_or_none(same) is None
        if asked_for or copy.target in self.primary:
            with connection():
                Reference.update(delete_witness=None).where(same).execute()
            worker.copies.remove(copy)
            return
        worker.claim.require(TAG_WRITE_LIMIT)
        copy.stage, copy.action = "deleting", "delete"

    def _land(self, worker: Worker, copy: Copy) -> None:
        """The secondary carries out what it was sent."""
        with connection():
            row = Registry.get_by_id(worker.claim.registry_id)
            assert row.lease_token == worker.claim.token, f"{copy.target} was written by who does not hold the row"
        if copy.stage == "deleting":
            self.secondary.pop(copy.target, None)
        else:
            assert copy.digest is not None
            self.secondary[copy.target] = copy.digest
        copy.stage = "landed"

    def _record(self, worker: Worker, copy: Copy) -> None:
        worker.copies.remove(copy)
        instant = now()
        outcome.record(worker.claim, copy.reference, Done(copy.action, instant, instant, copy.digest))

    def _failed(self, worker: Worker, copy: Copy, reason: str, *, temporary: bool) -> None:
        worker.copies.remove(copy)
        instant = now()
        failed = Failed(reason, f"{copy.target}: {reason}", temporary, instant, instant)
        outcome.record(worker.claim, copy.reference, failed)

    # --- promises -------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """What holds at any time: synced means there."""
        with connection():
            rows = list(Registry.select().where(Registry.state == SyncState.SYNCED))
            references: dict[int, list[Reference]] = defaultdict(list)
            for reference in Reference.select() if rows else ():
                references[reference.registry_id].append(reference)
        for row in rows:
            path = self._paths[row.container_repository_id]
            assert row.lease_owner is None
            assert row.pending_since is None
            for reference in references[row.id]:
                assert reference.state == SyncState.SYNCED, f"{path} is synced, {reference.name} is not"
                there = self.secondary.get((path, reference.name))
                assert reference.observed_digest == there, f"{path}:{reference.name} is said to be another"
            for target in TARGETS:
                if target[0] == path:
                    since = self.history[target][self.owed[target] :]
                    assert self.secondary.get(target) in since, f"{path} is synced without {target[1]}"

    def settle(self) -> None:
        """Everybody who is there goes on, those who died do not; and everything comes to rest, as it should be."""
        while self.late:
            self.end_late(0, commit=True)
        while self.undelivered:
            self.deliver(0)
        for worker in list(self.workers):
            self.kill(worker)
        self.elapse(50)
        if self._lost_an_event:
            # What no event tells, a reconcile finds.
            self._reconcile()
            self._lost_an_event = False
        for number in range(ROUNDS):
            self.tidy()
            cursor.drain(self._deployment.fresh_site())
            self._note_what_was_read()
            for _ in range(ROUNDS):
                claimed = self.claim()
                if claimed is None:
                    break
                self._finish(claimed)
                self.check()
            else:
                raise AssertionError("a row is taken up again and again")
            if self._at_rest():
                break
            if number and number % RECONCILED_AFTER == 0:
                self._reconcile()
            self.elapse(7 * 3600)
        else:
            raise AssertionError("it does not come to rest")
        assert self.secondary == self.primary
        self.check()

    def _reconcile(self) -> None:
        for repository in REPOSITORIES:
            self.resync(repository, marking.BACKFILL)

    def _finish(self, worker: Worker) -> None:
        if worker.planning is not None:
            self.listed(worker)
        while True:
            self.take_up(worker)
            if not worker.copies:
                break
            while worker.copies:
                # Deletions wait until nothing else is left.
                ordered = sorted(range(len(worker.copies)), key=lambda place: worker.copies[place].stage == "gone")
                self.go_on(worker, ordered[0])
                assert worker in self.workers, "a worker who loses no time lost the row"
        self.let_go(worker)

    def _at_rest(self) -> bool:
        with connection():
            unread = cursor.has_unread(self._deployment.fresh_site())
            open_rows = Registry.select().where(Registry.state != SyncState.SYNCED).exists()
            return not unread and not open_rows


def _earlier(times: dict[str, datetime | None], by: timedelta) -> dict[str, datetime | None]:
    return {name: instant and instant - by for name, instant in times.items()}
