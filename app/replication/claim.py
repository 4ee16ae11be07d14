"""Claiming a tracking row: who holds one, by a lease, and how the next one is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from peewee import Expression, ModelSelect, fn

from app import database
from app.database import connection, lock, now, transaction, value_or
from app.models import ContainerRepository, Site, SyncState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import capacity, lease
from app.replication.binding import Binding, NotApplied
from app.replication.unsettled import taken_up, unsettled
from app.settings import Settings
from app.statements import Statement, slot

#: A row claimed this often without ever being closed brings its workers down; it then waits like any failure.
MAX_ATTEMPTS = 3

#: Less urgent than anything is, and more.
LEAST_URGENT, MOST_URGENT = 1_000_000, -1

#: Seconds between looks whether the site of a row in our hands was paused.
WITHDRAWAL = 1.0

#: What a row says that nobody holds.
RELEASED: Mapping[str, Any] = {"lease_owner": None, "lease_expires_at": None}


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
    #: It was claimed by hand although its site is paused.
    though_paused: bool = False
    #: When it was last asked whether the claim was withdrawn, by the lease's clock, and the answer.
    _asked_at: float = float("-inf")
    _withdrawn: bool = False
    #: Whether anything was written down of its references by whoever held it since it was last let go: what a
    #: verification saw before says nothing of that.
    changed: bool = field(init=False)

    def __post_init__(self) -> None:
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
            self._withdrawn = not in_scope or retired or not (enabled or self.though_paused)
        return self._withdrawn


def due(instant: datetime | slot) -> Expression:
    """Tracking rows that somebody should take now."""
    # Also of those in somebody's hands: who takes a row clears its time to be tried again.
    ready = Registry.retry_at.is_null() | (Registry.retry_at <= instant)
    abandoned = (Registry.lease_expires_at <= instant) & (Registry.attempts < MAX_ATTEMPTS)
    free = (Registry.state != SyncState.STARTED) | abandoned
    return unsettled() & ready & free


def count_due(limit: int, *, at_most: int | None = None) -> int:
    """How many rows wait for a worker, counted up to `limit`; `at_most` leaves out what is less urgent than that."""
    with connection():
        instant = now()
        waiting = due(instant) & Registry.site.in_(taken_up()) & capacity.room(capacity.limits(), instant)
        if at_most is not None:
            waiting &= Registry.priority <= at_most
        return int(Registry.select(Registry.id).where(waiting).limit(limit).count())


def count_held() -> int:
    """How many rows are in somebody's hands."""
    with connection():
        held = (Registry.state == SyncState.STARTED) & (Registry.lease_expires_at > now())
        return int(Registry.select(Registry.id).where(held).count())


def claim_next(settings: Settings, at_most: int | None = None, at_least: int = MOST_URGENT) -> Claim | None:
    """Take the row that has waited longest among the most urgent; None when nothing is due.

    `at_most` leaves out what is less urgent than this priority, `at_least` what is more urgent.

    Raises:
        NotApplied: when the rows are not about the registries of these settings.
    """
    with connection():
        asked = lease.monotonic()
        binding = Binding.of(settings)
        site = binding.site()
        if site is None:
            return None
        with capacity.counted() as limits:
            instant = now()
            urgency = LEAST_URGENT if at_most is None else at_most
            if not limits:
                values = {"instant": instant, "site": site.id, "at_most": urgency, "at_least": at_least}
                rows = _take(values | {"owner": lease.owner(), "until": instant + timedelta(seconds=lease.TTL)})
                return _claimed(rows, instant, asked, binding)
            query = _next(instant, site.id, urgency, at_least).where(capacity.room(limits, instant))
            return _claim(query, instant, asked, binding)


def claim_row(registry_id: int, settings: Settings) -> Claim | None:
    """Take this row whatever its state and due time, and though its site is paused; None when somebody else holds it,
    when it is out of its site's scope, or its site is another than this process's.

    Raises:
        NotApplied: when the rows are not about the registries of these settings.
    """
    with connection():
        asked = lease.monotonic()
        binding = Binding.of(settings)
        site = binding.site()
        if site is None:
            return None
        instant = now()
        free = (Registry.state != SyncState.STARTED) | (Registry.lease_expires_at <= instant)
        wanted = (Registry.id == registry_id) & free & (Registry.site == site.id) & Registry.in_scope
        query = Registry.select(Registry.id).where(wanted).limit(1)
        claim = _claim(query, instant, asked, binding)
        # Only here: what was taken because it is due is given back if its site was paused at that very moment.
        return claim and replace(claim, though_paused=not claim.site.enabled)


def waiting_again(instant: datetime) -> dict[str, Any]:
    """What is written of a row that somebody held and lets go of, for others to take."""
    since = value_or(Registry.pending_since, instant)
    return {**RELEASED, "state": SyncState.PENDING, "retry_at": None, "pending_since": since}


def _next(instant: Any, site: Any, at_most: Any, at_least: Any) -> ModelSelect[Registry]:
    """In the order of an index, of which no more is read than comes before the row that is found."""
    # Not by a list of sites, which that order would not outlive.
    at_work = fn.EXISTS(taken_up().where(Site.id == site))
    wanted = (Registry.site == site) & due(instant) & at_work
    wanted &= (Registry.priority >= at_least) & (Registry.priority <= at_most)
    query = Registry.select(Registry.id).where(wanted)
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
    return _next(slot("instant", Registry.retry_at), slot("site"), slot("at_most"), slot("at_least"))


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
        ours &= Registry.state == SyncState.STARTED
        # Not the attempts: whoever takes it next has to know that a former holder never closed it.
        Registry.update(**waiting_again(instant), attempts=row.attempts - 1).where(ours).execute()
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
