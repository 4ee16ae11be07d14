"""Claiming a tracking row, and letting go of it: the only places where its state changes hands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from peewee import Case, Expression, ModelSelect, fn

from app import database
from app.database import connection, lock, now, storable, transaction, value_or
from app.models import ContainerRepository, Reference, Site, SyncState, VerificationState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import capacity, lease
from app.replication.backoff import BACKOFF, Backoff
from app.replication.binding import Binding, NotApplied
from app.replication.context import current
from app.settings import Settings
from app.statements import Statement, slot

#: A row claimed this often without ever being closed brings its workers down; it then waits like any failure.
MAX_ATTEMPTS = 3

#: Characters of a row's failure that are kept.
MAX_FAILURE = 2000

#: Less urgent than anything is.
LEAST_URGENT = 1_000_000

#: Seconds between looks whether the site of a row in our hands was paused.
WITHDRAWAL = 1.0


class LeaseLost(Exception):
    """Somebody else may hold the row; nothing more may be written for it."""


_STANDING = Statement(
    lambda: (
        Registry.select(Registry.in_scope, Site.enabled, Site.retired)
        .join(Site)
        .where(Registry.id == slot("id"))
        .tuples()
    )
)
_SITE = Statement(lambda: Site.select().where(Site.id == slot("id")))
_HELD = Statement(
    lambda: (
        Registry.select(Registry.id)
        .where((Registry.id == slot("id")) & (Registry.lease_token == slot("token")))
        .tuples()
    )
)


@dataclass(eq=False)
class Claim:
    """A tracking row in our hands. `generation` is the one last read: closing succeeds only if it still stands."""

    registry_id: int
    site: Site
    path: str
    token: int
    generation: int
    full_sync: bool
    #: The former holder never closed it: a write of his may still be under way.
    takeover: bool
    retry_count: int
    priority: int
    lease: lease.HeldLease
    #: When it was last asked whether the claim was withdrawn, by the lease's clock, and the answer.
    _asked_at: float = float("-inf")
    _withdrawn: bool = False
    #: Whether the site was not paused when the row was claimed.
    _enabled: bool = field(init=False)
    #: Whether anything was written down of its references by whoever held it since it was last let go: what a
    #: verification saw before says nothing of that.
    changed: bool = field(init=False)

    def __post_init__(self) -> None:
        self._enabled = self.site.enabled
        self.changed = self.takeover

    def require(self, seconds: float) -> None:
        """Make sure that the lease lasts for another `seconds`.

        Raises:
            LeaseLost: when it may not.
        """
        if self.lease.remaining() <= seconds:
            raise LeaseLost(f"the lease on {self.path} may end before the registry has answered")

    def hold(self) -> None:
        """Make sure that the row is ours until the transaction ends in which this is called.

        Raises:
            LeaseLost: when somebody else has it; nothing may be written.
        """
        # Locked, so that nobody takes the row over between this look and the end of what is written.
        lock(Registry, [self.registry_id])
        if _HELD.first(id=self.registry_id, token=self.token) is None:
            raise LeaseLost(f"{self.path} was taken over")

    def site_now(self) -> Site:
        """The row's site as it is now, and not as it was when the row was claimed. Inside a connection."""
        found: Site = _SITE.first(id=self.site.id)
        return found

    def withdrawn(self, *, at_once: bool = False) -> bool:
        """Whether nothing more is to be taken up, since the site was paused or the repository has left its scope.

        The database is asked once in `WITHDRAWAL` seconds, or `at_once`. A row that was claimed by hand on a site that
        was paused already is synced all the same.
        """
        instant = self.lease.clock()
        if at_once or instant - self._asked_at >= WITHDRAWAL:
            with connection():
                found = _STANDING.first(id=self.registry_id)
            in_scope, enabled, retired = found or (False, False, True)
            self._asked_at = instant
            self._withdrawn = not in_scope or retired or (self._enabled and not enabled)
        return self._withdrawn


def due(instant: datetime | slot) -> Expression:
    """Tracking rows that somebody should take now."""
    waiting = Registry.state.in_([SyncState.PENDING, SyncState.FAILED])
    ready = Registry.retry_at.is_null() | (Registry.retry_at <= instant)
    abandoned = (Registry.state == SyncState.STARTED) & (Registry.lease_expires_at <= instant)
    expression: Expression = Registry.in_scope & ((waiting & ready) | (abandoned & (Registry.attempts < MAX_ATTEMPTS)))
    return expression


