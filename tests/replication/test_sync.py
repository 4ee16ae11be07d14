"""What a sync does, between two real registries."""

from __future__ import annotations

from app.models import SyncState
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment
from tests.support.registries import DistributionRegistry
from tests.support.wire import push


def test_a_pushed_tag_reaches_the_secondary(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given an image on the primary, and the event that says so
    image = images.image(count=3)
    digest = push(primary, "team/app", "v1", image)
    geo.event("push", "team/app", "v1", digest)

    # When the event is processed
    geo.settle()

    # Then the secondary has it byte for byte, and the row says so
    assert_same(primary, secondary, "team/app", "v1")
    row = geo.row("team/app")
    assert row.state == SyncState.SYNCED
    assert row.retry_count == 0
    assert row.last_synced_at is not None
    reference = geo.reference("team/app", "v1")
    assert reference is not None
    assert reference.observed_digest == digest
