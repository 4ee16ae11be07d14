"""Outcomes: what became of a reference is written down whole, and told to whoever asks later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, SyncAttempt, SyncState
from app.replication import lease, outcome
from tests.replication.holding import ONE, ask, done, failed, taken
from tests.support.deployment import Deployment, event
from tests.support.registries import DistributionRegistry
from tests.support.replicated import replicated

pytestmark = pytest.mark.timeout(60)


def test_each_outcome_leaves_an_attempt(state: Deployment) -> None:
    # Given a tag that was pushed two seconds ago
    state.store(event(tag="v1", digest=ONE, at=datetime.now(UTC) - timedelta(seconds=2)))
    state.mark()
    claim = taken(state)
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
    claim = taken(state)
    reference = state.references("team/app")["v1"]
    ask(state)
    outcome.record(claim, reference, failed())
    found = state.references("team/app")["v1"]
    assert (found.state, found.retry_at) == (SyncState.PENDING, None)


def test_an_outcome_is_recorded_whole_or_not_at_all(state: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(state)
    claim = taken(state)
    reference = state.references("team/app")["v1"]

    def failing(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(outcome, "_measure", failing)
    with pytest.raises(ZeroDivisionError):
        outcome.record(claim, reference, done(reference))
    assert state.references("team/app")["v1"].state == SyncState.PENDING
    with connection():
        assert SyncAttempt.select().count() == 0


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


def test_attempts_are_forgotten_in_time(geo: Deployment, primary: DistributionRegistry, repository: str) -> None:
    replicated(geo, primary, repository, "v1", "v2")
    assert outcome.prune(timedelta(days=1)) == 0
    assert outcome.prune(timedelta(seconds=-5), limit=1) == 1
    assert len(geo.attempts(repository)) == 1
