"""Claiming a tracking row for verification, and letting go of it. Nobody who syncs the row is kept waiting by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from peewee import Expression, fn

from app import database
from app.database import connection, lock, now, transaction
from app.models import ContainerRepository, Site, VerificationState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import lease
from app.replication.backoff import BACKOFF
from app.replication.binding import Binding, NotApplied
from app.replication.claim import MAX_ATTEMPTS
from app.replication.unsettled import taken_up, unverified
from app.replication.verification.checksum import Checksums
from app.replication.verification.governed import governed
from app.replication.verification.owing import owed
from app.settings import Settings
from app.settings import VerificationLevel as Level

#: A failure is told in one message; a registry's page of HTML is not part of it.
MAX_MESSAGE = 2000

#: What a row says that nobody has verified. For a site whose registry is another one from now on.
UNKNOWN: Mapping[str, Any] = {
    "verification_state": VerificationState.PENDING,
    "verification_checksum": None,
    "verification_checksum_mismatched": None,
    "checksum_mismatch": False,
    "verification_failure": None,
    "verification_failure_reason": None,
    "verification_retry_count": 0,
    "verification_retry_at": None,
    "verified_at": None,
    "verification_level": None,
    "fully_verified_at": None,
    "verification_lease_owner": None,
    "verification_lease_token": Registry.verification_lease_token + 1,
    "verification_lease_expires_at": None,
    "verification_attempts": 0,
}

_RELEASED: Mapping[str, Any] = {
    "verification_lease_owner": None,
    "verification_lease_expires_at": None,
    "verification_attempts": 0,
}


class VerificationLost(Exception):
    """Somebody else may be verifying the row; nothing more may be written for it."""


@dataclass(eq=False)
class Verifying:
    """A tracking row in our hands, to be looked at. `generation` is the row's when it was claimed."""

    registry_id: int
    site: Site
    path: str
    token: int
    generation: int
    level: Level
    #: How far what nobody has looked at yet is to be looked at, however little was asked for: what follows a sync.
    unseen_level: Level
    #: Everything is looked at that nobody has looked at since `requested_at`.
    full: bool
    requested_at: datetime | None
    retry_count: int
    lease: lease.HeldLease

    def ours(self) -> Expression:
        """The row, as long as nobody has taken it over."""
        expression: Expression = (
            (Registry.id == self.registry_id)
            & (Registry.verification_lease_token == self.token)
            & (Registry.verification_state == VerificationState.STARTED)
        )
        return expression

    def require(self) -> None:
        """Make sure that nobody has taken the row over. Inside a transaction.

        Raises:
            VerificationLost: when somebody may have.
        """
        if self.lease.remaining() <= 0 or not Registry.select(Registry.id).where(self.ours()).exists():
            raise VerificationLost(f"the verification of {self.path} was taken over")


def due(settings: Settings, instant: datetime) -> Expression:
    """Tracking rows that somebody should verify now: those that nobody is syncing, or is about to."""
    # Also of those in somebody's hands: who takes a row clears its time to be looked at again.
    ready = Registry.verification_retry_at.is_null() | (Registry.verification_retry_at <= instant)
    abandoned = (Registry.verification_lease_expires_at <= instant) & (Registry.verification_attempts < MAX_ATTEMPTS)
    free = (Registry.verification_state != VerificationState.STARTED) | abandoned
    wanted = unverified() & ready & free
    if settings.verification is None:
        wanted &= asked_for()
    return wanted


def asked_for() -> Expression:
    """Rows to be looked at even where nothing is verified after a sync: by request, or since something was wrong."""
    expression: Expression = Registry.verification_full | (Registry.verification_retry_count > 0)
    return expression


def count_due(settings: Settings, limit: int) -> int:
    """How many rows wait to be verified, counted up to `limit`."""
    wanted = due(governed(settings), now()) & Registry.site.in_(taken_up())
    return int(Registry.select(Registry.id).where(wanted).limit(limit).count())


