"""A deployment's rows as a bad week leaves them: failures, waiting work, long and hostile names, drift, quarantine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.database import transaction
from app.models import (
    ContainerRepository,
    Cursor,
    Event,
    Lease,
    QuarantinedEvent,
    Reference,
    Site,
    SiteReport,
    SyncAttempt,
    SyncState,
)
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import remote_sites, site_reports
from app.replication.remote_sites import Change, Declaration
from app.replication.site_reports import Report
from app.replication.status import SCHEDULER

LONG = "platform/" + "a-team-with-a-very-long-name/" * 5 + "service-that-nobody-dares-to-rename"

#: What a registry, or whoever pushes to it, may have us show.
HOSTILE = '<script>alert("x")</script>\u202egnp.exe\x07'

FAILURE = (
    "release-2024: the secondary http://127.0.0.1:5002 answered 401 Unauthorized to PUT manifest (DENIED: requested"
    " access to the resource is denied); check that issuer, service and key pair are the ones the registry trusts"
)


@dataclass(frozen=True, slots=True)
class Seeded:
    """Tracking rows that tests look for."""

    synced: Registry
    failed: Registry
    started: Registry
    hostile: Registry


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def seed(site: Site, *, synced: int = 40) -> Seeded:
    """Fill the tables for `site` as of now."""
    with transaction():
        return _Seed(site, datetime.now(UTC)).all(synced)


class _Seed:
    def __init__(self, site: Site, instant: datetime) -> None:
        self.site = site
        self.instant = instant

    def ago(self, **span: float) -> datetime:
        return self.instant - timedelta(**span)

    def all(self, synced: int) -> Seeded:
        for number in range(synced):
            self.synced(f"team-{number % 7}/service-{number:03}", 3)
        seeded = Seeded(
            synced=self.synced("library/nginx", 30),
            failed=self.failed("team/app"),
            started=self.started(LONG),
            hostile=self.hostile(),
        )
        self.row("team/waiting", SyncState.PENDING, pending_since=self.ago(seconds=42), full_sync=True)
        self.quarantine()
        newest = Event.select(Event.id).order_by(Event.id.desc()).scalar()
        Cursor.update(position=newest - 1, event_at=self.ago(seconds=20)).where(Cursor.site == self.site).execute()
        Lease.create(name=SCHEDULER, owner="machine:1", token=1, expires_at=self.instant + timedelta(seconds=40))
        return seeded

    def row(self, path: str, state: SyncState, **values: object) -> Registry:
        repository = ContainerRepository.create(path=path, created_at=self.ago(days=9))
        return Registry.create(
            site=self.site, container_repository=repository, state=state, created_at=self.ago(days=9), **values
        )

    def synced(self, path: str, tags: int) -> Registry:
        row = self.row(path, SyncState.SYNCED, last_synced_at=self.ago(minutes=12))
        for number in range(tags):
            tag = f"1.{number}"
            self.reference(row, tag, SyncState.SYNCED, observed_digest=digest(tag), synced_at=self.ago(minutes=12))
            self.attempt(row, tag, bytes_copied=31_457_280, lag_seconds=2.4)
        self.event(row, "push", tag="1.0", digest=digest("1.0"))
        return row

    def failed(self, path: str) -> Registry:
        row = self.row(
            path,
            SyncState.FAILED,
            last_sync_failure=f"{FAILURE} (and 1 more tags)",
            retry_count=4,
            retry_at=self.instant + timedelta(minutes=7),
            last_synced_at=self.ago(days=2),
            pending_since=self.ago(minutes=25),
        )
        broken = {"failure": FAILURE, "failure_reason": "unauthorized", "retry_count": 4}
        broken |= {"retry_at": self.instant + timedelta(minutes=7), "pending_since": self.ago(minutes=25)}
        self.reference(row, "release-2024", SyncState.FAILED, observed_digest=digest("old"), **broken)
        self.reference(row, "latest", SyncState.FAILED, **broken)
        self.reference(row, "stable", SyncState.SYNCED, observed_digest=digest("stable"), synced_at=self.ago(days=2))
        self.reference(
            row, "theirs", SyncState.SYNCED, drift_digest=digest("somebody else's"), drift_since=self.ago(days=1)
        )
        self.reference(row, "gone", SyncState.PENDING, desired_digest=None, delete_witness="event")
        bare = digest("bare")
        self.reference(row, bare, SyncState.SYNCED, desired_digest=bare, observed_digest=bare, is_tag=False)
        failure = {"outcome": "failed", "reason": "unauthorized", "message": FAILURE, "new_digest": digest("latest")}
        for number in range(4):
            self.attempt(row, "latest", trigger="retry" if number else "event", **failure)
        self.event(row, "push", tag="latest", digest=digest("latest"), actor="ci-bot")
        return row

    def started(self, path: str) -> Registry:
        row = self.row(
            path,
            SyncState.STARTED,
            pending_since=self.ago(seconds=8),
            lease_owner="machine:7",
            lease_expires_at=self.instant + timedelta(seconds=40),
        )
        self.reference(row, "t" * 128, SyncState.PENDING, pending_since=self.ago(seconds=8))
        self.event(row, "push", tag="t" * 128, digest=digest("t"))
        return row

    def hostile(self) -> Registry:
        row = self.row("hostile/strings", SyncState.FAILED, last_sync_failure=HOSTILE, retry_count=1)
        self.reference(row, "bad", SyncState.FAILED, failure=HOSTILE, failure_reason="rejected", media_type=HOSTILE)
        self.attempt(row, "bad", outcome="failed", message=HOSTILE, reason="rejected")
        self.event(row, "delete", actor=HOSTILE, user_agent=HOSTILE)
        return row

    def reference(self, row: Registry, name: str, state: SyncState, **values: object) -> Reference:
        values = {"desired_digest": digest(name), "is_tag": True, **values}
        return Reference.create(registry=row, name=name, state=state, created_at=self.ago(days=9), **values)

    def attempt(self, row: Registry, name: str, **values: object) -> None:
        values = {"action": "copy", "trigger": "event", "outcome": "synced", "new_digest": digest(name), **values}
        started, finished = self.ago(minutes=12, seconds=3), self.ago(minutes=12)
        SyncAttempt.create(
            registry=row, reference=name, worker="machine:7", started_at=started, finished_at=finished, **values
        )

    def event(self, row: Registry, action: str, **values: object) -> None:
        Event.create(
            event_key=f"{row.id}-{action}",
            container_repository=row.container_repository_id,
            action=action,
            occurred_at=self.ago(seconds=20),
            created_at=self.ago(seconds=19),
            **values,
        )

    def quarantine(self) -> None:
        for number, excerpt in enumerate((HOSTILE, '{"events": [{"id": ' + "9" * 400)):
            QuarantinedEvent.create(
                dialect="distribution",
                reason="invalid_json",
                content_type="application/json",
                remote_address="192.0.2.7",
                size=len(excerpt),
                excerpt=excerpt,
                occurrences=1 + 11 * number,
                fingerprint=str(number),
                created_at=self.ago(days=1),
                last_seen_at=self.ago(hours=1),
            )


def busy_day(row: Registry, instant: datetime | None = None) -> None:
    """Attempts about one repository in every hour of the last day, some of them in vain, with lags of all lengths."""
    instant = instant or datetime.now(UTC)
    rows = []
    for hour in range(24):
        for number in range(1 + (hour * 7) % 23):
            failed = number % 9 == 8
            finished = instant - timedelta(hours=hour, seconds=number)
            rows.append(
                {
                    "registry": row,
                    "reference": f"1.{number}",
                    "action": "copy",
                    "trigger": "event",
                    "outcome": "failed" if failed else "synced",
                    "bytes_copied": 0 if failed else 1_000_000 * (number + 1),
                    "lag_seconds": None if failed else 0.4 * 1.5**number,
                    "worker": "machine:7",
                    "started_at": finished - timedelta(seconds=1),
                    "finished_at": finished,
                }
            )
    with transaction():
        SyncAttempt.insert_many(rows).execute()


def remote_site(name: str, *, reported: Report | None = None, minutes_ago: float = 0.2) -> Site:
    """A site with a deployment of its own that follows, and what it last said of itself."""
    remote_sites.apply([Change(None, Declaration(name, f"https://registry.{name}.example.com"))])
    instant = datetime.now(UTC)
    with transaction():
        site: Site = Site.get(Site.name == name)
        Cursor.update(updated_at=instant).where(Cursor.site == site).execute()
        if reported is not None:
            received = instant - timedelta(minutes=minutes_ago)
            SiteReport.create(site=site, document=site_reports.dump(reported), received_at=received)
    return site
