"""What a sync brought is owed a look, and nothing else is."""

from __future__ import annotations

import pytest

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, SyncState, VerificationState
from app.replication.attempt import Attempts
from app.replication.outcome import record
from app.replication.verification import work
from tests.replication.conftest import Proxied
from tests.replication.verification.stage import replicated, verify
from tests.support import images
from tests.support.deployment import Deployment
from tests.support.registries import DistributionRegistry
from tests.support.wire import push

pytestmark = pytest.mark.timeout(90)


def test_what_a_sync_brought_is_verified_and_nothing_else(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    # Given a replicated repository that nobody has verified
    geo, before_primary, before_secondary = proxied
    replicated(geo, primary, repository, {"v1": images.image(), "v2": images.image()})
    assert geo.row(repository).verification_state == VerificationState.PENDING

    # When a worker is woken for it
    assert work.run_due(geo.context) == 1

    # Then it is verified as far as is usual
    row = geo.row(repository)
    assert (row.verification_state, row.verification_level) == (VerificationState.SUCCEEDED, "manifests")
    assert row.verification_checksum is not None
    assert row.fully_verified_at is not None
    assert work.run_due(geo.context) == 0

    # And after a further push its tag alone is looked at
    geo.event("push", repository, "v3", push(primary, repository, "v3", images.image()))
    geo.settle()
    assert geo.row(repository).verification_state == VerificationState.PENDING
    before_primary.clear()
    before_secondary.clear()
    assert work.run_due(geo.context) == 1
    assert before_secondary.requests == [f"GET /v2/{repository}/manifests/v3"]
    assert before_primary.requests == []
    row = geo.row(repository)
    assert row.verification_state == VerificationState.SUCCEEDED
    with connection():
        assert {tag.name for tag in Reference.select().where(Reference.verified_digest.is_null(False))} == {
            "v1",
            "v2",
            "v3",
        }


def test_a_full_sync_that_changed_nothing_asks_for_no_verification(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    # Given a repository that was verified
    geo, _, before_secondary = proxied
    replicated(geo, primary, repository, {"v1": images.image()})
    work.run_due(geo.context)

    # When everything is found in order once more
    assert geo.row(repository).replicator.sync().state == SyncState.SYNCED

    # Then it still counts as verified
    assert geo.row(repository).verification_state == VerificationState.SUCCEEDED
    before_secondary.clear()
    assert work.run_due(geo.context) == 0
    assert before_secondary.requests == []


def test_what_a_killed_worker_brought_is_verified(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    # Given a verified repository, and a worker that is killed after it has brought a new tag
    geo, _, _ = proxied
    replicated(geo, primary, repository, {"v1": images.image()})
    work.run_due(geo.context)
    geo.event("push", repository, "v2", push(primary, repository, "v2", images.image()))
    geo.mark()
    killed = geo.take_row(geo.row(repository).id)
    assert killed is not None
    with connection():
        reference = Reference.get((Reference.registry == killed.registry_id) & (Reference.name == "v2"))
    brought = Attempts(killed, geo.context, lambda: False).copy(reference)
    record(killed, reference, brought)
    with connection():
        Registry.update(lease_expires_at=now()).where(Registry.id == killed.registry_id).execute()

    # When another one finds nothing left to do
    geo.settle()

    # Then a verification is due all the same
    row = geo.row(repository)
    assert (row.state, row.verification_state) == (SyncState.SYNCED, VerificationState.PENDING)


def test_a_failing_tag_does_not_keep_the_others_from_being_verified(
    geo: Deployment, primary: DistributionRegistry, repository: str
) -> None:
    # Given a repository one of whose tags cannot be copied
    replicated(geo, primary, repository, {"v1": images.image()})
    geo.event("push", repository, "missing", images.sha256(b"missing"))
    geo.event("push", repository, "v2", push(primary, repository, "v2", images.image()))
    geo.settle()
    assert geo.row(repository).state == SyncState.FAILED

    # When
    assert work.run_due(geo.context) == 1

    # Then the others are verified, and a person is told that not all is there
    verified = {name for name, row in geo.references(repository).items() if row.verified_digest}
    assert verified == {"v1", "v2"}
    found = verify(geo, repository)
    assert (found.state, found.unsynced, found.in_order) == (VerificationState.SUCCEEDED, 1, False)

    # And what a later try brings is owed
    push(primary, repository, "missing", images.image())
    geo.retry(repository)
    assert geo.row(repository).verification_state == VerificationState.PENDING
    assert work.run_due(geo.context) == 1
    assert verify(geo, repository).in_order
