"""A run beside pushes, syncs and what is asked meanwhile."""

from __future__ import annotations

import threading

import pytest

from app.database import connection
from app.models import Site, SyncState, VerificationState
from app.replication import closing
from app.replication.verification import asking, work
from app.replication.work import TURN
from app.settings import VerificationLevel as Level
from tests.replication.conftest import Proxied
from tests.replication.verification.stage import replicated, run_due, verify
from tests.support import images
from tests.support.deployment import Deployment
from tests.support.registries import DistributionRegistry
from tests.support.sessions import at_work
from tests.support.wire import digest_of, push
from tests.workers.scheduling import Wakes

pytestmark = pytest.mark.timeout(90)


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


def test_a_push_is_synced_while_its_repository_is_verified_and_voids_the_result(
    proxied: Proxied, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a verification in the middle
    geo, _, before_secondary = proxied
    first = replicated(geo, primary, repository, {"v1": images.image(), "v2": images.image()})
    gate = threading.Event()
    held = before_secondary.rule(f"GET .*{repository}/manifests/v1", gate=gate, times=1)
    with at_work(lambda: verify(geo, repository), held) as running:
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
    with at_work(lambda: work.run_due(geo.context), held) as running:
        asking.reverify(geo.row(repository).id, Level.CONTENT)
        gate.set()
        assert running.result(30) == 2
    row = geo.row(repository)
    assert (row.verification_state, row.verification_level) == (VerificationState.SUCCEEDED, "content")


def test_after_its_time_a_message_leaves_the_rest_to_another(
    geo: Deployment, primary: DistributionRegistry, repository: str
) -> None:
    # Given two repositories to be verified, of which each takes longer than that
    names = [repository, f"{repository}-other"]
    for name in names:
        replicated(geo, primary, name, {"v1": images.image()})
    wakes = geo.context.wake = Wakes()

    def verified() -> int:
        return sum(geo.row(name).verification_state == VerificationState.SUCCEEDED for name in names)

    # When a message is at them, then it ends after the first, and another is sent
    assert work.run_due(geo.context, clock=lambda: verified() * TURN) == 1
    assert verified() == 1
    assert wakes.verifications_sent == [1]

    # And one that is at the second for too long leaves it where it is
    times = iter([0.0, 0.0])
    assert work.run_due(geo.context, clock=lambda: next(times, TURN)) == 1
    assert verified() == 1
    assert wakes.verifications_sent == [1, 1]

    # And one that has time enough sends none
    assert work.run_due(geo.context, clock=lambda: 0.0) == 1
    assert verified() == 2
    assert wakes.verifications_sent == [1, 1]


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
