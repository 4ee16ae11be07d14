"""Counts of tracking rows: whatever is written to them, however it is written, the counts say the same as counting."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.database import connection, lock, now, transaction
from app.models import ContainerRepositoryRegistry as Registry
from app.models import RepositoryCount, Site, SyncState, VerificationState
from app.replication import event_log, marking, repository_counts
from app.replication.repository_counts import Group
from tests.support.deployment import Deployment
from tests.support.sessions import at_once, undone

pytestmark = pytest.mark.timeout(90)

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def counted(site: Site | None) -> Counter[Group]:
    """By counting."""
    rows = Registry.select() if site is None else Registry.select().where(Registry.site == site)
    return Counter(
        Group(
            row.in_scope,
            row.state,
            row.verification_state,
            row.verification_checksum is not None,
            (row.verification_failure_reason or "").startswith("primary_"),
            0,
        )
        for row in rows
    )


def kept(site: Site | None) -> Counter[Group]:
    """By the counts."""
    found: Counter[Group] = Counter()
    for group in repository_counts.of(site):
        kind = (group.in_scope, group.state, group.verification_state, group.checksummed, group.untold)
        found[Group(*kind, 0)] = group.count
    return found


def rows_for(state: Deployment, number: int) -> list[int]:
    """The ids of so many new tracking rows."""
    with transaction():
        ids = event_log.repository_ids([f"team/app{place}" for place in range(number)], now())
    return marking.mark_full(state.fresh_site(), list(ids.values()), priority=marking.BACKFILL)


CHANGES: list[dict[str, Any]] = [
    *({"state": each} for each in SyncState),
    *({"verification_state": each} for each in VerificationState),
    {"in_scope": False},
    {"in_scope": True},
    {"verification_checksum": "abc"},
    {"verification_checksum": None},
    {"verification_failure_reason": "primary_unreachable"},
    {"verification_failure_reason": "primary"},
    {"verification_failure_reason": None},
    {"generation": 3},
]


def test_whatever_is_written_the_counts_follow(state: Deployment) -> None:
    # Given tracking rows
    ids = rows_for(state, 40)
    chance = random.Random(7)
    with connection():
        assert kept(state.site) == counted(state.site) == kept(None)
        for _ in range(120):
            # When some of them are changed in one statement, or one is deleted
            some = chance.sample(ids, chance.randint(1, 25))
            Registry.update(**chance.choice(CHANGES)).where(Registry.id.in_(some)).execute()
            if chance.random() < 0.1:
                Registry.delete().where(Registry.id == some[0]).execute()

            # Then the counts are what counting gives
            assert kept(state.site) == counted(state.site)


def test_what_is_undone_is_not_counted(state: Deployment) -> None:
    rows_for(state, 3)
    with connection():
        before = kept(state.site)
    with undone():
        Registry.update(state=SyncState.SYNCED).execute()
        Registry.delete().where(Registry.id == Registry.select(Registry.id).limit(1)).execute()
    with connection():
        assert kept(state.site) == counted(state.site) == before


def test_each_site_is_counted_by_itself_and_gone_with_its_rows(state: Deployment) -> None:
    # Given the rows of two sites
    ids = rows_for(state, 5)
    with connection():
        other = Site.get(Site.primary)
        Registry.update(site=other).where(Registry.id.in_(ids[:2])).execute()
        assert [sum(kept(site).values()) for site in (state.site, other, None)] == [3, 2, 5]
        assert kept(other) == counted(other)

        # When one of them goes, then nothing is left of it
        Site.delete().where(Site.id == state.site.id).execute()
        assert [sum(kept(site).values()) for site in (state.site, other, None)] == [0, 2, 2]


def test_the_counts_stay_few(state: Deployment) -> None:
    # Given a row that changes its state again and again
    rows_for(state, 1)
    with connection():
        for number in range(700):
            Registry.update(state=SyncState.SYNCED if number % 2 else SyncState.PENDING).execute()

        # Then no more rows are kept of it than are summed up at a time
        assert RepositoryCount.select().count() < 600
        assert kept(state.site) == counted(state.site)


def test_what_counts_nothing_writes_nothing(state: Deployment) -> None:
    rows_for(state, 3)
    with connection():
        before = RepositoryCount.select().count()
        Registry.update(lease_expires_at=NOON, generation=7, state=Registry.state).execute()
        assert RepositoryCount.select().count() == before


def test_many_at_once_count_right_and_wait_for_nobody(state: Deployment) -> None:
    # Given rows that workers write to at once, each two of them in an order of its own
    ids = rows_for(state, 4)

    def work(place: int) -> None:
        for number in range(80):
            for registry_id in (ids[place], ids[(place + 1) % 4])[:: 1 if number % 2 else -1]:
                with transaction():
                    lock(Registry, [registry_id])
                    new = SyncState.SYNCED if number % 3 else SyncState.FAILED
                    Registry.update(state=new).where(Registry.id == registry_id).execute()

    at_once(4, work)
    with connection():
        assert kept(state.site) == counted(state.site)
        assert sum(kept(state.site).values()) == 4


def test_rows_that_wait_are_counted_while_others_are_claimed(state: Deployment) -> None:
    # Given claims and what becomes of them, by many at once
    rows_for(state, 20)

    def work(_: int) -> None:
        while (claim := state.take()) is not None:
            with connection():
                done = {"state": SyncState.SYNCED, "last_synced_at": NOON + timedelta(seconds=claim.registry_id)}
                Registry.update(**done).where(Registry.id == claim.registry_id).execute()

    at_once(4, work)
    with connection():
        assert kept(state.site) == counted(state.site) == {Group(True, SyncState.SYNCED, 0, False, False, 0): 20}