def count_due(limit: int, *, at_most: int | None = None) -> int:
    """How many rows wait for a worker, counted up to `limit`; `at_most` leaves out what is less urgent than that."""
    with connection():
        instant = now()
        waiting = due(instant) & capacity.room(capacity.limits(), instant)
        if at_most is not None:
            waiting &= Registry.priority <= at_most
        return int(_enabled(Registry.select(Registry.id)).where(waiting).limit(limit).count())


def count_held() -> int:
    """How many rows are in somebody's hands."""
    with connection():
        held = (Registry.state == SyncState.STARTED) & (Registry.lease_expires_at > now())
        return int(Registry.select(Registry.id).where(held).count())


def claim_next(at_most: int | None = None, *, settings: Settings | None = None) -> Claim | None:
    """Take the row that has waited longest among the most urgent; None when nothing is due.

    `at_most` leaves out what is less urgent than this priority. `settings` are those of the process's own context.

    Raises:
        NotApplied: when the rows are not about the registries of these settings.
    """
    with connection():
        asked = lease.monotonic()
        binding = Binding.of(settings or current().settings)
        site = binding.site()
        if site is None:
            return None
        with capacity.counted() as limits:
            instant = now()
            urgency = LEAST_URGENT if at_most is None else at_most
            if not limits:
                values = {"instant": instant, "site": site.id, "urgency": urgency}
                rows = _take(values | {"owner": lease.owner(), "until": instant + timedelta(seconds=lease.TTL)})
                return _claimed(rows, instant, asked, binding)
            query = _next(instant, site.id, urgency).where(capacity.room(limits, instant))
            return _claim(query, instant, asked, binding)


def claim_row(registry_id: int, *, settings: Settings | None = None) -> Claim | None:
    """Take this row whatever its state and due time, and though its site is paused; None when somebody else holds it,
    when it is out of its site's scope, or its site is another than this process's.

    Raises:
        NotApplied: when the rows are not about the registries of these settings, the process's own context's.
    """
    with connection():
        asked = lease.monotonic()
        binding = Binding.of(settings or current().settings)
        site = binding.site()
        if site is None:
            return None
        instant = now()
        free = (Registry.state != SyncState.STARTED) | (Registry.lease_expires_at <= instant)
        wanted = (Registry.id == registry_id) & free & (Registry.site == site.id) & Registry.in_scope
        query = Registry.select(Registry.id).where(wanted).limit(1)
        return _claim(query, instant, asked, binding)


def _enabled(query: ModelSelect[Registry]) -> ModelSelect[Registry]:
    sites = Site.select(Site.id).where(Site.enabled & ~Site.retired & ~Site.primary)
    return query.where(Registry.site.in_(sites))


def _next(instant: Any, site: Any, urgency: Any) -> ModelSelect[Registry]:
    query = _enabled(Registry.select(Registry.id)).where(
        due(instant) & (Registry.priority <= urgency) & (Registry.site == site)
    )
    return query.order_by(Registry.priority, Registry.pending_since.asc(nulls="FIRST"), Registry.id).limit(1)


def _in_our_hands(instant: Any, owner: Any, until: Any) -> dict[str, Any]:
    return {
        "state": SyncState.STARTED,
        "lease_owner": owner,
        "lease_token": Registry.lease_token + 1,
        "lease_expires_at": until,
        "attempts": Registry.attempts + 1,
        "started_at": instant,
        "retry_at": None,
    }


def _due_with_slots() -> ModelSelect[Registry]:
    return _next(slot("instant", Registry.retry_at), slot("site"), slot("urgency"))


_DUE = Statement(_due_with_slots)
_TAKE = Statement(
    lambda: database.claiming(
        Registry,
        _due_with_slots(),
        **_in_our_hands(slot("instant", Registry.started_at), slot("owner"), slot("until", Registry.lease_expires_at)),
    )
)
_TAKE_THIS = Statement(
    lambda: (
        Registry.update(
            **_in_our_hands(
                slot("instant", Registry.started_at), slot("owner"), slot("until", Registry.lease_expires_at)
            )
        )
        .where((Registry.id == slot("id")) & due(slot("instant", Registry.retry_at)))
        .returning(Registry)
    )
)
_PATH = Statement(lambda: ContainerRepository.select().where(ContainerRepository.id == slot("id")))


