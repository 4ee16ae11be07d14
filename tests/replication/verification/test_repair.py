"""What a verification found broken, and what becomes of its repair."""

from __future__ import annotations

import pytest

from app.models import SyncState, VerificationState
from tests.replication.conftest import Proxied
from tests.replication.verification.stage import remove_file, replicated, run_due, verify
from tests.support import images
from tests.support.deployment import Deployment
from tests.support.registries import DistributionRegistry
from tests.support.wire import push

pytestmark = pytest.mark.timeout(90)


def test_a_repair_that_fails_at_first_is_still_a_repair(
    proxied: Proxied, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a lost blob that the primary cannot give at first
    geo, before_primary, _ = proxied
    made = images.image()
    replicated(geo, primary, repository, {"v1": made})
    lost = made.blobs[-1]
    remove_file(secondary, lost.digest)
    verify(geo, repository)
    refused = before_primary.rule(f"GET .*/blobs/{lost.digest}", status=500)
    geo.settle()
    assert geo.row(repository).state == SyncState.FAILED

    # When it is tried again, also by hand
    assert geo.row(repository).replicator.sync().state == SyncState.FAILED
    refused.times = 0
    geo.retry(repository)

    # Then the tag that stood right all the time was not taken for whole
    assert geo.row(repository).state == SyncState.SYNCED
    run_due(geo)
    row = geo.row(repository)
    assert (row.verification_state, row.verification_failure) == (VerificationState.SUCCEEDED, None)


def test_what_cannot_be_repaired_stays_failed(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a blob that both sides have lost
    made = images.image()
    replicated(geo, primary, repository, {"v1": made, "v2": images.image()})
    lost = made.blobs[-1]
    for registry in (primary, secondary):
        remove_file(registry, lost.digest)
    verify(geo, repository)
    geo.settle()
    assert geo.row(repository).state == SyncState.FAILED

    # When what is left is verified
    for _ in range(2):
        assert run_due(geo) == 1

        # Then the repository is not whole, and waits for the sync to try again
        row = geo.row(repository)
        assert row.verification_state == VerificationState.FAILED
        assert "v1" in (row.verification_failure or "")
        assert row.verification_retry_count == 1
        assert row.verification_retry_at > row.retry_at

    # And when the primary has it again, all is well
    push(primary, repository, "v1", made)
    geo.retry(repository)
    assert run_due(geo) == 1
    assert geo.row(repository).verification_state == VerificationState.SUCCEEDED
