"""Capacity: so many repositories of a site at once, however many ask."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Site
from app.replication import closing, marking
from app.replication.claim import Claim
from tests.support.deployment import Deployment
from tests.support.sessions import at_once

pytestmark = pytest.mark.timeout(60)


def waiting(state: Deployment, number: int, capacity: int | None) -> None:
    """So many repositories that a backfill has found."""
    for each in range(number):
        state.event("push", f"team/app-{each}", "v1")
    state.mark()
    with connection():
        Registry.update(priority=marking.BACKFILL).execute()
        Site.update(capacity=capacity).where(Site.id == state.site.id).execute()


def taken(state: Deployment, count: int) -> list[Claim]:
    found = [state.take() for _ in range(count)]
    return [claim for claim in found if claim is not None]


def test_without_one_everything_is_taken(state: Deployment) -> None:
    waiting(state, 4, None)
    assert len(taken(state, 4)) == 4


def test_one_place_is_left_to_what_was_just_pushed(state: Deployment) -> None:
    # Given a site with room for three, and a backfill
    waiting(state, 5, 3)

    # When, then the backfill gets two
    assert len(taken(state, 5)) == 2
    assert state.due() == 0

    # And a push the third
    state.event("push", "team/fresh", "v1")
    state.mark()
    assert state.due() == 1
    (fresh,) = taken(state, 2)
    assert fresh.path == "team/fresh"

    # And another waits until one is done
    state.event("push", "team/fresher", "v1")
    state.mark()
    assert taken(state, 1) == []
    closing.release(fresh)
    assert len(taken(state, 2)) == 1


def test_a_single_place_is_everybodys(state: Deployment) -> None:
    waiting(state, 2, 1)
    assert len(taken(state, 2)) == 1


def test_what_died_takes_no_place(state: Deployment) -> None:
    waiting(state, 2, 1)
    assert len(taken(state, 1)) == 1
    with connection():
        Registry.update(lease_expires_at=now() - timedelta(seconds=1)).where(Registry.lease_token == 1).execute()
    assert len(taken(state, 2)) == 1


def test_who_asks_by_hand_does_not_count(state: Deployment) -> None:
    waiting(state, 2, 1)
    (first,) = taken(state, 1)
    other = next(row for row in (state.row("team/app-0"), state.row("team/app-1")) if row.id != first.registry_id)
    assert state.take_row(other.id) is not None


def test_two_who_ask_at_once_do_not_both_find_room(state: Deployment) -> None:
    waiting(state, 8, 2)
    with connection():
        Registry.update(priority=marking.FRESH).execute()
    found = at_once(6, lambda _: state.take())
    assert sum(claim is not None for claim in found) == 2