def _take(values: dict[str, Any]) -> list[Registry]:
    """Take the first row that is due."""
    if not database.is_sqlite():
        return _TAKE.rows(**values)
    # Looked for without the write lock, and then taken by its id, unless somebody else was quicker.
    while (found := _DUE.first(**values)) is not None:
        with transaction():
            if rows := _TAKE_THIS.rows(**values, id=found.id):
                return rows
    return []


def _claim(query: ModelSelect[Registry], instant: datetime, asked: float, binding: Binding) -> Claim | None:
    values = _in_our_hands(instant, lease.owner(), instant + timedelta(seconds=lease.TTL))
    return _claimed(database.claim(Registry, query, **values), instant, asked, binding)


def _claimed(rows: list[Registry], instant: datetime, asked: float, binding: Binding) -> Claim | None:
    if not rows:
        return None
    row = rows[0]
    registry_id, token = row.id, row.lease_token
    try:
        site = binding.site()
    except NotApplied:
        ours = (Registry.id == registry_id) & (Registry.lease_token == token)
        # Not the attempts: whoever takes it next has to know that a former holder never closed it.
        released = {"lease_owner": None, "lease_expires_at": None, "attempts": row.attempts - 1}
        _pending(ours & (Registry.state == SyncState.STARTED), released, instant)
        raise
    assert site is not None
    return Claim(
        registry_id=registry_id,
        site=site,
        path=_PATH.first(id=row.container_repository_id).path,
        token=token,
        generation=row.generation,
        full_sync=row.full_sync,
        takeover=row.attempts > 1,
        retry_count=row.retry_count,
        priority=row.priority,
        lease=lease.HeldLease(renew=lambda: lease.renew_row(registry_id, token), deadline=asked + lease.TTL),
    )


@dataclass(frozen=True, slots=True)
class Closed:
    """How a row was left. `again`: something is due on it already."""

    state: SyncState | None
    failure: str | None = None

    @property
    def again(self) -> bool:
        return self.state is SyncState.PENDING


def close(
    claim: Claim,
    *,
    failure: str | None = None,
    retry_after: float | None = None,
    outage: bool = False,
    tried: bool = True,
    backoff: Backoff = BACKOFF,
) -> Closed:
    """Let go of the row, in the state that its references are in.

    `failure` is one of the whole row (the registry does not answer, the listing is broken) and overrules them; an
    `outage` is one of the whole registry.
    `tried` is False when nothing failed in this sync although something is still in failure: it does not count.
    Synced only if every tag is and no event came meanwhile (compare-and-set on the generation); pending if work is
    left. State None: the lease was lost and nothing was written.
    """
    with transaction():
        instant = now()
        summary = _summary(claim.registry_id)
        ours = (Registry.id == claim.registry_id) & (Registry.lease_token == claim.token)
        ours &= Registry.state == SyncState.STARTED
        released: dict[str, Any] = {"lease_owner": None, "lease_expires_at": None, "attempts": 0}
        if failure is None and (summary.pending or summary.full_sync):
            return _pending(ours, released | _unverified(claim), instant)
        if failure is None and not summary.failed:
            values = {"state": SyncState.SYNCED, "last_synced_at": instant, "retry_count": 0, "retry_at": None}
            values |= {"last_sync_failure": None, "pending_since": None}
            state = SyncState.SYNCED
        else:
            count = claim.retry_count + 1 if tried else max(1, claim.retry_count)
            retry_at = instant + backoff.delay(count, outage=outage, at_least=retry_after)
            if failure is None:
                failure, retry_at = summary.failure, summary.retry_at or retry_at
            values = {"state": SyncState.FAILED, "retry_count": count, "retry_at": retry_at}
            values |= {"last_sync_failure": storable(failure, MAX_FAILURE)}
            state = SyncState.FAILED
        released |= _unverified(claim)
        unchanged = Registry.update(**values, **released).where(ours & (Registry.generation == claim.generation))
        if unchanged.execute():
            return Closed(state, failure)
        return _pending(ours, released, instant)


def _unverified(claim: Claim) -> dict[str, Any]:
    """A verification is due after a sync that changed anything. One under way learns of it by the generation, one
    switched off stays so, and one that failed has failed until the next has seen what the sync repaired."""
    return {"verification_state": _to_be_verified()} if claim.changed else {}


def _to_be_verified() -> Case:
    state = Registry.verification_state
    kept = state.in_([VerificationState.STARTED, VerificationState.DISABLED, VerificationState.FAILED])
    return Case(None, [(kept, state)], VerificationState.PENDING)


