"""The actor that verifies, between two real registries."""

from __future__ import annotations

from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker

from app.models import VerificationState
from tests.support import images
from tests.support.deployment import Deployment
from tests.support.registries import DistributionRegistry
from tests.support.wait import wait_until
from tests.support.wire import push


def test_called_by_hand_and_sent_to_a_worker(
    geo: Deployment, stub: StubBroker, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    from workers import verify_repository

    # Given two repositories that were just synced
    made = images.image()
    push(primary, "team/app", "v1", made)
    push(primary, "team/other", "v1", images.image())
    geo.event("push", "team/app", "v1")
    geo.event("push", "team/other", "v1")
    geo.settle()

    # When the actor is called for whatever is due
    verify_repository()

    # Then both are verified
    for name in ("team/app", "team/other"):
        assert geo.row(name).verification_state == VerificationState.SUCCEEDED

    # And a worker verifies one whole by its id
    secondary.blob_path(made.blobs[-1].digest).unlink()
    worker = Worker(stub, worker_timeout=50, worker_threads=2)
    worker.start()
    try:
        verify_repository.send(geo.row("team/app").id)
        wait_until(lambda: geo.row("team/app").verification_state == VerificationState.FAILED)
    finally:
        worker.stop()

    # And a row that is not there is nobody's error
    verify_repository(999_999)
