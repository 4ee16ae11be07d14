from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.database import connection, transaction
from app.models import ContainerRepository, Site, SyncAttempt
from app.models import ContainerRepositoryRegistry as Registry
from app.replication.throughput import HOURS, Day, Memory, last_day
from tests.support.face import Face

NOW = datetime(2026, 7, 1, 12, 30, tzinfo=UTC)


def tracked(site: Site) -> Registry:
    with transaction():
        repository = ContainerRepository.get_or_none(path="team/app")
        repository = repository or ContainerRepository.create(path="team/app", created_at=NOW)
        row: Registry = Registry.create(site=site, container_repository=repository, created_at=NOW)
        return row


def attempt(row: Registry, *, ago: timedelta, lag: float | None = None, size: int = 0, failed: bool = False) -> None:
    with transaction():
        SyncAttempt.create(
            registry=row,
            reference="v1",
            action="copy",
            trigger="event",
            outcome="failed" if failed else "synced",
            bytes_copied=size,
            lag_seconds=lag,
            worker="machine:1",
            started_at=NOW - ago,
            finished_at=NOW - ago,
        )


def counted(site: Site, most: int = 100) -> Day:
    with connection():
        return last_day([site.id], NOW, most)[site.id]


def test_each_hour_has_its_own(installation: Face) -> None:
    # Given attempts in this hour, in the one before it, and a day ago
    row = tracked(installation.site)
    attempt(row, ago=timedelta(minutes=1), lag=2.0, size=100)
    attempt(row, ago=timedelta(minutes=29), lag=4.0, size=10)
    attempt(row, ago=timedelta(minutes=31), lag=6.0, size=1)
    attempt(row, ago=timedelta(minutes=31), failed=True)
    attempt(row, ago=timedelta(hours=25), lag=9999.0, size=9999)
    # Then they are counted where they belong, and what is too old is not
    day = counted(installation.site)
    assert len(day.hours) == HOURS
    last, before = day.hours[-1], day.hours[-2]
    assert last.begins_at == datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert (last.synced, last.failed, last.bytes_copied, last.longest_lag) == (2, 0, 110, 4.0)
    assert (before.synced, before.failed, before.bytes_copied, before.typical_lag) == (1, 1, 1, 6.0)
    assert (day.synced, day.failed, day.bytes_copied, day.longest_lag) == (3, 1, 111, 6.0)
    # And the speed is that of the last minutes
    assert day.recent_bytes == 100
    assert day.speed == pytest.approx(100 / 600)
    assert not day.cut


def test_the_typical_lag_is_the_middle_one_whatever_has_none(installation: Face) -> None:
    row = tracked(installation.site)
    for lag in (1.0, 2.0, 3.0, 500.0, 1000.0):
        attempt(row, ago=timedelta(minutes=5), lag=lag)
    for _ in range(20):
        attempt(row, ago=timedelta(minutes=5))
    hour = counted(installation.site).hours[-1]
    assert (hour.synced, hour.typical_lag, hour.longest_lag) == (25, 3.0, 1000.0)


def test_sites_are_told_apart_and_one_that_did_nothing_has_an_empty_day(installation: Face) -> None:
    created = installation.site.created_at
    with transaction():
        asia = Site.create(name="asia", url="http://asia.example.com", created_at=created, updated_at=created)
        idle = Site.create(name="idle", url="http://idle.example.com", created_at=created, updated_at=created)
    attempt(tracked(installation.site), ago=timedelta(minutes=1), size=1)
    attempt(tracked(asia), ago=timedelta(minutes=1), size=2)
    with connection():
        days = last_day([installation.site.id, asia.id, idle.id], NOW)
    assert [day.bytes_copied for day in days.values()] == [1, 2, 0]
    assert days[idle.id].longest_lag is None


def test_of_too_many_only_the_newest_are_counted_and_that_is_said(installation: Face) -> None:
    row = tracked(installation.site)
    for minutes in range(10):
        attempt(row, ago=timedelta(minutes=minutes), size=10**minutes)
    day = counted(installation.site, most=3)
    assert day.cut
    assert (day.synced, day.bytes_copied) == (3, 111)


def test_a_count_is_remembered_for_a_while(installation: Face) -> None:
    # Given a count
    row = tracked(installation.site)
    time = 0.0
    memory = Memory(kept_for=30, clock=lambda: time)
    attempt(row, ago=timedelta(minutes=1))

    def seen(*sites: int) -> int:
        with connection():
            return memory.last_day(sites or [installation.site.id], NOW)[installation.site.id].synced

    assert seen() == 1
    # When more is done, then that shows after a while, or to who asks for other sites
    attempt(row, ago=timedelta(minutes=1))
    time = 29.0
    assert seen() == 1
    time = 31.0
    assert seen() == 2
    attempt(row, ago=timedelta(minutes=1))
    assert seen(installation.site.id, 999) == 3
