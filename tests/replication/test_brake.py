"""The brake: one limit for a site, however many workers delete on it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, Site, SyncAttempt
from app.replication import brake
from app.replication.brake import DeletionHeld, DeletionUnsupported
from app.replication.claim import Claim, LeaseLost
from tests.support.deployment import Deployment
from tests.support.sessions import at_once

Deleted = Callable[[timedelta, int], None]


@pytest.fixture
def claim(state: Deployment) -> Claim:
    state.event("push", "team/app", "v1")
    state.mark()
    claim = state.take()
    assert claim is not None
    return claim


@pytest.fixture
def deleted(claim: Claim) -> Deleted:
    """Write down that some were deleted so long ago."""

    def write(ago: timedelta, number: int) -> None:
        at = datetime.now(UTC) - ago
        row = {"registry": claim.registry_id, "reference": "x", "action": "delete", "trigger": "event"}
        row |= {"outcome": "synced", "worker": "w", "started_at": at, "finished_at": at}
        with connection():
            SyncAttempt.insert_many([row] * number).execute()

    return write


def references(claim: Claim, number: int) -> list[Reference]:
    with connection():
        rows = [
            {"registry": claim.registry_id, "name": f"t{n}", "is_tag": True, "observed_digest": "sha256:x"}
            | {"created_at": datetime.now(UTC)}
            for n in range(number)
        ]
        Reference.insert_many(rows).execute()
        return list(Reference.select().where(Reference.name.startswith("t")).order_by(Reference.id))


def attempt(claim: Claim, reference: Reference) -> bool:
    try:
        with brake.reserved(claim, reference):
            return True
    except DeletionHeld:
        return False


def test_the_brake_lets_go_with_time_and_grows_with_the_site(claim: Claim, deleted: Deleted) -> None:
    # Given one deletion less within the hour than go unasked, and many before it
    (one,) = references(claim, 1)
    deleted(timedelta(minutes=59), brake.FLOOR - 1)
    deleted(timedelta(minutes=61), 500)
    assert attempt(claim, one)

    # When there are as many
    deleted(timedelta(minutes=1), 1)
    assert not attempt(claim, one)

    # When the site is so large that they are less than a twentieth of it, then they go until they are
    with connection():
        Reference.delete().where(Reference.name == "t0").execute()
    many = references(claim, 420)
    assert attempt(claim, many[0])
    deleted(timedelta(minutes=1), 3)
    assert not attempt(claim, many[1])


def test_workers_beside_each_other_keep_within_one_limit(claim: Claim) -> None:
    # Given more tags to delete than go unasked, and a worker for each
    waiting = references(claim, brake.FLOOR + 6)
    held = threading.Event()

    def delete(place: int) -> bool:
        try:
            with brake.reserved(claim, waiting[place]):
                # Nothing is recorded yet: what the others see is the reservation alone.
                held.wait(0 if place else 0.2)
                return True
        except DeletionHeld:
            return False

    # When they all begin at once, then so many go, and not one more
    assert sum(at_once(len(waiting), delete)) == brake.FLOOR


def test_a_deletion_that_is_tried_again_counts_once(claim: Claim) -> None:
    waiting = references(claim, brake.FLOOR + 1)
    for _ in range(5):
        assert attempt(claim, waiting[0])
    assert [attempt(claim, each) for each in waiting[1:]] == [True] * (brake.FLOOR - 1) + [False]
    assert attempt(claim, waiting[0])


def test_the_room_is_what_still_goes_unasked(claim: Claim, deleted: Deleted) -> None:
    # Given a deletion of the last hour, one that is older, and one that is begun
    waiting = references(claim, brake.FLOOR + 6)
    deleted(timedelta(minutes=59), 1)
    deleted(timedelta(minutes=61), 100)
    assert attempt(claim, waiting[0])

    # Then as many go as there is room for
    room = brake.room(claim.site)
    assert room == brake.FLOOR - 2
    assert [attempt(claim, each) for each in waiting[1:]].count(True) == room
    assert brake.room(claim.site) == 0


@pytest.mark.parametrize("error", [DeletionUnsupported("no"), LeaseLost("over")])
def test_what_deleted_nothing_does_not_count(claim: Claim, error: Exception) -> None:
    # Given a registry that does not delete
    waiting = references(claim, brake.FLOOR + 2)
    for each in waiting:
        # Then every one of its tags says so, not that the brake is on
        with pytest.raises(type(error)), brake.reserved(claim, each):
            raise error

    # But what may have been done counts, though nobody knows
    for each in waiting[: brake.FLOOR]:
        with pytest.raises(TimeoutError), brake.reserved(claim, each):
            raise TimeoutError
    assert not attempt(claim, waiting[-1])


def test_a_site_that_is_held_deletes_nothing_before_it_is_released(state: Deployment, claim: Claim) -> None:
    # Given
    (one,) = references(claim, 1)
    with connection():
        Site.update(deletions_held_because="the moon is full").where(Site.id == claim.site.id).execute()

    # When, then it says why and what to do
    expected = f"the moon is full.*release-deletions {claim.site.name}"
    with pytest.raises(DeletionHeld, match=expected), brake.reserved(claim, one):
        pytest.fail("it was let through")

    # And a person lets it pass
    brake.release(state.fresh_site())
    assert attempt(claim, one)
    with connection():
        assert Registry.select().count() == 1