def claim_next(settings: Settings) -> Verifying | None:
    """Take the next row, what a sync has just brought before what is only looked at again; None when nothing is due.

    Raises:
        NotApplied: when the rows are not about the registries of these settings.
    """
    with connection():
        asked = lease.monotonic()
        site = Binding.of(settings).site()
        if site is None:
            return None
        settings = governed(settings, site)
        instant = now()
        # In the order of an index, which a list of sites would not outlive.
        at_work = fn.EXISTS(taken_up().where(Site.id == site.id))
        query = Registry.select(Registry.id).where((Registry.site == site.id) & due(settings, instant) & at_work)
        query = query.order_by(
            Registry.verification_full, Registry.verification_requested_at.asc(nulls="FIRST"), Registry.id
        )
        return _claim(query.limit(1), settings, instant, asked)


def claim_row(registry_id: int, settings: Settings) -> Verifying | None:
    """Take this row whatever its state and due time; None when somebody else is verifying it, or its site is another
    than this process's.

    Raises:
        NotApplied: when the rows are not about the registries of these settings.
    """
    with connection():
        asked = lease.monotonic()
        site = Binding.of(settings).site()
        if site is None:
            return None
        settings = governed(settings, site)
        instant = now()
        free = (Registry.verification_state != VerificationState.STARTED) | (
            Registry.verification_lease_expires_at <= instant
        )
        wanted = (Registry.id == registry_id) & free & (Registry.site == site.id)
        query = Registry.select(Registry.id).where(wanted).limit(1)
        return _claim(query, settings, instant, asked)


def _claim(query: Any, settings: Settings, instant: datetime, asked: float) -> Verifying | None:
    rows = database.claim(
        Registry,
        query,
        verification_state=VerificationState.STARTED,
        verification_lease_owner=lease.owner(),
        verification_lease_token=Registry.verification_lease_token + 1,
        verification_lease_expires_at=instant + timedelta(seconds=lease.TTL),
        verification_attempts=Registry.verification_attempts + 1,
        verification_started_at=instant,
        verification_retry_at=None,
    )
    if not rows:
        return None
    row = rows[0]
    registry_id, token = row.id, row.verification_lease_token
    try:
        site = Binding.of(settings).site()
    except NotApplied:
        ours = (Registry.id == registry_id) & (Registry.verification_lease_token == token)
        Registry.update(verification_state=VerificationState.PENDING, **_RELEASED).where(ours).execute()
        raise
    assert site is not None
    return Verifying(
        registry_id=registry_id,
        site=site,
        path=ContainerRepository.get_by_id(row.container_repository_id).path,
        token=token,
        generation=row.generation,
        level=_level(row, settings),
        unseen_level=settings.verification or _level(row, settings),
        full=row.verification_full,
        requested_at=row.verification_requested_at,
        retry_count=row.verification_retry_count,
        lease=lease.HeldLease(renew=lambda: _renew(registry_id, token), deadline=asked + lease.TTL),
    )


def _level(row: Registry, settings: Settings) -> Level:
    if row.verification_full and row.verification_requested_level:
        return Level(row.verification_requested_level)
    return settings.verification or settings.verification_interval_level


