"""A run beside pushes, syncs, other runs, crashes and registries that do not answer."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, Site, SyncState, VerificationState
from app.replication import closing
from app.replication.attempt import Attempts
from app.replication.outcome import record
from app.replication.verification import asking, work
from app.replication.verification import claim as claims
from app.replication.verification.claim import Verdict
from app.replication.verification.run import verify as run
from app.settings import VerificationLevel as Level
from tests.replication.verification.stage import remove_file, replicated, run_due, told, verify
from tests.support import images
from tests.support.deployment import Deployment
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry
from tests.support.sessions import Session
from tests.support.wire import digest_of, push

pytestmark = pytest.mark.timeout(90)

Proxied = tuple[Deployment, Proxy, Proxy]


# --- after a sync ---------------------------------------------------------------------------------------------------


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


def test_verification_waits_while_anything_is_synced(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    # Given a repository to be verified, and another that somebody syncs
    geo, _, _ = proxied
    replicated(geo, primary, repository, {"v1": images.image()})
    other = f"{repository}-other"
    geo.event("push", other, "v1", push(primary, other, "v1", images.image()))
    geo.mark()
    held = geo.take()
    assert held is not None
    assert held.path == other

    # When a worker is woken for the verification, then it lets the sync go first, for a while
    geo.context.verification.take()
    geo.context.verification.give_back()
    assert work.run_due(geo.context) == 0

    # And then goes on
    closing.release(held)
    geo.settle()
    assert work.run_due(geo.context) == 2
    assert geo.row(repository).verification_state == VerificationState.SUCCEEDED


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


# --- beside others --------------------------------------------------------------------------------------------------


def test_a_push_is_synced_while_its_repository_is_verified_and_voids_the_result(
    proxied: Proxied, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a verification in the middle
    geo, _, before_secondary = proxied
    first = replicated(geo, primary, repository, {"v1": images.image(), "v2": images.image()})
    gate = threading.Event()
    held = before_secondary.rule(f"GET .*{repository}/manifests/v1", gate=gate, times=1)
    with Session() as verifier:
        running = verifier.start(lambda: verify(geo, repository))
        assert held.arrived.wait(20)

        # When a tag is pushed
        second = push(primary, repository, "v1", images.image())
        geo.event("push", repository, "v1", second)

        # Then it is synced at once
        geo.settle()
        assert digest_of(secondary, repository, "v1") == second
        assert geo.row(repository).state == SyncState.SYNCED
        gate.set()
        found = running.result(30)

    # And the result is void: nothing is failed, nothing repaired, and it is looked at again
    assert not found.in_order
    row = geo.row(repository)
    assert row.verification_state == VerificationState.PENDING
    reference = geo.references(repository)["v1"]
    assert (reference.state, reference.desired_digest) == (SyncState.SYNCED, second)
    assert reference.verified_digest != first["v1"]
    run_due(geo)
    row = geo.row(repository)
    assert (row.verification_failure, row.verification_state) == (None, VerificationState.SUCCEEDED)
    assert geo.references(repository)["v1"].verified_digest == second


def test_a_request_while_it_is_verified_is_heard(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    geo, _, before_secondary = proxied
    replicated(geo, primary, repository, {"v1": images.image()})
    gate = threading.Event()
    held = before_secondary.rule("GET .*/manifests/v1", gate=gate, times=1)
    with Session() as verifier:
        running = verifier.start(lambda: work.run_due(geo.context))
        assert held.arrived.wait(20)
        asking.reverify(geo.row(repository).id, Level.CONTENT)
        gate.set()
        assert running.result(30) == 2
    row = geo.row(repository)
    assert (row.verification_state, row.verification_level) == (VerificationState.SUCCEEDED, "content")


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
    with Session() as verifier:
        running = verifier.start(lambda: run(stalled, geo.context))
        assert held.arrived.wait(20)
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


def test_only_so_many_threads_verify(geo: Deployment, primary: DistributionRegistry, repository: str) -> None:
    replicated(geo, primary, repository, {"v1": images.image()})
    capacity = geo.context.verification
    taken = 0
    while capacity.take():
        taken += 1
    assert taken == geo.context.settings.worker_threads // 4
    assert work.run_due(geo.context) == 0
    capacity.give_back()
    assert work.run_due(geo.context) == 1


def test_a_process_that_has_to_end_gives_the_row_back(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    geo, _, before_secondary = proxied
    made = images.image([images.layer(40_000)])
    replicated(geo, primary, repository, {"v1": made})
    slow = before_secondary.rule(f"GET .*/blobs/{made.blobs[-1].digest}", rate=8_000)
    asking.reverify(geo.row(repository).id, Level.CONTENT)
    with Session() as verifier:
        running = verifier.start(lambda: work.run_due(geo.context))
        assert slow.arrived.wait(20)
        geo.context.stopping.set()
        running.result(20)
    row = geo.row(repository)
    assert (row.verification_state, row.verification_full) == (VerificationState.PENDING, True)
    assert row.verification_lease_owner is None


# --- registries that cannot tell ------------------------------------------------------------------------------------


def test_a_secondary_that_does_not_answer_is_no_mismatch(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    # Given a repository that was found whole
    geo, _, before_secondary = proxied
    replicated(geo, primary, repository, {f"v{number}": images.image() for number in range(3)})
    assert verify(geo, repository).in_order

    # When the secondary breaks every connection off
    broken = before_secondary.rule("manifests", drop=True)
    found = verify(geo, repository)

    # Then nothing is said to be missing, nothing is repaired, and it is tried again later
    assert (found.broken, found.in_order) == (0, False)
    row = geo.row(repository)
    assert row.verification_state == VerificationState.PENDING
    assert "could not be told" in (row.verification_failure or "")
    assert row.verification_retry_at is not None
    assert {each.state for each in geo.references(repository).values()} == {SyncState.SYNCED}
    assert work.run_due(geo.context) == 0

    # And it is whole again when the registry is back
    broken.times = 0
    assert run_due(geo) == 1
    row = geo.row(repository)
    assert (row.verification_state, row.verification_failure) == (VerificationState.SUCCEEDED, None)


@pytest.mark.parametrize(
    ("status", "body"), [(500, b""), (404, b"<h1>not here</h1>"), (404, b""), (200, b"{}"), (403, b"")]
)
def test_an_answer_that_tells_nothing_is_no_mismatch(
    proxied: Proxied, primary: DistributionRegistry, repository: str, status: int, body: bytes
) -> None:
    # Given one of two manifests that the secondary, or a proxy before it, says strange things of
    geo, _, before_secondary = proxied
    replicated(geo, primary, repository, {"v1": images.image(), "v2": images.image()})
    strange = before_secondary.rule("manifests/v1", status=status, body=body)

    # When
    found = verify(geo, repository, "manifests")

    # Then it could not be told, and the other is verified
    assert not found.in_order
    if status != 200:
        assert (found.broken, found.unsure) == (0, 1)
        assert geo.references(repository)["v1"].state == SyncState.SYNCED
        assert geo.row(repository).verification_failure_reason != "mismatch"
    assert geo.row(repository).verification_state == VerificationState.FAILED
    assert geo.references(repository)["v2"].verified_digest is not None

    # And what was not seen is looked at again
    strange.times = 0
    geo.settle()
    before_secondary.requests.clear()
    assert run_due(geo) == 1
    assert geo.row(repository).verification_state == VerificationState.SUCCEEDED
    assert before_secondary.count("manifests/v2") == 0


def test_a_moment_in_which_a_registry_cannot_tell_is_looked_past(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    geo, _, before_secondary = proxied
    replicated(geo, primary, repository, {"v1": images.image()})
    unknown = b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'
    before_secondary.rule("GET .*/manifests/v1", status=404, body=unknown, times=2)
    assert verify(geo, repository).in_order


def test_while_the_primary_is_away_the_secondary_is_verified_all_the_same(
    proxied: Proxied, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a lost blob, and a primary that does not answer
    geo, before_primary, _ = proxied
    made = images.image()
    replicated(geo, primary, repository, {"v1": made, "v2": images.image()})
    away = before_primary.rule("", drop=True)

    # When nothing is missing
    found = verify(geo, repository)

    # Then that is told, and why it is not all
    assert (found.looked_at, found.broken, found.in_order) == (2, 0, False)
    row = geo.row(repository)
    assert (row.verification_failure_reason or "").startswith("primary_")
    assert "primary" in (row.verification_failure or "")

    # And when something is, it is named
    lost = made.blobs[-1]
    remove_file(secondary, lost.digest)
    assert {digest for *_, digest, _ in told(verify(geo, repository))} == {lost.digest}
    away.times = 0
    geo.settle()
    run_due(geo)
    assert geo.row(repository).verification_state == VerificationState.SUCCEEDED


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


def test_tags_out_of_scope_are_not_missed(geo: Deployment, primary: DistributionRegistry, repository: str) -> None:
    # Given a site that takes some tags alone, and others on the primary
    replicated(geo, primary, repository, {"v1": images.image()})
    push(primary, repository, "nightly", images.image())
    with connection():
        Site.update(tags="v*").where(~Site.primary).execute()

    # Then what it takes is whole
    assert verify(geo, repository).in_order

    # And without that a sync is due
    with connection():
        Site.update(tags="").execute()
    assert verify(geo, repository).behind == 1
