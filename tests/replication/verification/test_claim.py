"""Who verifies a row: one at a time, taken over from the dead, and given back."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import SyncState, VerificationState
from app.replication.verification import asking, work
from app.replication.verification import claim as claims
from app.replication.verification.claim import Verdict
from app.replication.verification.run import verify as run
from app.settings import VerificationLevel as Level
from tests.replication.conftest import Proxied
from tests.replication.verification.stage import remove_file, replicated, run_due
from tests.support import images
from tests.support.deployment import Deployment
from tests.support.registries import DistributionRegistry
from tests.support.sessions import at_work

pytestmark = pytest.mark.timeout(90)


def test_no_two_verify_the_same_row(geo: Deployment, primary: DistributionRegistry, repository: str) -> None:
    replicated(geo, primary, repository, {"v1": images.image()})
    settings = geo.context.settings
    first = claims.claim_next(settings)
    assert first is not None
    assert claims.claim_next(settings) is None
    assert claims.claim_row(first.registry_id, settings) is None


def test_whoever_was_taken_over_writes_nothing(
    proxied: Proxied, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a verification that stood still until its lease was over, with something broken before its eyes
    geo, _, before_secondary = proxied
    made = images.image()
    replicated(geo, primary, repository, {"v1": made})
    gate = threading.Event()
    held = before_secondary.rule("GET .*/manifests/v1", gate=gate, times=1)
    settings = geo.context.settings
    stalled = claims.claim_next(settings)
    assert stalled is not None
    with at_work(lambda: run(stalled, geo.context), held) as running:
        with connection():
            past = now() - timedelta(seconds=1)
            Registry.update(verification_lease_expires_at=past).execute()

        # When another takes over and comes to the end
        assert work.run_due(geo.context) == 1
        assert geo.row(repository).verification_state == VerificationState.SUCCEEDED
        remove_file(secondary, made.digest)
        gate.set()
        found = running.result(30)

    # Then the first one's result is not written down
    assert found.state is None
    row = geo.row(repository)
    assert (row.verification_state, row.verification_failure) == (VerificationState.SUCCEEDED, None)
    assert geo.references(repository)["v1"].state == SyncState.SYNCED
    assert claims.close(stalled, Verdict()) is None


def test_what_a_killed_one_had_seen_is_not_looked_at_again(
    proxied: Proxied, primary: DistributionRegistry, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a verification of everything that was given back half-way
    monkeypatch.setattr("app.replication.verification.references.BATCH", 2)
    geo, _, before_secondary = proxied
    replicated(geo, primary, repository, {f"v{number}": images.image() for number in range(6)})
    asking.reverify(geo.row(repository).id, Level.MANIFESTS)
    looks = iter([False, False, True])
    first = claims.claim_next(geo.context.settings)
    assert first is not None
    run(first, geo.context, enough=lambda: next(looks))
    assert before_secondary.count("GET .*/manifests/v[0-3]$") == 4
    row = geo.row(repository)
    assert (row.verification_state, row.verification_full) == (VerificationState.PENDING, True)

    # When it is gone on with, after somebody who was killed at once
    assert claims.claim_next(geo.context.settings) is not None
    with connection():
        Registry.update(verification_lease_expires_at=now() - timedelta(seconds=1)).execute()
    before_secondary.clear()
    assert work.run_due(geo.context) == 1

    # Then only the rest is looked at
    assert sorted(before_secondary.requests) == [f"GET /v2/{repository}/manifests/v{number}" for number in (4, 5)]
    row = geo.row(repository)
    assert (row.verification_state, row.verification_full) == (VerificationState.SUCCEEDED, False)


def test_a_row_that_kills_its_workers_is_failed(
    geo: Deployment, primary: DistributionRegistry, repository: str
) -> None:
    replicated(geo, primary, repository, {"v1": images.image()})
    for _ in range(3):
        assert claims.claim_next(geo.context.settings) is not None
        with connection():
            Registry.update(verification_lease_expires_at=now() - timedelta(seconds=1)).execute()
    assert claims.claim_next(geo.context.settings) is None
    assert claims.fail_abandoned() == 1
    row = geo.row(repository)
    assert row.verification_state == VerificationState.FAILED
    assert "workers in a row died" in (row.verification_failure or "")
    assert row.state == SyncState.SYNCED
    assert run_due(geo) == 1
    assert geo.row(repository).verification_state == VerificationState.SUCCEEDED


def test_a_process_that_has_to_end_gives_the_row_back(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    geo, _, before_secondary = proxied
    made = images.image([images.layer(40_000)])
    replicated(geo, primary, repository, {"v1": made})
    slow = before_secondary.rule(f"GET .*/blobs/{made.blobs[-1].digest}", rate=8_000)
    asking.reverify(geo.row(repository).id, Level.CONTENT)
    with at_work(lambda: work.run_due(geo.context), slow) as running:
        geo.context.stopping.set()
        running.result(20)
    row = geo.row(repository)
    assert (row.verification_state, row.verification_full) == (VerificationState.PENDING, True)
    assert row.verification_lease_owner is None
