"""What the rows add up to: for the gauges, the status command and the pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from peewee import SQL, fn

from app.database import now
from app.models import (
    BaseModel,
    ContainerRepository,
    Cursor,
    Event,
    Follower,
    Lease,
    QuarantinedEvent,
    Reference,
    Site,
    SyncState,
    VerificationState,
)
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import event_log, progress, reference_counts, repository_counts, site_reports
from app.replication.brake import HELD
from app.replication.event_log import Position
from app.replication.lease import TTL
from app.replication.repository_counts import Group as Repositories
from app.replication.site_numbers import COUNTED, SiteNumbers
from app.replication.site_reports import Reported

#: Seconds that a site can say that something waits there: a hundred years are no date any more.
LONGEST = 3_000_000_000.0

#: The lease whose holder is the acting scheduler; its age is the scheduler's heartbeat.
SCHEDULER = "scheduler"


@dataclass(frozen=True, slots=True)
class FollowerStatus:
    """How far the primary's event log is followed."""

    #: Events there that are not here yet, at most: some may be outside the scope.
    behind: int
    last_event_id: int
    heard_at: datetime | None
    failure: str | None
    failing_seconds: float
    #: When events were last missed and left to a backfill, and why.
    reset_at: datetime | None
    reset_reason: str | None
    #: When the primary's deployment last took our status, and why it did not since.
    reported_at: datetime | None = None
    report_failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus(SiteNumbers):
    """One secondary, counted. The numbers of a remote site are those of its last report, however old, or 0 without."""

    unread_events: int
    last_event_id: int
    last_event_at: datetime | None
    cursor_last_event_id: int
    cursor_last_event_at: datetime | None
    #: Since when the oldest reference has been waiting, and that in seconds.
    oldest_pending_at: datetime | None
    oldest_pending_seconds: float
    reconcile_reason: str | None
    #: It follows from a deployment of its own, which alone knows of its repositories; when that last read our log.
    remote: bool = False
    seen_at: datetime | None = None
    #: What that last said of itself.
    report: Reported | None = None
    #: How this deployment follows the primary's, where it does.
    follower: FollowerStatus | None = None
    #: What it replicates, and how many repositories at once at most: patterns of repositories and of tags; none: all.
    repositories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    capacity: int | None = None
    #: The same three as the primary's deployment limits them, where this is the site's own.
    granted_repositories: tuple[str, ...] = ()
    granted_tags: tuple[str, ...] = ()
    granted_capacity: int | None = None
    #: Deletions that wait for a person's consent.
    deletions_held: int = 0

    @property
    def verified_percent(self) -> float:
        return 100.0 * self.verified / self.verification_total if self.verification_total else 100.0

    @property
    def synced_percent(self) -> float:
        return 100.0 * self.synced / self.total if self.total else 100.0


@dataclass(frozen=True, slots=True)
class Status:
    """The whole deployment."""

    #: When this was counted, by the database's clock.
    at: datetime
    repositories: int
    events: int
    last_event_id: int
    last_event_at: datetime | None
    quarantined: int
    scheduler_seconds: float | None
    sites: tuple[SiteStatus, ...]


def status() -> Status:
    """Count everything; some twenty queries, whatever the number of rows: these are counted as they change."""
    instant = now()
    newest = Event.select().order_by(Event.id.desc()).first()
    scheduler = Lease.get_or_none(Lease.name == SCHEDULER)
    sites = Site.select().where(~Site.primary & ~Site.retired).order_by(Site.id)
    reports = site_reports.last(instant)
    return Status(
        at=instant,
        repositories=_number_of(ContainerRepository),
        events=event_log.size(),
        last_event_id=newest.id if newest else 0,
        last_event_at=newest.occurred_at if newest else None,
        quarantined=_number_of(QuarantinedEvent),
        scheduler_seconds=None if scheduler is None else _age(scheduler.expires_at, instant),
        sites=tuple(_reported(_site(site, newest, instant), reports.get(site.id)) for site in sites),
    )


def _number_of(model: type[BaseModel]) -> int:
    # Not of any column: SQLite then counts pages of an index rather than rows.
    return int(model.select(fn.COUNT(SQL("*"))).scalar())


def _age(expires_at: datetime, instant: datetime) -> float:
    return max(0.0, (instant - expires_at).total_seconds() + TTL)


