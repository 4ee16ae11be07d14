"""Closing: a row is left as its references are, and nothing that was asked for meanwhile is lost."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import SyncState, VerificationState
from app.replication import closing, outcome
from app.replication.claim import MAX_ATTEMPTS
from tests.replication.holding import ONE, ask, done, expire, failed, taken
from tests.support import images
from tests.support.deployment import Deployment, event

pytestmark = pytest.mark.timeout(60)


def test_a_row_is_synced_when_all_its_tags_are(state: Deployment) -> None:
    # Given a row with two tags
    ask(state, "v1", "v2")
    claim = taken(state)
    references = state.references("team/app")

    # When one of them is done, it is not synced
    outcome.record(claim, references["v1"], done(references["v1"]))
    assert closing.close(claim).state == SyncState.PENDING

    # When both are, it is
    claim = taken(state)
    outcome.record(claim, references["v2"], done(references["v2"]))
    assert closing.close(claim).state == SyncState.SYNCED
    row = state.row("team/app")
    assert (row.state, row.retry_count, row.last_sync_failure) == (SyncState.SYNCED, 0, None)
    assert (row.pending_since, row.lease_owner, row.lease_expires_at) == (None, None, None)
    assert row.last_synced_at is not None


def test_an_event_meanwhile_makes_the_row_pending_again(state: Deployment) -> None:
    # Given a row whose tag was copied, while it is pushed again
    ask(state)
    claim = taken(state)
    reference = state.references("team/app")["v1"]
    ask(state)

    # When the holder records and closes
    outcome.record(claim, reference, done(reference))
    closed = closing.close(claim)

    # Then the tag and the row wait for another look
    assert closed.again
    assert state.row("team/app").state == SyncState.PENDING
    found = state.references("team/app")["v1"]
    assert (found.state, found.observed_digest) == (SyncState.PENDING, ONE)


def test_closing_compares_the_generation_even_if_no_reference_waits(state: Deployment) -> None:
    ask(state)
    claim = taken(state)
    reference = state.references("team/app")["v1"]
    outcome.record(claim, reference, done(reference))
    with connection():
        Registry.update(generation=Registry.generation + 1).execute()
    assert closing.close(claim).state == SyncState.PENDING
    with connection():
        Registry.update(generation=Registry.generation + 1).execute()
    claim = taken(state)
    assert closing.close(claim, failure="the listing broke").state == SyncState.FAILED


def test_a_digest_without_a_tag_never_holds_the_row_back(state: Deployment) -> None:
    # Given a row with a synced tag, and a digest that failed
    state.store(event(tag="v1", digest=ONE), event(digest=images.sha256(b"two")))
    state.mark()
    claim = taken(state)
    references = state.references("team/app")
    outcome.record(claim, references["v1"], done(references["v1"]))
    outcome.record(claim, references[images.sha256(b"two")], failed())

    # When it is closed, then it is synced
    assert closing.close(claim).state == SyncState.SYNCED


def test_failures_are_counted_and_named(state: Deployment) -> None:
    # Given a row with three tags, two of which fail
    ask(state, "v1", "v2", "v3")
    for count in (1, 2, 3):
        claim = state.take_row(state.row("team/app").id)
        assert claim is not None
        references = state.references("team/app")
        outcome.record(claim, references["v1"], failed("team/app:v1: connection refused"))
        outcome.record(claim, references["v2"], failed("team/app:v2: connection refused"))
        outcome.record(claim, references["v3"], done(references["v3"]))

        # When it is closed
        closed = closing.close(claim)

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
    claim = taken(state)
    outcome.record(claim, state.references("team/app")["v1"], failed())
    closing.close(claim)
    claim = state.take_row(claim.registry_id) or taken(state)
    outcome.record(claim, state.references("team/app")["v1"], done(state.references("team/app")["v1"]))
    assert closing.close(claim).state == SyncState.SYNCED
    assert state.row("team/app").retry_count == 0
    assert state.references("team/app")["v1"].retry_count == 0


def test_a_look_that_tries_nothing_does_not_count(state: Deployment) -> None:
    # Given a row that failed once
    ask(state)
    claim = taken(state)
    outcome.record(claim, state.references("team/app")["v1"], failed())
    closing.close(claim)

    # When it is taken up for something else, which goes well
    claim = state.take_row(claim.registry_id) or taken(state)
    closing.close(claim, tried=False)

    # Then it is still in its first failure
    row = state.row("team/app")
    assert (row.state, row.retry_count) == (SyncState.FAILED, 1)


def test_what_a_registry_asks_for_is_waited(state: Deployment) -> None:
    # Given a registry that says Retry-After: 900
    ask(state)
    claim = taken(state)
    outcome.record(claim, state.references("team/app")["v1"], failed(retry_after=900.0))
    closing.close(claim)

    # Then neither the tag nor the row is due before that
    for moment in (state.references("team/app")["v1"].retry_at, state.row("team/app").retry_at):
        assert moment is not None
        assert moment - datetime.now(UTC) > timedelta(seconds=890)

    # And neither when it said so of the whole row
    claim = state.take_row(claim.registry_id) or taken(state)
    closing.close(claim, failure="too many requests", retry_after=1200.0)
    assert state.row("team/app").retry_at - datetime.now(UTC) > timedelta(seconds=1190)


def test_a_row_given_back_is_due_at_once(state: Deployment) -> None:
    ask(state)
    claim = taken(state)
    assert closing.release(claim).state == SyncState.PENDING
    row = state.row("team/app")
    assert (row.state, row.lease_owner, row.attempts) == (SyncState.PENDING, None, 0)
    assert not taken(state).takeover


def test_a_row_that_kills_its_workers_is_failed_at_last(state: Deployment) -> None:
    # Given a row whose holder dies, again and again
    ask(state)
    for number in range(MAX_ATTEMPTS):
        assert closing.fail_poisonous() == 0
        claim = taken(state)
        assert claim.takeover == (number > 0)
        expire(claim)

    # When the scheduler looks
    assert state.take() is None
    assert closing.fail_poisonous() == 1
    assert closing.fail_poisonous() == 0

    # Then it waits like any failure and says why; its last holder is fenced off
    row = state.row("team/app")
    assert (row.state, row.retry_count) == (SyncState.FAILED, 1)
    assert "3 workers in a row died" in state.failure("team/app")
    assert row.retry_at > datetime.now(UTC) + timedelta(minutes=1)
    assert closing.close(claim).state is None

    # And it is tried again in time
    with connection():
        Registry.update(retry_at=datetime.now(UTC) - timedelta(seconds=1)).execute()
    assert not taken(state).takeover


def test_those_that_died_together_do_not_come_back_together(state: Deployment) -> None:
    # Given two rows whose holder dies with both in its hands, again and again
    for name in ("team/one", "team/two"):
        state.event("push", name, "v1")
    state.mark()
    for _ in range(MAX_ATTEMPTS):
        for claim in (taken(state), taken(state)):
            expire(claim)

    # When both are failed, then each has a time of its own
    assert closing.fail_poisonous() == 2
    assert state.row("team/one").retry_at != state.row("team/two").retry_at


def test_what_poisonous_rows_brought_is_verified(state: Deployment) -> None:
    # Given a verified row, and workers that die in its sync, the last one after it has brought a tag
    row = ask(state)
    with connection():
        Registry.update(verification_state=VerificationState.SUCCEEDED).execute()
    for _ in range(MAX_ATTEMPTS):
        claim = taken(state)
        expire(claim)
    reference = state.reference("team/app", "v1")
    assert reference is not None
    outcome.record(claim, reference, done(reference))
    assert closing.fail_poisonous() == 1

    # When the next finds nothing left to do
    again = state.take_row(row.id)
    assert again is not None
    assert closing.close(again).state is SyncState.SYNCED

    # Then a verification is due
    assert state.row("team/app").verification_state == VerificationState.PENDING


def test_a_living_holder_is_not_poisonous(state: Deployment) -> None:
    ask(state)
    for _ in range(MAX_ATTEMPTS):
        claim = taken(state)
        expire(claim)
    with connection():
        Registry.update(lease_expires_at=datetime.now(UTC) + timedelta(seconds=30)).execute()
    assert closing.fail_poisonous() == 0
