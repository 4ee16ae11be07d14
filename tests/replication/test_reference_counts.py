"""Counts of references: whatever is written to them, however it is written, the counts say the same as counting."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from peewee import fn

from app.database import connection, lock, transaction
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, ReferenceCount, Site, SyncState
from app.replication import reference_counts
from app.replication.reference_counts import Group
from tests.support.deployment import Deployment, event
from tests.support.sessions import at_once, undone

pytestmark = pytest.mark.timeout(90)

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def counted(site: Site) -> Counter[Group]:
    """By counting."""
    rows = Reference.select().join(Registry).where(Registry.site == site)
    return Counter(Group(row.is_tag, row.in_scope, row.state, row.drift_since is not None, 0) for row in rows)


def kept(site: Site) -> Counter[Group]:
    """By the counts."""
    return Counter({Group(g.is_tag, g.in_scope, g.state, g.drift, 0): g.count for g in reference_counts.of(site)})


def rows_for(deployment: Deployment, number: int, repository: str = "team/app") -> Registry:
    deployment.store(
        *(event(tag=f"v{n}", repository=repository, at=NOON + timedelta(seconds=n)) for n in range(number))
    )
    deployment.mark()
    return deployment.row(repository)


def test_whatever_is_written_the_counts_follow(state: Deployment) -> None:
    # Given repositories with tags
    for repository in ("team/a", "team/b", "team/c"):
        rows_for(state, 20, repository)
    chance = random.Random(7)
    changes: list[dict[str, Any]] = [
        {"state": SyncState.SYNCED},
        {"state": SyncState.FAILED},
        {"state": SyncState.PENDING},
        {"in_scope": False},
        {"in_scope": True},
        {"drift_since": NOON},
        {"drift_since": None},
        {"retry_count": 3},
    ]
    with connection():
        ids = [row.id for row in Reference.select(Reference.id)]
        for _ in range(60):
            # When some of them are changed in one statement, or are deleted and made again
            some = chance.sample(ids, chance.randint(1, 25))
            Reference.update(**chance.choice(changes)).where(Reference.id.in_(some)).execute()
            if chance.random() < 0.3:
                Reference.delete().where(Reference.id == some[0]).execute()
            if chance.random() < 0.3:
                new = {"registry": state.row("team/a"), "is_tag": chance.random() < 0.5, "created_at": NOON}
                names = [f"new-{chance.random()}" for _ in range(3)]
                Reference.insert_many([{**new, "name": name} for name in names]).execute()

            # Then the counts are what counting gives
            assert kept(state.site) == counted(state.site)


def test_what_is_undone_is_not_counted(state: Deployment) -> None:
    rows_for(state, 3)
    with undone():
        Reference.update(state=SyncState.SYNCED).execute()
        Reference.delete().where(Reference.name == "v1").execute()
    with connection():
        assert kept(state.site) == counted(state.site) == {Group(True, True, SyncState.PENDING, False, 0): 3}


def test_references_that_go_with_their_repository_are_taken_off(state: Deployment) -> None:
    # Given two repositories
    rows_for(state, 5, "team/a")
    other = rows_for(state, 7, "team/b")

    # When the row of one of them is deleted, and when the site itself is
    with connection():
        Registry.delete().where(Registry.id == other.id).execute()
        assert sum(kept(state.site).values()) == sum(counted(state.site).values()) == 5
        Site.delete().where(Site.id == state.site.id).execute()

        # Then nothing is left of them
        assert Reference.select().count() == 0
        assert kept(state.site) == Counter()


def test_the_counts_stay_few(state: Deployment) -> None:
    # Given a tag that changes its state again and again
    rows_for(state, 1)
    with connection():
        for number in range(700):
            Reference.update(state=SyncState.SYNCED if number % 2 else SyncState.PENDING).execute()

        # Then no more rows are kept of it than are summed up at a time
        assert ReferenceCount.select().count() < 600
        assert kept(state.site) == counted(state.site)


def test_many_at_once_count_right_and_wait_for_nobody(state: Deployment) -> None:
    # Given repositories that workers write to at once, each of several in an order of its own
    rows = [rows_for(state, 4, f"team/app{number}") for number in range(4)]

    def work(place: int) -> None:
        for number in range(60):
            order = rows if (place + number) % 2 else rows[::-1]
            for row in (order[place], order[(place + 1) % 4]):
                with transaction():
                    lock(Registry, [row.id])
                    new = SyncState.SYNCED if number % 3 else SyncState.FAILED
                    Reference.update(state=new).where(Reference.registry == row).execute()

    at_once(4, work)
    with connection():
        assert kept(state.site) == counted(state.site)
        assert (Reference.select(fn.COUNT(Reference.id)).scalar()) == 16


def test_the_oldest_that_waits(state: Deployment) -> None:
    # Given tags that wait, of which the oldest is none of those that count
    row = rows_for(state, 6)
    with connection():
        assert reference_counts.oldest_waiting(state.site) == NOON
        narrowed: dict[str, dict[str, Any]] = {
            "v0": {"is_tag": False},
            "v1": {"in_scope": False},
            "v2": {"state": SyncState.SYNCED},
            "v3": {"pending_since": None},
        }
        for name, change in narrowed.items():
            Reference.update(**change).where((Reference.registry == row) & (Reference.name == name)).execute()

        # Then it is the oldest of those that do, and of this site
        assert reference_counts.oldest_waiting(state.site) == NOON + timedelta(seconds=4)
        assert reference_counts.oldest_waiting(Site.get(Site.primary)) is None
