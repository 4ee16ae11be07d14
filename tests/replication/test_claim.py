"""Claims: one holder at a time, however many ask, and never two who believe it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Site, SyncState
from app.replication import closing, event_log, lease, marking, outcome
from app.replication.claim import LeaseLost
from tests.replication.holding import ask, done, expire, taken
from tests.support.deployment import Deployment, event
from tests.support.sessions import at_once

pytestmark = pytest.mark.timeout(60)


# --- taking -----------------------------------------------------------------------------------------------------------


def test_a_claimed_row_is_nobody_elses(state: Deployment) -> None:
    # Given a row that is due
    row = ask(state)

    # When it is claimed
    claim = taken(state)

    # Then it is started, with a holder, and nobody gets it a second time
    assert (claim.registry_id, claim.path, claim.takeover) == (row.id, "team/app", False)
    row = state.row("team/app")
    assert (row.state, row.lease_owner, row.lease_token) == (SyncState.STARTED, lease.owner(), claim.token)
    assert state.take() is None
    assert state.take_row(row.id) is None
    assert state.due() == 0


def test_claimers_at_once_get_different_rows_and_all_of_them(state: Deployment) -> None:
    # Given thirty rows that are due
    state.store(*(event(tag="v1", repository=f"team/app{number}") for number in range(30)))
    state.mark()

    # When eight workers claim until nothing is left
    def work(_: int) -> list[int]:
        mine = []
        while (claim := state.take()) is not None:
            mine.append(claim.registry_id)
        return mine

    got = [registry_id for mine in at_once(8, work) for registry_id in mine]

    # Then each row was taken once. A worker that only met rows being taken may have stopped early, but not all did.
    assert max(Counter(got).values()) == 1
    assert len(got) == 30


def test_one_row_is_given_to_one_of_many(state: Deployment) -> None:
    for number in range(5):
        row = ask(state, repository=f"team/app{number}")
        got = at_once(6, lambda _, row=row: state.take_row(row.id))  # type: ignore[misc]
        assert sum(claim is not None for claim in got) == 1


def test_the_urgent_go_first_then_those_that_wait_longest(state: Deployment) -> None:
    # Given rows of a backfill, of people and of fresh pushes
    at = datetime(2026, 7, 1, tzinfo=UTC)
    for minute, path in enumerate(("fresh/old", "fresh/new")):
        state.store(event(tag="v1", repository=path, at=at + timedelta(minutes=minute)))
    state.store(event(tag="v1", repository="backfill"), event(tag="v1", repository="manual"))
    state.mark()
    with connection():
        for path, priority in (("backfill", marking.BACKFILL), ("manual", marking.MANUAL)):
            Registry.update(priority=priority).where(Registry.id == state.row(path).id).execute()

    # When they are claimed one after the other
    order = [taken(state).path for _ in range(4)]

    # Then urgency decides, and age among equals
    assert order == ["fresh/old", "fresh/new", "manual", "backfill"]


def test_a_push_lifts_a_row_of_a_backfill(state: Deployment) -> None:
    row = ask(state)
    with connection():
        Registry.update(priority=marking.BACKFILL).execute()
    ask(state)
    assert state.row("team/app").priority == marking.FRESH
    marking_site = state.fresh_site()
    marking.mark_full(marking_site, [row.container_repository_id], priority=marking.BACKFILL)
    assert state.row("team/app").priority == marking.FRESH


def test_rows_in_backoff_and_of_paused_sites_are_left_alone(state: Deployment) -> None:
    # Given a row whose time has not come
    row = ask(state)
    with connection():
        later = datetime.now(UTC) + timedelta(minutes=1)
        Registry.update(state=SyncState.FAILED, retry_at=later).execute()
    assert state.take() is None

    # When its time has come, but its site is paused
    with connection():
        Registry.update(retry_at=datetime.now(UTC) - timedelta(seconds=1)).execute()
        Site.update(enabled=False).where(Site.id == state.site.id).execute()
    assert state.take() is None
    assert state.due() == 0

    # Then it is taken when that is over; and a person gets it at any time
    with connection():
        Site.update(enabled=True).where(Site.id == state.site.id).execute()
    assert state.due() == 1
    claim = state.take_row(row.id)
    assert claim is not None
    assert state.row("team/app").retry_at is None


def test_a_pause_at_the_very_moment_of_a_claim_is_heard(state: Deployment) -> None:
    # Given a row that was found due
    ask(state)
    claim = state.take()
    assert claim is not None
    assert not claim.withdrawn(at_once=True)

    # When its site was paused before it was taken, so that the claim already says so
    with connection():
        Site.update(enabled=False).where(Site.id == state.site.id).execute()
    late = replace(claim, site=state.fresh_site())
    assert not late.site.enabled

    # Then it is given back all the same; only what a person has asked for goes on
    assert late.withdrawn(at_once=True)
    closing.release(claim)
    by_hand = state.take_row(claim.registry_id)
    assert by_hand is not None
    assert not by_hand.withdrawn(at_once=True)


# --- leases -----------------------------------------------------------------------------------------------------------


def test_a_row_whose_holder_died_is_taken_over(state: Deployment) -> None:
    # Given a row whose holder gives no sign of life any more
    ask(state)
    former = taken(state)
    expire(former)

    # When somebody else looks
    assert state.due() == 1
    claim = taken(state)

    # Then it is his, and he knows that a write of the former may be under way
    assert claim.takeover
    assert claim.token > former.token


def test_who_was_taken_over_can_neither_record_nor_close_nor_renew(state: Deployment) -> None:
    # Given a holder who slept through his lease, and a new one
    ask(state)
    former = taken(state)
    expire(former)
    new = taken(state)
    reference = state.references("team/app")["v1"]

    # When the former goes on
    with pytest.raises(LeaseLost):
        outcome.record(former, reference, done(reference))
    assert closing.close(former).state is None
    assert closing.release(former).state is None
    with connection():
        former.lease.beat()

    # Then nothing changed, and he knows
    assert former.lease.lost
    with pytest.raises(LeaseLost):
        former.require(0)
    assert state.references("team/app")["v1"].state == SyncState.PENDING
    assert state.attempts("team/app") == []
    row = state.row("team/app")
    assert (row.state, row.lease_token) == (SyncState.STARTED, new.token)

    # And the new one can do all of it
    outcome.record(new, reference, done(reference))
    assert closing.close(new).state == SyncState.SYNCED


def test_nobody_takes_a_row_over_while_its_holder_records(state: Deployment) -> None:
    """Recording looks at the lease first; between that look and its commit nobody else may get the row."""
    ask(state)
    claim = taken(state)
    reference = state.references("team/app")["v1"]
    expire(claim)

    # When the holder records and others claim, at once, then one of them wins and the other one loses wholly
    def act(place: int) -> str:
        if place:
            return "claimed" if state.take_row(claim.registry_id) else ""
        try:
            outcome.record(claim, reference, done(reference))
        except LeaseLost:
            return "lost"
        return "recorded"

    first, *others = at_once(4, act)
    recorded = len(state.attempts("team/app")) == 1
    assert first == ("recorded" if recorded else "lost")
    assert others.count("claimed") <= 1


def test_a_heartbeat_prolongs_the_lease(state: Deployment) -> None:
    # Given a lease about to end
    ask(state)
    claim = taken(state)
    with connection():
        soon = datetime.now(UTC) + timedelta(seconds=5)
        Registry.update(lease_expires_at=soon).execute()
    claim.lease.deadline -= 40
    assert claim.lease.remaining() <= 5

    # When it beats
    with connection():
        claim.lease.beat()

    # Then it lasts, for the holder no longer than for the others
    left = state.row("team/app").lease_expires_at - datetime.now(UTC)
    assert 40 < claim.lease.remaining() <= left.total_seconds() + 0.1 <= lease.TTL + 0.1


def test_a_lease_is_measured_from_before_it_was_asked_for(state: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a clock of the holder that shows how long the database took to grant the lease
    ask(state)
    times = iter([100.0, 130.0])
    monkeypatch.setattr(lease, "monotonic", lambda: next(times))

    # When the row is claimed
    claim = taken(state)

    # Then the time that it took is the holder's loss
    assert claim.lease.deadline == 100.0 + lease.TTL


def test_a_write_begins_only_while_the_lease_outlasts_it(state: Deployment) -> None:
    ask(state)
    claim = taken(state)
    time = [0.0]
    claim.lease.clock = lambda: time[0]
    claim.lease.deadline = 20.0
    claim.require(15)
    time[0] = 5.0
    with pytest.raises(LeaseLost):
        claim.require(15)
    time[0] = 21.0
    assert claim.lease.remaining() == 0.0

    # And a lease that ran out comes back by no heartbeat
    with connection():
        claim.lease.beat()
    assert claim.lease.lost


def test_a_row_found_by_backfill_waits_behind_a_fresh_push(state: Deployment) -> None:
    # Given a repository that a backfill has just found, and another one that is pushed to after it
    with connection():
        ids = event_log.repository_ids(["old/app"], now())
    marking.mark_full(state.fresh_site(), list(ids.values()), priority=marking.BACKFILL)
    state.event("push", "new/app", "v1", "sha256:" + "1" * 64)
    state.mark()

    # Then the push is claimed first
    claimed = [state.take(), state.take()]
    assert [each.path for each in claimed if each] == ["new/app", "old/app"]