def _renew(registry_id: int, token: int) -> bool:
    changed: int = (
        Registry.update(verification_lease_expires_at=now() + timedelta(seconds=lease.TTL))
        .where(
            (Registry.id == registry_id)
            & (Registry.verification_lease_token == token)
            & (Registry.verification_state == VerificationState.STARTED)
        )
        .execute()
    )
    return changed == 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found, for the row. Without a `failure` all that was looked at is there."""

    failure: str | None = None
    #: `mismatch`, or the reason why it could not be told.
    reason: str | None = None
    #: It says something of a registry rather than of this repository: nothing is known that was not before.
    outage: bool = False
    retry_after: float | None = None
    #: Everything that was to be looked at was. Else the next one goes on where this one got to.
    complete: bool = True
    #: What an earlier one found is not repaired yet: until the next sync there is nothing new to see.
    unrepaired: bool = False
    #: The secondary is behind the primary and a sync will see to it: neither right nor wrong.
    behind: bool = False
    checksums: Checksums | None = None


def close(claim: Verifying, verdict: Verdict) -> VerificationState | None:
    """Let go of the row and write the verdict down; return the state in which it is left.

    A push or a request meanwhile makes the result void: the row waits again. None: the row was taken over, and nothing
    was written.
    """
    with transaction():
        lock(Registry, [claim.registry_id])
        row = Registry.select().where(claim.ours()).first()
        if row is None:
            return None
        instant = now()
        settled = row.verification_requested_at == claim.requested_at
        void = row.generation != claim.generation or verdict.behind or not settled or not verdict.complete
        # A sync that was tried again brings something without any new generation.
        void = void or owed(claim.registry_id)
        values: dict[str, Any] = {**_RELEASED, **_checksums(verdict.checksums)}
        if claim.full and settled and verdict.complete:
            values |= {"verification_full": False, "verification_requested_level": None}
        if verdict.complete and verdict.failure is None and (claim.full or row.fully_verified_at is None):
            values["fully_verified_at"] = instant
        if verdict.failure is not None:
            count = claim.retry_count + 1
            retry_at = instant + BACKOFF.delay(count, outage=verdict.outage, at_least=verdict.retry_after)
            if verdict.unrepaired:
                count, retry_at = max(1, claim.retry_count), max(instant, row.retry_at or instant) + BACKOFF.delay(1)
            values |= {"verification_retry_count": count, "verification_retry_at": retry_at}
            values |= {"verification_failure": verdict.failure[:MAX_MESSAGE]}
            values |= {"verification_failure_reason": verdict.reason}
            moved = row.generation != claim.generation or verdict.outage
            state = VerificationState.PENDING if moved else VerificationState.FAILED
        elif void:
            state = VerificationState.PENDING
        else:
            state = VerificationState.SUCCEEDED
            values |= {"verified_at": instant, "verification_level": claim.level.value}
            values |= {"verification_retry_count": 0, "verification_retry_at": None}
            values |= {"verification_failure": None, "verification_failure_reason": None}
        Registry.update(verification_state=state, **values).where(Registry.id == claim.registry_id).execute()
        return state


def _checksums(found: Checksums | None) -> Mapping[str, Any]:
    if found is None:
        return {
            "verification_checksum": None,
            "verification_checksum_mismatched": None,
            "checksum_mismatch": False,
        }
    mismatch = found.primary != found.secondary
    return {
        "verification_checksum": found.secondary,
        "verification_checksum_mismatched": found.primary if mismatch else None,
        "checksum_mismatch": mismatch,
    }


def release(claim: Verifying) -> None:
    """Give the row back unfinished; whoever takes it next goes on where this one got to."""
    with transaction():
        Registry.update(verification_state=VerificationState.PENDING, **_RELEASED).where(claim.ours()).execute()


def fail_abandoned() -> int:
    """Fail the rows whose every verification ended with its worker's death; return how many."""
    with transaction():
        instant = now()
        abandoned = (
            (Registry.verification_state == VerificationState.STARTED)
            & (Registry.verification_lease_expires_at <= instant)
            & (Registry.verification_attempts >= MAX_ATTEMPTS)
        )
        ids = [row.id for row in Registry.select(Registry.id).where(abandoned).limit(database.MAX_ROWS)]
        lock(Registry, ids)
        changed: int = (
            Registry.update(
                **_RELEASED,
                verification_state=VerificationState.FAILED,
                verification_retry_count=Registry.verification_retry_count + 1,
                verification_retry_at=instant + BACKOFF.delay(MAX_ATTEMPTS + 3),
                verification_failure=f"{MAX_ATTEMPTS} workers in a row died while verifying this repository;"
                " look for kills by memory limits in the system's log",
                verification_failure_reason="worker_died",
                verification_lease_token=Registry.verification_lease_token + 1,
            )
            .where(Registry.id.in_(ids) & abandoned)
            .execute()
        )
        return changed