def _site(site: Site, newest: Event | None, instant: datetime) -> SiteStatus:
    repositories = repository_counts.of(site)
    scoped = [group for group in repositories if group.in_scope]
    states = Counter[int]()
    for group in scoped:
        states[group.state] += group.count
    groups = reference_counts.of(site)
    tags = [group for group in groups if group.is_tag and group.in_scope]
    ours = [group for group in tags if not group.drift]
    waits = any(group.state in reference_counts.WAITING for group in tags)
    oldest = reference_counts.oldest_waiting(site) if waits else None
    fails = any(group.state == SyncState.FAILED for group in groups)
    cursor = Cursor.get_or_none(Cursor.site == site)
    failed = Registry.select().where((Registry.site == site) & (Registry.state == SyncState.FAILED) & Registry.in_scope)
    first = failed.order_by(Registry.retry_at).first() if states[SyncState.FAILED] else None
    return SiteStatus(
        name=site.name,
        url=site.url,
        enabled=site.enabled,
        total=states.total(),
        pending=states[SyncState.PENDING],
        started=states[SyncState.STARTED],
        synced=states[SyncState.SYNCED],
        failed=states[SyncState.FAILED],
        references=sum(group.count for group in ours),
        references_synced=sum(group.count for group in ours if group.state == SyncState.SYNCED),
        references_failed=sum(group.count for group in tags if group.state == SyncState.FAILED),
        drift=sum(group.count for group in groups if group.drift),
        unread_events=event_log.unread(_position(cursor)) if cursor else 0,
        last_event_id=newest.id if newest else 0,
        last_event_at=newest.occurred_at if newest else None,
        cursor_last_event_id=cursor.position if cursor else 0,
        cursor_last_event_at=cursor.event_at if cursor else None,
        oldest_pending_at=oldest,
        oldest_pending_seconds=max(0.0, (instant - oldest).total_seconds()) if oldest else 0.0,
        last_synced_at=Registry.select(fn.MAX(Registry.last_synced_at)).where(Registry.site == site).scalar(),
        first_failure=first.last_sync_failure if first else None,
        reconcile_reason=site.reconcile_reason,
        remote=site.remote,
        seen_at=cursor.updated_at if cursor and site.remote else None,
        follower=_follower(site, instant),
        out_of_scope=sum(group.count for group in repositories if not group.in_scope),
        references_out_of_scope=sum(group.count for group in groups if group.is_tag and not group.in_scope),
        backfill=None if site.remote else progress.backfill(site, instant),
        repositories=tuple(site.repositories.splitlines()),
        tags=tuple(site.tags.splitlines()),
        capacity=site.capacity,
        granted_repositories=tuple(site.granted_repositories.splitlines()),
        granted_tags=tuple(site.granted_tags.splitlines()),
        granted_capacity=site.granted_capacity,
        deletions_held=_deletions_held(site) if fails else 0,
        **_verification(site, scoped),
    )


def _reported(counted: SiteStatus, last: Reported | None) -> SiteStatus:
    """A remote site with the numbers that it told."""
    if last is None or not counted.remote:
        return counted
    said = last.report
    waits = timedelta(seconds=min(said.oldest_pending_seconds, LONGEST))
    return replace(
        counted,
        report=last,
        oldest_pending_at=last.received_at - waits if waits else None,
        oldest_pending_seconds=waits.total_seconds(),
        **{name: getattr(said, name) for name in COUNTED},
    )


def _verification(site: Site, scoped: Sequence[Repositories]) -> dict[str, Any]:
    states = Counter[int]()
    for group in scoped:
        states[group.verification_state] += group.count
    wanted = [group for group in scoped if group.verification_state != VerificationState.DISABLED]
    failed = Registry.select().where(
        (Registry.site == site) & (Registry.verification_state == VerificationState.FAILED) & Registry.in_scope
    )
    found = states[VerificationState.FAILED] > 0
    first = failed.order_by(Registry.verification_retry_at, Registry.id).first() if found else None
    return {
        "verification_total": sum(group.count for group in wanted),
        "verified": states[VerificationState.SUCCEEDED],
        "verification_failed": states[VerificationState.FAILED],
        "first_verification_failure": first.verification_failure if first else None,
        "checksummed": sum(group.count for group in wanted if group.checksummed),
        "checksum_failed": sum(group.count for group in wanted if group.untold),
    }


def _deletions_held(site: Site) -> int:
    ours = Registry.select(1).where((Registry.id == Reference.registry) & (Registry.site == site))
    return int(Reference.select().where(HELD & fn.EXISTS(ours)).count())


def _follower(site: Site, instant: datetime) -> FollowerStatus | None:
    row: Follower | None = Follower.get_or_none(Follower.site == site)
    if row is None:
        return None
    return FollowerStatus(
        behind=max(0, row.source_last_event_id - row.last_event_id),
        last_event_id=row.last_event_id,
        heard_at=row.heard_at,
        failure=row.failure,
        failing_seconds=max(0.0, (instant - row.failing_since).total_seconds()) if row.failing_since else 0.0,
        reset_at=row.reset_at,
        reset_reason=row.reset_reason,
        reported_at=row.reported_at,
        report_failure=row.report_failure,
    )


def _position(cursor: Cursor) -> Position:
    return Position(cursor.position, {int(gap): xmax for gap, xmax in cursor.gaps.items()})