def release(claim: Claim, *, priority: int | None = None, after: float = 0.0) -> Closed:
    """Give the row back unfinished, to be taken by somebody else: at once, or `after` seconds.

    `priority` makes it less urgent than it was when it was claimed, unless an event came meanwhile.
    """
    with transaction():
        instant = now()
        ours = (Registry.id == claim.registry_id) & (Registry.lease_token == claim.token)
        ours &= Registry.state == SyncState.STARTED
        released: dict[str, Any] = {"lease_owner": None, "lease_expires_at": None, "attempts": 0, **_unverified(claim)}
        unchanged = Registry.generation == claim.generation
        if priority is not None:
            released["priority"] = Case(None, [(unchanged, priority)], Registry.priority)
        if after:
            later = Registry.retry_at.to_value(instant + timedelta(seconds=after))
            released["retry_at"] = Case(None, [(unchanged, later)], None)
        return _pending(ours, released, instant)


def fail_poisonous(backoff: Backoff = BACKOFF) -> int:
    """Fail the rows whose every sync ended with its worker's death; return how many."""
    with transaction():
        instant = now()
        poisonous = (
            (Registry.state == SyncState.STARTED)
            & (Registry.lease_expires_at <= instant)
            & (Registry.attempts >= MAX_ATTEMPTS)
        )
        ids = [row.id for row in Registry.select(Registry.id).where(poisonous).limit(database.MAX_ROWS)]
        lock(Registry, ids)
        values: dict[str, Any] = {
            "state": SyncState.FAILED,
            # The last of them may have brought something.
            "verification_state": _to_be_verified(),
            "attempts": 0,
            "retry_count": Registry.retry_count + 1,
            "last_sync_failure": f"{MAX_ATTEMPTS} workers in a row died while syncing this repository;"
            " look for kills by memory limits in the system's log",
            "lease_token": Registry.lease_token + 1,
            "lease_owner": None,
            "lease_expires_at": None,
        }
        changed = 0
        for id_ in ids:
            # One by one: those whose holder was killed for the sake of another must not come back together.
            values["retry_at"] = instant + backoff.delay(MAX_ATTEMPTS + 3)
            changed += int(Registry.update(**values).where((Registry.id == id_) & poisonous).execute())
        return changed


def _pending(ours: Expression, released: Mapping[str, object], instant: datetime) -> Closed:
    values = {"state": SyncState.PENDING, "retry_at": None, **released}
    values["pending_since"] = value_or(Registry.pending_since, instant)
    changed = Registry.update(**values).where(ours).execute()
    return Closed(SyncState.PENDING if changed else None)


@dataclass(frozen=True, slots=True)
class _Summary:
    #: A full sync was asked for since the last one began.
    full_sync: bool
    pending: int
    failed: int
    retry_at: datetime | None
    failure: str | None


def _summary(registry_id: int) -> _Summary:
    """What a row owes, and its tags, counted. A digest pushed without a tag never holds the row back."""
    full_sync = _FULL.first(id=registry_id) is not None
    pending, failed = (int(number or 0) for number in _OWED.first(id=registry_id))
    if not failed:
        return _Summary(full_sync, pending, 0, None, None)
    broken = Reference.select().where(
        (Reference.registry == registry_id) & Reference.is_tag & (Reference.state == SyncState.FAILED)
    )
    first = broken.order_by(Reference.retry_at.asc(nulls="LAST"), Reference.id).get()
    more = f" (and {failed - 1} more tags)" if failed > 1 else ""
    return _Summary(full_sync, pending, failed, first.retry_at, f"{first.failure}{more}")


def _owed() -> ModelSelect[Reference]:
    tag = Reference.is_tag & Reference.state.in_([SyncState.PENDING, SyncState.STARTED])
    # An untagged digest that waits for its first copy is work, though its failure is no reason to call the row failed.
    digest = ~Reference.is_tag & (Reference.state == SyncState.PENDING) & Reference.retry_at.is_null()
    broken = Reference.is_tag & (Reference.state == SyncState.FAILED)
    counts = [fn.SUM(Case(None, [(which, 1)], 0)) for which in (tag | digest, broken)]
    owing = Reference.state.in_([SyncState.PENDING, SyncState.STARTED, SyncState.FAILED])
    return Reference.select(*counts).where((Reference.registry == slot("id")) & owing).tuples()


_OWED = Statement(_owed)
_FULL = Statement(lambda: Registry.select(Registry.id).where((Registry.id == slot("id")) & Registry.full_sync).tuples())
