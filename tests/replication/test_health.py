from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.replication.health import Level, judge
from app.replication.site_reports import STALE, STANDBY, Reported
from app.replication.status import SiteStatus, Status
from tests.support.site_report import REPORT

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)

WELL = SiteStatus(
    name="europe",
    url="http://secondary.example.com",
    enabled=True,
    total=10,
    pending=0,
    started=0,
    synced=10,
    failed=0,
    references=30,
    references_synced=30,
    references_failed=0,
    drift=0,
    unread_events=0,
    last_event_id=7,
    last_event_at=NOW - timedelta(hours=1),
    cursor_last_event_id=7,
    cursor_last_event_at=NOW - timedelta(hours=1),
    oldest_pending_at=None,
    oldest_pending_seconds=0.0,
    last_synced_at=NOW - timedelta(hours=1),
    first_failure=None,
    out_of_scope=0,
    references_out_of_scope=0,
    verification_total=0,
    verified=0,
    verification_failed=0,
    checksummed=0,
    checksum_failed=0,
    first_verification_failure=None,
    backfill=None,
    reconcile_reason=None,
)

WHOLE = Status(
    at=NOW,
    repositories=10,
    events=7,
    last_event_id=7,
    last_event_at=None,
    quarantined=0,
    scheduler_seconds=1.0,
    sites=(WELL,),
)


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({}, Level.HEALTHY, "In sync"),
        ({"total": 0, "synced": 0}, Level.HEALTHY, "Ready"),
        ({"pending": 1, "oldest_pending_seconds": 5}, Level.HEALTHY, "Copying"),
        ({"started": 1, "oldest_pending_seconds": 300}, Level.HEALTHY, "Copying"),
        ({"started": 1, "oldest_pending_seconds": 900}, Level.WARNING, "Behind"),
        ({"pending": 1, "oldest_pending_seconds": 90}, Level.CRITICAL, "Nothing is being copied"),
        ({"failed": 1}, Level.WARNING, "1 repository fails"),
        ({"failed": 2000, "oldest_pending_seconds": 9000}, Level.WARNING, "2,000 repositories fail"),
        ({"unread_events": 3}, Level.CRITICAL, "Events are not being read"),
        ({"unread_events": 3, "last_event_at": NOW}, Level.HEALTHY, "Copying"),
        ({"enabled": False, "failed": 1}, Level.PAUSED, "Paused"),
    ],
)
def test_a_site_is_judged_by_the_gravest(changes: dict[str, Any], level: Level, words: str) -> None:
    health = judge(replace(WELL, **changes), WHOLE, NOW, replication_enabled=True)
    assert (health.level, health.headline) == (level, words)
    # Whoever is alarmed is told what to do.
    assert health.advice or level is Level.HEALTHY
    assert health.healthy == (level is not Level.CRITICAL)


@pytest.mark.parametrize("silent", [None, 61.0])
def test_nothing_is_well_without_a_scheduler(silent: float | None) -> None:
    health = judge(WELL, replace(WHOLE, scheduler_seconds=silent), NOW, replication_enabled=True)
    assert health.level is Level.CRITICAL
    assert "scheduler" in health.headline.lower()


def test_what_somebody_switched_off_is_no_alarm() -> None:
    health = judge(WELL, replace(WHOLE, scheduler_seconds=None), NOW, replication_enabled=False)
    assert health.level is Level.PAUSED
    assert "GEO_REGISTRY_REPLICATION_ENABLED" in health.advice


# --- sites with deployments of their own ------------------------------------------------------------------------------

THERE = replace(WELL, remote=True, seen_at=NOW)


def reported(age: float, **changes: Any) -> Reported:
    return Reported(NOW - timedelta(seconds=age), age, replace(REPORT, **changes))


def test_a_remote_site_is_as_it_says_while_it_says_so() -> None:
    def told(site: SiteStatus) -> tuple[Level, str]:
        health = judge(site, WHOLE, NOW, replication_enabled=True)
        assert health.advice or health.level is Level.HEALTHY
        return health.level, health.headline

    fails = {"level": Level.WARNING, "headline": "2 repositories fail", "advice": "They are tried again."}
    assert told(replace(THERE, report=reported(30))) == (Level.HEALTHY, "In sync")
    assert told(replace(THERE, report=reported(30, **fails))) == (Level.WARNING, "2 repositories fail")

    # Until it falls silent, or has never said anything
    old = (Level.CRITICAL, "Its last status report is 6 min old")
    assert told(replace(THERE, report=reported(STALE))) == (Level.HEALTHY, "In sync")
    assert told(replace(THERE, report=reported(STALE + 60))) == old
    assert told(THERE) == (Level.WARNING, "It has never reported its status")

    # And that it asks for no events is graver, unless it reads them on a standby
    away = replace(THERE, seen_at=None, report=reported(30))
    assert told(away) == (Level.CRITICAL, "Its deployment does not ask for events")
    assert told(replace(away, report=reported(30, follows=STANDBY))) == (Level.HEALTHY, "In sync")
    assert told(replace(away, enabled=False)) == (Level.PAUSED, "Paused")
