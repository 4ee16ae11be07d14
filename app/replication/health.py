"""Health: how a secondary is, judged from what the rows add up to, in words that say what to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.replication.level import Level as Level
from app.replication.site_reports import STANDBY
from app.replication.status import SiteStatus, Status

#: Seconds without a sign of the scheduler. Its lease lasts 45; after that another would have taken over.
SCHEDULER_SILENT = 60.0

#: Seconds that work may wait while nobody is at it, or events stay unread. Usually it is less than one.
STUCK = 60.0

#: Seconds without a request for events of a site that follows by itself: it asks three times a minute.
AWAY = 180.0

#: Seconds that the oldest waiting tag may be behind before a person should know. A large image takes its time.
BEHIND = 600.0


@dataclass(frozen=True, slots=True)
class Health:
    """A level, a headline, and what it means or what to do; both sentences are for people."""

    level: Level
    headline: str
    advice: str = ""

    @property
    def healthy(self) -> bool:
        """GitLab's flag: whether replication itself works. Single repositories may fail all the same."""
        return self.level is not Level.CRITICAL


def judge(site: SiteStatus, whole: Status, instant: datetime, *, replication_enabled: bool) -> Health:
    """The gravest thing to say of a site at `instant`, a time by the database's clock."""
    if site.remote:
        return _remote(site, instant)
    return (
        _switched_off(site, replication_enabled=replication_enabled)
        or _halted(site, whole, instant)
        or _troubled(site)
        or _well(site)
    )


def _remote(site: SiteStatus, instant: datetime) -> Health:
    """A site that follows from its own deployment: whether that reads the log, and what it last said of itself."""
    if not site.enabled:
        return Health(
            Level.PAUSED, "Paused", f"It is told of no event. `geo sites resume {site.name}` lets it take up the rest."
        )
    told = site.report
    fresh = told is not None and not told.stale
    by_standby = told is not None and fresh and told.report.follows == STANDBY
    if not by_standby and (site.seen_at is None or (instant - site.seen_at).total_seconds() > AWAY):
        return Health(
            Level.CRITICAL,
            "Its deployment does not ask for events",
            f"{_number(site.unread_events, 'event waits', 'events wait')} for it. Look at its own page why.",
        )
    if told is None:
        return Health(
            Level.WARNING,
            "It has never reported its status",
            "It follows, but does not say how far it is: its deployment may be of an older version, or its scheduler"
            " only begins. Look at its own page.",
        )
    if not fresh:
        return Health(
            Level.CRITICAL,
            f"Its last status report is {told.age_seconds / 60:,.0f} min old",
            "It should report every minute; what is shown of it is as old. Look at its own page, and at its"
            " scheduler's log.",
        )
    return Health(told.report.level, told.report.headline or told.report.level.value.capitalize(), told.report.advice)


def _switched_off(site: SiteStatus, *, replication_enabled: bool) -> Health | None:
    if not replication_enabled:
        return Health(
            Level.PAUSED,
            "Replication is switched off",
            "GEO_REGISTRY_REPLICATION_ENABLED is false. Events are kept; set it to true and restart to copy again.",
        )
    if not site.enabled:
        return Health(
            Level.PAUSED, "Paused", f"Nothing is copied. `geo sites resume {site.name}` takes up what has gathered."
        )
    return None


def _halted(site: SiteStatus, whole: Status, instant: datetime) -> Health | None:
    if whole.scheduler_seconds is None:
        return Health(
            Level.CRITICAL, "No scheduler has run yet", "Start the scheduler process, or everything with `geo up`."
        )
    if whole.scheduler_seconds > SCHEDULER_SILENT:
        return Health(
            Level.CRITICAL,
            "The scheduler is silent",
            "Retries and lost wake-ups wait for it. Look whether the scheduler process runs and reaches the database.",
        )
    follower = site.follower
    if follower is not None and follower.failure is not None and follower.failing_seconds > STUCK:
        return Health(Level.CRITICAL, "The primary's event log cannot be read", f"{follower.failure}.")
    unread_for = (instant - site.last_event_at).total_seconds() if site.last_event_at else 0.0
    if site.unread_events and unread_for > STUCK:
        return Health(
            Level.CRITICAL,
            "Events are not being read",
            f"{_number(site.unread_events, 'event waits', 'events wait')} in the log. Look whether workers run.",
        )
    if site.pending and not site.started and not site.failed and site.oldest_pending_seconds > STUCK:
        return Health(
            Level.CRITICAL,
            "Nothing is being copied",
            f"{_number(site.pending, 'repository waits', 'repositories wait')} and no worker is at it."
            " Look whether workers run and reach the queue.",
        )
    return None


def _troubled(site: SiteStatus) -> Health | None:
    if site.failed:
        return Health(
            Level.WARNING,
            f"{_number(site.failed, 'repository fails', 'repositories fail')}",
            "The others go on. Failures are tried again by themselves, at growing intervals.",
        )
    if site.verification_failed:
        return Health(
            Level.WARNING,
            _number(site.verification_failed, "repository is not whole", "repositories are not whole"),
            "Verification found something missing, or could not tell. What is missing is copied again by itself.",
        )
    if site.oldest_pending_seconds > BEHIND:
        return Health(Level.WARNING, "Behind", "It copies, but some tags have been waiting for long.")
    return None


def _well(site: SiteStatus) -> Health:
    if site.pending or site.started or site.unread_events:
        return Health(Level.HEALTHY, "Copying")
    if not site.total:
        return Health(Level.HEALTHY, "Ready", "Nothing to replicate yet.")
    return Health(Level.HEALTHY, "In sync")


def _number(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
