"""Claims: one holder at a time, however many ask, and never two who believe it."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, Site, SyncAttempt, SyncState, VerificationState
from app.replication import claim as claims
from app.replication import event_log, lease, marking, outcome
from app.replication.backoff import Backoff
from app.replication.claim import MAX_ATTEMPTS, Claim, LeaseLost
from app.replication.outcome import Done, Failed
from tests.support import images
from tests.support.deployment import Deployment, event
from tests.support.sessions import at_once

pytestmark = pytest.mark.timeout(60)

ONE = images.sha256(b"one")


def ask(deployment: Deployment, *tags: str, repository: str = "team/app") -> Registry:
    deployment.store(*(event(tag=tag, repository=repository, digest=ONE) for tag in tags or ("v1",)))
    deployment.mark()
    return deployment.row(repository)


def taken() -> Claim:
    claim = claims.claim_next()
    assert claim is not None
    return claim


def expire(claim: Claim) -> None:
    """Let the lease have run out, as the others measure it."""
    with connection():
        past = datetime.now(UTC) - timedelta(seconds=1)
        Registry.update(lease_expires_at=past).where(Registry.id == claim.registry_id).execute()


def done(reference: Reference, digest: str | None = ONE) -> Done:
    instant = datetime.now(UTC)
    return Done("copy", instant, instant, digest)


def failed(message: str = "broken", **fields: object) -> Failed:
    instant = datetime.now(UTC)
    values: dict[str, object] = {"reason": "unreachable", "temporary": True}
    return Failed(message=message, started_at=instant, finished_at=instant, **(values | fields))  # type: ignore[arg-type]


# --- taking -----------------------------------------------------------------------------------------------------------


def test_a_claimed_row_is_nobody_elses(state: Deployment) -> None:
    # Given a row that is due
    row = ask(state)

    # When it is claimed
    claim = taken()

    # Then it is started, with a holder, and nobody gets it a second time
    assert (claim.registry_id, claim.path, claim.takeover) == (row.id, "team/app", False)
    row = state.row("team/app")
    assert (row.state, row.lease_owner, row.lease_token) == (SyncState.STARTED, lease.owner(), claim.token)
    assert claims.claim_next() is None
    assert claims.claim_row(row.id) is None
    assert state.due() == 0


def test_claimers_at_once_get_different_rows_and_all_of_them(state: Deployment) -> None:
    # Given thirty rows that are due
    state.store(*(event(tag="v1", repository=f"team/app{number}") for number in range(30)))
    state.mark()

    # When eight workers claim until nothing is left
    def work(_: int) -> list[int]:
        mine = []
        while (claim := claims.claim_next()) is not None:
            mine.append(claim.registry_id)
        return mine

    got = [registry_id for mine in at_once(8, work) for registry_id in mine]

    # Then each row was taken once. A worker that only met rows being taken may have stopped early, but not all did.
    assert max(Counter(got).values()) == 1
    assert len(got) == 30


def test_one_row_is_given_to_one_of_many(state: Deployment) -> None:
    for number in range(5):
        row = ask(state, repository=f"team/app{number}")
        got = at_once(6, lambda _, row=row: claims.claim_row(row.id))  # type: ignore[misc]
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
    order = [taken().path for _ in range(4)]

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
    assert claims.claim_next() is None

    # When its time has come, but its site is paused
    with connection():
        Registry.update(retry_at=datetime.now(UTC) - timedelta(seconds=1)).execute()
        Site.update(enabled=False).where(Site.id == state.site.id).execute()
    assert claims.claim_next() is None
    assert state.due() == 0

    # Then it is taken when that is over; and a person gets it at any time
    with connection():
        Site.update(enabled=True).where(Site.id == state.site.id).execute()
    assert state.due() == 1
    claim = claims.claim_row(row.id)
    assert claim is not None
    assert state.row("team/app").retry_at is None


# --- leases -----------------------------------------------------------------------------------------------------------


def test_a_row_whose_holder_died_is_taken_over(state: Deployment) -> None:
    # Given a row whose holder gives no sign of life any more
    ask(state)
    former = taken()
    expire(former)

    # When somebody else looks
    assert state.due() == 1
    claim = taken()

    # Then it is his, and he knows that a write of the former may be under way
    assert claim.takeover
    assert claim.token > former.token


def test_who_was_taken_over_can_neither_record_nor_close_nor_renew(state: Deployment) -> None:
    # Given a holder who slept through his lease, and a new one
    ask(state)
    former = taken()
    expire(former)
    new = taken()
    reference = state.references("team/app")["v1"]

    # When the former goes on
    with pytest.raises(LeaseLost):
        outcome.record(former, reference, done(reference))
    assert claims.close(former).state is None
    assert claims.release(former).state is None
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
    assert claims.close(new).state == SyncState.SYNCED


def test_nobody_takes_a_row_over_while_its_holder_records(state: Deployment) -> None:
    """Recording looks at the lease first; between that look and its commit nobody else may get the row."""
    ask(state)
    claim = taken()
    reference = state.references("team/app")["v1"]
    expire(claim)

    # When the holder records and others claim, at once, then one of them wins and the other one loses wholly
    def act(place: int) -> str:
        if place:
            return "claimed" if claims.claim_row(claim.registry_id) else ""
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
    claim = taken()
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
    claim = taken()

    # Then the time that it took is the holder's loss
    assert claim.lease.deadline == 100.0 + lease.TTL


def test_a_write_begins_only_while_the_lease_outlasts_it(state: Deployment) -> None:
    ask(state)
    claim = taken()
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


# --- closing ----------------------------------------------------------------------------------------------------------


def test_a_row_is_synced_when_all_its_tags_are(state: Deployment) -> None:
    # Given a row with two tags
    ask(state, "v1", "v2")
    claim = taken()
    references = state.references("team/app")

    # When one of them is done, it is not synced
    outcome.record(claim, references["v1"], done(references["v1"]))
    assert claims.close(claim).state == SyncState.PENDING

    # When both are, it is
    claim = taken()
    outcome.record(claim, references["v2"], done(references["v2"]))
    assert claims.close(claim).state == SyncState.SYNCED
    row = state.row("team/app")
    assert (row.state, row.retry_count, row.last_sync_failure) == (SyncState.SYNCED, 0, None)
    assert (row.pending_since, row.lease_owner, row.lease_expires_at) == (None, None, None)
    assert row.last_synced_at is not None


def test_an_event_meanwhile_makes_the_row_pending_again(state: Deployment) -> None:
    # Given a row whose tag was copied, while it is pushed again
    ask(state)
    claim = taken()
    reference = state.references("team/app")["v1"]
    ask(state)

    # When the holder records and closes
    outcome.record(claim, reference, done(reference))
    closed = claims.close(claim)

    # Then the tag and the row wait for another look
    assert closed.again
    assert state.row("team/app").state == SyncState.PENDING
    found = state.references("team/app")["v1"]
    assert (found.state, found.observed_digest) == (SyncState.PENDING, ONE)


def test_closing_compares_the_generation_even_if_no_reference_waits(state: Deployment) -> None:
    ask(state)
    claim = taken()
    reference = state.references("team/app")["v1"]
    outcome.record(claim, reference, done(reference))
    with connection():
        Registry.update(generation=Registry.generation + 1).execute()
    assert claims.close(claim).state == SyncState.PENDING
    with connection():
        Registry.update(generation=Registry.generation + 1).execute()
    claim = taken()
    assert claims.close(claim, failure="the listing broke").state == SyncState.FAILED


def test_a_digest_without_a_tag_never_holds_the_row_back(state: Deployment) -> None:
    # Given a row with a synced tag, and a digest that failed
    state.store(event(tag="v1", digest=ONE), event(digest=images.sha256(b"two")))
    state.mark()
    claim = taken()
    references = state.references("team/app")
    outcome.record(claim, references["v1"], done(references["v1"]))
    outcome.record(claim, references[images.sha256(b"two")], failed())

    # When it is closed, then it is synced
    assert claims.close(claim).state == SyncState.SYNCED


def test_failures_are_counted_and_named(state: Deployment) -> None:
    # Given a row with three tags, two of which fail
    ask(state, "v1", "v2", "v3")
    for count in (1, 2, 3):
        claim = claims.claim_row(state.row("team/app").id)
        assert claim is not None
        references = state.references("team/app")
        outcome.record(claim, references["v1"], failed("team/app:v1: connection refused"))
        outcome.record(claim, references["v2"], failed("team/app:v2: connection refused"))
        outcome.record(claim, references["v3"], done(references["v3"]))

        # When it is closed
        closed = claims.close(claim)

        # Then the row is failed, says what, and counts
        assert closed.state == SyncState.FAILED
        row = state.row("team/app")
        assert row.retry_count == count
        assert re.fullmatch(r"team/app:v[12]: connection refused \(and 1 more tags\)", state.failure("team/app"))
        assert state.references("team/app")["v1"].retry_count == count

        # And it is due when the first of its tags is
        assert row.retry_at == min(found.retry_at for found in state.references("team/app").values() if found.retry_at)


def test_a_success_ends_the_counting(state: Deployment) -> None:
    ask(state)
    claim = taken()
    outcome.record(claim, state.references("team/app")["v1"], failed())
    claims.close(claim)
    claim = claims.claim_row(claim.registry_id) or taken()
    outcome.record(claim, state.references("team/app")["v1"], done(state.references("team/app")["v1"]))
    assert claims.close(claim).state == SyncState.SYNCED
    assert state.row("team/app").retry_count == 0
    assert state.references("team/app")["v1"].retry_count == 0


def test_a_look_that_tries_nothing_does_not_count(state: Deployment) -> None:
    # Given a row that failed once
    ask(state)
    claim = taken()
    outcome.record(claim, state.references("team/app")["v1"], failed())
    claims.close(claim)

    # When it is taken up for something else, which goes well
    claim = claims.claim_row(claim.registry_id) or taken()
    claims.close(claim, tried=False)

    # Then it is still in its first failure
    row = state.row("team/app")
    assert (row.state, row.retry_count) == (SyncState.FAILED, 1)


def test_what_a_registry_asks_for_is_waited(state: Deployment) -> None:
    # Given a registry that says Retry-After: 900
    ask(state)
    claim = taken()
    outcome.record(claim, state.references("team/app")["v1"], failed(retry_after=900.0))
    claims.close(claim)

    # Then neither the tag nor the row is due before that
    for moment in (state.references("team/app")["v1"].retry_at, state.row("team/app").retry_at):
        assert moment is not None
        assert moment - datetime.now(UTC) > timedelta(seconds=890)

    # And neither when it said so of the whole row
    claim = claims.claim_row(claim.registry_id) or taken()
    claims.close(claim, failure="too many requests", retry_after=1200.0)
    assert state.row("team/app").retry_at - datetime.now(UTC) > timedelta(seconds=1190)


def test_a_row_given_back_is_due_at_once(state: Deployment) -> None:
    ask(state)
    claim = taken()
    assert claims.release(claim).state == SyncState.PENDING
    row = state.row("team/app")
    assert (row.state, row.lease_owner, row.attempts) == (SyncState.PENDING, None, 0)
    assert not taken().takeover


def test_a_row_that_kills_its_workers_is_failed_at_last(state: Deployment) -> None:
    # Given a row whose holder dies, again and again
    ask(state)
    for number in range(MAX_ATTEMPTS):
        assert claims.fail_poisonous() == 0
        claim = taken()
        assert claim.takeover == (number > 0)
        expire(claim)

    # When the scheduler looks
    assert claims.claim_next() is None
    assert claims.fail_poisonous() == 1
    assert claims.fail_poisonous() == 0

    # Then it waits like any failure and says why; its last holder is fenced off
    row = state.row("team/app")
    assert (row.state, row.retry_count) == (SyncState.FAILED, 1)
    assert "3 workers in a row died" in state.failure("team/app")
    assert row.retry_at > datetime.now(UTC) + timedelta(minutes=1)
    assert claims.close(claim).state is None

    # And it is tried again in time
    with connection():
        Registry.update(retry_at=datetime.now(UTC) - timedelta(seconds=1)).execute()
    assert not taken().takeover


def test_those_that_died_together_do_not_come_back_together(state: Deployment) -> None:
    # Given two rows whose holder dies with both in its hands, again and again
    for name in ("team/one", "team/two"):
        state.event("push", name, "v1")
    state.mark()
    for _ in range(MAX_ATTEMPTS):
        for claim in (taken(), taken()):
            expire(claim)

    # When both are failed, then each has a time of its own
    assert claims.fail_poisonous() == 2
    assert state.row("team/one").retry_at != state.row("team/two").retry_at


def test_what_poisonous_rows_brought_is_verified(state: Deployment) -> None:
    # Given a verified row, and workers that die in its sync, the last one after it has brought a tag
    row = ask(state)
    with connection():
        Registry.update(verification_state=VerificationState.SUCCEEDED).execute()
    for _ in range(MAX_ATTEMPTS):
        claim = taken()
        expire(claim)
    reference = state.reference("team/app", "v1")
    assert reference is not None
    outcome.record(claim, reference, done(reference))
    assert claims.fail_poisonous() == 1

    # When the next finds nothing left to do
    again = claims.claim_row(row.id)
    assert again is not None
    assert claims.close(again).state is SyncState.SYNCED

    # Then a verification is due
    assert state.row("team/app").verification_state == VerificationState.PENDING


def test_a_living_holder_is_not_poisonous(state: Deployment) -> None:
    ask(state)
    for _ in range(MAX_ATTEMPTS):
        claim = taken()
        expire(claim)
    with connection():
        Registry.update(lease_expires_at=datetime.now(UTC) + timedelta(seconds=30)).execute()
    assert claims.fail_poisonous() == 0


# --- outcomes ---------------------------------------------------------------------------------------------------------


def test_each_outcome_leaves_an_attempt(state: Deployment) -> None:
    # Given a tag that was pushed two seconds ago
    state.store(event(tag="v1", digest=ONE, at=datetime.now(UTC) - timedelta(seconds=2)))
    state.mark()
    claim = taken()
    reference = state.references("team/app")["v1"]

    # When it fails, and then succeeds
    outcome.record(claim, reference, failed("no", retry_after=0.0))
    reference = state.references("team/app")["v1"]
    assert (reference.state, reference.failure, reference.failure_reason) == (SyncState.FAILED, "no", "unreachable")
    outcome.record(claim, reference, done(reference))

    # Then both are in the log, with trigger, event and lag
    first, second = state.attempts("team/app", "v1")
    assert (first.outcome, first.reason, first.message, first.trigger) == ("failed", "unreachable", "no", "event")
    assert (second.outcome, second.trigger, second.new_digest) == ("synced", "retry", ONE)
    assert first.event_id == second.event_id is not None
    assert first.lag_seconds is None
    assert second.lag_seconds is not None
    assert 2 <= second.lag_seconds < 10
    assert second.worker == lease.owner()
    reference = state.references("team/app")["v1"]
    assert (reference.failure, reference.failure_reason, reference.retry_at) == (None, None, None)


def test_a_failure_that_an_event_overtook_does_not_delay_the_event(state: Deployment) -> None:
    ask(state)
    claim = taken()
    reference = state.references("team/app")["v1"]
    ask(state)
    outcome.record(claim, reference, failed())
    found = state.references("team/app")["v1"]
    assert (found.state, found.retry_at) == (SyncState.PENDING, None)


def test_an_outcome_is_recorded_whole_or_not_at_all(state: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(state)
    claim = taken()
    reference = state.references("team/app")["v1"]

    def failing(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(outcome, "_measure", failing)
    with pytest.raises(ZeroDivisionError):
        outcome.record(claim, reference, done(reference))
    assert state.references("team/app")["v1"].state == SyncState.PENDING
    with connection():
        assert SyncAttempt.select().count() == 0


# --- backoff ----------------------------------------------------------------------------------------------------------


def test_the_wait_grows_to_a_cap_with_jitter() -> None:
    # Given a backoff without luck, and with all of it
    longest, shortest = Backoff(random=lambda: 1.0), Backoff(random=lambda: 0.0)

    # Then the wait doubles up to an hour, and is between half and the whole of the step
    steps = [longest.delay(count).total_seconds() for count in range(1, 14)]
    assert steps[:4] == [5, 10, 20, 40]
    assert steps[-1] == 3600
    assert steps == sorted(steps)
    assert longest.delay(10_000).total_seconds() == 3600
    assert [shortest.delay(count).total_seconds() for count in range(1, 14)] == [step / 2 for step in steps]

    # And what does not heal by itself is looked at rarely, what a registry asked for never undercut
    assert longest.delay(1, temporary=False) == timedelta(hours=6)
    assert longest.delay(1, at_least=77).total_seconds() == 77
    assert len({Backoff().delay(5) for _ in range(20)}) > 1


def test_a_row_found_by_backfill_waits_behind_a_fresh_push(state: Deployment) -> None:
    # Given a repository that a backfill has just found, and another one that is pushed to after it
    with connection():
        ids = event_log.repository_ids(["old/app"], now())
    marking.mark_full(state.fresh_site(), list(ids.values()), priority=marking.BACKFILL)
    state.event("push", "new/app", "v1", "sha256:" + "1" * 64)
    state.mark()

    # Then the push is claimed first
    claimed = [claims.claim_next(), claims.claim_next()]
    assert [each.path for each in claimed if each] == ["new/app", "old/app"]


def test_instants_kept_by_an_update_compare_with_those_that_are_written(state: Deployment) -> None:
    # Given a row that was marked once, and once more
    state.event("push", "team/app", "v1", "sha256:" + "1" * 64)
    state.mark()
    state.event("push", "team/app", "v1", "sha256:" + "2" * 64)
    state.mark()

    # Then the instant in the database equals itself
    row = state.row("team/app")
    with connection():
        assert Registry.select().where(Registry.pending_since == row.pending_since).count() == 1
        assert Reference.select().where(Reference.pending_since == row.pending_since).count() == 1
